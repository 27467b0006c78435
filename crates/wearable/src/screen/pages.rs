//! Everything on the screen that is not a code: texts, lock state, countdown, binding, messages.
//! Colour only repeats what a word, a number or a shape says as well.

use embedded_graphics::pixelcolor::{Rgb565, RgbColor};
use embedded_graphics::prelude::*;
use embedded_graphics::primitives::Rectangle;

use super::glyphs::{self, Glyph};
use super::layout::{Align, Countdown, Layout, Line, ScreenShape, StatePlace, View};
use super::pen::{Ring, Stroke};
use super::result::ResultFace;
use super::text;
use crate::error::Error;

pub(crate) const WHITE: Rgb565 = Rgb565::WHITE;
pub(crate) const BLACK: Rgb565 = Rgb565::BLACK;
pub(crate) const INK: Rgb565 = rgb(0x11, 0x18, 0x27);
pub(crate) const MUTED: Rgb565 = rgb(0x6b, 0x72, 0x80);
const TRACK: Rgb565 = rgb(0xe5, 0xe9, 0xf0);
const BLUE: Rgb565 = rgb(0x1d, 0x6f, 0xf2);
const GREEN: Rgb565 = rgb(0x12, 0xa1, 0x4b);
const AMBER: Rgb565 = rgb(0xe0, 0x8a, 0x00);
const RED: Rgb565 = rgb(0xd9, 0x2b, 0x2b);

/// The usual 24-bit notation, rounded to what the display format holds.
const fn rgb(red: u8, green: u8, blue: u8) -> Rgb565 {
    Rgb565::new(red >> 3, green >> 2, blue >> 3)
}

/// Seconds left below which the countdown turns amber, and red.
const SOON: u32 = 15;
const AT_ONCE: u32 = 5;

/// A payment code as it is shown.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Face<'a> {
    /// 18 to 24 decimal digits.
    pub digits: &'a str,
    /// The EMV text, empty if the code was made without.
    pub emv: &'a str,
    /// Masked account name. ASCII and a few signs are drawn; each other character becomes a box.
    pub account: &'a str,
    /// Whether the passcode session was open when the code was made.
    pub verified: bool,
    /// Seconds the code still lives.
    pub seconds_left: u32,
    /// Seconds the full ring stands for.
    pub seconds_whole: u32,
}

/// How a message is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// Something went well: paid, bound.
    Good,
    /// Something has to be waited for.
    Wait,
    /// The wearer has something to do: sync, enter the passcode.
    Act,
    /// Something failed.
    Bad,
}

/// One full screen.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Page<'a> {
    /// A payment code.
    Code {
        /// What of it.
        view: View,
        /// The code.
        face: Face<'a>,
    },
    /// The binding offer, to be scanned by the owner's phone.
    Offer {
        /// The text of the offer.
        text: &'a str,
    },
    /// Binding is under way.
    Binding {
        /// 0 to 100.
        percent: u8,
    },
    /// What became of a payment.
    Result {
        /// The payment.
        face: ResultFace<'a>,
    },
    /// Another result, or an error.
    Message {
        /// How it is meant.
        mood: Mood,
        /// The one thing to read: "Sync needed", "Wait 12 s".
        title: &'a str,
        /// A sentence more, broken into lines; may be empty.
        text: &'a str,
    },
}

impl Page<'_> {
    /// The page that tells the wearer of an error, and what to do about it.
    #[must_use]
    pub const fn of_error(error: Error) -> Page<'static> {
        let mood = match error {
            Error::Wait { .. } => Mood::Wait,
            Error::NotBound
            | Error::Suspended
            | Error::PasscodeFormat
            | Error::PasscodeWrong { .. }
            | Error::PasscodeExists
            | Error::PasscodeNotSet
            | Error::PasscodeRequired
            | Error::ClockBehind
            | Error::OfflineTooLong
            | Error::CodesUsedUp
            | Error::LinkDown => Mood::Act,
            Error::NotStarted
            | Error::ChipSilent
            | Error::ChipGarbled
            | Error::NoApplet
            | Error::ChipFault(_)
            | Error::Refused(_)
            | Error::Terminated
            | Error::NotPersonalised
            | Error::PasscodeBlocked => Mood::Bad,
        };
        Page::Message { mood, title: error.title(), text: error.advice() }
    }
}

/// Texts and countdown of a payment code's page.
pub(crate) fn face<D>(target: &mut D, shape: ScreenShape, layout: &Layout, face: &Face<'_>) -> Result<(), D::Error>
where
    D: DrawTarget,
    D::Color: From<Rgb565>,
{
    let (icon, colour, word) =
        if face.verified { (glyphs::SHIELD, GREEN, "Verified") } else { (glyphs::LOCK, MUTED, "Limited") };
    let before = match layout.state {
        StatePlace::BeforeAccount => Some((icon, colour)),
        StatePlace::Apart { icon: area, word: line } => {
            text::draw_icon(target, area, icon, colour, WHITE)?;
            text::draw(target, &line, None, word, colour, WHITE)?;
            None
        }
    };
    text::draw(target, &layout.account, before, face.account, INK, WHITE)?;
    if let Some(place) = &layout.digits {
        text::draw_digits(target, place, face.digits, INK, WHITE)?;
    }
    if let Some(line) = &layout.seconds_word {
        let fits = text::width("seconds", line.cap) <= line.area.size.width as i32;
        text::draw(target, line, None, if fits { "seconds" } else { "sec" }, MUTED, WHITE)?;
    }
    countdown(target, shape, layout, face)
}

/// The number of seconds left and the ring or bar.
pub(crate) fn countdown<D>(target: &mut D, shape: ScreenShape, layout: &Layout, face: &Face<'_>) -> Result<(), D::Error>
where
    D: DrawTarget,
    D::Color: From<Rgb565>,
{
    let (ink, ring) = match face.seconds_left {
        0..=AT_ONCE => (RED, RED),
        left if left <= SOON => (AMBER, AMBER),
        _ => (INK, BLUE),
    };
    let mut buffer = [0; 16];
    let unit = if layout.seconds_word.is_some() { "" } else { " s" };
    let number = decimal(face.seconds_left, unit, &mut buffer);
    // Two digits may become one: what was there before is wiped with the whole line.
    text::wipe(target, &layout.seconds, WHITE)?;
    text::draw(target, &layout.seconds, None, number, ink, WHITE)?;
    match layout.countdown {
        Countdown::Ring { outer, inner } => {
            let size = Size::new(shape.width, shape.height);
            let part = (face.seconds_left, face.seconds_whole);
            Ring { size, outer, inner }.paint(target, part, ring, TRACK, WHITE)
        }
        Countdown::Bar(area) => bar(target, area, (face.seconds_left, face.seconds_whole), ring),
    }
}

/// A capsule filled from the left.
fn bar<D>(target: &mut D, area: Rectangle, (part, whole): (u32, u32), ink: Rgb565) -> Result<(), D::Error>
where
    D: DrawTarget,
    D::Color: From<Rgb565>,
{
    let (width, height) = (area.size.width as i32, area.size.height as i32);
    let y = area.top_left.y + height / 2;
    let from = Point::new(area.top_left.x + height / 2, y);
    let length = width - height;
    let filled = length * part.min(whole) as i32 / whole.max(1) as i32;
    Stroke::capsule(from, from + Point::new(length, 0), height).paint(target, area, TRACK, WHITE)?;
    if part == 0 {
        return Ok(());
    }
    let part = Rectangle::new(area.top_left, Size::new((filled + height) as u32, height as u32));
    Stroke::capsule(from, from + Point::new(filled, 0), height).paint(target, part, ink, WHITE)
}

/// The line above the binding offer, and what to do with it below.
pub(crate) fn offer<D>(target: &mut D, layout: &Layout) -> Result<(), D::Error>
where
    D: DrawTarget,
    D::Color: From<Rgb565>,
{
    text::draw(target, &layout.account, None, "Scan to bind", INK, WHITE)
}

/// Binding progress: a ring or bar, the number, and what happens.
pub(crate) fn binding<D>(target: &mut D, shape: ScreenShape, percent: u8) -> Result<(), D::Error>
where
    D: DrawTarget,
    D::Color: From<Rgb565>,
{
    let what = match percent {
        0..10 => "Waiting for the app",
        10..30 => "Connected",
        30..70 => "Receiving",
        70..90 => "Saved",
        90..100 => "Finishing",
        _ => "Bound",
    };
    let colour = if percent >= 100 { GREEN } else { BLUE };
    let column = Column::new(shape);
    let mut buffer = [0; 16];
    let number = decimal(u32::from(percent), "%", &mut buffer);
    let cap = column.side / 7;
    text::draw(target, &column.line(-cap, cap), None, number, INK, WHITE)?;
    text::draw(target, &column.line(cap / 2, column.side / 20), None, what, MUTED, WHITE)?;
    let part = (u32::from(percent), 100);
    if shape.round {
        let size = Size::new(shape.width, shape.height);
        let outer = column.side / 2 - column.side / 16;
        let ring = Ring { size, outer, inner: outer - column.side / 24 };
        ring.paint(target, part, colour, TRACK, WHITE)
    } else {
        let thickness = (column.side / 24).max(6) as u32;
        let place = column.line(cap / 2 + column.side / 8, 0).area;
        let inset = place.size.width / 8;
        let area =
            Rectangle::new(place.top_left + Size::new(inset, 0), Size::new(place.size.width - 2 * inset, thickness));
        bar(target, area, part, colour)
    }
}

/// A disc with a sign, a title and a few lines of text.
pub(crate) fn message<D>(
    target: &mut D,
    shape: ScreenShape,
    mood: Mood,
    title: &str,
    words: &str,
) -> Result<(), D::Error>
where
    D: DrawTarget,
    D::Color: From<Rgb565>,
{
    let column = Column::new(shape);
    let centre = column.centre - Point::new(0, column.side / 5);
    sign(target, Rectangle::with_center(centre, Size::new_equal((column.side / 4) as u32)), mood)?;

    let cap = (column.side / 14).max(12);
    text::draw(target, &column.line(column.side / 32, cap), None, title, INK, WHITE)?;
    let cap = (column.side / 25).max(10);
    let mut top = column.side / 32 + (column.side / 14).max(12) * 2;
    let mut rest = words;
    // A message is read at a glance: what needs more than four lines is cut by the last.
    for last in [false, false, false, true] {
        if rest.is_empty() {
            break;
        }
        let line = column.line(top, cap);
        let (now, later) = if last { (rest, "") } else { wrap(rest, cap, line.area.size.width as i32) };
        text::draw(target, &line, None, now, MUTED, WHITE)?;
        rest = later;
        top += cap * 9 / 5;
    }
    Ok(())
}

/// A disc with a sign that fills an area; gives its colour.
pub(crate) fn sign<D>(target: &mut D, area: Rectangle, mood: Mood) -> Result<Rgb565, D::Error>
where
    D: DrawTarget,
    D::Color: From<Rgb565>,
{
    let (sign, colour): (Glyph, Rgb565) = match mood {
        Mood::Good => (glyphs::TICK, GREEN),
        Mood::Wait => (glyphs::WAIT, BLUE),
        Mood::Act => (glyphs::WARNING, AMBER),
        Mood::Bad => (glyphs::WARNING, RED),
    };
    let (centre, disc) = (area.center(), area.size.height as i32);
    let around = Rectangle::with_center(centre, Size::new_equal(disc as u32 + 2));
    Stroke::capsule(centre, centre, disc).paint(target, around, colour, WHITE)?;
    let inner = Rectangle::with_center(centre, Size::new_equal((disc * 9 / 20) as u32));
    text::draw_icon(target, inner, sign, WHITE, colour).map(|()| colour)
}

/// Splits at the last space that keeps the first part within `room` pixels.
fn wrap(words: &str, cap: i32, room: i32) -> (&str, &str) {
    if text::width(words, cap) <= room {
        return (words, "");
    }
    words
        .rmatch_indices(' ')
        .filter_map(|(at, _)| words.split_at_checked(at))
        .find(|(now, _)| text::width(now, cap) <= room)
        .map_or((words, ""), |(now, later)| (now, later.trim_start()))
}

/// Lines one below the other around the middle of the screen.
pub(crate) struct Column {
    shape: ScreenShape,
    pub(crate) centre: Point,
    pub(crate) side: i32,
}

impl Column {
    pub(crate) fn new(shape: ScreenShape) -> Self {
        let centre = Point::new(shape.width as i32 / 2, shape.height as i32 / 2);
        Self { shape, centre, side: shape.width.min(shape.height) as i32 }
    }

    /// A line `top` pixels below the middle, as wide as can be seen there.
    pub(crate) fn line(&self, top: i32, cap: i32) -> Line {
        let half = if self.shape.round {
            let (radius, far) = (self.side * 9 / 20, top.abs().max((top + cap).abs()));
            (radius * radius - far * far).max(0).isqrt()
        } else {
            (self.side / 2 - (self.side / 30).max(4)).max(0)
        };
        let corner = self.centre + Point::new(-half, top);
        let area = Rectangle::new(corner, Size::new(2 * half as u32, cap as u32));
        Line { area, cap, align: Align::Centre }
    }
}

/// A number and its unit, without an allocator.
fn decimal<'b>(value: u32, unit: &str, buffer: &'b mut [u8; 16]) -> &'b str {
    let unit = unit.as_bytes();
    let mut start = buffer.len() - unit.len().min(4);
    if let Some(tail) = buffer.get_mut(start..) {
        tail.copy_from_slice(unit.get(..tail.len()).unwrap_or(&[]));
    }
    let mut rest = value;
    loop {
        start -= 1;
        if let Some(place) = buffer.get_mut(start) {
            *place = b'0' + (rest % 10) as u8;
        }
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    buffer.get(start..).and_then(|text| core::str::from_utf8(text).ok()).unwrap_or("")
}

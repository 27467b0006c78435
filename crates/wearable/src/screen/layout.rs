//! Where everything goes on a screen, worked out from its shape and from the size of the codes.
//! Pure: no pixel is touched here, and what is placed never overlaps, lies inside the visible area (for
//! a round screen inside the circle) and keeps the full quiet zone of every code. A bar code that
//! cannot be drawn is an error, never a smaller quiet zone.

mod rect;
mod round;

use embedded_graphics::prelude::*;
use embedded_graphics::primitives::Rectangle;

use super::text;

/// The visible area of a display.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScreenShape {
    /// Pixels across.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
    /// Whether only the inscribed circle can be seen.
    pub round: bool,
}

impl ScreenShape {
    /// A round display of a diameter in pixels.
    pub const fn round(diameter: u32) -> Self {
        Self { width: diameter, height: diameter, round: true }
    }

    /// A rectangular display.
    pub const fn rectangle(width: u32, height: u32) -> Self {
        Self { width, height, round: false }
    }

    /// Whether all of a rectangle can be seen. A rectangle whose corners lie inside a circle lies inside
    /// it as a whole, so only the corners are asked.
    pub fn shows(&self, area: Rectangle) -> bool {
        let (left, top) = (area.top_left.x, area.top_left.y);
        let (right, bottom) = (left + area.size.width as i32, top + area.size.height as i32);
        let inside = left >= 0 && top >= 0 && right <= self.width as i32 && bottom <= self.height as i32;
        let (width, height) = (self.width as i32, self.height as i32);
        inside
            && (!self.round
                || [(left, top), (right, top), (left, bottom), (right, bottom)].iter().all(|(x, y)| {
                    let (dx, dy) = (2 * x - width, 2 * y - height);
                    dx * dx + dy * dy <= width.min(height) * width.min(height)
                }))
    }
}

/// What of a payment code is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// Bar code and QR code at once: any till can read it.
    Combined,
    /// The bar code alone, as large as the screen allows.
    BarOnly,
    /// The QR code of the digits alone.
    QrOnly,
    /// The EMV QR code alone.
    EmvQr,
}

/// The screen has no room for the code at one pixel a module with its quiet zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooSmall;

/// A bar code's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BarPlace {
    /// Bars and both quiet zones.
    pub area: Rectangle,
    /// Pixels a module: 2 or more, or 1 where nothing else fits (some scanners then need the QR code).
    pub module: u32,
    /// Turned by 90°: the code runs from top to bottom.
    pub turned: bool,
}

/// A QR code's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QrPlace {
    /// Modules and quiet zone.
    pub area: Rectangle,
    /// Pixels a module.
    pub module: u32,
}

/// Which edge of its area a line of text keeps to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    /// Begins at the left edge.
    Left,
    /// Stands in the middle.
    Centre,
    /// Ends at the right edge.
    Right,
}

/// A line of text: the area is as high as its capital letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line {
    /// Where it may be.
    pub area: Rectangle,
    /// Height of capitals and digits in pixels.
    pub cap: i32,
    /// Its edge.
    pub align: Align,
}

/// The digits of a code in groups of four.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DigitsPlace {
    /// All lines together.
    pub area: Rectangle,
    /// Height of a digit in pixels.
    pub cap: i32,
    /// Digits in a line.
    pub per_line: usize,
    /// From one line to the next in pixels.
    pub line_height: i32,
}

/// Where it is shown whether the passcode session is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatePlace {
    /// A small icon in front of the account name, in its line.
    BeforeAccount,
    /// An icon of its own with the word "Verified" or "Limited".
    Apart {
        /// The icon.
        icon: Rectangle,
        /// The word.
        word: Line,
    },
}

/// The time left as a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Countdown {
    /// Round screens: a ring along the edge, by its outer and inner radius.
    Ring {
        /// Outer radius in pixels.
        outer: i32,
        /// Inner radius in pixels.
        inner: i32,
    },
    /// Other screens: a bar along the lower edge.
    Bar(Rectangle),
}

/// A page with a payment code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// The bar code, if the view has one.
    pub bar: Option<BarPlace>,
    /// The QR code, if the view has one.
    pub qr: Option<QrPlace>,
    /// The digits, if the view has them.
    pub digits: Option<DigitsPlace>,
    /// The masked account name. Firmware with a font of its own may draw the name here itself.
    pub account: Line,
    /// Whether the passcode session is open.
    pub state: StatePlace,
    /// Seconds left, as a number.
    pub seconds: Line,
    /// The word under the number, where there is room.
    pub seconds_word: Option<Line>,
    /// Seconds left, as a picture.
    pub countdown: Countdown,
}

/// The sizes a layout depends on: modules with quiet zones, and how many digits are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Content {
    /// Width of the bar code in modules.
    pub bar_modules: u32,
    /// Edge of the QR code in modules.
    pub qr_modules: u32,
    /// Digits of the code.
    pub digits: usize,
}

impl Layout {
    /// Lays a page out.
    pub fn new(shape: ScreenShape, view: View, content: Content) -> Result<Self, TooSmall> {
        let page = if shape.round { round::page(shape, view, content) } else { rect::page(shape, view, content) };
        page.ok_or(TooSmall)
    }
}

/// Largest number of pixels a module that is ever useful: beyond it a code only costs light.
const LARGEST_MODULE: i32 = 12;

/// Bars lower than a fifth of their length are hard to hit with a hand-held laser.
fn lowest_bar(length: i32) -> i32 {
    length / 5
}

fn rectangle(left: i32, top: i32, width: i32, height: i32) -> Rectangle {
    Rectangle::new(Point::new(left, top), Size::new(width.max(0) as u32, height.max(0) as u32))
}

fn line(left: i32, top: i32, width: i32, cap: i32, align: Align) -> Line {
    Line { area: rectangle(left, top, width, cap), cap, align }
}

/// Digits in one line at the largest capital height up to `cap` that fits into `width`.
fn digits_line(count: usize, top: i32, (left, width): (i32, i32), cap: i32) -> Option<DigitsPlace> {
    let cap = (text::SMALLEST_CAP..=cap).rev().find(|&cap| text::digits_width(count, cap) <= width)?;
    Some(DigitsPlace { area: rectangle(left, top, width, cap), cap, per_line: count, line_height: cap })
}

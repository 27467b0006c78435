//! Lines of text and groups of digits, drawn with the pen of [`super::pen`]. A line never leaves its
//! area: it shrinks first, and what still does not fit ends in an ellipsis.

use embedded_graphics::pixelcolor::Rgb565;
use embedded_graphics::prelude::*;
use embedded_graphics::primitives::Rectangle;

use super::glyphs::{self, CAP, Glyph, SPACING};
use super::layout::{Align, DigitsPlace, Line};
use super::pen::Stroke;

/// Smallest capital height, in pixels, that can still be read.
pub(crate) const SMALLEST_CAP: i32 = 9;
/// Digits stand in groups of this many, as on a bank card.
const GROUP: usize = 4;
/// Space between two groups, on top of that between two digits.
const GROUP_SPACING: i32 = 11;
const DIGIT_WIDTH: i32 = 16;
/// Thickness of the pen in glyph units: a seventh of a capital letter.
const PEN: i32 = 4;

/// Width of a line in pixels at a capital height.
pub(crate) fn width(text: &str, cap: i32) -> i32 {
    (units(text) * cap + CAP - 1) / CAP
}

fn units(text: &str) -> i32 {
    text.chars().map(|c| glyphs::glyph(c).width + SPACING).sum()
}

/// Width in pixels of so many digits in groups, in one line.
pub(crate) fn digits_width(count: usize, cap: i32) -> i32 {
    let groups = count.div_ceil(GROUP).max(1) as i32;
    let units = count as i32 * (DIGIT_WIDTH + SPACING) + (groups - 1) * GROUP_SPACING;
    (units * cap + CAP - 1) / CAP
}

/// Draws one line into its area, as tall as the line wants if it fits, with an icon before it if given.
pub(crate) fn draw<D>(
    target: &mut D,
    line: &Line,
    icon: Option<(Glyph, Rgb565)>,
    text: &str,
    ink: Rgb565,
    paper: Rgb565,
) -> Result<(), D::Error>
where
    D: DrawTarget,
    D::Color: From<Rgb565>,
{
    let room = line.area.size.width as i32;
    let icon_width = |cap: i32| icon.map_or(0, |(icon, _)| (icon.width + 2 * SPACING) * cap / CAP);
    let mut cap = line.cap;
    while cap > SMALLEST_CAP && icon_width(cap) + width(text, cap) > room {
        cap -= 1;
    }
    let (kept, ellipsis) = shorten(text, cap, room - icon_width(cap));
    let used = icon_width(cap) + width(kept, cap) + width(ellipsis, cap);
    let left = line.area.top_left.x;
    let x = match line.align {
        Align::Left => left,
        Align::Centre => left + (room - used) / 2,
        Align::Right => left + room - used,
    };
    // A line that had to shrink stays on the middle of the line it was given.
    let y = line.area.top_left.y + (line.cap - cap) / 2;
    let mut pen = Pen { x: x * 16 + cap * SPACING * 8 / CAP, y, cap };
    if let Some((icon, colour)) = icon {
        pen.put(target, icon, colour, paper)?;
        pen.skip(SPACING);
    }
    for character in kept.chars().chain(ellipsis.chars()) {
        pen.put(target, glyphs::glyph(character), ink, paper)?;
    }
    Ok(())
}

/// Paints paper over whatever digits were in a line: their pen reaches a little over and under it.
pub(crate) fn wipe<D>(target: &mut D, line: &Line, paper: Rgb565) -> Result<(), D::Error>
where
    D: DrawTarget,
    D::Color: From<Rgb565>,
{
    let reach = line.cap * PEN / CAP + 1;
    let Rectangle { top_left, size } = line.area;
    let area = Rectangle::new(top_left - Point::new(0, reach), size + Size::new(0, 2 * reach as u32));
    target.fill_solid(&area, paper.into())
}

/// As much of the text as fits, and the ellipsis if that is not all.
fn shorten(text: &str, cap: i32, room: i32) -> (&str, &'static str) {
    if width(text, cap) <= room {
        return (text, "");
    }
    let mut kept = text;
    while !kept.is_empty() && width(kept, cap) + width("…", cap) > room {
        kept = kept.char_indices().next_back().and_then(|(at, _)| kept.get(..at)).unwrap_or("");
    }
    (kept, "…")
}

/// Draws the digits of a code in groups, several lines if the place says so.
pub(crate) fn draw_digits<D>(
    target: &mut D,
    place: &DigitsPlace,
    digits: &str,
    ink: Rgb565,
    paper: Rgb565,
) -> Result<(), D::Error>
where
    D: DrawTarget,
    D::Color: From<Rgb565>,
{
    for (line, part) in (0i32..).zip(digits.as_bytes().chunks(place.per_line.max(1))) {
        let used = digits_width(part.len(), place.cap);
        let x = place.area.top_left.x + (place.area.size.width as i32 - used) / 2;
        let y = place.area.top_left.y + line * place.line_height;
        let mut pen = Pen { x: x * 16 + place.cap * SPACING * 8 / CAP, y, cap: place.cap };
        for (at, digit) in part.iter().enumerate() {
            if at > 0 && at % GROUP == 0 {
                pen.skip(GROUP_SPACING);
            }
            pen.put(target, glyphs::glyph(char::from(*digit)), ink, paper)?;
        }
    }
    Ok(())
}

/// Draws one icon in the middle of an area, as tall as the area.
pub(crate) fn draw_icon<D>(
    target: &mut D,
    area: Rectangle,
    icon: Glyph,
    ink: Rgb565,
    paper: Rgb565,
) -> Result<(), D::Error>
where
    D: DrawTarget,
    D::Color: From<Rgb565>,
{
    let cap = area.size.height as i32;
    let x = area.top_left.x * 16 + (area.size.width as i32 * 16 - icon.width * cap * 16 / CAP) / 2;
    Pen { x, y: area.top_left.y, cap }.put(target, icon, ink, paper)
}

/// Where the next glyph goes: `x` in 1/16 pixels.
struct Pen {
    x: i32,
    y: i32,
    cap: i32,
}

impl Pen {
    fn skip(&mut self, units: i32) {
        self.x += units * self.cap * 16 / CAP;
    }

    fn put<D>(&mut self, target: &mut D, glyph: Glyph, ink: Rgb565, paper: Rgb565) -> Result<(), D::Error>
    where
        D: DrawTarget,
        D::Color: From<Rgb565>,
    {
        let stroke = Stroke::glyph(glyph, self.x, self.y, self.cap, PEN);
        self.skip(glyph.width + SPACING);
        stroke.paint(target, stroke.bounds(), ink, paper)
    }
}

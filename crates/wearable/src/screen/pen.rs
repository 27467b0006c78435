//! A round pen with soft edges: draws glyph paths, discs, capsules and the countdown ring.
//! Only integers, no heap; every pixel is blended against a known background, so nothing has to be read
//! back from the display, and an area is written once, in the order displays like.

use core::str::Bytes;

use embedded_graphics::pixelcolor::{Rgb565, RgbColor};
use embedded_graphics::prelude::*;
use embedded_graphics::primitives::Rectangle;

use super::glyphs::{CAP, Glyph};

/// Parts of a pixel the pen reckons in.
const SUB: i32 = 16;
/// Straight pieces a curve is cut into: off by less than a third of a pixel at any size used here.
const PIECES: i32 = 6;
const MAX_SEGMENTS: usize = 96;

/// A straight piece, in parts of a pixel.
#[derive(Clone, Copy, Default)]
struct Segment {
    ax: i32,
    ay: i32,
    bx: i32,
    by: i32,
    length: i32,
}

impl Segment {
    fn new((ax, ay): (i32, i32), (bx, by): (i32, i32)) -> Self {
        Self { ax, ay, bx, by, length: distance(bx - ax, by - ay) }
    }

    /// Distance of a point from the piece, or `None` where it is beyond `reach` anyway.
    fn distance(&self, x: i32, y: i32, reach: i32) -> Option<i32> {
        let outside = x + reach < self.ax.min(self.bx)
            || x - reach > self.ax.max(self.bx)
            || y + reach < self.ay.min(self.by)
            || y - reach > self.ay.max(self.by);
        if outside {
            return None;
        }
        let (dx, dy) = (self.bx - self.ax, self.by - self.ay);
        let (px, py) = (x - self.ax, y - self.ay);
        let along = px * dx + py * dy;
        Some(if along <= 0 || self.length == 0 {
            distance(px, py)
        } else if along >= self.length * self.length {
            distance(x - self.bx, y - self.by)
        } else {
            (px * dy - py * dx).abs() / self.length
        })
    }
}

fn distance(dx: i32, dy: i32) -> i32 {
    (dx * dx + dy * dy).isqrt()
}

/// A path made of straight pieces, and the pen that follows it.
pub(crate) struct Stroke {
    segments: [Segment; MAX_SEGMENTS],
    count: usize,
    radius: i32,
}

impl Stroke {
    fn with_radius(radius: i32) -> Self {
        Self { segments: [Segment::default(); MAX_SEGMENTS], count: 0, radius }
    }

    /// A glyph of capital height `cap` pixels whose upper left corner is at (`x`, `y`), given in pixels
    /// and in 1/16 pixels for `x`, so that letters are spaced evenly at any size.
    pub(crate) fn glyph(glyph: Glyph, x_sub: i32, y: i32, cap: i32, pen_units: i32) -> Self {
        let to_sub = |(gx, gy): (i32, i32)| (x_sub + gx * cap * SUB / CAP, y * SUB + (gy * cap * SUB + CAP / 2) / CAP);
        // Half a pen of less than 0.6 pixels would be a grey ghost of a letter.
        let mut stroke = Self::with_radius((pen_units * cap * SUB / (CAP * 2)).max(10));
        let mut numbers = Path(glyph.path.bytes());
        let mut at = (0, 0);
        while let Some(command) = numbers.0.next() {
            let end = match command {
                b'M' => {
                    at = numbers.point();
                    continue;
                }
                b'Q' => {
                    let control = numbers.point();
                    let end = numbers.point();
                    stroke.curve(to_sub(at), to_sub(control), to_sub(end));
                    end
                }
                _ => {
                    let end = numbers.point();
                    stroke.push(Segment::new(to_sub(at), to_sub(end)));
                    end
                }
            };
            at = end;
        }
        stroke
    }

    /// A capsule from `a` to `b` of a thickness in pixels; with `a` = `b` a disc.
    pub(crate) fn capsule(a: Point, b: Point, thickness: i32) -> Self {
        let mut stroke = Self::with_radius(thickness * SUB / 2);
        stroke.push(Segment::new((a.x * SUB, a.y * SUB), (b.x * SUB, b.y * SUB)));
        stroke
    }

    fn push(&mut self, segment: Segment) {
        if let Some(place) = self.segments.get_mut(self.count) {
            *place = segment;
            self.count += 1;
        }
    }

    fn curve(&mut self, from: (i32, i32), control: (i32, i32), to: (i32, i32)) {
        let along = |a: i32, b: i32, c: i32, t: i32| {
            let u = PIECES - t;
            (a * u * u + 2 * b * u * t + c * t * t) / (PIECES * PIECES)
        };
        let mut last = from;
        for t in 1..=PIECES {
            let next = (along(from.0, control.0, to.0, t), along(from.1, control.1, to.1, t));
            self.push(Segment::new(last, next));
            last = next;
        }
    }

    /// The smallest area that holds all ink.
    pub(crate) fn bounds(&self) -> Rectangle {
        let corner = |pick: fn(i32, i32) -> i32| {
            let ends = self.segments.iter().take(self.count);
            ends.map(|s| (pick(s.ax, s.bx), pick(s.ay, s.by))).reduce(|a, b| (pick(a.0, b.0), pick(a.1, b.1)))
        };
        let (Some(low), Some(high)) = (corner(i32::min), corner(i32::max)) else {
            return Rectangle::zero();
        };
        let reach = self.radius + SUB / 2;
        let pixel = |at: i32| at.div_euclid(SUB);
        Rectangle::with_corners(
            Point::new(pixel(low.0 - reach), pixel(low.1 - reach)),
            Point::new(pixel(high.0 + reach), pixel(high.1 + reach)),
        )
    }

    /// How much of a pixel is inked, 0 to 16.
    fn coverage(&self, pixel: Point) -> i32 {
        let (x, y) = (pixel.x * SUB + SUB / 2, pixel.y * SUB + SUB / 2);
        let reach = self.radius + SUB / 2;
        let nearest = self
            .segments
            .iter()
            .take(self.count)
            .filter_map(|segment| segment.distance(x, y, reach))
            .min()
            .unwrap_or(reach);
        (reach - nearest).clamp(0, SUB)
    }

    /// Fills `area` with `paper` and the stroke upon it in `ink`.
    pub(crate) fn paint<D>(&self, target: &mut D, area: Rectangle, ink: Rgb565, paper: Rgb565) -> Result<(), D::Error>
    where
        D: DrawTarget,
        D::Color: From<Rgb565>,
    {
        let pixels = area.points().map(|p| D::Color::from(blend(ink, paper, self.coverage(p))));
        target.fill_contiguous(&area, pixels)
    }
}

struct Path<'a>(Bytes<'a>);

impl Path<'_> {
    fn point(&mut self) -> (i32, i32) {
        (self.number(), self.number())
    }

    /// Reads up to the first byte that belongs to no number, which stays for the next reader unless it
    /// is the space between two.
    fn number(&mut self) -> i32 {
        let (mut value, mut sign) = (0, 1);
        loop {
            let mut ahead = self.0.clone();
            match ahead.next() {
                Some(b'-') => sign = -1,
                Some(digit @ b'0'..=b'9') => value = value * 10 + i32::from(digit - b'0'),
                Some(b' ') => {
                    self.0 = ahead;
                    return value * sign;
                }
                _ => return value * sign,
            }
            self.0 = ahead;
        }
    }
}

/// Mixes ink into paper, `coverage` of 16 parts.
fn blend(ink: Rgb565, paper: Rgb565, coverage: i32) -> Rgb565 {
    let mix =
        |ink: u8, paper: u8| ((i32::from(ink) * coverage + i32::from(paper) * (SUB - coverage) + SUB / 2) / SUB) as u8;
    Rgb565::new(mix(ink.r(), paper.r()), mix(ink.g(), paper.g()), mix(ink.b(), paper.b()))
}

/// A ring that starts at twelve o'clock and fills clockwise, as a clock's hand runs.
pub(crate) struct Ring {
    /// Size of the area it is centred in.
    pub(crate) size: Size,
    /// Outer and inner radius in pixels.
    pub(crate) outer: i32,
    /// See `outer`.
    pub(crate) inner: i32,
}

impl Ring {
    /// Draws the ring, filled for `part` of `whole`.
    pub(crate) fn paint<D>(
        &self,
        target: &mut D,
        (part, whole): (u32, u32),
        ink: Rgb565,
        track: Rgb565,
        paper: Rgb565,
    ) -> Result<(), D::Error>
    where
        D: DrawTarget,
        D::Color: From<Rgb565>,
    {
        let degrees = (part.min(whole) * 360 / whole.max(1)) as i32;
        let arc = Arc::new(degrees, self.outer, self.inner);
        let (width, height) = (self.size.width as i32, self.size.height as i32);
        let pixels = (0..height).flat_map(|y| {
            // Only the two spans of a row the ring crosses are looked at.
            let dy = (2 * y + 1 - height) / 2;
            let far = span(self.outer + 1, dy);
            let near = if dy.abs() > self.inner - 1 { 0 } else { span(self.inner - 1, dy) - 1 };
            let (left, right) = (width / 2 - far - 1, width / 2 + far + 1);
            let inner_left = width / 2 - near;
            let inner_right = (width / 2 + near).max(inner_left);
            (left.max(0)..inner_left).chain(inner_right..right.min(width)).map(move |x| (x, y))
        });
        target.draw_iter(pixels.filter_map(|(x, y)| {
            let dx = (2 * x + 1 - width) * SUB / 2;
            let dy = (2 * y + 1 - height) * SUB / 2;
            let (band, filled) = arc.coverage(dx, dy);
            let under = blend(track, paper, band);
            (band > 0).then(|| Pixel(Point::new(x, y), D::Color::from(blend(ink, under, filled))))
        }))
    }
}

/// Half the width of a disc `dy` above its centre.
fn span(radius: i32, dy: i32) -> i32 {
    (radius * radius - dy * dy).max(0).isqrt()
}

/// The filled part of a ring: a sector with round ends.
struct Arc {
    degrees: i32,
    end: (i32, i32),
    tip: (i32, i32),
    middle: i32,
    outer: i32,
    inner: i32,
}

impl Arc {
    fn new(degrees: i32, outer: i32, inner: i32) -> Self {
        let end = (sine(degrees), -sine(degrees + 90));
        let (outer, inner) = (outer * SUB, inner * SUB);
        let middle = (outer + inner) / 2;
        let tip = (end.0 * middle / ONE, end.1 * middle / ONE);
        Self { degrees, end, tip, middle, outer, inner }
    }

    /// How much of the pixel the ring covers, and how much the filled part of it.
    fn coverage(&self, dx: i32, dy: i32) -> (i32, i32) {
        let from_centre = distance(dx, dy);
        let within = |edge: i32| (edge + SUB / 2).clamp(0, SUB);
        let band = within(self.outer - from_centre).min(within(from_centre - self.inner));
        if self.degrees <= 0 {
            return (band, 0);
        }
        let before_end = self.end.0 * dy - self.end.1 * dx <= 0;
        let inside = match self.degrees {
            360.. => true,
            181.. => dx >= 0 || before_end,
            _ => dx >= 0 && before_end,
        };
        let half = (self.outer - self.inner) / 2;
        let tip = within(half - distance(dx - self.tip.0, dy - self.tip.1));
        let root = within(half - distance(dx, dy + self.middle));
        (band, if inside { band } else { tip.max(root).min(band) })
    }
}

/// What [`sine`] calls one.
const ONE: i32 = 4096;

/// Bhaskara's approximation, good to 0.002: a third of a pixel at the edge of a large watch.
fn sine(degrees: i32) -> i32 {
    let degrees = degrees.rem_euclid(360);
    let half = degrees % 180;
    let arch = half * (180 - half);
    let value = 4 * arch * ONE / (40500 - arch);
    if degrees >= 180 { -value } else { value }
}

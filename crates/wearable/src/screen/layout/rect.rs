//! Pages for rectangular screens: stacked where the bar code fits across, side by side with the bar
//! code turned by 90° on narrow bands. A bar along the lower edge counts down.

use embedded_graphics::primitives::Rectangle;

use super::{
    Align, BarPlace, Content, Countdown, DigitsPlace, LARGEST_MODULE, Layout, Line, QrPlace, ScreenShape, StatePlace,
    View, digits_line, line, lowest_bar, rectangle,
};
use crate::screen::text::digits_width;

/// The screen between header and countdown bar.
struct Sheet {
    width: i32,
    top: i32,
    bottom: i32,
    margin: i32,
    cap: i32,
    header: Header,
    countdown: Rectangle,
}

/// What stands beside a turned bar code: where the column begins, and where a QR code may go in it.
struct Column {
    left: i32,
    qr_top: i32,
    layout: Layout,
}

/// The line of texts at the top.
struct Header {
    account: Line,
    seconds: Line,
}

pub(super) fn page(shape: ScreenShape, view: View, content: Content) -> Option<Layout> {
    let sheet = Sheet::new(shape);
    match view {
        View::Combined => sheet.combined(content),
        View::BarOnly => sheet.bar_only(content),
        View::QrOnly => sheet.qr_only(content, true),
        View::EmvQr => sheet.qr_only(content, false),
    }
}

impl Sheet {
    fn new(shape: ScreenShape) -> Self {
        let (width, height) = (shape.width as i32, shape.height as i32);
        let margin = (width.min(height) / 30).max(4);
        let cap = (width.min(height) / 17).clamp(9, 22);
        let thickness = (height / 50).max(4);
        let countdown = rectangle(margin, height - margin / 2 - thickness, width - 2 * margin, thickness);
        let number = cap * 3;
        let header = Header {
            account: line(margin, margin + cap / 4, width - 3 * margin - number, cap, Align::Left),
            seconds: line(width - margin - number, margin + cap / 4, number, cap, Align::Right),
        };
        // Letters with a tail reach two fifths of a capital below their line.
        let top = margin + cap / 4 + cap + cap / 2;
        Self { width, top, bottom: height - margin - thickness, margin, cap, header, countdown }
    }

    fn base(&self) -> Layout {
        Layout {
            bar: None,
            qr: None,
            digits: None,
            account: self.header.account,
            state: StatePlace::BeforeAccount,
            seconds: self.header.seconds,
            seconds_word: None,
            countdown: Countdown::Bar(self.countdown),
        }
    }

    /// The first of these that can be drawn: stacked or side by side at two pixels a module or more;
    /// the same at one pixel, which small scanners may miss.
    fn combined(&self, content: Content) -> Option<Layout> {
        let both = |module| self.stacked(content, module).or_else(|| self.side_by_side(content, module));
        (1..=LARGEST_MODULE).rev().find_map(both)
    }

    fn stacked(&self, content: Content, module: i32) -> Option<Layout> {
        let length = content.bar_modules as i32 * module;
        let left = (self.width >= length).then_some((self.width - length) / 2)?;
        let gap = self.cap / 2;
        (2..=LARGEST_MODULE).rev().find_map(|qr_module| {
            let side = content.qr_modules as i32 * qr_module;
            let digits_room = self.digits_room();
            let left_over = self.bottom - self.top - side - self.cap - 3 * gap;
            if left_over < lowest_bar(length) || side > self.width {
                return None;
            }
            let height = left_over.min(length * 2 / 5);
            let slack = (left_over - height) / 2;
            let top = self.top + slack;
            let digits = digits_line(content.digits, top + height + gap, digits_room, self.cap)?;
            let bar = BarPlace { area: rectangle(left, top, length, height), module: module as u32, turned: false };
            let qr = self.qr(side, qr_module, (0, self.width), top + height + 2 * gap + self.cap);
            Some(Layout { bar: Some(bar), qr: Some(qr), digits: Some(digits), ..self.base() })
        })
    }

    /// The turned bar code on the left; QR code above digits on the right.
    fn side_by_side(&self, content: Content, module: i32) -> Option<Layout> {
        (2..=LARGEST_MODULE).rev().find_map(|qr_module| {
            let side = content.qr_modules as i32 * qr_module;
            let column = self.beside_bar(content, module, side)?;
            let room = (column.left, self.width - column.left);
            let qr = self.qr(side, qr_module, room, column.qr_top);
            Some(Layout { qr: Some(qr), ..column.layout })
        })
    }

    /// The turned bar code on the left; on the right all texts, below a gap `side` high and wide.
    fn beside_bar(&self, content: Content, module: i32, side: i32) -> Option<Column> {
        let length = content.bar_modules as i32 * module;
        // Its quiet zones are white as the screen, so texts may stand beside it but not over it: the
        // header moves to the right column.
        let top = (self.bottom >= length).then_some((self.bottom - length) / 2)?;
        let widest = side.max(self.width * 11 / 20) + self.margin;
        let thickness = (self.width - widest).min(length * 2 / 5);
        if thickness < lowest_bar(length) * 4 / 5 {
            return None;
        }
        let left = self.margin + thickness;
        let text = (left + self.margin, self.width - left - 2 * self.margin);
        let qr_top = self.margin + self.cap * 5 / 2;
        let digits_top = qr_top + side + self.cap / 2;
        let digits = digits_block(content.digits, digits_top, text, self.cap * 3 / 2)?;
        let digits_bottom = digits_top + digits.area.size.height as i32;
        let seconds_cap = self.cap * 2;
        let seconds_top = digits_bottom + (self.bottom - digits_bottom - seconds_cap) / 2;
        if seconds_top < digits_bottom + self.cap / 2 {
            return None;
        }
        let area = rectangle(self.margin, top, thickness, length);
        let layout = Layout {
            bar: Some(BarPlace { area, module: module as u32, turned: true }),
            digits: Some(digits),
            account: line(text.0, self.margin + self.cap / 2, text.1, self.cap, Align::Centre),
            seconds: line(text.0, seconds_top, text.1, seconds_cap, Align::Centre),
            ..self.base()
        };
        Some(Column { left, qr_top, layout })
    }

    /// Across or turned, whichever gives the wider modules; across where both give the same.
    fn bar_only(&self, content: Content) -> Option<Layout> {
        (1..=LARGEST_MODULE).rev().find_map(|module| {
            self.bar_across(content, module).or_else(|| Some(self.beside_bar(content, module, 0)?.layout))
        })
    }

    fn bar_across(&self, content: Content, module: i32) -> Option<Layout> {
        let length = content.bar_modules as i32 * module;
        let left = (self.width >= length).then_some((self.width - length) / 2)?;
        let room = self.bottom - self.top - 2 * self.cap;
        let height = room.min(length * 3 / 5);
        if height < lowest_bar(length) {
            return None;
        }
        let top = self.top + (room - height) / 2;
        let digits_top = top + height + self.cap / 2;
        let digits = digits_line(content.digits, digits_top, self.digits_room(), self.cap * 5 / 4)?;
        let area = rectangle(left, top, length, height);
        let bar = BarPlace { area, module: module as u32, turned: false };
        Some(Layout { bar: Some(bar), digits: Some(digits), ..self.base() })
    }

    fn qr_only(&self, content: Content, with_digits: bool) -> Option<Layout> {
        (1..=LARGEST_MODULE).rev().find_map(|module| {
            let side = content.qr_modules as i32 * module;
            let digits = if with_digits {
                Some(digits_block(content.digits, 0, self.digits_room(), self.cap * 5 / 4)?)
            } else {
                None
            };
            let under = digits.map_or(0, |place| place.area.size.height as i32 + self.cap / 2);
            let room = self.bottom - self.top - side - under;
            if side > self.width || room < 0 {
                return None;
            }
            let top = self.top + room / 2;
            let digits = digits.map(|mut place| {
                place.area.top_left.y = top + side + (self.cap / 4).min(room / 4);
                place
            });
            let qr = self.qr(side, module, (0, self.width), top);
            Some(Layout { qr: Some(qr), digits, ..self.base() })
        })
    }

    fn digits_room(&self) -> (i32, i32) {
        (self.margin, self.width - 2 * self.margin)
    }

    fn qr(&self, side: i32, module: i32, (left, room): (i32, i32), top: i32) -> QrPlace {
        QrPlace { area: rectangle(left + (room - side) / 2, top, side, side), module: module as u32 }
    }
}

/// Digits in as few lines as keep them at three quarters of the wanted height, the lines about as long
/// as each other.
fn digits_block(count: usize, top: i32, (left, width): (i32, i32), cap: i32) -> Option<DigitsPlace> {
    let groups = count.div_ceil(4);
    (1..=groups).find_map(|lines| {
        let per_line = (groups.div_ceil(lines) * 4).min(count);
        let cap = (cap * 3 / 4..=cap).rev().find(|&cap| digits_width(per_line, cap) <= width)?;
        let lines = count.div_ceil(per_line) as i32;
        let line_height = cap * 8 / 5;
        let area = rectangle(left, top, width, (lines - 1) * line_height + cap);
        Some(DigitsPlace { area, cap, per_line, line_height })
    })
}

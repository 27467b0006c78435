//! Pages for round screens. A circle leaves little room at top and bottom, so the codes sit in the
//! middle, and text goes where the chord is short; a ring at the edge counts down.

use super::{
    Align, BarPlace, Content, Countdown, LARGEST_MODULE, Layout, QrPlace, ScreenShape, StatePlace, View, digits_line,
    line, lowest_bar, rectangle,
};

/// The circle inside the ring. Coordinates here have their origin in its centre.
struct Disc {
    centre: i32,
    radius: i32,
    outer: i32,
    inner: i32,
}

pub(super) fn page(shape: ScreenShape, view: View, content: Content) -> Option<Layout> {
    let disc = Disc::new(shape);
    match view {
        View::Combined => disc.combined(content),
        View::BarOnly => disc.bar_only(content),
        View::QrOnly => disc.qr_only(content, true),
        View::EmvQr => disc.qr_only(content, false),
    }
}

impl Disc {
    fn new(shape: ScreenShape) -> Self {
        let centre = shape.width.min(shape.height) as i32 / 2;
        let outer = centre - centre / 100;
        let inner = outer - (centre / 22).max(4);
        Self { centre, radius: inner - (centre / 60).max(2), outer, inner }
    }

    /// Half the width that can be seen at a distance from the centre.
    fn half_chord(&self, y: i32) -> i32 {
        (self.radius * self.radius - y * y).max(0).isqrt()
    }

    fn gap(&self) -> i32 {
        (self.radius / 24).max(3)
    }

    fn cap(&self) -> i32 {
        (self.radius / 12).max(9)
    }

    /// What may be written between two heights: the chord at the one farther out.
    fn room(&self, top: i32, bottom: i32) -> (i32, i32) {
        let half = self.half_chord(top.abs().max(bottom.abs())) - self.gap() / 2;
        (self.centre - half, 2 * half)
    }

    fn countdown(&self) -> Countdown {
        Countdown::Ring { outer: self.outer, inner: self.inner }
    }

    fn bar(&self, content: Content, module: i32, top: i32, bottom: i32) -> BarPlace {
        let width = content.bar_modules as i32 * module;
        let area = rectangle(self.centre - width / 2, self.centre + top, width, bottom - top);
        BarPlace { area, module: module as u32, turned: false }
    }

    fn qr(&self, side: i32, module: i32, top: i32) -> QrPlace {
        let area = rectangle(self.centre - side / 2, self.centre + top, side, side);
        QrPlace { area, module: module as u32 }
    }

    /// From the top: account, bar code, digits, then the QR code between lock state and seconds.
    fn combined(&self, content: Content) -> Option<Layout> {
        let candidates = (1..=LARGEST_MODULE).rev().flat_map(|bar| {
            // The bar code is the harder one to draw, so the QR code gives way to it; below three
            // pixels a module the QR code is worth more.
            (3..=LARGEST_MODULE).rev().map(move |qr| (bar, qr))
        });
        candidates.into_iter().find_map(|(bar, qr)| self.combined_with(content, bar, qr))
    }

    fn combined_with(&self, content: Content, module: i32, qr_module: i32) -> Option<Layout> {
        let (gap, cap) = (self.gap(), self.cap());
        let length = content.bar_modules as i32 * module;
        let reach = (length / 2 < self.radius).then(|| self.half_chord((length + 1) / 2))?;
        let side = content.qr_modules as i32 * qr_module;
        let qr_top = (side / 2 < self.radius).then(|| self.half_chord((side + 1) / 2) - side)?;
        let digits_top = qr_top - gap / 2 - cap;
        let bottom = digits_top - gap;
        let top = (-reach).max(bottom - length * 2 / 5).max(-self.radius * 2 / 3);
        if bottom > reach || bottom - top < lowest_bar(length) {
            return None;
        }
        let digits =
            digits_line(content.digits, self.centre + digits_top, self.room(digits_top, digits_top + cap), cap)?;
        // The name stands in the middle of the cap of the circle above the bars, a little lower where
        // the chord is longer.
        let account_top = (-self.radius + (self.radius + top) * 5 / 9 - cap / 2).min(top - gap - cap);
        let (left, width) = self.room(account_top, account_top + cap);

        let middle = qr_top + side * 2 / 5;
        let half_height = self.radius / 6;
        let wing = self.half_chord((middle + half_height).abs()) - side / 2;
        if wing < self.radius / 4 {
            return None;
        }
        // The white around the QR code keeps the texts off it; the ring needs a little distance.
        let (left_wing, right_wing) = (self.centre - side / 2 - wing + gap / 2, self.centre + (side + 1) / 2);
        let wing = wing - gap / 2;
        let icon = self.radius / 8;
        let (sign_top, word_top) = (self.centre + middle - half_height, self.centre + middle + gap);
        let word = (cap * 3 / 4).max(9);
        Some(Layout {
            bar: Some(self.bar(content, module, top, bottom)),
            qr: Some(self.qr(side, qr_module, qr_top)),
            digits: Some(digits),
            account: line(left, self.centre + account_top, width, cap, Align::Centre),
            state: StatePlace::Apart {
                icon: rectangle(left_wing + (wing - icon) / 2, sign_top + gap / 2, icon, icon),
                word: line(left_wing, word_top, wing, word, Align::Centre),
            },
            seconds: line(right_wing, sign_top + gap / 2, wing, icon, Align::Centre),
            seconds_word: Some(line(right_wing, word_top, wing, word, Align::Centre)),
            countdown: self.countdown(),
        })
    }

    /// From the top: account with lock state, bar code, digits, seconds.
    fn bar_only(&self, content: Content) -> Option<Layout> {
        let (gap, cap) = (self.gap(), self.cap());
        (1..=LARGEST_MODULE).rev().find_map(|module| {
            let length = content.bar_modules as i32 * module;
            let reach = (length / 2 < self.radius).then(|| self.half_chord((length + 1) / 2))?;
            let half = self.radius / 3;
            let (top, bottom) = ((-half - gap * 2).max(-reach), half.min(reach));
            // Alone on the page the bars are easier to hit, so wider modules win over height.
            if bottom - top < length * 3 / 20 {
                return None;
            }
            let digits_top = bottom + gap * 2;
            let room = self.room(digits_top, digits_top + cap);
            Some(Layout {
                bar: Some(self.bar(content, module, top, bottom)),
                // Where they would be too small to read, the bars alone do.
                digits: digits_line(content.digits, self.centre + digits_top, room, cap),
                ..self.texts(top, digits_top + cap + gap * 2, self.radius / 7)
            })
        })
    }

    /// From the top: account with lock state, QR code, digits where wanted, seconds.
    fn qr_only(&self, content: Content, with_digits: bool) -> Option<Layout> {
        let (gap, cap) = (self.gap(), self.cap());
        let lowest = self.radius * 15 / 16;
        (1..=LARGEST_MODULE).rev().find_map(|module| {
            let side = content.qr_modules as i32 * module;
            let reach = (side / 2 < self.radius).then(|| self.half_chord((side + 1) / 2))?;
            // Digits push the code up by half of what they take.
            let under = if with_digits { cap + gap / 2 } else { 0 };
            let top = -(side + under) / 2;
            let bottom = top + side;
            let seconds_top = bottom + under + gap * 4 / 3;
            if -top > reach || seconds_top + cap > lowest || gap + cap - top > lowest {
                return None;
            }
            let digits = if with_digits {
                let digits_top = bottom + gap / 2;
                let room = self.room(digits_top, digits_top + cap);
                let place = digits_line(content.digits, self.centre + digits_top, room, cap)?;
                // A smaller code is better than digits nobody can read out.
                (place.cap * 4 >= cap * 3).then_some(Some(place))?
            } else {
                None
            };
            Some(Layout { qr: Some(self.qr(side, module, top)), digits, ..self.texts(top, seconds_top, cap) })
        })
    }

    /// A page without codes yet: lock state and account above `top`, seconds below.
    fn texts(&self, top: i32, seconds_top: i32, seconds_cap: i32) -> Layout {
        let (gap, cap) = (self.gap(), self.cap());
        let account_top = (-self.radius + (self.radius + top) * 3 / 5 - cap / 2).min(top - gap - cap);
        let (left, width) = self.room(account_top, account_top + cap);
        let seconds_room = self.room(seconds_top, seconds_top + seconds_cap);
        Layout {
            bar: None,
            qr: None,
            digits: None,
            account: line(left, self.centre + account_top, width, cap, Align::Centre),
            state: StatePlace::BeforeAccount,
            seconds: line(seconds_room.0, self.centre + seconds_top, seconds_room.1, seconds_cap, Align::Centre),
            seconds_word: None,
            countdown: self.countdown(),
        }
    }
}

//! The page of a payment's result: what became of it, how much, where, when.

use embedded_graphics::pixelcolor::Rgb565;
use embedded_graphics::prelude::*;
use embedded_graphics::primitives::Rectangle;
use protocol::applet::PaymentOutcome;

use super::layout::{Line, ScreenShape};
use super::pages::{Column, INK, MUTED, Mood, WHITE, sign};
use super::text;

/// A payment's result as it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResultFace<'a> {
    /// What became of it.
    pub outcome: PaymentOutcome,
    /// How much, in minor units.
    pub amount_minor: u64,
    /// How much of it has been given back, in minor units.
    pub refunded_minor: u64,
    /// The currency, as three letters of ISO 4217.
    pub currency: &'a str,
    /// Digits behind the point of that currency, 0 to 4.
    pub decimals: u8,
    /// Who was paid. ASCII and a few signs are drawn; each other character becomes a box. Firmware with a font of its own
    /// leaves it empty, and draws the name where [`ResultLayout::merchant`] is.
    pub merchant: &'a str,
    /// When, Unix seconds.
    pub unix_s: u64,
    /// What the wearer's clock shows beyond UTC, minutes: 480 in China.
    pub utc_offset_minutes: i16,
}

/// Where a result's page puts its lines, from top to bottom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResultLayout {
    /// The disc with a sign.
    pub disc: Rectangle,
    /// What became of it, in a word or three.
    pub word: Line,
    /// The amount with its currency.
    pub amount: Line,
    /// Who was paid.
    pub merchant: Line,
    /// What more there is to say; often nothing.
    pub note: Line,
    /// Day and time of day.
    pub time: Line,
}

impl ResultLayout {
    /// Works the page out; nothing where the screen is too small for it.
    pub(crate) fn new(shape: ScreenShape) -> Option<Self> {
        let column = Column::new(shape);
        let side = column.side;
        let cap = |part: i32, least: i32| (side / part).max(least);
        let (disc, gap) = (cap(6, 14), cap(30, 4));
        let caps = [cap(18, 11), cap(9, 14), cap(18, 11), cap(25, 9), cap(25, 9)];
        // Wider gaps where letters reach below their line.
        let gaps = [gap, 2 * gap, 2 * gap, gap * 3 / 2, gap * 3 / 2];
        let height = disc + caps.iter().chain(&gaps).sum::<i32>();
        let mut top = -height / 2;
        let centre = column.centre + Point::new(0, top + disc / 2);
        let disc_area = Rectangle::with_center(centre, Size::new_equal(disc as u32));
        top += disc;
        let mut lines = caps.into_iter().zip(gaps).map(|(cap, gap)| {
            top += gap;
            let line = column.line(top, cap);
            top += cap;
            line
        });
        let layout = Self {
            disc: disc_area,
            word: lines.next()?,
            amount: lines.next()?,
            merchant: lines.next()?,
            note: lines.next()?,
            time: lines.next()?,
        };
        let areas = [layout.word, layout.amount, layout.merchant, layout.note, layout.time].map(|line| line.area);
        let fits = |area: &Rectangle| shape.shows(*area) && area.size.width as i32 >= side / 3;
        (shape.shows(layout.disc) && areas.iter().all(fits)).then_some(layout)
    }
}

impl ResultFace<'_> {
    /// How it is meant, and what became of it.
    fn word(&self) -> (Mood, &'static str) {
        match self.outcome {
            PaymentOutcome::Paid if self.refunded_minor >= self.amount_minor => (Mood::Good, "Given back"),
            PaymentOutcome::Paid => (Mood::Good, "Paid"),
            PaymentOutcome::Declined => (Mood::Bad, "Declined"),
            PaymentOutcome::Waits => (Mood::Wait, "Confirm on phone"),
            PaymentOutcome::Cancelled => (Mood::Act, "Cancelled"),
        }
    }

    /// What more there is to say.
    fn note<'b>(&self, buffer: &'b mut Buffer) -> &'b str {
        match self.outcome {
            PaymentOutcome::Paid if self.refunded_minor == 0 => "",
            PaymentOutcome::Paid if self.refunded_minor >= self.amount_minor => "all of it",
            PaymentOutcome::Paid => {
                buffer.money(self.refunded_minor, self.decimals, self.currency);
                buffer.put(" given back");
                buffer.as_str()
            }
            PaymentOutcome::Declined | PaymentOutcome::Cancelled => "nothing was charged",
            PaymentOutcome::Waits => "not paid yet",
        }
    }
}

/// Draws the page.
pub(crate) fn draw<D>(target: &mut D, layout: &ResultLayout, face: &ResultFace<'_>) -> Result<(), D::Error>
where
    D: DrawTarget,
    D::Color: From<Rgb565>,
{
    let (mood, word) = face.word();
    let colour = sign(target, layout.disc, mood)?;
    text::draw(target, &layout.word, None, word, colour, WHITE)?;
    let mut amount = Buffer::new();
    amount.money(face.amount_minor, face.decimals, face.currency);
    text::draw(target, &layout.amount, None, amount.as_str(), INK, WHITE)?;
    text::draw(target, &layout.merchant, None, face.merchant, INK, WHITE)?;
    text::draw(target, &layout.note, None, face.note(&mut Buffer::new()), MUTED, WHITE)?;
    let mut time = Buffer::new();
    time.moment(face.unix_s, face.utc_offset_minutes);
    text::draw(target, &layout.time, None, time.as_str(), MUTED, WHITE)
}

/// A short text of ASCII, put together without an allocator; what does not fit is left out. The longest holds 20 digits, a point,
/// a currency and two words.
struct Buffer {
    bytes: [u8; 48],
    length: usize,
}

impl Buffer {
    const fn new() -> Self {
        Self { bytes: [0; 48], length: 0 }
    }

    fn as_str(&self) -> &str {
        self.bytes.get(..self.length).and_then(|text| core::str::from_utf8(text).ok()).unwrap_or("")
    }

    fn put(&mut self, text: &str) {
        for byte in text.bytes() {
            if let Some(place) = self.bytes.get_mut(self.length) {
                *place = byte;
                self.length += 1;
            }
        }
    }

    /// A number of at least so many digits.
    fn number(&mut self, value: u64, at_least: u32) {
        for place in (0..20).rev() {
            let digit = value / 10_u64.pow(place) % 10;
            if place < at_least || value >= 10_u64.pow(place) {
                // A digit is below ten.
                self.put(["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"].get(digit as usize).unwrap_or(&""));
            }
        }
    }

    fn money(&mut self, minor: u64, decimals: u8, currency: &str) {
        let one = 10_u64.checked_pow(decimals.into()).unwrap_or(1);
        self.number(minor / one, 1);
        if one > 1 {
            self.put(".");
            self.number(minor % one, decimals.into());
        }
        self.put(" ");
        self.put(currency);
    }

    /// Day and time of day, as ISO 8601 has them, in the Gregorian calendar.
    fn moment(&mut self, unix_s: u64, offset_minutes: i16) {
        let second = unix_s.saturating_add_signed(i64::from(offset_minutes) * 60);
        let (year, month, day) = date(second / 86_400);
        self.number(year, 4);
        for (before, value) in [("-", month), ("-", day), (" ", second / 3_600 % 24), (":", second / 60 % 60)] {
            self.put(before);
            self.number(value, 2);
        }
    }
}

/// Year, month and day of a day counted from 1970-01-01. Years are counted from March, so that the leap day is the last
/// of its year; a cycle of 400 of them has 146,097 days.
fn date(days: u64) -> (u64, u64, u64) {
    // Days since 0000-03-01; beyond the year 9999 the last day stays.
    let days = days.min(2_932_896) + 719_468;
    let (cycle, of_cycle) = (days / 146_097, days % 146_097);
    let year_of_cycle = (of_cycle - of_cycle / 1_460 + of_cycle / 36_524 - of_cycle / 146_096) / 365;
    let of_year = of_cycle - (365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100);
    // Months from March: 153 days in every five.
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (400 * cycle + year_of_cycle + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Buffer)) -> String {
        let mut buffer = Buffer::new();
        write(&mut buffer);
        buffer.as_str().to_owned()
    }

    #[test]
    fn amounts_have_the_decimals_of_their_currency() {
        for (minor, decimals, currency, text) in [
            (1_250, 2, "CNY", "12.50 CNY"),
            (5, 2, "CNY", "0.05 CNY"),
            (0, 2, "CNY", "0.00 CNY"),
            (1_250, 0, "JPY", "1250 JPY"),
            (1_250, 3, "KWD", "1.250 KWD"),
            (u64::MAX, 4, "CLF", "1844674407370955.1615 CLF"),
            (7, 200, "XXX", "7 XXX"),
        ] {
            assert_eq!(written(|buffer| buffer.money(minor, decimals, currency)), text);
        }
    }

    #[test]
    fn moments_are_those_of_the_wearers_clock() {
        for (unix_s, offset, text) in [
            (0, 0, "1970-01-01 00:00"),
            (951_782_399, 0, "2000-02-28 23:59"),
            (951_782_400, 0, "2000-02-29 00:00"),
            (951_868_800, 0, "2000-03-01 00:00"),
            (1_735_689_599, 0, "2024-12-31 23:59"),
            (1_735_689_599, 480, "2025-01-01 07:59"),
            (1_735_689_600, -300, "2024-12-31 19:00"),
            (4_107_542_399, 0, "2100-02-28 23:59"),
            (4_107_542_400, 0, "2100-03-01 00:00"),
            (60, -720, "1970-01-01 00:00"),
            (253_402_300_799, 0, "9999-12-31 23:59"),
            (u64::MAX, i16::MAX, "9999-12-31 07:00"),
        ] {
            let shown = written(|buffer| buffer.moment(unix_s, offset));
            if unix_s < u64::MAX {
                assert_eq!(shown, text);
            } else {
                assert_eq!(shown.get(..10), text.get(..10), "a time that is none is a date all the same");
            }
        }
    }

    #[test]
    fn every_outcome_has_its_word_and_its_note() {
        use PaymentOutcome::{Cancelled, Declined, Paid, Waits};
        for (outcome, refunded_minor, mood, word, note) in [
            (Paid, 0, Mood::Good, "Paid", ""),
            (Paid, 250, Mood::Good, "Paid", "2.50 CNY given back"),
            (Paid, 1_250, Mood::Good, "Given back", "all of it"),
            (Declined, 0, Mood::Bad, "Declined", "nothing was charged"),
            (Waits, 0, Mood::Wait, "Confirm on phone", "not paid yet"),
            (Cancelled, 1_250, Mood::Act, "Cancelled", "nothing was charged"),
        ] {
            let face = ResultFace {
                outcome,
                amount_minor: 1_250,
                refunded_minor,
                currency: "CNY",
                decimals: 2,
                merchant: "Tea House",
                unix_s: 0,
                utc_offset_minutes: 0,
            };
            assert_eq!((face.word(), face.note(&mut Buffer::new())), ((mood, word), note));
        }
    }
}

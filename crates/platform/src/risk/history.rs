//! What an account and one of its tokens have paid lately: all that rules may know, bounded, and kept in the row that a
//! payment changes anyway, so that a rule costs no look-up.

use ledger::Amount;

use crate::merchants::{Category, Position};
use crate::{AccountId, TokenId, UnixMs};

/// Payments of a token whose times are kept.
pub const RECENT_PAYMENTS: usize = 10;
/// Categories of an account whose payments are added up.
pub const MAX_CATEGORIES: usize = 8;

/// Sums of payments, minor units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sums {
    /// Of all.
    pub total_minor: u64,
    /// Of those without the passcode.
    pub unverified_minor: u64,
}

impl Sums {
    fn plus(self, minor: u64, verified: bool) -> Self {
        Self {
            total_minor: self.total_minor.saturating_add(minor),
            unverified_minor: self.unverified_minor.saturating_add(if verified { 0 } else { minor }),
        }
    }

    fn less(self, minor: u64, verified: bool) -> Self {
        Self {
            total_minor: self.total_minor.saturating_sub(minor),
            unverified_minor: self.unverified_minor.saturating_sub(if verified { 0 } else { minor }),
        }
    }
}

/// Sums of a day and of the month it is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Spent {
    /// The day, from 1970-01-01 in the operator's time.
    pub day_number: i64,
    /// What was paid on it.
    pub day: Sums,
    /// What was paid in the month of that day.
    pub month: Sums,
}

impl Spent {
    /// The sums as they stand on a day: those of another day or month are over. A day that has begun stays.
    #[must_use]
    pub fn on(self, day_number: i64) -> Self {
        if day_number <= self.day_number {
            return self;
        }
        let same_month = month_of(day_number) == month_of(self.day_number);
        let month = if same_month { self.month } else { Sums::default() };
        Self { day_number, day: Sums::default(), month }
    }
}

/// The month of a day, counted from year 0: the civil calendar from days since 1970-01-01.
pub fn month_of(day_number: i64) -> i64 {
    // Howard Hinnant's `civil_from_days`: eras of 400 years of 146,097 days, years beginning in March.
    let shifted = day_number.saturating_add(719_468);
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // Months from March.
    let month = (5 * day_of_year + 2) / 153;
    (year_of_era + era * 400) * 12 + month + 2
}

/// What is known when a payment of a token is decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    /// Whose.
    pub account: AccountId,
    /// Which token pays.
    pub token_id: TokenId,
    /// The day all sums are of.
    pub day_number: i64,
    /// What the account has paid this month.
    pub account_month: Sums,
    /// What the token has paid.
    pub token: Spent,
    /// What the account has paid to merchants of some categories, at most [`MAX_CATEGORIES`].
    pub categories: Vec<(Category, Spent)>,
    /// When the token paid last, newest first, at most [`RECENT_PAYMENTS`].
    pub recent: Vec<UnixMs>,
    /// When the account's other tokens paid last.
    pub others: Vec<UnixMs>,
    /// How many payments the token has made.
    pub payments: u32,
    /// Where and when it last paid at a till whose place is known.
    pub last_place: Option<(Position, UnixMs)>,
}

/// A payment that goes into the history.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// How much.
    pub amount: Amount,
    /// Whether the passcode session was open.
    pub verified: bool,
    /// What the merchant sells, where payments of that category are added up.
    pub summed_category: Option<Category>,
    /// Where its tills stand.
    pub position: Option<Position>,
    /// When.
    pub at_ms: UnixMs,
}

impl History {
    /// Nothing has been paid.
    pub fn empty(account: AccountId, token_id: TokenId, day_number: i64) -> Self {
        Self {
            account,
            token_id,
            day_number,
            account_month: Sums::default(),
            token: Spent { day_number, ..Spent::default() },
            categories: Vec::new(),
            recent: Vec::new(),
            others: Vec::new(),
            payments: 0,
            last_place: None,
        }
    }

    /// The same, with these times of the token's last payments, newest first.
    #[must_use]
    pub fn with_recent(mut self, recent: impl IntoIterator<Item = UnixMs>) -> Self {
        self.recent = recent.into_iter().take(RECENT_PAYMENTS).collect();
        self
    }

    /// Payments of the account, or of the token alone, after a moment, as far as they are known.
    pub fn payments_since(&self, since_ms: UnixMs, of_token: bool) -> u64 {
        let others = if of_token { &[][..] } else { &self.others };
        self.recent.iter().chain(others).filter(|at_ms| **at_ms > since_ms).count() as u64
    }

    /// What was paid to merchants of a category.
    pub fn of_category(&self, category: Category) -> Spent {
        self.categories.iter().find(|(known, _)| *known == category).map_or_else(Spent::default, |(_, spent)| *spent)
    }

    /// The history after a payment that moved its money or set it aside.
    #[must_use]
    pub fn after(mut self, entry: &Entry) -> Self {
        let (minor, verified) = (entry.amount.minor(), entry.verified);
        self.account_month = self.account_month.plus(minor, verified);
        self.token.day = self.token.day.plus(minor, verified);
        self.token.month = self.token.month.plus(minor, verified);
        if let Some(category) = entry.summed_category {
            let day_number = self.day_number;
            if !self.categories.iter().any(|(known, _)| *known == category) {
                // Where there are too many, what lies longest back is forgotten.
                if self.categories.len() >= MAX_CATEGORIES {
                    let oldest = self.categories.iter().enumerate().min_by_key(|(_, (_, spent))| spent.day_number);
                    let oldest = oldest.map_or(0, |(place, _)| place);
                    self.categories.remove(oldest);
                }
                self.categories.push((category, Spent { day_number, ..Spent::default() }));
            }
            if let Some((_, spent)) = self.categories.iter_mut().find(|(known, _)| *known == category) {
                *spent = spent.on(day_number);
                spent.day = spent.day.plus(minor, verified);
                spent.month = spent.month.plus(minor, verified);
            }
        }
        // Times are kept in whole seconds.
        let at_ms = entry.at_ms / 1_000 * 1_000;
        self.recent.insert(0, at_ms);
        self.recent.truncate(RECENT_PAYMENTS);
        self.payments = self.payments.saturating_add(1);
        if let Some(position) = entry.position {
            self.last_place = Some((position, at_ms));
        }
        self
    }

    /// The history after a payment that was made on the day `made_on` was given back before it was paid: what it had set
    /// aside counts no more, where its day and month still last. That it was tried stays known.
    #[must_use]
    pub fn without(mut self, amount: Amount, verified: bool, category: Option<Category>, made_on: i64) -> Self {
        let minor = amount.minor();
        let take = |spent: &mut Spent| {
            if spent.day_number == made_on {
                spent.day = spent.day.less(minor, verified);
            }
            if month_of(spent.day_number) == month_of(made_on) {
                spent.month = spent.month.less(minor, verified);
            }
        };
        take(&mut self.token);
        if let Some((_, spent)) = self.categories.iter_mut().find(|(known, _)| Some(*known) == category) {
            take(spent);
        }
        if month_of(self.day_number) == month_of(made_on) {
            self.account_month = self.account_month.less(minor, verified);
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ledger::Currency;

    #[test]
    fn months_are_those_of_the_calendar() {
        // Days since 1970-01-01 of some dates, and their months.
        for (day, year, month) in [
            (0, 1970, 1),
            (30, 1970, 1),
            (31, 1970, 2),
            (58, 1970, 2),
            (59, 1970, 3),
            (364, 1970, 12),
            (365, 1971, 1),
            (11_016, 2000, 2),
            (11_017, 2000, 3),
            (20_415, 2025, 11),
            (-1, 1969, 12),
        ] {
            assert_eq!(month_of(day), year * 12 + month - 1, "{day}");
        }
    }

    #[test]
    fn sums_are_of_their_day_and_month_and_a_payment_given_back_leaves_them() {
        let amount = |minor| Amount::new(minor, Currency::CNY).unwrap();
        let food = Category::parse("5411").unwrap();
        let entry = |minor, verified, at_ms| Entry {
            amount: amount(minor),
            verified,
            summed_category: Some(food),
            position: None,
            at_ms,
        };
        let history = History::empty(AccountId([1; 16]), TokenId([2; 16]), 100)
            .after(&entry(70, true, 5_000))
            .after(&entry(30, false, 9_999));
        let expected = Sums { total_minor: 100, unverified_minor: 30 };
        assert_eq!(
            (history.account_month, history.token.day, history.of_category(food).month),
            (expected, expected, expected)
        );
        assert_eq!(
            (&history.recent[..], history.payments, history.payments_since(5_000, true)),
            (&[9_000, 5_000][..], 2, 1)
        );
        assert_eq!(history.token.on(101).day, Sums::default());
        assert_eq!(history.token.on(101).month, expected, "April 1970 goes on");
        assert_eq!(history.token.on(120).month, Sums::default(), "May begins");
        assert_eq!(history.token.on(99), history.token, "a day that has begun stays");
        let yesterdays = history.clone().without(amount(30), false, Some(food), 99);
        assert_eq!((yesterdays.token.day, yesterdays.token.month.total_minor), (expected, 70), "not of this day");
        let back = history.without(amount(30), false, Some(food), 100);
        assert_eq!(
            (back.account_month.total_minor, back.token.day.unverified_minor, back.of_category(food).day.total_minor),
            (70, 0, 70)
        );
    }

    #[test]
    fn a_till_that_nobody_has_placed_leaves_the_last_place_known() {
        let entry = |position, at_ms| Entry {
            amount: Amount::new(1, Currency::CNY).unwrap(),
            verified: true,
            summed_category: None,
            position,
            at_ms,
        };
        let beijing = Position::from_degrees(39.9, 116.4).unwrap();
        let history = History::empty(AccountId([1; 16]), TokenId([2; 16]), 100)
            .after(&entry(Some(beijing), 5_000))
            .after(&entry(None, 9_000));
        assert_eq!(history.last_place, Some((beijing, 5_000)));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut history = History::empty(AccountId([1; 16]), TokenId([2; 16]), 100);
        for number in 0..200_u16 {
            history = history.after(&Entry {
                amount: Amount::new(1, Currency::CNY).unwrap(),
                verified: true,
                summed_category: Category::from_number(number % 20),
                position: None,
                at_ms: u64::from(number) * 1_000,
            });
        }
        assert_eq!(
            (history.recent.len(), history.categories.len(), history.payments),
            (RECENT_PAYMENTS, MAX_CATEGORIES, 200)
        );
        assert_eq!(history.recent[0], 199_000);
    }
}

//! The purse: everything of an account that a payment changes.

use ledger::Currency;
use paycode::{Sequence, Stamp, TimeStep};
use platform::guesses::{Guesses, MAX_GUESSING_MERCHANTS, SPENT_MARKS, SpentMarks};
use platform::merchants::{Category, Position};
use platform::risk::history::{MAX_CATEGORIES, Spent};
use platform::risk::{History, RECENT_PAYMENTS, Sums};
use platform::syncs::{MAX_RESULTS, UsedCode};
use platform::tokens::TokenState;
use platform::{AccountId, OnDay, PaymentId, TokenId};

use super::Balance;
use super::codec::{Decoder, Encoder};
use super::on_day::{on_day, put_on_day};
use crate::StoreError;

/// The form purses have now. 2 tells by whom a token was guessed at, which codes it has spent, and when it ends; 3 what
/// risk rules may know of what was paid before; 4 which payments a token's last codes were used for; 5 how many of its bindings
/// were refused on a day; 6 how many were begun; 7 how often its wearer let a wearable pay again.
const PURSE_FORM: u8 = 7;
/// Refused starts of bindings of one account on one day that the audit trail keeps.
pub(crate) const MAX_REFUSED_STARTS: u8 = 20;
/// Revoked tokens of one account whose last stamp, counter and past are kept. Of older ones only that they are revoked is known,
/// which is what the absence of their part says: a purse is read and written with every payment, and must not grow for ever.
const MAX_REVOKED_SPENDS: usize = 64;

/// What changes with every payment of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Purse {
    /// The account's currency.
    pub(crate) currency: Currency,
    /// The wallet's balance, and the last journal record that moved it.
    pub(crate) balance: Balance,
    /// The day the two sums are of, counted from 1970-01-01 in the operator's time.
    pub(crate) day: i64,
    /// What was paid on that day, minor units.
    pub(crate) day_total_minor: u64,
    /// The part of it without passcode.
    pub(crate) day_unverified_minor: u64,
    /// What was paid in the month of that day.
    pub(crate) month: Sums,
    /// What was paid to merchants of categories that are added up, at most [`MAX_CATEGORIES`].
    pub(crate) categories: Vec<(Category, Spent)>,
    /// The account's tokens. Of those that are revoked the newest [`MAX_REVOKED_SPENDS`].
    pub(crate) spends: Vec<Spend>,
    /// Payments that wait to be confirmed, at most [`platform::payments::pay::MAX_WAITING`].
    pub(crate) waiting: Vec<PaymentId>,
    /// How many bindings were refused before they began and are in the audit trail, at most [`MAX_REFUSED_STARTS`] a day.
    pub(crate) refused_starts: OnDay,
    /// How many bindings were begun.
    pub(crate) begun_bindings: OnDay,
    /// How often its wearer let a wearable pay again that was frozen.
    pub(crate) resumes: OnDay,
}

/// What changes of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Spend {
    pub(crate) token: TokenId,
    pub(crate) state: TokenState,
    pub(crate) last_stamp: Option<Stamp>,
    pub(crate) last_counter: Option<u32>,
    pub(crate) guesses: Guesses,
    pub(crate) spent: SpentMarks,
    pub(crate) expires_ms: Option<u64>,
    /// What rules may know of it. It is changed by itself.
    pub(crate) used: TokenUse,
    /// What its last codes were used for, newest first, at most [`MAX_RESULTS`]. It is changed by itself.
    pub(crate) codes: Vec<UsedCode>,
}

/// What a token has paid before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct TokenUse {
    pub(crate) spent: Spent,
    /// When it paid last, seconds, newest first; the first `known` of them.
    recent_s: [u32; RECENT_PAYMENTS],
    known: u8,
    payments: u32,
    place: Option<(Position, u32)>,
}

impl TokenUse {
    /// When it paid last, milliseconds, newest first.
    pub(crate) fn recent_ms(&self) -> impl Iterator<Item = u64> + '_ {
        self.recent_s.iter().take(usize::from(self.known)).map(|second| u64::from(*second) * 1_000)
    }

    fn of(history: &History) -> Self {
        // 32 bits of seconds last until 2106.
        let seconds = |at_ms: u64| u32::try_from(at_ms / 1_000).unwrap_or(u32::MAX);
        let mut recent_s = [0; RECENT_PAYMENTS];
        for (slot, at_ms) in recent_s.iter_mut().zip(&history.recent) {
            *slot = seconds(*at_ms);
        }
        Self {
            spent: history.token,
            recent_s,
            // At most RECENT_PAYMENTS.
            known: history.recent.len().min(RECENT_PAYMENTS) as u8,
            payments: history.payments,
            place: history.last_place.map(|(place, at_ms)| (place, seconds(at_ms))),
        }
    }

    fn write(&self, row: Encoder) -> Encoder {
        let row = write_spent(row, self.spent).u8(self.known);
        let row = self.recent_s.iter().take(usize::from(self.known)).fold(row, |row, second| row.u32(*second));
        row.u32(self.payments).maybe(self.place, |row, (place, second)| {
            let (latitude, longitude) = place.e4();
            row.i32(latitude).i32(longitude).u32(second)
        })
    }

    fn read(row: &mut Decoder<'_>) -> Result<Self, StoreError> {
        let spent = read_spent(row)?;
        let known = row.at_most(RECENT_PAYMENTS)?;
        let mut recent_s = [0; RECENT_PAYMENTS];
        for second in recent_s.iter_mut().take(known) {
            *second = row.u32()?;
        }
        let payments = row.u32()?;
        let place = row.maybe(|row| {
            let place = Position::from_e4(row.i32()?, row.i32()?);
            Ok((row.known(place)?, row.u32()?))
        })?;
        Ok(Self { spent, recent_s, known: known as u8, payments, place })
    }
}

fn write_sums(row: Encoder, sums: Sums) -> Encoder {
    row.u64(sums.total_minor).u64(sums.unverified_minor)
}

fn read_sums(row: &mut Decoder<'_>) -> Result<Sums, StoreError> {
    Ok(Sums { total_minor: row.u64()?, unverified_minor: row.u64()? })
}

fn write_spent(row: Encoder, spent: Spent) -> Encoder {
    write_sums(write_sums(row.i64(spent.day_number), spent.day), spent.month)
}

fn read_spent(row: &mut Decoder<'_>) -> Result<Spent, StoreError> {
    Ok(Spent { day_number: row.i64()?, day: read_sums(row)?, month: read_sums(row)? })
}

fn write_stamp(row: Encoder, stamp: Stamp) -> Encoder {
    row.u32(stamp.step.0).u8(stamp.sequence.get())
}

fn read_stamp(row: &mut Decoder<'_>) -> Result<Stamp, StoreError> {
    let step = TimeStep(row.u32()?);
    let sequence = Sequence::new(row.u8()?).map_err(|_| row.corrupt())?;
    Ok(Stamp::new(step, sequence))
}

impl Purse {
    /// The purse of a new account.
    pub(crate) fn empty(currency: Currency) -> Self {
        Self {
            currency,
            balance: Balance::default(),
            day: 0,
            day_total_minor: 0,
            day_unverified_minor: 0,
            month: Sums::default(),
            categories: Vec::new(),
            spends: Vec::new(),
            waiting: Vec::new(),
            refused_starts: OnDay::default(),
            begun_bindings: OnDay::default(),
            resumes: OnDay::default(),
        }
    }

    pub(crate) fn spend_of(&self, token: TokenId) -> Option<&Spend> {
        self.spends.iter().find(|spend| spend.token == token)
    }

    /// Puts a token as it is now; what it has paid before stays what it is.
    pub(crate) fn put_spend(&mut self, spend: Spend) {
        match self.spends.iter_mut().find(|known| known.token == spend.token) {
            Some(known) => *known = Spend { used: known.used, codes: core::mem::take(&mut known.codes), ..spend },
            None => self.spends.push(spend),
        }
        let is_revoked = |spend: &Spend| spend.state == TokenState::Revoked;
        let mut beyond =
            self.spends.iter().filter(|spend| is_revoked(spend)).count().saturating_sub(MAX_REVOKED_SPENDS);
        self.spends.retain(|spend| {
            let goes = beyond > 0 && is_revoked(spend);
            beyond -= usize::from(goes);
            !goes
        });
    }

    /// The tokens in states that are asked for, oldest first.
    pub(crate) fn tokens_in(&self, is_asked: fn(TokenState) -> bool) -> impl Iterator<Item = TokenId> {
        self.spends.iter().filter(move |spend| is_asked(spend.state)).map(|spend| spend.token)
    }

    /// Keeps what a code of a token was used for; what was used longest ago is let go.
    pub(crate) fn keep_used_code(&mut self, token: TokenId, used: UsedCode) {
        if let Some(spend) = self.spends.iter_mut().find(|spend| spend.token == token) {
            spend.codes.truncate(MAX_RESULTS - 1);
            spend.codes.insert(0, used);
        }
    }

    /// What rules may know of a token on a day. A day that has begun stays.
    pub(crate) fn history(&self, account: AccountId, token: TokenId, day: i64) -> History {
        let day = day.max(self.day);
        let of_account = Spent { day_number: self.day, month: self.month, ..Spent::default() }.on(day);
        let used = self.spend_of(token).map(|spend| spend.used).unwrap_or_default();
        let others = self.spends.iter().filter(|spend| spend.token != token).flat_map(|spend| spend.used.recent_ms());
        let categories = self.categories.iter().map(|(category, spent)| (*category, spent.on(day)));
        let history = History {
            account_month: of_account.month,
            token: used.spent.on(day),
            categories: categories.collect(),
            others: others.collect(),
            payments: used.payments,
            last_place: used.place.map(|(place, second)| (place, u64::from(second) * 1_000)),
            ..History::empty(account, token, day)
        };
        history.with_recent(used.recent_ms())
    }

    /// Puts what rules may know. The day of the month's sums is the account's own, which is put with the day's use.
    pub(crate) fn put_history(&mut self, history: &History) {
        self.month = history.account_month;
        self.categories.clone_from(&history.categories);
        if let Some(spend) = self.spends.iter_mut().find(|spend| spend.token == history.token_id) {
            spend.used = TokenUse::of(history);
        }
    }

    pub(crate) fn to_row(&self) -> Vec<u8> {
        let row = Encoder::new(PURSE_FORM)
            .currency(self.currency)
            .i64(self.balance.minor)
            .u64(self.balance.last_record)
            .i64(self.day)
            .u64(self.day_total_minor)
            .u64(self.day_unverified_minor);
        let row = write_sums(row, self.month).u8(self.categories.len() as u8);
        let row = self
            .categories
            .iter()
            .fold(row, |row, (category, spent)| write_spent(row.u16(category.number()), *spent))
            // At most MAX_WEARABLES, MAX_UNDER_WAY and MAX_REVOKED_SPENDS of them.
            .u16(self.spends.len() as u16);
        let row = self.spends.iter().fold(row, |row, spend| spend.write(row)).u16(self.waiting.len() as u16);
        let row = self.waiting.iter().fold(row, |row, payment| row.raw(&payment.0));
        [self.refused_starts, self.begun_bindings, self.resumes].into_iter().fold(row, put_on_day).finish()
    }

    pub(crate) fn from_row(fields: &[u8]) -> Result<Self, StoreError> {
        let (mut row, form) = Decoder::up_to("purses", PURSE_FORM, fields)?;
        let mut purse = Self {
            currency: row.currency()?,
            balance: Balance { minor: row.i64()?, last_record: row.u64()? },
            day: row.i64()?,
            day_total_minor: row.u64()?,
            day_unverified_minor: row.u64()?,
            month: Sums::default(),
            categories: Vec::new(),
            spends: Vec::new(),
            waiting: Vec::new(),
            refused_starts: OnDay::default(),
            begun_bindings: OnDay::default(),
            resumes: OnDay::default(),
        };
        if form >= 3 {
            purse.month = read_sums(&mut row)?;
            for _ in 0..row.at_most(MAX_CATEGORIES)? {
                let category = Category::from_number(row.u16()?);
                purse.categories.push((row.known(category)?, read_spent(&mut row)?));
            }
        }
        for _ in 0..row.u16()? {
            purse.spends.push(Spend::read(&mut row, form)?);
        }
        for _ in 0..row.u16()? {
            purse.waiting.push(PaymentId(row.raw()?));
        }
        if form >= 5 {
            purse.refused_starts = on_day(&mut row)?;
        }
        if form >= 6 {
            purse.begun_bindings = on_day(&mut row)?;
        }
        if form >= 7 {
            purse.resumes = on_day(&mut row)?;
        }
        row.end().map(|()| purse)
    }
}

impl Spend {
    fn write(&self, row: Encoder) -> Encoder {
        let row = row
            .raw(&self.token.0)
            .u8(self.state as u8)
            .maybe(self.last_stamp, write_stamp)
            .maybe(self.last_counter, Encoder::u32)
            .u64(self.guesses.since_ms)
            .u32(self.guesses.codes);
        // At most MAX_GUESSING_MERCHANTS, and SPENT_MARKS.
        let row = row.u8(self.guesses.merchants.len() as u8);
        let row = self.guesses.merchants.iter().fold(row, |row, merchant| row.u64(*merchant));
        let row = row.u8(self.spent.marks().len() as u8);
        let row = self.spent.marks().iter().fold(row, |row, mark| row.u32(*mark));
        let row = self.used.write(row.maybe(self.expires_ms, Encoder::u64)).u8(self.codes.len() as u8);
        self.codes.iter().fold(row, |row, used| write_stamp(row.raw(&used.payment.0), used.stamp))
    }

    fn read(row: &mut Decoder<'_>, form: u8) -> Result<Self, StoreError> {
        let token = TokenId(row.raw()?);
        let state = TokenState::from_number(row.u8()?);
        let state = row.known(state)?;
        let last_stamp = row.maybe(read_stamp)?;
        let last_counter = row.maybe(Decoder::u32)?;
        if form == 1 {
            // Misses in a row, whoever they came from.
            row.u32()?;
            let (guesses, spent, used) = (Guesses::default(), SpentMarks::default(), TokenUse::default());
            let (expires_ms, codes) = (None, Vec::new());
            return Ok(Self { token, state, last_stamp, last_counter, guesses, spent, expires_ms, used, codes });
        }
        let mut guesses = Guesses { since_ms: row.u64()?, codes: row.u32()?, merchants: Vec::new() };
        for _ in 0..row.at_most(MAX_GUESSING_MERCHANTS)? {
            guesses.merchants.push(row.u64()?);
        }
        let mut marks = [0; SPENT_MARKS];
        let known = row.at_most(SPENT_MARKS)?;
        for mark in marks.iter_mut().take(known) {
            *mark = row.u32()?;
        }
        let spent = SpentMarks::from_marks(marks.into_iter().take(known));
        let expires_ms = row.maybe(Decoder::u64)?;
        let used = if form >= 3 { TokenUse::read(row)? } else { TokenUse::default() };
        let mut codes = Vec::new();
        for _ in 0..if form >= 4 { row.at_most(MAX_RESULTS)? } else { 0 } {
            codes.push(UsedCode { payment: PaymentId(row.raw()?), stamp: read_stamp(row)? });
        }
        Ok(Self { token, state, last_stamp, last_counter, guesses, spent, expires_ms, used, codes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_purse_comes_back_as_it_was_written() {
        let stamp = Stamp::new(TimeStep(9), Sequence::FIRST);
        let spend = |id, last_stamp, last_counter| Spend {
            token: TokenId([id; 16]),
            state: TokenState::FrozenByWearer,
            last_stamp,
            last_counter,
            guesses: Guesses { since_ms: 4, codes: 3, merchants: vec![7, 8] },
            spent: SpentMarks::default().with(9).with(10),
            expires_ms: last_counter.map(u64::from),
            used: TokenUse::default(),
            codes: Vec::new(),
        };
        let balance = Balance { minor: -1, last_record: 7 };
        let mut purse = Purse { balance, day: -2, ..Purse::empty(Currency::CNY) };
        assert_eq!(Purse::from_row(&purse.to_row()), Ok(purse.clone()));
        purse.put_spend(spend(1, None, None));
        purse.put_spend(spend(2, Some(stamp), Some(8)));
        purse.put_spend(spend(1, Some(stamp), None));
        assert_eq!(purse.spends.len(), 2);
        let food = Category::parse("5411").unwrap();
        let place = Position::from_degrees(31.2, -121.4).unwrap();
        let entry = platform::risk::history::Entry {
            amount: ledger::Amount::new(70, Currency::CNY).unwrap(),
            verified: false,
            summed_category: Some(food),
            position: Some(place),
            at_ms: 1_763_890_000_000,
        };
        let history = purse.history(AccountId([1; 16]), TokenId([2; 16]), 5).after(&entry).after(&entry);
        purse.put_history(&history);
        purse.day = 5;
        assert_eq!(purse.history(AccountId([1; 16]), TokenId([2; 16]), 5), history);
        assert_eq!(
            purse.history(AccountId([1; 16]), TokenId([1; 16]), 5).payments_since(0, false),
            2,
            "by another token"
        );
        purse.put_spend(spend(2, Some(stamp), None));
        assert_eq!(
            purse.history(AccountId([1; 16]), TokenId([2; 16]), 5).payments,
            2,
            "a token's change keeps its history"
        );
        for number in 1..=6 {
            purse.keep_used_code(TokenId([2; 16]), UsedCode { payment: PaymentId([number; 16]), stamp });
        }
        purse.put_spend(spend(2, Some(stamp), None));
        let kept: Vec<u8> =
            purse.spend_of(TokenId([2; 16])).unwrap().codes.iter().map(|used| used.payment.0[0]).collect();
        assert_eq!(kept, [6, 5, 4, 3], "the newest, and a token's change keeps them");
        purse.waiting = vec![PaymentId([4; 16]), PaymentId([5; 16])];
        let bytes = purse.to_row();
        assert_eq!(Purse::from_row(&bytes), Ok(purse));
        for cut in 0..bytes.len() {
            assert!(Purse::from_row(&bytes[..cut]).is_err());
        }
    }

    #[test]
    fn both_counts_of_a_day_are_kept() {
        let mut purse = Purse::empty(Currency::CNY);
        purse.refused_starts = purse.refused_starts.one_more(20_000, 9).unwrap();
        purse.begun_bindings = purse.refused_starts.one_more(20_000, 9).unwrap();
        assert_eq!(Purse::from_row(&purse.to_row()), Ok(purse));
    }

    #[test]
    fn of_revoked_tokens_the_newest_are_kept_and_of_others_all() {
        let token = |number: usize| TokenId([number as u8; 16]);
        let spend = |number, state| Spend {
            token: token(number),
            state,
            last_stamp: None,
            last_counter: None,
            guesses: Default::default(),
            spent: Default::default(),
            expires_ms: None,
            used: Default::default(),
            codes: Vec::new(),
        };
        let mut purse = Purse::empty(Currency::CNY);
        for number in 0..200 {
            let state = if number % 10 == 0 { TokenState::Active } else { TokenState::Pending };
            purse.put_spend(spend(number, state));
            if number % 10 != 0 {
                purse.put_spend(spend(number, TokenState::Revoked));
            }
        }
        let living: Vec<TokenId> = purse.tokens_in(|state| state != TokenState::Revoked).collect();
        assert_eq!(living, (0..200).step_by(10).map(token).collect::<Vec<_>>());
        let revoked: Vec<TokenId> = purse.tokens_in(|state| state == TokenState::Revoked).collect();
        let newest = (0..200).rev().filter(|number| number % 10 != 0).take(MAX_REVOKED_SPENDS);
        assert_eq!(revoked.into_iter().rev().collect::<Vec<_>>(), newest.map(token).collect::<Vec<_>>());
        assert_eq!(Purse::from_row(&purse.to_row()), Ok(purse));
    }

    #[test]
    fn a_purse_of_the_first_form_is_read_as_it_was() {
        let old = Encoder::new(1)
            .currency(Currency::CNY)
            .i64(500)
            .u64(7)
            .i64(20_000)
            .u64(30)
            .u64(10)
            .u16(1)
            .raw(&[3; 16])
            .u8(3)
            .u8(1)
            .u32(9)
            .u8(2)
            .u8(0)
            .u32(4)
            .u16(0)
            .finish();
        let purse = Purse::from_row(&old).unwrap();
        let spend = purse.spend_of(TokenId([3; 16])).unwrap();
        assert_eq!((purse.balance.minor, purse.day_total_minor, spend.state), (500, 30, TokenState::FrozenByWearer));
        assert_eq!(spend.last_stamp, Some(Stamp::new(TimeStep(9), Sequence::new(2).unwrap())));
        assert_eq!((spend.guesses.clone(), spend.expires_ms), (Guesses::default(), None));
        assert_eq!(Purse::from_row(&purse.to_row()), Ok(purse));
    }
}

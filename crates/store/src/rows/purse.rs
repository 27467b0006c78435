//! The purse: everything of an account that a payment changes.

use ledger::Currency;
use paycode::{CodeFormat, TokenIndex};
use platform::merchants::Category;
use platform::risk::history::{MAX_CATEGORIES, Spent};
use platform::risk::{History, Sums};
use platform::syncs::{MAX_RESULTS, UsedCode};
use platform::tokens::TokenState;
use platform::{AccountId, OnDay, PaymentId, TokenId};

use super::Balance;
use super::codec::{Decoder, Encoder};
use super::on_day::{on_day, put_on_day};
use super::tokens::{Spend, TokenUse, read_spent, read_sums, write_spent, write_sums};
use crate::StoreError;

/// The form purses have now. 2 tells by whom a token was guessed at, which codes it has spent, and when it ends; 3 what
/// risk rules may know of what was paid before; 4 which payments a token's last codes were used for; 5 how many of its bindings
/// were refused on a day; 6 how many were begun; 7 how often its wearer let a wearable pay again; 8 what no payment changes of its tokens,
/// and its numbers are short.
const PURSE_FORM: u8 = 8;
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

    /// The part of the token with this number in its codes, where it tells what does not change.
    pub(crate) fn spend_under(&self, format: &CodeFormat, index: TokenIndex) -> Option<&Spend> {
        self.spends.iter().find(|spend| spend.fixed.is_some_and(|fixed| fixed.is_of(format, index)))
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
        let row = Encoder::short(PURSE_FORM)
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
        let (row, form) = Decoder::up_to("purses", PURSE_FORM, fields)?;
        let mut row = if form >= 8 { row.short() } else { row };
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

#[cfg(test)]
mod tests {
    use paycode::{Sequence, Stamp, Suite, TimeStep};
    use platform::ChipId;
    use platform::guesses::{Guesses, SpentMarks};
    use platform::merchants::Position;
    use platform::tokens::Token;

    use super::super::tokens::example;

    use super::*;

    #[test]
    fn a_purse_comes_back_as_it_was_written() {
        let stamp = Stamp::new(TimeStep(9), Sequence::FIRST);
        let spend = |id, last_stamp, last_counter| Spend {
            token: TokenId([id; 16]),
            fixed: None,
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
    fn a_purse_tells_all_of_its_tokens() {
        let mut purse = Purse::empty(Currency::CNY);
        purse.put_spend(Spend::of(&example(1)));
        purse.put_spend(Spend::of(&example(2)));
        let purse = Purse::from_row(&purse.to_row()).unwrap();
        let told = |format: &CodeFormat, number: u8| {
            purse.spend_under(format, TokenIndex::new(number.into()).unwrap()).and_then(Spend::to_token)
        };
        assert_eq!(
            [1, 2, 3].map(|number| told(&CodeFormat::DEFAULT, number)),
            [Some(example(1)), Some(example(2)), None]
        );
        assert_eq!(told(&CodeFormat::new("72", 20).unwrap(), 1), None, "numbers are of a format");
        assert!(purse.spends[0].agrees_with(&example(1)));
        for other in [
            Token { account: AccountId([2; 16]), ..example(1) },
            Token { chip: ChipId([5; 16]), ..example(1) },
            Token { suite: Suite::International, ..example(1) },
            Token { pay_key_version: 6, ..example(1) },
            Token { mask_key_version: 7, ..example(1) },
            Token { created_ms: 79, ..example(1) },
        ] {
            assert!(!purse.spends[0].agrees_with(&other), "{other:?}");
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
            fixed: None,
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
        assert_eq!(spend.to_token(), None, "it does not tell what the row under the token's number does");
        assert_eq!(Purse::from_row(&purse.to_row()), Ok(purse));
    }
}

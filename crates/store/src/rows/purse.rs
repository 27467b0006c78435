//! The purse: everything of an account that a payment changes.

use ledger::Currency;
use paycode::{Sequence, Stamp, TimeStep};
use platform::guesses::{Guesses, MAX_GUESSING_MERCHANTS, SPENT_MARKS, SpentMarks};
use platform::tokens::TokenState;
use platform::{PaymentId, TokenId};

use super::Balance;
use super::codec::{Decoder, Encoder};
use crate::StoreError;

/// The form purses have now. 2 tells by whom a token was guessed at, which codes it has spent, and when it ends.
const PURSE_FORM: u8 = 2;

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
    /// The account's tokens.
    pub(crate) spends: Vec<Spend>,
    /// Payments that wait to be confirmed, at most [`platform::payments::pay::MAX_WAITING`].
    pub(crate) waiting: Vec<PaymentId>,
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
            spends: Vec::new(),
            waiting: Vec::new(),
        }
    }

    pub(crate) fn spend_of(&self, token: TokenId) -> Option<&Spend> {
        self.spends.iter().find(|spend| spend.token == token)
    }

    pub(crate) fn put_spend(&mut self, spend: Spend) {
        match self.spends.iter_mut().find(|known| known.token == spend.token) {
            Some(known) => *known = spend,
            None => self.spends.push(spend),
        }
    }

    pub(crate) fn to_row(&self) -> Vec<u8> {
        let row = Encoder::new(PURSE_FORM)
            .currency(self.currency)
            .i64(self.balance.minor)
            .u64(self.balance.last_record)
            .i64(self.day)
            .u64(self.day_total_minor)
            .u64(self.day_unverified_minor)
            .u16(self.spends.len() as u16);
        let row = self.spends.iter().fold(row, |row, spend| spend.write(row)).u16(self.waiting.len() as u16);
        self.waiting.iter().fold(row, |row, payment| row.raw(&payment.0)).finish()
    }

    pub(crate) fn from_row(fields: &[u8]) -> Result<Self, StoreError> {
        let (mut row, form) = Decoder::up_to("purses", PURSE_FORM, fields)?;
        let mut purse = Self {
            currency: row.currency()?,
            balance: Balance { minor: row.i64()?, last_record: row.u64()? },
            day: row.i64()?,
            day_total_minor: row.u64()?,
            day_unverified_minor: row.u64()?,
            spends: Vec::new(),
            waiting: Vec::new(),
        };
        for _ in 0..row.u16()? {
            purse.spends.push(Spend::read(&mut row, form)?);
        }
        for _ in 0..row.u16()? {
            purse.waiting.push(PaymentId(row.raw()?));
        }
        row.end().map(|()| purse)
    }
}

impl Spend {
    fn write(&self, row: Encoder) -> Encoder {
        let row = row
            .raw(&self.token.0)
            .u8(self.state as u8)
            .maybe(self.last_stamp, |row, stamp| row.u32(stamp.step.0).u8(stamp.sequence.get()))
            .maybe(self.last_counter, Encoder::u32)
            .u64(self.guesses.since_ms)
            .u32(self.guesses.codes);
        // At most MAX_GUESSING_MERCHANTS, and SPENT_MARKS.
        let row = row.u8(self.guesses.merchants.len() as u8);
        let row = self.guesses.merchants.iter().fold(row, |row, merchant| row.u64(*merchant));
        let row = row.u8(self.spent.marks().len() as u8);
        let row = self.spent.marks().iter().fold(row, |row, mark| row.u32(*mark));
        row.maybe(self.expires_ms, Encoder::u64)
    }

    fn read(row: &mut Decoder<'_>, form: u8) -> Result<Self, StoreError> {
        let token = TokenId(row.raw()?);
        let state = TokenState::from_number(row.u8()?);
        let state = row.known(state)?;
        let last_stamp = row.maybe(|row| {
            let step = TimeStep(row.u32()?);
            let sequence = Sequence::new(row.u8()?).map_err(|_| row.corrupt())?;
            Ok(Stamp::new(step, sequence))
        })?;
        let last_counter = row.maybe(Decoder::u32)?;
        if form == 1 {
            // Misses in a row, whoever they came from.
            row.u32()?;
            let (guesses, spent) = (Guesses::default(), SpentMarks::default());
            return Ok(Self { token, state, last_stamp, last_counter, guesses, spent, expires_ms: None });
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
        Ok(Self { token, state, last_stamp, last_counter, guesses, spent, expires_ms: row.maybe(Decoder::u64)? })
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
        };
        let balance = Balance { minor: -1, last_record: 7 };
        let mut purse = Purse { balance, day: -2, ..Purse::empty(Currency::CNY) };
        assert_eq!(Purse::from_row(&purse.to_row()), Ok(purse.clone()));
        purse.put_spend(spend(1, None, None));
        purse.put_spend(spend(2, Some(stamp), Some(8)));
        purse.put_spend(spend(1, Some(stamp), None));
        assert_eq!(purse.spends.len(), 2);
        purse.waiting = vec![PaymentId([4; 16]), PaymentId([5; 16])];
        let bytes = purse.to_row();
        assert_eq!(Purse::from_row(&bytes), Ok(purse));
        for cut in 0..bytes.len() {
            assert!(Purse::from_row(&bytes[..cut]).is_err());
        }
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

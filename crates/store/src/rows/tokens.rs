//! A token: where it is found, the row under the number in its codes, and its part of its account's purse.

use paycode::{CodeFormat, Sequence, Stamp, Suite, TimeStep, TokenIndex};
use platform::guesses::{Guesses, MAX_GUESSING_MERCHANTS, SPENT_MARKS, SpentMarks};
use platform::merchants::Position;
use platform::risk::history::Spent;
use platform::risk::{History, RECENT_PAYMENTS, Sums};
use platform::syncs::{MAX_RESULTS, UsedCode};
use platform::tokens::{Token, TokenState};
use platform::{AccountId, ChipId, PaymentId, TokenId};

use super::FORM;
use super::codec::{Decoder, Encoder};
use crate::StoreError;
use crate::key::Key;

/// Where a token is found by its id: under the number in its codes.
pub(crate) fn put_token_place(row: &Token) -> Vec<u8> {
    Encoder::new(FORM)
        .raw(&row.id.0)
        .text(row.format.prefix_str())
        // A code has at most 24 digits.
        .u8(row.format.total_digits() as u8)
        .u64(row.index.get())
        .finish()
}

pub(crate) fn token_place(fields: &[u8]) -> Result<Key, StoreError> {
    let mut row = Decoder::new("tokens", FORM, fields)?;
    row.raw::<16>()?;
    let prefix = row.text()?;
    let format = CodeFormat::new(prefix, row.u8()?).map_err(|_| row.corrupt())?;
    let index = TokenIndex::new(row.u64()?).map_err(|_| row.corrupt())?;
    row.end().map(|()| Key::token_number(&format, index))
}

/// The part of a token that no payment changes; the rest is its [`Spend`].
pub(crate) fn put_token(row: &Token) -> Vec<u8> {
    Fixed::write(Encoder::new(FORM).raw(&row.id.0), &Fixed::of(row)).finish()
}

/// The account whose purse holds the rest of this token.
pub(crate) fn token_account(fields: &[u8]) -> Result<AccountId, StoreError> {
    let mut row = Decoder::new("token_numbers", FORM, fields)?;
    row.raw::<16>()?;
    row.raw().map(AccountId)
}

/// A token by the part of it that no payment changes; the rest as of one whose [`Spend`] is not kept any more, which is
/// revoked.
pub(crate) fn token(fields: &[u8]) -> Result<Token, StoreError> {
    let mut row = Decoder::new("token_numbers", FORM, fields)?;
    let id = TokenId(row.raw()?);
    let fixed = Fixed::read(&mut row)?;
    row.end().map(|()| fixed.token(id))
}

/// The token with the part that payments change, from its account's purse, where that is kept.
pub(crate) fn join_token(token: Token, spend: Option<&Spend>) -> Token {
    let Some(spend) = spend else { return token };
    Token {
        state: spend.state,
        last_stamp: spend.last_stamp,
        last_counter: spend.last_counter,
        guesses: spend.guesses.clone(),
        spent: spend.spent,
        expires_ms: spend.expires_ms,
        ..token
    }
}

/// What changes of a token, and what does not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Spend {
    pub(crate) token: TokenId,
    /// What no payment changes; nothing in a purse that was last written before form 8.
    pub(crate) fixed: Option<Fixed>,
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

/// What no payment changes of a token. The row under the token's number says it too; here it is so that a payment, which changes
/// the purse, need not read another row of the wearer's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fixed {
    account: AccountId,
    chip: ChipId,
    format: CodeFormat,
    suite: Suite,
    index: TokenIndex,
    pay_key_version: u8,
    mask_key_version: u8,
    created_ms: u64,
}

impl Fixed {
    /// Whether this is the token with this number in its codes.
    pub(crate) fn is_of(&self, format: &CodeFormat, index: TokenIndex) -> bool {
        self.index == index && self.format == *format
    }

    fn of(token: &Token) -> Self {
        Self {
            account: token.account,
            chip: token.chip,
            format: token.format,
            suite: token.suite,
            index: token.index,
            pay_key_version: token.pay_key_version,
            mask_key_version: token.mask_key_version,
            created_ms: token.created_ms,
        }
    }

    /// The token with this part, and else as one that is revoked.
    fn token(self, id: TokenId) -> Token {
        Token {
            id,
            account: self.account,
            chip: self.chip,
            format: self.format,
            suite: self.suite,
            index: self.index,
            pay_key_version: self.pay_key_version,
            mask_key_version: self.mask_key_version,
            state: TokenState::Revoked,
            last_stamp: None,
            last_counter: None,
            guesses: Default::default(),
            spent: Default::default(),
            expires_ms: None,
            created_ms: self.created_ms,
        }
    }

    fn write(row: Encoder, fixed: &Self) -> Encoder {
        row.raw(&fixed.account.0)
            .raw(&fixed.chip.0)
            .text(fixed.format.prefix_str())
            // A code has at most 24 digits.
            .u8(fixed.format.total_digits() as u8)
            .u8(fixed.suite.id())
            .u64(fixed.index.get())
            .u8(fixed.pay_key_version)
            .u8(fixed.mask_key_version)
            .u64(fixed.created_ms)
    }

    fn read(row: &mut Decoder<'_>) -> Result<Self, StoreError> {
        let (account, chip) = (AccountId(row.raw()?), ChipId(row.raw()?));
        let prefix = row.text()?;
        let format = CodeFormat::new(prefix, row.u8()?).map_err(|_| row.corrupt())?;
        let suite = Suite::from_id(row.u8()?);
        let suite = row.known(suite)?;
        let index = TokenIndex::new(row.u64()?).map_err(|_| row.corrupt())?;
        let (pay_key_version, mask_key_version, created_ms) = (row.u8()?, row.u8()?, row.u64()?);
        Ok(Self { account, chip, format, suite, index, pay_key_version, mask_key_version, created_ms })
    }
}

/// What a token has paid before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct TokenUse {
    pub(crate) spent: Spent,
    /// When it paid last, seconds, newest first; the first `known` of them.
    recent_s: [u32; RECENT_PAYMENTS],
    known: u8,
    pub(super) payments: u32,
    pub(super) place: Option<(Position, u32)>,
}

impl TokenUse {
    /// When it paid last, milliseconds, newest first.
    pub(crate) fn recent_ms(&self) -> impl Iterator<Item = u64> + '_ {
        self.recent_s.iter().take(usize::from(self.known)).map(|second| u64::from(*second) * 1_000)
    }

    pub(super) fn of(history: &History) -> Self {
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

pub(super) fn write_sums(row: Encoder, sums: Sums) -> Encoder {
    row.u64(sums.total_minor).u64(sums.unverified_minor)
}

pub(super) fn read_sums(row: &mut Decoder<'_>) -> Result<Sums, StoreError> {
    Ok(Sums { total_minor: row.u64()?, unverified_minor: row.u64()? })
}

pub(super) fn write_spent(row: Encoder, spent: Spent) -> Encoder {
    write_sums(write_sums(row.i64(spent.day_number), spent.day), spent.month)
}

pub(super) fn read_spent(row: &mut Decoder<'_>) -> Result<Spent, StoreError> {
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

impl Spend {
    /// A token's part, with nothing paid yet.
    pub(crate) fn of(token: &Token) -> Self {
        Self {
            token: token.id,
            fixed: Some(Fixed::of(token)),
            state: token.state,
            last_stamp: token.last_stamp,
            last_counter: token.last_counter,
            guesses: token.guesses.clone(),
            spent: token.spent,
            expires_ms: token.expires_ms,
            used: Default::default(),
            codes: Vec::new(),
        }
    }

    /// The whole token, where all of it is here.
    pub(crate) fn to_token(&self) -> Option<Token> {
        Some(join_token(self.fixed?.token(self.token), Some(self)))
    }

    /// Whether what does not change is what the row under the token's number says, as far as it is here.
    pub(crate) fn agrees_with(&self, token: &Token) -> bool {
        self.fixed.is_none_or(|fixed| fixed == Fixed::of(token))
    }

    pub(super) fn write(&self, row: Encoder) -> Encoder {
        let row = row
            .raw(&self.token.0)
            .maybe(self.fixed.as_ref(), Fixed::write)
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

    pub(super) fn read(row: &mut Decoder<'_>, form: u8) -> Result<Self, StoreError> {
        let token = TokenId(row.raw()?);
        let fixed = if form >= 8 { row.maybe(Fixed::read)? } else { None };
        let state = TokenState::from_number(row.u8()?);
        let state = row.known(state)?;
        let last_stamp = row.maybe(read_stamp)?;
        let last_counter = row.maybe(Decoder::u32)?;
        if form == 1 {
            // Misses in a row, whoever they came from.
            row.u32()?;
            let (guesses, spent, used) = (Guesses::default(), SpentMarks::default(), TokenUse::default());
            let (expires_ms, codes) = (None, Vec::new());
            return Ok(Self { token, fixed, state, last_stamp, last_counter, guesses, spent, expires_ms, used, codes });
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
        Ok(Self { token, fixed, state, last_stamp, last_counter, guesses, spent, expires_ms, used, codes })
    }
}

/// A token of account 1 for the tests of this crate, no two of its numbers alike.
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
pub(crate) fn example(number: u8) -> Token {
    Token {
        id: TokenId([number; 16]),
        account: AccountId([1; 16]),
        chip: ChipId([4; 16]),
        format: CodeFormat::DEFAULT,
        suite: Suite::Chinese,
        index: TokenIndex::new(number.into()).unwrap(),
        pay_key_version: 5,
        mask_key_version: 6,
        state: TokenState::Active,
        last_stamp: Some(Stamp::new(TimeStep(9), Sequence::FIRST)),
        last_counter: Some(8),
        guesses: Guesses { since_ms: 4, codes: 3, merchants: vec![7, 8] },
        spent: SpentMarks::default().with(9),
        expires_ms: Some(77),
        created_ms: 78,
    }
}

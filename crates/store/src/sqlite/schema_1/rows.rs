//! The rows of schema 1 as types. A row that does not have the form it was written in is [`StoreError::Corrupt`].

use ledger::Currency;
use paycode::{CodeFormat, Sequence, Stamp, Suite, TimeStep, TokenIndex};
use platform::accounts::{Account, TopUp};
use platform::bindings::{Binding, BindingState};
use platform::chips::Chip;
use platform::guesses::{Guesses, SpentMarks};
use platform::merchants::{Merchant, WrongCodes};
use platform::payments::{Decline, Fingerprint, MerchantNumber, Payment, PaymentState, Refund};
use platform::tokens::{Token, TokenState};
use platform::{AccountId, BindingId, ChipId, KeyHash, MerchantId, PaymentId, RefundId, TokenId, TopUpId};
use rusqlite::Row;
use rusqlite::types::FromSql;

use crate::StoreError;

pub(super) const ACCOUNT: &str = "id, name, currency, wallet_key, created_ms";
pub(super) const TOP_UP: &str = "id, account, reference, minor, currency, created_ms";
pub(super) const MERCHANT: &str = "id, name, currency, api_key, created_ms, wrong_since_ms, wrong_count";
pub(super) const CHIP: &str = "id, key_version, registered_ms";
pub(super) const TOKEN: &str = "id, account, chip, prefix, digits, suite, token_index, pay_key_version, \
    mask_key_version, state, last_step, last_sequence, last_counter, misses, created_ms";
pub(super) const BINDING: &str = "id, account, chip, nonce, token, host_challenge, attempt, card_answer, anchor_s, \
     offline_allowance_s, code_budget, state, created_ms";
pub(super) const PAYMENT: &str = "id, merchant, order_number, fingerprint, minor, currency, state, decline, account, \
    token, verified, refunded_minor, created_ms";
pub(super) const REFUND: &str = "id, payment, merchant, number, minor, currency, created_ms";

fn payment_state(state: u8, decline: u8) -> Option<PaymentState> {
    match state {
        1 => Some(PaymentState::Succeeded),
        2 => Decline::from_number(decline).map(PaymentState::Failed),
        3 => Some(PaymentState::Cancelled),
        _ => None,
    }
}

/// Reads a stored amount.
pub(super) fn stored_amount(minor: u64, currency: &str) -> Result<ledger::Amount, StoreError> {
    let currency = Currency::parse(currency).map_err(|_| StoreError::Corrupt("currency"))?;
    ledger::Amount::new(minor, currency).map_err(|_| StoreError::Corrupt("amount"))
}

/// Reads the columns of a row one after the other, in the order of the constants above.
pub(super) struct Columns<'r, 's> {
    row: &'r Row<'s>,
    next: usize,
}

impl<'r, 's> Columns<'r, 's> {
    pub(super) fn of(row: &'r Row<'s>) -> Self {
        Self { row, next: 0 }
    }

    pub(super) fn take<T: FromSql>(&mut self) -> Result<T, StoreError> {
        let column = self.next;
        self.next += 1;
        Ok(self.row.get(column)?)
    }

    /// Non-negative numbers are stored as signed 64-bit integers.
    pub(super) fn number<T: TryFrom<i64>>(&mut self, what: &'static str) -> Result<T, StoreError> {
        T::try_from(self.take::<i64>()?).map_err(|_| StoreError::Corrupt(what))
    }

    pub(super) fn maybe_number<T: TryFrom<i64>>(&mut self, what: &'static str) -> Result<Option<T>, StoreError> {
        let number = self.take::<Option<i64>>()?;
        number.map(|number| T::try_from(number).map_err(|_| StoreError::Corrupt(what))).transpose()
    }

    fn currency(&mut self) -> Result<Currency, StoreError> {
        Currency::parse(&self.take::<String>()?).map_err(|_| StoreError::Corrupt("currency"))
    }

    fn number_text(&mut self) -> Result<MerchantNumber, StoreError> {
        MerchantNumber::from_stored(self.take()?).ok_or(StoreError::Corrupt("number"))
    }
}

pub(super) fn account(row: &Row<'_>) -> Result<Account, StoreError> {
    let mut columns = Columns::of(row);
    Ok(Account {
        id: AccountId(columns.take()?),
        name: columns.take()?,
        currency: columns.currency()?,
        wallet_key: KeyHash(columns.take()?),
        created_ms: columns.number("time")?,
    })
}

pub(super) fn top_up(row: &Row<'_>) -> Result<TopUp, StoreError> {
    let mut columns = Columns::of(row);
    Ok(TopUp {
        id: TopUpId(columns.take()?),
        account: AccountId(columns.take()?),
        reference: columns.take()?,
        amount: stored_amount(columns.number("amount")?, &columns.take::<String>()?)?,
        created_ms: columns.number("time")?,
    })
}

pub(super) fn merchant(row: &Row<'_>) -> Result<Merchant, StoreError> {
    let mut columns = Columns::of(row);
    Ok(Merchant {
        id: MerchantId(columns.take()?),
        name: columns.take()?,
        currency: columns.currency()?,
        api_key: KeyHash(columns.take()?),
        created_ms: columns.number("time")?,
        wrong_codes: WrongCodes {
            since_ms: columns.number("time")?,
            count: columns.number("count")?,
            ..WrongCodes::default()
        },
        suspended_ms: None,
        category: None,
        position: None,
    })
}

pub(super) fn chip(row: &Row<'_>) -> Result<Chip, StoreError> {
    let mut columns = Columns::of(row);
    Ok(Chip {
        id: ChipId(columns.take()?),
        key_version: columns.number("key version")?,
        registered_ms: columns.number("time")?,
        origin: None,
    })
}

pub(super) fn token(row: &Row<'_>) -> Result<Token, StoreError> {
    let mut columns = Columns::of(row);
    let (id, account, chip) = (TokenId(columns.take()?), AccountId(columns.take()?), ChipId(columns.take()?));
    let prefix: String = columns.take()?;
    let format = CodeFormat::new(&prefix, columns.number("digits")?).map_err(|_| StoreError::Corrupt("code format"))?;
    let suite = Suite::from_id(columns.number("suite")?).ok_or(StoreError::Corrupt("suite"))?;
    let index = TokenIndex::new(columns.number("token number")?).map_err(|_| StoreError::Corrupt("token number"))?;
    let (pay_key_version, mask_key_version) = (columns.number("key version")?, columns.number("key version")?);
    let state = TokenState::from_number(columns.number("state")?).ok_or(StoreError::Corrupt("token state"))?;
    let last_stamp = match (columns.maybe_number("step")?, columns.maybe_number("sequence")?) {
        (Some(step), Some(sequence)) => {
            let sequence = Sequence::new(sequence).map_err(|_| StoreError::Corrupt("sequence"))?;
            Some(Stamp::new(TimeStep(step), sequence))
        }
        (None, None) => None,
        _ => return Err(StoreError::Corrupt("stamp")),
    };
    Ok(Token {
        id,
        account,
        chip,
        format,
        suite,
        index,
        pay_key_version,
        mask_key_version,
        state,
        last_stamp,
        last_counter: columns.maybe_number("counter")?,
        guesses: Guesses { codes: columns.number("misses")?, ..Guesses::default() },
        spent: SpentMarks::default(),
        expires_ms: None,
        created_ms: columns.number("time")?,
    })
}

pub(super) fn binding(row: &Row<'_>) -> Result<Binding, StoreError> {
    let mut columns = Columns::of(row);
    let binding = Binding {
        id: BindingId(columns.take()?),
        account: AccountId(columns.take()?),
        chip: ChipId(columns.take()?),
        nonce: columns.take()?,
        token: TokenId(columns.take()?),
        host_challenge: columns.take()?,
        script: columns.number("attempt")?,
        card_answer: columns.take()?,
        anchor_s: columns.number("time")?,
        offline_allowance_s: columns.number("allowance")?,
        code_budget: columns.number("budget")?,
        state: BindingState::from_number(columns.number("state")?).ok_or(StoreError::Corrupt("binding state"))?,
        created_ms: columns.number("time")?,
        certificate: None,
        channels: 0,
        failure: None,
    };
    // The number of the script followed from that of the channel then.
    let installing = u8::from(binding.state == BindingState::Installing);
    let script = (2 * binding.script).saturating_sub(1) + installing;
    Ok(Binding { script, channels: binding.script.saturating_sub(1) + installing, ..binding })
}

pub(super) fn payment(row: &Row<'_>) -> Result<Payment, StoreError> {
    let mut columns = Columns::of(row);
    let (id, merchant) = (PaymentId(columns.take()?), MerchantId(columns.take()?));
    let order = columns.number_text()?;
    let fingerprint = columns.take::<Option<[u8; 32]>>()?.map(Fingerprint);
    let amount = match (columns.maybe_number("amount")?, columns.take::<Option<String>>()?) {
        (Some(minor), Some(currency)) => Some(stored_amount(minor, &currency)?),
        (None, None) => None,
        _ => return Err(StoreError::Corrupt("amount")),
    };
    let state = payment_state(columns.number("state")?, columns.number("decline")?);
    Ok(Payment {
        id,
        merchant,
        order,
        fingerprint,
        amount,
        state: state.ok_or(StoreError::Corrupt("payment state"))?,
        account: columns.take::<Option<[u8; 16]>>()?.map(AccountId),
        token: columns.take::<Option<[u8; 16]>>()?.map(TokenId),
        verified: columns.take()?,
        refunded_minor: columns.number("amount")?,
        refunds: 0,
        created_ms: columns.number("time")?,
        category: None,
        decision: None,
    })
}

pub(super) fn refund(row: &Row<'_>) -> Result<Refund, StoreError> {
    let mut columns = Columns::of(row);
    Ok(Refund {
        id: RefundId(columns.take()?),
        payment: PaymentId(columns.take()?),
        merchant: MerchantId(columns.take()?),
        number: columns.number_text()?,
        amount: stored_amount(columns.number("amount")?, &columns.take::<String>()?)?,
        created_ms: columns.number("time")?,
    })
}

//! Wearers' accounts: opening one, and putting money into it.

use ledger::{Amount, Balances, Currency, posting};

use crate::text::is_readable;
use crate::{AccountId, Booking, Change, KeyHash, Reason, Refusal, TopUpId, UnixMs};

/// The longest holder name, bytes of UTF-8.
pub const MAX_NAME_LEN: usize = 100;
/// The longest top-up reference, bytes.
pub const MAX_REFERENCE_LEN: usize = 64;

/// A wearer's account. Its balance is kept by the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Its id.
    pub id: AccountId,
    /// The holder's name, shown to the holder and the operator only.
    pub name: String,
    /// The currency it is kept in.
    pub currency: Currency,
    /// How the holder's wallet authenticates.
    pub wallet_key: KeyHash,
    /// When it was opened.
    pub created_ms: UnixMs,
}

impl Account {
    /// The name as a wearable shows it: the first character and stars, for a passer-by learns no more.
    pub fn masked_name(&self) -> String {
        let first = self.name.chars().next().unwrap_or('*');
        let hidden = self.name.chars().skip(1).take(3).count().max(1);
        format!("{first}{}", "*".repeat(hidden))
    }
}

/// What opening an account needs.
#[derive(Debug, Clone)]
pub struct OpenAccount {
    /// A fresh id.
    pub id: AccountId,
    /// The holder's name.
    pub name: String,
    /// The currency.
    pub currency: Currency,
    /// The hash of a fresh wallet key.
    pub wallet_key: KeyHash,
    /// The present time.
    pub now_ms: UnixMs,
}

/// Opens an account.
///
/// # Errors
/// [`Reason::FieldMalformed`] or [`Reason::FieldTooLong`] for the name.
pub fn open(request: OpenAccount) -> Result<(Account, Vec<Change>), Refusal> {
    let name = display_name(&request.name, "name")?;
    let OpenAccount { id, currency, wallet_key, now_ms, .. } = request;
    let account = Account { id, name, currency, wallet_key, created_ms: now_ms };
    Ok((account.clone(), vec![Change::PutAccount(account)]))
}

/// A name fit for display: trimmed, not empty, [readable](is_readable), bounded.
///
/// # Errors
/// [`Reason::FieldMalformed`] or [`Reason::FieldTooLong`], at `field`.
pub fn display_name(text: &str, field: &'static str) -> Result<String, Refusal> {
    let name = text.trim();
    if name.is_empty() || !is_readable(name) {
        return Err(Refusal::at(Reason::FieldMalformed, field));
    }
    if name.len() > MAX_NAME_LEN {
        return Err(Refusal::at(Reason::FieldTooLong, field));
    }
    Ok(name.to_owned())
}

/// Money put into an account, under a reference that makes a repeat harmless.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopUp {
    /// Its id.
    pub id: TopUpId,
    /// The account.
    pub account: AccountId,
    /// The caller's own reference: one reference is one top-up of that account for ever.
    pub reference: String,
    /// How much.
    pub amount: Amount,
    /// When it was booked.
    pub created_ms: UnixMs,
}

/// Tops an account up, or returns the top-up made before under the same reference.
///
/// `before` is the top-up already booked under this account and reference; `balances` those of the wallet and
/// the funding account.
///
/// # Errors
/// [`Reason::TopUpParametersDiffer`], [`Reason::CurrencyInvalid`], [`Reason::FieldMalformed`],
/// [`Reason::BooksRefused`].
pub fn top_up(
    request: TopUp,
    account: &Account,
    before: Option<TopUp>,
    balances: &Balances,
) -> Result<(TopUp, Vec<Change>), Refusal> {
    let reference_fits = (1..=MAX_REFERENCE_LEN).contains(&request.reference.len());
    if !reference_fits || !is_readable(&request.reference) {
        return Err(Refusal::at(Reason::FieldMalformed, "reference"));
    }
    if let Some(before) = before {
        let same = before.amount == request.amount;
        return if same { Ok((before, Vec::new())) } else { Err(Reason::TopUpParametersDiffer.into()) };
    }
    if request.amount.currency() != account.currency {
        return Err(Refusal::at(Reason::CurrencyInvalid, "currency"));
    }
    let cause = posting::Cause { reference: request.id.0, counterparty: [0; 16], at_ms: request.created_ms };
    let parties = posting::Parties { wearer: account.id.0, ..posting::Parties::default() };
    let booking = posting::entry(posting::Event::TopUp, cause, parties, request.amount)
        .and_then(|entry| Booking::new(entry, balances))
        .map_err(|_| Reason::BooksRefused)?;
    Ok((request.clone(), vec![Change::Book(booking), Change::PutTopUp(request)]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(name: &str) -> Account {
        Account {
            id: AccountId([1; 16]),
            name: name.to_owned(),
            currency: Currency::CNY,
            wallet_key: KeyHash([0; 32]),
            created_ms: 0,
        }
    }

    fn request(minor: u64, currency: Currency) -> TopUp {
        let amount = Amount::new(minor, currency).unwrap();
        TopUp { id: TopUpId([2; 16]), account: AccountId([1; 16]), reference: "r-1".to_owned(), amount, created_ms: 5 }
    }

    #[test]
    fn a_name_is_masked_to_its_first_character() {
        for (name, masked) in [("Li Wei", "L***"), ("李雷", "李*"), ("A", "A*"), ("13800000001", "1***")] {
            assert_eq!(account(name).masked_name(), masked);
        }
    }

    #[test]
    fn names_that_cannot_be_shown_are_refused() {
        assert!(display_name("  ", "name").is_err());
        assert!(display_name("a\nb", "name").is_err());
        assert!(display_name(&"x".repeat(101), "name").is_err());
        assert_eq!(display_name(" Li ", "name").unwrap(), "Li");
    }

    #[test]
    fn a_repeated_top_up_moves_no_money_and_another_amount_is_refused() {
        let first = top_up(request(500, Currency::CNY), &account("Li"), None, &Balances::new()).unwrap();
        assert_eq!(first.1.len(), 2);
        let again =
            top_up(request(500, Currency::CNY), &account("Li"), Some(first.0.clone()), &Balances::new()).unwrap();
        assert_eq!((again.0, again.1.len()), (first.0.clone(), 0));
        let other = top_up(request(501, Currency::CNY), &account("Li"), Some(first.0), &Balances::new());
        assert_eq!(other.unwrap_err().reason, Reason::TopUpParametersDiffer);
        let dollars = top_up(request(5, Currency::parse("USD").unwrap()), &account("Li"), None, &Balances::new());
        assert_eq!(dollars.unwrap_err().reason, Reason::CurrencyInvalid);
    }
}

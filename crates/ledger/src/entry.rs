//! An entry: the legs of one movement of money. One that exists is balanced in every currency.

use crate::posting::Cause;
use crate::{Amount, LedgerAccount, LedgerError, Side};

/// The most legs one entry may have.
pub const MAX_LEGS: usize = 16;

/// What an entry records. The number is what is stored and hashed: it never changes its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum EntryKind {
    /// A wearer put money into the wallet.
    TopUp = 1,
    /// A wearer paid: wallet to clearing.
    Payment = 2,
    /// A merchant gave back: clearing to wallet.
    Refund = 3,
    /// A batch of payments and refunds moved between clearing and a merchant.
    Posting = 4,
    /// A wearer's money was set aside for a payment that waits to be confirmed.
    Hold = 5,
    /// All or part of what was set aside was paid.
    Capture = 6,
    /// All or the rest of what was set aside went back to the wallet.
    Release = 7,
    /// A merchant paid a fee, or got one back.
    Fee = 8,
    /// The operator gave a wearer money.
    Gift = 9,
    /// A merchant was paid out.
    Settlement = 10,
    /// Money came in whose owner was not known, or was found.
    Suspense = 11,
}

impl EntryKind {
    /// Every kind, in the order of its number.
    pub const ALL: [Self; 11] = [
        Self::TopUp,
        Self::Payment,
        Self::Refund,
        Self::Posting,
        Self::Hold,
        Self::Capture,
        Self::Release,
        Self::Fee,
        Self::Gift,
        Self::Settlement,
        Self::Suspense,
    ];

    /// The kind with this stored number.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == number)
    }

    /// Whether its money waits in clearing for the posting to the merchant.
    pub const fn passes_through_clearing(self) -> bool {
        matches!(self, Self::Payment | Self::Refund | Self::Capture)
    }

    /// The name shown in books.
    pub const fn name(self) -> &'static str {
        match self {
            Self::TopUp => "top-up",
            Self::Payment => "payment",
            Self::Refund => "refund",
            Self::Posting => "posting",
            Self::Hold => "hold",
            Self::Capture => "capture",
            Self::Release => "release",
            Self::Fee => "fee",
            Self::Gift => "gift",
            Self::Settlement => "settlement",
            Self::Suspense => "suspense",
        }
    }
}

/// One line of an entry: an amount on one side of one account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leg {
    /// The account that moves.
    pub account: LedgerAccount,
    /// On which side it moves.
    pub side: Side,
    /// By how much; its currency is the account's.
    pub amount: Amount,
}

impl Leg {
    /// What the leg adds to the account's balance, in minor units: positive on the account's normal side.
    pub fn change_minor(&self) -> i64 {
        let minor = self.amount.minor_signed();
        if self.side == self.account.kind.normal_side() { minor } else { -minor }
    }
}

/// A balanced movement of money, and what caused it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    kind: EntryKind,
    cause: Cause,
    legs: Vec<Leg>,
}

impl Entry {
    /// An entry from its cause and its legs.
    ///
    /// # Errors
    /// [`LedgerError::LegCount`], [`LedgerError::CurrencyMismatch`] or [`LedgerError::Unbalanced`].
    pub fn new(kind: EntryKind, cause: Cause, legs: Vec<Leg>) -> Result<Self, LedgerError> {
        check(legs.iter())?;
        Ok(Self { kind, cause, legs })
    }

    /// What the entry records.
    pub fn kind(&self) -> EntryKind {
        self.kind
    }

    /// What it is about, and when it was booked.
    pub fn cause(&self) -> Cause {
        self.cause
    }

    /// Its lines.
    pub fn legs(&self) -> &[Leg] {
        &self.legs
    }
}

/// Whether these are the legs of an entry: each in its account's currency, and those of each currency balanced.
pub(crate) fn check<'l>(legs: impl ExactSizeIterator<Item = &'l Leg> + Clone) -> Result<(), LedgerError> {
    if legs.len() < 2 || legs.len() > MAX_LEGS {
        return Err(LedgerError::LegCount);
    }
    if legs.clone().any(|leg| leg.account.currency != leg.amount.currency()) {
        return Err(LedgerError::CurrencyMismatch);
    }
    for currency in legs.clone().map(|leg| leg.amount.currency()) {
        // At most 16 legs of at most 10^13 each: the sum fits an i64.
        let difference: i64 = legs
            .clone()
            .filter(|leg| leg.amount.currency() == currency)
            .map(|leg| if leg.side == Side::Debit { leg.amount.minor_signed() } else { -leg.amount.minor_signed() })
            .sum();
        if difference != 0 {
            return Err(LedgerError::Unbalanced);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AccountKind, Currency, Owner};

    fn leg(kind: AccountKind, side: Side, minor: u64, currency: &str, account_currency: &str) -> Leg {
        let currency = Currency::parse(currency).unwrap();
        let account_currency = Currency::parse(account_currency).unwrap();
        let account = LedgerAccount { kind, owner: Owner::OPERATOR, currency: account_currency };
        Leg { account, side, amount: Amount::new(minor, currency).unwrap() }
    }

    #[test]
    fn only_balanced_entries_exist() {
        use AccountKind::{Clearing, Wallet};
        use Side::{Credit, Debit};
        let cause = Cause { reference: [0; 16], counterparty: [0; 16], at_ms: 0 };
        let make = |legs| Entry::new(EntryKind::Payment, cause, legs).map(|_| ());
        assert_eq!(make(vec![leg(Wallet, Debit, 5, "CNY", "CNY"), leg(Clearing, Credit, 5, "CNY", "CNY")]), Ok(()));
        assert_eq!(
            make(vec![leg(Wallet, Debit, 5, "CNY", "CNY"), leg(Clearing, Credit, 4, "CNY", "CNY")]),
            Err(LedgerError::Unbalanced)
        );
        // Five yuan for five dollars is two unbalanced currencies, not one balanced sum.
        assert_eq!(
            make(vec![leg(Wallet, Debit, 5, "CNY", "CNY"), leg(Clearing, Credit, 5, "USD", "USD")]),
            Err(LedgerError::Unbalanced)
        );
        assert_eq!(
            make(vec![leg(Wallet, Debit, 5, "CNY", "USD"), leg(Clearing, Credit, 5, "CNY", "CNY")]),
            Err(LedgerError::CurrencyMismatch)
        );
        assert_eq!(make(vec![leg(Wallet, Debit, 5, "CNY", "CNY")]), Err(LedgerError::LegCount));
        assert_eq!(make(vec![leg(Wallet, Debit, 5, "CNY", "CNY"); 17]), Err(LedgerError::LegCount));
    }
}

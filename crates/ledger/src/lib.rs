//! Money, accounts and double entry as pure rules.
//!
//! Nothing here reads a clock, a disk or a network: an [`Entry`] that exists is balanced, [`apply`] either
//! moves every balance of it or none, and [`journal`] chains the records so that a changed one shows.
//! The store keeps what these rules return.

mod account;
mod balances;
mod entry;
pub mod journal;
mod money;
pub mod posting;

pub use account::{AccountKind, LedgerAccount, Owner, Side};
pub use balances::{Balances, TrialBalance, apply};
pub use entry::{Entry, EntryKind, Leg, MAX_LEGS};
pub use money::{Amount, Currency, MAX_AMOUNT_MINOR, format_minor, parse_minor};

/// Why the ledger refuses something. Nothing has changed when one is returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LedgerError {
    /// An amount is zero, or above [`MAX_AMOUNT_MINOR`].
    AmountOutOfRange,
    /// A decimal amount could not be read in the currency's digits.
    AmountMalformed,
    /// A currency is not three upper-case ASCII letters.
    CurrencyMalformed,
    /// The debits and credits of an entry differ in some currency.
    Unbalanced,
    /// An entry has fewer than two legs, or more than [`MAX_LEGS`].
    LegCount,
    /// A leg's amount and its account are in different currencies.
    CurrencyMismatch,
    /// A balance would pass the floor of its account kind.
    BelowFloor(AccountKind),
    /// A stored journal record does not have the form it was written in.
    RecordMalformed,
    /// A sum left the range of 64-bit minor units.
    Overflow,
}

impl LedgerError {
    /// The stable code of the error, for programs.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::AmountOutOfRange => "amount_out_of_range",
            Self::AmountMalformed => "amount_malformed",
            Self::CurrencyMalformed => "currency_malformed",
            Self::Unbalanced => "entry_unbalanced",
            Self::LegCount => "entry_leg_count",
            Self::CurrencyMismatch => "currency_mismatch",
            Self::BelowFloor(_) => "balance_below_floor",
            Self::RecordMalformed => "record_malformed",
            Self::Overflow => "amount_overflow",
        }
    }
}

impl core::fmt::Display for LedgerError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::AmountOutOfRange => write!(f, "an amount must be from 1 to {MAX_AMOUNT_MINOR} minor units"),
            Self::AmountMalformed => {
                f.write_str("an amount is written in digits with at most the currency's decimals, such as 12.50")
            }
            Self::CurrencyMalformed => f.write_str("a currency is three upper-case letters of ISO 4217, such as CNY"),
            Self::Unbalanced => f.write_str("the debits and credits of an entry must be equal in each currency"),
            Self::LegCount => write!(f, "an entry has from 2 to {MAX_LEGS} legs"),
            Self::CurrencyMismatch => f.write_str("an amount must be in the currency of its account"),
            Self::BelowFloor(kind) => write!(f, "the {} account does not hold enough", kind.name()),
            Self::RecordMalformed => f.write_str("a journal record cannot be read"),
            Self::Overflow => f.write_str("a sum is too large"),
        }
    }
}

impl std::error::Error for LedgerError {}

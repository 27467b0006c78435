//! The posting rules: which accounts each event moves. [`RULES`] is all there is; an event that is not in it moves nothing.
//!
//! A payment stays within the wearer's partition; only the later batch posting touches a merchant's account, so a busy
//! merchant is never a hot row on the path of a payment.

use crate::{AccountKind, Amount, Currency, Entry, EntryKind, LedgerAccount, LedgerError, Leg, Owner, Side};

/// Something that moves money.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Event {
    /// A wearer puts money into the wallet.
    TopUp,
    /// A wearer pays.
    Payment,
    /// A payment is given back, in full or in part.
    Refund,
    /// Payments outweigh refunds: their net goes to the merchant.
    PostToMerchant,
    /// Refunds outweigh payments: their net comes from the merchant.
    PostFromMerchant,
    /// Authorise: money is set aside until the wearer has confirmed.
    Hold,
    /// All or part of what is set aside is paid.
    Capture,
    /// Void: all or the rest of what is set aside goes back.
    Release,
    /// The merchant pays the operator for its service.
    Fee,
    /// The operator gives a fee back.
    FeeReturned,
    /// The operator gives a wearer money (a coupon, a prize).
    Gift,
    /// A merchant is paid out.
    Settlement,
    /// Money comes in, and nobody knows whose it is.
    Unidentified,
    /// It was found out: it goes to the wearer it is for.
    Identified,
}

use AccountKind as A;
use EntryKind as K;

/// One rule: what an event is called in the journal, and which account it debits and credits.
pub type Rule = (Event, EntryKind, AccountKind, AccountKind);

/// Every rule: event, name, debit, credit.
#[rustfmt::skip]
pub const RULES: [Rule; 14] = [
    (Event::TopUp,            K::TopUp,      A::Funding,   A::Wallet),
    (Event::Payment,          K::Payment,    A::Wallet,    A::Clearing),
    (Event::Refund,           K::Refund,     A::Clearing,  A::Wallet),
    (Event::PostToMerchant,   K::Posting,    A::Clearing,  A::Payable),
    (Event::PostFromMerchant, K::Posting,    A::Payable,   A::Clearing),
    (Event::Hold,             K::Hold,       A::Wallet,    A::Held),
    (Event::Capture,          K::Capture,    A::Held,      A::Clearing),
    (Event::Release,          K::Release,    A::Held,      A::Wallet),
    (Event::Fee,              K::Fee,        A::Payable,   A::Fees),
    (Event::FeeReturned,      K::Fee,        A::Fees,      A::Payable),
    (Event::Gift,             K::Gift,       A::Marketing, A::Wallet),
    (Event::Settlement,       K::Settlement, A::Payable,   A::Funding),
    (Event::Unidentified,     K::Suspense,   A::Funding,   A::Suspense),
    (Event::Identified,       K::Suspense,   A::Suspense,  A::Wallet),
];

/// Whose accounts an event moves. What an event does not touch may be zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Parties {
    /// The wearer's account.
    pub wearer: [u8; 16],
    /// The merchant.
    pub merchant: [u8; 16],
    /// The partition whose clearing account the money passes through.
    pub partition: u32,
}

impl Parties {
    /// The account of this kind.
    pub fn account(&self, kind: AccountKind, currency: Currency) -> LedgerAccount {
        let owner = match kind {
            A::Wallet | A::Held => Owner(self.wearer),
            A::Clearing => Owner::partition(self.partition),
            A::Payable => Owner(self.merchant),
            A::Funding | A::Fees | A::Marketing | A::Suspense => Owner::OPERATOR,
        };
        LedgerAccount { kind, owner, currency }
    }
}

/// The operator's funding account.
pub fn funding(currency: Currency) -> LedgerAccount {
    Parties::default().account(A::Funding, currency)
}

/// A wearer's wallet.
pub fn wallet(wearer: [u8; 16], currency: Currency) -> LedgerAccount {
    Parties { wearer, ..Parties::default() }.account(A::Wallet, currency)
}

/// What is set aside of a wearer's money.
pub fn held(wearer: [u8; 16], currency: Currency) -> LedgerAccount {
    Parties { wearer, ..Parties::default() }.account(A::Held, currency)
}

/// The clearing account of a partition.
pub fn clearing(partition: u32, currency: Currency) -> LedgerAccount {
    Parties { partition, ..Parties::default() }.account(A::Clearing, currency)
}

/// What is owed to a merchant.
pub fn payable(merchant: [u8; 16], currency: Currency) -> LedgerAccount {
    Parties { merchant, ..Parties::default() }.account(A::Payable, currency)
}

/// What an entry is about: the id of its cause and the time of booking (Unix milliseconds).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cause {
    /// The 16-byte id of the payment, refund, top-up or posting.
    pub reference: [u8; 16],
    /// The 16-byte id of the merchant whose money passes through clearing, which no leg names; zeros where there is
    /// none.
    pub counterparty: [u8; 16],
    /// When it is booked: Unix time, milliseconds.
    pub at_ms: u64,
}

/// The entry of an event.
///
/// # Errors
/// Those of [`Entry::new`]; none for valid arguments.
pub fn entry(event: Event, cause: Cause, parties: Parties, amount: Amount) -> Result<Entry, LedgerError> {
    // Every event has a rule: a test walks through them.
    let rule = RULES.iter().find(|(of, ..)| *of == event).ok_or(LedgerError::Unbalanced)?;
    let (_, kind, debit, credit) = *rule;
    let leg = |kind, side| Leg { account: parties.account(kind, amount.currency()), side, amount };
    Entry::new(kind, cause, vec![leg(debit, Side::Debit), leg(credit, Side::Credit)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_has_one_rule_and_moves_what_it_says() {
        let parties = Parties { wearer: [1; 16], merchant: [2; 16], partition: 3 };
        let cause = Cause { reference: [4; 16], counterparty: [0; 16], at_ms: 5 };
        let amount = Amount::new(7, Currency::CNY).unwrap();
        for (event, kind, debit, credit) in RULES {
            assert_eq!(RULES.iter().filter(|(of, ..)| *of == event).count(), 1, "{event:?}");
            let entry = entry(event, cause, parties, amount).unwrap();
            let sides: Vec<_> = entry.legs().iter().map(|leg| (leg.account.kind, leg.side)).collect();
            assert_eq!(entry.kind(), kind);
            assert_eq!(sides, [(debit, Side::Debit), (credit, Side::Credit)]);
        }
    }

    #[test]
    fn an_account_belongs_to_who_its_kind_says() {
        let parties = Parties { wearer: [1; 16], merchant: [2; 16], partition: 3 };
        for (kind, owner) in [
            (A::Wallet, Owner([1; 16])),
            (A::Held, Owner([1; 16])),
            (A::Payable, Owner([2; 16])),
            (A::Clearing, Owner::partition(3)),
            (A::Funding, Owner::OPERATOR),
            (A::Fees, Owner::OPERATOR),
            (A::Marketing, Owner::OPERATOR),
            (A::Suspense, Owner::OPERATOR),
        ] {
            assert_eq!(parties.account(kind, Currency::CNY).owner, owner);
        }
    }
}

//! The posting rules: which accounts each event moves. Read the table; it is all there is.
//!
//! | event | debit | credit |
//! |---|---|---|
//! | top-up | funding | wallet |
//! | payment | wallet | clearing of the wallet's partition |
//! | refund | clearing of the wallet's partition | wallet |
//! | posting to a merchant | clearing | merchant payable |
//! | posting from a merchant (refunds outweigh payments) | merchant payable | clearing |
//!
//! A payment stays within the wearer's partition; only the later batch posting touches a merchant's account,
//! so a busy merchant is never a hot row on the path of a payment.

use crate::{AccountKind, Amount, Currency, Entry, EntryKind, LedgerAccount, LedgerError, Leg, Owner, Side};

/// The operator's funding account.
pub fn funding(currency: Currency) -> LedgerAccount {
    LedgerAccount { kind: AccountKind::Funding, owner: Owner::OPERATOR, currency }
}

/// A wearer's wallet.
pub fn wallet(account: [u8; 16], currency: Currency) -> LedgerAccount {
    LedgerAccount { kind: AccountKind::Wallet, owner: Owner(account), currency }
}

/// The clearing account of a partition.
pub fn clearing(partition: u32, currency: Currency) -> LedgerAccount {
    LedgerAccount { kind: AccountKind::Clearing, owner: Owner::partition(partition), currency }
}

/// What is owed to a merchant.
pub fn payable(merchant: [u8; 16], currency: Currency) -> LedgerAccount {
    LedgerAccount { kind: AccountKind::Payable, owner: Owner(merchant), currency }
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

/// Money comes into a wallet.
///
/// # Errors
/// Those of [`Entry::new`]; none for valid arguments.
pub fn top_up(cause: Cause, account: [u8; 16], amount: Amount) -> Result<Entry, LedgerError> {
    let currency = amount.currency();
    transfer(EntryKind::TopUp, cause, funding(currency), wallet(account, currency), amount)
}

/// A wearer pays.
///
/// # Errors
/// Those of [`Entry::new`]; none for valid arguments.
pub fn payment(cause: Cause, account: [u8; 16], partition: u32, amount: Amount) -> Result<Entry, LedgerError> {
    let currency = amount.currency();
    transfer(EntryKind::Payment, cause, wallet(account, currency), clearing(partition, currency), amount)
}

/// A payment is given back, in full or in part.
///
/// # Errors
/// Those of [`Entry::new`]; none for valid arguments.
pub fn refund(cause: Cause, account: [u8; 16], partition: u32, amount: Amount) -> Result<Entry, LedgerError> {
    let currency = amount.currency();
    transfer(EntryKind::Refund, cause, clearing(partition, currency), wallet(account, currency), amount)
}

/// Which way a batch posting goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PostingDirection {
    /// Payments outweigh refunds: clearing to merchant.
    ToMerchant,
    /// Refunds outweigh payments: merchant to clearing.
    FromMerchant,
}

/// A batch of payments and refunds reaches the merchant's account, as their net amount.
///
/// # Errors
/// Those of [`Entry::new`]; none for valid arguments.
pub fn posting(
    cause: Cause,
    merchant: [u8; 16],
    partition: u32,
    direction: PostingDirection,
    net: Amount,
) -> Result<Entry, LedgerError> {
    let (clearing, payable) = (clearing(partition, net.currency()), payable(merchant, net.currency()));
    match direction {
        PostingDirection::ToMerchant => transfer(EntryKind::Posting, cause, clearing, payable, net),
        PostingDirection::FromMerchant => transfer(EntryKind::Posting, cause, payable, clearing, net),
    }
}

fn transfer(
    kind: EntryKind,
    cause: Cause,
    debit: LedgerAccount,
    credit: LedgerAccount,
    amount: Amount,
) -> Result<Entry, LedgerError> {
    let legs =
        vec![Leg { account: debit, side: Side::Debit, amount }, Leg { account: credit, side: Side::Credit, amount }];
    Entry::new(kind, cause, legs)
}

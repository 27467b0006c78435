//! What each row holds, and how it becomes the platform's types and back.
//!
//! A token is kept in two parts: what no payment changes under the number in its codes, and what each payment changes in the
//! [`Purse`] of its account, beside the balance and the day's use. The purse tells what no payment changes as well, so that a
//! payment reads one row of the wearer's, which it changes, where the server knows whose the number is (`store/src/owners.rs`).

pub(crate) mod codec;
mod makers;
mod on_day;
mod owners;
mod payments;
mod purse;
mod reservation;
mod rules;
mod tokens;
mod wearers;

pub(crate) use makers::{
    batch, chip_model, device_model, maker, put_batch, put_chip_model, put_device_model, put_maker, put_revoked_list,
    put_shipment, revoked_list, shipment,
};
pub(crate) use owners::{NOBODY, OwnersRow, SPAN, owners, put_owners};
pub(crate) use payments::{merchant, payment, put_merchant, put_payment, put_refund, refund};
pub(crate) use purse::{MAX_REFUSED_STARTS, Purse};
pub(crate) use reservation::{Asked, Reservation};
pub use rules::RulesRow;
pub(crate) use rules::{put_rule_set, rule_set};
#[cfg(test)]
pub(crate) use tokens::example as example_token;
pub(crate) use tokens::{Spend, join_token, put_token, put_token_place, token, token_account, token_place};
pub(crate) use wearers::{
    account, binding, chip, event, put_account, put_binding, put_chip, put_event, put_sync, put_top_up, sync, top_up,
};

use codec::{Decoder, Encoder};

use crate::StoreError;
use crate::key::{Key, Named};

/// The form rows have now.
const FORM: u8 = 1;

/// An id under a name, or in a list.
pub(crate) fn put_id(id: [u8; 16]) -> Vec<u8> {
    Encoder::new(FORM).raw(&id).finish()
}

pub(crate) fn id(table: &'static str, fields: &[u8]) -> Result<[u8; 16], StoreError> {
    let mut decoder = Decoder::new(table, FORM, fields)?;
    let id = decoder.raw()?;
    decoder.end().map(|()| id)
}

/// The row that whoever asks for this one asks for next, where there is one.
pub(crate) fn leads_to(key: &Key, row: &[u8]) -> Option<Key> {
    match key {
        Key::Name(Named::TokenNumbers, _) => token_account(codec::unseal(key, row).ok()?).ok().map(Key::purse),
        _ => None,
    }
}

/// A number that is counted up, or a sum that waits.
pub(crate) fn put_number(number: i64) -> Vec<u8> {
    Encoder::new(FORM).i64(number).finish()
}

pub(crate) fn number(table: &'static str, fields: &[u8]) -> Result<i64, StoreError> {
    let mut decoder = Decoder::new(table, FORM, fields)?;
    let number = decoder.i64()?;
    decoder.end().map(|()| number)
}

/// A balance and the last journal record that moved it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Balance {
    pub(crate) minor: i64,
    pub(crate) last_record: u64,
}

impl Balance {
    pub(crate) fn to_row(self) -> Vec<u8> {
        Encoder::new(FORM).i64(self.minor).u64(self.last_record).finish()
    }

    pub(crate) fn from_row(fields: &[u8]) -> Result<Self, StoreError> {
        let mut decoder = Decoder::new("balances", FORM, fields)?;
        let balance = Self { minor: decoder.i64()?, last_record: decoder.u64()? };
        decoder.end().map(|()| balance)
    }
}

/// A merchant and a currency: what a posting is about, in the order in which they are posted.
pub(crate) type Place = (platform::MerchantId, ledger::Currency);

/// A posting that is done in part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PostingUnderWay {
    /// The last record whose money it posts.
    pub(crate) up_to: u64,
    /// The last that has been posted to.
    pub(crate) after: Place,
}

/// The form of a partition in the middle of a posting; else it has the form it always had.
const POSTING_FORM: u8 = 2;

/// How far a partition is. One row a partition, written with every transaction: who holds the partition holds this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PartitionState {
    /// The head of its journal.
    pub(crate) head: ledger::journal::Head,
    /// The last number given out for a payment or an event.
    pub(crate) last_number: u64,
    /// Records up to this one have been posted to their merchants.
    pub(crate) posted: u64,
    /// What of the records behind those has been posted as well.
    pub(crate) posting: Option<PostingUnderWay>,
    /// Transactions so far: what tells, after a connection lost in a commit, whether it came through.
    pub(crate) transactions: u64,
    /// Who holds it: the random number of one run of one server.
    pub(crate) holder: [u8; 16],
    /// Until when, Unix milliseconds; another may take it after that.
    pub(crate) held_until_ms: u64,
}

impl PartitionState {
    pub(crate) fn new(partition: u32) -> Self {
        let head = ledger::journal::Head::empty(partition);
        let (last_number, posted) = (head.number, head.number);
        Self { head, last_number, posted, posting: None, transactions: 0, holder: [0; 16], held_until_ms: 0 }
    }

    /// Whether what this record has put into clearing for a merchant waits to be posted.
    pub(crate) fn waits(&self, number: u64, place: Place) -> bool {
        let is_done = |posting: PostingUnderWay| number <= posting.up_to && place <= posting.after;
        number > self.posted && !self.posting.is_some_and(is_done)
    }

    pub(crate) fn to_row(self) -> Vec<u8> {
        let row = Encoder::new(if self.posting.is_some() { POSTING_FORM } else { FORM })
            .u64(self.head.number)
            .raw(&self.head.hash)
            .u64(self.last_number)
            .u64(self.posted)
            .u64(self.transactions)
            .raw(&self.holder)
            .u64(self.held_until_ms);
        let row = match self.posting {
            Some(PostingUnderWay { up_to, after: (merchant, currency) }) => {
                row.u64(up_to).raw(&merchant.0).currency(currency)
            }
            None => row,
        };
        row.finish()
    }

    pub(crate) fn from_row(fields: &[u8]) -> Result<Self, StoreError> {
        let (mut decoder, form) = Decoder::up_to("partitions", POSTING_FORM, fields)?;
        let mut state = Self {
            head: ledger::journal::Head { number: decoder.u64()?, hash: decoder.raw()? },
            last_number: decoder.u64()?,
            posted: decoder.u64()?,
            posting: None,
            transactions: decoder.u64()?,
            holder: decoder.raw()?,
            held_until_ms: decoder.u64()?,
        };
        if form == POSTING_FORM {
            let up_to = decoder.u64()?;
            let after = (platform::MerchantId(decoder.raw()?), decoder.currency()?);
            state.posting = Some(PostingUnderWay { up_to, after });
        }
        decoder.end().map(|()| state)
    }
}

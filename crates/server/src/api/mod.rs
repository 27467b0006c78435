//! The API: one file for each family of endpoints.

pub(crate) mod accounts;
pub(crate) mod bindings;
pub(crate) mod chips;
pub(crate) mod confirmations;
pub(crate) mod devices;
pub(crate) mod events;
pub(crate) mod health;
pub(crate) mod makers;
pub(crate) mod merchants;
pub(crate) mod payments;
mod relayed;
pub(crate) mod risk;
pub(crate) mod shipments;
pub(crate) mod sockets;
pub(crate) mod syncs;
pub(crate) mod tokens;

use ledger::{Amount, Currency};
use platform::{Reason, Refusal};
use serde::Serialize;
use store::BookLine;
use utoipa::ToSchema;

/// Reads amount and currency of a request.
fn amount(minor: u64, currency: &str) -> Result<Amount, Refusal> {
    let currency = self::currency(currency)?;
    Amount::new(minor, currency).map_err(|_| Refusal::at(Reason::AmountInvalid, "amount"))
}

fn currency(text: &str) -> Result<Currency, Refusal> {
    Currency::parse(text).map_err(|_| Refusal::at(Reason::CurrencyInvalid, "currency"))
}

/// One line of a book.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BookLineView {
    /// The number of the journal record.
    sequence: u64,
    /// `top-up`, `payment`, `refund` or `posting`.
    kind: &'static str,
    /// The 32 hex digits of the id behind it.
    reference: String,
    /// When it was booked: Unix time, milliseconds.
    at_ms: u64,
    /// What it added to the balance, minor units; negative for what left.
    change: i64,
}

impl From<BookLine> for BookLineView {
    fn from(line: BookLine) -> Self {
        Self {
            sequence: line.sequence,
            kind: line.kind.name(),
            reference: hex::encode(line.reference),
            at_ms: line.at_ms,
            change: line.change_minor,
        }
    }
}

//! What the watch shows of its last payments.

use std::path::Path;

use serde_json::{Value, json};
use wearable::screen::Page;
use wearable::{PaymentOutcome, PaymentResult};

use super::{Watch, draw};
use crate::books::moment;
use crate::fault::Fault;

/// The results, newest first, one in a line.
pub fn lines(watch: &Watch) -> Vec<String> {
    watch.results().map(|result| line(&result)).collect()
}

fn line(result: &PaymentResult<'_>) -> String {
    let money = |minor| format!("{} {}", decimal(minor, result.decimals()), result.currency());
    let (amount, merchant) = (money(result.amount_minor()), result.merchant());
    let what = match result.outcome() {
        PaymentOutcome::Paid if result.refunded_minor() > 0 => {
            format!("{amount} paid at {merchant}, {} given back", money(result.refunded_minor()))
        }
        PaymentOutcome::Paid => format!("{amount} paid at {merchant}"),
        PaymentOutcome::Declined => format!("{amount} at {merchant} declined"),
        PaymentOutcome::Waits => format!("{amount} at {merchant} waits for you to confirm it on the phone"),
        PaymentOutcome::Cancelled => format!("{amount} at {merchant} cancelled"),
    };
    format!("{}  {what}", moment(result.unix_s().cast_signed() * 1_000))
}

/// The same for scripts.
pub fn document(watch: &Watch) -> Value {
    let results = watch.results().map(|result| {
        json!({
            "outcome": result.outcome().name(), "amount": result.amount_minor(), "refunded": result.refunded_minor(),
            "currency": result.currency(), "merchant": result.merchant(), "unix_s": result.unix_s(),
        })
    });
    results.collect()
}

/// Draws the newest result as the watch shows it, in this machine's time, and saves the picture.
///
/// # Errors
/// `no_result` where the cloud has told of none; those of the file.
pub fn draw_newest(watch: &Watch, png: &Path) -> Result<(), Fault> {
    let newest = watch.last_result().ok_or_else(|| {
        Fault::new("no_result", "the cloud has told nothing of payments yet, so there is nothing to draw")
            .hint("pay with a code of this watch, then `paychip watch sync`")
    })?;
    draw(&Page::Result { face: newest.face(utc_offset_minutes(newest.unix_s())) }, png)
}

/// What clocks of this machine show beyond UTC at a moment.
fn utc_offset_minutes(unix_s: u64) -> i16 {
    let time = jiff::Timestamp::from_second(unix_s.cast_signed()).unwrap_or_default();
    let seconds = jiff::tz::TimeZone::system().to_offset(time).seconds();
    // A day at most.
    i16::try_from(seconds / 60).unwrap_or(0)
}

/// Minor units with a point before the last digits.
fn decimal(minor: u64, decimals: u8) -> String {
    match 10_u64.checked_pow(decimals.into()) {
        Some(one) if decimals > 0 => format!("{}.{:0width$}", minor / one, minor % one, width = usize::from(decimals)),
        _ => minor.to_string(),
    }
}

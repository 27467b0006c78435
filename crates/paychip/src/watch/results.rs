//! What the watch shows of its last payments.

use serde_json::{Value, json};
use wearable::{PaymentOutcome, PaymentResult};

use super::Watch;
use crate::books::moment;

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

/// Minor units with a point before the last digits.
fn decimal(minor: u64, decimals: u8) -> String {
    match 10_u64.checked_pow(decimals.into()) {
        Some(one) if decimals > 0 => format!("{}.{:0width$}", minor / one, minor % one, width = usize::from(decimals)),
        _ => minor.to_string(),
    }
}

//! The till: scan a picture, charge, and handle what comes back. An order number is never changed before there is
//! a definite answer.

use serde_json::{Value, json};

use crate::api::{Api, number, text};
use crate::books::{fresh_number, minor_units, moment, money};
use crate::cli::PosCommand;
use crate::fault::Fault;
use crate::output::Output;
use crate::picture::read_grey;
use crate::profile::{Party, Place};
use crate::scan::{Scanned, scan};

/// The state of a payment that its wearer has to confirm.
const WAITS: &str = "requires_confirmation";
/// Seconds of one wait for the wearer; shorter than the client waits for an answer.
const WAIT_S: u64 = 10;
/// How often it waits: a little longer than a wearer has time.
const MAX_WAITS: u32 = 20;
/// How often a charge that got no answer is sent again, with the same order number.
const MAX_TRIES: u32 = 3;

pub(crate) fn run(place: &Place, merchant: Option<&str>, command: PosCommand, output: Output) -> Result<(), Fault> {
    let merchant = place.merchant(merchant)?;
    let api = place.as_party(&merchant)?;
    match command {
        PosCommand::Charge { amount, image, code, order } => {
            let minor = minor_units(&amount, &merchant.currency)?;
            let code = match (code, image) {
                (Some(code), _) => code,
                (None, Some(image)) => {
                    let scanned = best(scan(&read_grey(&image)?)?);
                    output.note(&format!("Scanned a {}.", scanned.symbol.name()));
                    scanned.text
                }
                (None, None) => return Err(Fault::new("no_code", "name a picture with --image or a code with --code")),
            };
            let order = order.map_or_else(|| fresh_number("order"), Ok)?;
            let answer = until_decided(&api, charge(&api, &merchant, &order, &code, minor)?, output)?;
            output.answer(&receipt(&merchant, &answer)?, &answer);
        }
        PosCommand::Cancel { order } => {
            let answer = api.post("/v1/payments/cancel", &json!({"order": order}))?;
            let line = format!(
                "Order {order} is {}; given back {}",
                text(&answer, "state")?,
                money(number(&answer, "refunded")?, &merchant.currency)
            );
            output.answer(&line, &answer);
        }
        PosCommand::Refund { order, amount, refund } => {
            let payment = by_order(&api, &order)?;
            let minor = match amount {
                Some(amount) => minor_units(&amount, &merchant.currency)?,
                None => u64::try_from(number(&payment, "amount")? - number(&payment, "refunded")?).unwrap_or(0),
            };
            let number = refund.map_or_else(|| fresh_number("refund"), Ok)?;
            let path = format!("/v1/payments/{}/refunds", text(&payment, "id")?);
            let answer = api.post(&path, &json!({"refund": number, "amount": minor})).map_err(|fault| {
                let hint =
                    format!("the outcome is unknown: repeat with --refund {number}, or it may be given back twice");
                if fault.outcome_is_unknown() { fault.hint(hint) } else { fault }
            })?;
            output.answer(
                &format!(
                    "Gave back {} of order {order} (refund {number})",
                    money(minor.cast_signed(), &merchant.currency)
                ),
                &answer,
            );
        }
        PosCommand::Show { order } => {
            let payment = by_order(&api, &order)?;
            output.answer(&receipt(&merchant, &payment)?, &payment);
        }
    }
    Ok(())
}

fn by_order(api: &Api, order: &str) -> Result<Value, Fault> {
    let found = api.get(&format!("/v1/payments?order={}", percent_encoded(order)))?;
    let first = found.as_array().and_then(|list| list.first()).cloned();
    first.ok_or_else(|| Fault::new("payment_not_found", format!("there is no order {order}")).at("order"))
}

/// An order number may hold any printable ASCII character; a query string may not.
fn percent_encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
        encoded
    })
}

/// Of several codes in one picture (they are the same spend), the first.
pub fn best(mut scanned: Vec<Scanned>) -> Scanned {
    scanned.swap_remove(0)
}

/// Charges; asks again with the same order number when no answer came.
pub fn charge(api: &Api, merchant: &Party, order: &str, code: &str, minor: u64) -> Result<Value, Fault> {
    let body = json!({"order": order, "code": code, "amount": minor, "currency": merchant.currency});
    let mut answer = api.post("/v1/payments", &body);
    for _ in 1..MAX_TRIES {
        match &answer {
            Err(fault) if fault.code == "unreachable" => answer = api.post("/v1/payments", &body),
            _ => break,
        }
    }
    answer.map_err(|fault| {
        let hint = format!("the outcome is unknown: repeat with --order {order}, or `paychip pos cancel {order}`");
        if fault.outcome_is_unknown() { fault.hint(hint) } else { fault }
    })
}

/// Waits while the wearer has to confirm on the phone, as long as that may take.
fn until_decided(api: &Api, mut answer: Value, output: Output) -> Result<Value, Fault> {
    if text(&answer, "state")? != WAITS {
        return Ok(answer);
    }
    output.note("The wearer must confirm this on the phone.");
    for _ in 0..MAX_WAITS {
        if text(&answer, "state")? != WAITS {
            break;
        }
        answer = api.get(&format!("/v1/payments/{}?wait_s={WAIT_S}", text(&answer, "id")?))?;
    }
    Ok(answer)
}

/// The slip a till prints.
pub fn receipt(merchant: &Party, payment: &Value) -> Result<String, Fault> {
    let amount = payment.get("amount").and_then(Value::as_i64);
    let state = text(payment, "state")?;
    let verified = payment.get("verified").and_then(Value::as_bool).unwrap_or(false);
    let refunded = number(payment, "refunded")?;
    let mut lines = vec![
        format!("  {}", merchant.name),
        format!("  order     {}", text(payment, "order")?),
        format!("  amount    {}", amount.map_or_else(|| "-".to_owned(), |minor| money(minor, &merchant.currency))),
        format!("  status    {state}{}", if verified { ", passcode entered" } else { "" }),
        format!("  payment   {}", text(payment, "id")?),
        format!("  time      {}", moment(number(payment, "created_ms")?)),
    ];
    if refunded > 0 {
        lines.push(format!("  refunded  {}", money(refunded, &merchant.currency)));
    }
    if let Some(failure) = payment.get("failure") {
        lines.push(format!("  reason    {}", text(failure, "message")?));
    }
    Ok(lines.join("\n"))
}

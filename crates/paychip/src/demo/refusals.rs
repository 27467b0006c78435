//! What must not pay: each refusal is provoked for real, and its code checked.

use protocol::applet::CodeForm;
use serde_json::{Value, json};

use super::PaidOnce;
use super::stage::{Narrator, PASSCODE, Stage};
use crate::fault::Fault;
use crate::watch::{self, sdk_fault};

/// Small change: none of these payments may go through.
const MINOR: u64 = 100;
/// One time step: how far the copied chip's clock is ahead.
const STEP_S: u64 = 30;

/// Provokes every refusal and returns their codes.
pub(super) fn show(stage: &mut Stage, narrator: &mut Narrator, paid: &PaidOnce, token: &str) -> Result<Value, Fault> {
    let mut codes = Vec::new();
    let mut refuse =
        |stage: &Stage, order: &str, code: &str, expected: &str, what: &str, look: &str| -> Result<(), Fault> {
            let fault = refused(stage, order, code, expected)?;
            narrator.step(&format!("{what} Refused: {}", fault.message), look);
            codes.push(fault.code);
            Ok(())
        };

    refuse(
        stage,
        "tea-0002",
        &paid.digits,
        "code_spent",
        "A stranger photographed the code and uses it again.",
        "crates/paycode/src/check.rs",
    )?;
    refuse_other_parameters(stage, paid)?;

    let (older, newer) = two_codes(stage)?;
    stage.charge("tea-0003", &newer, MINOR)?;
    refuse(
        stage,
        "tea-0004",
        &older,
        "code_superseded",
        "An old code, kept back while a newer one paid.",
        "crates/paycode/src/check.rs",
    )?;

    let copy = stage.clone_watch()?;
    let genuine = emv_code(stage)?;
    stage.charge("tea-0005", &genuine, MINOR)?;
    let copied = copied_code(&copy)?;
    refuse(
        stage,
        "tea-0006",
        &copied,
        "chip_cloned",
        "A thief copied the chip's memory. The copy's counter is behind the real one's.",
        "crates/platform/src/payments/code.rs",
    )?;
    let operator = stage.operator.clone();
    operator.post(&format!("/v1/tokens/{token}/resume"), &json!({}))?;

    stage.wallet()?.post(&format!("/v1/tokens/{token}/freeze"), &json!({}))?;
    let frozen = next_code(stage)?;
    refuse(
        stage,
        "tea-0007",
        &frozen,
        "token_frozen",
        "Li Wei lost the watch and froze it on the phone.",
        "crates/platform/src/tokens.rs",
    )?;
    Ok(json!(codes))
}

/// Charges and expects a refusal with this code.
fn refused(stage: &Stage, order: &str, code: &str, expected: &str) -> Result<Fault, Fault> {
    match stage.charge(order, code, MINOR) {
        Err(fault) if fault.code == expected => Ok(fault),
        Err(fault) => Err(Fault::new("demo_differs", format!("expected {expected}, was told: {fault}"))),
        Ok(_) => Err(Fault::new("demo_differs", format!("expected {expected}, but it paid"))),
    }
}

/// The same order number with another amount is a mistake of the till, not a second payment.
fn refuse_other_parameters(stage: &Stage, paid: &PaidOnce) -> Result<(), Fault> {
    refused(stage, &paid.order, &paid.digits, "order_parameters_differ").map(drop)
}

/// Two codes of the watch, the first older than the second.
fn two_codes(stage: &Stage) -> Result<(String, String), Fault> {
    let mut watch = stage.watch()?;
    let older = watch.next_payment_code(CodeForm::Digits).map_err(sdk_fault)?.digits().to_owned();
    let newer = watch.next_payment_code(CodeForm::Digits).map_err(sdk_fault)?.digits().to_owned();
    Ok((older, newer))
}

/// The EMV QR code of the watch: the fourth and last code of this half minute.
fn emv_code(stage: &Stage) -> Result<String, Fault> {
    let mut watch = stage.watch()?;
    let made = watch.next_payment_code(CodeForm::Emv).map_err(sdk_fault)?;
    Ok(made.emv().to_owned())
}

/// A code of the copied chip, from the next half minute so that it is fresh.
fn copied_code(copy: &watch::folder::WatchFolder) -> Result<String, Fault> {
    let mut watch = watch::open(copy)?;
    watch.host_mut().set_clock_ahead(STEP_S);
    Ok(watch.next_payment_code(CodeForm::Emv).map_err(sdk_fault)?.emv().to_owned())
}

/// A fresh code of the real watch in the next half minute.
fn next_code(stage: &Stage) -> Result<String, Fault> {
    let mut watch = stage.watch()?;
    watch.unlock(PASSCODE).map_err(sdk_fault)?;
    watch.host_mut().set_clock_ahead(STEP_S);
    Ok(watch.next_payment_code(CodeForm::Digits).map_err(sdk_fault)?.digits().to_owned())
}

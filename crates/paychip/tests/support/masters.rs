//! What the tests of master keys do with a cloud: pay with codes under one version or another, and ask which is in force.

use std::time::{Duration, Instant};

use paychip::api::Api;
use paychip::watch::Watch;
use serde_json::json;
use wearable::CodeForm;

use super::{Cloud, STEP_S};

/// How long a server may take to follow its vault, or to find its token again: Argon2id in a build without optimisation, beside
/// other tests.
pub const FOLLOWING_PATIENCE: Duration = Duration::from_secs(60);

/// What becomes of a payment: its state, or why there is none.
pub fn charge(cloud: &Cloud, shop: &str, code: &str) -> String {
    let body = json!({"order": format!("code-{code}"), "code": code, "amount": 7, "currency": "CNY"});
    match Api::new(cloud.url.clone(), shop.to_owned()).post("/v1/payments", &body) {
        Ok(payment) => payment["state"].as_str().unwrap().to_owned(),
        Err(fault) => fault.code,
    }
}

/// The watch's code number so many; four a step.
pub fn next_code(watch: &mut Watch, number: usize) -> String {
    watch.host_mut().set_clock_ahead(if number < 4 { 0 } else { STEP_S });
    watch.next_payment_code(CodeForm::Digits).unwrap().digits().to_owned()
}

/// The key version that a chip which is registered now gets.
pub fn current_version(cloud: &Cloud, number: u8) -> u64 {
    let body = json!({"chip_id": hex::encode([number; 16])});
    cloud.operator().post("/v1/chips", &body).unwrap()["key_version"].as_u64().unwrap()
}

/// Waits until new chips get keys of this version.
pub fn wait_for_version(cloud: &Cloud, version: u64, numbers: &mut std::ops::Range<u8>) {
    let begun = Instant::now();
    while current_version(cloud, numbers.next().expect("looked too often")) != version {
        assert!(begun.elapsed() < FOLLOWING_PATIENCE, "the server does not follow its vault");
        std::thread::sleep(Duration::from_millis(500));
    }
}

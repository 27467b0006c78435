//! The cloud is killed with SIGKILL again and again while tills charge; the tills ask again with the same order
//! numbers. Afterwards every acknowledged payment is there once, and the books are sound.
//!
//! Runs a small number of payments; `PAYCHIP_LONG=1` makes it the full thousand.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that cannot go on fails"
)]

mod support;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use paychip::api::{Api, text};
use paychip::books::{open_account, take_on_merchant, top_up};
use serde_json::{Value, json};
use support::{CODES_A_WATCH, Cloud, STEP_S, watches};
use wearable::CodeForm;

const PRICE_MINOR: u64 = 7;
const TILLS: usize = 4;

/// Where the present cloud is; none while it is dead.
type Address = Arc<Mutex<Option<String>>>;

/// Charges until there is an answer, with the same order number, over as many clouds as it takes.
fn charge(address: &Address, key: &str, order: &str, code: &str) -> Result<Value, String> {
    let body = json!({"order": order, "code": code, "amount": PRICE_MINOR, "currency": "CNY"});
    for _ in 0..2_000 {
        let url = address.lock().unwrap().clone();
        let answer = url.map(|url| Api::new(url, key.to_owned()).post("/v1/payments", &body));
        match answer {
            Some(Ok(payment)) => return Ok(payment),
            Some(Err(fault))
                if !["unreachable", "busy", "stopped", "answer_malformed"].contains(&fault.code.as_str()) =>
            {
                return Err(fault.code);
            }
            _ => std::thread::sleep(Duration::from_millis(5)),
        }
    }
    Err("never answered".to_owned())
}

#[test]
fn every_acknowledged_payment_survives_kill_9_once() {
    let wanted = if support::is_long() { 1_000 } else { 200 };
    let folder = tempfile::tempdir().unwrap();
    let cloud = Cloud::start(folder.path());
    let (wearer, _) = open_account(&cloud.operator(), "Li Wei", "CNY").unwrap();
    top_up(&cloud.operator(), &wearer, 1_000_000, "first").unwrap();
    let (shop, _) = take_on_merchant(&cloud.operator(), "Tea House", "CNY").unwrap();
    let watches = watches(&cloud, &Api::new(cloud.url.clone(), wearer.key.clone()), wanted);

    let address: Address = Arc::new(Mutex::new(Some(cloud.url.clone())));
    let done = Arc::new(AtomicBool::new(false));
    let killer = {
        let (address, done, data) = (Arc::clone(&address), Arc::clone(&done), cloud.data.clone());
        std::thread::spawn(move || {
            let (mut cloud, mut kills) = (cloud, 0_u32);
            while !done.load(Ordering::Acquire) {
                // Moments that fall anywhere within a few batches.
                std::thread::sleep(Duration::from_millis(20 + u64::from(kills * 37 % 90)));
                *address.lock().unwrap() = None;
                cloud.kill();
                cloud = Cloud::start(&data);
                *address.lock().unwrap() = Some(cloud.url.clone());
                kills += 1;
            }
            (cloud, kills)
        })
    };

    let watches = Arc::new(Mutex::new(watches.into_iter().enumerate()));
    let tills: Vec<_> = (0..TILLS)
        .map(|_| {
            let (address, watches, key) = (Arc::clone(&address), Arc::clone(&watches), shop.key.clone());
            std::thread::spawn(move || {
                let mut answers = Vec::new();
                loop {
                    let next = watches.lock().unwrap().next();
                    let Some((number, mut watch)) = next else { return answers };
                    for payment in 0..CODES_A_WATCH {
                        watch.host_mut().set_clock_ahead(if payment < CODES_A_WATCH / 2 { 0 } else { STEP_S });
                        let code = watch.next_payment_code(CodeForm::Digits).unwrap().digits().to_owned();
                        let order = format!("order-{number}-{payment}");
                        let answer = charge(&address, &key, &order, &code);
                        answers.push((order, answer));
                    }
                }
            })
        })
        .collect();
    let answers: Vec<_> = tills.into_iter().flat_map(|till| till.join().unwrap()).collect();
    done.store(true, Ordering::Release);
    let (cloud, kills) = killer.join().unwrap();

    let till = Api::new(cloud.url.clone(), shop.key.clone());
    let mut ids = BTreeSet::new();
    for (order, answer) in &answers {
        let payment = answer.as_ref().unwrap_or_else(|code| panic!("{order}: {code}"));
        let found = till.get(&format!("/v1/payments?order={order}")).unwrap();
        assert_eq!(&found.as_array().unwrap()[0], payment, "what was acknowledged is what is stored");
        assert_eq!(payment["state"], "succeeded");
        assert!(ids.insert(text(payment, "id").unwrap()), "{order} is another order's payment");
    }
    let wallet = Api::new(cloud.url.clone(), wearer.key.clone());
    let balance = wallet.get(&format!("/v1/accounts/{}", wearer.id)).unwrap()["balance"].as_i64().unwrap();
    let spent = i64::try_from(answers.len() as u64 * PRICE_MINOR).unwrap();
    assert_eq!(balance, 1_000_000 - spent, "each payment is charged once");
    assert_eq!(cloud.operator().get("/v1/audit").unwrap()["sound"], true);
    println!("{} payments, {kills} kills", answers.len());
    assert!(kills >= 3, "too few kills to prove anything: {kills}");
}

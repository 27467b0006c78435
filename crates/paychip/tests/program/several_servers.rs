//! Two servers on one PostgreSQL database, each stopped and started as in a release, in turn while tills charge and give
//! back through both. Afterwards every acknowledged payment is there once, the shop has got all that is its, and the books
//! are sound. Servers that are killed are in `kill/`.
//!
//! A few rounds; `PAYCHIP_LONG=1` makes them many.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::support::postgres::Postgres;
use crate::support::{CODES_A_WATCH, Cloud, STEP_S, is_long, program, watches, with_keys_of};
use paychip::api::{Api, text};
use paychip::books::{open_account, take_on_merchant, top_up};
use serde_json::{Value, json};
use wearable::CodeForm;

const PRICE_MINOR: u64 = 7;
/// Given back of every other payment.
const REFUND_MINOR: u64 = 3;
const TILLS: usize = 4;
const MONEY_MINOR: u64 = 1_000_000;
/// How long the clearing of a server that has ended may wait: two looks of another, and a posting.
const POSTING_PATIENCE: Duration = Duration::from_secs(40);

/// Where the two servers are; none for one that is dead.
type Addresses = Arc<[Mutex<Option<String>>; 2]>;

/// A till that goes to the next server when one does not answer.
struct Till {
    addresses: Addresses,
    key: String,
    turn: AtomicUsize,
}

impl Till {
    /// Posts the same again and again until there is an answer.
    fn post(&self, path: &str, body: &Value) -> Result<Value, String> {
        for _ in 0..4_000 {
            let turn = self.turn.fetch_add(1, Ordering::Relaxed) % 2;
            let url = self.addresses[turn].lock().unwrap().clone();
            match url.map(|url| Api::new(url, self.key.clone()).post(path, body)) {
                Some(Ok(answer)) => return Ok(answer),
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
}

#[test]
fn a_rolling_restart_under_load_loses_nothing_and_each_server_ends_by_itself() {
    let Some(server) = Postgres::start() else { return };
    let database = server.new_database();
    // Not of a pair: each folder outlives its server, which is started again over it.
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let first = Cloud::start_on(folders[0].path(), &database);
    with_keys_of(folders[0].path(), folders[1].path());
    let second = Cloud::start_on(folders[1].path(), &database);

    let (wearer, _) = open_account(&first.operator(), "Li Wei", "CNY").unwrap();
    top_up(&second.operator(), &wearer, MONEY_MINOR, "first").unwrap();
    let (shop, _) = take_on_merchant(&second.operator(), "Tea House", "CNY").unwrap();
    let wanted = if is_long() { 2_000 } else { 160 };
    let watches = watches(&first, &Api::new(first.url.clone(), wearer.key.clone()), wanted);

    let addresses: Addresses = Arc::new([&first, &second].map(|cloud| Mutex::new(Some(cloud.url.clone()))));
    let done = Arc::new(AtomicBool::new(false));
    let ender = {
        let (addresses, done, database) = (Arc::clone(&addresses), Arc::clone(&done), database.clone());
        std::thread::spawn(move || {
            let (mut clouds, mut ends) = ([Some(first), Some(second)], 0_usize);
            while !done.load(Ordering::Acquire) {
                // Moments that fall anywhere within a few batches.
                std::thread::sleep(Duration::from_millis(50 + (ends as u64) * 37 % 90));
                let which = ends % 2;
                *addresses[which].lock().unwrap() = None;
                let dead = clouds[which].take().unwrap();
                let data = dead.data.clone();
                let status = dead.terminate();
                assert!(status.success(), "asked to end, the server ended with {status}");
                let cloud = Cloud::start_on(&data, &database);
                *addresses[which].lock().unwrap() = Some(cloud.url.clone());
                clouds[which] = Some(cloud);
                ends += 1;
            }
            (clouds, ends)
        })
    };

    let watches = Arc::new(Mutex::new(watches.into_iter().enumerate()));
    let tills: Vec<_> = (0..TILLS)
        .map(|number| {
            let watches = Arc::clone(&watches);
            let till =
                Till { addresses: Arc::clone(&addresses), key: shop.key.clone(), turn: AtomicUsize::new(number) };
            std::thread::spawn(move || {
                let mut answers = Vec::new();
                loop {
                    let next = watches.lock().unwrap().next();
                    let Some((number, mut watch)) = next else { return answers };
                    for payment in 0..CODES_A_WATCH {
                        watch.host_mut().set_clock_ahead(if payment < CODES_A_WATCH / 2 { 0 } else { STEP_S });
                        let code = watch.next_payment_code(CodeForm::Digits).unwrap().digits().to_owned();
                        let order = format!("order-{number}-{payment}");
                        let body = json!({"order": order, "code": code, "amount": PRICE_MINOR, "currency": "CNY"});
                        let paid = till.post("/v1/payments", &body).unwrap_or_else(|code| panic!("{order}: {code}"));
                        let id = text(&paid, "id").unwrap();
                        if payment % 2 == 0 {
                            let body = json!({"refund": format!("refund-{order}"), "amount": REFUND_MINOR});
                            till.post(&format!("/v1/payments/{id}/refunds"), &body)
                                .unwrap_or_else(|code| panic!("refund of {order}: {code}"));
                        }
                        answers.push((order, id));
                    }
                }
            })
        })
        .collect();
    let answers: Vec<_> = tills.into_iter().flat_map(|till| till.join().unwrap()).collect();
    done.store(true, Ordering::Release);
    let (clouds, ends) = ender.join().unwrap();
    let [Some(first), Some(second)] = clouds else { panic!("a server is gone") };

    let shop_api = Api::new(first.url.clone(), shop.key.clone());
    let mut ids = BTreeSet::new();
    for (order, id) in &answers {
        let found = shop_api.get(&format!("/v1/payments?order={order}")).unwrap();
        let payment = &found.as_array().unwrap()[0];
        assert_eq!((text(payment, "id").unwrap(), &payment["state"]), (id.clone(), &json!("succeeded")));
        assert!(ids.insert(id.clone()), "{order} is another order's payment");
    }
    let payments = answers.len() as u64;
    let kept = payments * PRICE_MINOR - payments / 2 * REFUND_MINOR;
    let wallet = Api::new(second.url.clone(), wearer.key.clone());
    let balance = wallet.get(&format!("/v1/accounts/{}", wearer.id)).unwrap()["balance"].as_u64().unwrap();
    assert_eq!(balance, MONEY_MINOR - kept, "each payment is charged once, each refund given once");

    let begun = Instant::now();
    loop {
        let account = shop_api.get("/v1/merchants/me").unwrap();
        if account["pending"] == 0 {
            assert_eq!(account["balance"].as_u64(), Some(kept));
            break;
        }
        assert!(begun.elapsed() < POSTING_PATIENCE, "what servers that ended left was never posted: {account}");
        std::thread::sleep(Duration::from_millis(200));
    }
    for cloud in [&first, &second] {
        let audit = cloud.operator().get("/v1/audit").unwrap();
        assert_eq!(audit["sound"], true, "{audit}");
    }
    println!("{payments} payments, {ends} servers ended");
    assert!(ends >= 4, "too few servers ended to prove anything: {ends}");
}

#[test]
fn a_server_without_the_keys_of_its_database_does_not_start() {
    let Some(server) = Postgres::start() else { return };
    let database = server.new_database();
    let (first, stranger) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let _cloud = Cloud::start_on(first.path(), &database);
    let refused = |why: &str| {
        let mut serve = program();
        serve.arg("--data").arg(stranger.path()).args(["serve", "--listen", "127.0.0.1:0"]);
        let output = serve.args(["--database", &database]).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && told.contains(why), "{told}");
    };
    refused("master.key: is missing");
    std::fs::write(stranger.path().join("master.key"), "11".repeat(32)).unwrap();
    refused("not the one this database is used with");
}

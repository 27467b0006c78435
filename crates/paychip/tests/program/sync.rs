//! What the cloud does at a chip that is bound, over the real program: a used-up budget is filled again, a revoked token
//! leaves its chip, and the watch is somebody else's afterwards.

use crate::support::play::{Play, error_code};
use crate::support::postgres::Postgres;
use crate::support::{Cloud, watches, with_keys_of};
use paychip::api::{Api, text};
use paychip::profile::Place;
use paychip::watch::folder::WatchFolder;
use paychip::watch::{Watch, bind, open, sync};
use serde_json::{Value, json};
use wearable::CodeForm;

/// Codes a chip may make between two syncs, by default.
const BUDGET: u16 = 500;

fn wallet_of(operator: &Api, cloud: &Cloud, name: &str) -> (Api, String) {
    let account = operator.post("/v1/accounts", &json!({ "name": name, "currency": "CNY" })).unwrap();
    let (id, key) = (text(&account, "id").unwrap(), text(&account, "wallet_key").unwrap());
    operator.post(&format!("/v1/accounts/{id}/top-ups"), &json!({ "amount": 10_000, "reference": "r" })).unwrap();
    (Api::new(cloud.url.clone(), key.clone()), key)
}

fn folder_of(cloud: &Cloud, watch: &str) -> WatchFolder {
    WatchFolder::named(&Place { data: cloud.data.clone(), server: Some(cloud.url.clone()) }, watch).unwrap()
}

fn opened(cloud: &Cloud, watch: &str) -> Watch {
    open(&folder_of(cloud, watch)).unwrap()
}

fn pays(till: &Api, order: &str, code: &str) -> Value {
    till.post("/v1/payments", &json!({ "order": order, "amount": 1, "currency": "CNY", "code": code })).unwrap()
}

#[test]
fn a_used_up_budget_is_filled_again_and_an_unbound_watch_is_somebody_elses() {
    let play = Play::begin();
    let (operator, cloud) = (play.cloud.operator(), &play.cloud);
    let (li, _) = wallet_of(&operator, cloud, "Li Wei");
    let (wang, _) = wallet_of(&operator, cloud, "Wang Fang");
    let merchant = operator.post("/v1/merchants", &json!({ "name": "Tea", "currency": "CNY" })).unwrap();
    let till = Api::new(cloud.url.clone(), text(&merchant, "api_key").unwrap());
    play.take_on("sunrise", "Sunrise", "p256");
    let manifest = play.ship("sunrise", "1", "1", &[]);
    play.run(&["vendor", "import", &manifest]).unwrap();
    play.watch("w", &["new", "--factory", "sunrise"]).unwrap();

    let mut watch = opened(cloud, "w");
    assert_eq!(sync::sync(&mut watch, &li, |_| ()).unwrap_err().code, "watch_not_bound");
    let bound = bind::bind(&mut watch, &li, |_| ()).unwrap();
    let path = format!("/v1/tokens/{}", text(&bound, "token").unwrap());
    assert_eq!(li.get(&format!("{path}/sync")).unwrap_err().code, "sync_not_found");
    // Codes are made ahead, four in each half minute: the budget ends before the first day does.
    let mut made = 0;
    for _ in 0..BUDGET {
        match watch.next_payment_code(CodeForm::Digits) {
            Ok(_) => made += 1,
            Err(wearable::Error::Wait { .. }) => watch.host_mut().set_clock_ahead(30 * (made / 4 + 1)),
            Err(error) => panic!("{error} after {made}"),
        }
    }
    assert!(made > 100, "{made}");
    let before = watch.status().unwrap().codes_left.unwrap();
    assert!(before < BUDGET - 100);
    let mut seen = Vec::new();
    let done = sync::sync(&mut watch, &li, |percent| seen.push(percent)).unwrap();
    assert_eq!((&done["work"], &done["state"]), (&"refill".into(), &"done".into()));
    assert_eq!(seen, [10, 30, 70, 90, 100]);
    assert_eq!(watch.status().unwrap().codes_left, Some(BUDGET));
    assert_eq!(li.get(&format!("{path}/sync")).unwrap()["state"], "done");
    drop(watch);
    let trail = li.get(&format!("{path}/events")).unwrap();
    let names: Vec<&str> = trail.as_array().unwrap().iter().filter_map(|line| line["name"].as_str()).collect();
    assert_eq!(names, ["refilled", "bound"]);

    // Stopped tokens are not filled, and nobody syncs another's.
    li.post(&format!("{path}/freeze"), &json!({})).unwrap();
    let mut watch = opened(cloud, "w");
    assert_eq!(sync::sync(&mut watch, &li, |_| ()).unwrap_err().code, "token_state_forbids");
    li.post(&format!("{path}/resume"), &json!({})).unwrap();
    assert_eq!(wang.post(&format!("{path}/sync"), &json!({})).unwrap_err().code, "token_not_found");

    // Given up: the code on its screen is worth nothing, the keys are gone, and the next wearer's pay.
    let wiped = sync::unbind(&mut watch, &li, "sold", |_| ()).unwrap();
    assert_eq!((&wiped["work"], &wiped["state"]), (&"wipe".into(), &"done".into()));
    assert!(!watch.status().unwrap().is_bound());
    assert_eq!(watch.next_payment_code(CodeForm::Digits).unwrap_err().code(), 20);
    let again = sync::unbind(&mut watch, &li, "", |_| ()).unwrap();
    assert_eq!(again["state"], "done", "what is wiped already is confirmed by the chip itself");
    std::thread::sleep(std::time::Duration::from_millis(1_100));
    bind::bind(&mut watch, &wang, |_| ()).unwrap();
    assert_eq!(sync::sync(&mut watch, &li, |_| ()).unwrap_err().code, "chip_bound");
    let code = watch.next_payment_code(CodeForm::Digits).unwrap();
    let paid = pays(&till, "1", code.digits());
    assert_eq!(paid["state"], "succeeded");
    let book = |wallet: &Api| wallet.get("/v1/tokens").unwrap()[0]["account"].as_str().unwrap().to_owned();
    let balance = |wallet: &Api| wallet.get(&format!("/v1/accounts/{}", book(wallet))).unwrap()["balance"].clone();
    assert_eq!((balance(&wang), balance(&li)), (9_999.into(), 10_000.into()), "the next wearer has paid");
    assert_eq!(play.run(&["audit"]).unwrap()["sound"], true);
}

#[test]
fn the_program_syncs_and_unbinds() {
    let play = Play::begin();
    play.run(&["account", "new", "Li Wei"]).unwrap();
    play.run(&["watch", "new"]).unwrap();
    assert_eq!(error_code(play.run(&["watch", "sync"])), "watch_not_bound");
    play.run(&["watch", "bind"]).unwrap();
    play.run(&["watch", "code"]).unwrap();
    assert_eq!(play.run(&["watch", "status"]).unwrap()["codes_left"], BUDGET - 1);
    assert_eq!(play.run(&["watch", "sync"]).unwrap()["work"], "refill");
    assert_eq!(play.run(&["watch", "status"]).unwrap()["codes_left"], BUDGET);
    assert_eq!(play.run(&["watch", "unbind", "--why", "sold"]).unwrap()["work"], "wipe");
    assert_eq!(play.run(&["watch", "status"]).unwrap()["state"], "ready to be bound");
}

#[test]
fn on_postgresql_a_watch_is_bound_at_one_server_synced_at_the_other_and_unbound_at_the_first() {
    let Some(postgres) = Postgres::start() else { return };
    let database = postgres.new_database();
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (folder.path().join("one"), folder.path().join("two"));
    std::fs::create_dir_all(&two).unwrap();
    let first = Cloud::start_on(&one, &database);
    with_keys_of(&one, &two);
    let second = Cloud::start_on(&two, &database);
    let (wallet, key) = wallet_of(&first.operator(), &first, "Li Wei");
    let at_second = Api::new(second.url.clone(), key);
    let mut watch = watches(&first, &wallet, 1).remove(0);
    watch.next_payment_code(CodeForm::Digits).unwrap();
    assert_eq!(sync::sync(&mut watch, &at_second, |_| ()).unwrap()["work"], "refill");
    assert_eq!(watch.status().unwrap().codes_left, Some(BUDGET));
    assert_eq!(sync::unbind(&mut watch, &wallet, "", |_| ()).unwrap()["work"], "wipe");
    assert!(!watch.status().unwrap().is_bound());
}

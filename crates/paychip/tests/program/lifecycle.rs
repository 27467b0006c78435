//! A token's life over the real program: a freeze at one server holds on the very next payment at every other, and who
//! stopped it decides who may lift that.

use crate::support::postgres::Postgres;
use crate::support::{CODES_A_WATCH, Cloud, STEP_S, watches};
use paychip::api::{Api, text};
use paychip::books::{open_account, take_on_merchant, top_up};
use paychip::watch::Watch;
use serde_json::{Value, json};
use wearable::CodeForm;

/// Freezes and resumes in turn, each at a server of its own.
const ROUNDS: usize = 3 * CODES_A_WATCH / 2;

fn code(watch: &mut Watch, payment: usize) -> String {
    watch.host_mut().set_clock_ahead(if payment < CODES_A_WATCH / 2 { 0 } else { STEP_S });
    watch.next_payment_code(CodeForm::Digits).unwrap().digits().to_owned()
}

/// Every freeze is asked of one server and tried at the next, and so is every resume.
fn a_freeze_holds_at_every_server(clouds: &[Cloud]) {
    let (wearer, _) = open_account(&clouds[0].operator(), "Li Wei", "CNY").unwrap();
    top_up(&clouds[0].operator(), &wearer, 100_000, "first").unwrap();
    let (shop, _) = take_on_merchant(&clouds[0].operator(), "Tea House", "CNY").unwrap();
    let mut watches = watches(&clouds[0], &Api::new(clouds[0].url.clone(), wearer.key.clone()), 2 * ROUNDS);
    let at = |turn: usize, key: &str| Api::new(clouds[turn % clouds.len()].url.clone(), key.to_owned());
    let tokens = at(0, &wearer.key).get("/v1/tokens").unwrap();
    // Newest first; the watches are in the order they were bound.
    let tokens: Vec<String> = tokens.as_array().unwrap().iter().rev().map(|token| text(token, "id").unwrap()).collect();
    for round in 0..ROUNDS {
        let (which, first) = (2 * round / CODES_A_WATCH, 2 * round % CODES_A_WATCH);
        let token = &tokens[which];
        for (payment, action, expected) in
            [(first, "freeze", Err("token_frozen")), (first + 1, "resume", Ok("succeeded"))]
        {
            let code = code(&mut watches[which], payment);
            let acted = at(round, &wearer.key).post(&format!("/v1/tokens/{token}/{action}"), &json!({"why": "a test"}));
            assert!(acted.is_ok(), "{acted:?}");
            let order = format!("{action}-{round}");
            let body = json!({"order": order, "code": code, "amount": 100, "currency": "CNY"});
            let paid = at(round + 1, &shop.key).post("/v1/payments", &body);
            let state = paid.map(|paid| text(&paid, "state").unwrap()).map_err(|fault| fault.code);
            assert_eq!(state, expected.map(str::to_owned).map_err(str::to_owned), "{order}");
        }
    }
}

#[test]
fn on_sqlite_a_freeze_holds_on_the_very_next_payment() {
    let folder = tempfile::tempdir().unwrap();
    a_freeze_holds_at_every_server(&[Cloud::start(folder.path())]);
}

#[test]
fn on_postgresql_a_freeze_at_one_server_holds_on_the_very_next_payment_at_the_other() {
    let Some(server) = Postgres::start() else { return };
    let database = server.new_database();
    a_freeze_holds_at_every_server(&Cloud::pair_on(&database));
}

#[test]
fn who_stopped_a_token_decides_who_may_lift_that_and_the_trail_tells_all_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let cloud = Cloud::start(folder.path());
    cloud.run(&["account", "new", "Li Wei"]).unwrap();
    cloud.run(&["account", "top-up", "100"]).unwrap();
    cloud.run(&["merchant", "new", "Tea House", "--category", "5812", "--position", "31.2304,121.4737"]).unwrap();
    let shop = cloud.run(&["merchant", "show"]).unwrap();
    assert_eq!(shop["merchant"]["category"], "5812");
    assert_eq!(shop["merchant"]["position"], json!({"latitude": 31.2304, "longitude": 121.4737}));
    cloud.run(&["watch", "new"]).unwrap();
    let bound = cloud.run(&["watch", "bind"]).unwrap();
    let token = text(&bound, "token").unwrap();
    let act = |action: &str, rest: &[&str]| {
        let arguments: Vec<&str> = ["token", action, &token].into_iter().chain(rest.iter().copied()).collect();
        let answer = cloud.run(&arguments);
        answer.map(|token| text(&token, "state").unwrap()).map_err(|error| text(&error["error"], "code").unwrap())
    };
    let wearer = ["--account", "Li Wei"];
    for (action, rest, expected) in [
        ("freeze", &wearer[..], Ok("frozen_by_wearer")),
        ("resume", &wearer, Ok("active")),
        ("freeze", &["--why", "a complaint"], Ok("frozen_by_operator")),
        ("resume", &wearer, Err("operator_only")),
        ("resume", &[], Ok("active")),
        ("lost", &wearer, Ok("lost")),
        ("resume", &wearer, Err("operator_only")),
        ("renew", &wearer, Err("operator_only")),
        ("resume", &["--why", "found again"], Ok("active")),
        ("renew", &[], Ok("active")),
    ] {
        let expected = expected.map(str::to_owned).map_err(str::to_owned);
        assert_eq!(act(action, rest), expected, "{action} {rest:?}");
    }
    let shown = cloud.run(&["token", "show", &token]).unwrap();
    let trail: Vec<(String, bool, String)> = shown["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| {
            let why = event.get("why").and_then(Value::as_str).unwrap_or("").to_owned();
            (text(event, "name").unwrap(), event["actor"] == "operator", why)
        })
        .collect();
    let line = |event: &str, by_operator, why: &str| (event.to_owned(), by_operator, why.to_owned());
    assert_eq!(
        trail,
        [
            line("renew", true, ""),
            line("resume", true, "found again"),
            line("lost", false, ""),
            line("resume", true, ""),
            line("freeze", true, "a complaint"),
            line("resume", false, ""),
            line("freeze", false, ""),
            line("bound", false, ""),
        ]
    );
    let error = |arguments: &[&str]| text(&cloud.run(arguments).unwrap_err()["error"], "code").unwrap();
    assert_eq!(error(&["merchant", "new", "X", "--category", "12"]), "field_malformed");
    assert_eq!(error(&["merchant", "new", "X", "--position", "91,0"]), "field_malformed");
    assert_eq!(error(&["merchant", "new", "X", "--position", "here"]), "position_malformed");

    // A suspended shop is paid nothing and told why, and the operator takes it back.
    cloud.run(&["merchant", "suspend", "--why", "odd"]).unwrap();
    let code = text(&cloud.run(&["watch", "code"]).unwrap(), "digits").unwrap();
    assert_eq!(error(&["pos", "charge", "1", "--code", &code, "--order", "o-1"]), "merchant_suspended");
    assert_eq!(text(&cloud.run(&["merchant", "reinstate"]).unwrap(), "state").unwrap(), "active");
    let paid = cloud.run(&["pos", "charge", "1", "--code", &code, "--order", "o-1"]).unwrap();
    assert_eq!(paid["state"], "succeeded", "nothing of the refused payment was recorded: {paid}");
    let trail = cloud.run(&["merchant", "events"]).unwrap();
    let names: Vec<&str> = trail.as_array().unwrap().iter().map(|event| event["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["reinstate", "suspend"]);
}

//! Risk rules over the real program: set by the operator, in force at every server soon, tried on the past, and each decision
//! explained.

use std::time::{Duration, Instant};

use crate::support::postgres::Postgres;
use crate::support::{CODES_A_WATCH, Cloud, STEP_S, watches};
use paychip::api::{Api, text};
use paychip::books::{open_account, take_on_merchant, top_up};
use paychip::watch::Watch;
use serde_json::{Value, json};
use wearable::CodeForm;

/// How long rules may take to reach every server, with the patience of a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

fn limits() -> Vec<Value> {
    vec![
        json!({"name": "single", "effect": "decline", "kind": "payment", "currency": "CNY", "max": 50_000}),
        json!({"name": "day", "effect": "decline", "kind": "sum", "per": "day", "of": "account", "currency": "CNY", "max": 500_000}),
    ]
}

fn with(more: &[Value]) -> Value {
    json!({ "rules": limits().into_iter().chain(more.iter().cloned()).collect::<Vec<_>>() })
}

struct Stage {
    cloud: Cloud,
    folder: tempfile::TempDir,
    watch: Watch,
    /// Codes the watch has shown: it makes eight without waiting.
    shown: usize,
}

fn profile(folder: &tempfile::TempDir) -> Value {
    serde_json::from_slice(&std::fs::read(folder.path().join("profile.json")).unwrap()).unwrap()
}

impl Stage {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let cloud = Cloud::start(folder.path());
        cloud.run(&["account", "new", "Li Wei"]).unwrap();
        cloud.run(&["account", "top-up", "10000"]).unwrap();
        cloud.run(&["merchant", "new", "Casino", "--category", "7995", "--position", "22.19,113.54"]).unwrap();
        cloud.run(&["merchant", "new", "Tea House", "--category", "5812", "--position", "39.90,116.40"]).unwrap();
        let profile = profile(&folder);
        let wallet = Api::new(cloud.url.clone(), text(&profile["accounts"][0], "key").unwrap());
        let watch = watches(&cloud, &wallet, 1).pop().unwrap();
        Self { cloud, folder, watch, shown: 0 }
    }

    fn file(&self, rules: &Value) -> String {
        let path = self.folder.path().join("rules.json");
        std::fs::write(&path, rules.to_string()).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// Sets rules and returns their version.
    fn set(&self, rules: &Value) -> u64 {
        let file = self.file(rules);
        self.cloud.run(&["risk", "set", &file, "--why", "a test"]).unwrap()["version"].as_u64().unwrap()
    }

    fn shop(&self, name: &str) -> Api {
        let profile = profile(&self.folder);
        let merchants = profile["merchants"].as_array().unwrap();
        let key = merchants.iter().find(|merchant| merchant["name"] == name).unwrap()["key"].as_str().unwrap();
        Api::new(self.cloud.url.clone(), key.to_owned())
    }

    /// Charges the watch's next code; the state it comes to, or the code of its decline, and the payment's explanation.
    fn pay(&mut self, shop: &str, order: &str, minor: u64) -> (String, Value) {
        self.watch.host_mut().set_clock_ahead(if self.shown < CODES_A_WATCH / 2 { 0 } else { STEP_S });
        self.shown += 1;
        let code = self.watch.next_payment_code(CodeForm::Digits).unwrap().digits().to_owned();
        let body = json!({"order": order, "code": code, "amount": minor, "currency": "CNY"});
        let api = self.shop(shop);
        let state = match api.post("/v1/payments", &body) {
            Ok(paid) => text(&paid, "state").unwrap(),
            Err(fault) => fault.code,
        };
        let listed = api.get(&format!("/v1/payments?order={order}")).unwrap();
        let id = text(&listed[0], "id").unwrap();
        (state, self.cloud.run(&["risk", "explain", &id]).unwrap())
    }
}

#[test]
fn rules_are_set_by_version_decide_the_next_payment_and_explain_themselves() {
    let mut stage = Stage::new();
    let shown = stage.cloud.run(&["risk", "show"]).unwrap();
    assert_eq!((&shown["version"], shown["rules"].as_array().unwrap().len()), (&json!(0), 4), "the settings' limits");
    let (state, why) = stage.pay("Tea House", "o-0", 1_000);
    assert_eq!((state.as_str(), &why["version"], why.get("fired")), ("succeeded", &json!(0), None));

    let gambling = json!({"name": "gambling", "effect": "confirm", "kind": "always", "categories": ["7995"]});
    let first = json!({"name": "new-watch", "effect": "confirm", "kind": "first_payments", "payments": 2});
    let travel =
        json!({"name": "travel", "effect": "decline", "kind": "travel", "km_per_hour": 900, "at_least_km": 50});
    assert_eq!(stage.set(&with(&[gambling.clone(), first])), 1);
    let (state, why) = stage.pay("Tea House", "o-1", 1_000);
    assert_eq!(state, "requires_confirmation", "what a rule is unsure of goes to the phone: {why}");
    assert_eq!(
        (&why["version"], &why["fired"]["rule"], &why["fired"]["seen"]),
        (&json!(1), &json!("new-watch"), &json!(2))
    );
    stage.cloud.run(&["account", "confirm"]).unwrap();
    let (state, why) = stage.pay("Tea House", "o-2", 1_000);
    assert_eq!((state.as_str(), why.get("fired")), ("succeeded", None), "the third is none of the first two");
    let (state, why) = stage.pay("Casino", "o-3", 1_000);
    assert_eq!((state.as_str(), &why["fired"]["rule"]), ("requires_confirmation", &json!("gambling")));
    stage.cloud.run(&["account", "refuse"]).unwrap();
    assert_eq!(stage.set(&with(&[travel])), 2);
    let (state, why) = stage.pay("Tea House", "o-4", 50_001);
    assert_eq!(
        (state.as_str(), &why["fired"]["rule"], &why["fired"]["bound"]),
        ("limit_single", &json!("single"), &json!(50_000))
    );
    let (state, why) = stage.pay("Tea House", "o-5", 10);
    assert_eq!(state, "declined_by_risk", "from Macao to Beijing within a minute: {why}");
    assert_eq!(why["fired"]["rule"], "travel");
    assert!(why["fired"]["seen"].as_u64().unwrap() > 10_000, "{why}");

    let versions = stage.cloud.run(&["risk", "versions"]).unwrap();
    let versions: Vec<_> =
        versions.as_array().unwrap().iter().map(|v| (v["version"].as_u64(), v["why"].as_str())).collect();
    assert_eq!(versions, [(Some(2), Some("a test")), (Some(1), Some("a test"))]);
    let old = stage.cloud.run(&["risk", "show", "--version", "1"]).unwrap();
    assert_eq!(old["rules"].as_array().unwrap().len(), 4, "a version never changes");
    let trail = stage.cloud.run(&["audit", "trail", "risk-rules"]).unwrap();
    assert_eq!(trail.as_array().unwrap().len(), 2);

    // The past under other rules: what was paid, what was asked about, what was declined.
    let strict = json!({"name": "strict", "effect": "decline", "kind": "payment", "currency": "CNY", "max": 500});
    let mut rules = with(&[]);
    rules["rules"][0] = strict;
    let file = stage.file(&rules);
    let run = stage.cloud.run(&["risk", "dry-run", &file, "--since", "1d"]).unwrap();
    let counts =
        ["payments", "differ", "now_declined", "now_asked", "now_passed"].map(|name| run[name].as_u64().unwrap());
    // Of the six, four of 1,000 would be declined, and the last one, of 10, would pass.
    assert_eq!(counts, [6, 5, 4, 0, 1], "{run}");
    let first = &run["first"][0];
    assert_eq!(
        (&first["then"], &first["now"], &first["fired"]["rule"]),
        (&json!("passed"), &json!("declined"), &json!("strict"))
    );
    let now = stage.cloud.run(&["risk", "show"]).unwrap();
    assert_eq!(now["version"], 2, "a dry run sets nothing");
    let same = stage.file(&json!({ "rules": now["rules"] }));
    let again = stage.cloud.run(&["risk", "dry-run", &same, "--since", "2020-01-01"]).unwrap();
    assert_eq!(again["differ"], 2, "version 2 would have asked about neither of the two of version 1: {again}");
    assert_eq!(stage.cloud.run(&["audit"]).unwrap()["sound"], true);

    // They are in force after a restart.
    let Stage { cloud, folder, watch, shown } = stage;
    cloud.kill();
    let mut stage = Stage { cloud: Cloud::start(folder.path()), folder, watch, shown };
    let (_, why) = stage.pay("Tea House", "o-6", 60_000);
    assert_eq!((&why["version"], &why["failure"]), (&json!(2), &json!("limit_single")));
}

#[test]
fn mistakes_in_rules_are_told_with_their_field_and_change_nothing() {
    let stage = Stage::new();
    let error = |arguments: &[&str]| {
        let error = stage.cloud.run(arguments).unwrap_err()["error"].clone();
        (text(&error, "code").unwrap(), error["field"].as_str().unwrap_or("").to_owned())
    };
    let wrong = stage
        .file(&with(&[json!({"name": "x", "effect": "confirm", "kind": "velocity", "of": "token", "payments": 3})]));
    for command in ["check", "set", "dry-run"] {
        assert_eq!(error(&["risk", command, &wrong]), ("field_missing".to_owned(), "rules[2].minutes".to_owned()));
    }
    let text_of = |text: &str| {
        let path = stage.folder.path().join("other.json");
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    assert_eq!(
        error(&["risk", "set", &text_of("{\n\"rules\": [\n}")]),
        ("json_malformed".to_owned(), "line 3".to_owned())
    );
    assert_eq!(error(&["risk", "set", &text_of("{}")]).0, "field_missing");
    assert_eq!(
        error(&["risk", "set", &text_of("{\"rules\": [], \"x\": 1}")]),
        ("field_unknown".to_owned(), "x".to_owned())
    );
    let fine = stage.file(&with(&[]));
    assert!(stage.cloud.run(&["risk", "check", &fine]).is_ok());
    assert_eq!(error(&["risk", "dry-run", &fine, "--since", "yesterday"]).0, "since_malformed");
    assert_eq!(error(&["risk", "set", &fine, "--after", "7"]), ("rules_changed".to_owned(), "after".to_owned()));
    assert_eq!(error(&["risk", "show", "--version", "9"]).0, "rules_not_found");
    assert_eq!(stage.cloud.run(&["risk", "show"]).unwrap()["version"], 0);
}

#[test]
fn rules_set_at_one_server_are_in_force_at_the_other_soon() {
    let Some(server) = Postgres::start() else { return };
    let database = server.new_database();
    let [first, second] = Cloud::pair_on(&database);
    let (wearer, _) = open_account(&first.operator(), "Li Wei", "CNY").unwrap();
    top_up(&first.operator(), &wearer, 100_000, "first").unwrap();
    let (shop, _) = take_on_merchant(&first.operator(), "Tea House", "CNY").unwrap();
    let mut watches = watches(&first, &Api::new(first.url.clone(), wearer.key.clone()), 80).into_iter();
    let refuse = json!({"name": "refuse", "effect": "decline", "kind": "always"});
    let set = first.operator().post("/v1/risk/rules", &with(&[refuse])).unwrap();
    assert_eq!(set["version"], 1);
    let begun = Instant::now();
    let mut declined = [false; 2];
    while !declined.iter().all(|declined| *declined) {
        assert!(begun.elapsed() < PATIENCE, "{declined:?}");
        let mut watch = watches.next().expect("codes enough");
        for (at, cloud) in [&first, &second].into_iter().enumerate() {
            let code = watch.next_payment_code(CodeForm::Digits).unwrap().digits().to_owned();
            let order = format!("o-{at}-{}", begun.elapsed().as_nanos());
            let body = json!({"order": order, "code": code, "amount": 1, "currency": "CNY"});
            let refused = Api::new(cloud.url.clone(), shop.key.clone()).post("/v1/payments", &body);
            let is_declined = refused.as_ref().err().is_some_and(|fault| fault.code == "declined_by_risk");
            assert!(at == 1 || is_declined, "the server that set them decides by them at once: {refused:?}");
            declined[at] |= is_declined;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

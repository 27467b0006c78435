//! Every endpoint with every kind of key: none, a wrong one, a stranger's, one of another kind, the right one. What belongs to
//! somebody else is answered as what does not exist, to the byte. The list is held against the server's own document, so an
//! endpoint that is not in it fails the test.

use std::collections::BTreeSet;

use crate::support::{Cloud, watches};
use paychip::api::{Api, text};
use paychip::books::{open_account, take_on_merchant, top_up};
use serde_json::{Value, json};
use wearable::CodeForm;

/// Whom an endpoint is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum For {
    /// Anybody, without a key.
    Anybody,
    /// Whoever knows what the body must hold; a key adds nothing to it.
    Knower,
    /// The operator alone.
    Operator,
    /// A merchant, about its own.
    Shop,
    /// A wearer about the own, or the operator.
    Holder,
    /// A wearer about the own; not even the operator.
    Wearer,
}

/// What a stranger of the right kind is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stranger {
    /// As of what does not exist.
    Finds(&'static str),
    /// It sees its own, which is other.
    SeesTheOwn,
}

use For::{Anybody, Holder, Knower, Operator, Shop, Wearer};
use Stranger::{Finds, SeesTheOwn};

const PAYMENT: Stranger = Finds("payment_not_found");
const TOKEN: Stranger = Finds("token_not_found");
const ACCOUNT: Stranger = Finds("account_not_found");
const BINDING: Stranger = Finds("binding_not_found");

/// Method, path, whom it is for, and what a stranger is told.
const ENDPOINTS: &[(&str, &str, For, Stranger)] = &[
    ("get", "/health", Anybody, SeesTheOwn),
    ("get", "/ready", Anybody, SeesTheOwn),
    ("get", "/v1/audit", Operator, SeesTheOwn),
    ("get", "/v1/events", Operator, SeesTheOwn),
    ("post", "/v1/accounts", Operator, SeesTheOwn),
    ("get", "/v1/accounts/{account}", Holder, ACCOUNT),
    ("get", "/v1/accounts/{account}/book", Holder, ACCOUNT),
    ("post", "/v1/accounts/{account}/top-ups", Operator, SeesTheOwn),
    ("post", "/v1/chips", Operator, SeesTheOwn),
    ("post", "/v1/bindings", Holder, SeesTheOwn),
    ("get", "/v1/bindings/{binding}", Holder, BINDING),
    ("post", "/v1/bindings/{binding}/relay", Holder, BINDING),
    ("get", "/v1/bindings/{binding}/socket", Holder, BINDING),
    // No key, and nothing to find for whoever knows neither an offer nor the id of a binding.
    ("post", "/v1/devices/binding", Knower, SeesTheOwn),
    ("post", "/v1/devices/sync", Knower, SeesTheOwn),
    ("get", "/v1/confirmations", Holder, SeesTheOwn),
    ("post", "/v1/confirmations/{payment}/confirm", Wearer, PAYMENT),
    ("post", "/v1/confirmations/{payment}/refuse", Wearer, PAYMENT),
    ("get", "/v1/makers", Operator, SeesTheOwn),
    ("post", "/v1/makers", Operator, SeesTheOwn),
    ("get", "/v1/makers/{maker}", Operator, SeesTheOwn),
    ("post", "/v1/makers/{maker}/batches", Operator, SeesTheOwn),
    ("post", "/v1/makers/{maker}/chip-models", Operator, SeesTheOwn),
    ("post", "/v1/makers/{maker}/device-models", Operator, SeesTheOwn),
    ("post", "/v1/makers/{maker}/readmit", Operator, SeesTheOwn),
    ("post", "/v1/makers/{maker}/revocations", Operator, SeesTheOwn),
    ("post", "/v1/makers/{maker}/withdraw", Operator, SeesTheOwn),
    ("post", "/v1/merchants", Operator, SeesTheOwn),
    ("get", "/v1/merchants/me", Shop, SeesTheOwn),
    ("get", "/v1/merchants/me/book", Shop, SeesTheOwn),
    ("post", "/v1/merchants/{merchant}/reinstate", Operator, SeesTheOwn),
    ("post", "/v1/merchants/{merchant}/suspend", Operator, SeesTheOwn),
    ("get", "/v1/payments", Shop, SeesTheOwn),
    ("post", "/v1/payments", Shop, SeesTheOwn),
    ("post", "/v1/payments/cancel", Shop, SeesTheOwn),
    ("get", "/v1/payments/{payment}", Shop, PAYMENT),
    ("get", "/v1/payments/{payment}/refunds", Shop, PAYMENT),
    ("post", "/v1/payments/{payment}/refunds", Shop, PAYMENT),
    ("get", "/v1/risk/rules", Operator, SeesTheOwn),
    ("post", "/v1/risk/rules", Operator, SeesTheOwn),
    ("post", "/v1/risk/rules/check", Operator, SeesTheOwn),
    ("post", "/v1/risk/dry-runs", Operator, SeesTheOwn),
    ("get", "/v1/risk/payments/{payment}", Operator, SeesTheOwn),
    ("get", "/v1/risk/versions", Operator, SeesTheOwn),
    ("post", "/v1/shipments", Operator, SeesTheOwn),
    ("get", "/v1/shipments/{shipment}", Operator, SeesTheOwn),
    ("post", "/v1/shipments/{shipment}/finish", Operator, SeesTheOwn),
    ("post", "/v1/shipments/{shipment}/give-up", Operator, SeesTheOwn),
    ("post", "/v1/shipments/{shipment}/lines", Operator, SeesTheOwn),
    ("get", "/v1/tokens", Holder, SeesTheOwn),
    ("get", "/v1/tokens/{token}", Holder, TOKEN),
    ("get", "/v1/tokens/{token}/sync", Holder, TOKEN),
    ("post", "/v1/tokens/{token}/sync", Holder, TOKEN),
    ("post", "/v1/tokens/{token}/sync/relay", Holder, TOKEN),
    ("get", "/v1/tokens/{token}/sync/socket", Holder, TOKEN),
    ("get", "/v1/tokens/{token}/events", Holder, TOKEN),
    ("post", "/v1/tokens/{token}/freeze", Holder, TOKEN),
    ("post", "/v1/tokens/{token}/resume", Holder, TOKEN),
    ("post", "/v1/tokens/{token}/lost", Holder, TOKEN),
    ("post", "/v1/tokens/{token}/renew", Holder, TOKEN),
    ("post", "/v1/tokens/{token}/revoke", Holder, TOKEN),
    ("get", "/v1/tokens/{token}/results", Holder, TOKEN),
];

fn send(cloud: &Cloud, method: &str, path: &str, key: &str, body: Option<&Value>) -> (u16, Value) {
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let mut request = ureq::http::Request::builder().method(method.to_uppercase().as_str());
    request = request.uri(format!("{}{path}", cloud.url));
    if !key.is_empty() {
        request = request.header("Authorization", format!("Bearer {key}"));
    }
    if body.is_some() {
        request = request.header("Content-Type", "application/json");
    }
    let body = body.map(Value::to_string).unwrap_or_default();
    let mut answer = agent.run(request.body(body).unwrap()).unwrap();
    let text = answer.body_mut().read_to_string().unwrap();
    (answer.status().as_u16(), serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

fn code(answer: &(u16, Value)) -> (u16, &str) {
    (answer.0, answer.1["error"]["code"].as_str().unwrap_or(""))
}

/// The ids that stand in the paths: of Li Wei and the Tea House, or of nobody.
struct Ids {
    account: String,
    binding: String,
    merchant: String,
    payment: String,
    token: String,
}

impl Ids {
    fn into(&self, path: &str) -> String {
        [
            ("{account}", self.account.as_str()),
            ("{binding}", &self.binding),
            ("{merchant}", &self.merchant),
            ("{payment}", &self.payment),
            ("{token}", &self.token),
            ("{maker}", "nobody"),
            ("{shipment}", "ship_0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f"),
        ]
        .iter()
        .fold(path.to_owned(), |path, (name, id)| path.replace(name, id))
    }

    fn of_nobody() -> Self {
        let id = |kind: &str| format!("{kind}_{}", "0f".repeat(16));
        Self { account: id("acct"), binding: id("bind"), merchant: id("mer"), payment: id("pay"), token: id("tok") }
    }
}

/// A body that is right in form, so that what is refused is refused for the key.
fn body_of(path: &str) -> Value {
    let account_path = path.ends_with("/top-ups");
    match path {
        _ if account_path => json!({"amount": 1, "reference": "r"}),
        _ if path.ends_with("/relay") => json!({"message": "0102"}),
        _ if path.ends_with("/refunds") => json!({"refund": "r-1", "amount": 1}),
        _ => json!({}),
    }
}

#[test]
fn every_endpoint_answers_every_key_as_it_should() {
    let folder = tempfile::tempdir().unwrap();
    let cloud = Cloud::start(folder.path());
    let operator = std::fs::read_to_string(folder.path().join("operator.key")).unwrap().trim().to_owned();
    let (li, _) = open_account(&cloud.operator(), "Li Wei", "CNY").unwrap();
    let (wang, _) = open_account(&cloud.operator(), "Wang Fang", "CNY").unwrap();
    let (tea, _) = take_on_merchant(&cloud.operator(), "Tea House", "CNY").unwrap();
    let (noodles, _) = take_on_merchant(&cloud.operator(), "Noodle Bar", "CNY").unwrap();
    top_up(&cloud.operator(), &li, 1_000_000, "first").unwrap();
    let wallet = Api::new(cloud.url.clone(), li.key.clone());
    let mut watch = watches(&cloud, &wallet, 8).pop().unwrap();
    let offer_of_another = watches_offer(&cloud, &wallet);
    let token = text(&wallet.get("/v1/tokens").unwrap()[0], "id").unwrap();
    let code_of = watch.next_payment_code(CodeForm::Digits).unwrap().digits().to_owned();
    let body = json!({"order": "o-1", "code": code_of, "amount": 250_000, "currency": "CNY"});
    // Above the limit without passcode: declined, and still the Tea House's own.
    let _ = Api::new(cloud.url.clone(), tea.key.clone()).post("/v1/payments", &body);
    let listed = Api::new(cloud.url.clone(), tea.key.clone()).get("/v1/payments?order=o-1").unwrap();
    let ids = Ids {
        account: li.id.clone(),
        binding: offer_of_another,
        merchant: tea.id.clone(),
        payment: text(&listed[0], "id").unwrap(),
        token,
    };
    let nobodys = Ids::of_nobody();

    let document: Value = send(&cloud, "get", "/openapi.json", "", None).1;
    let documented: BTreeSet<(String, String)> = document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, item)| item.as_object().unwrap().keys().map(move |method| (method.clone(), path.clone())))
        .collect();
    let listed: BTreeSet<(String, String)> =
        ENDPOINTS.iter().map(|(method, path, ..)| ((*method).to_owned(), (*path).to_owned())).collect();
    assert_eq!(documented, listed, "every endpoint is in the table, and no other");

    let mut asked = 0;
    for (method, path, whom, stranger) in ENDPOINTS {
        let mut ask = |key: &str, ids: &Ids| {
            asked += 1;
            let body = (*method == "post").then(|| body_of(path));
            send(&cloud, method, &ids.into(path), key, body.as_ref())
        };
        let what = format!("{method} {path}");
        if *whom == Anybody {
            assert_eq!(ask("", &ids).0, 200, "{what}");
            continue;
        }
        if *whom == Knower {
            let answers = ["", "nonsense", &li.key, &tea.key, &operator].map(|key| ask(key, &ids));
            assert!(answers.iter().all(|answer| *answer == answers[0] && answer.0 == 400), "{what}: {answers:?}");
            continue;
        }
        // No key, and keys that nobody has.
        for key in
            ["", "nonsense", "op_0000", "sk_0000", "wk_0000", &format!("{}0", li.key), &operator[..operator.len() - 1]]
        {
            assert_eq!(code(&ask(key, &ids)), (401, "unauthenticated"), "{what} with {key:?}");
        }
        let refused: &[(&str, u16)] = match whom {
            Operator => &[("wearer", 403), ("shop", 403)],
            Shop => &[("wearer", 401), ("operator", 403)],
            Holder => &[("shop", 401)],
            Wearer => &[("shop", 401), ("operator", 403)],
            Anybody | Knower => &[],
        };
        for (kind, status) in refused {
            let key = match *kind {
                "wearer" => &li.key,
                "shop" => &tea.key,
                _ => &operator,
            };
            assert_eq!(ask(key, &ids).0, *status, "{what} as {kind}");
        }
        let (own, others): (&str, &str) = match whom {
            Shop => (&tea.key, &noodles.key),
            Operator => (&operator, ""),
            _ => (&li.key, &wang.key),
        };
        if let Finds(expected) = stranger {
            let of_another = ask(others, &ids);
            assert_eq!(code(&of_another), (404, *expected), "{what} as a stranger");
            assert_eq!(of_another, ask(others, &nobodys), "{what}: a stranger cannot tell it from what does not exist");
        }
        if *whom != Operator || !path.contains("withdraw") {
            let answer = ask(own, &ids);
            let let_in = !matches!(answer.0, 401 | 403) || code(&answer).1 == "operator_only";
            assert!(let_in && answer.0 < 500, "{what} with the right key: {answer:?}");
        }
    }
    assert!(asked > 400, "{asked}");
    // What a shop or wearer sees in a list is the own.
    let payments = send(&cloud, "get", "/v1/payments?order=o-1", &noodles.key, None);
    assert_eq!(payments, (200, json!([])));
    let refused = send(&cloud, "get", &format!("/v1/tokens?account={}", li.id), &wang.key, None);
    assert_eq!(code(&refused), (404, "account_not_found"));
    let refused = send(&cloud, "get", &format!("/v1/confirmations?account={}", li.id), &wang.key, None);
    assert_eq!(code(&refused), (404, "account_not_found"));
    let body = json!({"offer": "PC1:", "account": li.id});
    assert_eq!(code(&send(&cloud, "post", "/v1/bindings", &wang.key, Some(&body))), (404, "account_not_found"));
}

/// A binding of Li Wei's that has begun.
fn watches_offer(cloud: &Cloud, wallet: &Api) -> String {
    use paychip::profile::Place;
    use paychip::watch::folder::WatchFolder;
    use paychip::watch::{factory, open};
    let place = Place { data: cloud.data.clone(), server: Some(cloud.url.clone()) };
    let folder = WatchFolder::named(&place, "half").unwrap();
    let mut chip = folder.create().unwrap();
    factory::personalise(&mut chip, &cloud.operator(), &[]).unwrap();
    drop(chip);
    let mut watch = open(&folder).unwrap();
    let offer = watch.binding_offer().unwrap().as_str().to_owned();
    text(&wallet.post("/v1/bindings", &json!({ "offer": offer })).unwrap(), "id").unwrap()
}

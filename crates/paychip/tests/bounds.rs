//! What a wallet's key can fill a cloud with: bindings begun over and over, and wearables. Over the real program.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that cannot go on fails"
)]

mod support;

use paychip::api::{Api, text};
use paychip::books::open_account;
use paychip::fault::Fault;
use platform::Settings;
use platform::bindings::MAX_UNDER_WAY;
use protocol::script::{ResultsWriter, SessionId};
use serde_json::{Value, json};
use support::Cloud;

fn wallet(cloud: &Cloud, name: &str) -> Api {
    let (party, _) = open_account(&cloud.operator(), name, "CNY").unwrap();
    Api::new(cloud.url.clone(), party.key)
}

/// Makes the cloud know a chip.
fn chip(cloud: &Cloud, number: u8) -> [u8; 16] {
    let id = [number; 16];
    cloud.operator().post("/v1/chips", &json!({ "chip_id": hex::encode(id) })).unwrap();
    id
}

fn trail(cloud: &Cloud, subject: &str) -> Vec<String> {
    let lines = cloud.operator().get(&format!("/v1/events?subject={subject}")).unwrap();
    lines.as_array().unwrap().iter().map(|line| format!("{} {}", line["name"], line["why"])).collect()
}

fn begin(wallet: &Api, chip: [u8; 16], nonce: u8) -> Result<Value, Fault> {
    let offer = wearable::Offer::new(&chip, &[nonce; 8]);
    wallet.post("/v1/bindings", &json!({ "offer": offer.as_str() }))
}

/// A message from a chip that answered nothing.
fn results(session: &str) -> String {
    let session = platform::BindingId::parse(session).unwrap().0;
    let mut buffer = [0; 64];
    let mut writer = ResultsWriter::new(&mut buffer, SessionId(session), 1).unwrap();
    writer.push(None).unwrap();
    hex::encode(writer.finish())
}

fn states(wallet: &Api) -> Vec<String> {
    let tokens = wallet.get("/v1/tokens").unwrap();
    tokens.as_array().unwrap().iter().map(|token| text(token, "state").unwrap()).collect()
}

#[test]
fn a_wallet_begins_so_many_bindings_a_day_and_leaves_so_many_open() {
    let cloud = Cloud::alone();
    let (li, wang) = (wallet(&cloud, "Li Wei"), wallet(&cloud, "Wang Fang"));
    let a_day = Settings::default().bindings_a_day;
    let open = || states(&li).iter().filter(|state| *state == "pending").count();
    let mut begun = Vec::new();
    for number in 1..a_day {
        let view = begin(&li, chip(&cloud, number), number).unwrap();
        begun.push(text(&view, "id").unwrap());
        assert_eq!(open(), usize::from(number).min(MAX_UNDER_WAY), "the oldest gives way");
    }
    // A chip that is begun anew takes its own place and nobody else's.
    begun.push(text(&begin(&li, [a_day - 1; 16], a_day).unwrap(), "id").unwrap());
    assert_eq!(open(), MAX_UNDER_WAY);
    // The chip of one that gave way is free for whoever holds it, and its binding is over.
    let overtaken = li.post(&format!("/v1/bindings/{}/relay", begun[0]), &json!({ "message": results(&begun[0]) }));
    assert_eq!(overtaken.unwrap()["failure"], "binding_superseded");
    begin(&wang, [1; 16], 99).unwrap();

    let (unbound, before) = (chip(&cloud, 200), states(&li));
    let refused = begin(&li, unbound, 200).unwrap_err();
    assert_eq!((refused.code.as_str(), refused.field.as_deref()), ("too_many_bindings", None));
    assert_eq!(states(&li), before, "nothing has changed");
    assert_eq!(trail(&cloud, &hex::encode(unbound)), ["\"binding_refused\" \"too_many_bindings\""]);
    // What was begun goes on, and another account has its own day.
    let last = begun.last().unwrap();
    assert_eq!(&text(&begin(&li, [a_day - 1; 16], a_day).unwrap(), "id").unwrap(), last);
    begin(&wang, [200; 16], 200).unwrap();
    assert_eq!(cloud.run(&["audit"]).unwrap()["sound"], true);
}

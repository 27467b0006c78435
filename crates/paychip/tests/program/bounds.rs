//! What a wallet's key can fill a cloud with: bindings begun over and over, wearables, freezes lifted and syncs. Over the real
//! program.

use crate::support::Cloud;
use paychip::api::{Api, text};
use paychip::books::open_account;
use paychip::fault::Fault;
use paychip::profile::Place;
use paychip::watch::folder::WatchFolder;
use paychip::watch::sync::sync;
use paychip::watch::{Watch, bind, factory, open};
use platform::Settings;
use platform::bindings::MAX_UNDER_WAY;
use protocol::script::{ResultsWriter, SessionId};
use serde_json::{Value, json};

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

/// A watch of this account's, and its binding.
fn bound(cloud: &Cloud, wallet: &Api, name: &str) -> (Watch, Value) {
    let place = Place { data: cloud.data.clone(), server: Some(cloud.url.clone()) };
    let folder = WatchFolder::named(&place, name).unwrap();
    let mut chip = folder.create().unwrap();
    factory::personalise(&mut chip, &cloud.operator(), &[]).unwrap();
    drop(chip);
    let mut watch = open(&folder).unwrap();
    let binding = bind::bind(&mut watch, wallet, |_| ()).unwrap();
    (watch, binding)
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

#[test]
fn a_wallet_lifts_its_freezes_so_often_a_day_and_is_never_kept_from_freezing() {
    let cloud = Cloud::alone();
    let (li, wang) = (wallet(&cloud, "Li Wei"), wallet(&cloud, "Wang Fang"));
    let token_of = |wallet: &Api, name| text(&bound(&cloud, wallet, name).1, "token").unwrap();
    let (token, other, another) = (token_of(&li, "first"), token_of(&li, "second"), token_of(&wang, "third"));
    let act = |wallet: &Api, token: &str, action: &str| {
        wallet.post(&format!("/v1/tokens/{token}/{action}"), &json!({})).map(|view| text(&view, "state").unwrap())
    };
    let most = Settings::default().resumes_a_day;
    for _ in 0..most {
        assert_eq!(act(&li, &token, "freeze").unwrap(), "frozen_by_wearer");
        assert_eq!(act(&li, &token, "resume").unwrap(), "active");
    }
    for token in [&token, &other] {
        for _ in 0..2 {
            assert_eq!(act(&li, token, "freeze").unwrap(), "frozen_by_wearer", "safety comes first");
            let refused = act(&li, token, "resume").unwrap_err();
            assert_eq!((refused.code.as_str(), refused.field.as_deref()), ("too_many_resumes", None));
        }
    }
    assert_eq!(trail(&cloud, &token).len(), 2 + 2 * usize::from(most), "bound, each change, the last freeze once");
    // Others have a day of their own, the operator lifts what it likes, and what ends a token is not counted.
    assert_eq!(act(&wang, &another, "freeze").unwrap(), "frozen_by_wearer");
    assert_eq!(act(&wang, &another, "resume").unwrap(), "active");
    assert_eq!(act(&cloud.operator(), &token, "resume").unwrap(), "active");
    assert_eq!(act(&li, &token, "lost").unwrap(), "lost");
    assert_eq!(act(&li, &other, "revoke").unwrap(), "revoked");
    assert_eq!(cloud.run(&["audit"]).unwrap()["sound"], true);
}

#[test]
fn a_token_is_synced_so_often_a_day_and_failed_syncs_leave_nothing() {
    let cloud = Cloud::alone();
    let li = wallet(&cloud, "Li Wei");
    let (mut watch, binding) = bound(&cloud, &li, "w");
    let path = format!("/v1/tokens/{}/sync", text(&binding, "token").unwrap());
    // Begun and left, begun and spoiled: neither is in the trail, and neither counts.
    for _ in 0..=u8::MAX {
        li.post(&path, &json!({})).unwrap();
    }
    let most = usize::from(Settings::default().syncs_a_day);
    for _ in 0..most {
        sync(&mut watch, &li, |_| ()).unwrap();
    }
    let refused = sync(&mut watch, &li, |_| ()).unwrap_err();
    assert_eq!((refused.code.as_str(), refused.field.as_deref()), ("too_many_syncs", None));
    assert_eq!(li.get(&path).unwrap()["state"], "done", "the last one stands");
    // A device without a key meets the same bound.
    let device = Api::new(cloud.url.clone(), String::new());
    let refused = device.post("/v1/devices/sync", &json!({ "binding": text(&binding, "id").unwrap() }));
    assert_eq!(refused.unwrap_err().code, "too_many_syncs");
    assert_eq!(cloud.run(&["audit"]).unwrap()["sound"], true);
}

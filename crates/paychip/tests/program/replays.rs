//! What a carrier has recorded, played again over the real program: a binding and a sync, whole and message by message, to the
//! cloud on every way there is and to the watch. Nothing changes. And a channel that a carrier tries to lower, and a chip
//! that was ended.

use std::net::TcpStream;

use crate::support::Cloud;
use paychip::api::{Api, text};
use paychip::books::{open_account, top_up};
use paychip::chip::Card;
use paychip::fault::Fault;
use paychip::profile::Place;
use paychip::watch::carry::Link;
use paychip::watch::factory::{personalise, personalise_in_line};
use paychip::watch::folder::WatchFolder;
use paychip::watch::{Watch, bind, open, sync};
use platform::ChipId;
use protocol::apdu::Command;
use protocol::applet::{Lifecycle, Order, StateChange, initialize_update, ins, select, store_data};
use protocol::scp03::{KeySet, Level, host};
use protocol::script::{Message, ResultsWriter, ScriptWriter};
use serde_json::{Value, json};
use tungstenite::client::IntoClientRequest;
use wearable::CodeForm;

/// What went over the link: the cloud's message, and the watch's answer to it, which is empty for the last word.
type Recorded = Vec<(Vec<u8>, Vec<u8>)>;

/// A wearer with a key, and a watch on a chip of one's own.
struct Wearer {
    key: String,
    wallet: Api,
    watch: Watch,
}

struct Stage {
    cloud: Cloud,
}

impl Stage {
    fn begin() -> Self {
        Self { cloud: Cloud::alone() }
    }

    fn folder(&self, name: &str) -> WatchFolder {
        WatchFolder::named(&Place { data: self.cloud.data.clone(), server: None }, name).unwrap()
    }

    fn watch(&self, name: &str) -> Watch {
        let folder = self.folder(name);
        let mut chip = folder.create().unwrap();
        personalise(&mut chip, &self.cloud.operator(), &[]).unwrap();
        drop(chip);
        open(&folder).unwrap()
    }

    fn wearer(&self, name: &str) -> Wearer {
        let (party, _) = open_account(&self.cloud.operator(), name, "CNY").unwrap();
        top_up(&self.cloud.operator(), &party, 100_000, "first").unwrap();
        let wallet = Api::new(self.cloud.url.clone(), party.key.clone());
        let watch = self.watch(&name.replace(' ', "-"));
        Wearer { key: party.key, wallet, watch }
    }

    /// Everything the cloud tells of a wearer's tokens, bindings and syncs, and its trail of them.
    fn known_of(&self, wallet: &Api, binding: &str) -> Vec<Value> {
        let tokens = wallet.get("/v1/tokens").unwrap();
        let operator = self.cloud.operator();
        let mut known = vec![tokens.clone(), wallet.get(&format!("/v1/bindings/{binding}")).unwrap()];
        for token in tokens.as_array().unwrap() {
            let (id, chip) = (text(token, "id").unwrap(), text(token, "chip").unwrap());
            known.push(wallet.get(&format!("/v1/tokens/{id}/sync")).unwrap_or_default());
            known.push(operator.get(&format!("/v1/events?subject={id}")).unwrap());
            known.push(operator.get(&format!("/v1/events?subject={chip}")).unwrap());
        }
        known
    }

    /// Hands a message over a WebSocket: the answer, or why the cloud closed.
    fn over_socket(&self, path: &str, key: &str, message: &[u8]) -> Result<Vec<u8>, String> {
        let address = self.cloud.url.strip_prefix("http://").unwrap();
        let mut request = format!("ws://{address}{path}").into_client_request().unwrap();
        request.headers_mut().insert("authorization", format!("Bearer {key}").parse().unwrap());
        request.headers_mut().insert("sec-websocket-protocol", "paychip.relay.1".parse().unwrap());
        let connection = TcpStream::connect(address).unwrap();
        let (mut socket, _) = tungstenite::client(request, connection).map_err(|error| error.to_string())?;
        let tungstenite::Message::Binary(_) = socket.read().unwrap() else { panic!("no message is due") };
        socket.send(tungstenite::Message::binary(message.to_vec())).unwrap();
        match socket.read() {
            Ok(tungstenite::Message::Binary(answer)) => Ok(answer.to_vec()),
            Ok(tungstenite::Message::Close(Some(frame))) => Err(frame.reason.to_string()),
            other => panic!("{other:?}"),
        }
    }
}

/// Carries work to its end and records it.
fn recorded(watch: &mut Watch, mut view: Value, mut hand_over: impl FnMut(&[u8]) -> Value) -> Recorded {
    let (mut link, mut heard) = (Link::new(), Vec::new());
    for number in 1..=64_u8 {
        let message = hex::decode(text(&view, "message").unwrap()).unwrap();
        let answer = link.deliver(watch, number, &message, &mut |_| ()).unwrap();
        heard.push((message, answer.clone().unwrap_or_default()));
        let Some(answer) = answer else { return heard };
        view = hand_over(&answer);
    }
    panic!("the work does not end");
}

fn relay(wallet: &Api, path: &str, message: &[u8]) -> Result<Vec<u8>, Fault> {
    let view = wallet.post(path, &json!({ "message": hex::encode(message) }))?;
    Ok(hex::decode(text(&view, "message").unwrap()).unwrap())
}

fn bound(wearer: &mut Wearer) -> (String, String, Recorded) {
    let offer = wearer.watch.binding_offer().unwrap().as_str().to_owned();
    let view = wearer.wallet.post("/v1/bindings", &json!({ "offer": offer })).unwrap();
    let id = text(&view, "id").unwrap();
    let (wallet, path) = (wearer.wallet.clone(), format!("/v1/bindings/{id}/relay"));
    let heard = recorded(&mut wearer.watch, view, |message| {
        wallet.post(&path, &json!({ "message": hex::encode(message) })).unwrap()
    });
    assert!(wearer.watch.status().unwrap().is_bound());
    (id, offer, heard)
}

fn token_of(wallet: &Api) -> String {
    text(&wallet.get("/v1/tokens").unwrap()[0], "id").unwrap()
}

fn synced(wearer: &mut Wearer) -> Recorded {
    let path = format!("/v1/tokens/{}/sync", token_of(&wearer.wallet));
    let view = wearer.wallet.post(&path, &json!({})).unwrap();
    let wallet = wearer.wallet.clone();
    recorded(&mut wearer.watch, view, |message| {
        wallet.post(&format!("{path}/relay"), &json!({ "message": hex::encode(message) })).unwrap()
    })
}

/// Whether a message was refused for being of other work.
fn is_refused(code: &str) -> bool {
    ["sync_superseded", "message_malformed"].contains(&code)
}

/// What the watch has said in it.
fn answers(heard: &Recorded) -> impl Iterator<Item = &Vec<u8>> {
    heard.iter().map(|(_, answer)| answer).filter(|answer| !answer.is_empty())
}

#[test]
fn what_was_recorded_changes_nothing_in_the_cloud_on_any_way() {
    let stage = Stage::begin();
    let (mut li, mut wang) = (stage.wearer("Li Wei"), stage.wearer("Wang Fang"));
    let (li_binding, li_offer, binding) = bound(&mut li);
    let sync = synced(&mut li);
    let (wang_binding, wang_offer, _) = bound(&mut wang);
    // A sync of the other's is open, and has to go on as if nothing had happened.
    let wang_sync = format!("/v1/tokens/{}/sync", token_of(&wang.wallet));
    let open_sync = wang.wallet.post(&wang_sync, &json!({})).unwrap();
    // And a binding.
    let mut free = stage.watch("free");
    let free_offer = free.binding_offer().unwrap().as_str().to_owned();
    let open_binding = wang.wallet.post("/v1/bindings", &json!({ "offer": free_offer })).unwrap();
    let open_id = text(&open_binding, "id").unwrap();

    let li_sync = format!("/v1/tokens/{}/sync", token_of(&li.wallet));
    let known = || {
        [
            stage.known_of(&li.wallet, &li_binding),
            stage.known_of(&wang.wallet, &wang_binding),
            stage.known_of(&wang.wallet, &open_id),
        ]
    };
    let before = known();
    let device = Api::new(stage.cloud.url.clone(), String::new());
    let by_device = |path: &str, name: &str, id: &str, message: &[u8]| {
        let view = device.post(path, &json!({ name: id, "message": hex::encode(message) }))?;
        Ok::<_, Fault>(hex::decode(text(&view, "message").unwrap()).unwrap())
    };
    let (of_binding, of_sync) = (&binding.last().unwrap().0, &sync.last().unwrap().0);
    let mut played = 0;
    for (heard, last_word, is_sync) in [(&binding, of_binding, false), (&sync, of_sync, true)] {
        for message in answers(heard) {
            let own = |way: Result<Vec<u8>, Fault>, belongs: bool, what: &str| match way {
                // The same work again: the last word, as before.
                Ok(answer) => assert!(belongs && answer == *last_word, "{what}: {}", hex::encode(answer)),
                Err(fault) => assert!(!belongs && is_refused(&fault.code), "{what}: {fault:?}"),
            };
            own(relay(&li.wallet, &format!("/v1/bindings/{li_binding}/relay"), message), !is_sync, "own binding");
            own(relay(&li.wallet, &format!("{li_sync}/relay"), message), is_sync, "own sync");
            own(by_device("/v1/devices/binding", "offer", &li_offer, message), !is_sync, "own binding, device");
            own(by_device("/v1/devices/sync", "binding", &li_binding, message), is_sync, "own sync, device");
            for (way, what) in [
                (relay(&wang.wallet, &format!("/v1/bindings/{wang_binding}/relay"), message), "another binding"),
                (relay(&wang.wallet, &format!("/v1/bindings/{open_id}/relay"), message), "an open binding"),
                (relay(&wang.wallet, &format!("{wang_sync}/relay"), message), "an open sync"),
                (by_device("/v1/devices/binding", "offer", &wang_offer, message), "another binding, device"),
                (by_device("/v1/devices/binding", "offer", &free_offer, message), "an open binding, device"),
                (by_device("/v1/devices/sync", "binding", &wang_binding, message), "an open sync, device"),
            ] {
                own(way, false, what);
                played += 1;
            }
            for path in [format!("/v1/bindings/{open_id}/socket"), format!("{wang_sync}/socket")] {
                let refused = stage.over_socket(&path, &wang.key, message).unwrap_err();
                assert!(is_refused(&refused), "{path}: {refused}");
            }
            // With another wearer's key there is nothing to play it to.
            for path in [format!("/v1/bindings/{li_binding}/relay"), format!("{li_sync}/relay")] {
                let code = relay(&wang.wallet, &path, message).unwrap_err().code;
                assert!(code.ends_with("_not_found"), "{code}");
            }
        }
        // What the cloud has said is no answer of a watch.
        for (message, _) in heard {
            for path in [format!("/v1/bindings/{open_id}/relay"), format!("{wang_sync}/relay")] {
                assert_eq!(relay(&wang.wallet, &path, message).unwrap_err().code, "message_malformed");
            }
        }
    }
    assert_eq!(played, 6 * 4, "two answers of each");
    assert_eq!(known(), before, "nothing was changed");

    // A newer sync of the same token knows nothing of the older one's messages.
    let view = li.wallet.post(&li_sync, &json!({})).unwrap();
    let before = known();
    for message in answers(&sync) {
        assert_eq!(relay(&li.wallet, &format!("{li_sync}/relay"), message).unwrap_err().code, "sync_superseded");
        let refused = stage.over_socket(&format!("{li_sync}/socket"), &li.key, message).unwrap_err();
        assert_eq!(refused, "sync_superseded");
    }
    assert_eq!(known(), before);
    // All that was open goes on to its end.
    for (watch, wallet, path, view) in [
        (&mut li.watch, &li.wallet, format!("{li_sync}/relay"), view),
        (&mut wang.watch, &wang.wallet, format!("{wang_sync}/relay"), open_sync),
        (&mut free, &wang.wallet, format!("/v1/bindings/{open_id}/relay"), open_binding),
    ] {
        let mut state = String::new();
        recorded(watch, view, |message| {
            let view = wallet.post(&path, &json!({ "message": hex::encode(message) })).unwrap();
            state = text(&view, "state").unwrap();
            view
        });
        assert_eq!(state, "done", "{path}");
    }
    assert_eq!(stage.cloud.operator().get("/v1/audit").unwrap()["findings"], json!([]));
}

#[test]
fn what_was_recorded_changes_nothing_in_a_watch() {
    let stage = Stage::begin();
    let mut li = stage.wearer("Li Wei");
    let (_, _, binding) = bound(&mut li);
    let sync_heard = synced(&mut li);
    li.watch.next_payment_code(CodeForm::Digits).unwrap();
    let mut stranger = stage.watch("stranger");
    // Started anew, a watch remembers no session, and runs whatever comes.
    drop(li.watch);
    let mut own = open(&stage.folder("Li-Wei")).unwrap();
    for (watch, codes_left) in [(&mut own, Some(499)), (&mut stranger, None)] {
        let before = watch.status().unwrap();
        assert_eq!(before.codes_left, codes_left);
        let mut number = 0_u8;
        let mut play = |watch: &mut Watch, message: &[u8]| {
            number = number.wrapping_add(1);
            Link::new().deliver(watch, number, message, &mut |_| ()).unwrap()
        };
        for heard in [&binding, &sync_heard] {
            // Whole, backwards, and each message alone.
            for (message, _) in heard.iter().chain(heard.iter().rev()) {
                play(watch, message);
                assert!(watch.status().unwrap() == before);
            }
            for (message, _) in heard {
                watch.cancel_binding();
                let answer = play(watch, message);
                assert!(watch.status().unwrap() == before);
                // Nothing behind the opening of a channel is answered with success.
                let Some(answer) = answer else { continue };
                let (Ok(Message::Script(script)), Ok(Message::Results(results))) =
                    (Message::decode(message), Message::decode(&answer))
                else {
                    panic!("a script has results")
                };
                for (command, response) in script.commands().zip(results.responses()) {
                    let is_secured = Command::parse(command.apdu).unwrap().class.is_secured();
                    assert!(!is_secured || !response.unwrap_or_default().ends_with(&[0x90, 0x00]));
                }
            }
        }
    }
    // The watch is as good as before: it syncs and pays.
    let done = sync::sync(&mut own, &li.wallet, |_| ()).unwrap();
    assert_eq!(done["state"], "done");
    assert_eq!(own.status().unwrap().codes_left, Some(500));
    own.next_payment_code(CodeForm::Digits).unwrap();
    bind::bind(&mut stranger, &li.wallet, |_| ()).unwrap();
}

/// A script with other commands.
fn with_commands(message: &[u8], change: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
    let Ok(Message::Script(script)) = Message::decode(message) else { return message.to_vec() };
    let mut buffer = [0; 2_048];
    let mut writer = ScriptWriter::new(&mut buffer, script.session, script.number, script.progress_percent).unwrap();
    for command in script.commands() {
        let mut apdu = command.apdu.to_vec();
        change(&mut apdu);
        writer.push(&apdu, command.continue_on_failure).unwrap();
    }
    writer.finish().unwrap().to_vec()
}

/// Results with other answers.
fn with_answers(message: &[u8], change: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
    let Ok(Message::Results(results)) = Message::decode(message) else { return message.to_vec() };
    let mut buffer = [0; 2_048];
    let mut writer = ResultsWriter::new(&mut buffer, results.session, results.number).unwrap();
    for answer in results.responses() {
        let mut answer = answer.unwrap_or_default().to_vec();
        change(&mut answer);
        writer.push((!answer.is_empty()).then_some(&answer[..])).unwrap();
    }
    writer.finish().to_vec()
}

#[test]
fn a_carrier_that_lowers_the_channel_binds_nothing() {
    let stage = Stage::begin();
    let mut li = stage.wearer("Li Wei");
    type Change = Box<dyn Fn(&mut Vec<u8>)>;
    let level = |level: u8| -> Change {
        Box::new(move |apdu| {
            if apdu.get(1) == Some(&ins::EXTERNAL_AUTHENTICATE) {
                apdu[2] = level;
            }
        })
    };
    let keys = |version: u8| -> Change {
        Box::new(move |apdu| {
            if apdu.get(1) == Some(&ins::INITIALIZE_UPDATE) {
                apdu[2] = version;
            }
        })
    };
    // The card's answer names what it can: R-MAC and R-ENC are taken out of it, or the longer MACs put in.
    let parameters = |i: u8| -> Change {
        Box::new(move |answer| {
            if answer.len() == 34 && answer[11] == 3 {
                answer[12] = i;
            }
        })
    };
    let nothing = || -> Change { Box::new(|_| ()) };
    let attempts: Vec<(String, Change, Change)> = [0x00, 0x01, 0x03, 0x11, 0x13]
        .map(|byte| (format!("level {byte:02X}"), level(byte), nothing()))
        .into_iter()
        .chain([0xFF, 0x60].map(|version| (format!("keys {version:02X}"), keys(version), nothing())))
        .chain([0x00, 0x10, 0x20, 0x71].map(|i| (format!("i {i:02X}"), nothing(), parameters(i))))
        .collect();
    for (what, to_chip, to_cloud) in attempts {
        let offer = li.watch.binding_offer().unwrap().as_str().to_owned();
        let mut view = li.wallet.post("/v1/bindings", &json!({ "offer": offer })).unwrap();
        let path = format!("/v1/bindings/{}/relay", text(&view, "id").unwrap());
        let mut link = Link::new();
        for number in 1..=96_u8 {
            let message = hex::decode(text(&view, "message").unwrap()).unwrap();
            let altered = with_commands(&message, &to_chip);
            let Some(answer) = link.deliver(&mut li.watch, number, &altered, &mut |_| ()).unwrap() else { break };
            let answer = with_answers(&answer, &to_cloud);
            view = li.wallet.post(&path, &json!({ "message": hex::encode(answer) })).unwrap();
            assert_ne!(view["state"], "done", "{what}");
        }
        assert_eq!(view["state"], "failed", "{what}: {view}");
        assert!(!li.watch.status().unwrap().is_bound(), "{what}");
        let tokens = li.wallet.get("/v1/tokens").unwrap();
        assert!(tokens.as_array().unwrap().iter().all(|token| token["state"] == "revoked"), "{what}: {tokens}");
        std::thread::sleep(std::time::Duration::from_millis(1_050));
    }
    bound(&mut li);
}

#[test]
fn a_chip_that_was_ended_is_bound_no_more_and_pays_no_more() {
    let stage = Stage::begin();
    let mut li = stage.wearer("Li Wei");
    // A chip whose keys the test has, as its maker would.
    let id = ChipId([0x5A; 16]);
    let given = stage.cloud.operator().post("/v1/chips", &json!({ "chip_id": id.to_string() })).unwrap();
    let key = |name: &str| hex::decode(text(&given, name).unwrap()).unwrap();
    let version = u8::try_from(given["key_version"].as_u64().unwrap()).unwrap();
    let own = KeySet::from_bytes(version, &key("enc"), &key("mac"), &key("dek")).unwrap();
    let folder = stage.folder("ended");
    let mut chip = folder.create().unwrap();
    personalise_in_line(&mut chip, pki::Scheme::P256, id.0, &own, |_| Ok(Vec::new())).unwrap();
    drop(chip);
    li.watch = open(&folder).unwrap();
    let (_, _, binding) = bound(&mut li);
    let sync_heard = synced(&mut li);
    li.watch.next_payment_code(CodeForm::Digits).unwrap();

    let chip = li.watch.host_mut().chip_mut();
    let mut send = |command: &[u8]| {
        let mut answer = [0; 300];
        let length = chip.exchange(command, &mut answer).unwrap();
        answer[..length].to_vec()
    };
    let mut buffer = [0; 300];
    send(select().encode(&mut buffer).unwrap());
    let answer = send(initialize_update(version, &[7; 8]).encode(&mut buffer).unwrap());
    let mut session = host::Session::open(&own, Level::Full, &[7; 8], &answer[..answer.len() - 2]).unwrap();
    assert_eq!(send(session.external_authenticate(&mut buffer).unwrap()), [0x90, 0x00]);
    let mut order = [0; 16];
    let order = Order::SetState(StateChange::Terminate).encode(&mut order).unwrap();
    let ended = send(session.wrap(&store_data(order), &mut buffer).unwrap().0);
    assert!(ended.ends_with(&[0x90, 0x00]), "{ended:02X?}");

    // No code, no offer, no sync; and nothing that was recorded brings it back.
    assert_eq!(li.watch.next_payment_code(CodeForm::Digits).unwrap_err(), wearable::Error::Terminated);
    assert_eq!(li.watch.binding_offer().unwrap_err(), wearable::Error::Terminated);
    assert_eq!(sync::sync(&mut li.watch, &li.wallet, |_| ()).unwrap_err().code, "chip_refused_channel");
    for (number, (message, _)) in (1..).zip(binding.iter().chain(&sync_heard)) {
        Link::new().deliver(&mut li.watch, number, message, &mut |_| ()).unwrap();
    }
    let status = li.watch.status().unwrap();
    assert_eq!((status.lifecycle, status.codes_left), (Lifecycle::Terminated, None));
    // Its offer made up by somebody: the cloud lets the binding begin, and the chip opens nothing.
    let token = token_of(&li.wallet);
    li.wallet.post(&format!("/v1/tokens/{token}/revoke"), &json!({})).unwrap();
    let offer = wearable::Offer::new(&id.0, &[9; 8]);
    let mut view = li.wallet.post("/v1/bindings", &json!({ "offer": offer.as_str() })).unwrap();
    let path = format!("/v1/bindings/{}/relay", text(&view, "id").unwrap());
    let mut link = Link::new();
    for number in 1..=4_u8 {
        let message = hex::decode(text(&view, "message").unwrap()).unwrap();
        let Some(answer) = link.deliver(&mut li.watch, number, &message, &mut |_| ()).unwrap() else { break };
        view = li.wallet.post(&path, &json!({ "message": hex::encode(answer) })).unwrap();
    }
    assert_eq!((&view["state"], &view["failure"]), (&json!("failed"), &json!("chip_refused_channel")));
}

#[test]
fn a_wallet_can_not_fill_the_trail_with_refused_bindings() {
    let stage = Stage::begin();
    let operator = stage.cloud.operator();
    let mut li = stage.wearer("Li Wei");
    let (_, _, _) = bound(&mut li);
    let (other, _) = open_account(&operator, "Wang Fang", "CNY").unwrap();
    let other = Api::new(stage.cloud.url.clone(), other.key);
    let own_chip = li.watch.chip_id().unwrap();
    let mut subjects = Vec::new();
    let refuse = |wallet: &Api, chip: [u8; 16], number: u8| {
        let offer = wearable::Offer::new(&chip, &[number; 8]);
        wallet.post("/v1/bindings", &json!({ "offer": offer.as_str() })).unwrap_err().code
    };
    for number in 1..=30_u8 {
        // Chips that are thought of, and one that is somebody's.
        let chip = if number % 3 == 0 { own_chip } else { [number; 16] };
        let expected = if number % 3 == 0 { "chip_bound" } else { "chip_not_found" };
        assert_eq!(refuse(&other, chip, number), expected, "the answer is the same, whether it is kept or not");
        subjects.push(ChipId(chip).to_string());
    }
    subjects.sort();
    subjects.dedup();
    let lines = |name: &str| -> usize {
        let trail = |subject: &String| operator.get(&format!("/v1/events?subject={subject}")).unwrap();
        let of = |trail: Value| trail.as_array().unwrap().iter().filter(|line| line["name"] == name).count();
        subjects.iter().map(|subject| of(trail(subject))).sum()
    };
    assert_eq!(lines("binding_refused"), 20);
    // Another account's are counted for themselves.
    assert_eq!(refuse(&li.wallet, own_chip, 99), "chip_bound");
    assert_eq!(lines("binding_refused"), 21);
}

//! The ways a chip's messages travel besides a phone's requests: its WebSocket, and a device's own connection.

use std::net::TcpStream;

use crate::support::Cloud;
use crate::support::play::Play;
use paychip::api::{Api, text};
use paychip::profile::Place;
use paychip::watch::carry::Link;
use paychip::watch::folder::WatchFolder;
use paychip::watch::{Watch, bind, open};
use serde_json::{Value, json};
use tungstenite::client::IntoClientRequest;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Message, WebSocket, client};
use wearable::Progress;

type Socket = WebSocket<TcpStream>;

fn watch_of(play: &Play, name: &str) -> Watch {
    play.watch(name, &["new"]).unwrap();
    let place = Place { data: play.cloud.data.clone(), server: Some(play.cloud.url.clone()) };
    open(&WatchFolder::named(&place, name).unwrap()).unwrap()
}

fn wallet_of(cloud: &Cloud, name: &str) -> (Api, String) {
    let account = cloud.operator().post("/v1/accounts", &json!({ "name": name, "currency": "CNY" })).unwrap();
    let key = text(&account, "wallet_key").unwrap();
    (Api::new(cloud.url.clone(), key.clone()), key)
}

/// What [`socket`] says of a connection that was closed before anything was answered.
const NOT_LET_IN: u16 = 0;

/// A WebSocket, or the status and the code of the refusal.
fn socket(cloud: &Cloud, path: &str, key: &str) -> Result<Socket, (u16, String)> {
    let address = cloud.url.strip_prefix("http://").unwrap();
    let mut request = format!("ws://{address}{path}").into_client_request().unwrap();
    let headers = request.headers_mut();
    headers.insert("authorization", format!("Bearer {key}").parse().unwrap());
    headers.insert("sec-websocket-protocol", "paychip.relay.1".parse().unwrap());
    match client(request, TcpStream::connect(address).unwrap()) {
        Ok((socket, answer)) => {
            assert_eq!(answer.headers()["sec-websocket-protocol"], "paychip.relay.1");
            Ok(socket)
        }
        Err(tungstenite::HandshakeError::Failure(tungstenite::Error::Http(answer))) => {
            let body: Value = serde_json::from_slice(answer.body().as_deref().unwrap_or_default()).unwrap_or_default();
            Err((answer.status().as_u16(), body["error"]["code"].as_str().unwrap_or_default().to_owned()))
        }
        Err(tungstenite::HandshakeError::Failure(error)) => Err((NOT_LET_IN, error.to_string())),
        Err(error) => panic!("{error}"),
    }
}

fn next(socket: &mut Socket) -> Vec<u8> {
    match socket.read().unwrap() {
        Message::Binary(bytes) => bytes.to_vec(),
        other => panic!("{other}"),
    }
}

/// How a socket was closed.
fn closed(socket: &mut Socket) -> (u16, String) {
    match socket.read().unwrap() {
        Message::Close(Some(frame)) => (u16::from(frame.code), frame.reason.to_string()),
        other => panic!("{other}"),
    }
}

/// The phone: it hands each message from the socket to the watch, and what the watch answers back.
fn carried(socket: &mut Socket, watch: &mut Watch) -> Vec<u8> {
    let (mut link, mut seen) = (Link::new(), Vec::new());
    for number in 1..=8 {
        let message = next(socket);
        let answer = link.deliver(watch, number, &message, &mut |percent| seen.push(percent)).unwrap();
        let Some(answer) = answer else { break };
        socket.send(Message::binary(answer)).unwrap();
    }
    seen.dedup();
    seen
}

#[test]
fn a_watch_is_bound_and_synced_over_its_phones_websocket() {
    let play = Play::begin();
    let (wallet, key) = wallet_of(&play.cloud, "Li Wei");
    let (_, other) = wallet_of(&play.cloud, "Wang Fang");
    let mut watch = watch_of(&play, "w");
    let offer = watch.binding_offer().unwrap();
    let binding = wallet.post("/v1/bindings", &json!({ "offer": offer.as_str() })).unwrap();
    let path = format!("/v1/bindings/{}/socket", text(&binding, "id").unwrap());
    assert_eq!(socket(&play.cloud, &path, &other).unwrap_err(), (404, "binding_not_found".to_owned()));
    assert_eq!(socket(&play.cloud, &path, "wk_0000").unwrap_err(), (401, "unauthenticated".to_owned()));

    // A phone that breaks off, and comes back in a new socket: it goes on where it was.
    let mut first = socket(&play.cloud, &path, &key).unwrap();
    let script = next(&mut first);
    assert_eq!(hex::encode(&script), text(&binding, "message").unwrap());
    drop(first);
    let mut again = socket(&play.cloud, &path, &key).unwrap();
    assert_eq!(carried(&mut again, &mut watch), [10, 30, 70, 90, 100]);
    assert_eq!(closed(&mut again), (u16::from(CloseCode::Normal), String::new()));
    assert!(watch.status().unwrap().is_bound());
    // Afterwards the last word is still there for whoever missed it.
    let mut late = socket(&play.cloud, &path, &key).unwrap();
    assert!(!next(&mut late).is_empty());
    assert_eq!(closed(&mut late).0, u16::from(CloseCode::Normal));

    let token = format!("/v1/tokens/{}/sync", text(&binding, "token").unwrap());
    assert_eq!(socket(&play.cloud, &format!("{token}/socket"), &key).unwrap_err().1, "sync_not_found");
    wallet.post(&token, &json!({})).unwrap();
    let mut sync = socket(&play.cloud, &format!("{token}/socket"), &key).unwrap();
    assert_eq!(carried(&mut sync, &mut watch), [10, 30, 70, 90, 100]);
    assert_eq!(wallet.get(&token).unwrap()["state"], "done");
}

#[test]
fn what_is_no_message_closes_a_socket_with_its_reason_and_ends_no_binding() {
    let play = Play::begin();
    let (wallet, key) = wallet_of(&play.cloud, "Li Wei");
    let mut watch = watch_of(&play, "w");
    let offer = watch.binding_offer().unwrap();
    let binding = wallet.post("/v1/bindings", &json!({ "offer": offer.as_str() })).unwrap();
    let path = format!("/v1/bindings/{}/socket", text(&binding, "id").unwrap());
    for (message, expected) in [
        (Message::binary(vec![1, 2, 3]), (4_000, "message_malformed")),
        (Message::text("hello"), (1_003, "binary messages only")),
    ] {
        let mut socket = socket(&play.cloud, &path, &key).unwrap();
        next(&mut socket);
        socket.send(message).unwrap();
        assert_eq!(closed(&mut socket), (expected.0, expected.1.to_owned()));
    }
    // Longer than any message: the socket ends, whatever comes behind.
    let mut long = socket(&play.cloud, &path, &key).unwrap();
    next(&mut long);
    let _ = long.send(Message::binary(vec![0; 4_096]));
    assert!(!matches!(long.read(), Ok(Message::Binary(_))));
    // Plain HTTP is told what is spoken here.
    assert_eq!(wallet.get(&path).unwrap_err().code, "websocket_expected");
    let mut socket = socket(&play.cloud, &path, &key).unwrap();
    carried(&mut socket, &mut watch);
    assert!(watch.status().unwrap().is_bound());
}

#[test]
fn open_sockets_are_counted_and_end_with_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let cloud = Cloud::start_with(&folder.path().join("data"), &["--max-connections-per-peer", "4"]);
    let play = Play { folder, cloud };
    let (wallet, key) = wallet_of(&play.cloud, "Li Wei");
    let mut watch = watch_of(&play, "w");
    let offer = watch.binding_offer().unwrap();
    let binding = wallet.post("/v1/bindings", &json!({ "offer": offer.as_str() })).unwrap();
    drop(wallet);
    let path = format!("/v1/bindings/{}/socket", text(&binding, "id").unwrap());
    std::thread::sleep(std::time::Duration::from_millis(300));
    let mut sockets: Vec<Socket> = (0..4).map(|_| socket(&play.cloud, &path, &key).unwrap()).collect();
    let one_more = socket(&play.cloud, &path, &key).map(drop).unwrap_err();
    assert_eq!(one_more.0, NOT_LET_IN, "a socket keeps its place among the connections: {}", one_more.1);
    // And gives it back.
    drop(sockets.pop());
    let until = std::time::Instant::now() + std::time::Duration::from_secs(10);
    let in_its_place = loop {
        match socket(&play.cloud, &path, &key) {
            Ok(socket) => break socket,
            Err(error) => assert!(std::time::Instant::now() < until, "{error:?}"),
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    };
    sockets.push(in_its_place);
    sockets.iter_mut().for_each(|socket| drop(next(socket)));
    assert!(play.cloud.terminate().success());
    assert_eq!(closed(&mut sockets[0]), (u16::from(CloseCode::Away), "the server ends".to_owned()));
}

#[test]
fn a_device_on_the_network_carries_its_own_messages() {
    let play = Play::begin();
    play.run(&["account", "new", "Li Wei"]).unwrap();
    play.run(&["account", "top-up", "10"]).unwrap();
    play.run(&["merchant", "new", "Tea House"]).unwrap();
    play.run(&["watch", "new"]).unwrap();
    let bound = play.run(&["watch", "bind", "--direct"]).unwrap();
    assert_eq!(bound["state"], "done");
    let made = play.run(&["watch", "code"]).unwrap();
    let paid = play.run(&["pos", "charge", "1.50", "--code", made["digits"].as_str().unwrap()]).unwrap();
    assert_eq!(paid["state"], "succeeded");

    // Before the wearer has confirmed there is nothing to carry, and what nobody confirmed stays so.
    let device = Api::new(play.cloud.url.clone(), String::new());
    let mut watch = watch_of(&play, "terminal");
    let offer = watch.binding_offer().unwrap().as_str().to_owned();
    let asked = |body: Value| device.post("/v1/devices/binding", &body);
    assert_eq!(asked(json!({ "offer": offer })).unwrap_err().code, "binding_not_found");
    assert_eq!(asked(json!({ "offer": "PC1:" })).unwrap_err().code, "offer_malformed");
    let (wallet, _) = wallet_of(&play.cloud, "Wang Fang");
    let done = bind::bind_directly(&mut watch, &wallet, &device, |_| ()).unwrap();
    assert!(matches!(watch.progress(), Progress::Done));

    // It syncs by the id of its binding, which only it, its wallet and the cloud know.
    watch.next_payment_code(wearable::CodeForm::Digits).unwrap();
    let id = text(&done, "id").unwrap();
    let synced = |body: Value| device.post("/v1/devices/sync", &body);
    let unknown = format!("bind_{}", "0f".repeat(16));
    assert_eq!(synced(json!({ "binding": unknown })).unwrap_err().code, "binding_not_found");
    let (mut link, mut view) = (Link::new(), synced(json!({ "binding": id })).unwrap());
    for number in 1..=8 {
        let message = hex::decode(text(&view, "message").unwrap()).unwrap();
        let Some(answer) = link.deliver(&mut watch, number, &message, &mut |_| ()).unwrap() else { break };
        view = synced(json!({ "binding": id, "message": hex::encode(answer) })).unwrap();
    }
    assert_eq!(view["state"], "done");
    assert_eq!(watch.status().unwrap().codes_left, Some(500));
}

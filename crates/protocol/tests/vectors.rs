//! APDUs, templates, notices, relay messages and frames against `apdu.json`, `vouch.json` and `relay.json` of `spec/vectors`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use protocol::apdu::Command;
use protocol::applet::{Attestation, AttestedState, MAX_STATE_BYTES, MAX_STATEMENT_BYTES, SetRules};
use protocol::applet::{ChipStatus, CodeStamp, Grant, Order, PaymentCode, Slot, TokenStatus, TokenStatuses};
use protocol::applet::{CodeLog, LOGGED_CODES, MAX_NOTICE_BYTES, PaymentNotice, PaymentOutcome, vouch};
use protocol::applet::{FactoryData, InstallToken, MaskKeyUpdate, RemoveToken, SyncGrant, encode_token_statuses};
use protocol::link::{Fragments, MAX_FRAME_BYTES, Reassembler, Received, resend_request};
use protocol::scp03::{KeySet, Level, host};
use protocol::script::{MAX_MESSAGE_BYTES, Message, Outcome, ResultsWriter, ScriptWriter, SessionId};
use serde_json::Value;

fn apdu() -> Value {
    serde_json::from_str(include_str!("../../../spec/vectors/apdu.json")).unwrap()
}

fn relay() -> Value {
    serde_json::from_str(include_str!("../../../spec/vectors/relay.json")).unwrap()
}

fn x(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap()).unwrap()
}

fn array<const N: usize>(value: &Value) -> [u8; N] {
    x(value).try_into().unwrap()
}

fn number<T: TryFrom<u64>>(value: &Value) -> T {
    T::try_from(value.as_u64().unwrap()).ok().unwrap()
}

fn items(value: &Value) -> &[Value] {
    let items = value.as_array().unwrap();
    assert!(!items.is_empty());
    items
}

#[test]
fn notices_are_read_and_written_as_the_vectors_say() {
    let vectors: Value = serde_json::from_str(include_str!("../../../spec/vectors/vouch.json")).unwrap();
    for vector in items(&vectors["notices"]) {
        let bytes = x(&vector["bytes"]);
        let notice = PaymentNotice {
            outcome: PaymentOutcome::from_byte(number(&vector["outcome"])).unwrap(),
            amount_minor: number(&vector["amount_minor"]),
            refunded_minor: number(&vector["refunded_minor"]),
            currency: vector["currency"].as_str().unwrap(),
            decimals: number(&vector["decimals"]),
            merchant: vector["merchant"].as_str().unwrap(),
            unix_seconds: number(&vector["unix_seconds"]),
            stamp: CodeStamp::new(number(&vector["step"]), number(&vector["sequence"])).unwrap(),
        };
        assert_eq!(PaymentNotice::decode(&bytes), Ok(notice));
        assert_eq!(notice.encode(&mut [0; MAX_NOTICE_BYTES]), Ok(&bytes[..]));
        // And a command of the transcript carries it, which the chip's tests play.
        let mut buffer = [0; 300];
        let command = hex::encode_upper(vouch(Slot::FIRST, &bytes).encode(&mut buffer).unwrap());
        let is_sent = |exchange: &Value| {
            let sent = exchange["plain_command"].as_str().unwrap_or_default();
            sent.get(8..) == command.get(8..)
        };
        assert!(items(&vectors["exchanges"]).iter().any(is_sent), "{vector}");
    }
}

#[test]
fn commands_are_read_and_written_as_the_vectors_say() {
    let vectors = apdu();
    for vector in items(&vectors["commands"]) {
        let (bytes, data) = (x(&vector["bytes"]), x(&vector["data"]));
        let mut command = Command::new(
            number(&vector["class"]),
            number(&vector["instruction"]),
            number(&vector["p1"]),
            number(&vector["p2"]),
        )
        .with_data(&data);
        command.le = vector["le"].as_u64().map(|le| le.try_into().unwrap());
        assert_eq!(Command::parse(&bytes), Ok(command), "{}", vector["name"]);
        assert_eq!(command.encode(&mut [0; 300]), Ok(&bytes[..]), "{}", vector["name"]);
    }
    for vector in items(&vectors["refused_commands"]) {
        assert!(Command::parse(&x(&vector["bytes"])).is_err(), "{}", vector["name"]);
    }
}

fn grant(value: &Value) -> Grant {
    Grant {
        time_anchor_unix_seconds: number(&value["time_anchor_unix_seconds"]),
        offline_allowance_seconds: number(&value["offline_allowance_seconds"]),
        code_budget: number(&value["code_budget"]),
    }
}

fn slot(value: &Value) -> Slot {
    Slot::new(number(value)).unwrap()
}

#[test]
fn orders_are_read_and_written_as_the_vectors_say() {
    for vector in items(&apdu()["orders"]) {
        let bytes = x(&vector["bytes"]);
        let order = Order::decode(&bytes).unwrap();
        assert_eq!(order.encode(&mut [0; 256]), Ok(&bytes[..]), "{}", vector["name"]);
        match order {
            Order::FactoryData(order) => {
                assert_eq!(order, FactoryData { chip_id: &array(&vector["factory_data"]["chip_id"]) });
            }
            Order::InstallToken(order) => {
                let v = &vector["install_token"];
                let expected = InstallToken {
                    slot: slot(&v["slot"]),
                    token_id: &array(&v["token_id"]),
                    prefix: v["prefix"].as_str().unwrap(),
                    total_digits: number(&v["total_digits"]),
                    suite: number(&v["suite"]),
                    token_index: number(&v["token_index"]),
                    pay_key: &array(&v["pay_key"]),
                    pay_key_version: number(&v["pay_key_version"]),
                    mask_key: &array(&v["mask_key"]),
                    mask_key_version: number(&v["mask_key_version"]),
                    account_label: v["account_label"].as_str().unwrap(),
                    grant: grant(v),
                };
                assert!(order == expected);
            }
            Order::Sync(order) => {
                let v = &vector["sync"];
                let update = MaskKeyUpdate { key: &array(&v["mask_key"]), version: number(&v["mask_key_version"]) };
                assert_eq!(order, SyncGrant { slot: slot(&v["slot"]), grant: grant(v), mask_key: Some(update) });
            }
            Order::RemoveToken(order) => {
                assert_eq!(order, RemoveToken { slot: slot(&vector["remove_token"]["slot"]) });
            }
            Order::StoreCertificate(order) => {
                let v = &vector["store_certificate"];
                assert_eq!((u64::from(order.part.number()), order.bytes), (number(&v["part"]), &x(&v["bytes"])[..]));
            }
            Order::Passcode(order) => assert_eq!(order as u64, vector["passcode"].as_u64().unwrap()),
            Order::SetRules(order) => {
                let v = &vector["set_rules"];
                let expected = SetRules {
                    slot: slot(&v["slot"]),
                    passcode_required: v["passcode_required"].as_bool().unwrap(),
                    session_seconds: number(&v["session_seconds"]),
                };
                assert_eq!(order, expected);
            }
            Order::SetState(order) => assert_eq!(u64::from(order.to_byte()), vector["set_state"]),
        }
    }
}

#[test]
fn refused_orders_name_the_error_and_the_tag_the_vectors_name() {
    for vector in items(&apdu()["refused_orders"]) {
        let error = Order::decode(&x(&vector["bytes"])).unwrap_err();
        assert_eq!(error.code(), vector["error"], "{}", vector["name"]);
        let tag = error.tag().map(|tag| tag.to_string());
        assert_eq!(tag.as_deref(), vector["tag"].as_str(), "{}", vector["name"]);
    }
}

#[test]
fn answers_are_read_and_written_as_the_vectors_say() {
    let vectors = apdu();
    let v = &vectors["answers"]["payment_code"];
    let code = PaymentCode {
        digits: v["digits"].as_str(),
        emv: None,
        stamp: CodeStamp::new(number(&v["step"]), number(&v["sequence"])).unwrap(),
        codes_left: number(&v["codes_left"]),
        verified: v["verified"].as_bool().unwrap(),
        valid_until_unix_seconds: number(&v["valid_until_unix_seconds"]),
    };
    assert_eq!(code.encode(&mut [0; 256]), Ok(&x(&v["bytes"])[..]));
    assert_eq!(PaymentCode::decode(&x(&v["bytes"])), Ok(code));

    let v = &vectors["answers"]["status"];
    let bytes = x(&v["bytes"]);
    let status = ChipStatus::decode(&bytes).unwrap();
    assert_eq!(u64::from(status.lifecycle.to_byte()), v["lifecycle"]);
    assert_eq!(u64::from(status.passcode.to_byte()), v["passcode"]);
    assert_eq!(u64::from(status.tries_left), v["tries_left"]);
    assert_eq!(status.default_slot, Some(slot(&v["default_slot"])));
    assert_eq!(status.account_label, v["account_label"].as_str());
    assert_eq!(status.codes_left.map(u64::from), v["codes_left"].as_u64());
    assert_eq!(status.encode(&mut [0; 128]), Ok(&bytes[..]));

    let v = &vectors["answers"]["token_status"];
    let token = TokenStatus {
        slot: slot(&v["slot"]),
        token_id: &array(&v["token_id"]),
        transaction_counter: number(&v["transaction_counter"]),
        last_stamp: CodeStamp::new(number(&v["step"]), number(&v["sequence"])),
        codes_left: number(&v["codes_left"]),
        time_anchor_unix_seconds: number(&v["time_anchor_unix_seconds"]),
    };
    let bytes = x(&v["bytes"]);
    assert_eq!(encode_token_statuses(&[token], &mut [0; 256]), Ok(&bytes[..]));
    assert_eq!(TokenStatuses::decode(&bytes).unwrap().collect::<Vec<_>>(), [token]);
}

#[test]
fn relay_messages_are_read_and_written_as_the_vectors_say() {
    for vector in items(&relay()["messages"]) {
        let bytes = x(&vector["bytes"]);
        let mut out = [0; MAX_MESSAGE_BYTES];
        match Message::decode(&bytes).unwrap() {
            Message::Script(script) => {
                let v = &vector["script"];
                assert_eq!(u64::from(script.progress_percent), v["progress_percent"]);
                let session = SessionId(array(&v["session"]));
                let mut writer =
                    ScriptWriter::new(&mut out, session, number(&v["number"]), script.progress_percent).unwrap();
                for command in items(&v["commands"]) {
                    writer.push(&x(&command["apdu"]), command["continue_on_failure"].as_bool().unwrap()).unwrap();
                }
                assert_eq!(writer.finish().unwrap(), bytes);
                let apdus: Vec<_> = script.commands().map(|command| command.apdu.to_vec()).collect();
                assert_eq!(apdus, items(&v["commands"]).iter().map(|c| x(&c["apdu"])).collect::<Vec<_>>());
            }
            Message::Results(results) => {
                let v = &vector["results"];
                let session = SessionId(array(&v["session"]));
                let answers: Vec<Option<Vec<u8>>> =
                    items(&v["answers"]).iter().map(|answer| answer.as_str().map(|_| x(answer))).collect();
                let mut writer = ResultsWriter::new(&mut out, session, number(&v["number"])).unwrap();
                answers.iter().for_each(|answer| writer.push(answer.as_deref()).unwrap());
                assert_eq!(writer.finish(), bytes);
                let read: Vec<_> = results.responses().map(|answer| answer.map(<[u8]>::to_vec)).collect();
                assert_eq!(read, answers);
            }
            Message::Outcome(outcome) => {
                let v = &vector["outcome"];
                let session = SessionId(array(&v["session"]));
                let expected = match v["code"].as_str() {
                    Some(code) => Outcome::Failed { session, code },
                    None => Outcome::Done { session, account_label: v["account_label"].as_str().unwrap() },
                };
                assert_eq!(outcome, expected);
                assert_eq!(outcome.encode(&mut out), Ok(&bytes[..]));
            }
        }
    }
    for vector in items(&relay()["refused"]) {
        assert!(Message::decode(&x(&vector["bytes"])).is_err(), "{}", vector["name"]);
    }
}

#[test]
fn messages_are_cut_and_put_together_as_the_vectors_say() {
    let vectors = relay();
    for vector in items(&vectors["frames"]) {
        let message = x(&vector["message"]);
        let mut fragments =
            Fragments::new(&message, number(&vector["number"]), number(&vector["frame_bytes"])).unwrap();
        let mut receiver = Reassembler::<MAX_MESSAGE_BYTES>::new();
        let mut out = [0; MAX_FRAME_BYTES];
        let frames = items(&vector["frames"]);
        for (place, expected) in frames.iter().enumerate() {
            let frame = fragments.next_frame(&mut out).unwrap().unwrap();
            assert_eq!(frame, x(expected), "{} frame {place}", vector["name"]);
            let received = receiver.accept(frame).unwrap();
            if place + 1 == frames.len() {
                assert_eq!(received, Received::Message { number: number(&vector["number"]), bytes: &message });
            } else {
                assert_eq!(received, Received::Incomplete);
            }
        }
        assert_eq!(fragments.next_frame(&mut out), Ok(None));
    }
    let request = &vectors["resend_request"];
    assert_eq!(resend_request(number(&request["number"])).to_vec(), x(&request["frame"]));
}

#[test]
fn the_worked_example_of_the_specification_is_the_vector() {
    let text = include_str!("../../../spec/relay.md").replace(' ', "");
    let vectors = relay();
    for frame in items(&vectors["frames"][0]["frames"]) {
        assert!(text.contains(frame.as_str().unwrap()), "{frame}");
    }
    for command in items(&vectors["messages"][0]["script"]["commands"]) {
        assert!(text.contains(command["apdu"].as_str().unwrap()), "{command}");
    }
}

#[test]
fn an_attestation_states_what_the_vector_says() {
    let vector: Value = serde_json::from_str(include_str!("../../../spec/vectors/chip-attestation.json")).unwrap();
    let v = &vector["state"];
    let ids: Vec<Option<[u8; 16]>> =
        items(&v["slots"]).iter().map(|slot| slot["token_id"].is_string().then(|| array(&slot["token_id"]))).collect();
    let mut state = AttestedState {
        root_key_version: number(&v["root_key_version"]),
        passcode_set: v["passcode_set"].as_bool().unwrap(),
        ..AttestedState::default()
    };
    for (place, (slot, id)) in state.slots.iter_mut().zip(items(&v["slots"]).iter().zip(&ids)) {
        *place = (number(&slot["key_version"]), id.as_ref());
    }
    let mut bytes = [0; MAX_STATE_BYTES];
    let used = state.to_bytes(&mut bytes);
    assert_eq!(bytes[..used], x(&v["bytes"]));

    let answer = x(&vector["answer"]);
    let attestation = Attestation::decode(&answer).unwrap();
    assert_eq!(attestation.state_hash[..], x(&v["sha_256"]));
    assert_eq!(attestation.signature[..], x(&vector["signature"]));
    assert_eq!(attestation.encode(&mut [0; 256]), Ok(&answer[..]));
    let mut buffer = [0; MAX_STATEMENT_BYTES];
    assert_eq!(attestation.statement(&x(&vector["challenge"]), &mut buffer), Ok(&x(&vector["statement"])[..]));
    for bytes in [15, 33] {
        assert_eq!(attestation.statement(&[0; 40][..bytes], &mut buffer), Err(protocol::applet::Error::BadCommand));
    }
}

/// The host's end of a transcript: what it sends, and what it reads out of the answers.
fn replay_as_host(file: &str) {
    let vectors: Value = serde_json::from_str(file).unwrap();
    let host_challenge = x(&vectors["host_challenge"]);
    let level = Level::from_byte(x(&vectors["level"])[0]).unwrap();
    let key_set = |version: u8| {
        let named = items(&vectors["key_sets"]).iter().find(|keys| x(&keys["version"]) == [version]);
        let key = x(&named.unwrap_or_else(|| panic!("key set {version:02X}"))["key"]);
        KeySet::from_bytes(version, &key, &key, &key).unwrap()
    };
    let mut session = None;
    let mut secured = 0;
    for exchange in items(&vectors["exchanges"]) {
        let (command, mut answer) = (x(&exchange["command"]), x(&exchange["answer"]));
        let mut buffer = [0; 300];
        if let Some(plain) = exchange["plain_command"].as_str() {
            let session: &mut host::Session = session.as_mut().unwrap();
            let plain = hex::decode(plain).unwrap();
            let (wrapped, ticket) = session.wrap(&Command::parse(&plain).unwrap(), &mut buffer).unwrap();
            assert_eq!(wrapped, command, "{exchange}");
            let found = session.unwrap(ticket, &mut answer).unwrap();
            let found = [found.data, &found.status.to_bytes()].concat();
            assert_eq!(found, x(&exchange["plain_answer"]), "{exchange}");
            secured += 1;
        } else if let ([0x80, 0x50, version, ..], Some(opening)) = (&*command, answer.strip_suffix(&[0x90, 0x00])) {
            session = Some(host::Session::open(&key_set(*version), level, &host_challenge, opening).unwrap());
        } else if command[1] == 0x82 && answer == [0x90, 0x00] {
            let session = session.as_mut().unwrap();
            assert_eq!(session.external_authenticate(&mut buffer).unwrap(), command);
        }
    }
    assert!(secured > 10);
}

#[test]
fn a_host_sends_what_the_transcripts_of_the_vectors_say_and_reads_their_answers() {
    replay_as_host(include_str!("../../../spec/vectors/security-domains.json"));
    replay_as_host(include_str!("../../../spec/vectors/code-log.json"));
}

#[test]
fn the_logs_of_the_vectors_are_read_as_codes_newest_first() {
    let vectors: Value = serde_json::from_str(include_str!("../../../spec/vectors/code-log.json")).unwrap();
    let mut longest = 0;
    for exchange in items(&vectors["exchanges"]) {
        let (Some(command), Some(answer)) = (exchange["plain_command"].as_str(), exchange["plain_answer"].as_str())
        else {
            continue;
        };
        let Some(slot) = command.strip_prefix("80CADF4").and_then(|rest| rest[..1].parse().ok()) else { continue };
        let Some(log) = answer.strip_suffix("9000") else { continue };
        let bytes = hex::decode(log).unwrap();
        let log = CodeLog::decode(Slot::new(slot).unwrap(), &bytes).unwrap();
        let codes: Vec<_> = log.codes().collect();
        assert!(codes.is_sorted_by(|(newer, a), (older, b)| newer == &(older + 1) && a.stamp > b.stamp));
        longest = longest.max(codes.len());
    }
    assert_eq!(longest, LOGGED_CODES);
}

//! Both ends of SCP03, the key derivation and PUT KEY against `spec/vectors/scp03.json`, whose values come from
//! public vectors and from another implementation.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use protocol::apdu::{Command, Response};
use protocol::scp03::{AesKey, KeySet, Level, Mode, card, host, pseudo_random_challenge};
use protocol::{kdf, put_key};
use serde::Deserialize;

#[derive(Deserialize)]
struct Vectors {
    pseudo_random_challenge: Vec<ChallengeVector>,
    sessions: Vec<SessionVector>,
    key_derivation: Vec<DerivationVector>,
    put_key: Vec<PutKeyVector>,
}

#[derive(Deserialize)]
struct ChallengeVector {
    key_enc: String,
    sequence: String,
    aid: String,
    challenge: String,
}

#[derive(Deserialize)]
struct SessionVector {
    name: String,
    key_version: u8,
    key_enc: String,
    key_mac: String,
    key_dek: String,
    level: String,
    diversification: String,
    host_challenge: String,
    card_challenge: String,
    sequence: Option<String>,
    aid: Option<String>,
    /// The card was told its challenge, though its answer says it follows from a counter.
    #[serde(default)]
    challenge_is_given: bool,
    /// The host does what ours does not, and the card takes it.
    #[serde(default)]
    card_only: bool,
    initialize_update_answer: String,
    external_authenticate: String,
    exchanges: Vec<Exchange>,
}

#[derive(Deserialize)]
struct Exchange {
    command: String,
    wrapped_command: String,
    answer: String,
    wrapped_answer: String,
}

#[derive(Deserialize)]
struct DerivationVector {
    master: String,
    label: String,
    context: String,
    output: String,
}

#[derive(Deserialize)]
struct PutKeyVector {
    dek: String,
    key_version: u8,
    key_enc: String,
    key_mac: String,
    key_dek: String,
    data: String,
    answer: String,
}

fn vectors() -> Vectors {
    serde_json::from_str(include_str!("../../../spec/vectors/scp03.json")).unwrap()
}

fn x(text: &str) -> Vec<u8> {
    hex::decode(text).unwrap()
}

fn key_set(version: u8, enc: &str, mac: &str, dek: &str) -> KeySet {
    KeySet::from_bytes(version, &x(enc), &x(mac), &x(dek)).unwrap()
}

#[test]
fn the_published_pseudo_random_challenge_is_computed() {
    for vector in vectors().pseudo_random_challenge {
        let enc = AesKey::new(&x(&vector.key_enc)).unwrap();
        let mut challenge = vec![0; vector.challenge.len() / 2];
        let sequence = x(&vector.sequence).try_into().unwrap();
        pseudo_random_challenge(&enc, sequence, &x(&vector.aid), &mut challenge).unwrap();
        assert_eq!(challenge, x(&vector.challenge));
    }
}

#[test]
fn the_card_answers_every_vector_byte_for_byte() {
    for vector in vectors().sessions {
        let name = &vector.name;
        let keys = key_set(vector.key_version, &vector.key_enc, &vector.key_mac, &vector.key_dek);
        let aid = vector.aid.as_deref().map(x).unwrap_or_default();
        let mut random = [0; 16];
        let card_challenge = x(&vector.card_challenge);
        random[..card_challenge.len()].copy_from_slice(&card_challenge);
        let challenge = match &vector.sequence {
            Some(sequence) => {
                card::Challenge::PseudoRandom { sequence: u32::from_str_radix(sequence, 16).unwrap(), aid: &aid }
            }
            None => card::Challenge::Random(&random),
        };
        let diversification = x(&vector.diversification).try_into().unwrap();
        let mut out = [0; 48];
        let (handshake, length) =
            card::Handshake::start(&keys, &diversification, &x(&vector.host_challenge), challenge, &mut out).unwrap();
        let mut expected = x(&vector.initialize_update_answer);
        if vector.challenge_is_given {
            expected[12] &= !0x10;
            expected.truncate(length);
        }
        assert_eq!(&out[..length], expected, "{name}");
        let mut session = handshake.authenticate(&x(&vector.external_authenticate)).expect(name);
        assert_eq!(Some(session.level()), Level::from_byte(x(&vector.level)[0]));

        for exchange in vector.exchanges {
            let mut apdu = x(&exchange.wrapped_command);
            let command = session.unwrap(&mut apdu).expect(name);
            assert_eq!(command, Command::parse(&x(&exchange.command)).unwrap(), "{name}");
            let plain = x(&exchange.answer);
            let answer = Response::parse(&plain).unwrap();
            let mut buffer = [0; 300];
            buffer[..answer.data.len()].copy_from_slice(answer.data);
            let length = session.wrap_answer(&mut buffer, answer.data.len(), answer.status).expect(name);
            assert_eq!(&buffer[..length], x(&exchange.wrapped_answer), "{name}");
        }
    }
}

#[test]
fn the_host_sends_every_vector_byte_for_byte_ahead_of_time() {
    for vector in vectors().sessions.into_iter().filter(|vector| !vector.card_only) {
        let name = &vector.name;
        let keys = key_set(vector.key_version, &vector.key_enc, &vector.key_mac, &vector.key_dek);
        let level = Level::from_byte(x(&vector.level)[0]).unwrap();
        let answer = x(&vector.initialize_update_answer);
        let mut session = host::Session::open(&keys, level, &x(&vector.host_challenge), &answer).expect(name);
        let mut out = [0; 64];
        assert_eq!(session.external_authenticate(&mut out).unwrap(), x(&vector.external_authenticate), "{name}");

        let mut tickets = Vec::new();
        for exchange in &vector.exchanges {
            let plain = x(&exchange.command);
            let mut out = [0; 300];
            let (wrapped, ticket) = session.wrap(&Command::parse(&plain).unwrap(), &mut out).unwrap();
            assert_eq!(hex::encode_upper(wrapped), exchange.wrapped_command, "{name}");
            tickets.push(ticket);
        }
        for (exchange, ticket) in vector.exchanges.iter().zip(tickets) {
            let mut bytes = x(&exchange.wrapped_answer);
            let plain = x(&exchange.answer);
            let answer = session.unwrap(ticket, &mut bytes).expect(name);
            let expected = Response::parse(&plain).unwrap();
            assert_eq!((answer.data, answer.status), (expected.data, expected.status), "{name}");
            assert_eq!(answer.authentic, level.has_r_mac() && !expected.status.is_error(), "{name}");
        }
    }
}

#[test]
fn every_mode_key_size_and_level_has_its_vector() {
    let sessions = vectors().sessions;
    for mode in [Mode::S8, Mode::S16] {
        for key_bytes in [16, 24, 32] {
            for level in Level::ALL {
                assert!(sessions.iter().any(|vector| vector.exchanges.len() >= 6
                    && vector.host_challenge.len() == 2 * mode.mac_bytes()
                    && vector.key_enc.len() == 2 * key_bytes
                    && x(&vector.level)[0] == level.to_byte()));
            }
        }
    }
}

#[test]
fn keys_are_derived_as_another_implementation_derives_them() {
    for vector in vectors().key_derivation {
        let mut out = vec![0; vector.output.len() / 2];
        kdf::derive(&x(&vector.master), vector.label.as_bytes(), &x(&vector.context), &mut out).unwrap();
        assert_eq!(hex::encode_upper(out), vector.output);
    }
}

#[test]
fn a_master_key_or_output_of_a_wrong_length_is_refused() {
    assert_eq!(kdf::derive(&[0; 15], b"", b"", &mut [0; 16]), Err(kdf::Error::BadKeyLength));
    assert_eq!(kdf::derive(&[0; 16], b"", b"", &mut []), Err(kdf::Error::BadOutputLength));
    let mut long = vec![0; kdf::MAX_OUTPUT_BYTES + 1];
    assert_eq!(kdf::derive(&[0; 16], b"", b"", &mut long), Err(kdf::Error::BadOutputLength));
}

#[test]
fn put_key_is_built_and_read_as_the_vectors_say() {
    for vector in vectors().put_key {
        let dek = AesKey::new(&x(&vector.dek)).unwrap();
        let keys = key_set(vector.key_version, &vector.key_enc, &vector.key_mac, &vector.key_dek);
        let mut out = [0; put_key::MAX_DATA_BYTES];
        let data = put_key::build(&dek, &keys, &mut out).unwrap();
        assert_eq!(hex::encode_upper(data), vector.data);
        assert_eq!(put_key::parse(&dek, data), Ok(keys.clone()));
        assert_eq!(hex::encode_upper(put_key::answer(&keys)), vector.answer);
        assert_eq!(put_key::check_answer(&keys, &x(&vector.answer)), Ok(()));
    }
}

#[test]
fn put_key_refuses_any_changed_byte() {
    for vector in vectors().put_key {
        let dek = AesKey::new(&x(&vector.dek)).unwrap();
        let good = x(&vector.data);
        // The first byte is the key version, which nothing in the data field vouches for; the channel does.
        // The last bytes of a 192-bit key are filling and mean nothing.
        let fillings: &[_] = if vector.dek.len() == 48 { &[28..36, 67..75, 106..114] } else { &[] };
        for at in (1..good.len()).filter(|at| !fillings.iter().any(|filling| filling.contains(at))) {
            let mut bad = good.clone();
            bad[at] ^= 0x01;
            assert!(put_key::parse(&dek, &bad).is_err(), "byte {at}");
        }
        for cut in 0..good.len() {
            assert!(put_key::parse(&dek, &good[..cut]).is_err());
        }
        assert_eq!(put_key::parse(&dek, &[&good[..], &[0]].concat()), Err(put_key::Error::Malformed));
        let mut answer = x(&vector.answer);
        answer[4] ^= 1;
        let keys = put_key::parse(&dek, &good).unwrap();
        assert_eq!(put_key::check_answer(&keys, &answer), Err(put_key::Error::CheckValue));
    }
}

//! Card and host talk to each other in every mode, with every key size, at every level; what was changed on
//! the way is refused; and the host's session can be rebuilt.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use proptest::prelude::*;
use protocol::apdu::{Command, StatusWord};
use protocol::scp03::*;

const AID: [u8; 9] = protocol::applet::AID;

fn keys(key_bytes: usize) -> KeySet {
    let bytes: Vec<u8> = (0..96).collect();
    KeySet::from_bytes(3, &bytes[..key_bytes], &bytes[32..32 + key_bytes], &bytes[64..64 + key_bytes]).unwrap()
}

fn host_challenge(mode: Mode) -> Vec<u8> {
    vec![0xA5; mode.mac_bytes()]
}

/// INITIALIZE UPDATE, card's side.
fn initialize(keys: &KeySet, mode: Mode, sequence: Option<u32>) -> (card::Handshake, Vec<u8>) {
    let mut out = [0; MAX_INITIALIZE_UPDATE_BYTES];
    let challenge = match sequence {
        Some(sequence) => card::Challenge::PseudoRandom { sequence, aid: &AID },
        None => card::Challenge::Random(&[0x3C; 16]),
    };
    let (handshake, length) =
        card::Handshake::start(keys, &[1; 10], &host_challenge(mode), challenge, &mut out).unwrap();
    (handshake, out[..length].to_vec())
}

struct Pair {
    host: host::Session,
    card: card::Session,
}

fn open(mode: Mode, key_bytes: usize, level: Level) -> Pair {
    let keys = keys(key_bytes);
    let (handshake, answer) = initialize(&keys, mode, Some(5));
    let mut host = host::Session::open(&keys, level, &host_challenge(mode), &answer).unwrap();
    let mut out = [0; MAX_EXTERNAL_AUTHENTICATE_BYTES];
    let card = handshake.authenticate(host.external_authenticate(&mut out).unwrap()).unwrap();
    Pair { host, card }
}

fn wrapped(host: &mut host::Session, command: &Command<'_>) -> (Vec<u8>, host::Ticket) {
    let mut out = [0; 700];
    let (apdu, ticket) = host.wrap(command, &mut out).unwrap();
    (apdu.to_vec(), ticket)
}

fn answered(card: &mut card::Session, data: &[u8], status: StatusWord) -> Vec<u8> {
    let mut buffer = [0; 700];
    buffer[..data.len()].copy_from_slice(data);
    let length = card.wrap_answer(&mut buffer, data.len(), status).unwrap();
    buffer[..length].to_vec()
}

fn any_mode() -> impl Strategy<Value = Mode> {
    prop_oneof![Just(Mode::S8), Just(Mode::S16)]
}

fn any_level() -> impl Strategy<Value = Level> {
    prop::sample::select(Level::ALL.to_vec())
}

fn any_status() -> impl Strategy<Value = StatusWord> {
    prop_oneof![
        Just(StatusWord::OK),
        Just(StatusWord::tries_left(2)),
        Just(StatusWord::new(0x6282)),
        Just(StatusWord::CONDITIONS_OF_USE),
        Just(StatusWord::BUDGET_USED_UP),
    ]
}

#[derive(Clone, Debug)]
struct Exchange {
    class: u8,
    command: Vec<u8>,
    le: Option<u32>,
    answer: Vec<u8>,
    status: StatusWord,
}

fn any_exchange() -> impl Strategy<Value = Exchange> {
    (
        prop::sample::select(vec![0x00_u8, 0x80, 0x01, 0x83, 0x40, 0xC7]),
        prop::collection::vec(any::<u8>(), 0..300),
        prop::option::of(1_u32..=65_536),
        prop::collection::vec(any::<u8>(), 0..300),
        any_status(),
    )
        .prop_map(|(class, command, le, answer, status)| Exchange { class, command, le, answer, status })
}

proptest! {
    #[test]
    fn card_and_host_understand_each_other(
        mode in any_mode(),
        key_bytes in prop::sample::select(vec![16_usize, 24, 32]),
        level in any_level(),
        exchanges in prop::collection::vec(any_exchange(), 1..6),
    ) {
        let Pair { mut host, mut card } = open(mode, key_bytes, level);
        prop_assert_eq!((host.level(), card.level()), (level, level));
        for exchange in exchanges {
            let mut command = Command::new(exchange.class, 0xE2, 0x80, 0x01).with_data(&exchange.command);
            command.le = exchange.le;
            let (mut apdu, ticket) = wrapped(&mut host, &command);
            if level.has_c_enc() && exchange.command.len() >= 16 {
                let first = &exchange.command[..16];
                prop_assert!(!apdu.windows(16).any(|window| window == first), "the data are readable");
            }
            prop_assert_eq!(card.unwrap(&mut apdu), Ok(command));

            // An error status carries no data in an application that keeps to the specification.
            let data = if exchange.status.is_error() { &[][..] } else { &exchange.answer };
            let mut bytes = answered(&mut card, data, exchange.status);
            let answer = host.unwrap(ticket, &mut bytes).unwrap();
            prop_assert_eq!((answer.data, answer.status), (data, exchange.status));
            prop_assert_eq!(answer.authentic, level.has_r_mac() && !exchange.status.is_error());
        }
    }

    #[test]
    fn any_flipped_bit_of_a_command_is_refused_and_ends_the_session(
        mode in any_mode(),
        key_bytes in prop::sample::select(vec![16_usize, 24, 32]),
        level in any_level().prop_filter("secured", |level| level.has_c_mac()),
        data in prop::collection::vec(any::<u8>(), 0..40),
        at in any::<prop::sample::Index>(),
        bit in 0_u8..8,
    ) {
        let Pair { mut host, mut card } = open(mode, key_bytes, level);
        let (good, _) = wrapped(&mut host, &Command::new(0x80, 0xE2, 0x80, 0).with_data(&data));
        let mut bad = good.clone();
        let at = at.index(bad.len());
        bad[at] ^= 1 << bit;
        match card.unwrap(&mut bad) {
            // In the class byte: the command no longer says it is secured, which the card refuses too; or
            // the flip moves it to another logical channel, which the specification leaves out of the MAC.
            Err(Error::NotSecured) => prop_assert!(at == 0 && card.is_open()),
            Ok(command) => prop_assert!(at == 0 && command.data == data && command.class.channel() != 0),
            Err(Error::Apdu(_)) => prop_assert!(at == 4 && card.is_open()),
            Err(error) => {
                prop_assert_eq!(error, Error::Mac);
                prop_assert!(!card.is_open());
                let mut good = good;
                prop_assert_eq!(card.unwrap(&mut good), Err(Error::Closed));
                prop_assert_eq!(card.wrap_answer(&mut [0; 64], 0, StatusWord::OK), Err(Error::Closed));
            }
        }
    }

    #[test]
    fn any_flipped_bit_of_an_answer_is_refused_and_ends_the_session(
        mode in any_mode(),
        key_bytes in prop::sample::select(vec![16_usize, 24, 32]),
        level in any_level().prop_filter("answers with a MAC", |level| level.has_r_mac()),
        data in prop::collection::vec(any::<u8>(), 0..40),
        at in any::<prop::sample::Index>(),
        bit in 0_u8..8,
    ) {
        let Pair { mut host, mut card } = open(mode, key_bytes, level);
        let (mut apdu, ticket) = wrapped(&mut host, &Command::new(0x00, 0xCA, 0xDF, 0x23).with_le(256));
        let (_, next) = wrapped(&mut host, &Command::new(0x00, 0xCA, 0xDF, 0x23).with_le(256));
        card.unwrap(&mut apdu).unwrap();
        let mut good = answered(&mut card, &data, StatusWord::OK);
        let mut bad = good.clone();
        let at = at.index(bad.len());
        bad[at] ^= 1 << bit;
        // A status changed to an error is caught by the data and MAC that such a status cannot have.
        prop_assert_eq!(host.unwrap(ticket, &mut bad), Err(Error::Mac));
        prop_assert!(!host.is_open());
        prop_assert_eq!(host.unwrap(next, &mut good), Err(Error::Closed));
    }

    #[test]
    fn any_flipped_bit_of_the_handshake_is_refused(
        mode in any_mode(),
        key_bytes in prop::sample::select(vec![16_usize, 24, 32]),
        level in any_level(),
        at in any::<prop::sample::Index>(),
        bit in 0_u8..8,
    ) {
        let keys = keys(key_bytes);
        let (handshake, answer) = initialize(&keys, mode, None);
        let mut host = host::Session::open(&keys, level, &host_challenge(mode), &answer).unwrap();
        let mut out = [0; MAX_EXTERNAL_AUTHENTICATE_BYTES];
        let mut bad = host.external_authenticate(&mut out).unwrap().to_vec();
        let place = at.index(bad.len());
        bad[place] ^= 1 << bit;
        let refused = handshake.authenticate(&bad);
        // The logical channel (two lowest bits of the class) is left out of the MAC by the specification.
        prop_assert!(refused.is_err() || (place == 0 && (bad[0] ^ 0x84) & !0x03 == 0), "{refused:?}");

        // From challenge to cryptogram every bit of the card's answer counts.
        let mut bad = answer;
        let place = 13 + at.index(2 * mode.mac_bytes());
        bad[place] ^= 1 << bit;
        let refused = host::Session::open(&keys, level, &host_challenge(mode), &bad).map(|_| ());
        prop_assert_eq!(refused, Err(Error::CardCryptogram));
    }

    #[test]
    fn any_bytes_are_taken_without_a_panic(
        mode in any_mode(),
        level in any_level(),
        mut bytes in prop::collection::vec(any::<u8>(), 0..300),
        length in 0_usize..300,
    ) {
        let Pair { mut host, mut card } = open(mode, 16, level);
        let (mut apdu, ticket) = wrapped(&mut host, &Command::new(0x80, 0xE2, 0, 0));
        let _ = host.unwrap(ticket, &mut bytes.clone());
        let _ = card.unwrap(&mut bytes.clone());
        let _ = card.unwrap(&mut apdu);
        let _ = card.wrap_answer(&mut bytes, length, StatusWord::OK);
        let _ = host::InitializeUpdateAnswer::parse(&bytes);
        let _ = protocol::put_key::parse(keys(16).dek(), &bytes);
        let _ = initialize(&keys(16), mode, None).0.authenticate(&bytes);
    }
}

#[test]
fn a_session_rebuilt_from_what_was_exchanged_reads_the_answers() {
    let keys = keys(16);
    let (handshake, initialize_update) = initialize(&keys, Mode::S8, Some(9));
    let orders = [&[1_u8; 30][..], &[2; 5], &[]];

    // Request 1: open, authenticate, wrap everything ahead of time; then forget the session.
    let wrap_all = || {
        let mut host = host::Session::open(&keys, Level::Full, &host_challenge(Mode::S8), &initialize_update).unwrap();
        let mut out = [0; MAX_EXTERNAL_AUTHENTICATE_BYTES];
        let mut script = vec![host.external_authenticate(&mut out).unwrap().to_vec()];
        let mut tickets = Vec::new();
        for order in orders {
            let (apdu, ticket) = wrapped(&mut host, &Command::new(0x80, 0xE2, 0x80, 0).with_data(order));
            script.push(apdu);
            tickets.push(ticket);
        }
        (host, script, tickets)
    };
    let (_, script, _) = wrap_all();

    let mut card = handshake.authenticate(&script[0]).unwrap();
    let mut answers = Vec::new();
    for (apdu, order) in script[1..].iter().zip(orders) {
        assert_eq!(card.unwrap(&mut apdu.clone()).unwrap().data, order);
        answers.push(answered(&mut card, order, StatusWord::OK));
    }

    // Request 2: the same session again, byte for byte, reads the answers.
    let (mut host, again, tickets) = wrap_all();
    assert_eq!(again, script);
    for ((mut answer, ticket), order) in answers.into_iter().zip(tickets).zip(orders) {
        let answer = host.unwrap(ticket, &mut answer).unwrap();
        assert_eq!((answer.data, answer.status, answer.authentic), (order, StatusWord::OK, true));
    }
}

#[test]
fn the_answer_to_another_command_is_refused() {
    let Pair { mut host, mut card } = open(Mode::S8, 16, Level::Full);
    let command = Command::new(0x80, 0xE2, 0x80, 0);
    let (mut first, first_ticket) = wrapped(&mut host, &command);
    let (_, second_ticket) = wrapped(&mut host, &command);
    card.unwrap(&mut first).unwrap();
    let answer = answered(&mut card, b"", StatusWord::OK);
    assert_eq!(host.unwrap(second_ticket, &mut answer.clone()), Err(Error::Mac));
    assert_eq!(host.unwrap(first_ticket, &mut answer.clone()), Err(Error::Closed));
}

#[test]
fn a_command_repeated_left_out_or_reordered_ends_the_session() {
    let command = Command::new(0x80, 0xE2, 0x80, 0).with_data(b"order");
    for order in [&[0, 0][..], &[1], &[0, 2]] {
        let Pair { mut host, mut card } = open(Mode::S8, 16, Level::CMac);
        let script: Vec<_> = (0..3).map(|_| wrapped(&mut host, &command).0).collect();
        let (last, before) = order.split_last().unwrap();
        for place in before {
            let place: usize = *place;
            card.unwrap(&mut script[place].clone()).unwrap();
        }
        assert_eq!(card.unwrap(&mut script[*last].clone()), Err(Error::Mac), "{order:?}");
        assert!(!card.is_open());
    }
}

#[test]
fn a_recorded_session_does_not_fit_the_next_challenge() {
    let keys = keys(16);
    let (_, answer) = initialize(&keys, Mode::S8, Some(7));
    let mut host = host::Session::open(&keys, Level::Full, &host_challenge(Mode::S8), &answer).unwrap();
    let mut out = [0; MAX_EXTERNAL_AUTHENTICATE_BYTES];
    let recorded = host.external_authenticate(&mut out).unwrap();
    let (next, next_answer) = initialize(&keys, Mode::S8, Some(8));
    assert_ne!(answer, next_answer);
    assert!(matches!(next.authenticate(recorded), Err(Error::Mac)));
}

#[test]
fn a_command_in_the_clear_is_refused_and_leaves_the_session_open() {
    let Pair { mut host, mut card } = open(Mode::S8, 16, Level::CMac);
    assert_eq!(card.unwrap(&mut [0x80, 0x30, 0, 0]), Err(Error::NotSecured));
    let (mut apdu, _) = wrapped(&mut host, &Command::new(0x80, 0x30, 0, 0));
    assert!(card.unwrap(&mut apdu).is_ok());
}

#[test]
fn an_answer_takes_its_turn_after_its_command() {
    let Pair { mut host, mut card } = open(Mode::S8, 16, Level::Full);
    let mut buffer = [0; 64];
    assert_eq!(card.wrap_answer(&mut buffer, 0, StatusWord::OK), Err(Error::OutOfOrder));
    let (mut apdu, _) = wrapped(&mut host, &Command::new(0x80, 0x30, 0, 0));
    card.unwrap(&mut apdu).unwrap();
    assert!(card.wrap_answer(&mut buffer, 0, StatusWord::OK).is_ok());
    assert_eq!(card.wrap_answer(&mut buffer, 0, StatusWord::OK), Err(Error::OutOfOrder));
}

#[test]
fn the_host_authenticates_first_and_once() {
    let keys = keys(16);
    let (_, answer) = initialize(&keys, Mode::S8, None);
    let mut host = host::Session::open(&keys, Level::Full, &host_challenge(Mode::S8), &answer).unwrap();
    let mut out = [0; 64];
    assert_eq!(host.wrap(&Command::new(0x80, 0x30, 0, 0), &mut out).map(|_| ()), Err(Error::OutOfOrder));
    host.external_authenticate(&mut out).unwrap();
    assert_eq!(host.external_authenticate(&mut out), Err(Error::OutOfOrder));
}

#[test]
fn a_host_or_card_with_other_keys_is_refused() {
    let (ours, theirs) = (keys(16), KeySet::from_bytes(3, &[9; 16], &[8; 16], &[7; 16]).unwrap());
    let (handshake, answer) = initialize(&ours, Mode::S8, None);
    let opened = host::Session::open(&theirs, Level::Full, &host_challenge(Mode::S8), &answer);
    assert!(matches!(opened, Err(Error::CardCryptogram)));

    let (_, their_answer) = initialize(&theirs, Mode::S8, None);
    let mut host = host::Session::open(&theirs, Level::Full, &host_challenge(Mode::S8), &their_answer).unwrap();
    let mut out = [0; 64];
    let error = handshake.authenticate(host.external_authenticate(&mut out).unwrap()).unwrap_err();
    assert_eq!(error, Error::Mac);
    assert_eq!(error.status(), StatusWord::SECURITY_STATUS);
}

#[test]
fn a_right_mac_does_not_make_up_for_a_wrong_host_cryptogram() {
    let keys = keys(16);
    let (handshake, answer) = initialize(&keys, Mode::S8, None);
    let parsed = host::InitializeUpdateAnswer::parse(&answer).unwrap();
    let constant = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x06, 0x00, 0x00, 0x80, 0x01];
    let s_mac = keys.mac().cmac(&[&constant, &host_challenge(Mode::S8), parsed.card_challenge]);
    let forged = [0x84, 0x82, 0x33, 0x00, 0x10, 0, 0, 0, 0, 0, 0, 0, 0];
    let mac = AesKey::new(&s_mac).unwrap().cmac(&[&[0; 16], &forged]);
    let error = handshake.authenticate(&[&forged[..], &mac[..8]].concat()).unwrap_err();
    assert_eq!(error, Error::HostCryptogram);
    assert_eq!(error.status(), StatusWord::AUTHENTICATION_FAILED);
}

#[test]
fn an_error_with_data_beside_it_is_refused_and_one_without_is_not_authentic() {
    let Pair { mut host, .. } = open(Mode::S8, 16, Level::Full);
    let command = Command::new(0x00, 0xCA, 0xDF, 0x23).with_le(256);
    let (_, ticket) = wrapped(&mut host, &command);
    let mut bare = [0x69, 0x85];
    let answer = host.unwrap(ticket, &mut bare).unwrap();
    assert_eq!((answer.data, answer.authentic), (&[][..], false));
    let (_, ticket) = wrapped(&mut host, &command);
    assert_eq!(host.unwrap(ticket, &mut [1, 2, 0x69, 0x85]), Err(Error::Mac));
}

#[test]
fn success_without_a_mac_is_refused() {
    let Pair { mut host, .. } = open(Mode::S8, 16, Level::CMacRMac);
    let (_, ticket) = wrapped(&mut host, &Command::new(0x80, 0xE2, 0x80, 0));
    assert_eq!(host.unwrap(ticket, &mut [0x90, 0x00]), Err(Error::Mac));
}

#[test]
fn an_error_answer_of_the_card_carries_no_data() {
    let Pair { mut host, mut card } = open(Mode::S8, 16, Level::Full);
    let (mut apdu, _) = wrapped(&mut host, &Command::new(0x80, 0x30, 0, 0));
    card.unwrap(&mut apdu).unwrap();
    assert_eq!(answered(&mut card, b"secret", StatusWord::WRONG_DATA), [0x6A, 0x80]);
}

#[test]
fn the_parameter_i_says_mode_and_challenge() {
    for (mode, sequence, i) in
        [(Mode::S8, None, 0x60), (Mode::S16, None, 0x61), (Mode::S8, Some(1), 0x70), (Mode::S16, Some(1), 0x71)]
    {
        let (_, answer) = initialize(&keys(16), mode, sequence);
        let parsed = host::InitializeUpdateAnswer::parse(&answer).unwrap();
        assert_eq!((answer[12], parsed.parameters.to_byte()), (i, i));
        assert_eq!(parsed.key_version, 3);
        assert_eq!(parsed.sequence.is_some(), sequence.is_some());
    }
    for reserved in [0x02, 0x80, 0x40, 0x50] {
        assert_eq!(Parameters::from_byte(reserved), None);
    }
}

#[test]
fn a_level_the_card_cannot_do_is_refused_before_anything_is_sent() {
    let keys = keys(16);
    let (_, mut answer) = initialize(&keys, Mode::S8, None);
    answer[12] = 0x20;
    let opened = host::Session::open(&keys, Level::Full, &host_challenge(Mode::S8), &answer);
    assert!(matches!(opened, Err(Error::BadLevel)));
    answer[12] = 0x00;
    let opened = host::Session::open(&keys, Level::CMacRMac, &host_challenge(Mode::S8), &answer);
    assert!(matches!(opened, Err(Error::BadLevel)));
    assert!(host::Session::open(&keys, Level::CMacCEnc, &host_challenge(Mode::S8), &answer).is_ok());
}

#[test]
fn a_card_that_falls_back_to_a_shorter_mode_is_refused() {
    let keys = keys(16);
    let (_, answer) = initialize(&keys, Mode::S8, None);
    let opened = host::Session::open(&keys, Level::Full, &host_challenge(Mode::S16), &answer);
    assert!(matches!(opened, Err(Error::BadChallenge)));
}

#[test]
fn a_level_that_does_not_exist_is_refused() {
    for byte in 0..=u8::MAX {
        let known = [0x00, 0x01, 0x03, 0x11, 0x13, 0x33].contains(&byte);
        assert_eq!(Level::from_byte(byte).is_some(), known, "{byte:02X}");
    }
}

#[test]
fn the_sequence_counter_ends_at_24_bits() {
    let challenge = card::Challenge::PseudoRandom { sequence: 0x100_0000, aid: &AID };
    let started = card::Handshake::start(&keys(16), &[0; 10], &[0; 8], challenge, &mut [0; 64]);
    assert!(matches!(started, Err(Error::Exhausted)));
    let started = card::Handshake::start(&keys(16), &[0; 10], &[0; 9], card::Challenge::Random(&[0; 16]), &mut [0; 64]);
    assert!(matches!(started, Err(Error::BadChallenge)));
}

#[test]
fn keys_of_wrong_or_mixed_length_make_no_set() {
    assert_eq!(KeySet::from_bytes(1, &[0; 15], &[0; 16], &[0; 16]), Err(Error::BadKeyLength));
    assert_eq!(KeySet::from_bytes(1, &[0; 16], &[0; 24], &[0; 16]), Err(Error::BadKeyLength));
    assert_eq!(KeySet::from_bytes(1, &[0; 16], &[0; 16], &[0; 32]), Err(Error::BadKeyLength));
}

#[test]
fn keys_do_not_show_in_debug_output() {
    let Pair { host, card } = open(Mode::S8, 16, Level::Full);
    let (handshake, _) = initialize(&keys(16), Mode::S8, None);
    let shown = format!("{:?} {host:?} {card:?} {handshake:?}", keys(16));
    assert_eq!(
        shown,
        "KeySet { version: 3, enc: AesKey(128 bits), .. } \
         Session { mode: S8, level: Full, open: true, .. } \
         Session { mode: S8, level: Full, open: true, .. } Handshake { mode: S8, .. }"
    );
}

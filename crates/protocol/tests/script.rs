//! Scripts, results and outcomes: written and read back the same, run with the right stops, run once when
//! received twice, and nothing malformed accepted.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use proptest::prelude::*;
use protocol::script::*;

const SESSION: SessionId = SessionId([0x5A; 16]);

fn script_of(commands: &[(&[u8], bool)], number: u16) -> Vec<u8> {
    let mut buffer = [0; MAX_MESSAGE_BYTES];
    let mut writer = ScriptWriter::new(&mut buffer, SESSION, number, 30).unwrap();
    for (apdu, continue_on_failure) in commands {
        writer.push(apdu, *continue_on_failure).unwrap();
    }
    writer.finish().unwrap().to_vec()
}

fn decode_script(bytes: &[u8]) -> Script<'_> {
    match Message::decode(bytes).unwrap() {
        Message::Script(script) => script,
        other => panic!("{other:?}"),
    }
}

/// Runs three commands, the chip answering as told; gives the answers the cloud sees.
fn run(flags: [bool; 3], answers: [Option<&[u8]>; 3]) -> Vec<Option<Vec<u8>>> {
    let bytes = script_of(&[(&[1], flags[0]), (&[2], flags[1]), (&[3], flags[2])], 1);
    let mut out = [0; MAX_MESSAGE_BYTES];
    let results = decode_script(&bytes)
        .run(&mut out, |apdu, answer| {
            let said = answers[usize::from(apdu[0]) - 1]?;
            answer[..said.len()].copy_from_slice(said);
            Some(said.len())
        })
        .unwrap();
    match Message::decode(results).unwrap() {
        Message::Results(results) => {
            assert_eq!((results.session, results.number), (SESSION, 1));
            results.responses().map(|answer| answer.map(<[u8]>::to_vec)).collect()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_script_has_its_documented_bytes() {
    let bytes = script_of(&[(&[0x80, 0x30, 0, 0], true), (&[0, 0xCA, 0x9F, 0x70, 0], false)], 2);
    let expected = format!("0101{}00021E020100048030000000000500CA9F7000", "5A".repeat(16));
    assert_eq!(hex::encode_upper(&bytes), expected);
    let script = decode_script(&bytes);
    assert_eq!((script.number, script.progress_percent, script.len()), (2, 30, 2));
    let commands: Vec<_> = script.commands().collect();
    assert_eq!(commands[0], ScriptCommand { apdu: &[0x80, 0x30, 0, 0], continue_on_failure: true });
    assert!(!commands[1].continue_on_failure);
}

#[test]
fn a_script_runs_to_its_end_when_all_goes_well() {
    let ok: &[u8] = &[0x90, 0x00];
    let data: &[u8] = &[1, 2, 0x90, 0x00];
    assert_eq!(
        run([false; 3], [Some(ok), Some(data), Some(ok)]),
        [Some(ok.to_vec()), Some(data.to_vec()), Some(ok.to_vec())]
    );
}

#[test]
fn a_script_stops_at_the_first_failure_unless_the_command_goes_on_regardless() {
    let (ok, refused): (&[u8], &[u8]) = (&[0x90, 0x00], &[0x69, 0x82]);
    assert_eq!(run([false; 3], [Some(ok), Some(refused), Some(ok)]).len(), 2);
    assert_eq!(run([false, true, false], [Some(ok), Some(refused), Some(ok)]).len(), 3);
    // A warning is not success.
    assert_eq!(run([false; 3], [Some(&[0x63, 0xC2]), Some(ok), Some(ok)]).len(), 1);
}

#[test]
fn a_chip_that_does_not_answer_stops_the_script_always() {
    let ok: &[u8] = &[0x90, 0x00];
    assert_eq!(run([true; 3], [Some(ok), None, Some(ok)]), [Some(ok.to_vec()), None]);
    // Half a status word is no answer.
    assert_eq!(run([true; 3], [Some(&[0x90]), None, Some(ok)]), [None]);
}

#[test]
fn an_answer_longer_than_its_place_is_no_answer() {
    let bytes = script_of(&[(&[1], false)], 1);
    let mut out = [0; MAX_MESSAGE_BYTES];
    let results = decode_script(&bytes).run(&mut out, |_, answer| Some(answer.len() + 1)).unwrap();
    let Message::Results(results) = Message::decode(results).unwrap() else { panic!() };
    assert_eq!(results.responses().collect::<Vec<_>>(), [None]);
}

#[test]
fn a_script_whose_answers_no_longer_fit_stops_before_the_next_command() {
    let bytes = script_of(&[(&[1_u8][..], false); MAX_COMMANDS], 1);
    let mut out = [0; MAX_MESSAGE_BYTES];
    let mut ran = 0;
    let results = decode_script(&bytes)
        .run(&mut out, |_, answer| {
            ran += 1;
            answer.fill(0);
            answer[MAX_ANSWER_BYTES - 2] = 0x90;
            Some(MAX_ANSWER_BYTES)
        })
        .unwrap();
    let Message::Results(results) = Message::decode(results).unwrap() else { panic!() };
    assert_eq!((ran, results.len()), (7, 7));
    let mut small = [0; 100];
    assert_eq!(decode_script(&bytes).run(&mut small, |_, _| None), Err(Error::NoRoom));
}

#[test]
fn a_script_is_bounded_in_number_and_length() {
    let mut buffer = [0; 4 * MAX_MESSAGE_BYTES];
    let mut writer = ScriptWriter::new(&mut buffer, SESSION, 1, 0).unwrap();
    for _ in 0..MAX_COMMANDS {
        writer.push(&[1], false).unwrap();
    }
    assert_eq!(writer.push(&[1], false), Err(Error::BadCount));
    assert_eq!(decode_script(writer.finish().unwrap()).len(), MAX_COMMANDS);

    let mut writer = ScriptWriter::new(&mut buffer, SESSION, 1, 0).unwrap();
    assert_eq!(writer.push(&[1; MAX_MESSAGE_BYTES - 24], false), Err(Error::NoRoom));
    assert_eq!(writer.push(&[], false), Err(Error::BadLength));
    assert_eq!(writer.finish(), Err(Error::BadCount));
    assert_eq!(Message::decode(&[1; MAX_MESSAGE_BYTES + 1]), Err(Error::BadLength));
    assert_eq!(ScriptWriter::new(&mut buffer, SESSION, 0, 0).map(|_| ()), Err(Error::BadValue));
    assert_eq!(ScriptWriter::new(&mut buffer, SESSION, 1, 101).map(|_| ()), Err(Error::BadValue));
}

#[test]
fn a_malformed_script_is_refused_whole() {
    let good = script_of(&[(&[0x80, 0x30, 0, 0], true)], 2);
    for (at, value, error) in [
        (0, 2, Error::UnknownVersion),
        (1, 9, Error::UnknownKind),
        (19, 0, Error::BadValue),
        (20, 101, Error::BadValue),
        (21, 0, Error::BadCount),
        (21, 17, Error::BadCount),
        (21, 2, Error::BadLength),
        (22, 2, Error::BadValue),
        (24, 3, Error::BadLength),
        (24, 5, Error::BadLength),
        (24, 0, Error::BadLength),
    ] {
        let mut bad = good.clone();
        bad[at] = value;
        assert_eq!(Message::decode(&bad), Err(error), "byte {at} = {value}");
    }
    for cut in 0..good.len() {
        assert_eq!(Message::decode(&good[..cut]), Err(Error::BadLength), "cut at {cut}");
    }
}

#[test]
fn an_outcome_is_written_and_read_back() {
    let mut out = [0; 128];
    let done = Outcome::Done { session: SESSION, account_label: "王*明" };
    let bytes = done.encode(&mut out).unwrap().to_vec();
    assert_eq!(hex::encode_upper(&bytes), format!("0103{}0007E78E8B2AE6988E", "5A".repeat(16)));
    assert_eq!(Message::decode(&bytes), Ok(Message::Outcome(done)));
    let failed = Outcome::Failed { session: SESSION, code: "binding_expired" };
    assert_eq!(Message::decode(failed.encode(&mut out).unwrap()), Ok(Message::Outcome(failed)));

    for bad in [
        Outcome::Failed { session: SESSION, code: "" },
        Outcome::Failed { session: SESSION, code: "With Spaces" },
        Outcome::Done { session: SESSION, account_label: "a\u{7}" },
    ] {
        assert_eq!(bad.encode(&mut out), Err(Error::BadValue));
    }
    let mut unknown = bytes;
    unknown[18] = 2;
    assert_eq!(Message::decode(&unknown), Err(Error::BadValue));
}

#[test]
fn a_script_received_twice_is_run_once() {
    let (first, second, third) =
        (script_of(&[(&[1], false)], 1), script_of(&[(&[1], false)], 2), script_of(&[(&[1], false)], 3));
    let mut other = first.clone();
    other[5] ^= 1;
    let mut other_second = second.clone();
    other_second[5] ^= 1;
    let [first, second, third, other, other_second] =
        [&first, &second, &third, &other, &other_second].map(|bytes| decode_script(bytes));

    let mut memory = Memory::new();
    assert_eq!(memory.judge(&first), Verdict::Run);
    memory.ran(&first);
    assert_eq!(memory.judge(&first), Verdict::AnswerAgain);
    assert_eq!(memory.judge(&third), Verdict::Drop);
    assert_eq!(memory.judge(&second), Verdict::Run);
    memory.ran(&second);
    assert_eq!(memory.judge(&first), Verdict::Drop);
    // A new session begins with its first script, and with no other.
    assert_eq!(memory.judge(&other_second), Verdict::Drop);
    assert_eq!(memory.judge(&other), Verdict::Run);
    // After a restart any script is run; the chip knows whether it may.
    memory.forget();
    assert_eq!(memory.judge(&second), Verdict::Run);
}

#[test]
fn debug_output_shows_no_command_and_no_answer() {
    let bytes = script_of(&[(&[0xAB, 0xCD, 0xEF], false)], 1);
    let script = decode_script(&bytes);
    let shown = format!("{script:?} {:?}", script.commands().collect::<Vec<_>>());
    assert!(!shown.contains("171") && shown.contains("ScriptCommand(3 bytes)"), "{shown}");
}

proptest! {
    #[test]
    fn any_script_is_written_and_read_back(
        session in any::<[u8; 16]>(),
        number in 1..=u16::MAX,
        progress in 0_u8..=100,
        commands in prop::collection::vec((prop::collection::vec(any::<u8>(), 1..100), any::<bool>()), 1..=16),
    ) {
        let mut buffer = [0; MAX_MESSAGE_BYTES];
        let mut writer = ScriptWriter::new(&mut buffer, SessionId(session), number, progress).unwrap();
        for (apdu, flag) in &commands {
            writer.push(apdu, *flag).unwrap();
        }
        let script = match Message::decode(writer.finish().unwrap()).unwrap() {
            Message::Script(script) => script,
            other => panic!("{other:?}"),
        };
        prop_assert_eq!((script.session, script.number, script.progress_percent), (SessionId(session), number, progress));
        let read: Vec<_> = script.commands().map(|c| (c.apdu.to_vec(), c.continue_on_failure)).collect();
        prop_assert_eq!(read, commands);
    }

    #[test]
    fn any_results_are_written_and_read_back(
        number in 1..=u16::MAX,
        answers in prop::collection::vec(prop::option::of(prop::collection::vec(any::<u8>(), 2..100)), 1..=16),
    ) {
        let mut buffer = [0; MAX_MESSAGE_BYTES];
        let mut writer = ResultsWriter::new(&mut buffer, SESSION, number).unwrap();
        for answer in &answers {
            writer.push(answer.as_deref()).unwrap();
        }
        let results = match Message::decode(writer.finish()).unwrap() {
            Message::Results(results) => results,
            other => panic!("{other:?}"),
        };
        let read: Vec<_> = results.responses().map(|a| a.map(<[u8]>::to_vec)).collect();
        prop_assert_eq!((results.number, read), (number, answers));
    }

    #[test]
    fn any_bytes_are_decoded_without_a_panic(
        kind in 0_u8..5,
        mut bytes in prop::collection::vec(any::<u8>(), 0..200),
        count in 0_u8..18,
    ) {
        let _ = Message::decode(&bytes);
        if bytes.len() > 24 {
            bytes[..2].copy_from_slice(&[1, kind]);
            bytes[20..22].copy_from_slice(&[count, count]);
        }
        if let Ok(Message::Script(script)) = Message::decode(&bytes) {
            prop_assert_eq!(script.commands().count(), script.len());
        }
        if let Ok(Message::Results(results)) = Message::decode(&bytes) {
            prop_assert_eq!(results.responses().count(), results.len());
        }
    }
}

//! Framing: whatever a link does to the frames, only messages that were sent come out, and a link that works
//! again carries the next message.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use proptest::prelude::*;
use proptest::sample::Index;
use protocol::link::*;

fn frames_of(message: &[u8], number: u8, frame_bytes: usize) -> Vec<Vec<u8>> {
    let mut fragments = Fragments::new(message, number, frame_bytes).unwrap();
    let mut frames = Vec::new();
    let mut out = [0; MAX_FRAME_BYTES];
    while let Some(frame) = fragments.next_frame(&mut out).unwrap() {
        frames.push(frame.to_vec());
    }
    assert_eq!(frames.len(), fragments.count());
    frames
}

/// Feeds the frames; gives the messages that came out and how many errors there were.
fn receive<const N: usize>(receiver: &mut Reassembler<N>, frames: &[Vec<u8>]) -> (Vec<(u8, Vec<u8>)>, usize) {
    let (mut messages, mut errors) = (Vec::new(), 0);
    for frame in frames {
        match receiver.accept(frame) {
            Ok(Received::Message { number, bytes }) => messages.push((number, bytes.to_vec())),
            Ok(_) => {}
            Err(_) => errors += 1,
        }
    }
    (messages, errors)
}

#[test]
fn the_check_is_the_published_one() {
    assert_eq!(crc16(b"123456789"), 0x29B1);
    assert_eq!(crc16(b""), 0xFFFF);
}

#[test]
fn frames_have_their_documented_bytes() {
    let frames = frames_of(b"abcdefghijklmnop", 7, 20);
    let check = crc16(b"abcdefghijklmnop").to_be_bytes();
    assert_eq!(frames.len(), 2);
    assert_eq!(frames[0], [&[7, 0x00, 0x00, 0x00, 0x10][..], b"abcdefghijklmno"].concat());
    assert_eq!(frames[1], [&[7, 0x80, 0x01, 0x00, 0x10][..], b"p", &check].concat());
}

#[test]
fn a_message_of_exactly_whole_frames_ends_with_a_full_one() {
    let frames = frames_of(&[1; 28], 0, 20);
    assert_eq!(frames.iter().map(Vec::len).collect::<Vec<_>>(), [20, 20]);
    assert_eq!(receive(&mut Reassembler::<28>::new(), &frames), (vec![(0, vec![1; 28])], 0));
}

#[test]
fn a_lost_frame_gives_one_error_and_the_message_sent_again_arrives() {
    let frames = frames_of(&[9; 100], 3, 20);
    for lost in 0..frames.len() {
        let mut receiver = Reassembler::<100>::new();
        let mut damaged = frames.clone();
        damaged.remove(lost);
        let expected_errors = usize::from(lost + 1 < frames.len());
        assert_eq!(receive(&mut receiver, &damaged), (vec![], expected_errors), "lost frame {lost}");
        assert_eq!(receive(&mut receiver, &frames), (vec![(3, vec![9; 100])], 0), "lost frame {lost}");
    }
}

#[test]
fn two_frames_in_the_wrong_order_make_no_message() {
    let frames = frames_of(&(0..100).collect::<Vec<u8>>(), 3, 20);
    for at in 0..frames.len() - 1 {
        let mut swapped = frames.clone();
        swapped.swap(at, at + 1);
        let (messages, errors) = receive(&mut Reassembler::<100>::new(), &swapped);
        // The first frame come second begins the message anew, which then lacks its second.
        assert_eq!((messages, errors), (vec![], if at == 0 { 2 } else { 1 }), "swapped at {at}");
    }
}

#[test]
fn a_frame_that_is_not_the_next_of_its_message_is_refused_at_once() {
    let ours = frames_of(&[1; 60], 1, 20);
    let other_number = frames_of(&[1; 60], 2, 20);
    let other_length = frames_of(&[1; 61], 1, 20);
    for wrong in [&other_number[1], &other_length[1], &ours[2]] {
        let mut receiver = Reassembler::<61>::new();
        assert_eq!(receiver.accept(&ours[0]), Ok(Received::Incomplete));
        assert_eq!(receiver.accept(wrong), Err(Error::OutOfOrder), "{wrong:?}");
        // What follows is passed over, even where it would fit.
        assert_eq!(receive(&mut receiver, &ours[1..]), (vec![], 0));
    }
    let mut receiver = Reassembler::<61>::new();
    receiver.accept(&ours[0]).unwrap();
    receiver.accept(&ours[1]).unwrap();
    assert_eq!(receiver.accept(&ours[1]), Err(Error::OutOfOrder), "a frame repeated");
}

#[test]
fn frames_that_contradict_themselves_are_refused() {
    let good = frames_of(&[1; 40], 1, 20);
    let mut receiver = Reassembler::<40>::new();
    for bad in [
        &[][..],
        &[1, 0, 0, 0],
        &[1, 0x80, 0, 0, 0, 1],
        &[1, 0, 0, 0, 0],
        &[1, 0, 0, 0, 40],
        &[1, 0x80, 0, 0, 40, 1],
        &[1, 0, 0, 0, 1, 1, 2, 3],
        &[1, 0x80, 0, 0, 1, 1, 2, 3, 4],
        &[1; MAX_FRAME_BYTES + 1],
    ] {
        assert_eq!(receiver.accept(bad), Err(Error::BadFrame), "{bad:?}");
        assert_eq!(receive(&mut receiver, &good).0.len(), 1);
    }
    assert_eq!(receiver.accept(&frames_of(&[1; 41], 1, 20)[0]), Err(Error::TooLong));
}

#[test]
fn the_other_end_can_ask_for_a_message_again_in_the_middle_of_ours() {
    let frames = frames_of(&[1; 40], 1, 20);
    let mut receiver = Reassembler::<40>::new();
    assert_eq!(receiver.accept(&frames[0]), Ok(Received::Incomplete));
    assert_eq!(receiver.accept(&resend_request(9)), Ok(Received::ResendRequested { number: 9 }));
    assert_eq!(receive(&mut receiver, &frames[1..]), (vec![(1, vec![1; 40])], 0));
}

#[test]
fn sending_refuses_what_a_link_cannot_carry() {
    assert_eq!(Fragments::new(&[1], 0, 19).map(|_| ()), Err(Error::BadFrameSize));
    assert_eq!(Fragments::new(&[1], 0, 513).map(|_| ()), Err(Error::BadFrameSize));
    assert_eq!(Fragments::new(&[], 0, 20).map(|_| ()), Err(Error::Empty));
    assert_eq!(Fragments::new(&vec![1; 65_536], 0, 20).map(|_| ()), Err(Error::TooLong));
    let mut fragments = Fragments::new(&[1; 30], 0, 20).unwrap();
    assert_eq!(fragments.next_frame(&mut [0; 19]), Err(Error::NoRoom));
    assert_eq!(fragments.next_frame(&mut [0; 20]).unwrap().map(<[u8]>::len), Some(20));
    fragments.rewind();
    assert_eq!(fragments.next_frame(&mut [0; 20]).unwrap().unwrap()[2], 0);
}

#[derive(Clone, Debug)]
enum Mishap {
    Lose(Index),
    Repeat(Index),
    Swap(Index, Index),
    Flip(Index, Index, u8),
    Cut(Index, Index),
}

fn mishap() -> impl Strategy<Value = Mishap> {
    prop_oneof![
        any::<Index>().prop_map(Mishap::Lose),
        any::<Index>().prop_map(Mishap::Repeat),
        any::<(Index, Index)>().prop_map(|(a, b)| Mishap::Swap(a, b)),
        (any::<Index>(), any::<Index>(), 0_u8..8).prop_map(|(a, b, bit)| Mishap::Flip(a, b, bit)),
        any::<(Index, Index)>().prop_map(|(a, b)| Mishap::Cut(a, b)),
    ]
}

proptest! {
    #[test]
    fn every_message_arrives_over_a_link_that_works(
        messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..400), 1..5),
        frame_bytes in MIN_FRAME_BYTES..=MAX_FRAME_BYTES,
    ) {
        let mut receiver = Reassembler::<400>::new();
        for (number, message) in (250_u8..).zip(&messages) {
            let (received, errors) = receive(&mut receiver, &frames_of(message, number, frame_bytes));
            prop_assert_eq!((received, errors), (vec![(number, message.clone())], 0));
        }
    }

    #[test]
    fn a_bad_link_never_makes_a_message_that_was_not_sent(
        messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..120), 1..4),
        mishaps in prop::collection::vec(mishap(), 0..4),
    ) {
        let mut frames: Vec<Vec<u8>> =
            (1_u8..).zip(&messages).flat_map(|(number, message)| frames_of(message, number, 20)).collect();
        for mishap in mishaps {
            if frames.is_empty() {
                break;
            }
            let count = frames.len();
            match mishap {
                Mishap::Lose(at) => drop(frames.remove(at.index(count))),
                Mishap::Repeat(at) => frames.insert(at.index(count), frames[at.index(count)].clone()),
                Mishap::Swap(a, b) => frames.swap(a.index(count), b.index(count)),
                Mishap::Flip(at, byte, bit) => {
                    let frame = &mut frames[at.index(count)];
                    if !frame.is_empty() {
                        // The number is not part of the message; a flip there may rename one, and no more.
                        let byte = 1 + byte.index(frame.len().max(2) - 1);
                        if let Some(byte) = frame.get_mut(byte) {
                            *byte ^= 1 << bit;
                        }
                    }
                }
                Mishap::Cut(at, to) => {
                    let frame = &mut frames[at.index(count)];
                    frame.truncate(to.index(frame.len() + 1));
                }
            }
        }
        let mut receiver = Reassembler::<120>::new();
        for (number, bytes) in receive(&mut receiver, &frames).0 {
            prop_assert_eq!(&bytes, &messages[usize::from(number) - 1]);
        }
        // And whatever happened, the next message arrives.
        let next = frames_of(b"next", 99, 20);
        prop_assert_eq!(receive(&mut receiver, &next), (vec![(99, b"next".to_vec())], 0));
    }

    #[test]
    fn any_frames_are_taken_without_a_panic(frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..20)) {
        let _ = receive(&mut Reassembler::<64>::new(), &frames);
    }
}

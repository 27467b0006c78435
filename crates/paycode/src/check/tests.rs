//! The decision as tables of cases: window, order, freshness, every miss, collisions, the ends of time.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, also in its own functions")]

use super::*;
use crate::{CodeFormat, MaskKey, Suite, TokenIndex, make, unmask};

const NOW: u32 = 60_000_000;

fn pay_key() -> PayKey {
    PayKey::new(Suite::International, &[0x22; 32])
}

fn index() -> TokenIndex {
    TokenIndex::new(1_234_567_890).unwrap()
}

fn stamp(step: u32, sequence: u8) -> Stamp {
    Stamp::new(TimeStep(step), Sequence::new(sequence).unwrap())
}

/// What the cloud unmasks from the code made at this stamp.
fn shown(stamp: Stamp, verified: bool) -> Unmasked {
    let mask_key = MaskKey::new(Suite::International, &[0x11; 16]);
    let format = CodeFormat::DEFAULT;
    let code = make(&format, &mask_key, &pay_key(), index(), stamp, verified).unwrap();
    unmask(&format, &mask_key, &code).unwrap()
}

/// The outcome at `now` of the code made at `made`, with `last` spent before.
fn outcome(made: Stamp, now: u32, last: Option<Stamp>) -> Result<Hit, Miss> {
    check(&pay_key(), &shown(made, false), TimeStep(now), last)
}

#[test]
fn a_code_is_accepted_from_one_step_early_to_two_steps_late() {
    for (offset, expected) in [
        (-7, Err(Miss::Wrong)),
        (-6, Err(Miss::Stale)),
        (-3, Err(Miss::Stale)),
        (-2, Ok(())),
        (-1, Ok(())),
        (0, Ok(())),
        (1, Ok(())),
        (2, Err(Miss::Early)),
        (5, Err(Miss::Early)),
        (6, Err(Miss::Wrong)),
    ] {
        for sequence in 0..4 {
            let made = stamp(NOW.checked_add_signed(offset).unwrap(), sequence);
            let hit = Hit { stamp: made, verified: false };
            assert_eq!(outcome(made, NOW, None), expected.map(|()| hit), "{offset}/{sequence}");
        }
    }
}

#[test]
fn a_hit_tells_which_code_it_was_and_whether_the_passcode_was_given() {
    for offset in -2..=1 {
        for sequence in 0..4 {
            for verified in [false, true] {
                let made = stamp(NOW.checked_add_signed(offset).unwrap(), sequence);
                let hit = check(&pay_key(), &shown(made, verified), TimeStep(NOW), None);
                assert_eq!(hit, Ok(Hit { stamp: made, verified }));
            }
        }
    }
}

#[test]
fn only_a_code_newer_than_the_last_one_spent_is_accepted() {
    // (made, last spent, outcome), all at NOW.
    let made = stamp(NOW, 1);
    for (last, expected) in [
        (None, Ok(())),
        (Some(stamp(0, 0)), Ok(())),
        (Some(stamp(NOW - 1, 3)), Ok(())),
        (Some(stamp(NOW, 0)), Ok(())),
        (Some(stamp(NOW, 1)), Err(Miss::Spent)),
        (Some(stamp(NOW, 2)), Err(Miss::Superseded)),
        (Some(stamp(NOW + 1, 0)), Err(Miss::Superseded)),
        (Some(stamp(u32::MAX, 3)), Err(Miss::Superseded)),
    ] {
        let expected = expected.map(|()| Hit { stamp: made, verified: false });
        assert_eq!(outcome(made, NOW, last), expected, "{last:?}");
    }
}

#[test]
fn a_code_pays_once_whichever_way_the_passcode_was() {
    // Both codes of one stamp are one spend.
    for verified in [false, true] {
        let made = stamp(NOW, 2);
        let answer = check(&pay_key(), &shown(made, verified), TimeStep(NOW), Some(made));
        assert_eq!(answer, Err(Miss::Spent));
    }
}

#[test]
fn past_the_window_a_code_is_stale_or_spent_whatever_was_spent_since() {
    for (steps_ago, last, expected) in [
        (3, None, Miss::Stale),
        (3, Some((3, 1)), Miss::Stale),
        (3, Some((3, 0)), Miss::Spent),
        (3, Some((0, 0)), Miss::Stale),
        (6, Some((6, 0)), Miss::Spent),
        (6, Some((20, 0)), Miss::Stale),
        (7, None, Miss::Wrong),
        (7, Some((7, 0)), Miss::Wrong),
    ] {
        let last = last.map(|(ago, sequence)| stamp(NOW - ago, sequence));
        assert_eq!(outcome(stamp(NOW - steps_ago, 0), NOW, last), Err(expected), "{steps_ago} {last:?}");
    }
}

#[test]
fn a_code_of_a_fast_clock_is_known_for_what_it_is_and_is_spent_by_being_shown() {
    for (steps_ahead, last, expected) in [
        (2, None, Miss::Early),
        (5, None, Miss::Early),
        (6, None, Miss::Wrong),
        (3, Some((2, 3)), Miss::Early),
        (3, Some((3, 0)), Miss::Spent),
        (3, Some((3, 1)), Miss::Superseded),
    ] {
        let last = last.map(|(ahead, sequence)| stamp(NOW + ahead, sequence));
        assert_eq!(outcome(stamp(NOW + steps_ahead, 0), NOW, last), Err(expected), "{steps_ahead} {last:?}");
    }
    let early = stamp(NOW + 4, 2);
    let found = find(&pay_key(), &shown(early, true), TimeStep(NOW));
    assert_eq!(found.early(), Some(early));
    // Recorded as spent, it does not pay once its time has come, and a newer one does.
    assert_eq!(outcome(early, NOW + 4, found.early()), Err(Miss::Spent));
    assert!(outcome(stamp(NOW + 4, 3), NOW + 4, found.early()).is_ok());
    assert_eq!(find(&pay_key(), &shown(stamp(NOW, 0), true), TimeStep(NOW)).early(), None);
}

#[test]
fn another_password_key_or_index_proves_nothing() {
    let right = shown(stamp(NOW, 0), true);
    let now = TimeStep(NOW);
    assert!(check(&pay_key(), &right, now, None).is_ok());

    let mut wrong = right.clone();
    wrong.password.value ^= 1;
    assert_eq!(check(&pay_key(), &wrong, now, None), Err(Miss::Wrong));

    let mut other_token = right.clone();
    other_token.index = TokenIndex::new(index().get() + 1).unwrap();
    assert_eq!(check(&pay_key(), &other_token, now, None), Err(Miss::Wrong));

    let mut key = [0x22; 32];
    key[31] ^= 1;
    let other_key = PayKey::new(Suite::International, &key);
    assert_eq!(check(&other_key, &right, now, None), Err(Miss::Wrong));
}

#[test]
fn the_first_and_the_last_step_have_a_shorter_window_and_overflow_nothing() {
    // (made, now, accepted)
    for (made, now, expected) in [
        (0, 0, Ok(())),
        (1, 0, Ok(())),
        (0, 1, Ok(())),
        (0, 2, Ok(())),
        (0, 3, Err(Miss::Stale)),
        (0, 6, Err(Miss::Stale)),
        (0, 7, Err(Miss::Wrong)),
        (u32::MAX, u32::MAX, Ok(())),
        (u32::MAX, u32::MAX - 1, Ok(())),
        (u32::MAX, u32::MAX - 5, Err(Miss::Early)),
        (u32::MAX, u32::MAX - 6, Err(Miss::Wrong)),
        (u32::MAX - 2, u32::MAX, Ok(())),
        (u32::MAX - 3, u32::MAX, Err(Miss::Stale)),
        // Time does not wrap around.
        (0, u32::MAX, Err(Miss::Wrong)),
        (u32::MAX, 0, Err(Miss::Wrong)),
    ] {
        let made = stamp(made, 3);
        let hit = Hit { stamp: made, verified: false };
        assert_eq!(outcome(made, now, None), expected.map(|()| hit), "{made:?} {now}");
    }
}

/// The shortest password, seven digits, so that collisions could be found by searching.
fn short_format() -> CodeFormat {
    CodeFormat::new("71", 18).unwrap()
}

#[test]
fn the_newest_of_two_stamps_with_one_password_wins_so_it_cannot_pay_again() {
    let key = pay_key();
    let index = TokenIndex::new(1078).unwrap();
    let (older, newer) = (stamp(NOW - 1, 2), stamp(NOW + 1, 0));
    let password = |stamp| key.password(&short_format(), index, stamp, false);
    assert_eq!(password(older).get(), password(newer).get(), "the case is a collision");

    let claim = Unmasked { index, password: password(older) };
    let now = TimeStep(NOW);
    let hit = Hit { stamp: newer, verified: false };
    assert_eq!(check(&key, &claim, now, None), Ok(hit));
    // The older one was spent under its own stamp: the newer still counts, and only once.
    assert_eq!(check(&key, &claim, now, Some(older)), Ok(hit));
    assert_eq!(check(&key, &claim, now, Some(newer)), Err(Miss::Spent));
}

#[test]
fn a_password_that_fits_one_stamp_both_ways_counts_as_not_verified() {
    let key = pay_key();
    let index = TokenIndex::new(7).unwrap();
    let both = stamp(971_682, 3);
    let password = |verified| key.password(&short_format(), index, both, verified);
    assert_eq!(password(false).get(), password(true).get(), "the case is a collision");

    let claim = Unmasked { index, password: password(true) };
    let hit = check(&key, &claim, both.step, None);
    assert_eq!(hit, Ok(Hit { stamp: both, verified: false }));
}

#[test]
fn the_window_and_the_cost_of_a_wrong_code_are_as_the_specification_says() {
    assert_eq!(WINDOW_CANDIDATES, 32);
    const { assert!(WINDOW_CANDIDATES + STALE_CANDIDATES + EARLY_CANDIDATES <= 3 * WINDOW_CANDIDATES) };
    // The screen may say how long a code lives: the first second that is refused.
    let made = stamp(NOW, 0);
    let expires = made.expires_unix_seconds();
    let step_of = |seconds| TimeStep::from_unix_seconds(seconds).unwrap().0;
    assert!(outcome(made, step_of(expires - 1), None).is_ok());
    assert_eq!(outcome(made, step_of(expires), None), Err(Miss::Stale));
}

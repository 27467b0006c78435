//! The same seed does the same, and a few of them come to rest with everything in its place.

use simulation::{Fault, Report, simulate};

/// Events of each seed here: enough for every kind of fault over the seeds below.
const STEPS: u64 = 3_000;
/// Seeds of an ordinary run, and of one with a large budget (`PAYCHIP_LONG=1`).
const SEEDS: u64 = 12;
const MANY_SEEDS: u64 = 200;

#[test]
fn the_same_seed_does_exactly_the_same_and_another_does_not() {
    for seed in [3, 11] {
        let (one, two) = (simulate(seed, STEPS, false), simulate(seed, STEPS, true));
        assert_eq!(one.trace_hash, two.trace_hash);
        assert_eq!((one.steps, one.simulated_ms, one.paid), (two.steps, two.simulated_ms, two.paid));
        assert_eq!(one.faults, two.faults);
    }
    assert_ne!(simulate(3, STEPS, false).trace_hash, simulate(4, STEPS, false).trace_hash);
}

#[test]
fn whatever_goes_wrong_every_promise_is_kept() {
    let seeds = if std::env::var_os("PAYCHIP_LONG").is_some() { MANY_SEEDS } else { SEEDS };
    let mut all = Report::default();
    for seed in 1..=seeds {
        let report = simulate(seed, STEPS, false);
        assert_eq!(report.violation, None, "seed {seed}, step {}", report.steps);
        all.add(&report);
    }
    assert!(all.paid > 100 * SEEDS / 4, "so little was paid that nothing was shown: {}", all.paid);
    for fault in [Fault::MessageLost, Fault::MessageRepeated, Fault::CrashBeforeAnswer, Fault::CommitUnknown] {
        assert!(all.faults.of(fault) > 0, "no {}", fault.name());
    }
    for fault in [Fault::Conflict, Fault::DiskFull, Fault::ReadFailed, Fault::Replay, Fault::CodeTwice] {
        assert!(all.faults.of(fault) > 0, "no {}", fault.name());
    }
}

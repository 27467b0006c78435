//! The inputs of a campaign without libFuzzer: random ones, seeds with bytes changed, and what showed something new
//! before. The same seed gives the same inputs. Included by the tests of the crates that have fuzz targets.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How many inputs are remembered.
const POOL: usize = 4_096;
/// The longest input, in bytes.
const MAX_BYTES: usize = 4_000;
/// Inputs, where nothing else is said.
const DEFAULT_COUNT: u64 = 1_000_000;

/// How long a campaign goes on.
pub(crate) struct Budget {
    pub(crate) seed: u64,
    count: u64,
    begun: Instant,
    seconds: Option<Duration>,
}

impl Budget {
    /// Of this many commands.
    #[allow(dead_code, reason = "not every crate that includes this has a bounded run of it")]
    pub(crate) fn of(count: u64) -> Self {
        Self { seed: 1, count, begun: Instant::now(), seconds: None }
    }

    /// As `cargo xtask fuzz` says.
    pub(crate) fn from_environment() -> Self {
        let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
        let seconds = number("PAYCHIP_FUZZ_SECONDS").map(Duration::from_secs);
        let most = if seconds.is_some() { u64::MAX } else { DEFAULT_COUNT };
        let seed = number("PAYCHIP_FUZZ_SEED").unwrap_or(1);
        println!("seed {seed}");
        Self { seed, count: number("PAYCHIP_FUZZ_COMMANDS").unwrap_or(most), begun: Instant::now(), seconds }
    }

    /// Whether there is some of it left after `done`.
    pub(crate) fn lasts(&self, done: u64) -> bool {
        done < self.count && self.seconds.is_none_or(|seconds| self.begun.elapsed() < seconds)
    }

    /// Says how fast it was.
    pub(crate) fn tell(&self, done: u64) {
        let seconds = self.begun.elapsed().as_secs_f64();
        println!("{done} in {seconds:.0} s, {:.0} a second", done as f64 / seconds);
    }
}

/// A supply of inputs.
pub(crate) struct Inputs {
    seed: u64,
    draw: u64,
    pool: Vec<Vec<u8>>,
    seeds: usize,
    sequences: u64,
    last: Vec<u8>,
}

impl Inputs {
    /// With the seeds of this fuzz target to begin with.
    pub(crate) fn new(target: &str, seed: u64) -> Self {
        let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus")).join(target);
        let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        let pool: Vec<_> = paths.into_iter().map(|path| std::fs::read(path).unwrap()).collect();
        assert!(!pool.is_empty() && pool.iter().all(|input| !input.is_empty()));
        let draw = (seed ^ 0x5851_F42D_4C95_7F2D).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        Self { seed, draw, seeds: pool.len(), pool, sequences: 0, last: Vec::new() }
    }

    /// How many there were.
    pub(crate) fn sequences(&self) -> u64 {
        self.sequences
    }

    /// Runs the next; one that panics is printed.
    pub(crate) fn run_next<T>(&mut self, run: impl FnOnce(&[u8]) -> T) -> T {
        self.last = self.next();
        self.sequences += 1;
        catch_unwind(AssertUnwindSafe(|| run(&self.last))).unwrap_or_else(|panic| {
            let (seed, number, input) = (self.seed, self.sequences, &self.last);
            println!(
                "seed {seed}, input {number}: {}",
                input.iter().map(|byte| format!("{byte:02x}")).collect::<String>()
            );
            resume_unwind(panic)
        })
    }

    /// Remembers the last one where it is worth going on from.
    pub(crate) fn keep_last_if(&mut self, worth_it: bool) {
        if worth_it && !self.last.is_empty() && self.pool.len() < POOL {
            self.pool.push(self.last.clone());
        }
    }

    fn draw(&mut self) -> usize {
        self.draw = self.draw.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.draw >> 33) as usize
    }

    fn remembered(&mut self) -> Vec<u8> {
        let which = self.draw() % self.pool.len();
        self.pool[which].clone()
    }

    fn next(&mut self) -> Vec<u8> {
        // The seeds come first, as they are.
        if let Some(seed) = usize::try_from(self.sequences).ok().filter(|number| *number < self.seeds) {
            return self.pool[seed].clone();
        }
        let mut input = self.remembered();
        match self.draw() % 4 {
            0 | 1 => input = (0..self.draw() % 2_000).map(|_| self.draw() as u8).collect(),
            2 => input.extend_from_slice(&self.remembered()[1..]),
            _ => {
                let (keep, other) = (self.draw() % input.len(), self.remembered());
                input.truncate(keep.max(1));
                input.extend_from_slice(&other[other.len() / 2..]);
            }
        }
        for _ in 0..self.draw() % 8 {
            let (at, byte) = (self.draw() % input.len().max(1), self.draw() as u8);
            if let Some(place) = input.get_mut(at) {
                *place = byte;
            }
        }
        input.truncate(MAX_BYTES);
        input
    }
}

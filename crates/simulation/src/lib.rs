//! The simulation: watches, tills and servers in a world of lost messages, crashes, wrong clocks and full disks, held
//! against a model. It runs the store's own code on a disk and a network of its own, in one thread, faster than real
//! time; a seed decides everything, so that what failed once fails again.
//!
//! | file | holds |
//! |---|---|
//! | `world.rs` | the people and machines, and the queue of events that owns time |
//! | `plan.rs`, `faults.rs` | how large and how unkind a seed's world is; what went wrong in it |
//! | `database.rs` | the disk: the store's engine trait, and every way a commit goes wrong |
//! | `server.rs`, `serving.rs` | servers: batches, commits, crashes, restarts |
//! | `watch.rs`, `clients.rs`, `message.rs` | who asks, what for, and the network in between |
//! | `bindings/` | bindings, with real chips and the real SDK: a world of its own |
//! | `books.rs` | the journal, added up again |
//! | `truth.rs`, `checks.rs` | what was promised, and what must be so |

pub mod bindings;
mod books;
mod checks;
mod clients;
mod database;
mod faults;
mod keys;
mod message;
mod plan;
mod server;
mod serving;
mod trace;
mod truth;
mod watch;
mod world;

pub use faults::{Fault, Faults};

use trace::Trace;
use world::World;

/// Events between two audits of everything.
const AUDIT_EVERY: u64 = 4_000;
/// Milliseconds in an hour.
const HOUR_MS: u64 = 3_600_000;

/// What became of one seed.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Events that happened.
    pub steps: u64,
    /// Simulated time, milliseconds.
    pub simulated_ms: u64,
    /// Watches in it.
    pub watches: u64,
    /// Tills in it.
    pub tills: u64,
    /// Payments that moved money.
    pub paid: u64,
    /// What was made to go wrong.
    pub faults: Faults,
    /// SHA-256 over everything that happened, in hexadecimal digits.
    pub trace_hash: String,
    /// Everything that happened, where it was to be kept.
    pub trace: Vec<String>,
    /// What should never have been, where something was.
    pub violation: Option<String>,
}

impl Report {
    /// Adds another run's numbers.
    pub fn add(&mut self, other: &Self) {
        self.steps += other.steps;
        self.simulated_ms += other.simulated_ms;
        self.watches += other.watches;
        self.tills += other.tills;
        self.paid += other.paid;
        self.faults.add(&other.faults);
    }

    /// Simulated hours.
    pub fn hours(&self) -> u64 {
        self.simulated_ms / HOUR_MS
    }
}

/// Runs one seed for this many events, then lets everything under way come to its end.
pub fn simulate(seed: u64, steps: u64, keep_trace: bool) -> Report {
    let trace = if keep_trace { Trace::kept() } else { Trace::default() };
    let mut world = match World::of(seed, trace) {
        Ok(world) => world,
        Err(violation) => return Report { violation: Some(violation), ..Report::default() },
    };
    let mut report = Report::default();
    report.violation = run(&mut world, steps, &mut report.steps).err();
    report.simulated_ms = world.now_ms - world.plan.start_ms;
    report.watches = world.plan.watches as u64;
    report.tills = world.plan.tills as u64;
    report.paid = world.paid;
    report.faults = world.faults;
    (report.trace_hash, report.trace) = world.trace.end();
    report
}

fn run(world: &mut World, steps: u64, done: &mut u64) -> Result<(), String> {
    while *done < steps && world.step()? {
        *done += 1;
        if done.is_multiple_of(AUDIT_EVERY) {
            world.sound()?;
        }
    }
    *done += world.rest()?;
    Ok(())
}

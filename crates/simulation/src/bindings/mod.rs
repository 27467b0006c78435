//! Bindings: real chips on simulated flash, the real SDK, the store's own commands on the simulated disk, and an attacker
//! in every phone. Held against a model after each step; a seed decides everything.
//!
//! | file | holds |
//! |---|---|
//! | `device.rs` | chip, flash and SDK of one wearable, power cuts, lost answers, reboots |
//! | `maker.rs` | who has made and shipped the chips, in the worlds where somebody has |
//! | `session.rs` | a phone that carries one binding |
//! | `attacker.rs` | what the phone does to messages |
//! | `cloud.rs` | servers that run the commands, and crash |
//! | `plan.rs`, `world.rs` | how unkind a seed's world is; everybody in it |
//! | `told.rs` | what watches were told of payments, held against the books |
//! | `truth.rs`, `rest.rs` | what must be so after each step, and once the world is at rest |
//! | `systematic.rs` | each message of a binding, and of a sync that tells, under each attack in turn |

mod attacker;
mod cloud;
mod device;
mod maker;
mod plan;
mod rest;
mod session;
mod systematic;
mod told;
mod truth;
mod world;

use platform::bindings::BindingState;

use crate::faults::Faults;
use crate::trace::Trace;
use attacker::Attacker;
use plan::Plan;
pub use systematic::{Systematic, each_message_of_a_sync_under_each_attack, each_message_under_each_attack};
use world::World;

/// Bindings that are begun in one world, before it comes to rest.
pub const BINDINGS_A_WORLD: u64 = 30;
/// Steps after which a world comes to rest in any case.
const MAX_STEPS: u64 = 20_000;
/// Phones that carry bindings at the same time, at most.
const MAX_OPEN: usize = 3;

/// How often what happened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Bindings that a wearer confirmed.
    pub bindings: u64,
    /// Of them: the cloud's last word was that it is done.
    pub done: u64,
    /// The cloud's last word was that it has failed.
    pub failed: u64,
    /// The cloud refused to begin: bound already, offer used.
    pub refused: u64,
    /// Syncs that were begun.
    pub syncs: u64,
    /// Of them: the cloud's last word was that it is done.
    pub synced: u64,
    /// Codes tried at tills.
    pub codes: u64,
    /// Results of payments that appeared on screens.
    pub told: u64,
    /// Messages the attacker did something to.
    pub attacks: u64,
    /// Frames lost or damaged.
    pub frames: u64,
    /// Requests and answers lost.
    pub lost: u64,
    /// Requests that came twice.
    pub repeated: u64,
    /// Chips that lost power within a command, or while they recovered.
    pub power_cuts: u64,
    /// Answers of a chip that were lost, and chips that were reset.
    pub silences: u64,
    /// Devices that restarted, and links that broke.
    pub reboots: u64,
}

impl Counts {
    /// Adds another run's.
    pub fn add(&mut self, other: &Self) {
        for (to, from) in [
            (&mut self.bindings, other.bindings),
            (&mut self.done, other.done),
            (&mut self.failed, other.failed),
            (&mut self.refused, other.refused),
            (&mut self.syncs, other.syncs),
            (&mut self.synced, other.synced),
            (&mut self.codes, other.codes),
            (&mut self.told, other.told),
            (&mut self.attacks, other.attacks),
            (&mut self.frames, other.frames),
            (&mut self.lost, other.lost),
            (&mut self.repeated, other.repeated),
            (&mut self.power_cuts, other.power_cuts),
            (&mut self.silences, other.silences),
            (&mut self.reboots, other.reboots),
        ] {
            *to += from;
        }
    }

    /// Everything that was made to go wrong around the servers' own faults.
    pub fn faults(&self) -> u64 {
        self.attacks + self.frames + self.lost + self.repeated + self.power_cuts + self.silences + self.reboots
    }
}

/// What became of one world of bindings.
#[derive(Debug, Clone, Default)]
pub struct BindingsReport {
    /// How often what happened.
    pub counts: Counts,
    /// What went wrong at the servers.
    pub faults: Faults,
    /// Steps until it came to rest.
    pub steps: u64,
    /// SHA-256 over everything that happened, in hexadecimal digits.
    pub trace_hash: String,
    /// Everything that happened, where it was to be kept.
    pub trace: Vec<String>,
    /// What should never have been, where something was.
    pub violation: Option<String>,
}

/// One world: [`BINDINGS_A_WORLD`] bindings and everything that happens around them, then rest.
pub fn simulate_bindings(seed: u64, keep_trace: bool) -> BindingsReport {
    let trace = if keep_trace { Trace::kept() } else { Trace::default() };
    let mut random = fastrand::Rng::with_seed(seed);
    let plan = Plan::of(&mut random);
    let attacker = Attacker::Any(plan.attacks);
    match World::of(random, plan, attacker, trace) {
        Ok(mut world) => {
            let mut steps = 0;
            let violation = run(&mut world, &mut steps).err();
            report(world, steps, violation)
        }
        Err(violation) => BindingsReport { violation: Some(violation), ..BindingsReport::default() },
    }
}

fn report(world: World, steps: u64, violation: Option<String>) -> BindingsReport {
    let mut counts = world.counts;
    counts.attacks = world.relay.attacks;
    counts.told = world.tellings.shown;
    for wrist in &world.wrists {
        let befell = wrist.hardware.borrow().befell;
        counts.power_cuts += befell.cuts;
        counts.silences += befell.silences + befell.resets;
    }
    let (bindings, syncs): (Vec<_>, Vec<_>) = world.sessions.iter().partition(|session| session.binds());
    counts.synced = syncs.iter().filter(|session| session.ended == Some(BindingState::Done)).count() as u64;
    for session in bindings {
        counts.done += u64::from(session.ended == Some(BindingState::Done));
        counts.failed += u64::from(session.ended == Some(BindingState::Failed));
        counts.refused += u64::from(session.refused.is_some());
    }
    let (trace_hash, trace) = world.trace.end();
    BindingsReport { counts, faults: world.cloud.faults, steps, trace_hash, trace, violation }
}

fn run(world: &mut World, steps: &mut u64) -> Result<(), String> {
    while *steps < MAX_STEPS && (world.counts.bindings < BINDINGS_A_WORLD || world.open().next().is_some()) {
        *steps += 1;
        world.step()?;
    }
    world.comes_to_rest()
}

impl World {
    /// Lets one thing happen.
    fn step(&mut self) -> Result<(), String> {
        self.now_ms += match self.random.u32(0..2_000) {
            0 => 25 * 3_600_000,
            1..6 => self.random.u64(60_000..400_000),
            _ => self.random.u64(1..600),
        };
        self.clocks();
        let open: Vec<usize> = self.open().collect();
        let wrist = self.random.usize(..self.wrists.len());
        if self.befalls(self.plan.reboots) {
            self.counts.reboots += 1;
            if let Some(wrist) = self.wrists.get_mut(wrist) {
                if self.random.bool() { wrist.reboot() } else { wrist.sdk.on_link_lost() }
            }
        }
        let may_begin = self.counts.bindings < BINDINGS_A_WORLD && open.len() < MAX_OPEN;
        // A second phone at the same time is the exception.
        let begins = may_begin && self.befalls(if open.is_empty() { 400 } else { 10 });
        match self.random.choice(open.iter().copied()) {
            _ if begins => self.begins_something(wrist)?,
            _ if open.len() < MAX_OPEN && self.befalls(15) => drop(self.begins_sync(wrist)),
            _ if self.befalls(30) => self.pays(wrist),
            _ if self.befalls(8) => self.acts(wrist),
            _ if self.befalls(20) => self.goes_on(None),
            Some(number) => self.turn(number)?,
            None => {}
        }
        self.look_into(wrist)?;
        self.cloud_works()
    }

    /// A wearer takes a device to the phone; where it is bound, its token is mostly ended first.
    fn begins_something(&mut self, wrist: usize) -> Result<(), String> {
        let living = self.wrists.get(wrist).and_then(|wrist| self.truth.living(wrist.chip));
        if let Some(token) = living.filter(|token| token.state != platform::tokens::TokenState::Pending) {
            let (token, caller) = (token.id, platform::Caller::Wearer(token.account));
            if self.befalls(800) {
                let action = platform::tokens::TokenAction::Revoke;
                self.ask(cloud::Ask::Act { token, caller, action }, world::About::Act { by_stranger: false });
                return Ok(());
            }
        }
        let wearer = self.random.usize(..self.wearers.len());
        let fresh = !self.befalls(60);
        self.begins(wrist, wearer, fresh).map(|_| ())
    }
}

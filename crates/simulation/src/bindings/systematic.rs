//! Each message of a binding under each attack in turn: the binding still ends, bound or failed, and the device is what it
//! says afterwards.

use platform::bindings::BindingState;

use super::attacker::{Attack, Attacker, STATUSES, Way};
use super::plan::Plan;
use super::world::World;
use crate::trace::Trace;

/// Turns within which an attacked binding must be over.
const TURNS: u32 = 1_000;

/// What became of all of them.
#[derive(Debug, Clone, Default)]
pub struct Systematic {
    /// Messages of one binding.
    pub messages: usize,
    /// Pairs of a message and an attack.
    pub cases: u64,
    /// That ended bound, by the very binding that was attacked.
    pub bound: u64,
    /// That ended failed, with nobody bound.
    pub failed: u64,
    /// What should never have been, where something was: the message, the attack, and what.
    pub violation: Option<String>,
}

/// Puts each message of a binding under each attack; of the attacks on single bytes and lengths, every `stride`-th.
pub fn each_message_under_each_attack(seed: u64, stride: usize) -> Systematic {
    let mut all = Systematic::default();
    let result = every_case(seed, stride.max(1), &mut all);
    all.violation = result.err();
    all
}

fn every_case(seed: u64, stride: usize, all: &mut Systematic) -> Result<(), String> {
    let mut honest = world(seed, Attacker::Nobody)?;
    let first = honest.relay.crossed;
    honest.relay.lengths = Some(Vec::new());
    if one(&mut honest)? != Some(BindingState::Done) {
        return Err("an honest binding is not done".to_owned());
    }
    let lengths = honest.relay.lengths.take().unwrap_or_default();
    all.messages = lengths.len();
    for (number, (way, length)) in lengths.into_iter().enumerate() {
        for attack in attacks(way, length, stride, number) {
            let at = first + number as u64;
            let case = || -> Result<Option<BindingState>, String> {
                let mut world = world(seed, Attacker::Once { at, attack })?;
                let ended = one(&mut world)?;
                if world.relay.attacks != 1 {
                    return Err("the attack did not take place".to_owned());
                }
                world.comes_to_rest()?;
                Ok(ended)
            };
            all.cases += 1;
            match case().map_err(|what| format!("message {number} ({way:?}, {length} bytes), {attack:?}: {what}"))? {
                Some(BindingState::Done) => all.bound += 1,
                Some(_) => all.failed += 1,
                None => return Err(format!("message {number} ({way:?}), {attack:?}: it never ended")),
            }
        }
    }
    Ok(())
}

fn attacks(way: Way, length: usize, stride: usize, number: usize) -> Vec<Attack> {
    let mut attacks = vec![Attack::Drop, Attack::Repeat, Attack::Overtaken, Attack::Swap, Attack::Replay];
    let some = || (0..length).filter(|at| (at + number).is_multiple_of(stride));
    attacks.extend(some().map(Attack::Truncate));
    attacks.extend(some().flat_map(|at| [Attack::Alter(at, 0x01), Attack::Alter(at, 0x80)]));
    match way {
        Way::ToCloud => {
            attacks.extend(STATUSES.map(Attack::ForgeStatus));
            attacks.push(Attack::ForgeSuccess);
        }
        Way::ToDevice => {
            attacks.extend([Attack::ForgeOutcome(true), Attack::ForgeOutcome(false), Attack::ForgeScript]);
        }
    }
    attacks
}

/// A world in which the other device is bound already: its messages are what swaps and replays are made of.
fn world(seed: u64, attacker: Attacker) -> Result<World, String> {
    let mut world = World::of(fastrand::Rng::with_seed(seed), Plan::kind(), attacker, Trace::default())?;
    binds(&mut world, 1)?;
    Ok(world)
}

fn one(world: &mut World) -> Result<Option<BindingState>, String> {
    binds(world, 0)
}

fn binds(world: &mut World, wrist: usize) -> Result<Option<BindingState>, String> {
    let number = world.begins(wrist, wrist, true)?.ok_or("no offer")?;
    for _ in 0..TURNS {
        world.now_ms += 200;
        world.clocks();
        world.turn(number)?;
        world.cloud_works()?;
        if world.sessions.get(number).is_none_or(|session| session.over) {
            break;
        }
    }
    Ok(world.sessions.get(number).and_then(|session| session.ended))
}

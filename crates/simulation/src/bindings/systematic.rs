//! Each message of a binding under each attack in turn: the binding still ends, bound or failed, and the device is what it
//! says afterwards. And each message of a sync that tells of payments: whatever the device shows is true, and the next honest
//! sync tells what this one has not.

use platform::bindings::BindingState;

use super::attacker::{Attack, Attacker, STATUSES, Way};
use super::plan::Plan;
use super::world::World;
use crate::trace::Trace;

/// Payments of each device before a sync.
const PAYMENTS: usize = 2;
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
    /// That ended otherwise: a binding failed, with nobody bound; a sync failed, or its phone gave up.
    pub failed: u64,
    /// What should never have been, where something was: the message, the attack, and what.
    pub violation: Option<String>,
}

/// What is attacked, and what must be so afterwards.
struct Scene {
    /// A world in which it is about to happen.
    begins: fn(u64, Attacker) -> Result<World, String>,
    /// It happens; gives what the cloud's last word was.
    happens: fn(&mut World) -> Result<Option<BindingState>, String>,
    /// The attacker is gone.
    ends: fn(&mut World) -> Result<(), String>,
    /// Whether the cloud must have had a last word.
    must_end: bool,
}

/// Puts each message of a binding under each attack; of the attacks on single bytes and lengths, every `stride`-th.
pub fn each_message_under_each_attack(seed: u64, stride: usize) -> Systematic {
    let binding = Scene { begins: one_bound, happens: one, ends: World::comes_to_rest, must_end: true };
    play(&binding, seed, stride)
}

/// Puts each message of a sync that tells of payments under each attack, in the same way.
pub fn each_message_of_a_sync_under_each_attack(seed: u64, stride: usize) -> Systematic {
    play(&Scene { begins: both_have_paid, happens: synced, ends: is_told_the_rest, must_end: false }, seed, stride)
}

fn play(scene: &Scene, seed: u64, stride: usize) -> Systematic {
    let mut all = Systematic::default();
    let result = every_case(scene, seed, stride.max(1), &mut all);
    all.violation = result.err();
    all
}

fn every_case(scene: &Scene, seed: u64, stride: usize, all: &mut Systematic) -> Result<(), String> {
    let mut honest = (scene.begins)(seed, Attacker::Nobody)?;
    let first = honest.relay.crossed;
    honest.relay.lengths = Some(Vec::new());
    if (scene.happens)(&mut honest)? != Some(BindingState::Done) {
        return Err("without an attack it is not done".to_owned());
    }
    let lengths = honest.relay.lengths.take().unwrap_or_default();
    all.messages = lengths.len();
    for (number, (way, length)) in lengths.into_iter().enumerate() {
        for attack in attacks(way, length, stride, number) {
            let at = first + number as u64;
            let case = || -> Result<Option<BindingState>, String> {
                let mut world = (scene.begins)(seed, Attacker::Once { at, attack })?;
                let ended = (scene.happens)(&mut world)?;
                if world.relay.attacks != 1 {
                    return Err("the attack did not take place".to_owned());
                }
                (scene.ends)(&mut world)?;
                Ok(ended)
            };
            all.cases += 1;
            match case().map_err(|what| format!("message {number} ({way:?}, {length} bytes), {attack:?}: {what}"))? {
                Some(BindingState::Done) => all.bound += 1,
                None if scene.must_end => {
                    return Err(format!("message {number} ({way:?}), {attack:?}: it never ended"));
                }
                _ => all.failed += 1,
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
            attacks.extend([Attack::ForgeOutcome(true), Attack::ForgeOutcome(false)]);
            attacks.extend([Attack::ForgeScript, Attack::AskForCode]);
        }
    }
    attacks
}

/// A world in which the other device is bound already: its messages are what swaps and replays are made of.
fn one_bound(seed: u64, attacker: Attacker) -> Result<World, String> {
    let mut world = World::of(fastrand::Rng::with_seed(seed), Plan::kind(), attacker, Trace::default())?;
    binds(&mut world, 1)?;
    Ok(world)
}

fn one(world: &mut World) -> Result<Option<BindingState>, String> {
    binds(world, 0)
}

fn binds(world: &mut World, wrist: usize) -> Result<Option<BindingState>, String> {
    let number = world.begins(wrist, wrist, true)?.ok_or("no offer")?;
    carried(world, number)
}

/// A phone carries its messages until its work is over.
fn carried(world: &mut World, number: usize) -> Result<Option<BindingState>, String> {
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

/// A world in which two devices are bound and have paid; one of them was told.
fn both_have_paid(seed: u64, attacker: Attacker) -> Result<World, String> {
    let mut world = one_bound(seed, attacker)?;
    binds(&mut world, 0)?;
    for wrist in [1, 0] {
        for shop in 0..PAYMENTS {
            let shown = world.shows(wrist).ok_or("no code")?;
            world.pay(shown, shop, 10 + shop as u64);
            world.cloud_works()?;
        }
        if wrist == 1 {
            sync_of(&mut world, wrist)?;
        }
    }
    Ok(world)
}

fn sync_of(world: &mut World, wrist: usize) -> Result<Option<BindingState>, String> {
    let number = world.begins_sync(wrist).ok_or("nothing to sync")?;
    carried(world, number)
}

fn synced(world: &mut World) -> Result<Option<BindingState>, String> {
    sync_of(world, 0)
}

/// An honest sync of both tells what is not told yet.
fn is_told_the_rest(world: &mut World) -> Result<(), String> {
    world.relay.attacker = Attacker::Nobody;
    for wrist in [0, 1] {
        let chip = world.wrists.get(wrist).map(|wrist| wrist.chip).ok_or("no such device")?;
        let token = world.truth.living(chip).cloned().ok_or("no token")?;
        world.is_told_once(wrist, &token)?;
    }
    Ok(())
}

//! Nothing that was acknowledged is lost and nothing is done twice, whatever is killed: the real servers, and what they keep
//! their data in, end with SIGKILL at random moments while tills charge, give back and cancel, race each other, and repeat
//! every request until it is answered. Afterwards what the platform shows is compared with what its own answers said.
//!
//! A few rounds; `PAYCHIP_LONG=1` makes them a hundred and more, and `PAYCHIP_ROUNDS` as many as it says.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that cannot go on fails"
)]

mod books;
mod client;
mod fleet;
mod formation;
mod order;
#[path = "../support/mod.rs"]
mod support;
mod tills;

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use client::Doors;
use fleet::{Engine, Fleet, Kills};
use formation::Formation;
use order::Order;
use support::citus::Cluster;
use support::postgres::Postgres;
use support::standby::Pair;
use tills::{Stage, give_back_from_many_clients, serve};

const SHOPS: usize = 3;
const WEARERS: usize = 6;
const TILLS: usize = 12;
/// Watches of each wearer: each shows four codes in half a minute. An account binds no more than so many in a day.
const WATCHES: usize = 3;
const MANY_WATCHES: usize = 20;
/// Clients that give parts of one payment back at once.
const REFUNDERS: u64 = 64;
/// Rounds of a long run.
const LONG_ROUNDS: u32 = 120;

#[test]
fn on_sqlite() {
    campaign(Engine::Sqlite, 1, 12);
}

#[test]
fn on_postgresql_with_two_servers() {
    let Some(server) = Postgres::start() else { return };
    campaign(Engine::Postgres(server), 2, 10);
}

#[test]
fn on_postgresql_whose_standby_takes_over() {
    let Some(pair) = Pair::start() else { return };
    campaign(Engine::Pair(pair), 2, 10);
}

#[test]
fn on_postgresql_under_pg_auto_failover() {
    let Some(formation) = Formation::start() else { return };
    campaign(Engine::Formation(formation), 2, 8);
}

#[test]
fn on_citus_with_two_servers_and_two_workers() {
    let Some(cluster) = Cluster::start() else { return };
    campaign(Engine::Citus(cluster), 2, 8);
}

fn rounds(few: u32) -> u32 {
    let wanted = std::env::var("PAYCHIP_ROUNDS").ok();
    let wanted = wanted.map(|rounds| rounds.parse().expect("PAYCHIP_ROUNDS is a number"));
    wanted.unwrap_or(if support::is_long() { LONG_ROUNDS } else { few })
}

fn campaign(engine: Engine, servers: usize, few_rounds: u32) {
    let (rounds, begun) = (rounds(few_rounds), Instant::now());
    let mut fleet = Fleet::start(engine, servers);
    let doors = Doors::new(servers);
    let watches = if rounds > few_rounds { MANY_WATCHES } else { WATCHES };
    let stage = Stage::new(fleet.first(), SHOPS, WEARERS, watches);
    fleet.tell(&doors);
    let run = catch_unwind(AssertUnwindSafe(|| {
        let kills = kill_under_load(&mut fleet, &stage, &doors, rounds);
        let paid = books::compare(&stage, &doors);
        fleet.each().for_each(|server| books::assert_sound(&server.operator().get("/v1/audit").unwrap()));
        fleet.end(&doors);
        books::assert_sound(&fleet.verify());
        (kills, paid)
    }));
    let (kills, paid) = run.unwrap_or_else(|cause| {
        println!("{}\n{}", doors.summary(), fleet.logs());
        resume_unwind(cause)
    });
    let (all, mut declines) = (stage.orders.lock().unwrap(), BTreeMap::<&str, usize>::new());
    all.iter().filter_map(Order::decline).for_each(|reason| *declines.entry(reason).or_default() += 1);
    let orders = all.len();
    println!(
        "{kills:?}; {orders} orders, {paid} paid, declined {declines:?}; {}; {:?}",
        doors.summary(),
        begun.elapsed()
    );
    assert!(orders > rounds as usize && paid * 4 > orders, "too little was under way to prove anything");
}

/// Runs the tills until all rounds are over. Whoever fails first ends it for everybody.
fn kill_under_load(fleet: &mut Fleet, stage: &Stage, doors: &Doors, rounds: u32) -> Kills {
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let tills: Vec<_> = (0..TILLS)
            .map(|till| {
                let is_over = &is_over;
                scope.spawn(move || {
                    let served = catch_unwind(AssertUnwindSafe(|| {
                        if till == 0 {
                            give_back_from_many_clients(stage, doors, REFUNDERS);
                        }
                        serve(stage, doors, is_over);
                    }));
                    served.inspect_err(|_| doors.is_lost.store(true, Ordering::Release))
                })
            })
            .collect();
        let killed = catch_unwind(AssertUnwindSafe(|| fleet.kill(rounds, doors)));
        is_over.store(true, Ordering::Release);
        doors.is_lost.fetch_or(killed.is_err(), Ordering::AcqRel);
        let served: Vec<Result<(), Box<dyn Any + Send>>> = tills.into_iter().flat_map(|till| till.join()).collect();
        served.into_iter().collect::<Result<Vec<()>, _>>().and(killed).unwrap_or_else(|cause| resume_unwind(cause))
    })
}

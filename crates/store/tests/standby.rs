//! A database of two machines under one URL: when the one that takes writes dies or hangs, the other goes on, and nothing
//! that was told is gone. Servers under load meanwhile are in the program's own campaign of kills.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that cannot go on fails; one that needs what is missing says so"
)]

mod support;

use std::time::{Duration, Instant};

use ledger::Currency;
use platform::payments::PaymentState;
use store::{Failure, StoreError};
use support::standby::Pair;
use support::{ACCOUNT, Home, World, code, payment};

/// Longer than it takes to give a machine up that says nothing, to ask the next, and to find out what became of a commit.
const HANG_PATIENCE: Duration = Duration::from_secs(75);
/// How long a commit may be waited for that must not be answered.
const NOT_ANSWERED_FOR: Duration = Duration::from_millis(1_500);

/// A world whose database is on two machines.
async fn on_two_machines() -> Option<(World, &'static Pair)> {
    let pair: &'static Pair = Box::leak(Box::new(Pair::start()?));
    let world = World::with_money(Home::Pair(pair.new_database(), pair), 10_000).await;
    Some((world, pair))
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

/// Pays, again with the same order where the database was away.
async fn pay(world: &World, order: &str, sequence: u8) {
    let pay = async {
        loop {
            match world.pay(order, &code(0, sequence), 500).await {
                Ok(paid) => return assert_eq!(payment(paid).state, PaymentState::Succeeded),
                Err(failure) => assert_eq!(failure, Failure::Store(StoreError::Busy)),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(HANG_PATIENCE, pay).await.expect("no payment for too long");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_other_machine_goes_on_where_one_is_killed_and_where_one_hangs() {
    let Some((world, pair)) = on_two_machines().await else { return };
    pay(&world, "o-1", 0).await;
    blocking(|| pair.fail_over()).await;
    assert_eq!(world.balance(), 9_500, "what was acknowledged is there");
    pay(&world, "o-2", 1).await;
    // The first machine is gone and stays in the URL; then it is back, as the standby.
    blocking(|| pair.bring_back_the_other()).await;
    pay(&world, "o-3", 2).await;

    // Its kernel still takes connections, and nobody ever answers over them.
    blocking(|| {
        pair.freeze_primary();
        pair.promote_the_other();
    })
    .await;
    let begun = Instant::now();
    pay(&world, "o-4", 3).await;
    println!("a machine that hangs was given up after {:?}", begun.elapsed());
    assert_eq!(world.balance(), 8_000);
    world.assert_sound();
    assert!(world.store.is_running());
    pair.thaw_standby();
}

/// After a crash PostgreSQL shows what was on its own disk, though its standby does not have it and nobody was told of it.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_standby_lacks_is_not_told_although_the_database_shows_it_after_a_crash() {
    let Some((first, pair)) = on_two_machines().await else { return };
    let second = World::open(first.home.again());
    let shown = |world: &World| world.queries.balance(&ledger::posting::wallet(ACCOUNT.0, Currency::CNY));
    assert_eq!(shown(&second), Ok(10_000));

    blocking(|| pair.freeze_standby()).await;
    let store = first.store.clone();
    let unanswered = tokio::spawn(async move { store.execute(support::pay("o-1", &code(0, 0), 500)).await });
    tokio::time::sleep(NOT_ANSWERED_FOR).await;
    assert!(!unanswered.is_finished(), "answered, and on one machine alone");
    blocking(|| {
        pair.kill_primary();
        pair.start_primary_again();
    })
    .await;
    let Home::Pair(url, _) = &first.home else { panic!("another database") };
    let (database, _) = url.rsplit('/').next().unwrap().split_once('?').unwrap();
    let rows = pair.sql(database, "SELECT count(*) FROM paychip.payments");
    assert_eq!(rows, "1", "the crash has left nothing that could be told");

    let asking = blocking(move || (shown(&second), second)).await;
    assert_eq!(asking.0, Err(StoreError::Busy), "told what only one machine has");
    blocking(|| {
        pair.kill_primary();
        pair.thaw_standby();
        pair.promote_the_other();
    })
    .await;
    assert_eq!(unanswered.await.unwrap().unwrap_err(), Failure::Store(StoreError::Busy));
    assert_eq!(first.balance(), 10_000, "and it is gone");
    pay(&first, "o-1", 0).await;
    assert_eq!(first.balance(), 9_500);
    first.assert_sound();
}

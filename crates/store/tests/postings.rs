//! How clearing is posted to merchants, once, whoever does it: the same tests on every engine, each on a real database.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that cannot go on fails"
)]

mod support;

use ledger::Currency;
use ledger::posting::payable;
use platform::merchants::Merchant;
use platform::payments::PaymentState;
use platform::{Change, KeyHash, MerchantId};
use store::commands::PostClearing;
use store::{POSTING_INTERVAL_MS, Poster};
use support::{Home, NOW_MS, Put, SHOP, World, code, pay_at, pay_to, payment, refund};

on_every_database! {
    postings_move_the_net_to_the_shop_once,
    a_posting_in_parts_posts_to_each_shop_once_whoever_goes_on_with_it,
    many_payments_are_added_up_for_a_while_before_they_are_posted,
    refunds_of_a_shop_that_is_owed_nothing_wait_and_hold_nobody_up,
    refunds_that_wait_are_posted_once_another_partition_has_posted_what_covers_them,
}

async fn postings_move_the_net_to_the_shop_once(home: Home) {
    let world = World::with_money(home, 10_000).await;
    let owed = || world.queries.balance(&payable(SHOP.0, Currency::CNY)).unwrap();
    let post = |random: u8| PostClearing { now_ms: NOW_MS, random: [random; 10] };
    let paid = payment(world.pay("o-1", &code(0, 0), 1_000).await.unwrap());
    assert_eq!((owed(), world.queries.unposted_of(SHOP, Currency::CNY).unwrap()), (0, 1_000));
    assert_eq!(world.store.execute(post(1)).await.unwrap(), 1);
    assert_eq!(world.store.execute(post(2)).await.unwrap(), 0);
    assert_eq!((owed(), world.queries.unposted_of(SHOP, Currency::CNY).unwrap()), (1_000, 0));
    world.store.execute(refund(1, paid.id, "r-1", 400)).await.unwrap();
    world.store.execute(post(3)).await.unwrap();
    assert_eq!(owed(), 600);
    world.assert_sound();
}

/// The posters of the partitions that this world writes, each with its writer.
fn posters(world: &World) -> Vec<(store::Store, Poster)> {
    let posters = |one: store::Store| one.partitions().map(Poster::new).map(|poster| (one.clone(), poster)).collect();
    world.store.each().flat_map(posters as fn(_) -> Vec<_>).collect()
}

async fn a_posting_in_parts_posts_to_each_shop_once_whoever_goes_on_with_it(home: Home) {
    let world = World::with_money(home, 10_000).await;
    let shops: Vec<MerchantId> = (10..13).map(|number| MerchantId([number; 16])).collect();
    let row = |id: &MerchantId| Merchant { id: *id, api_key: KeyHash([id.0[0]; 32]), ..support::shop() };
    world.store.execute(Put(shops.iter().map(row).map(Change::PutMerchant).collect())).await.unwrap();
    for (number, shop) in shops.iter().enumerate() {
        let order = format!("o-{number}");
        let paid = world.store.execute(pay_to(*shop, &order, &code(0, number as u8), 100)).await.unwrap();
        assert_eq!(payment(paid).state, PaymentState::Succeeded);
    }
    let told = || -> Vec<(i64, i64)> {
        let owed = |shop: &MerchantId| world.queries.balance(&payable(shop.0, Currency::CNY)).unwrap();
        let waits = |shop: &MerchantId| world.queries.unposted_of(*shop, Currency::CNY).unwrap();
        shops.iter().map(|shop| (owed(shop), waits(shop))).collect()
    };
    let (store, mut poster) = posters(&world)
        .into_iter()
        .find_map(|(store, mut poster)| poster.look(&world.queries, NOW_MS).unwrap().then_some((store, poster)))
        .unwrap();
    let mut random = 0;
    let mut part = |poster: &mut Poster| {
        random += 1;
        poster.next_of(1, NOW_MS, [random; 10])
    };
    let parts = [part(&mut poster), part(&mut poster), part(&mut poster)].map(Option::unwrap);
    assert!(part(&mut poster).is_none());
    assert_eq!(store.execute(parts[1].clone()).await.unwrap(), None, "its turn has not come");
    assert_eq!(store.execute(parts[0].clone()).await.unwrap(), Some(1));
    assert_eq!(store.execute(parts[0].clone()).await.unwrap(), None, "it has been booked");
    assert_eq!(store.execute(parts[2].clone()).await.unwrap(), None, "its turn has not come");
    assert_eq!(told(), [(100, 0), (0, 100), (0, 100)]);
    // What comes in the middle of a posting is for the next.
    let paid = world.store.execute(pay_to(shops[0], "late", &code(0, 3), 10)).await.unwrap();
    assert_eq!(payment(paid).state, PaymentState::Succeeded);
    assert_eq!(told(), [(100, 10), (0, 100), (0, 100)]);
    world.assert_sound();
    // The server that began is gone.
    drop(store);
    let world = World::open(world.close());
    let told = || -> Vec<(i64, i64)> {
        let owed = |shop: &MerchantId| world.queries.balance(&payable(shop.0, Currency::CNY)).unwrap();
        let waits = |shop: &MerchantId| world.queries.unposted_of(*shop, Currency::CNY).unwrap();
        shops.iter().map(|shop| (owed(shop), waits(shop))).collect()
    };
    assert_eq!(told(), [(100, 10), (0, 100), (0, 100)]);
    for (round, expected) in
        [[(100, 10), (100, 0), (100, 0)], [(110, 0), (100, 0), (100, 0)], [(110, 0), (100, 0), (100, 0)]]
            .into_iter()
            .enumerate()
    {
        for (store, mut poster) in posters(&world) {
            poster.look(&world.queries, NOW_MS).unwrap();
            while let Some(next) = part(&mut poster) {
                assert!(store.execute(next).await.unwrap().is_some());
            }
        }
        assert_eq!(told(), expected, "round {round}");
        world.assert_sound();
    }
    // What the first server had sent comes after all.
    for part in parts {
        for one in world.store.each() {
            assert_eq!(one.execute(part.clone()).await.ok().flatten(), None);
        }
    }
    assert_eq!(told(), [(110, 0), (100, 0), (100, 0)]);
}

async fn many_payments_are_added_up_for_a_while_before_they_are_posted(home: Home) {
    let world = World::with_money(home, 10_000).await;
    let post = async |poster: &mut Poster, store: &store::Store, now_ms| {
        let is_due = poster.look(&world.queries, now_ms).unwrap();
        while let Some(part) = poster.next(now_ms, [now_ms as u8; 10]) {
            store.execute(part).await.unwrap();
        }
        is_due
    };
    let mut all = posters(&world);
    for (store, poster) in &mut all {
        post(poster, store, NOW_MS).await;
    }
    // More than are posted at once; and then again, in the middle of the time.
    let owed = || world.queries.balance(&payable(SHOP.0, Currency::CNY)).unwrap();
    for (round, expected) in [(0, 0), (1, 0), (2, 140)] {
        for number in 0..70 * u64::from(round < 2) {
            let code = code(i64::try_from(number / 4).unwrap() + 20 * round, (number % 4) as u8);
            let at_ms = NOW_MS + 30_000 * (number / 4 + 20 * round.unsigned_abs());
            let paid = world.store.execute(pay_at(&format!("o-{round}-{number}"), &code, 1, at_ms)).await.unwrap();
            assert_eq!(payment(paid).state, PaymentState::Succeeded, "{round} {number}");
        }
        for (store, poster) in &mut all {
            post(poster, store, NOW_MS + POSTING_INTERVAL_MS / 2 * round.unsigned_abs()).await;
        }
        assert_eq!(owed(), expected, "round {round}");
    }
    world.assert_sound();
}

async fn refunds_of_a_shop_that_is_owed_nothing_wait_and_hold_nobody_up(home: Home) {
    let world = World::with_money(home, 10_000).await;
    let owed = || world.queries.balance(&payable(SHOP.0, Currency::CNY)).unwrap();
    let waits = || world.queries.unposted_of(SHOP, Currency::CNY).unwrap();
    let post = |random: u8| PostClearing { now_ms: NOW_MS, random: [random; 10] };
    let paid = payment(world.pay("o-1", &code(0, 0), 1_000).await.unwrap());
    world.store.execute(post(1)).await.unwrap();
    // The shop has been paid out: it is owed nothing any more when the refund comes.
    let paid_out = Put(vec![settled(1_000, &world)]);
    world.store.execute(paid_out).await.unwrap();
    assert_eq!(owed(), 0);
    world.store.execute(refund(1, paid.id, "r-1", 400)).await.unwrap();
    assert_eq!(world.store.execute(post(2)).await.unwrap(), 0);
    assert_eq!((owed(), waits()), (0, -400));
    let next = payment(world.pay("o-2", &code(0, 1), 900).await.unwrap());
    assert_eq!((next.state, waits()), (PaymentState::Succeeded, 500));
    assert_eq!(world.store.execute(post(3)).await.unwrap(), 1);
    assert_eq!((owed(), waits()), (500, 0));
    world.assert_sound();
}

async fn refunds_that_wait_are_posted_once_another_partition_has_posted_what_covers_them(home: Home) {
    let world = World::with_money(home, 10_000).await;
    let owed = || world.queries.balance(&payable(SHOP.0, Currency::CNY)).unwrap();
    let post = |random: u8| PostClearing { now_ms: NOW_MS, random: [random; 10] };
    let paid = payment(world.pay("o-1", &code(0, 0), 1_000).await.unwrap());
    world.store.execute(post(1)).await.unwrap();
    world.store.execute(Put(vec![settled(1_000, &world)])).await.unwrap();
    world.store.execute(refund(1, paid.id, "r-1", 400)).await.unwrap();
    assert_eq!(world.store.execute(post(2)).await.unwrap(), 0);
    assert_eq!(world.store.execute(post(3)).await.unwrap(), 0);
    // Nothing is booked here any more: the money comes from elsewhere.
    world.store.execute(Put(vec![posted_elsewhere(900, &world)])).await.unwrap();
    assert_eq!(world.store.execute(post(4)).await.unwrap(), 1);
    assert_eq!((owed(), world.queries.unposted_of(SHOP, Currency::CNY).unwrap()), (500, 0));
}

/// A partition that nobody in these tests writes.
const ELSEWHERE: u32 = 77;

/// Another partition posts to the shop.
fn posted_elsewhere(minor: u64, world: &World) -> Change {
    use ledger::posting::{Cause, Event, Parties, clearing, entry};
    let amount = ledger::Amount::new(minor, Currency::CNY).unwrap();
    let cause = Cause { reference: [8; 16], counterparty: SHOP.0, at_ms: NOW_MS };
    let parties = Parties { merchant: SHOP.0, partition: ELSEWHERE, ..Parties::default() };
    let entry = entry(Event::PostToMerchant, cause, parties, amount).unwrap();
    let touched = [payable(SHOP.0, Currency::CNY), clearing(ELSEWHERE, Currency::CNY)];
    let before = touched.map(|account| (account, world.queries.balance(&account).unwrap()));
    Change::Book(platform::Booking::new(entry, &before.into()).unwrap())
}

/// The shop's money leaves the operator's funds, as a settlement will do it.
fn settled(minor: u64, world: &World) -> Change {
    use ledger::{Amount, Entry, EntryKind, Leg, Side, posting};
    let (payable, funding) = (payable(SHOP.0, Currency::CNY), posting::funding(Currency::CNY));
    let amount = Amount::new(minor, Currency::CNY).unwrap();
    let legs =
        vec![Leg { account: payable, side: Side::Debit, amount }, Leg { account: funding, side: Side::Credit, amount }];
    let cause = posting::Cause { reference: [9; 16], counterparty: SHOP.0, at_ms: NOW_MS };
    let entry = Entry::new(EntryKind::Posting, cause, legs).unwrap();
    let before = [payable, funding].map(|account| (account, world.queries.balance(&account).unwrap()));
    Change::Book(platform::Booking::new(entry, &before.into()).unwrap())
}

//! What a payment engine must never get wrong: the same tests on every engine, each on a real database.

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
use platform::payments::cancel::CancelRequest;
use platform::payments::confirm::Answer;
use platform::payments::refund::RefundRequest;
use platform::payments::{Decline, MerchantNumber, PaymentState};
use platform::tokens::{Token, TokenAction, TokenState};
use platform::{Caller, Change, KeyHash, MerchantId, PaymentId, Reason, RefundId};
use store::commands::{AnswerPayment, CancelOrder, Paid, PostClearing, RefundPayment, SweepOverdue};
use store::{Command, Env, Failure, POSTING_INTERVAL_MS, Poster, Tables};
use support::{Home, NOW_MS, Put, SHOP, TOKEN, World, act, code, pay, pay_at, pay_to};
use tokio::task::JoinSet;

fn payment(paid: Paid) -> platform::payments::Payment {
    match paid {
        Paid::Payment(payment) => payment,
        Paid::Wait { wait_ms } => panic!("told to wait {wait_ms} ms"),
    }
}

fn number(text: &str) -> MerchantNumber {
    MerchantNumber::parse(text, "refund").unwrap()
}

fn refund(id: u8, payment: PaymentId, number_text: &str, amount_minor: u64) -> RefundPayment {
    let request = RefundRequest { id: RefundId([id; 16]), number: number(number_text), amount_minor, now_ms: NOW_MS };
    RefundPayment { merchant: SHOP, payment, request }
}

fn cancel(order: &str) -> CancelOrder {
    CancelOrder(CancelRequest {
        merchant: SHOP,
        order: number(order),
        payment_id: PaymentId([0xCC; 16]),
        refund_id: RefundId([0xCC; 16]),
        now_ms: NOW_MS,
    })
}

fn reason(failure: Failure) -> Reason {
    match failure {
        Failure::Refused(refusal) => refusal.reason,
        Failure::Store(error) => panic!("{error}"),
    }
}

on_every_database! {
    a_balance_is_told_as_it_was_at_any_past_moment,
    a_large_payment_waits_for_its_wearer_and_moves_once,
    what_nobody_confirms_or_the_till_cancels_goes_back,
    a_code_pays_once_and_a_repeated_order_is_the_same_payment,
    many_tills_with_one_order_number_make_one_payment,
    many_tills_with_one_code_get_one_payment,
    refunds_that_race_never_pass_the_payment,
    a_cancel_closes_an_order_that_never_arrived_and_refunds_one_that_was_paid,
    a_freeze_holds_on_the_very_next_payment,
    postings_move_the_net_to_the_shop_once,
    a_posting_in_parts_posts_to_each_shop_once_whoever_goes_on_with_it,
    many_payments_are_added_up_for_a_while_before_they_are_posted,
    a_command_that_fails_takes_nobody_else_with_it,
    refunds_that_wait_are_posted_once_another_partition_has_posted_what_covers_them,
    a_clock_that_is_behind_at_midnight_does_not_open_the_old_day_anew,
    refunds_of_a_shop_that_is_owed_nothing_wait_and_hold_nobody_up,
    everything_acknowledged_is_there_after_a_restart,
    a_shop_that_guesses_is_braked_before_its_codes_are_looked_at,
    old_codes_replayed_and_codes_of_a_fast_clock_freeze_nobody,
    a_token_is_frozen_once_four_shops_have_guessed_at_it,
}

async fn a_code_pays_once_and_a_repeated_order_is_the_same_payment(home: Home) {
    let world = World::with_money(home, 10_000).await;
    let first = payment(world.pay("o-1", &code(0, 1), 1250).await.unwrap());
    assert_eq!((first.state, world.balance()), (PaymentState::Succeeded, 8_750));

    let repeat = payment(world.pay("o-1", &code(0, 1), 1250).await.unwrap());
    assert_eq!((repeat, world.balance()), (first, 8_750));
    let other_amount = world.pay("o-1", &code(0, 1), 1251).await.unwrap_err();
    assert_eq!(reason(other_amount), Reason::OrderParametersDiffer);

    for (order, code, decline) in [
        ("o-2", code(0, 1), Decline::CodeSpent),
        ("o-3", code(0, 0), Decline::CodeSuperseded),
        ("o-4", code(-3, 0), Decline::CodeStale),
        ("o-5", "71000000000000000000".to_owned(), Decline::CodeUnknown),
        ("o-6", "281234567890123456".to_owned(), Decline::CodeNotOurs),
    ] {
        let declined = payment(world.pay(order, &code, 100).await.unwrap());
        assert_eq!(declined.state, PaymentState::Failed(decline), "{order}");
    }
    assert_eq!(world.balance(), 8_750);
    let too_much = payment(world.pay("o-7", &code(0, 2), 8_751).await.unwrap());
    assert_eq!(too_much.state, PaymentState::Failed(Decline::InsufficientFunds));
    let again = payment(world.pay("o-8", &code(0, 2), 100).await.unwrap());
    assert_eq!(again.state, PaymentState::Failed(Decline::CodeSpent), "a code shown is spent, paid or not");
    world.assert_sound();
}

async fn many_tills_with_one_order_number_make_one_payment(home: Home) {
    let world = World::with_money(home, 10_000).await;
    let mut tasks = JoinSet::new();
    for _ in 0..32 {
        let store = world.store.clone();
        tasks.spawn(async move { store.execute(pay("o-1", &code(0, 0), 500)).await });
    }
    while let Some(answer) = tasks.join_next().await {
        assert_eq!(payment(answer.unwrap().unwrap()).state, PaymentState::Succeeded);
    }
    assert_eq!(world.balance(), 9_500);
}

async fn many_tills_with_one_code_get_one_payment(home: Home) {
    let world = World::with_money(home, 10_000).await;
    let mut tasks = JoinSet::new();
    for till in 0..32 {
        let store = world.store.clone();
        tasks.spawn(async move { store.execute(pay(&format!("o-{till}"), &code(0, 0), 500)).await });
    }
    let mut succeeded = 0;
    while let Some(answer) = tasks.join_next().await {
        match payment(answer.unwrap().unwrap()).state {
            PaymentState::Succeeded => succeeded += 1,
            state => assert_eq!(state, PaymentState::Failed(Decline::CodeSpent)),
        }
    }
    assert_eq!((succeeded, world.balance()), (1, 9_500));
    world.assert_sound();
}

async fn refunds_that_race_never_pass_the_payment(home: Home) {
    let world = World::with_money(home, 10_000).await;
    let paid = payment(world.pay("o-1", &code(0, 0), 1_000).await.unwrap());
    let mut tasks = JoinSet::new();
    for client in 0..64_u8 {
        let store = world.store.clone();
        let command = refund(client, paid.id, &format!("r-{client}"), 70);
        tasks.spawn(async move { store.execute(command).await });
    }
    let mut given = 0;
    while let Some(answer) = tasks.join_next().await {
        match answer.unwrap() {
            Ok(refund) => given += refund.amount.minor(),
            Err(failure) => assert_eq!(reason(failure), Reason::RefundExceedsPayment),
        }
    }
    assert_eq!(given, 980);
    assert_eq!(world.balance(), 9_980);
    let strangers = RefundPayment { merchant: platform::MerchantId([9; 16]), ..refund(99, paid.id, "x", 1) };
    assert_eq!(reason(world.store.execute(strangers).await.unwrap_err()), Reason::PaymentNotFound);
    world.assert_sound();
}

async fn a_cancel_closes_an_order_that_never_arrived_and_refunds_one_that_was_paid(home: Home) {
    let world = World::with_money(home, 10_000).await;
    assert_eq!(world.store.execute(cancel("late")).await.unwrap().state, PaymentState::Cancelled);
    let late = world.pay("late", &code(0, 0), 100).await.unwrap_err();
    assert_eq!(reason(late), Reason::OrderCancelled);

    let paid = payment(world.pay("o-1", &code(0, 0), 1_000).await.unwrap());
    world.store.execute(refund(1, paid.id, "r-1", 300)).await.unwrap();
    for _ in 0..2 {
        let cancelled = world.store.execute(cancel("o-1")).await.unwrap();
        assert_eq!((cancelled.state, cancelled.refunded_minor), (PaymentState::Cancelled, 1_000));
    }
    assert_eq!(world.balance(), 10_000);
    let after = world.store.execute(refund(2, paid.id, "r-2", 1)).await.unwrap_err();
    assert_eq!(reason(after), Reason::PaymentNotRefundable);
    world.assert_sound();
}

async fn a_freeze_holds_on_the_very_next_payment(home: Home) {
    let world = World::with_money(home, 10_000).await;
    let act = |action| act(Caller::Operator, action);
    world.store.execute(act(TokenAction::Freeze)).await.unwrap();
    let frozen = payment(world.pay("o-1", &code(0, 0), 100).await.unwrap());
    assert_eq!(frozen.state, PaymentState::Failed(Decline::TokenFrozen));
    world.store.execute(act(TokenAction::Resume)).await.unwrap();
    let resumed = payment(world.pay("o-2", &code(0, 1), 100).await.unwrap());
    assert_eq!(resumed.state, PaymentState::Succeeded);
    let events = world.queries.events_of(&TOKEN.to_string()).unwrap();
    let names: Vec<&str> = events.iter().map(|event| event.name.as_str()).collect();
    assert_eq!(names, ["resume", "freeze"]);
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

/// Fails in the engine after it has written.
struct Broken;

impl Command for Broken {
    type Answer = ();

    fn run(&self, tables: &mut Tables<'_>, _: &Env) -> Result<(), Failure> {
        let token = tables.token(TOKEN)?.unwrap();
        tables.apply(&Change::PutToken(Token { state: TokenState::Revoked, ..token.clone() }))?;
        // Another living token for the chip would be a second owner: the database refuses it.
        let second = |id: u8, number| Token {
            id: platform::TokenId([id; 16]),
            index: paycode::TokenIndex::new(number).unwrap(),
            state: TokenState::Active,
            ..token.clone()
        };
        tables.apply(&Change::PutToken(second(8, 49)))?;
        Ok(tables.apply(&Change::PutToken(second(9, 65)))?)
    }
}

async fn a_command_that_fails_takes_nobody_else_with_it(home: Home) {
    let world = World::with_money(home, 10_000).await;
    let mut tasks = JoinSet::new();
    // Fewer wrong codes than a shop has to wait for.
    for number in 0..36_u8 {
        let store = world.store.clone();
        if number % 2 == 0 {
            tasks.spawn(async move { store.execute(Broken).await.is_err() });
        } else {
            tasks.spawn(async move {
                let paid = store.execute(pay(&format!("o-{number}"), "71000000000000000000", 1)).await;
                payment(paid.unwrap()).state == PaymentState::Failed(Decline::CodeUnknown)
            });
        }
    }
    while let Some(as_expected) = tasks.join_next().await {
        assert!(as_expected.unwrap());
    }
    let paid = payment(world.pay("after", &code(0, 0), 100).await.unwrap());
    assert_eq!(paid.state, PaymentState::Succeeded, "what the broken commands wrote was undone");
    assert!(world.store.is_running());
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

async fn a_clock_that_is_behind_at_midnight_does_not_open_the_old_day_anew(home: Home) {
    let world = World::with_money(home, 2_000_000).await;
    let midnight_ms =
        (u64::try_from(platform::Settings::default().day_of(NOW_MS)).unwrap() + 1) * 86_400_000 - 480 * 60_000;
    let steps = i64::try_from(midnight_ms / 30_000 - NOW_MS / 30_000).unwrap();
    let (before_ms, after_ms) = (midnight_ms - 1, midnight_ms + 1);
    let succeeded = |paid: Result<Paid, Failure>| payment(paid.unwrap()).state == PaymentState::Succeeded;
    let most = platform::Limits::CHINA.unconfirmed_minor;
    let mut outcomes = Vec::new();
    // Two of the largest payments are within the day's limit, a third is not. From the third on it is tomorrow at one
    // server, and now and then still today at the other.
    for (number, now_ms) in [before_ms, before_ms, after_ms, before_ms, after_ms, before_ms].into_iter().enumerate() {
        let code = code(steps - 1 + i64::try_from(number / 4).unwrap(), u8::try_from(number % 4).unwrap());
        outcomes
            .push(succeeded(world.store.execute(support::pay_at(&format!("o-{number}"), &code, most, now_ms)).await));
    }
    assert_eq!(outcomes, [true, true, true, true, false, false]);
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

async fn a_large_payment_waits_for_its_wearer_and_moves_once(home: Home) {
    let world = World::with_money(home, 1_000_000).await;
    let wearer = Caller::Wearer(support::ACCOUNT);
    let answer = |payment, answer, now_ms| AnswerPayment { caller: wearer, payment, answer, now_ms };
    let large = payment(world.pay("o-1", &code(0, 0), 300_000).await.unwrap());
    let until_ms = NOW_MS + 180_000;
    assert_eq!(large.state, PaymentState::RequiresConfirmation { until_ms });
    assert_eq!((world.balance(), world.queries.waiting_of(support::ACCOUNT).unwrap()), (700_000, vec![large.clone()]));
    assert_eq!(payment(world.pay("o-1", &code(0, 0), 300_000).await.unwrap()), large, "a repeat is told the same");
    let early = world.store.execute(refund(1, large.id, "r-1", 1)).await.unwrap_err();
    assert_eq!(reason(early), Reason::PaymentNotRefundable, "what is not paid yet is not given back");
    world.assert_sound();

    let mut answers = JoinSet::new();
    for _ in 0..16 {
        let (store, confirm) = (world.store.clone(), answer(large.id, Answer::Confirm, NOW_MS + 1_000));
        answers.spawn(async move { store.execute(confirm).await });
    }
    while let Some(confirmed) = answers.join_next().await {
        assert_eq!(confirmed.unwrap().unwrap().state, PaymentState::Succeeded);
    }
    assert_eq!((world.balance(), world.queries.waiting_of(support::ACCOUNT).unwrap()), (700_000, vec![]));
    let refused = world.store.execute(answer(large.id, Answer::Refuse, NOW_MS + 2_000)).await.unwrap_err();
    assert_eq!(reason(refused), Reason::ConfirmationOver);
    world.store.execute(refund(1, large.id, "r-1", 300_000)).await.unwrap();
    assert_eq!(world.balance(), 1_000_000);
    assert_eq!(world.store.execute(PostClearing { now_ms: NOW_MS, random: [1; 10] }).await.unwrap(), 0);
    world.assert_sound();
}

async fn what_nobody_confirms_or_the_till_cancels_goes_back(home: Home) {
    let world = World::with_money(home, 1_000_000).await;
    let wearer = Caller::Wearer(support::ACCOUNT);
    let late = payment(world.pay("late", &code(0, 0), 210_000).await.unwrap());
    world.pay("closed", &code(0, 1), 210_000).await.unwrap();
    assert_eq!(world.balance(), 580_000);
    assert_eq!(world.store.execute(cancel("closed")).await.unwrap().state, PaymentState::Cancelled);
    assert_eq!(world.store.execute(cancel("closed")).await.unwrap().refunded_minor, 0);
    assert_eq!(world.balance(), 790_000);
    let sweep = |now_ms| SweepOverdue { now_ms };
    assert_eq!(world.store.execute(sweep(NOW_MS + 179_999)).await.unwrap(), []);
    let swept = world.store.execute(sweep(NOW_MS + 180_000)).await.unwrap();
    assert_eq!(
        swept.iter().map(|p| (p.id, p.state)).collect::<Vec<_>>(),
        [(late.id, PaymentState::Failed(Decline::NotConfirmed))]
    );
    assert_eq!(world.store.execute(sweep(NOW_MS + 999_999)).await.unwrap(), []);
    let too_late = AnswerPayment { caller: wearer, payment: late.id, answer: Answer::Confirm, now_ms: NOW_MS + 1 };
    assert_eq!(reason(world.store.execute(too_late).await.unwrap_err()), Reason::ConfirmationOver);
    assert_eq!(world.balance(), 1_000_000);
    let again = payment(world.pay("late", &code(0, 0), 210_000).await.unwrap());
    assert_eq!(again.state, PaymentState::Failed(Decline::NotConfirmed));
    // Nothing of it counts against the day: the whole day's limit is left.
    let whole = payment(world.pay("whole", &code(0, 2), 500_000).await.unwrap());
    assert!(matches!(whole.state, PaymentState::RequiresConfirmation { .. }));
    world.assert_sound();
}

async fn a_balance_is_told_as_it_was_at_any_past_moment(home: Home) {
    let world = World::with_money(home, 10_000).await;
    let wallet = ledger::posting::wallet(support::ACCOUNT.0, Currency::CNY);
    for (order, at_ms, minor) in [("o-1", 1_000, 100), ("o-2", 2_000, 200), ("o-3", 2_000, 300)] {
        let sequence = order.as_bytes()[2] - b'1';
        let new = support::pay_at(order, &code(0, sequence), minor, NOW_MS + at_ms);
        assert_eq!(payment(world.store.execute(new).await.unwrap()).state, PaymentState::Succeeded);
    }
    for (at_ms, balance) in
        [(NOW_MS - 1, 0), (NOW_MS, 10_000), (NOW_MS + 999, 10_000), (NOW_MS + 1_000, 9_900), (NOW_MS + 9_999, 9_400)]
    {
        assert_eq!(world.queries.balance_at(&wallet, at_ms).unwrap(), Some(balance), "{at_ms}");
    }
}

async fn everything_acknowledged_is_there_after_a_restart(home: Home) {
    let world = World::with_money(home, 10_000).await;
    let paid = payment(world.pay("o-1", &code(0, 0), 1_000).await.unwrap());
    let world = World::open(world.close());
    assert_eq!(world.queries.payment(paid.id).unwrap(), Some(paid));
    assert_eq!(
        world
            .queries
            .book(&ledger::posting::wallet(support::ACCOUNT.0, Currency::CNY), store::Page { before: None, limit: 9 })
            .unwrap()
            .len(),
        2
    );
    let spent = payment(world.pay("o-2", &code(0, 0), 1_000).await.unwrap());
    assert_eq!(spent.state, PaymentState::Failed(Decline::CodeSpent));
    assert_eq!(world.balance(), 9_000);
    world.assert_sound();
}

async fn a_shop_that_guesses_is_braked_before_its_codes_are_looked_at(home: Home) {
    let world = World::with_money(home, 10_000).await;
    let limit = platform::CodeSettings::default().merchant_wrong_codes;
    for guess in 0..limit {
        let code = format!("71{:018}", guess);
        let declined = payment(world.pay(&format!("g-{guess}"), &code, 1).await.unwrap());
        assert_eq!(declined.state, PaymentState::Failed(Decline::CodeUnknown));
    }
    let braked = world.pay("honest", &code(0, 0), 100).await.unwrap();
    assert!(matches!(braked, Paid::Wait { wait_ms } if wait_ms > 0));
    assert_eq!(world.balance(), 10_000);
}

async fn old_codes_replayed_and_codes_of_a_fast_clock_freeze_nobody(home: Home) {
    let world = World::with_money(home, 10_000).await;
    // Ten codes, each paid in its own time.
    let steps = 12;
    let paid_ms = |step: i64| NOW_MS.checked_add_signed((step - steps) * 30_000).unwrap();
    for step in 0..10 {
        let paid = world.store.execute(pay_at(&format!("o-{step}"), &code(step - steps, 0), 10, paid_ms(step))).await;
        assert_eq!(payment(paid.unwrap()).state, PaymentState::Succeeded, "{step}");
    }
    // An hour later one shop shows all of them again, twice.
    for round in 0..2 {
        for step in 0..10 {
            let replay = pay_at(&format!("r-{round}-{step}"), &code(step - steps, 0), 10, NOW_MS + 3_600_000);
            let declined = payment(world.store.execute(replay).await.unwrap());
            assert_eq!(declined.state, PaymentState::Failed(Decline::CodeSpent), "{step}");
        }
    }
    let early = payment(world.pay("early", &code(3, 0), 10).await.unwrap());
    assert_eq!(early.state, PaymentState::Failed(Decline::CodeEarly));
    let in_its_time = pay_at("later", &code(3, 0), 10, NOW_MS + 90_000);
    let spent = payment(world.store.execute(in_its_time).await.unwrap());
    assert_eq!(spent.state, PaymentState::Failed(Decline::CodeSpent), "who has seen it early gains nothing by waiting");
    let token = world.queries.token(TOKEN).unwrap().unwrap();
    assert_eq!((token.state, token.guesses.codes), (TokenState::Active, 0));
    assert_eq!(world.queries.merchant(SHOP).unwrap().unwrap().wrong_codes.count, 0);
    let next = payment(world.store.execute(pay_at("next", &code(3, 1), 10, NOW_MS + 90_000)).await.unwrap());
    assert_eq!(next.state, PaymentState::Succeeded);
    world.assert_sound();
}

async fn a_token_is_frozen_once_four_shops_have_guessed_at_it(home: Home) {
    let world = World::with_money(home, 10_000).await;
    let shops: Vec<MerchantId> = (10..14).map(|number| MerchantId([number; 16])).collect();
    let rows = shops
        .iter()
        .map(|id| Change::PutMerchant(Merchant { id: *id, api_key: KeyHash([id.0[0]; 32]), ..support::shop() }));
    world.store.execute(Put(rows.collect())).await.unwrap();
    let state = || world.queries.token(TOKEN).unwrap().unwrap().state;
    for (number, shop) in shops.iter().enumerate() {
        for guess in 0..5 {
            assert_eq!(state(), TokenState::Active, "shop {number}, guess {guess}");
            // Far from now: the right index, and a password of no step near.
            let order = format!("g-{number}-{guess}");
            let wrong = pay_to(*shop, &order, &code(1_000 + guess, number as u8), 10);
            let declined = payment(world.store.execute(wrong).await.unwrap());
            assert_eq!(declined.state, PaymentState::Failed(Decline::CodeUnknown));
            if number == 3 {
                break;
            }
        }
    }
    assert_eq!(state(), TokenState::FrozenByRisk);
    let frozen = payment(world.pay("honest", &code(0, 0), 10).await.unwrap());
    assert_eq!(frozen.state, PaymentState::Failed(Decline::TokenFrozen));
    let wearer = act(Caller::Wearer(support::ACCOUNT), TokenAction::Resume);
    assert_eq!(reason(world.store.execute(wearer).await.unwrap_err()), Reason::OperatorOnly);
    world.store.execute(act(Caller::Operator, TokenAction::Resume)).await.unwrap();
    let paid = payment(world.pay("again", &code(0, 1), 10).await.unwrap());
    assert_eq!(paid.state, PaymentState::Succeeded);
    let events = world.queries.events_of(&TOKEN.to_string()).unwrap();
    let alert = events.iter().find(|event| event.name == "wrong_codes").unwrap();
    assert_eq!((alert.actor.as_str(), alert.why.as_str()), ("risk", "16 wrong codes from 4 merchants"));
    world.assert_sound();
}

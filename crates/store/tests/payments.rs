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
use platform::payments::confirm::Answer;
use platform::payments::{Decline, PaymentState};
use platform::tokens::{Token, TokenAction, TokenState};
use platform::{Caller, Change, Reason};
use store::commands::{AnswerPayment, Paid, PostClearing, RefundPayment, SweepOverdue};
use store::{Command, Env, Failure, Tables};
use support::{Home, NOW_MS, Put, TOKEN, World, act, cancel, code, pay, payment, reason, refund};
use tokio::task::JoinSet;

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
    a_command_that_fails_takes_nobody_else_with_it,
    a_clock_that_is_behind_at_midnight_does_not_open_the_old_day_anew,
    everything_acknowledged_is_there_after_a_restart,
    the_mask_key_a_chip_was_given_at_a_sync_is_remembered,
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
    assert_eq!(world.store.execute(cancel(0xCC, "late")).await.unwrap().state, PaymentState::Cancelled);
    let late = world.pay("late", &code(0, 0), 100).await.unwrap_err();
    assert_eq!(reason(late), Reason::OrderCancelled);

    let paid = payment(world.pay("o-1", &code(0, 0), 1_000).await.unwrap());
    world.store.execute(refund(1, paid.id, "r-1", 300)).await.unwrap();
    for _ in 0..2 {
        let cancelled = world.store.execute(cancel(0xCC, "o-1")).await.unwrap();
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
    assert_eq!(world.store.execute(cancel(0xCC, "closed")).await.unwrap().state, PaymentState::Cancelled);
    assert_eq!(world.store.execute(cancel(0xCC, "closed")).await.unwrap().refunded_minor, 0);
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

async fn the_mask_key_a_chip_was_given_at_a_sync_is_remembered(home: Home) {
    let world = World::with_money(home, 1_000).await;
    payment(world.pay("o-1", &code(0, 0), 100).await.unwrap());
    let before = world.queries.token(TOKEN).unwrap().unwrap();
    let after = Token { mask_key_version: before.mask_key_version + 1, ..before.clone() };
    world.store.execute(Put(vec![Change::PutToken(after.clone())])).await.unwrap();
    assert_eq!(world.queries.token(TOKEN).unwrap(), Some(after.clone()), "and what payments change is as it was");
    // Nothing of it is only in memory.
    let world = World::open(world.close());
    assert_eq!(world.queries.token(TOKEN).unwrap(), Some(after));
    world.assert_sound();
}

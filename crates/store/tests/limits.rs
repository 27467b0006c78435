//! What is bounded in number, whoever asks and however often: guesses, what pays nothing, refunds, freezes lifted. The same tests on
//! every engine, each on a real database.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that cannot go on fails"
)]

mod support;

use platform::merchants::Merchant;
use platform::payments::refund::MAX_REFUNDS;
use platform::payments::{Decline, Payment, PaymentState};
use platform::tokens::{TokenAction, TokenState};
use platform::{Caller, Change, KeyHash, MerchantId, Reason};
use store::commands::Paid;
use support::{
    Home, NOW_MS, Put, SHOP, TOKEN, World, act, cancel, code, number, pay_at, pay_to, payment, reason, refund,
};
use tokio::task::JoinSet;

on_every_database! {
    a_shop_that_guesses_is_braked_before_its_codes_are_looked_at,
    old_codes_replayed_and_codes_of_a_fast_clock_freeze_nobody,
    a_token_is_frozen_once_four_shops_have_guessed_at_it,
    what_pays_nothing_is_kept_so_often_a_day_and_no_more,
    a_payment_has_so_many_refunds_and_its_cancel_gives_back_the_rest,
    a_wearer_resumes_so_often_a_day_and_freezes_whatever_the_count,
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

async fn what_pays_nothing_is_kept_so_often_a_day_and_no_more(home: Home) {
    let world = World::with_money(home, 10_000).await;
    let shop = || world.queries.merchant(SHOP).unwrap().unwrap();
    let settings = platform::Settings::default();
    let nearly = settings.codes.merchant_day_fruitless - 3;
    let wrong_codes =
        platform::merchants::WrongCodes { fruitless: nearly, ..shop().wrong_codes.on_day(NOW_MS, &settings) };
    world.store.execute(Put(vec![Change::PutMerchant(Merchant { wrong_codes, ..shop() })])).await.unwrap();
    let foreign = "28763443825664394";
    payment(world.pay("paid", &code(0, 0), 100).await.unwrap());
    let declined = payment(world.pay("foreign", foreign, 1).await.unwrap());
    assert_eq!(declined.state, PaymentState::Failed(Decline::CodeNotOurs));
    let declined = payment(world.pay("spent", &code(0, 0), 1).await.unwrap());
    assert_eq!(declined.state, PaymentState::Failed(Decline::CodeSpent));
    world.store.execute(cancel(0xCC, "never-came")).await.unwrap();
    assert_eq!(shop().wrong_codes.fruitless, settings.codes.merchant_day_fruitless);

    // No more of it leaves anything; the same numbers still get their answers, and who pays is paid.
    for (order, shown) in [("f-2", foreign.to_owned()), ("s-2", code(0, 0)), ("old", code(-3, 0))] {
        assert_eq!(reason(world.pay(order, &shown, 1).await.unwrap_err()), Reason::TooManyDeclines, "{order}");
        assert_eq!(world.queries.payment_by_order(SHOP, &number(order)).unwrap(), None, "{order}");
    }
    assert_eq!(reason(world.store.execute(cancel(0xCC, "nor-this")).await.unwrap_err()), Reason::TooManyDeclines);
    let again = payment(world.pay("foreign", foreign, 1).await.unwrap());
    assert_eq!(again.state, PaymentState::Failed(Decline::CodeNotOurs));
    world.store.execute(cancel(0xCC, "never-came")).await.unwrap();
    let paid = payment(world.pay("next", &code(0, 1), 100).await.unwrap());
    assert_eq!((paid.state, world.balance()), (PaymentState::Succeeded, 9_800));
    world.store.execute(cancel(0xCC, "next")).await.unwrap();
    assert_eq!(shop().wrong_codes.fruitless, settings.codes.merchant_day_fruitless);
    let events = world.queries.events_of(&SHOP.to_string()).unwrap();
    assert_eq!(events.iter().filter(|event| event.name == "too_many_declines").count(), 1);

    let tomorrow = world.store.execute(pay_at("tomorrow", foreign, 1, NOW_MS + 86_400_000)).await.unwrap();
    assert_eq!(payment(tomorrow).state, PaymentState::Failed(Decline::CodeNotOurs));
    assert_eq!(shop().wrong_codes.fruitless, 1);
    world.assert_sound();
}

async fn a_payment_has_so_many_refunds_and_its_cancel_gives_back_the_rest(home: Home) {
    const FEW: u16 = 20;
    let world = World::with_money(home, 10_000).await;
    let paid = payment(world.pay("o-1", &code(0, 0), 1_000).await.unwrap());
    // As if all but a few had been given already.
    let many = Payment { refunds: MAX_REFUNDS - FEW, ..paid.clone() };
    world.store.execute(Put(vec![Change::PutPayment(many)])).await.unwrap();
    let mut tasks = JoinSet::new();
    for client in 0..64 {
        let store = world.store.clone();
        let command = refund(client, paid.id, &format!("r-{client}"), 1);
        tasks.spawn(async move { store.execute(command).await });
    }
    let mut given = 0;
    while let Some(answer) = tasks.join_next().await {
        match answer.unwrap() {
            Ok(_) => given += 1,
            Err(failure) => assert_eq!(reason(failure), Reason::TooManyRefunds),
        }
    }
    assert_eq!((given, world.queries.refunds_of(paid.id).unwrap().len()), (FEW, FEW.into()));
    let cancelled = world.store.execute(cancel(0xCC, "o-1")).await.unwrap();
    assert_eq!((cancelled.state, cancelled.refunded_minor, world.balance()), (PaymentState::Cancelled, 1_000, 10_000));
    world.assert_sound();
}

async fn a_wearer_resumes_so_often_a_day_and_freezes_whatever_the_count(home: Home) {
    let world = World::with_money(home, 10_000).await;
    let wearer = Caller::Wearer(support::ACCOUNT);
    let settings = platform::Settings::default();
    let at = |action, now_ms| {
        let request = platform::tokens::ActRequest { caller: wearer, action, why: String::new(), now_ms };
        world.store.execute(store::commands::ActOnToken { token: TOKEN, request })
    };
    let lines = || world.queries.events_of(&TOKEN.to_string()).unwrap().len();
    for _ in 0..settings.resumes_a_day {
        at(TokenAction::Freeze, NOW_MS).await.unwrap();
        at(TokenAction::Resume, NOW_MS).await.unwrap();
        // What is done already counts nothing.
        at(TokenAction::Resume, NOW_MS).await.unwrap();
    }
    let before = lines();
    for _ in 0..3 {
        assert_eq!(at(TokenAction::Freeze, NOW_MS).await.unwrap().state, TokenState::FrozenByWearer);
        assert_eq!(reason(at(TokenAction::Resume, NOW_MS).await.unwrap_err()), Reason::TooManyResumes);
    }
    assert_eq!(lines(), before + 1, "the freeze, once");
    let declined = payment(world.pay("frozen", &code(0, 0), 100).await.unwrap());
    assert_eq!(declined.state, PaymentState::Failed(Decline::TokenFrozen));
    world.store.execute(act(Caller::Operator, TokenAction::Resume)).await.unwrap();
    assert_eq!(at(TokenAction::Freeze, NOW_MS).await.unwrap().state, TokenState::FrozenByWearer);
    let tomorrow_ms = NOW_MS + 86_400_000;
    assert_eq!(at(TokenAction::Resume, tomorrow_ms).await.unwrap().state, TokenState::Active);
    world.assert_sound();
}

//! The steps of a sync against the card's end of SCP03, and every way they go wrong.

use ledger::{Amount, Currency};
use paycode::{Sequence, Stamp, TimeStep};
use protocol::apdu::StatusWord;
use protocol::applet::{CodeStamp, PaymentNotice, PaymentOutcome};
use protocol::script::{Message, Outcome, SessionId};

use super::*;
use crate::payments::{MerchantNumber, Payment, PaymentState};
use crate::relays::card::{Card, results as results_message};
use crate::tokens::tests::token;
use crate::{AccountId, KeyHash, MerchantId, PaymentId};

const NOW_MS: u64 = 1_763_890_000_000;
const OTHER: TokenId = TokenId([0x77; 16]);

fn keys() -> KeySet {
    KeySet::from_bytes(1, &[1; 16], &[2; 16], &[3; 16]).unwrap()
}

fn in_state(state: TokenState) -> Token {
    Token { last_counter: Some(7), ..token(state) }
}

fn request(token: &Token) -> StartSync {
    StartSync {
        caller: Caller::Wearer(token.account),
        token: token.id,
        session: [5; 16],
        host_challenge: [6; 8],
        now_ms: NOW_MS,
    }
}

fn begun(token: &Token, living: Option<TokenId>) -> Result<(SyncAnswer, Vec<Change>), Refusal> {
    let facts = StartSyncFacts {
        token: token.clone(),
        living,
        chip_key_version: 1,
        mask_key_version: 2,
        told: Vec::new(),
        confirmed: OnDay::default(),
    };
    start(&request(token), &facts, &Settings::default())
}

fn facts(sync: &TokenSync, token: &Token) -> SyncFacts {
    let account = Account {
        id: token.account,
        name: "Li Wei".to_owned(),
        currency: Currency::CNY,
        wallet_key: KeyHash([0; 32]),
        created_ms: 0,
    };
    let living = (token.state != TokenState::Revoked).then_some(token.id);
    let (chip_keys, mask_key) = (keys(), Zeroizing::new([9; 16]));
    SyncFacts { sync: sync.clone(), token: token.clone(), living, account, chip_keys, mask_key, results: Vec::new() }
}

fn step(facts: SyncFacts, message: &[u8], now_ms: u64) -> Result<(SyncAnswer, Vec<Change>), Refusal> {
    let caller = Caller::Wearer(facts.token.account);
    relay(caller, facts, message, [8; 8], &Settings::default(), now_ms)
}

/// Up to the order: the card, and the answer that holds it.
fn opened_for(token: &Token) -> (Card, SyncAnswer) {
    let mut card = Card::with(keys());
    card.holds = Some((token.id.0, 7));
    let (answer, _) = begun(token, None).unwrap();
    let message = card.run(&answer.message);
    let (answer, changes) = step(facts(&answer.sync, token), &message, NOW_MS).unwrap();
    assert_eq!(changes, [Change::PutSync(answer.sync.clone())]);
    assert_eq!((answer.sync.state, answer.sync.counter_before), (SyncState::Ordering, Some(7)));
    (card, answer)
}

fn names(changes: &[Change]) -> Vec<&str> {
    let name = |change: &_| match change {
        Change::AddEvent(event) => Some(event.name),
        _ => None,
    };
    changes.iter().filter_map(name).collect()
}

fn last_word(message: &[u8]) -> Result<String, String> {
    match Message::decode(message) {
        Ok(Message::Outcome(Outcome::Done { account_label, .. })) => Ok(account_label.to_owned()),
        Ok(Message::Outcome(Outcome::Failed { code, .. })) => Err(code.to_owned()),
        other => panic!("no last word: {other:?}"),
    }
}

#[test]
fn a_token_that_pays_is_refilled_and_one_that_was_revoked_is_wiped() {
    for (state, label, event) in [(TokenState::Active, "L***", "refilled"), (TokenState::Revoked, "", "wiped")] {
        let token = in_state(state);
        let (mut card, ordering) = opened_for(&token);
        let message = card.run(&ordering.message);
        let (answer, changes) = step(facts(&ordering.sync, &token), &message, NOW_MS).unwrap();
        assert_eq!((answer.sync.state, names(&changes)), (SyncState::Done, vec![event]));
        assert_eq!(last_word(&answer.message), Ok(label.to_owned()));
        let order = Order::decode(card.installed.as_ref().unwrap()).unwrap();
        match (state, order) {
            (TokenState::Active, Order::Sync(order)) => {
                assert_eq!(order.grant.time_anchor_unix_seconds, NOW_MS / 1_000);
                assert_eq!(order.mask_key, Some(MaskKeyUpdate { key: &[9; 16], version: 2 }));
                let renewed = changes.iter().any(|change| match change {
                    Change::PutToken(token) => token.mask_key_version == 2,
                    _ => false,
                });
                assert!(renewed, "the cloud knows which mask key the chip has now");
            }
            (TokenState::Revoked, Order::RemoveToken(order)) => assert_eq!(order.slot, Slot::FIRST),
            other => panic!("{other:?}"),
        }
        // Once more: the same answer, and nothing is changed.
        let (again, changes) = step(facts(&answer.sync, &token), &message, NOW_MS).unwrap();
        assert_eq!((again.message, changes), (answer.message, vec![]));
    }
}

#[test]
fn what_may_be_synced() {
    for (state, living, expected) in [
        (TokenState::Active, None, Ok(Work::Refill)),
        (TokenState::Revoked, None, Ok(Work::Wipe)),
        (TokenState::Revoked, Some(OTHER), Err(Reason::ChipBound)),
        (TokenState::Pending, None, Err(Reason::TokenStateForbids)),
        (TokenState::FrozenByWearer, None, Err(Reason::TokenStateForbids)),
        (TokenState::FrozenByRisk, None, Err(Reason::TokenStateForbids)),
        (TokenState::FrozenByOperator, None, Err(Reason::TokenStateForbids)),
        (TokenState::Lost, None, Err(Reason::TokenStateForbids)),
        (TokenState::Expired, None, Err(Reason::TokenStateForbids)),
    ] {
        let begun = begun(&in_state(state), living).map(|(answer, _)| answer.sync.work);
        assert_eq!(begun.map_err(|refusal| refusal.reason), expected, "{state:?}");
    }
    let token = in_state(TokenState::Active);
    let stranger = StartSync { caller: Caller::Wearer(AccountId([0xEE; 16])), ..request(&token) };
    let facts = StartSyncFacts {
        token,
        living: None,
        chip_key_version: 1,
        mask_key_version: 1,
        told: Vec::new(),
        confirmed: OnDay::default(),
    };
    let refused = start(&stranger, &facts, &Settings::default()).map(|_| ()).unwrap_err();
    assert_eq!(refused.reason, Reason::TokenNotFound);
}

#[test]
fn what_the_chip_holds_decides_what_its_answer_is_worth() {
    type Held = Option<([u8; 16], u32)>;
    type Case = (&'static str, TokenState, Held, Option<StatusWord>, SyncState, Option<Reason>);
    let token = |state| in_state(state).id.0;
    let own = token(TokenState::Active);
    let refused = Some(StatusWord::REFERENCE_NOT_FOUND);
    let cases: [Case; 7] = [
        ("as it was", TokenState::Active, Some((own, 7)), None, SyncState::Done, None),
        ("codes made since", TokenState::Active, Some((own, 9)), None, SyncState::Done, None),
        (
            "fewer codes than were paid with",
            TokenState::Active,
            Some((own, 6)),
            None,
            SyncState::Failed,
            Some(Reason::ChipCloned),
        ),
        (
            "another token",
            TokenState::Active,
            Some((OTHER.0, 9)),
            None,
            SyncState::Failed,
            Some(Reason::TokenNotInChip),
        ),
        ("no token", TokenState::Active, None, refused, SyncState::Failed, Some(Reason::TokenNotInChip)),
        ("wiped before", TokenState::Revoked, None, refused, SyncState::Done, None),
        ("a refusal anybody can write", TokenState::Revoked, Some((own, 7)), refused, SyncState::Opening, None),
    ];
    for (what, state, holds, refuses, expected, failure) in cases {
        let token = in_state(state);
        let (mut card, ordering) = opened_for(&token);
        (card.holds, card.refuses) = (holds, refuses);
        let message = card.run(&ordering.message);
        let (answer, changes) = step(facts(&ordering.sync, &token), &message, NOW_MS).unwrap();
        assert_eq!((answer.sync.state, answer.sync.failure), (expected, failure), "{what}");
        if failure == Some(Reason::ChipCloned) {
            assert_eq!(names(&changes), ["chip_cloned"]);
            let frozen = changes.iter().any(|change| match change {
                Change::PutToken(token) => token.state == TokenState::FrozenByRisk,
                _ => false,
            });
            assert!(frozen, "{what}");
        }
    }
}

#[test]
fn a_code_that_was_paid_while_the_answer_was_on_its_way_makes_no_clone() {
    let token = in_state(TokenState::Active);
    let (mut card, ordering) = opened_for(&token);
    let message = card.run(&ordering.message);
    // The chip had made seven codes when it answered; the eighth is paid before the answer is here.
    let token = Token { last_counter: Some(8), ..token };
    let (answer, _) = step(facts(&ordering.sync, &token), &message, NOW_MS).unwrap();
    assert_eq!(answer.sync.state, SyncState::Done);
}

#[test]
fn lost_channels_are_opened_anew_and_not_for_ever() {
    let token = in_state(TokenState::Active);
    let (_, mut ordering) = opened_for(&token);
    for channel in 1..=MAX_CHANNELS {
        // The chip loses power before the order comes.
        let mut card = Card::with(keys());
        card.holds = Some((token.id.0, 7));
        let (answer, _) = step(facts(&ordering.sync, &token), &card.run(&ordering.message), NOW_MS).unwrap();
        if channel == MAX_CHANNELS {
            assert_eq!(last_word(&answer.message), Err("sync_failed".to_owned()));
            return;
        }
        assert_eq!((answer.sync.state, answer.sync.channels), (SyncState::Opening, channel));
        assert_eq!(answer.sync.host_challenge, [8; 8], "a fresh one");
        (ordering, _) = step(facts(&answer.sync, &token), &card.run(&answer.message), NOW_MS).unwrap();
    }
    panic!("five channels are not enough");
}

#[test]
fn an_altered_answer_confirms_nothing() {
    let token = in_state(TokenState::Active);
    let (mut card, ordering) = opened_for(&token);
    let honest = card.run(&ordering.message);
    for position in 0..honest.len() {
        let mut altered = honest.clone();
        altered[position] ^= 1;
        if let Ok((answer, changes)) = step(facts(&ordering.sync, &token), &altered, NOW_MS) {
            assert_ne!(answer.sync.state, SyncState::Done, "byte {position}");
            assert!(names(&changes).is_empty(), "byte {position}");
        }
    }
}

#[test]
fn a_sync_ends_when_it_is_late_or_superseded_or_its_token_was_stopped() {
    let token = in_state(TokenState::Active);
    let (mut card, ordering) = opened_for(&token);
    let message = card.run(&ordering.message);
    let settings = Settings::default();
    let late_ms = NOW_MS + settings.confirmation_lifetime_ms + 1;
    let (late, _) = step(facts(&ordering.sync, &token), &message, late_ms).unwrap();
    assert_eq!(last_word(&late.message), Err("sync_expired".to_owned()));
    let frozen = Token { state: TokenState::FrozenByWearer, ..token.clone() };
    let (stopped, _) = step(facts(&ordering.sync, &frozen), &message, NOW_MS).unwrap();
    assert_eq!(last_word(&stopped.message), Err("token_state_forbids".to_owned()));
    let newer = TokenSync { session: [0x55; 16], ..ordering.sync.clone() };
    let refused = step(facts(&newer, &token), &message, NOW_MS).map(|_| ()).unwrap_err();
    assert_eq!(refused, Refusal::at(Reason::SyncSuperseded, "message"));
    let stranger = Caller::Wearer(AccountId([0xEE; 16]));
    let asked = relay(stranger, facts(&ordering.sync, &token), &message, [8; 8], &settings, NOW_MS);
    assert_eq!(asked.map(|_| ()).unwrap_err().reason, Reason::TokenNotFound);
    // A chip that holds its channel back is asked again, forty times.
    let (begun, _) = begun(&token, None).unwrap();
    let held_back = |script: u8| {
        let sync = TokenSync { script, ..begun.sync.clone() };
        let answers = [vec![0x90, 0x00], vec![0x93, 0x05]];
        let message = results_message(SessionId(sync.session), script.into(), &answers);
        step(facts(&sync, &token), &message, NOW_MS).unwrap().0.sync
    };
    assert_eq!(held_back(MAX_ASKED_AGAIN - 1).state, SyncState::Opening);
    assert_eq!(held_back(MAX_ASKED_AGAIN).failure, Some(Reason::ChipRefusedChannel));
}

#[test]
fn so_many_syncs_are_confirmed_a_day_and_those_that_fail_do_not_count() {
    let settings = Settings::default();
    let today = settings.day_of(NOW_MS);
    let most = settings.syncs_a_day;
    for state in [TokenState::Active, TokenState::Revoked] {
        let token = in_state(state);
        let facts_of = |confirmed| StartSyncFacts {
            token: token.clone(),
            living: None,
            chip_key_version: 1,
            mask_key_version: 2,
            told: Vec::new(),
            confirmed,
        };
        // The last that is confirmed on this day counts, and is the last that begins.
        let known = OnDay { day: today, count: most - 1 };
        let (begun, _) = start(&request(&token), &facts_of(known), &settings).unwrap();
        let mut card = Card::with(keys());
        card.holds = Some((token.id.0, 7));
        let (ordering, _) = step(facts(&begun.sync, &token), &card.run(&begun.message), NOW_MS).unwrap();
        assert_eq!(ordering.sync.confirmed, known, "nothing is confirmed yet");
        let message = card.run(&ordering.message);
        let (done, _) = step(facts(&ordering.sync, &token), &message, NOW_MS).unwrap();
        assert_eq!(done.sync.confirmed, OnDay { day: today, count: most });
        let refused = start(&request(&token), &facts_of(done.sync.confirmed), &settings).map(|_| ()).unwrap_err();
        assert_eq!(refused, Refusal::from(Reason::TooManySyncs));
        let tomorrow = StartSync { now_ms: NOW_MS + 86_400_000, ..request(&token) };
        assert!(start(&tomorrow, &facts_of(done.sync.confirmed), &settings).is_ok());
        // One that ends without the chip's word counts nothing.
        card.holds = Some((OTHER.0, 7));
        card.refuses = Some(StatusWord::REFERENCE_NOT_FOUND);
        let late_ms = NOW_MS + settings.confirmation_lifetime_ms + 1;
        let (failed, _) = step(facts(&ordering.sync, &token), &message, late_ms).unwrap();
        assert_eq!((failed.sync.state, failed.sync.confirmed), (SyncState::Failed, known));
    }
}

#[test]
fn a_sync_that_has_something_to_tell_counts_once() {
    let token = in_state(TokenState::Active);
    let results = [result(&token, 1, PaymentState::Succeeded)];
    let (mut card, announcing) = refilled(&token, &results);
    let (telling, _) = step(facts(&announcing.sync, &token), &card.run(&announcing.message), NOW_MS).unwrap();
    let (done, _) = step(facts(&telling.sync, &token), &card.run(&telling.message), NOW_MS).unwrap();
    for sync in [announcing.sync, telling.sync, done.sync] {
        assert_eq!(sync.confirmed.count, 1, "{:?}", sync.state);
    }
}

fn result(token: &Token, number: u8, state: PaymentState) -> TokenResult {
    let payment = Payment {
        id: PaymentId([number; 16]),
        merchant: MerchantId([1; 16]),
        order: MerchantNumber::parse("1", "order").unwrap(),
        fingerprint: None,
        amount: Some(Amount::new(1_200, Currency::CNY).unwrap()),
        state,
        account: Some(token.account),
        token: Some(token.id),
        verified: false,
        refunded_minor: 0,
        refunds: 0,
        created_ms: NOW_MS,
        category: None,
        decision: None,
    };
    let stamp = Stamp::new(TimeStep(u32::from(number)), Sequence::FIRST);
    TokenResult { payment, merchant: "Tea House".to_owned(), stamp }
}

/// Up to the opening of the channel for notices.
fn refilled(token: &Token, results: &[TokenResult]) -> (Card, SyncAnswer) {
    let (mut card, ordering) = opened_for(token);
    let message = card.run(&ordering.message);
    let known = SyncFacts { results: results.to_vec(), ..facts(&ordering.sync, token) };
    let (answer, changes) = step(known, &message, NOW_MS).unwrap();
    assert_eq!(names(&changes), ["refilled"], "the refill counts, whatever comes of the telling");
    (card, answer)
}

#[test]
fn a_code_that_was_used_and_that_the_chip_had_not_made_names_a_copy() {
    let token = in_state(TokenState::Active);
    let made = |step| CodeStamp::new(step, 0);
    let (long_ago, just_now) = (NOW_MS - 120_001, NOW_MS - 120_000);
    for (what, newest, used, at_ms, is_copied) in [
        ("its newest", made(5), 5, long_ago, false),
        ("an older one", made(6), 5, long_ago, false),
        ("newer than all it has made", made(4), 5, long_ago, true),
        ("the next of the same step", made(5), 6, long_ago, true),
        ("it has made none", None, 5, long_ago, true),
        ("while the code lives", made(4), 5, just_now, false),
        ("while the answer was on its way", made(4), 5, NOW_MS + 1, false),
    ] {
        let mut used = result(&token, used, PaymentState::Succeeded);
        used.payment.created_ms = at_ms;
        if what.starts_with("the next") {
            used.stamp = Stamp::new(TimeStep(5), Sequence::FIRST.next().unwrap());
        }
        let (mut card, ordering) = opened_for(&token);
        card.made = newest;
        let message = card.run(&ordering.message);
        let known = SyncFacts { results: vec![used], ..facts(&ordering.sync, &token) };
        let (answer, changes) = step(known, &message, NOW_MS).unwrap();
        let expected = if is_copied { Some(Reason::ChipCloned) } else { None };
        assert_eq!(answer.sync.failure, expected, "{what}");
        assert_eq!(names(&changes), [if is_copied { "chip_cloned" } else { "refilled" }], "{what}");
    }
    // What is taken out of a chip is not asked for.
    let revoked = in_state(TokenState::Revoked);
    let mut used = result(&revoked, 5, PaymentState::Succeeded);
    used.payment.created_ms = long_ago;
    let (mut card, ordering) = opened_for(&revoked);
    let message = card.run(&ordering.message);
    let known = SyncFacts { results: vec![used], ..facts(&ordering.sync, &revoked) };
    assert_eq!(step(known, &message, NOW_MS).unwrap().0.sync.state, SyncState::Done);
}

#[test]
fn a_refill_tells_what_is_news_and_remembers_what_was_vouched_for() {
    let token = in_state(TokenState::Active);
    let results = [result(&token, 2, PaymentState::Cancelled), result(&token, 1, PaymentState::Succeeded)];
    let (mut card, announcing) = refilled(&token, &results);
    assert_eq!((announcing.sync.state, announcing.sync.host_challenge), (SyncState::Announcing, [8; 8]));
    let message = card.run(&announcing.message);
    let (telling, _) = step(facts(&announcing.sync, &token), &message, NOW_MS).unwrap();
    assert_eq!(telling.sync.state, SyncState::Telling);
    // Byte for byte again, whatever has become of the payments since.
    let (again, changes) = step(facts(&telling.sync, &token), &message, NOW_MS).unwrap();
    assert_eq!((&again.message, changes), (&telling.message, vec![]));
    let message = card.run(&telling.message);
    let notice = PaymentNotice::decode(card.installed.as_ref().unwrap()).unwrap();
    assert_eq!((notice.outcome, notice.merchant, notice.stamp.step()), (PaymentOutcome::Cancelled, "Tea House", 2));
    let (done, _) = step(facts(&telling.sync, &token), &message, NOW_MS).unwrap();
    assert_eq!((done.sync.state, last_word(&done.message)), (SyncState::Done, Ok("L***".to_owned())));
    let told: Vec<u8> = done.sync.told.iter().map(|told| told.payment.0[0]).collect();
    assert_eq!(told, [2, 1]);
    // The next sync has nothing to tell, until something changes.
    let mut changed = results.clone();
    changed[1].payment.refunded_minor = 5;
    for (results, news) in [(&results, 0), (&changed, 1)] {
        assert_eq!(untold(results, &done.sync.told).len(), news);
    }
    let known = StartSyncFacts {
        token: token.clone(),
        living: None,
        chip_key_version: 1,
        mask_key_version: 1,
        confirmed: OnDay::default(),
        told: done.sync.told.clone(),
    };
    let (next, _) = start(&request(&token), &known, &Settings::default()).unwrap();
    assert_eq!(next.sync.told, done.sync.told);
}

#[test]
fn a_telling_that_fails_leaves_the_refill_done_and_the_news_untold() {
    let token = in_state(TokenState::Active);
    let results = [result(&token, 1, PaymentState::Succeeded)];
    let frozen = Token { state: TokenState::FrozenByWearer, ..token.clone() };
    let late_ms = NOW_MS + Settings::default().confirmation_lifetime_ms + 1;
    for (what, answers, token, now_ms) in [
        ("held back", vec![vec![0x90, 0x00], vec![0x93, 0x05]], &token, NOW_MS),
        ("silent", vec![vec![0x90, 0x00]], &token, NOW_MS),
        ("made up", vec![vec![0x90, 0x00], [&[7; 29][..], &[0x90, 0x00]].concat()], &token, NOW_MS),
        ("frozen meanwhile", vec![vec![0x90, 0x00]], &frozen, NOW_MS),
        ("late", vec![vec![0x90, 0x00]], &token, late_ms),
    ] {
        let (_, announcing) = refilled(&in_state(TokenState::Active), &results);
        let message = results_message(SessionId(announcing.sync.session), announcing.sync.script.into(), &answers);
        let (answer, changes) = step(facts(&announcing.sync, token), &message, now_ms).unwrap();
        assert_eq!((answer.sync.state, answer.sync.told), (SyncState::Done, vec![]), "{what}");
        assert!(names(&changes).is_empty(), "{what}");
    }
    // A chip of applet 0.1.0 opens the channel and knows no VOUCH.
    let (mut card, announcing) = refilled(&token, &results);
    let message = card.run(&announcing.message);
    let (telling, _) = step(facts(&announcing.sync, &token), &message, NOW_MS).unwrap();
    let (session, script) = (SessionId(telling.sync.session), telling.sync.script.into());
    let unknown = results_message(session, script, &[vec![0x90, 0x00], vec![0x6D, 0x00]]);
    let (answer, changes) = step(facts(&telling.sync, &token), &unknown, NOW_MS).unwrap();
    assert_eq!((answer.sync.state, answer.sync.told), (SyncState::Done, vec![]));
    assert!(last_word(&answer.message).is_ok() && names(&changes).is_empty());
    // Each byte of what the chip has answered counts.
    let (mut card, announcing) = refilled(&token, &results);
    let message = card.run(&announcing.message);
    let (telling, _) = step(facts(&announcing.sync, &token), &message, NOW_MS).unwrap();
    let honest = card.run(&telling.message);
    for position in 0..honest.len() {
        let mut altered = honest.clone();
        altered[position] ^= 1;
        if let Ok((answer, _)) = step(facts(&telling.sync, &token), &altered, NOW_MS) {
            assert!(answer.sync.told.is_empty(), "byte {position}");
        }
    }
    // A wiped watch is told nothing.
    let revoked = in_state(TokenState::Revoked);
    let (mut card, ordering) = opened_for(&revoked);
    let message = card.run(&ordering.message);
    let known = SyncFacts { results: results.to_vec(), ..facts(&ordering.sync, &revoked) };
    assert_eq!(step(known, &message, NOW_MS).unwrap().0.sync.state, SyncState::Done);
}

#[test]
fn what_was_told_stays_told_whatever_became_of_an_older_payment_since() {
    let token = in_state(TokenState::Active);
    let paid = |number| result(&token, number, PaymentState::Succeeded);
    let mut results: Vec<TokenResult> = (1..=4).rev().map(paid).collect();
    let tell = |told: &[Told], results: &[TokenResult]| {
        let news: Vec<Told> = untold(results, told).into_iter().map(|notice| notice.told).collect();
        (after(told, news.clone(), results), news.len())
    };
    let (told, news) = tell(&[], &results);
    assert_eq!(news, 4);
    // The oldest is given back, which is told; then another payment takes its place.
    results[3].payment.refunded_minor = 5;
    let (told, news) = tell(&told, &results);
    assert_eq!(news, 1);
    results = [paid(5)].into_iter().chain(results.into_iter().take(3)).collect();
    let (told, news) = tell(&told, &results);
    assert_eq!(news, 1);
    assert_eq!(tell(&told, &results).1, 0, "told once, and no more");
}

//! The steps of a binding against the card's end of SCP03, as a chip would answer; and every way they go wrong.

use ledger::Currency;
use paycode::Suite;
use protocol::applet::Order;
use protocol::scp03::KeySet;
use protocol::script::{Message, Outcome, SessionId};
use zeroize::Zeroizing;

use super::*;
use crate::bindings::provenance::tests as provenance_tests;
use crate::bindings::{BindingState, MAX_ASKED_AGAIN, MAX_ATTEMPTS};
use crate::makers::Standing;
use crate::relays::card::{Card, results};
use crate::{ChipId, KeyHash};

const NOW_MS: u64 = 1_763_890_000_000;
const ACCOUNT: AccountId = AccountId([1; 16]);
const CHIP: ChipId = ChipId([4; 16]);

fn owner() -> Caller {
    Caller::Wearer(ACCOUNT)
}

fn keys(first: u8) -> KeySet {
    KeySet::from_bytes(1, &[first; 16], &[first + 1; 16], &[first + 2; 16]).unwrap()
}

fn request(account: AccountId) -> StartRequest {
    StartRequest {
        id: BindingId([7; 16]),
        token: TokenId([8; 16]),
        account,
        offer: Offer { chip: CHIP, nonce: [9; 8] },
        host_challenge: [10; 8],
        now_ms: NOW_MS,
    }
}

fn start_facts() -> StartFacts {
    StartFacts {
        chip: Some(Chip { id: CHIP, key_version: 1, registered_ms: 0, origin: None }),
        provenance: None,
        living: None,
        before: None,
        next_index: 42,
        versions: KeyVersions { chip: 1, pay: 1, mask: 1 },
        of_account: OfAccount::default(),
    }
}

fn account() -> Account {
    Account {
        id: ACCOUNT,
        name: "Li Wei".to_owned(),
        currency: Currency::CNY,
        wallet_key: KeyHash([0; 32]),
        created_ms: 0,
    }
}

/// A binding just started, with everything its next step needs.
fn started() -> (RelayFacts, Vec<u8>) {
    let (answer, changes) = start(&request(ACCOUNT), start_facts(), &Settings::default()).unwrap();
    let token = changes.into_iter().find_map(|change| match change {
        Change::PutToken(token) => Some(token),
        _ => None,
    });
    (facts(answer.binding, token.unwrap()), answer.message)
}

fn facts(binding: Binding, token: Token) -> RelayFacts {
    let keys = BindingKeys { chip: keys(1), pay: Zeroizing::new([5; 32]), mask: Zeroizing::new([6; 16]) };
    RelayFacts { binding, token, account: account(), provenance: None, keys }
}

fn after(facts: RelayFacts, binding: Binding, changes: &[Change]) -> RelayFacts {
    let token = changes.iter().find_map(|change| match change {
        Change::PutToken(token) => Some(token.clone()),
        _ => None,
    });
    RelayFacts { provenance: facts.provenance, ..self::facts(binding, token.unwrap_or(facts.token)) }
}

fn step(facts: RelayFacts, message: &[u8]) -> (RelayAnswer, Vec<Change>) {
    relay(owner(), facts, message, [12; 8], &Settings::default(), NOW_MS).unwrap()
}

fn token_state(changes: &[Change]) -> Option<TokenState> {
    changes.iter().rev().find_map(|change| match change {
        Change::PutToken(token) => Some(token.state),
        _ => None,
    })
}

#[test]
fn a_chip_is_bound_in_two_scripts_and_its_token_pays_only_then() {
    let mut card = Card::with(keys(1));
    let (facts, script) = started();
    assert_eq!(facts.token.state, TokenState::Pending);

    let opening = card.run(&script);
    let (answer, changes) = step(facts_again(&facts), &opening);
    assert_eq!((answer.binding.state, token_state(&changes)), (BindingState::Installing, None));
    let again = step(after(facts_again(&facts), answer.binding.clone(), &changes), &opening);
    assert_eq!(again.0.message, answer.message, "a repeated message gets the same script");
    assert!(again.1.is_empty());

    let facts = after(facts, answer.binding.clone(), &changes);
    let (answer, changes) = step(facts_again(&facts), &card.run(&answer.message));
    assert_eq!((answer.binding.state, token_state(&changes)), (BindingState::Done, Some(TokenState::Active)));
    assert!(matches!(
        Message::decode(&answer.message),
        Ok(Message::Outcome(Outcome::Done { account_label: "L***", .. }))
    ));

    let installed = card.installed.unwrap();
    let Ok(Order::InstallToken(order)) = Order::decode(&installed) else { panic!("not an installation") };
    assert_eq!((order.token_index, order.pay_key, order.suite), (42, &[5; 32], Suite::International.id()));
    assert_eq!(order.grant.time_anchor_unix_seconds, NOW_MS / 1_000);
}

fn facts_again(facts: &RelayFacts) -> RelayFacts {
    RelayFacts { provenance: facts.provenance.clone(), ..self::facts(facts.binding.clone(), facts.token.clone()) }
}

/// A chip that came in a shipment, up to where it has proved its origin and answered the channel.
fn shipped() -> (provenance_tests::Case, Card, RelayFacts, Vec<u8>) {
    let mut case = provenance_tests::honest(pki::Scheme::P256);
    let chip = Chip { id: provenance_tests::CHIP, key_version: 1, registered_ms: 0, origin: None };
    let request = StartRequest { offer: Offer { chip: chip.id, nonce: [9; 8] }, ..request(ACCOUNT) };
    let facts = StartFacts { chip: Some(chip), provenance: Some(case.from.clone()), ..start_facts() };
    let (answer, changes) = start(&request, facts, &Settings::default()).unwrap();
    let mut facts = after(started().0, answer.binding, &changes);
    facts.provenance = Some(case.from.clone());
    case.challenge = attestation_challenge(&facts.binding).to_vec();
    let Ok(Message::Script(script)) = Message::decode(&answer.message) else { panic!("not a script") };
    assert_eq!((script.len(), script.progress_percent), (10, 30));
    let mut card = Card::with(keys(1));
    let opening = card.answer(script.commands().last().unwrap().apdu);
    let answers = [vec![vec![0x90, 0x00]], case.answers(), vec![opening]].concat();
    let message = results(script.session, script.number, &answers);
    (case, card, facts, message)
}

#[test]
fn a_shipped_chip_proves_its_origin_before_it_gets_keys_and_again_before_it_pays() {
    let (case, mut card, facts, proof) = shipped();
    let (answer, changes) = step(facts_again(&facts), &proof);
    assert_eq!(answer.binding.state, BindingState::Installing);
    assert_eq!(answer.binding.certificate.as_deref(), Some(provenance_tests::SERIAL));
    let installing = after(facts_again(&facts), answer.binding.clone(), &changes);
    let confirmation = card.run(&answer.message);
    let with = |from: &dyn Fn(&mut Provenance)| {
        let mut provenance = case.from.clone();
        from(&mut provenance);
        RelayFacts { provenance: Some(provenance), ..facts_again(&installing) }
    };
    let withdrawn = with(&|from| from.maker.standing = Standing::Withdrawn);
    let ended = with(&|from| from.ended_by_line = case.list(provenance_tests::SERIAL));
    for (facts, expected) in
        [(with(&|_| {}), None), (withdrawn, Some(Reason::MakerWithdrawn)), (ended, Some(Reason::CertificateRevoked))]
    {
        let (answer, changes) = step(facts, &confirmation);
        let state = if expected.is_none() { TokenState::Active } else { TokenState::Revoked };
        assert_eq!((answer.binding.failure, token_state(&changes)), (expected, Some(state)));
        let told = match Message::decode(&answer.message) {
            Ok(Message::Outcome(Outcome::Failed { code, .. })) => Some(code.to_owned()),
            _ => None,
        };
        assert_eq!(told.as_deref(), expected.map(Reason::code), "the wearable is told why");
    }
    // Without its proof the right keys are worth nothing.
    let unproved = results(SessionId(facts.binding.id.0), 1, &[vec![0x90, 0x00], vec![0x69, 0x85]]);
    let (answer, _) = step(facts, &unproved);
    assert_eq!(answer.binding.failure, Some(Reason::ChipAttestsNothing));
}

#[test]
fn a_shipped_chip_that_holds_its_channel_back_proves_its_origin_once() {
    let (case, mut card, facts, _) = shipped();
    let held_back = [vec![vec![0x90, 0x00]], case.answers(), vec![vec![0x93, 0x05]]].concat();
    let held_back = results(SessionId(facts.binding.id.0), 1, &held_back);
    let (answer, changes) = step(facts_again(&facts), &held_back);
    assert_eq!(answer.binding.state, BindingState::Opening);
    let Ok(Message::Script(script)) = Message::decode(&answer.message) else { panic!("not a script") };
    assert_eq!(script.len(), 2, "the channel alone");
    let facts = after(facts, answer.binding.clone(), &changes);
    let (answer, _) = step(facts, &card.run(&answer.message));
    assert_eq!(answer.binding.state, BindingState::Installing);
}

#[test]
fn a_chip_without_the_registered_keys_is_not_bound() {
    let (facts, script) = started();
    let forged = Card::with(keys(99)).run(&script);
    let (answer, changes) = step(facts, &forged);
    assert_eq!((answer.binding.state, token_state(&changes)), (BindingState::Failed, Some(TokenState::Revoked)));
    let events =
        changes.iter().any(|change| matches!(change, Change::AddEvent(event) if event.name == "chip_not_genuine"));
    assert!(events, "the attempt is in the audit trail");
}

#[test]
fn an_altered_confirmation_makes_no_token_pay() {
    let mut card = Card::with(keys(1));
    let (facts, script) = started();
    let (answer, changes) = step(facts_again(&facts), &card.run(&script));
    let facts = after(facts, answer.binding.clone(), &changes);
    let honest = card.run(&answer.message);
    for position in 0..honest.len() {
        let mut altered = honest.clone();
        altered[position] ^= 1;
        // Altered beyond reading is a refusal; altered readably is a channel to open anew. Neither binds.
        if let Ok((answer, changes)) =
            relay(owner(), facts_again(&facts), &altered, [12; 8], &Settings::default(), NOW_MS)
        {
            assert_ne!(answer.binding.state, BindingState::Done, "byte {position}");
            assert_eq!(token_state(&changes), None, "byte {position}");
        }
    }
}

#[test]
fn a_lost_channel_is_opened_anew_with_another_challenge_and_not_for_ever() {
    let (mut facts, script) = started();
    let mut card = Card::with(keys(1));
    let mut script = script;
    for attempt in 1..=MAX_ATTEMPTS {
        let (answer, changes) = step(facts_again(&facts), &card.run(&script));
        facts = after(facts, answer.binding.clone(), &changes);
        // The chip loses power before the installation arrives.
        card = Card::with(keys(1));
        let (answer, changes) = step(facts_again(&facts), &card.run(&answer.message));
        let expected = if attempt < MAX_ATTEMPTS { BindingState::Opening } else { BindingState::Failed };
        assert_eq!(answer.binding.state, expected, "attempt {attempt}");
        if attempt == 1 {
            assert_ne!(answer.binding.host_challenge, facts.binding.host_challenge);
        }
        facts = after(facts, answer.binding.clone(), &changes);
        script = answer.message;
    }
    assert_eq!(facts.token.state, TokenState::Revoked);
}

#[test]
fn a_chip_that_holds_its_channel_back_is_asked_until_it_obeys() {
    let (mut facts, mut script) = started();
    let session = SessionId(facts.binding.id.0);
    for asked in 1..=32 {
        let Ok(Message::Script(opening)) = Message::decode(&script) else { panic!("not a script") };
        assert_eq!(opening.number, u16::from(asked), "a wearable runs only the next script");
        let held_back = results(session, opening.number, &[vec![0x90, 0x00], vec![0x93, 0x05]]);
        let (answer, changes) = step(facts_again(&facts), &held_back);
        assert_eq!((answer.binding.state, answer.binding.script), (BindingState::Opening, asked + 1));
        facts = after(facts, answer.binding.clone(), &changes);
        script = answer.message;
    }
    let mut card = Card::with(keys(1));
    let (answer, changes) = step(facts_again(&facts), &card.run(&script));
    facts = after(facts, answer.binding.clone(), &changes);
    let (answer, changes) = step(facts, &card.run(&answer.message));
    assert_eq!((answer.binding.state, token_state(&changes)), (BindingState::Done, Some(TokenState::Active)));
}

#[test]
fn what_the_chip_answers_to_the_opening_and_what_it_leads_to() {
    for (what, script, answer, expected) in [
        ("held back", 1, Some([0x93, 0x05]), BindingState::Opening),
        ("held back, the last time but one", MAX_ASKED_AGAIN - 1, Some([0x93, 0x05]), BindingState::Opening),
        ("held back for ever", MAX_ASKED_AGAIN, Some([0x93, 0x05]), BindingState::Failed),
        ("terminated", 1, Some([0x69, 0x85]), BindingState::Failed),
        ("other keys", 1, Some([0x6A, 0x88]), BindingState::Failed),
        ("nothing", 1, None, BindingState::Failed),
    ] {
        let (facts, _) = started();
        let binding = Binding { script, ..facts.binding.clone() };
        let answers: Vec<Vec<u8>> =
            [Some([0x90, 0x00]), answer].into_iter().flatten().map(|answer| answer.to_vec()).collect();
        let message = results(SessionId(binding.id.0), u16::from(script), &answers);
        let (answer, changes) = step(self::facts(binding, facts.token), &message);
        let token = (expected == BindingState::Failed).then_some(TokenState::Revoked);
        assert_eq!((answer.binding.state, token_state(&changes)), (expected, token), "{what}");
    }
}

#[test]
fn who_may_start_a_binding_and_when() {
    let stranger = AccountId([99; 16]);
    let token = |state, account| Token { account, ..crate::tokens::tests::token(state) };
    let (running, _) = started();
    let mut withdrawn = provenance_tests::honest(pki::Scheme::P256).from;
    withdrawn.maker.standing = Standing::Withdrawn;
    let done = Binding { state: BindingState::Done, ..running.binding.clone() };
    let failed = Binding { state: BindingState::Failed, ..running.binding.clone() };
    let before = |binding: &Binding| Some(facts(binding.clone(), running.token.clone()));
    let ended = Token { state: TokenState::Revoked, ..running.token.clone() };
    for (what, request, facts, expected) in [
        ("unknown chip", request(ACCOUNT), StartFacts { chip: None, ..start_facts() }, Err(Reason::ChipNotFound)),
        (
            "its maker withdrawn",
            request(ACCOUNT),
            StartFacts { provenance: Some(withdrawn), ..start_facts() },
            Err(Reason::MakerWithdrawn),
        ),
        (
            "bound to another",
            request(ACCOUNT),
            StartFacts { living: Some(token(TokenState::Active, stranger)), ..start_facts() },
            Err(Reason::ChipBound),
        ),
        (
            "frozen is bound",
            request(ACCOUNT),
            StartFacts { living: Some(token(TokenState::FrozenByWearer, ACCOUNT)), ..start_facts() },
            Err(Reason::ChipBound),
        ),
        (
            "left half way by another",
            request(ACCOUNT),
            StartFacts { living: Some(token(TokenState::Pending, stranger)), ..start_facts() },
            Ok(2),
        ),
        (
            "left half way by the same",
            request(ACCOUNT),
            StartFacts { living: Some(token(TokenState::Pending, ACCOUNT)), ..start_facts() },
            Ok(2),
        ),
        ("the offer again", request(ACCOUNT), StartFacts { before: before(&running.binding), ..start_facts() }, Ok(0)),
        (
            "another's offer",
            request(stranger),
            StartFacts { before: before(&running.binding), ..start_facts() },
            Err(Reason::OfferUsed),
        ),
        ("its receipt again", request(ACCOUNT), StartFacts { before: before(&done), ..start_facts() }, Ok(0)),
        (
            "another's receipt",
            request(stranger),
            StartFacts { before: before(&done), ..start_facts() },
            Err(Reason::OfferUsed),
        ),
        (
            "the offer of a binding that gave way to a newer one",
            request(ACCOUNT),
            StartFacts { before: Some(self::facts(running.binding.clone(), ended.clone())), ..start_facts() },
            Err(Reason::OfferUsed),
        ),
        (
            "the receipt of a token that was ended",
            request(ACCOUNT),
            StartFacts { before: Some(self::facts(done.clone(), ended)), ..start_facts() },
            Err(Reason::OfferUsed),
        ),
        (
            "the offer of a binding that failed",
            request(ACCOUNT),
            StartFacts { before: before(&failed), ..start_facts() },
            Err(Reason::OfferUsed),
        ),
        (
            "no number left",
            request(ACCOUNT),
            StartFacts { next_index: 10_000_000_000, ..start_facts() },
            Err(Reason::TokensExhausted),
        ),
    ] {
        let outcome = start(&request, facts, &Settings::default());
        let tokens = outcome.map(|(_, changes)| changes.iter().filter(|c| matches!(c, Change::PutToken(_))).count());
        assert_eq!(tokens.map_err(|refusal| refusal.reason), expected, "{what}");
    }
    let strict = Settings { uncertified_chips: false, ..Settings::default() };
    let refused = start(&request(ACCOUNT), start_facts(), &strict).map(|_| ()).unwrap_err();
    assert_eq!(refused, Refusal::at(Reason::ChipUncertified, "offer"));
}

#[test]
fn an_account_begins_so_many_bindings_and_has_so_many_wearables() {
    let settings = Settings::default();
    let with = |begun_today, wearables| StartFacts {
        of_account: OfAccount { begun_today, wearables, gives_way: None },
        ..start_facts()
    };
    for (begun_today, wearables, expected) in [
        (settings.bindings_a_day - 1, MAX_WEARABLES - 1, Ok(())),
        (settings.bindings_a_day, 0, Err(Reason::TooManyBindings)),
        (0, MAX_WEARABLES, Err(Reason::TooManyWearables)),
    ] {
        let started = start(&request(ACCOUNT), with(begun_today, wearables), &settings);
        assert_eq!(started.map(|_| ()), expected.map_err(Refusal::from), "{begun_today} {wearables}");
    }
    // What was begun goes on, and what is told first is what lies nearest.
    let (running, _) = started();
    let again = StartFacts { before: Some(running), ..with(u8::MAX, MAX_WEARABLES) };
    assert!(start(&request(ACCOUNT), again, &settings).is_ok());
    let taken = StartFacts { living: Some(crate::tokens::tests::token(TokenState::Active)), ..with(u8::MAX, 0) };
    assert_eq!(start(&request(ACCOUNT), taken, &settings).unwrap_err().reason, Reason::ChipBound);
}

#[test]
fn a_new_binding_counts_and_ends_the_oldest_where_too_many_are_under_way() {
    let oldest = Token { id: TokenId([77; 16]), ..crate::tokens::tests::token(TokenState::Pending) };
    let of_account = OfAccount { gives_way: Some(oldest.clone()), ..OfAccount::default() };
    let settings = Settings::default();
    let (_, changes) = start(&request(ACCOUNT), StartFacts { of_account, ..start_facts() }, &settings).unwrap();
    assert!(changes.contains(&Change::PutToken(Token { state: TokenState::Revoked, ..oldest })));
    let counted = Change::CountBegunBinding { account: ACCOUNT, day: settings.day_of(NOW_MS) };
    assert_eq!(changes.iter().filter(|change| **change == counted).count(), 1);
}

#[test]
fn a_confirmation_brings_no_token_back_that_was_ended_meanwhile() {
    let mut card = Card::with(keys(1));
    let (facts, script) = started();
    let (answer, changes) = step(facts_again(&facts), &card.run(&script));
    let facts = after(facts, answer.binding.clone(), &changes);
    let confirmation = card.run(&answer.message);
    for state in [TokenState::Revoked, TokenState::Active, TokenState::FrozenByWearer, TokenState::Lost] {
        let ended = self::facts(facts.binding.clone(), Token { state, ..facts.token.clone() });
        let (answer, changes) = step(ended, &confirmation);
        assert_eq!((answer.binding.state, token_state(&changes)), (BindingState::Failed, None), "{state:?}");
    }
    let settings = Settings::default();
    let late_ms = NOW_MS + settings.confirmation_lifetime_ms + 1;
    let (late, changes) = relay(owner(), facts, &confirmation, [0; 8], &settings, late_ms).unwrap();
    assert_eq!((late.binding.state, token_state(&changes)), (BindingState::Failed, Some(TokenState::Revoked)));
}

#[test]
fn strangers_and_garbage_change_nothing() {
    let (facts, script) = started();
    let opening = Card::with(keys(1)).run(&script);
    let stranger = Caller::Wearer(AccountId([99; 16]));
    let settings = Settings::default();
    let refused = relay(stranger, facts_again(&facts), &opening, [0; 8], &settings, NOW_MS);
    assert_eq!(refused.unwrap_err().reason, Reason::BindingNotFound);
    let other_session = results(SessionId([1; 16]), 1, &[vec![0x90, 0x00]]);
    for garbage in [&b""[..], b"\x01\x02", &script, &other_session] {
        let refused = relay(owner(), facts_again(&facts), garbage, [0; 8], &settings, NOW_MS);
        assert_eq!(refused.unwrap_err().reason, Reason::MessageMalformed);
    }
    let late_ms = NOW_MS + settings.binding_lifetime_ms + 1;
    let (late, _) = relay(owner(), facts, &opening, [0; 8], &settings, late_ms).unwrap();
    assert_eq!(late.binding.state, BindingState::Failed);
}

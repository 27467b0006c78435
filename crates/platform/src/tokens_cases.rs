//! The table of token states.

use super::*;
use crate::MerchantId;

const NOW_MS: UnixMs = 1_763_890_000_000;

pub(crate) fn token(state: TokenState) -> Token {
    Token {
        id: TokenId([3; 16]),
        account: AccountId([1; 16]),
        chip: ChipId([4; 16]),
        format: CodeFormat::DEFAULT,
        suite: Suite::International,
        index: TokenIndex::new(42).unwrap(),
        pay_key_version: 1,
        mask_key_version: 1,
        state,
        last_stamp: None,
        last_counter: None,
        guesses: Guesses::default(),
        spent: SpentMarks::default(),
        expires_ms: None,
        created_ms: 0,
    }
}

fn request(caller: Caller, action: TokenAction) -> ActRequest {
    ActRequest { caller, action, why: "a test".to_owned(), now_ms: NOW_MS }
}

#[test]
fn the_table_of_token_states() {
    use TokenAction::{Freeze, Lost, Renew, Resume, Revoke};
    use TokenState::{Active, Expired, FrozenByOperator, FrozenByRisk, FrozenByWearer, Pending, Revoked};
    const LOST: TokenState = TokenState::Lost;
    let forbidden = Err(Reason::TokenStateForbids);
    let operators = Err(Reason::OperatorOnly);
    // action, from → by the wearer, by the operator
    for (action, from, by_wearer, by_operator) in [
        (Freeze, Pending, forbidden, forbidden),
        (Freeze, Active, Ok(FrozenByWearer), Ok(FrozenByOperator)),
        (Freeze, FrozenByWearer, Ok(FrozenByWearer), Ok(FrozenByOperator)),
        (Freeze, FrozenByOperator, Ok(FrozenByOperator), Ok(FrozenByOperator)),
        (Freeze, FrozenByRisk, Ok(FrozenByRisk), Ok(FrozenByOperator)),
        (Freeze, LOST, Ok(LOST), Ok(LOST)),
        (Freeze, Expired, Ok(FrozenByWearer), Ok(FrozenByOperator)),
        (Freeze, Revoked, forbidden, forbidden),
        (Resume, Pending, forbidden, forbidden),
        (Resume, Active, Ok(Active), Ok(Active)),
        (Resume, FrozenByWearer, Ok(Active), Ok(Active)),
        (Resume, FrozenByOperator, operators, Ok(Active)),
        (Resume, FrozenByRisk, operators, Ok(Active)),
        (Resume, LOST, operators, Ok(Active)),
        (Resume, Expired, forbidden, forbidden),
        (Resume, Revoked, forbidden, forbidden),
        (Lost, Pending, forbidden, forbidden),
        (Lost, Active, Ok(LOST), Ok(LOST)),
        (Lost, FrozenByWearer, Ok(LOST), Ok(LOST)),
        (Lost, FrozenByOperator, Ok(LOST), Ok(LOST)),
        (Lost, FrozenByRisk, Ok(LOST), Ok(LOST)),
        (Lost, LOST, Ok(LOST), Ok(LOST)),
        (Lost, Expired, Ok(LOST), Ok(LOST)),
        (Lost, Revoked, forbidden, forbidden),
        (Revoke, Pending, Ok(Revoked), Ok(Revoked)),
        (Revoke, Active, Ok(Revoked), Ok(Revoked)),
        (Revoke, FrozenByWearer, Ok(Revoked), Ok(Revoked)),
        (Revoke, FrozenByOperator, Ok(Revoked), Ok(Revoked)),
        (Revoke, FrozenByRisk, Ok(Revoked), Ok(Revoked)),
        (Revoke, LOST, Ok(Revoked), Ok(Revoked)),
        (Revoke, Expired, Ok(Revoked), Ok(Revoked)),
        (Revoke, Revoked, Ok(Revoked), Ok(Revoked)),
        (Renew, Pending, forbidden, forbidden),
        (Renew, Active, operators, Ok(Active)),
        (Renew, FrozenByWearer, operators, Ok(FrozenByWearer)),
        (Renew, FrozenByOperator, operators, Ok(FrozenByOperator)),
        (Renew, FrozenByRisk, operators, Ok(FrozenByRisk)),
        (Renew, LOST, operators, Ok(LOST)),
        (Renew, Expired, operators, Ok(Active)),
        (Renew, Revoked, forbidden, forbidden),
    ] {
        let wearer = Caller::Wearer(AccountId([1; 16]));
        for (caller, expected) in [(wearer, by_wearer), (Caller::Operator, by_operator)] {
            let outcome = act(&request(caller, action), token(from), 0, &Settings::default());
            let state = outcome.map(|(token, _)| token.state).map_err(|refusal| refusal.reason);
            assert_eq!(state, expected, "{caller:?} {action:?} {from:?}");
        }
        for stranger in [Caller::Wearer(AccountId([9; 16])), Caller::Merchant(MerchantId([9; 16]))] {
            let refused = act(&request(stranger, action), token(from), 0, &Settings::default()).unwrap_err();
            assert_eq!(refused.reason, Reason::TokenNotFound, "{stranger:?} {action:?} {from:?}");
        }
    }
}

#[test]
fn every_change_says_who_when_and_why_and_a_repeat_leaves_no_second_line() {
    let freeze = request(Caller::Operator, TokenAction::Freeze);
    let (frozen, changes) = act(&freeze, token(TokenState::Active), 0, &Settings::default()).unwrap();
    let [Change::PutToken(_), Change::AddEvent(event)] = changes.as_slice() else { panic!("{changes:?}") };
    assert_eq!((event.name, event.actor.as_str(), event.at_ms), ("freeze", "operator", NOW_MS));
    assert_eq!((event.subject.clone(), event.why.as_str()), (frozen.id.to_string(), "a test"));
    assert!(act(&freeze, frozen, 0, &Settings::default()).unwrap().1.is_empty());
    for (why, reason) in [("x".repeat(101), Reason::FieldTooLong), ("a\nb".to_owned(), Reason::FieldMalformed)] {
        let wrong = ActRequest { why, ..freeze.clone() };
        let refused = act(&wrong, token(TokenState::Active), 0, &Settings::default()).unwrap_err();
        assert_eq!(refused, Refusal::at(reason, "why"));
    }
}

#[test]
fn a_token_whose_time_is_over_has_expired_until_it_is_renewed() {
    let settings = Settings::default();
    let over = Token { expires_ms: Some(NOW_MS), ..token(TokenState::Active) };
    assert_eq!((over.state_at(NOW_MS - 1), over.state_at(NOW_MS)), (TokenState::Active, TokenState::Expired));
    let resumed = act(&request(Caller::Operator, TokenAction::Resume), over.clone(), 0, &settings).unwrap_err();
    assert_eq!(resumed.reason, Reason::TokenStateForbids, "an end is not lifted as a freeze is");
    let (renewed, changes) = act(&request(Caller::Operator, TokenAction::Renew), over, 0, &settings).unwrap();
    assert_eq!(renewed.expires_ms, Some(NOW_MS + settings.token_lifetime_ms));
    assert_eq!((renewed.state_at(NOW_MS), changes.len()), (TokenState::Active, 2));
    // Frozen while its time runs out: lifted, it has still expired.
    let frozen = Token { expires_ms: Some(NOW_MS), ..token(TokenState::FrozenByWearer) };
    let (lifted, _) = act(&request(Caller::Operator, TokenAction::Resume), frozen, 0, &settings).unwrap();
    assert_eq!(lifted.state_at(NOW_MS), TokenState::Expired);
}

#[test]
fn a_wearer_resumes_so_often_a_day_and_freezes_whatever_the_count() {
    use TokenAction::{Freeze, Lost, Resume, Revoke};
    use TokenState::{Active, FrozenByWearer};
    let settings = Settings::default();
    let wearer = Caller::Wearer(AccountId([1; 16]));
    let most = settings.resumes_a_day;
    let counted = Change::CountResume { account: AccountId([1; 16]), day: settings.day_of(NOW_MS) };
    // who, what, from, resumed today → whether it is done, and whether it counts
    for (caller, action, from, resumed, expected) in [
        (wearer, Resume, FrozenByWearer, most - 1, Ok(true)),
        (wearer, Resume, FrozenByWearer, most, Err(Reason::TooManyResumes)),
        (wearer, Resume, FrozenByWearer, u8::MAX, Err(Reason::TooManyResumes)),
        (wearer, Resume, Active, u8::MAX, Ok(false)),
        (wearer, Freeze, Active, u8::MAX, Ok(false)),
        (wearer, Lost, Active, u8::MAX, Ok(false)),
        (wearer, Revoke, FrozenByWearer, u8::MAX, Ok(false)),
        (Caller::Operator, Resume, FrozenByWearer, u8::MAX, Ok(false)),
    ] {
        let outcome = act(&request(caller, action), token(from), resumed, &settings);
        let counts = outcome.map(|(_, changes)| changes.contains(&counted));
        assert_eq!(counts, expected.map_err(Refusal::from), "{caller:?} {action:?} {from:?} {resumed}");
    }
}

#[test]
fn what_risk_stops_its_wearer_does_not_lift_and_what_the_operator_stopped_stays_the_operators() {
    use TokenState::{Active, Expired, FrozenByOperator, FrozenByRisk, FrozenByWearer, Lost, Pending, Revoked};
    for (before, after) in [
        (Pending, Pending),
        (Active, FrozenByRisk),
        (FrozenByWearer, FrozenByRisk),
        (FrozenByRisk, FrozenByRisk),
        (Expired, FrozenByRisk),
        (FrozenByOperator, FrozenByOperator),
        (Lost, Lost),
        (Revoked, Revoked),
    ] {
        assert_eq!(before.frozen_by_risk(), after, "{before:?}");
    }
}

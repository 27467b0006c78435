//! The table of cases for [`super::decide`] and [`super::repeat`].

use ledger::{Amount, Currency};
use paycode::{Hit, Sequence, TimeStep};

use super::*;
use crate::merchants::WrongCodes;
use crate::payments::code::fingerprint;
use crate::tokens::tests::token;
use crate::{AccountId, KeyHash, TokenId};

const NOW_MS: UnixMs = 1_763_890_000_000;

pub(crate) fn paid(minor: u64) -> Payment {
    let (payment, _) = decide(
        &request(minor),
        &merchant(),
        genuine(TokenState::Active, true),
        Some(&purse(minor)),
        &Settings::default(),
    );
    assert_eq!(payment.state, PaymentState::Succeeded);
    payment
}

/// Decides under the rules that the settings stand for.
fn decide(
    request: &PayRequest,
    merchant: &Merchant,
    verdict: Verdict,
    purse: Option<&Purse>,
    settings: &Settings,
) -> (Payment, Vec<Change>) {
    super::decide(request, merchant, verdict, purse, &RuleSet::built_in(settings), settings)
}

fn request(minor: u64) -> PayRequest {
    let amount = Amount::new(minor, Currency::CNY).unwrap();
    PayRequest {
        id: PaymentId([6; 16]),
        merchant: MerchantId([5; 16]),
        order: MerchantNumber::parse("o-1", "order").unwrap(),
        amount,
        fingerprint: fingerprint("71234567890123456789", amount),
        now_ms: NOW_MS,
    }
}

fn merchant() -> Merchant {
    Merchant {
        id: MerchantId([5; 16]),
        name: "Tea House".to_owned(),
        currency: Currency::CNY,
        api_key: KeyHash([0; 32]),
        created_ms: 0,
        wrong_codes: WrongCodes::default(),
        suspended_ms: None,
        category: None,
        position: None,
    }
}

fn stamp() -> Stamp {
    Stamp::new(TimeStep(1000), Sequence::FIRST)
}

fn genuine(state: TokenState, verified: bool) -> Verdict {
    Verdict::Genuine { token: token(state), hit: Hit { stamp: stamp(), verified }, counter: Some(7), mark: 77 }
}

fn purse(wallet_minor: u64) -> Purse {
    let id = AccountId([1; 16]);
    let wallet = posting::wallet(id.0, Currency::CNY);
    let day_use = DayUse { account: id, currency: Currency::CNY, day: 0, total_minor: 0, unverified_minor: 0 };
    let history = History::empty(id, TokenId([3; 16]), 0);
    Purse {
        day_use,
        history,
        partition: 0,
        waiting: 0,
        balances: Balances::from([(wallet, wallet_minor.cast_signed())]),
    }
}

fn token_after(changes: &[Change]) -> Option<&Token> {
    changes.iter().find_map(|change| match change {
        Change::PutToken(token) => Some(token),
        _ => None,
    })
}

fn moves_money(changes: &[Change]) -> bool {
    changes.iter().any(|change| matches!(change, Change::Book(_)))
}

#[test]
fn money_moves_only_when_everything_is_right() {
    use TokenState::{Active, Expired, FrozenByOperator, FrozenByRisk, FrozenByWearer, Lost, Pending, Revoked};
    let rich = 999_999_900;
    // token state, passcode, amount, wallet → outcome
    for (state, verified, minor, wallet, outcome) in [
        (Active, true, 1250, 1250, Ok(())),
        (Active, false, 1250, 1250, Ok(())),
        (Active, true, 1250, 1249, Err(Decline::InsufficientFunds)),
        (Pending, true, 1250, rich, Err(Decline::TokenNotActive)),
        (FrozenByWearer, true, 1250, rich, Err(Decline::TokenFrozen)),
        (FrozenByOperator, true, 1250, rich, Err(Decline::TokenFrozen)),
        (Lost, true, 1250, rich, Err(Decline::TokenLost)),
        (Expired, true, 1250, rich, Err(Decline::TokenExpired)),
        (FrozenByRisk, true, 1250, rich, Err(Decline::TokenFrozen)),
        (Revoked, true, 1250, rich, Err(Decline::TokenRevoked)),
        (Active, true, 200_000, rich, Ok(())),
        (Active, true, 500_001, rich, Err(Decline::LimitSingle)),
        (Active, false, 100_000, rich, Ok(())),
        (Active, false, 100_001, rich, Err(Decline::LimitUnverified)),
    ] {
        let (payment, changes) =
            decide(&request(minor), &merchant(), genuine(state, verified), Some(&purse(wallet)), &Settings::default());
        let expected = outcome.map_or_else(PaymentState::Failed, |()| PaymentState::Succeeded);
        assert_eq!(payment.state, expected, "{state:?} {verified} {minor} {wallet}");
        assert_eq!(moves_money(&changes), outcome.is_ok());
        let after = token_after(&changes).unwrap();
        assert_eq!((after.last_stamp, after.last_counter), (Some(stamp()), Some(7)), "a code shown is spent");
        assert_eq!(after.spent.marks(), [77], "and known again");
        assert!(changes.contains(&Change::PutPayment(payment)), "every outcome is recorded");
    }
}

#[test]
fn the_day_s_limits_add_up_over_payments() {
    let settings = Settings::default();
    let mut purse = purse(9_999_999);
    for (minor, verified, outcome) in [
        (90_000, false, Ok(())),
        (10_001, false, Err(Decline::LimitUnverified)),
        (10_000, false, Ok(())),
        (1, false, Err(Decline::LimitUnverified)),
        (200_000, true, Ok(())),
        (200_000, true, Ok(())),
        (1, true, Err(Decline::LimitDay)),
    ] {
        let (payment, changes) =
            decide(&request(minor), &merchant(), genuine(TokenState::Active, verified), Some(&purse), &settings);
        assert_eq!(payment.state, outcome.map_or_else(PaymentState::Failed, |()| PaymentState::Succeeded), "{minor}");
        for change in changes {
            match change {
                Change::PutDayUse(day_use) => purse.day_use = day_use,
                Change::PutHistory(history) => purse.history = *history,
                Change::Book(booking) => purse.balances.extend(booking.balances),
                _ => {}
            }
        }
    }
}

#[test]
fn rules_are_told_of_the_wrong_codes_that_came_before_a_genuine_one() {
    let settings = Settings::default();
    let when = crate::risk::When::default();
    let test = crate::risk::Test::WrongCodes { codes: 3, minutes: 10 };
    let rule = crate::risk::Rule { name: "guessed-at".to_owned(), effect: Effect::Decline, when, test };
    let rules = RuleSet { version: 1, rules: vec![rule] };
    for (codes, outcome) in [(2, PaymentState::Succeeded), (3, PaymentState::Failed(Decline::DeclinedByRisk))] {
        let guesses = Guesses { since_ms: request(1).now_ms, codes, merchants: vec![] };
        let token = Token { guesses, ..token(TokenState::Active) };
        let verdict = Verdict::Genuine { token, hit: Hit { stamp: stamp(), verified: true }, counter: None, mark: 77 };
        let (payment, changes) = super::decide(&request(1), &merchant(), verdict, Some(&purse(100)), &rules, &settings);
        assert_eq!(payment.state, outcome, "{codes}");
        assert_eq!(payment.decision.unwrap().wrong_codes, codes);
        assert_eq!(token_after(&changes).unwrap().guesses, Guesses::default(), "a genuine one clears them");
    }
}

#[test]
fn another_currency_than_the_account_s_is_declined() {
    let amount = Amount::new(5, Currency::parse("USD").unwrap()).unwrap();
    let dollars = PayRequest { amount, ..request(5) };
    let (payment, _) =
        decide(&dollars, &merchant(), genuine(TokenState::Active, true), Some(&purse(100)), &Settings::default());
    assert_eq!(payment.state, PaymentState::Failed(Decline::CurrencyDiffers));
}

#[test]
fn nothing_is_paid_in_a_currency_that_has_no_limits_any_more() {
    let settings = Settings { limits: Default::default(), ..Settings::default() };
    let (payment, changes) =
        decide(&request(5), &merchant(), genuine(TokenState::Active, true), Some(&purse(100)), &settings);
    assert_eq!(payment.state, PaymentState::Failed(Decline::LimitSingle));
    assert!(!moves_money(&changes));
}

#[test]
fn a_copied_chip_stops_the_token_with_an_alert() {
    let verdict = Verdict::Refused { token: token(TokenState::Active), decline: Decline::ChipCloned };
    let (payment, changes) = decide(&request(1), &merchant(), verdict, None, &Settings::default());
    assert_eq!(payment.state, PaymentState::Failed(Decline::ChipCloned));
    assert_eq!(token_after(&changes).unwrap().state, TokenState::FrozenByRisk);
    assert!(changes.iter().any(|change| matches!(change, Change::AddEvent(event) if event.actor == "risk")));
}

/// The token after a wrong code from this merchant.
fn after_wrong_code(token: &Token, from: u8, now_ms: UnixMs) -> Token {
    let request = PayRequest { merchant: MerchantId([from; 16]), now_ms, ..request(1) };
    let merchant = Merchant { id: MerchantId([from; 16]), ..merchant() };
    let verdict = Verdict::Wrong { token: token.clone() };
    let (payment, changes) = decide(&request, &merchant, verdict, None, &Settings::default());
    assert_eq!(payment.state, PaymentState::Failed(Decline::CodeUnknown));
    assert_eq!((payment.token, payment.account), (None, None), "the till learns nothing of which numbers exist");
    let counted = changes.iter().any(|change| matches!(change, Change::PutMerchant(m) if m.wrong_codes.count == 1));
    assert!(counted, "it counts against the merchant as well");
    token_after(&changes).unwrap().clone()
}

#[test]
fn wrong_codes_freeze_a_token_only_when_four_merchants_have_sent_them() {
    let mut token = token(TokenState::Active);
    for code in 1..=300 {
        token = after_wrong_code(&token, 1 + code as u8 % 3, NOW_MS);
        assert_eq!((token.guesses.codes, token.state), (code, TokenState::Active), "three merchants do not freeze it");
    }
    let frozen = after_wrong_code(&token, 9, NOW_MS);
    assert_eq!(frozen.state, TokenState::FrozenByRisk);
    let later = after_wrong_code(&token, 9, NOW_MS + 86_400_000);
    assert_eq!((later.guesses.codes, later.state), (1, TokenState::Active), "what is older than a day is forgotten");

    let mut few = self::token(TokenState::Active);
    for merchant in 1..=9 {
        few = after_wrong_code(&few, merchant, NOW_MS);
        assert_eq!(few.state, TokenState::Active, "{merchant}");
    }
    assert_eq!(after_wrong_code(&few, 10, NOW_MS).state, TokenState::FrozenByRisk);
    let revoked = Token { state: TokenState::Revoked, ..few.clone() };
    assert_eq!(after_wrong_code(&revoked, 10, NOW_MS).state, TokenState::Revoked, "revoked is for ever");
    let lost = Token { state: TokenState::Lost, ..few.clone() };
    assert_eq!(after_wrong_code(&lost, 10, NOW_MS).state, TokenState::Lost, "the wearer's report stands");

    let verdict = Verdict::Genuine { token: few, hit: Hit { stamp: stamp(), verified: true }, counter: None, mark: 1 };
    let (_, changes) = decide(&request(1), &merchant(), verdict, Some(&purse(1)), &Settings::default());
    assert_eq!(token_after(&changes).unwrap().guesses, Guesses::default(), "a genuine code clears them");
}

#[test]
fn a_merchant_waits_at_twenty_wrong_codes_and_is_suspended_at_a_hundred_a_day() {
    let settings = Settings::default();
    let mut shop = merchant();
    let mut alerts = Vec::new();
    for code in 1..=100_u64 {
        // Never more than twenty within ten minutes, so it never waits.
        let request = PayRequest { now_ms: NOW_MS + code * 31_000, ..request(1) };
        assert!(shop.wrong_codes.wait_ms(request.now_ms, &settings).is_none(), "{code}");
        assert_eq!(accept(&request, &shop), Ok(()), "{code}");
        let (_, changes) = decide(&request, &shop, Verdict::Unknown, None, &settings);
        for change in changes {
            match change {
                Change::PutMerchant(after) => shop = after,
                Change::AddEvent(event) => alerts.push((code, event.name, event.actor, event.why)),
                _ => {}
            }
        }
        if code == 20 {
            assert!(shop.wrong_codes.wait_ms(request.now_ms, &settings).is_some());
            shop.wrong_codes.since_ms = 0;
        }
    }
    assert!(shop.suspended_ms.is_some());
    assert_eq!(accept(&request(1), &shop).unwrap_err().reason, Reason::MerchantSuspended);
    let names: Vec<_> = alerts.iter().map(|(code, name, actor, _)| (*code, *name, actor.as_str())).collect();
    assert!(names.contains(&(20, "merchant_waits", "risk")), "{alerts:?}");
    assert_eq!(names.last(), Some(&(100, "merchant_suspended", "risk")));

    let (back, changes) =
        crate::merchants::act(crate::merchants::MerchantAction::Reinstate, shop, "its scanner was broken", NOW_MS)
            .unwrap();
    assert_eq!((back.suspended_ms, back.wrong_codes), (None, WrongCodes::default()));
    let line = changes.iter().find_map(|change| match change {
        Change::AddEvent(event) => Some((event.name, event.actor.as_str(), event.why.as_str())),
        _ => None,
    });
    assert_eq!(line, Some(("reinstate", "operator", "its scanner was broken")));
    assert_eq!(accept(&request(1), &back), Ok(()));
}

#[test]
fn what_is_early_foreign_or_spent_is_no_guess() {
    let token = || token(TokenState::Active);
    for verdict in [
        Verdict::NotOurs,
        Verdict::Refused { token: token(), decline: Decline::CodeSpent },
        Verdict::Refused { token: token(), decline: Decline::CodeStale },
        Verdict::Early { token: token(), stamp: stamp(), mark: 5 },
    ] {
        let is_early = matches!(verdict, Verdict::Early { .. });
        let (payment, changes) = decide(&request(1), &merchant(), verdict, None, &Settings::default());
        let is_guess =
            |change: &Change| matches!(change, Change::PutMerchant(after) if after.wrong_codes.day_count > 0);
        assert!(!changes.iter().any(is_guess), "{payment:?}");
        let after = token_after(&changes);
        assert!(after.is_none_or(|after| after.guesses == Guesses::default()), "{payment:?}");
        if is_early {
            assert_eq!(payment.state, PaymentState::Failed(Decline::CodeEarly));
            let after = after.unwrap();
            assert_eq!((after.last_stamp, after.spent.marks()), (Some(stamp()), &[5][..]), "it will never pay");
        }
    }
}

#[test]
fn what_pays_nothing_is_kept_so_often_a_day_and_then_refused() {
    let settings = Settings::default();
    let bound = settings.codes.merchant_day_fruitless;
    let shop = |fruitless| {
        let wrong_codes = WrongCodes { fruitless, ..WrongCodes::default() }.on_day(NOW_MS, &settings);
        Merchant { wrong_codes: WrongCodes { fruitless, ..wrong_codes }, ..merchant() }
    };
    let refused = |state, decline| Verdict::Refused { token: token(state), decline };
    let active = TokenState::Active;
    // A verdict, what it counts, and whether it is still looked at where too much came before.
    for (verdict, counts, is_taken) in [
        (Verdict::NotOurs, true, false),
        (refused(active, Decline::CodeSpent), true, false),
        (refused(active, Decline::CodeStale), true, false),
        (refused(TokenState::FrozenByRisk, Decline::ChipCloned), true, false),
        (refused(active, Decline::ChipCloned), true, true),
        (Verdict::Early { token: token(active), stamp: stamp(), mark: 5 }, false, true),
        (Verdict::Unknown, false, true),
        (genuine(active, true), false, true),
    ] {
        assert_eq!(guesses::may_be_kept(&verdict, &shop(bound - 1), NOW_MS, &settings), Ok(()), "{verdict:?}");
        let full = guesses::may_be_kept(&verdict, &shop(bound), NOW_MS, &settings);
        assert_eq!(full, if is_taken { Ok(()) } else { Err(Reason::TooManyDeclines.into()) }, "{verdict:?}");
        let tomorrow = NOW_MS + 86_400_000;
        assert_eq!(guesses::may_be_kept(&verdict, &shop(bound), tomorrow, &settings), Ok(()), "{verdict:?}");
        let (_, changes) = decide(&request(1), &shop(bound - 1), verdict, Some(&purse(1)), &settings);
        let after = changes.iter().find_map(|change| match change {
            Change::PutMerchant(after) => Some(after.wrong_codes.fruitless),
            _ => None,
        });
        assert_eq!(after == Some(bound), counts, "{changes:?}");
        let is_told = |change: &Change| matches!(change, Change::AddEvent(event) if event.name == "too_many_declines");
        assert_eq!(changes.iter().any(is_told), counts, "the operator hears of the last one");
    }
    let closed = guesses::closed_unpaid(&shop(bound), NOW_MS, &settings);
    assert_eq!(closed, Err(Reason::TooManyDeclines.into()));
    assert_eq!(guesses::closed_unpaid(&shop(bound - 1), NOW_MS, &settings).map(|changes| changes.len()), Ok(2));
}

#[test]
fn a_token_whose_time_is_over_is_declined_and_the_trail_says_so_once() {
    let over = Token { expires_ms: Some(NOW_MS), ..token(TokenState::Active) };
    let verdict =
        |token: Token| Verdict::Genuine { token, hit: Hit { stamp: stamp(), verified: true }, counter: None, mark: 1 };
    let (payment, changes) = decide(&request(1), &merchant(), verdict(over), Some(&purse(1)), &Settings::default());
    assert_eq!(payment.state, PaymentState::Failed(Decline::TokenExpired));
    let event = |changes: &[Change]| changes.iter().any(|c| matches!(c, Change::AddEvent(e) if e.name == "expired"));
    let after = token_after(&changes).unwrap().clone();
    assert_eq!((after.state, event(&changes)), (TokenState::Expired, true));
    let (_, again) = decide(&request(1), &merchant(), verdict(after), Some(&purse(1)), &Settings::default());
    assert!(!event(&again));
}

#[test]
fn codes_that_lead_to_no_token_count_against_the_merchant_and_foreign_ones_do_not() {
    for (verdict, counts) in [(Verdict::Unknown, true), (Verdict::NotOurs, false)] {
        let (_, changes) = decide(&request(1), &merchant(), verdict, None, &Settings::default());
        let counted = changes.iter().any(|change| matches!(change, Change::PutMerchant(m) if m.wrong_codes.count == 1));
        assert_eq!(counted, counts);
    }
}

#[test]
fn one_order_number_is_one_payment() {
    let first = paid(1250);
    assert_eq!(repeat(&request(1250), first.clone()).unwrap(), first);
    assert_eq!(repeat(&request(1251), first.clone()).unwrap_err().reason, Reason::OrderParametersDiffer);
    let closed = Payment { fingerprint: None, state: PaymentState::Cancelled, ..first };
    assert_eq!(repeat(&request(1250), closed).unwrap_err().reason, Reason::OrderCancelled);
}

#[test]
fn a_large_payment_sets_its_money_aside_and_waits_for_the_wearer() {
    let settings = Settings::default();
    let genuine = || genuine(TokenState::Active, true);
    let (payment, changes) = decide(&request(200_001), &merchant(), genuine(), Some(&purse(200_001)), &settings);
    let until_ms = NOW_MS + 180_000;
    assert_eq!(payment.state, PaymentState::RequiresConfirmation { until_ms });
    let held = changes.iter().find_map(|change| match change {
        Change::Book(booking) => booking.balances.get(&posting::held([1; 16], Currency::CNY)).copied(),
        _ => None,
    });
    assert_eq!(held, Some(200_001));
    let account = AccountId([1; 16]);
    assert!(changes.contains(&Change::SetPending { payment: payment.id, account, until_ms, waits: true }));

    let full = Purse { waiting: MAX_WAITING, ..purse(200_001) };
    let (refused, changes) = decide(&request(200_001), &merchant(), genuine(), Some(&full), &settings);
    assert_eq!(refused.state, PaymentState::Failed(Decline::TooManyWaiting));
    assert!(!moves_money(&changes));
    let (short, _) = decide(&request(200_001), &merchant(), genuine(), Some(&purse(200_000)), &settings);
    assert_eq!(short.state, PaymentState::Failed(Decline::InsufficientFunds));
}

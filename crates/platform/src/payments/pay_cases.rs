//! The table of cases for [`super::decide`] and [`super::repeat`].

use ledger::Currency;
use paycode::{Hit, Sequence, TimeStep};

use super::*;
use crate::merchants::WrongCodes;
use crate::payments::code::fingerprint;
use crate::tokens::tests::token;
use crate::{AccountId, KeyHash};

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
    }
}

fn stamp() -> Stamp {
    Stamp::new(TimeStep(1000), Sequence::FIRST)
}

fn genuine(state: TokenState, verified: bool) -> Verdict {
    Verdict::Genuine { token: token(state), hit: Hit { stamp: stamp(), verified }, counter: Some(7) }
}

fn purse(wallet_minor: u64) -> Purse {
    let id = AccountId([1; 16]);
    let wallet = posting::wallet(id.0, Currency::CNY);
    let day_use = DayUse { account: id, currency: Currency::CNY, day: 0, total_minor: 0, unverified_minor: 0 };
    Purse { day_use, partition: 0, waiting: 0, balances: Balances::from([(wallet, wallet_minor.cast_signed())]) }
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
    use TokenState::{Active, Frozen, FrozenByRisk, Pending, Revoked};
    let rich = 999_999_900;
    // token state, passcode, amount, wallet → outcome
    for (state, verified, minor, wallet, outcome) in [
        (Active, true, 1250, 1250, Ok(())),
        (Active, false, 1250, 1250, Ok(())),
        (Active, true, 1250, 1249, Err(Decline::InsufficientFunds)),
        (Pending, true, 1250, rich, Err(Decline::TokenNotActive)),
        (Frozen, true, 1250, rich, Err(Decline::TokenFrozen)),
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
                Change::Book(booking) => purse.balances.extend(booking.balances),
                _ => {}
            }
        }
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
fn a_copied_chip_stops_the_token_with_an_alert() {
    let verdict = Verdict::Refused { token: token(TokenState::Active), decline: Decline::ChipCloned };
    let (payment, changes) = decide(&request(1), &merchant(), verdict, None, &Settings::default());
    assert_eq!(payment.state, PaymentState::Failed(Decline::ChipCloned));
    assert_eq!(token_after(&changes).unwrap().state, TokenState::FrozenByRisk);
    assert!(changes.iter().any(|change| matches!(change, Change::AddEvent(event) if event.actor == "risk")));
}

#[test]
fn wrong_passwords_freeze_a_token_and_the_till_learns_nothing_of_it() {
    let settings = Settings::default();
    let mut token = Token { misses: 0, ..token(TokenState::Active) };
    for miss in 1..=settings.codes.misses_before_freeze {
        let verdict = Verdict::Wrong { token: token.clone() };
        let (payment, changes) = decide(&request(1), &merchant(), verdict, None, &settings);
        assert_eq!(payment.state, PaymentState::Failed(Decline::CodeUnknown));
        assert_eq!((payment.token, payment.account), (None, None));
        token = token_after(&changes).unwrap().clone();
        assert_eq!(token.misses, miss);
        let frozen = miss == settings.codes.misses_before_freeze;
        assert_eq!(token.state == TokenState::FrozenByRisk, frozen, "{miss}");
    }
    let revoked = Verdict::Wrong { token: Token { state: TokenState::Revoked, ..token } };
    let (_, changes) = decide(&request(1), &merchant(), revoked, None, &settings);
    assert_eq!(token_after(&changes).unwrap().state, TokenState::Revoked, "revoked is for ever");
}

#[test]
fn unknown_codes_count_against_the_merchant_and_foreign_ones_do_not() {
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

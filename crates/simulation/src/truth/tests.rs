use ledger::Currency;
use platform::payments::MerchantNumber;

use super::*;

fn payment(state: PaymentState, refunded_minor: u64) -> Payment {
    Payment {
        id: PaymentId([1; 16]),
        merchant: MerchantId([2; 16]),
        order: MerchantNumber::parse("o-1", "order").unwrap(),
        fingerprint: Some(fingerprint("71", Amount::new(100, Currency::CNY).unwrap())),
        amount: Some(Amount::new(100, Currency::CNY).unwrap()),
        state,
        account: Some(AccountId([3; 16])),
        token: Some(TokenId([4; 16])),
        verified: true,
        refunded_minor,
        refunds: 0,
        created_ms: 1_763_890_000_000,
        category: None,
        decision: None,
    }
}

fn cancel_asked() -> Truth {
    let mut truth = Truth::default();
    let order = MerchantNumber::parse("o-1", "order").unwrap();
    truth.asked(&Request::Cancel { merchant: MerchantId([2; 16]), order });
    truth
}

#[test]
fn an_answer_that_is_not_durable_is_a_broken_promise() {
    let told = payment(PaymentState::Succeeded, 0);
    let before = ToldBefore::default();
    assert!(Truth::default().told_payment(&told, &before, None).is_err());
    assert!(Truth::default().told_payment(&told, &before, Some(&told)).is_ok());
}

#[test]
fn an_order_is_one_payment_for_ever() {
    let first = payment(PaymentState::Succeeded, 0);
    let other = Payment { id: PaymentId([9; 16]), ..first.clone() };
    let mut truth = Truth::default();
    truth.told_payment(&first, &ToldBefore::default(), Some(&first)).unwrap();
    assert!(truth.told_payment(&other, &ToldBefore::default(), Some(&other)).is_err());
}

#[test]
fn a_payment_never_comes_back_from_where_it_ended() {
    let declined = PaymentState::Failed(Decline::CodeSpent);
    for (first, then, may_be) in [
        (PaymentState::Succeeded, PaymentState::Cancelled, true),
        (PaymentState::Succeeded, declined, false),
        (declined, PaymentState::Succeeded, false),
        (declined, PaymentState::Cancelled, false),
        (PaymentState::RequiresConfirmation { until_ms: 9 }, PaymentState::Succeeded, true),
        (PaymentState::RequiresConfirmation { until_ms: 9 }, declined, false),
    ] {
        let (first, then) = (payment(first, 0), payment(then, 0));
        let mut truth = cancel_asked();
        truth.told_payment(&first, &ToldBefore::default(), Some(&first)).unwrap();
        assert_eq!(truth.told_payment(&then, &ToldBefore::default(), Some(&then)).is_ok(), may_be, "{then:?}");
    }
    let cancelled = ToldBefore { id: Some(PaymentId([1; 16])), rank: 3, ..ToldBefore::default() };
    let back = payment(PaymentState::Succeeded, 0);
    assert!(cancel_asked().told_payment(&back, &cancelled, Some(&back)).is_err());
}

#[test]
fn a_code_that_pays_twice_is_found() {
    use paycode::{Sequence, TimeStep};
    let mut truth = Truth::default();
    let text = "71".to_owned();
    let step = TimeStep::from_unix_seconds(1_763_890_000).unwrap();
    truth.shown(ShownCode {
        text: text.clone(),
        token: TokenId([4; 16]),
        stamp: Stamp::new(step, Sequence::FIRST),
        verified: true,
    });
    for name in ["o-1", "o-2"] {
        let order = MerchantNumber::parse(name, "order").unwrap();
        let amount = Amount::new(100, Currency::CNY).unwrap();
        truth.asked(&Request::Pay { merchant: MerchantId([2; 16]), order, code: text.clone(), amount });
    }
    let first = payment(PaymentState::Succeeded, 0);
    let order = MerchantNumber::parse("o-2", "order").unwrap();
    let second = Payment { id: PaymentId([9; 16]), order, ..first.clone() };
    assert_eq!(truth.spent(&first), Ok(()));
    assert!(truth.spent(&second).unwrap_err().contains("one code paid"));
}

#[test]
fn a_freeze_holds_from_its_answer_until_a_resume_is_inside() {
    let token = TokenId([4; 16]);
    let frozen = Token {
        id: token,
        account: AccountId([3; 16]),
        chip: platform::ChipId([5; 16]),
        format: paycode::CodeFormat::DEFAULT,
        suite: paycode::Suite::International,
        index: paycode::TokenIndex::new(1).unwrap(),
        pay_key_version: 1,
        mask_key_version: 1,
        state: TokenState::FrozenByOperator,
        last_stamp: None,
        last_counter: None,
        guesses: Default::default(),
        spent: Default::default(),
        expires_ms: None,
        created_ms: 0,
    };
    let holds = |truth: &Truth| truth.freezes.get(&(token, true)).is_some_and(|freeze| freeze.told);
    let act = |action| Request::Act { token, account: frozen.account, action, by_operator: true };
    let frozen_at = |truth: &mut Truth, before: &ToldBefore| {
        truth.told_token(token, (TokenAction::Freeze, true), 0, before, Some(&frozen)).unwrap();
    };
    let mut truth = Truth::default();
    let before = truth.arrives(&act(TokenAction::Freeze), 0);
    frozen_at(&mut truth, &before);
    assert!(holds(&truth));
    let while_inside = truth.arrives(&act(TokenAction::Freeze), 0);
    truth.arrives(&act(TokenAction::Resume), 1);
    assert!(!holds(&truth));
    frozen_at(&mut truth, &while_inside);
    assert!(!holds(&truth), "the resume may still take effect");
    truth.server_gone(1, None);
    frozen_at(&mut truth, &while_inside);
    assert!(!holds(&truth), "the resume was there beside the freeze: it may have come after it");
    let after = truth.arrives(&act(TokenAction::Freeze), 0);
    frozen_at(&mut truth, &after);
    assert!(holds(&truth));
    truth.arrives(&Request::Act { token, account: frozen.account, action: TokenAction::Resume, by_operator: false }, 1);
    assert!(holds(&truth), "it is not the wearer's to lift");
}

//! Random business against the rules: after every entry, accepted or refused, money is conserved, no balance
//! is under its floor, and a refused entry has changed nothing.

use ledger::{Amount, Balances, Currency, LedgerError, TrialBalance, apply, posting};
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Event {
    TopUp { account: u8, minor: u64 },
    Payment { account: u8, minor: u64 },
    Refund { account: u8, minor: u64 },
    PostToMerchant { merchant: u8, minor: u64 },
    PostFromMerchant { merchant: u8, minor: u64 },
}

fn event() -> impl Strategy<Value = Event> {
    let who = 0_u8..4;
    let minor = 1_u64..2_000;
    prop_oneof![
        (who.clone(), minor.clone()).prop_map(|(account, minor)| Event::TopUp { account, minor }),
        (who.clone(), minor.clone()).prop_map(|(account, minor)| Event::Payment { account, minor }),
        (who.clone(), minor.clone()).prop_map(|(account, minor)| Event::Refund { account, minor }),
        (who.clone(), minor.clone()).prop_map(|(merchant, minor)| Event::PostToMerchant { merchant, minor }),
        (who, minor).prop_map(|(merchant, minor)| Event::PostFromMerchant { merchant, minor }),
    ]
}

fn book(event: &Event) -> Result<ledger::Entry, LedgerError> {
    let cause = posting::Cause { reference: [0; 16], counterparty: [0; 16], at_ms: 0 };
    let cny = |minor: u64| Amount::new(minor, Currency::CNY);
    match *event {
        Event::TopUp { account, minor } => posting::top_up(cause, [account; 16], cny(minor)?),
        Event::Payment { account, minor } => posting::payment(cause, [account; 16], 0, cny(minor)?),
        Event::Refund { account, minor } => posting::refund(cause, [account; 16], 0, cny(minor)?),
        Event::PostToMerchant { merchant, minor } => {
            posting::posting(cause, [merchant; 16], 0, posting::PostingDirection::ToMerchant, cny(minor)?)
        }
        Event::PostFromMerchant { merchant, minor } => {
            posting::posting(cause, [merchant; 16], 0, posting::PostingDirection::FromMerchant, cny(minor)?)
        }
    }
}

proptest! {
    #[test]
    fn the_books_hold_after_every_entry(events in prop::collection::vec(event(), 1..200)) {
        let mut balances = Balances::new();
        for event in &events {
            let entry = book(event).unwrap();
            let wallet_short = matches!(event, Event::Payment { account, minor }
                if balances.get(&posting::wallet([*account; 16], Currency::CNY)).copied().unwrap_or(0) < minor.cast_signed());
            match apply(&balances, &entry) {
                Ok(after) => {
                    prop_assert!(!wallet_short, "a payment went through without the money");
                    balances.extend(after);
                }
                Err(error) => {
                    prop_assert!(matches!(error, LedgerError::BelowFloor(_)), "{error}");
                    prop_assert!(wallet_short || !matches!(event, Event::Payment { .. }), "a covered payment was refused");
                }
            }
            for (account, balance) in &balances {
                prop_assert!(account.kind.floor_minor().is_none_or(|floor| *balance >= floor));
            }
            for trial in TrialBalance::of(balances.clone()).values() {
                prop_assert!(trial.is_balanced());
            }
        }
    }
}

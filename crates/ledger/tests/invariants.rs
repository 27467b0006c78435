//! Random business against the rules: after every entry, accepted or refused, money is conserved, no balance is under its
//! floor, what is held is what was set aside and neither paid nor given back, and a refused entry has changed nothing.

use ledger::posting::{Cause, Event, Parties, RULES, entry, held, wallet};
use ledger::{AccountKind, Amount, Balances, Currency, LedgerError, TrialBalance, apply};
use proptest::prelude::*;

#[derive(Debug, Clone)]
struct Business {
    event: Event,
    wearer: u8,
    merchant: u8,
    minor: u64,
}

fn business() -> impl Strategy<Value = Business> {
    let event = (0..RULES.len()).prop_map(|rule| RULES[rule].0);
    (event, 0_u8..4, 0_u8..3, 1_u64..2_000).prop_map(|(event, wearer, merchant, minor)| Business {
        event,
        wearer,
        merchant,
        minor,
    })
}

impl Business {
    fn entry(&self) -> Result<ledger::Entry, LedgerError> {
        let cause = Cause { reference: [0; 16], counterparty: [0; 16], at_ms: 0 };
        let parties = Parties { wearer: [self.wearer; 16], merchant: [self.merchant; 16], partition: 0 };
        entry(self.event, cause, parties, Amount::new(self.minor, Currency::CNY)?)
    }
}

proptest! {
    #[test]
    fn the_books_hold_after_every_entry(events in prop::collection::vec(business(), 1..300)) {
        let mut balances = Balances::new();
        let mut set_aside = 0_i64;
        for business in &events {
            let entry = business.entry().unwrap();
            let (_, _, debit, _) = RULES.iter().find(|(event, ..)| *event == business.event).unwrap();
            let minor = business.minor.cast_signed();
            let purse = match debit {
                AccountKind::Wallet => wallet([business.wearer; 16], Currency::CNY),
                _ => held([business.wearer; 16], Currency::CNY),
            };
            let spends_a_wearer_s_money = matches!(debit, AccountKind::Wallet | AccountKind::Held);
            let short = spends_a_wearer_s_money && balances.get(&purse).copied().unwrap_or(0) < minor;
            match apply(&balances, &entry) {
                Ok(after) => {
                    prop_assert!(!short, "money went that was not there: {business:?}");
                    balances.extend(after);
                    match business.event {
                        Event::Hold => set_aside += minor,
                        Event::Capture | Event::Release => set_aside -= minor,
                        _ => {}
                    }
                }
                Err(error) => {
                    prop_assert!(matches!(error, LedgerError::BelowFloor(_)), "{error}");
                    prop_assert!(short || !spends_a_wearer_s_money, "what was covered was refused: {business:?}");
                }
            }
            for (account, balance) in &balances {
                prop_assert!(account.kind.floor_minor().is_none_or(|floor| *balance >= floor));
            }
            let held: i64 = balances.iter().filter(|(a, _)| a.kind == AccountKind::Held).map(|(_, b)| b).sum();
            prop_assert_eq!(held, set_aside);
            for trial in TrialBalance::of(balances.clone()).values() {
                prop_assert!(trial.is_balanced());
            }
        }
    }
}

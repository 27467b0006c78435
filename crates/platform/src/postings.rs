//! The batch posting: what waits in clearing moves to the merchants, one net entry a merchant.

use ledger::posting::{self, Event, Parties};
use ledger::{Amount, Balances, Currency};

use crate::{Booking, Change, MerchantId, UnixMs};

/// What waits in clearing for one merchant in one currency, added up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unposted {
    /// The merchant.
    pub merchant: MerchantId,
    /// The currency.
    pub currency: Currency,
    /// The sum, minor units: negative when refunds outweigh payments.
    pub net_minor: i64,
}

/// Posts what waits for one merchant. `reference` is a fresh 16-byte id; `balances` are those of clearing and payable.
///
/// When refunds outweigh what the merchant is owed, its items go on waiting in clearing until payments cover them:
/// nothing is lost, and nobody else waits for it.
pub fn post(
    unposted: &Unposted,
    partition: u32,
    reference: [u8; 16],
    now_ms: UnixMs,
    balances: &Balances,
) -> Vec<Change> {
    let Unposted { merchant, currency, net_minor } = *unposted;
    let nothing_waits = Change::SetWaiting(Unposted { merchant, currency, net_minor: 0 });
    if net_minor == 0 {
        return vec![nothing_waits];
    }
    let event = if net_minor > 0 { Event::PostToMerchant } else { Event::PostFromMerchant };
    let cause = posting::Cause { reference, counterparty: merchant.0, at_ms: now_ms };
    let parties = Parties { merchant: merchant.0, partition, ..Parties::default() };
    let booking = Amount::new(net_minor.unsigned_abs(), currency)
        .and_then(|net| posting::entry(event, cause, parties, net))
        .and_then(|entry| Booking::new(entry, balances));
    match booking {
        Ok(booking) => vec![Change::Book(booking), nothing_waits],
        Err(_) => vec![Change::SetWaiting(*unposted)],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unposted(net_minor: i64) -> Unposted {
        Unposted { merchant: MerchantId([5; 16]), currency: Currency::CNY, net_minor }
    }

    #[test]
    fn the_net_of_a_batch_moves_one_way_or_the_other_and_nothing_waits() {
        let payable = posting::payable([5; 16], Currency::CNY);
        let owed = Balances::from([(payable, 300)]);
        for (net_minor, payable_after) in [(250, Some(550)), (-300, Some(0)), (0, None)] {
            let changes = post(&unposted(net_minor), 0, [6; 16], 1, &owed);
            let after = changes.iter().find_map(|change| match change {
                Change::Book(booking) => booking.balances.get(&payable).copied(),
                _ => None,
            });
            assert_eq!(after, payable_after);
            assert!(changes.contains(&Change::SetWaiting(unposted(0))));
        }
    }

    #[test]
    fn refunds_beyond_what_is_owed_go_on_waiting() {
        let changes = post(&unposted(-1), 0, [6; 16], 1, &Balances::new());
        assert_eq!(changes, [Change::SetWaiting(unposted(-1))]);
    }
}

//! The batch posting: what waits in clearing moves to the merchants, one net entry a merchant.

use ledger::{Amount, Balances, Currency, posting};

use crate::{Booking, Change, MerchantId, Reason, Refusal, UnixMs};

/// The unposted items of one merchant in one currency, added up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unposted {
    /// The merchant.
    pub merchant: MerchantId,
    /// The currency.
    pub currency: Currency,
    /// The sum of the items, minor units: negative when refunds outweigh payments.
    pub net_minor: i64,
    /// The number of the last item in the sum.
    pub up_to: u64,
}

/// Posts one merchant's items. `reference` is a fresh 16-byte id; `balances` are those of clearing and payable.
///
/// # Errors
/// [`Reason::BooksRefused`] when refunds outweigh what the merchant is owed: the items stay in clearing until
/// payments cover them, and nothing is lost.
pub fn post(
    unposted: &Unposted,
    partition: u32,
    reference: [u8; 16],
    now_ms: UnixMs,
    balances: &Balances,
) -> Result<Vec<Change>, Refusal> {
    let Unposted { merchant, currency, up_to, .. } = *unposted;
    let cleared = Change::ClearItems { merchant, currency, up_to };
    if unposted.net_minor == 0 {
        return Ok(vec![cleared]);
    }
    let direction = if unposted.net_minor > 0 {
        posting::PostingDirection::ToMerchant
    } else {
        posting::PostingDirection::FromMerchant
    };
    let cause = posting::Cause { reference, at_ms: now_ms };
    let booking = Amount::new(unposted.net_minor.unsigned_abs(), unposted.currency)
        .and_then(|net| posting::posting(cause, unposted.merchant.0, partition, direction, net))
        .and_then(|entry| Booking::new(entry, balances))
        .map_err(|_| Reason::BooksRefused)?;
    Ok(vec![Change::Book(booking), cleared])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unposted(net_minor: i64) -> Unposted {
        Unposted { merchant: MerchantId([5; 16]), currency: Currency::CNY, net_minor, up_to: 9 }
    }

    #[test]
    fn the_net_of_a_batch_moves_one_way_or_the_other() {
        let payable = posting::payable([5; 16], Currency::CNY);
        let owed = Balances::from([(payable, 300)]);
        for (net_minor, payable_after) in [(250, Some(550)), (-300, Some(0)), (0, None)] {
            let changes = post(&unposted(net_minor), 0, [6; 16], 1, &owed).unwrap();
            let after = changes.iter().find_map(|change| match change {
                Change::Book(booking) => booking.balances.get(&payable).copied(),
                _ => None,
            });
            assert_eq!(after, payable_after);
            assert!(changes.contains(&Change::ClearItems {
                merchant: MerchantId([5; 16]),
                currency: Currency::CNY,
                up_to: 9
            }));
        }
    }

    #[test]
    fn refunds_beyond_what_is_owed_stay_in_clearing() {
        let nothing = post(&unposted(-1), 0, [6; 16], 1, &Balances::new());
        assert_eq!(nothing.unwrap_err().reason, Reason::BooksRefused);
    }
}

//! What was asked under a merchant's number whose payment or refund is at home elsewhere and not booked yet.

use ledger::Amount;
use platform::payments::{Fingerprint, MerchantNumber};
use platform::{MerchantId, PaymentId};

use super::FORM;
use super::codec::{Decoder, Encoder};
use crate::StoreError;

/// A number that is taken, and for what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reservation {
    /// Whose number.
    pub(crate) merchant: MerchantId,
    /// The order or refund number.
    pub(crate) number: MerchantNumber,
    /// How much.
    pub(crate) amount: Amount,
    /// For what.
    pub(crate) asked: Asked,
}

/// What a number was reserved for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    /// A payment with these parameters.
    Payment(Fingerprint),
    /// A refund of this payment.
    Refund(PaymentId),
}

const PAYMENT: u8 = 1;
const REFUND: u8 = 2;

impl Reservation {
    pub(crate) fn to_row(&self) -> Vec<u8> {
        let row = Encoder::new(FORM).raw(&self.merchant.0).text(self.number.as_str()).amount(self.amount);
        match self.asked {
            Asked::Payment(fingerprint) => row.u8(PAYMENT).raw(&fingerprint.0),
            Asked::Refund(payment) => row.u8(REFUND).raw(&payment.0),
        }
        .finish()
    }

    pub(crate) fn from_row(fields: &[u8]) -> Result<Self, StoreError> {
        let mut row = Decoder::new("reservations", FORM, fields)?;
        let (merchant, number, amount) = (MerchantId(row.raw()?), row.merchant_number()?, row.amount()?);
        let asked = match row.u8()? {
            PAYMENT => Asked::Payment(Fingerprint(row.raw()?)),
            REFUND => Asked::Refund(PaymentId(row.raw()?)),
            _ => return Err(row.corrupt()),
        };
        row.end().map(|()| Self { merchant, number, amount, asked })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

    use super::*;

    #[test]
    fn a_reservation_comes_back_as_it_was_written() {
        for asked in [Asked::Payment(Fingerprint([7; 32])), Asked::Refund(PaymentId([8; 16]))] {
            let reservation = Reservation {
                merchant: MerchantId([5; 16]),
                number: MerchantNumber::parse("o-1", "order").unwrap(),
                amount: Amount::new(1250, ledger::Currency::CNY).unwrap(),
                asked,
            };
            let bytes = reservation.to_row();
            assert_eq!(Reservation::from_row(&bytes), Ok(reservation));
            for cut in 0..bytes.len() {
                assert!(Reservation::from_row(&bytes[..cut]).is_err());
            }
        }
    }
}

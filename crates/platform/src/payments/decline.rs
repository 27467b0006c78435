//! Every way a payment fails. A decline is recorded with the payment and answers every repeat of it.

macro_rules! declines {
    ($($number:literal $name:ident, $code:literal, $message:literal;)*) => {
        /// Why a payment was declined. The number is what is stored: it never changes its meaning.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Decline {
            $(#[doc = $message] $name = $number,)*
        }

        impl Decline {
            /// Every decline there is, in the order of its number.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The stable code, for programs.
            pub const fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            /// A sentence for the person at the till.
            pub const fn message(self) -> &'static str {
                match self { $(Self::$name => $message,)* }
            }
        }
    };
}

declines! {
    1 CodeNotOurs, "code_not_ours", "This code belongs to another payment institution.";
    2 CodeUnknown, "code_unknown", "This code is not a valid payment code; ask for a new one.";
    3 CodeSpent, "code_spent", "This code has been used already; ask for a new one.";
    4 CodeSuperseded, "code_superseded", "A newer code of this wearable has been used; ask for a new one.";
    5 CodeStale, "code_stale", "This code is too old; ask for a new one.";
    6 ChipCloned, "chip_cloned", "This code comes from a copied chip; the wearable has been stopped.";
    7 TokenNotActive, "token_not_active", "This wearable has not finished binding; connect it to its phone.";
    8 TokenFrozen, "token_frozen", "This wearable has been frozen by its owner or the operator.";
    9 TokenRevoked, "token_revoked", "This wearable is no longer bound to an account.";
    10 CurrencyDiffers, "currency_differs", "The wearer's account is kept in another currency.";
    11 LimitSingle, "limit_single", "This amount is above what may be paid with one code.";
    12 LimitDay, "limit_day", "The wearer has reached today's limit.";
    13 LimitUnverified, "limit_unverified", "Today's limit without passcode is reached; ask the wearer to enter the passcode and show a new code.";
    14 InsufficientFunds, "insufficient_funds", "The wearer's account does not hold enough money.";
    15 RefusedByWearer, "refused_by_wearer", "The wearer did not want to pay this.";
    16 NotConfirmed, "not_confirmed", "The wearer did not confirm the payment in time.";
    17 TooManyWaiting, "too_many_waiting", "The wearer has too many payments waiting to be confirmed; confirm or refuse them first.";
    18 TokenExpired, "token_expired", "This wearable's time to pay is over; its payment institution has to renew it.";
    19 TokenLost, "token_lost", "This wearable has been reported lost.";
    20 LimitMonth, "limit_month", "The wearer has reached this month's limit.";
    21 CodeEarly, "code_early", "This wearable's clock is fast; connect it to its phone, and ask for a new code.";
    22 DeclinedByRisk, "declined_by_risk", "The payment institution declined this payment; the wearer can ask it why.";
}

impl Decline {
    /// The decline with this stored number.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.iter().copied().find(|decline| *decline as u8 == number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_codes_are_unique_and_come_back() {
        for decline in Decline::ALL {
            assert_eq!(Decline::from_number(*decline as u8), Some(*decline));
            assert_eq!(Decline::ALL.iter().filter(|other| other.code() == decline.code()).count(), 1);
        }
        assert_eq!(Decline::from_number(0), None);
    }
}

//! Ids: 16 bytes each, a type for each kind of thing, so that one is never taken for another.
//!
//! An id starts with 48 bits of its creation time in milliseconds (as UUID version 7 does), so that new rows
//! land beside each other on disk; 80 bits follow, random ones or a number the store counts up. As text it is a short name, `_` and 32 hex digits.

use crate::{Reason, Refusal, UnixMs};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal, $field:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; 16]);

        impl $name {
            /// A new id from the present time and ten random bytes.
            pub fn new(now_ms: UnixMs, random: [u8; 10]) -> Self {
                Self(time_ordered(now_ms, random))
            }

            /// A new id from the present time and a number that no other id of this kind has.
            pub fn numbered(now_ms: UnixMs, number: u64) -> Self {
                let mut random = [0; 10];
                random[2..].copy_from_slice(&number.to_be_bytes());
                Self::new(now_ms, random)
            }

            /// The number the id ends in, below 2^63: by it the store finds the row.
            pub fn number(&self) -> u64 {
                row_number(&self.0)
            }

            /// Reads the text form.
            ///
            /// # Errors
            /// [`Reason::IdMalformed`] for any other text.
            pub fn parse(text: &str) -> Result<Self, Refusal> {
                text.strip_prefix(concat!($prefix, "_"))
                    .and_then(from_hex)
                    .map(Self)
                    .ok_or(Refusal::at(Reason::IdMalformed, $field))
            }
        }

        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str(concat!($prefix, "_"))?;
                write_hex(&self.0, f)
            }
        }

        impl core::fmt::Debug for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                core::fmt::Display::fmt(self, f)
            }
        }
    };
}

id!(
    /// A wearer's account.
    AccountId, "acct", "account"
);
id!(
    /// A merchant.
    MerchantId, "mer", "merchant"
);
id!(
    /// A payment.
    PaymentId, "pay", "payment"
);
id!(
    /// A refund.
    RefundId, "ref", "refund"
);
id!(
    /// A payment token: one account's right to pay from one chip.
    TokenId, "tok", "token"
);
id!(
    /// One attempt at binding a chip.
    BindingId, "bind", "binding"
);
id!(
    /// A top-up.
    TopUpId, "top", "top_up"
);

id!(
    /// A shipment of chips.
    ShipmentId, "shp", "shipment"
);

/// A chip, by the 16 bytes its maker gave it. As text: 32 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChipId(pub [u8; 16]);

impl ChipId {
    /// Reads 32 hex digits.
    ///
    /// # Errors
    /// [`Reason::IdMalformed`] for any other text.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        from_hex(text).map(Self).ok_or(Refusal::at(Reason::IdMalformed, "chip_id"))
    }
}

impl core::fmt::Display for ChipId {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write_hex(&self.0, f)
    }
}

impl core::fmt::Debug for ChipId {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        core::fmt::Display::fmt(self, f)
    }
}

fn row_number(id: &[u8; 16]) -> u64 {
    let [_, _, _, _, _, _, _, _, number @ ..] = *id;
    // Stores keep it as a signed number.
    u64::from_be_bytes(number) & u64::MAX >> 1
}

fn time_ordered(now_ms: UnixMs, random: [u8; 10]) -> [u8; 16] {
    let mut id = [0; 16];
    // 48 bits of milliseconds last until the year 10889.
    id[..6].copy_from_slice(&now_ms.to_be_bytes()[2..]);
    id[6..].copy_from_slice(&random);
    id
}

fn write_hex(bytes: &[u8; 16], f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    // Every answer to a till holds an id: one text is written, not one for each byte.
    let mut text = [0; 32];
    for (pair, byte) in text.chunks_exact_mut(2).zip(bytes) {
        pair.copy_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 0xF)]]);
    }
    f.write_str(core::str::from_utf8(&text).map_err(|_| core::fmt::Error)?)
}

pub(crate) fn from_hex(text: &str) -> Option<[u8; 16]> {
    let digits: &[u8; 32] = text.as_bytes().try_into().ok()?;
    let mut bytes = [0; 16];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let [high, low] = pair else { return None };
        let high = char::from(*high).to_digit(16)?;
        let low = char::from(*low).to_digit(16)?;
        // Two hex digits are at most 255.
        *byte = (high * 16 + low) as u8;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_comes_back_from_its_text_and_no_other_kind_is_taken() {
        let id = PaymentId::new(1_763_890_000_123, [7; 10]);
        assert_eq!(PaymentId::parse(&id.to_string()).unwrap(), id);
        assert!(RefundId::parse(&id.to_string()).is_err());
        for text in
            ["pay_", "pay_zz", "", "pay_0123456789abcdef0123456789abcdeg", "pay_é123456789abcdef0123456789abcdef"]
        {
            assert!(PaymentId::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn later_ids_sort_after_earlier_ones() {
        assert!(PaymentId::new(1_000, [255; 10]) < PaymentId::new(1_001, [0; 10]));
    }
}

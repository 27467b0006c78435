//! Payments: one order number of one merchant is one payment, for ever.
//!
//! | file | decides |
//! |---|---|
//! | [`code`] | whose code this is, and whether it proves a payment |
//! | [`pay`] | what the payment comes to: tokens, limits, money |
//! | [`confirm`] | a payment that waits for its wearer: confirmed, refused, or too late |
//! | [`cancel`] | closing an order number that is unknown, unpaid or paid |
//! | [`refund`] | giving back, in parts, never more than was paid |
//! | [`reserved`] | what was reserved and never booked, where the two are done apart |
//! | [`decline`] | every way a payment fails, with its code and sentence |

pub mod cancel;
pub mod code;
pub mod confirm;
pub mod decline;
pub mod pay;
pub mod refund;
pub mod reserved;

use ledger::{Amount, Currency};

use crate::merchants::Category;
use crate::risk::Decision;
use crate::{AccountId, MerchantId, PaymentId, Reason, RefundId, Refusal, TokenId, UnixMs};

pub use decline::Decline;

/// The longest order or refund number, bytes.
pub const MAX_NUMBER_LEN: usize = 64;

/// A number a merchant gives to an order or a refund: 1 to 64 printable ASCII characters without spaces.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MerchantNumber(String);

impl MerchantNumber {
    /// Reads a number that came in `field`.
    ///
    /// # Errors
    /// [`Reason::FieldTooLong`] or [`Reason::FieldMalformed`], at `field`.
    pub fn parse(text: &str, field: &'static str) -> Result<Self, Refusal> {
        if text.len() > MAX_NUMBER_LEN {
            return Err(Refusal::at(Reason::FieldTooLong, field));
        }
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Refusal::at(Reason::FieldMalformed, field));
        }
        Ok(Self(text.to_owned()))
    }

    /// A number read back from where it was stored, the platform's own (which hold a space) among them.
    pub fn from_stored(text: String) -> Option<Self> {
        text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ').then_some(Self(text))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What became of a payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PaymentState {
    /// The money has moved.
    Succeeded,
    /// Its money is set aside, and it waits for the wearer to confirm it on the phone.
    RequiresConfirmation {
        /// Until when, Unix milliseconds.
        until_ms: UnixMs,
    },
    /// It was declined; no money has moved and none will.
    Failed(Decline),
    /// It was cancelled: before it arrived, or after it was paid, then with a refund in full.
    Cancelled,
}

impl PaymentState {
    /// The name in the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::RequiresConfirmation { .. } => "requires_confirmation",
            Self::Failed(_) => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// The fingerprint of a payment request's parameters: SHA-256, so that the code itself is not kept.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint(pub [u8; 32]);

impl core::fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Fingerprint(..)")
    }
}

/// A payment, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payment {
    /// Its id.
    pub id: PaymentId,
    /// Who is paid.
    pub merchant: MerchantId,
    /// The merchant's order number.
    pub order: MerchantNumber,
    /// What was asked, to tell a repeat from another request; `None` when a cancel came first.
    pub fingerprint: Option<Fingerprint>,
    /// How much; `None` when a cancel came first.
    pub amount: Option<Amount>,
    /// What became of it.
    pub state: PaymentState,
    /// The wearer's account, where the code was a token's.
    pub account: Option<AccountId>,
    /// The token, where the code was one's.
    pub token: Option<TokenId>,
    /// Whether the wearer's passcode session was open.
    pub verified: bool,
    /// How much has been given back, minor units.
    pub refunded_minor: u64,
    /// In how many refunds, at most [`refund::MAX_REFUNDS`] and that of a cancel.
    pub refunds: u16,
    /// When it was decided.
    pub created_ms: UnixMs,
    /// What its merchant sold then.
    pub category: Option<Category>,
    /// What the risk rules said, where they were asked.
    pub decision: Option<Decision>,
}

/// Money given back from a payment, under the merchant's own refund number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refund {
    /// Its id.
    pub id: RefundId,
    /// The payment.
    pub payment: PaymentId,
    /// The merchant.
    pub merchant: MerchantId,
    /// The merchant's refund number: one number is one refund for ever.
    pub number: MerchantNumber,
    /// How much.
    pub amount: Amount,
    /// When it was booked.
    pub created_ms: UnixMs,
}

/// What a wearer has paid by code on one of the operator's days.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DayUse {
    /// The account.
    pub account: AccountId,
    /// The currency.
    pub currency: Currency,
    /// The day, counted from 1970-01-01 in the operator's time.
    pub day: i64,
    /// The sum of all payments, minor units.
    pub total_minor: u64,
    /// The part of it whose codes were shown without the passcode, minor units.
    pub unverified_minor: u64,
}

impl DayUse {
    /// The day's use with one more payment.
    #[must_use]
    pub fn plus(self, amount: Amount, verified: bool) -> Self {
        let unverified_minor = if verified { 0 } else { amount.minor() };
        Self {
            total_minor: self.total_minor.saturating_add(amount.minor()),
            unverified_minor: self.unverified_minor.saturating_add(unverified_minor),
            ..self
        }
    }
}

//! Merchants, their keys, and the brake on those who send codes that do not exist.

use ledger::Currency;

use crate::accounts::display_name;
use crate::{Change, CodeSettings, KeyHash, MerchantId, Refusal, UnixMs};

/// A shop that takes payments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merchant {
    /// Its id.
    pub id: MerchantId,
    /// The name shown to wearers.
    pub name: String,
    /// The currency it is paid in.
    pub currency: Currency,
    /// How it authenticates.
    pub api_key: KeyHash,
    /// When it joined.
    pub created_ms: UnixMs,
    /// Unknown codes it has sent lately.
    pub wrong_codes: WrongCodes,
}

/// Unknown codes within one window of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WrongCodes {
    /// When the window began.
    pub since_ms: UnixMs,
    /// How many came since.
    pub count: u32,
}

impl WrongCodes {
    /// How long the merchant must wait before its next code is looked at, milliseconds; `None` when it need not.
    pub fn wait_ms(&self, now_ms: UnixMs, settings: &CodeSettings) -> Option<u64> {
        let ends_ms = self.since_ms.saturating_add(settings.merchant_window_ms);
        let braked = self.count >= settings.merchant_wrong_codes && now_ms < ends_ms;
        braked.then(|| ends_ms - now_ms)
    }

    /// The count after one more unknown code.
    #[must_use]
    pub fn one_more(&self, now_ms: UnixMs, settings: &CodeSettings) -> Self {
        if now_ms >= self.since_ms.saturating_add(settings.merchant_window_ms) {
            return Self { since_ms: now_ms, count: 1 };
        }
        Self { since_ms: self.since_ms, count: self.count.saturating_add(1) }
    }
}

/// What taking on a merchant needs.
#[derive(Debug, Clone)]
pub struct TakeOn {
    /// A fresh id.
    pub id: MerchantId,
    /// The name shown to wearers.
    pub name: String,
    /// The currency it is paid in.
    pub currency: Currency,
    /// The hash of a fresh API key.
    pub api_key: KeyHash,
    /// The present time.
    pub now_ms: UnixMs,
}

/// Takes a merchant on.
///
/// # Errors
/// [`crate::Reason::FieldMalformed`] or [`crate::Reason::FieldTooLong`] for the name.
pub fn take_on(request: TakeOn) -> Result<(Merchant, Vec<Change>), Refusal> {
    let name = display_name(&request.name, "name")?;
    let TakeOn { id, currency, api_key, now_ms, .. } = request;
    let merchant = Merchant { id, name, currency, api_key, created_ms: now_ms, wrong_codes: WrongCodes::default() };
    Ok((merchant.clone(), vec![Change::PutMerchant(merchant)]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_merchant_that_sends_unknown_codes_waits_until_the_window_is_over() {
        let settings = CodeSettings { merchant_wrong_codes: 3, merchant_window_ms: 1_000, ..CodeSettings::default() };
        let mut wrong = WrongCodes::default();
        for (now_ms, wait_ms) in [(5_000, None), (5_100, None), (5_200, Some(800))] {
            wrong = wrong.one_more(now_ms, &settings);
            assert_eq!(wrong.wait_ms(now_ms, &settings), wait_ms);
        }
        assert_eq!(wrong.wait_ms(5_999, &settings), Some(1));
        assert_eq!(wrong.wait_ms(6_000, &settings), None);
        assert_eq!(wrong.one_more(6_000, &settings), WrongCodes { since_ms: 6_000, count: 1 });
    }
}

//! A watch: what the chip in it would make, and no more.

use paycode::{Code, CodeFormat, MaskKey, PayKey, Sequence, Stamp, Suite, TimeStep, TokenIndex, make};
use platform::{AccountId, KeyVault, TokenId};

use crate::keys::OpenVault;

/// A watch on a wrist, bound to its wearer's account.
pub(crate) struct Watch {
    pub(crate) token: TokenId,
    pub(crate) account: AccountId,
    pub(crate) index: TokenIndex,
    /// How far its clock is from the world's.
    pub(crate) clock_ms: i64,
    last: Option<Stamp>,
    codes_left: u32,
    anchor_s: u64,
}

/// A code on a screen, as the world knows it.
#[derive(Debug, Clone)]
pub(crate) struct ShownCode {
    pub(crate) text: String,
    pub(crate) token: TokenId,
    pub(crate) stamp: Stamp,
    pub(crate) verified: bool,
}

/// Codes between two syncs: few, so that budgets run out.
const BUDGET: u32 = 60;
/// Seconds of codes after a sync.
const ALLOWANCE_S: u64 = 14 * 86_400;

impl Watch {
    pub(crate) fn new(token: TokenId, account: AccountId, index: TokenIndex, clock_ms: i64) -> Self {
        Self { token, account, index, clock_ms, last: None, codes_left: 0, anchor_s: 0 }
    }

    /// The phone is near: a new anchor, and as many codes as it may make.
    pub(crate) fn sync(&mut self, now_ms: u64) {
        self.anchor_s = now_ms / 1_000;
        self.codes_left = BUDGET;
    }

    /// Whether the next code needs a sync first.
    pub(crate) fn wants_sync(&self) -> bool {
        self.codes_left == 0
    }

    /// A code, where the chip's rules allow one: never before the last, four in a step, within allowance and budget.
    pub(crate) fn show(&mut self, now_ms: u64, verified: bool) -> Option<ShownCode> {
        let clock_s = now_ms.checked_add_signed(self.clock_ms)? / 1_000;
        let step = TimeStep::from_unix_seconds(clock_s).ok()?;
        if clock_s > self.anchor_s + ALLOWANCE_S || self.last.is_some_and(|last| step < last.step) {
            return None;
        }
        let codes_left = self.codes_left.checked_sub(1)?;
        let sequence = match self.last {
            Some(last) if last.step == step => last.sequence.next()?,
            _ => Sequence::FIRST,
        };
        let stamp = Stamp::new(step, sequence);
        let text = code(self.index, stamp, verified, 1)?.as_str().to_owned();
        self.last = Some(stamp);
        self.codes_left = codes_left;
        Some(ShownCode { text, token: self.token, stamp, verified })
    }
}

/// The code of a token under a version of its pay key; a version the cloud does not know makes a forgery.
pub(crate) fn code(index: TokenIndex, stamp: Stamp, verified: bool, key_version: u8) -> Option<Code> {
    let format = CodeFormat::DEFAULT;
    let mask = MaskKey::new(Suite::International, &*OpenVault.mask_key(&format, 1).ok()?);
    let pay = PayKey::new(Suite::International, &*OpenVault.pay_key(&format, index, key_version).ok()?);
    make(&format, &mask, &pay, index, stamp, verified).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watch_makes_four_codes_a_step_and_none_in_the_past() {
        let mut watch = Watch::new(TokenId([1; 16]), AccountId([1; 16]), TokenIndex::new(7).unwrap(), 0);
        let now_ms = 1_763_890_020_000;
        assert!(watch.show(now_ms, true).is_none(), "no code before the first sync");
        watch.sync(now_ms);
        let codes: Vec<_> = (0..5).filter_map(|_| watch.show(now_ms, true)).collect();
        assert_eq!(codes.len(), 4);
        assert!(codes.is_sorted_by(|one, two| one.stamp < two.stamp));
        assert!(watch.show(now_ms - 30_000, true).is_none());
        assert!(watch.show(now_ms + 30_000, true).is_some());
    }
}

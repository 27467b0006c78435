//! Whose code this is, and whether it proves a payment. The store finds the tokens a code may belong to; the
//! judgement here is pure and costs the money if it is wrong.

use paycode::emv::{self, Payload};
use std::sync::Arc;

pub use paycode::Found;
use paycode::{Code, CodeFormat, Hit, MaskKey, Miss, PayKey, Stamp, Unmasked, unmask};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::{Decline, Fingerprint};
use crate::guesses::SpentMarks;
use crate::tokens::Token;
use crate::{Reason, Refusal};

/// The fewest digits of a code by any institution in the field (`spec/payment-code.md`, routing).
const MIN_FOREIGN_DIGITS: usize = 16;
/// The most digits of a code by any institution in the field.
const MAX_FOREIGN_DIGITS: usize = 24;

/// What the till scanned.
#[derive(Clone)]
pub enum PresentedCode {
    /// The digits of a payment code, from a bar code or a QR code of digits.
    Digits(Code),
    /// An EMV QR code: the same digits with a transaction counter and a cryptogram.
    Emv {
        /// The digits in it.
        code: Code,
        /// The whole text, which has been read once already.
        text: Zeroizing<String>,
    },
    /// Well-formed, but not of this platform's making.
    Foreign,
}

impl PresentedCode {
    /// Reads what a scanner sent.
    ///
    /// # Errors
    /// [`Reason::CodeMalformed`], at `code`, for anything that is no payment code of any kind.
    pub fn parse(text: &str, format: &CodeFormat) -> Result<Self, Refusal> {
        let malformed = Refusal::at(Reason::CodeMalformed, "code");
        if text.bytes().all(|byte| byte.is_ascii_digit()) {
            if !(MIN_FOREIGN_DIGITS..=MAX_FOREIGN_DIGITS).contains(&text.len()) {
                return Err(malformed);
            }
            return Ok(format.parse(text).map_or(Self::Foreign, Self::Digits));
        }
        let mut buffer = Zeroizing::new([0; emv::MAX_PAYLOAD_BYTES]);
        let payload = Payload::parse(text, &mut *buffer).map_err(|_| malformed)?;
        let ours =
            emv::Payment::from_payload(&payload).ok().and_then(|payment| format.parse(payment.code().as_str()).ok());
        Ok(ours.map_or(Self::Foreign, |code| Self::Emv { code, text: Zeroizing::new(text.to_owned()) }))
    }

    /// The mark by which its digits are known again once they are spent; none of a code that is not ours.
    pub fn mark(&self) -> Option<u32> {
        let (Self::Digits(code) | Self::Emv { code, .. }) = self else { return None };
        Some(SpentMarks::mark(code.as_str()))
    }

    /// The token numbers this code may stand for, one for each mask key that could have hidden it.
    pub fn unmasked(&self, format: &CodeFormat, masks: &[(u8, MaskKey)]) -> Vec<(u8, Unmasked)> {
        let (Self::Digits(code) | Self::Emv { code, .. }) = self else { return Vec::new() };
        masks.iter().filter_map(|(version, mask)| Some((*version, unmask(format, mask, code).ok()?))).collect()
    }
}

impl core::fmt::Debug for PresentedCode {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Digits(_) => "Digits(..)",
            Self::Emv { .. } => "Emv(..)",
            Self::Foreign => "Foreign",
        })
    }
}

/// The fingerprint of a payment request: SHA-256 over code, minor units (8 bytes, big-endian) and currency.
pub fn fingerprint(code: &str, amount: ledger::Amount) -> Fingerprint {
    let mut hash = Sha256::new();
    // The length keeps the parts apart.
    hash.update((code.len() as u64).to_be_bytes());
    hash.update(code.as_bytes());
    hash.update(amount.minor().to_be_bytes());
    hash.update(amount.currency().to_bytes());
    Fingerprint(hash.finalize().into())
}

/// A token the code may belong to, with what is needed to find out.
pub struct Candidate {
    /// The token with the unmasked number.
    pub token: Token,
    /// Its pay key.
    pub pay_key: Arc<PayKey>,
    /// Where its password fits, at this moment.
    pub found: Found,
    /// The mask key version that led here.
    pub mask_version: u8,
}

/// What the code turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// A fresh code of this token.
    Genuine {
        /// Whose.
        token: Token,
        /// When it was made, and whether the passcode session was open.
        hit: Hit,
        /// The transaction counter, where the code carries one.
        counter: Option<u32>,
        /// The mark of its digits, by which it is known again.
        mark: u32,
    },
    /// A code of this token whose time has not come: its wearable's clock is fast. It is spent by being shown, or whoever
    /// has seen it need only wait.
    Early {
        /// Whose.
        token: Token,
        /// When it would have begun to pay.
        stamp: Stamp,
        /// The mark of its digits.
        mark: u32,
    },
    /// A code of this token that proves nothing any more, or comes from a copy of its chip.
    Refused {
        /// Whose.
        token: Token,
        /// Why.
        decline: Decline,
    },
    /// A wrong password for this token, or a forged cryptogram: counts against it.
    Wrong {
        /// Whose.
        token: Token,
    },
    /// Not a code of any token.
    Unknown,
    /// Another institution's code.
    NotOurs,
}

/// Judges a code against the tokens it may belong to; the first candidate is under the current mask key.
pub fn judge(presented: &PresentedCode, candidates: Vec<Candidate>) -> Verdict {
    let Some(mark) = presented.mark() else { return Verdict::NotOurs };
    let mut wrong = None;
    for candidate in candidates {
        let Candidate { token, pay_key, found, mask_version } = candidate;
        match found.against(token.last_stamp) {
            Ok(hit) => return judge_counter(presented, token, &pay_key, hit, mark),
            // Long past its window, and still no guess.
            Err(Miss::Wrong) if token.spent.marks().contains(&mark) => {
                return Verdict::Refused { token, decline: Decline::CodeSpent };
            }
            Err(Miss::Wrong) if mask_version == token.mask_key_version => wrong = wrong.or(Some(token)),
            // Under another version than the chip has, the number is a chance one: nothing speaks against the token.
            Err(Miss::Wrong) => {}
            Err(Miss::Spent) => return Verdict::Refused { token, decline: Decline::CodeSpent },
            Err(Miss::Superseded) => return Verdict::Refused { token, decline: Decline::CodeSuperseded },
            Err(Miss::Stale) => return Verdict::Refused { token, decline: Decline::CodeStale },
            Err(Miss::Early) => {
                return found.early().map_or(Verdict::Unknown, |stamp| Verdict::Early { token, stamp, mark });
            }
            // A miss this platform does not know yet is at least not a payment.
            Err(_) => return Verdict::Unknown,
        }
    }
    wrong.map_or(Verdict::Unknown, |token| Verdict::Wrong { token })
}

/// For an EMV QR code: the cryptogram must be the chip's, and the counter above every one seen before. A true
/// cryptogram with an old counter can only come from a second chip with the same keys.
fn judge_counter(presented: &PresentedCode, token: Token, pay_key: &PayKey, hit: Hit, mark: u32) -> Verdict {
    let PresentedCode::Emv { text, .. } = presented else {
        return Verdict::Genuine { token, hit, counter: None, mark };
    };
    let mut buffer = Zeroizing::new([0; emv::MAX_PAYLOAD_BYTES]);
    let verified = emv::Payment::parse(text, &mut *buffer).and_then(|payment| {
        payment.verify(pay_key, token.index, &hit)?;
        Ok(payment.transaction_counter())
    });
    match verified {
        Err(_) => Verdict::Wrong { token },
        Ok(counter) if token.last_counter.is_some_and(|last| counter <= last) => {
            Verdict::Refused { token, decline: Decline::ChipCloned }
        }
        Ok(counter) => Verdict::Genuine { token, hit, counter: Some(counter), mark },
    }
}

#[cfg(test)]
#[path = "code_cases.rs"]
mod tests;

//! A payment code in the wearable's memory: digits, EMV text, how long it lives, and when the next one is
//! due. It is wiped when the next one takes its place.

use core::fmt;

use protocol::applet::{self, CODE_DIGITS, CodeForm, CodeStamp, MAX_EMV_BYTES, MAX_LABEL_BYTES, STEP_SECONDS};

use crate::element::wipe;
use crate::screen::Face;

const MAX_DIGITS: usize = *CODE_DIGITS.end() as usize;

/// A short text without an allocator.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Text<const N: usize> {
    bytes: [u8; N],
    length: usize,
}

impl<const N: usize> Text<N> {
    pub(crate) const EMPTY: Self = Self { bytes: [0; N], length: 0 };

    /// Keeps the text; one that is too long is cut at a character.
    pub(crate) fn new(text: &str) -> Self {
        let mut kept = Self::EMPTY;
        let length = text.floor_char_boundary(N);
        for (to, from) in kept.bytes.iter_mut().zip(text.bytes().take(length)) {
            *to = from;
        }
        kept.length = length;
        kept
    }

    pub(crate) fn as_str(&self) -> &str {
        self.bytes.get(..self.length).and_then(|bytes| core::str::from_utf8(bytes).ok()).unwrap_or("")
    }
}

/// A code to show. It is money for as long as it lives: `Debug` leaves it out, dropping wipes it.
#[derive(Clone, PartialEq, Eq)]
pub struct PaymentCode {
    digits: Text<MAX_DIGITS>,
    emv: Text<MAX_EMV_BYTES>,
    account: Text<MAX_LABEL_BYTES>,
    form: CodeForm,
    stamp: CodeStamp,
    codes_left: u16,
    verified: bool,
    valid_until_unix_s: u64,
}

impl PaymentCode {
    pub(crate) fn new(code: &applet::PaymentCode<'_>, form: CodeForm, account: &str) -> Self {
        Self {
            digits: Text::new(code.digits.unwrap_or("")),
            emv: Text::new(code.emv.unwrap_or("")),
            account: Text::new(account),
            form,
            stamp: code.stamp,
            codes_left: code.codes_left,
            verified: code.verified,
            valid_until_unix_s: code.valid_until_unix_seconds,
        }
    }

    /// 18 to 24 decimal digits for bar code and QR code; empty if only the EMV form was asked for.
    pub fn digits(&self) -> &str {
        self.digits.as_str()
    }

    /// The EMV QR text; empty if only digits were asked for.
    pub fn emv(&self) -> &str {
        self.emv.as_str()
    }

    /// The masked name of the account that pays.
    pub fn account(&self) -> &str {
        self.account.as_str()
    }

    /// Whether the passcode session was open, which the cloud reads from the code as well.
    pub fn verified(&self) -> bool {
        self.verified
    }

    /// When and as which of its half minute the chip made it.
    pub(crate) const fn stamp(&self) -> CodeStamp {
        self.stamp
    }

    /// Codes left before a sync is needed.
    pub fn codes_left(&self) -> u16 {
        self.codes_left
    }

    /// The second after which the cloud refuses the code, in Unix time.
    pub fn valid_until_unix_s(&self) -> u64 {
        self.valid_until_unix_s
    }

    /// Seconds the code still lives.
    pub fn seconds_left(&self, now_unix_s: u64) -> u32 {
        self.valid_until_unix_s.saturating_sub(now_unix_s).min(u64::from(u32::MAX)) as u32
    }

    /// Seconds from the beginning of the code's time step to its end: what a full countdown stands for.
    pub fn seconds_whole(&self) -> u32 {
        let begin = u64::from(self.stamp.step()) * STEP_SECONDS;
        self.valid_until_unix_s.saturating_sub(begin).clamp(1, 3600) as u32
    }

    /// The code as a page for [`crate::screen::Screen::draw`].
    pub fn face(&self, now_unix_s: u64) -> Face<'_> {
        Face {
            digits: self.digits(),
            emv: self.emv(),
            account: self.account(),
            verified: self.verified,
            seconds_left: self.seconds_left(now_unix_s),
            seconds_whole: self.seconds_whole(),
        }
    }

    /// Whether it can be shown again: it has the forms wanted, and its time step is not over. (A clock set
    /// back by less than the life of a code keeps it, too: the chip would refuse a new one.)
    pub(crate) fn serves(&self, form: CodeForm, now_unix_s: u64) -> bool {
        let has = (!form.wants_digits() || self.form.wants_digits()) && (!form.wants_emv() || self.form.wants_emv());
        has && now_unix_s / STEP_SECONDS <= u64::from(self.stamp.step()) && self.seconds_left(now_unix_s) <= 4 * 30
    }
}

impl Drop for PaymentCode {
    fn drop(&mut self) {
        wipe(&mut self.digits.bytes);
        wipe(&mut self.emv.bytes);
    }
}

impl fmt::Debug for PaymentCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PaymentCode")
            .field("stamp", &self.stamp)
            .field("verified", &self.verified)
            .field("codes_left", &self.codes_left)
            .field("valid_until_unix_s", &self.valid_until_unix_s)
            .finish_non_exhaustive()
    }
}

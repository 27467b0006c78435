//! A token in its slot: how it lies in flash, and how it is loaded to make codes.
//!
//! Keys leave flash only into buffers that are wiped; a loaded token holds the key schedules, is wiped when
//! dropped and shows nothing of them.

use crate::hal::Flash;
use crate::records;
use crate::store::Store;
use core::fmt;
use paycode::{CodeFormat, MaskKey, PayKey, Suite, TokenIndex};
use protocol::apdu::StatusWord;
use protocol::applet::{
    InstallToken, MASK_KEY_BYTES, MAX_LABEL_BYTES, MAX_PREFIX_DIGITS, MaskKeyUpdate, PAY_KEY_BYTES, Slot,
    TOKEN_ID_BYTES,
};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Where each field of a record begins.
mod at {
    use super::{MASK_KEY_BYTES, MAX_PREFIX_DIGITS, PAY_KEY_BYTES, TOKEN_ID_BYTES};

    pub(super) const TOKEN_ID: usize = 0;
    pub(super) const PREFIX: usize = TOKEN_ID + TOKEN_ID_BYTES;
    /// Digits of the prefix, digits of a code, suite.
    pub(super) const FORMAT: usize = PREFIX + MAX_PREFIX_DIGITS;
    pub(super) const INDEX: usize = FORMAT + 3;
    pub(super) const PAY_KEY: usize = INDEX + 8;
    pub(super) const PAY_KEY_VERSION: usize = PAY_KEY + PAY_KEY_BYTES;
    pub(super) const MASK_KEY: usize = PAY_KEY_VERSION + 1;
    pub(super) const MASK_KEY_VERSION: usize = MASK_KEY + MASK_KEY_BYTES;
    pub(super) const LABEL: usize = MASK_KEY_VERSION + 1;
}

/// The longest record, in bytes.
const MAX_RECORD_BYTES: usize = at::LABEL + MAX_LABEL_BYTES;

/// A token as it lies in flash, fields of fixed width and the label last. A record that exists names a valid format,
/// suite and index. It is filled in place: it holds keys, and no copy of it is left behind.
#[derive(ZeroizeOnDrop)]
pub(crate) struct TokenRecord {
    bytes: [u8; MAX_RECORD_BYTES],
    used: usize,
}

impl TokenRecord {
    /// Room for a record.
    pub(crate) const fn empty() -> Self {
        Self { bytes: [0; MAX_RECORD_BYTES], used: 0 }
    }

    /// Takes the token of an order; 6A80 where its format, suite or index is none this chip can make codes of.
    pub(crate) fn fill(&mut self, order: &InstallToken<'_>) -> Result<(), StatusWord> {
        let index = order.token_index.to_be_bytes();
        let fields: [(usize, &[u8]); 9] = [
            (at::TOKEN_ID, order.token_id),
            (at::PREFIX, order.prefix.as_bytes()),
            (at::FORMAT, &[order.prefix.len() as u8, order.total_digits, order.suite]),
            (at::INDEX, &index),
            (at::PAY_KEY, order.pay_key),
            (at::PAY_KEY_VERSION, &[order.pay_key_version]),
            (at::MASK_KEY, order.mask_key),
            (at::MASK_KEY_VERSION, &[order.mask_key_version]),
            (at::LABEL, order.account_label.as_bytes()),
        ];
        for (at, bytes) in fields {
            self.set(at, bytes);
        }
        self.used = at::LABEL + order.account_label.len();
        self.parts().ok_or(StatusWord::WRONG_DATA)?;
        Ok(())
    }

    /// Reads the token in `slot`; 6A88 where there is none.
    #[inline(never)]
    pub(crate) fn read<F: Flash>(&mut self, store: &mut Store<F>, slot: Slot) -> Result<(), StatusWord> {
        self.used = store.get(records::token(slot), &mut self.bytes)?.ok_or(StatusWord::REFERENCE_NOT_FOUND)?;
        if self.used >= at::LABEL && self.parts().is_some() { Ok(()) } else { Err(StatusWord::INTERNAL) }
    }

    /// The same token under another mask key.
    pub(crate) fn set_mask_key(&mut self, update: &MaskKeyUpdate<'_>) {
        self.set(at::MASK_KEY, update.key);
        self.set(at::MASK_KEY_VERSION, &[update.version]);
    }

    /// The token's name.
    pub(crate) fn token_id(&self) -> &[u8; TOKEN_ID_BYTES] {
        self.field(at::TOKEN_ID)
    }

    /// The masked account name for the screen.
    pub(crate) fn label(&self) -> Result<&str, StatusWord> {
        let bytes = self.bytes.get(at::LABEL..self.used).ok_or(StatusWord::INTERNAL)?;
        core::str::from_utf8(bytes).map_err(|_| StatusWord::INTERNAL)
    }

    /// The record as bytes for the store.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.used).unwrap_or(&[])
    }

    fn set(&mut self, at: usize, bytes: &[u8]) {
        let place = self.bytes.get_mut(at..).unwrap_or_default();
        place.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    }

    /// The field that begins at `at`; zeros for one that is not wholly in the record, which no caller asks for.
    fn field<const N: usize>(&self, at: usize) -> &[u8; N] {
        self.bytes.get(at..).and_then(<[u8]>::first_chunk).unwrap_or(&[0; N])
    }

    /// Format, suite and index, where all three are valid and the index fits the format.
    #[inline(never)]
    fn parts(&self) -> Option<(CodeFormat, Suite, TokenIndex)> {
        let &[prefix_digits, total_digits, suite] = self.field(at::FORMAT);
        let prefix: &[u8; MAX_PREFIX_DIGITS] = self.field(at::PREFIX);
        let format = CodeFormat::from_digits(prefix.get(..usize::from(prefix_digits))?, total_digits).ok()?;
        let index = TokenIndex::new(u64::from_be_bytes(*self.field(at::INDEX))).ok()?;
        format.has_room_for(index).then_some((format, Suite::from_id(suite)?, index))
    }
}

impl Zeroize for TokenRecord {
    fn zeroize(&mut self) {
        self.bytes.zeroize();
    }
}

impl fmt::Debug for TokenRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenRecord").finish_non_exhaustive()
    }
}

/// A token ready to make codes: its key schedules computed once, so that a code costs its own primitives
/// and little more. Kept between codes, dropped at any change and at reset.
pub(crate) struct LoadedToken {
    pub(crate) slot: Slot,
    pub(crate) format: CodeFormat,
    pub(crate) index: TokenIndex,
    pub(crate) pay_key: PayKey,
    pub(crate) mask_key: MaskKey,
}

impl LoadedToken {
    /// Loads the token in `slot`; 6A88 where there is none.
    pub(crate) fn load<F: Flash>(store: &mut Store<F>, slot: Slot) -> Result<Self, StatusWord> {
        let mut record = TokenRecord::empty();
        record.read(store, slot)?;
        let (format, suite, index) = record.parts().ok_or(StatusWord::INTERNAL)?;
        Ok(Self {
            slot,
            format,
            index,
            pay_key: PayKey::new(suite, record.field(at::PAY_KEY)),
            mask_key: MaskKey::new(suite, record.field(at::MASK_KEY)),
        })
    }
}

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

/// A token as it lies in flash. A record that exists names a valid format, suite and index.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(crate) struct TokenRecord {
    pub(crate) token_id: [u8; TOKEN_ID_BYTES],
    prefix: [u8; MAX_PREFIX_DIGITS],
    prefix_digits: u8,
    total_digits: u8,
    suite: u8,
    index: u64,
    pay_key: [u8; PAY_KEY_BYTES],
    pay_key_version: u8,
    mask_key: [u8; MASK_KEY_BYTES],
    mask_key_version: u8,
    label: [u8; MAX_LABEL_BYTES],
    label_bytes: u8,
}

/// Bytes of the record before the label.
const FIXED_BYTES: usize = TOKEN_ID_BYTES + MAX_PREFIX_DIGITS + 3 + 8 + PAY_KEY_BYTES + 1 + MASK_KEY_BYTES + 1;
/// The longest record, in bytes.
pub(crate) const MAX_RECORD_BYTES: usize = FIXED_BYTES + MAX_LABEL_BYTES;

impl TokenRecord {
    /// The token of an order; 6A80 where its format, suite or index is none this chip can make codes of.
    pub(crate) fn of(order: &InstallToken<'_>) -> Result<Self, StatusWord> {
        let mut record = Self {
            token_id: *order.token_id,
            prefix: [0; MAX_PREFIX_DIGITS],
            prefix_digits: order.prefix.len() as u8,
            total_digits: order.total_digits,
            suite: order.suite,
            index: order.token_index,
            pay_key: *order.pay_key,
            pay_key_version: order.pay_key_version,
            mask_key: *order.mask_key,
            mask_key_version: order.mask_key_version,
            label: [0; MAX_LABEL_BYTES],
            label_bytes: order.account_label.len() as u8,
        };
        copy(&mut record.prefix, order.prefix.as_bytes());
        copy(&mut record.label, order.account_label.as_bytes());
        record.parts().ok_or(StatusWord::WRONG_DATA)?;
        Ok(record)
    }

    /// Reads the token in `slot`; 6A88 where there is none.
    pub(crate) fn read<F: Flash>(store: &mut Store<F>, slot: Slot) -> Result<Self, StatusWord> {
        let mut bytes = zeroize::Zeroizing::new([0; MAX_RECORD_BYTES]);
        let len = store.get(records::token(slot), bytes.as_mut_slice())?.ok_or(StatusWord::REFERENCE_NOT_FOUND)?;
        let record = bytes.get(..len).and_then(Self::from_bytes);
        record.filter(|record| record.parts().is_some()).ok_or(StatusWord::INTERNAL)
    }

    /// The same token under another mask key.
    pub(crate) fn set_mask_key(&mut self, update: &MaskKeyUpdate<'_>) {
        self.mask_key = *update.key;
        self.mask_key_version = update.version;
    }

    /// The masked account name for the screen.
    pub(crate) fn label(&self) -> Result<&str, StatusWord> {
        let bytes = self.label.get(..usize::from(self.label_bytes)).ok_or(StatusWord::INTERNAL)?;
        core::str::from_utf8(bytes).map_err(|_| StatusWord::INTERNAL)
    }

    /// The record as bytes for the store; `into` is the caller's to wipe.
    pub(crate) fn to_bytes<'b>(&self, into: &'b mut [u8; MAX_RECORD_BYTES]) -> &'b [u8] {
        let index = self.index.to_be_bytes();
        let parts: [&[u8]; 9] = [
            &self.token_id,
            &self.prefix,
            &[self.prefix_digits, self.total_digits, self.suite],
            &index,
            &self.pay_key,
            &[self.pay_key_version],
            &self.mask_key,
            &[self.mask_key_version],
            &self.label,
        ];
        let mut rest = into.as_mut_slice();
        for part in parts {
            let (to, after) = rest.split_at_mut(part.len().min(rest.len()));
            copy(to, part);
            rest = after;
        }
        into.get(..FIXED_BYTES + usize::from(self.label_bytes)).unwrap_or(&[])
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes;
        let token_id = take(&mut rest)?;
        let prefix = take(&mut rest)?;
        let [prefix_digits, total_digits, suite] = take(&mut rest)?;
        let index = u64::from_be_bytes(take(&mut rest)?);
        let pay_key = take(&mut rest)?;
        let [pay_key_version] = take(&mut rest)?;
        let mask_key = take(&mut rest)?;
        let [mask_key_version] = take(&mut rest)?;
        let mut record = Self {
            token_id,
            prefix,
            prefix_digits,
            total_digits,
            suite,
            index,
            pay_key,
            pay_key_version,
            mask_key,
            mask_key_version,
            label: [0; MAX_LABEL_BYTES],
            label_bytes: rest.len() as u8,
        };
        record.label.get_mut(..rest.len())?.copy_from_slice(rest);
        Some(record)
    }

    /// Format, suite and index, where all three are valid and the index fits the format.
    fn parts(&self) -> Option<(CodeFormat, Suite, TokenIndex)> {
        let prefix = self.prefix.get(..usize::from(self.prefix_digits))?;
        let format = CodeFormat::new(core::str::from_utf8(prefix).ok()?, self.total_digits).ok()?;
        let fits = self.index < 10_u64.pow(format.index_digits() as u32);
        let index = TokenIndex::new(self.index).ok()?;
        fits.then_some((format, Suite::from_id(self.suite)?, index))
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
        let record = TokenRecord::read(store, slot)?;
        let (format, suite, index) = record.parts().ok_or(StatusWord::INTERNAL)?;
        Ok(Self {
            slot,
            format,
            index,
            pay_key: PayKey::new(suite, &record.pay_key),
            mask_key: MaskKey::new(suite, &record.mask_key),
        })
    }
}

fn copy(to: &mut [u8], from: &[u8]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = *from;
    }
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (first, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*first)
}

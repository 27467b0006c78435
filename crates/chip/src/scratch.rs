//! A buffer on the stack that wipes what was written to it: commands may hold a passcode or a key, answers hold
//! payment codes. Wiping takes time and can't be skipped by the compiler, so it is done for the bytes in use and not
//! for the whole buffer.

use zeroize::Zeroize;

/// `N` bytes, of which those handed out for writing are wiped when dropped.
pub(crate) struct Scratch<const N: usize> {
    bytes: [u8; N],
    used: usize,
}

impl<const N: usize> Scratch<N> {
    /// Zeros, none of them in use.
    pub(crate) const fn new() -> Self {
        Self { bytes: [0; N], used: 0 }
    }

    /// A copy of `content`; nothing where it is too long.
    pub(crate) fn holding(content: &[u8]) -> Option<Self> {
        let mut scratch = Self::new();
        scratch.bytes.get_mut(..content.len())?.copy_from_slice(content);
        scratch.used = content.len();
        Some(scratch)
    }

    /// All bytes, for writing; from now on all of them are in use.
    pub(crate) fn whole(&mut self) -> &mut [u8] {
        self.used = N;
        &mut self.bytes
    }

    /// The bytes in use.
    pub(crate) fn used(&mut self) -> &mut [u8] {
        self.bytes.get_mut(..self.used).unwrap_or_default()
    }
}

impl<const N: usize> Drop for Scratch<N> {
    fn drop(&mut self) {
        self.used().zeroize();
    }
}

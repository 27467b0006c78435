//! Key derivation in counter mode with AES-CMAC (NIST SP 800-108r1 §4.1): the cloud derives the keys of every
//! chip and token from its master keys, and SCP03 its session keys from the static ones. Same input, same
//! output, for ever: stored data depend on it. The labels in use are listed in `spec/secure-channel.md`.

use crate::aes_key::AesKey;
use blockcipher::BLOCK_BYTES;
use core::fmt;
use zeroize::Zeroize;

/// The longest output of [`derive()`] in bytes. Nothing here needs more; it keeps the counter in one byte's range.
pub const MAX_OUTPUT_BYTES: usize = 255 * BLOCK_BYTES;

/// Why a key could not be derived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The master key is not 16, 24 or 32 bytes long.
    BadKeyLength,
    /// The output is empty or longer than [`MAX_OUTPUT_BYTES`].
    BadOutputLength,
}

impl Error {
    /// A stable, machine-readable name of this error.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::BadKeyLength => "kdf_bad_key_length",
            Self::BadOutputLength => "kdf_bad_output_length",
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BadKeyLength => "a master key is 16, 24 or 32 bytes long",
            Self::BadOutputLength => "a derived key is 1 to 4,080 bytes long",
        })
    }
}

impl core::error::Error for Error {}

/// Fills `out` with `K(1) ‖ K(2) ‖ …`, where
/// `K(i) = AES-CMAC(master, [i] ‖ label ‖ 00 ‖ context ‖ [L])`; `[i]` counts from 1 and `[L]` is the length of
/// `out` in bits, both as 4 bytes, big-endian.
///
/// # Errors
/// [`Error::BadKeyLength`], [`Error::BadOutputLength`]; `out` is untouched then.
pub fn derive(master: &[u8], label: &[u8], context: &[u8], out: &mut [u8]) -> Result<(), Error> {
    let master = AesKey::new(master).ok_or(Error::BadKeyLength)?;
    derive_with(|message| Ok(master.cmac(message)), label, context, out)
}

/// [`derive()`] with a master key that is elsewhere: `cmac` is AES-CMAC under it, of a message in five pieces. It is asked
/// once for every 16 bytes of `out`, in order.
///
/// # Errors
/// Those of `cmac`, after which `out` is no key; [`Error::BadOutputLength`].
pub fn derive_with<E: From<Error>>(
    mut cmac: impl FnMut(&[&[u8]; 5]) -> Result<[u8; BLOCK_BYTES], E>,
    label: &[u8],
    context: &[u8],
    out: &mut [u8],
) -> Result<(), E> {
    if out.is_empty() || out.len() > MAX_OUTPUT_BYTES {
        return Err(Error::BadOutputLength.into());
    }
    let bits = u32::try_from(out.len() * 8).map_err(|_| Error::BadOutputLength)?.to_be_bytes();
    for (counter, chunk) in (1_u32..).zip(out.chunks_mut(BLOCK_BYTES)) {
        let mut block = cmac(&[&counter.to_be_bytes(), label, &[0], context, &bits])?;
        copy_prefix(chunk, &block);
        block.zeroize();
    }
    Ok(())
}

/// The layout GlobalPlatform gives the same mode (Amendment D §4.1.5): eleven zero bytes and the constant as
/// label, a zero byte, `[L]` in 2 bytes, `[i]` in 1 byte, and the context last.
pub(crate) fn derive_gp(key: &AesKey, constant: u8, context: &[&[u8]; 2], out: &mut [u8]) {
    let [.., high, low] = (out.len() * 8).to_be_bytes();
    let [first, second] = context;
    for (counter, chunk) in (1_u8..).zip(out.chunks_mut(BLOCK_BYTES)) {
        let mut head = [0; 16];
        head[11..].copy_from_slice(&[constant, 0, high, low, counter]);
        let mut block = key.cmac(&[&head, first, second]);
        copy_prefix(chunk, &block);
        block.zeroize();
    }
}

/// Copies as much of `block` as `chunk` holds.
fn copy_prefix(chunk: &mut [u8], block: &[u8; BLOCK_BYTES]) {
    for (to, from) in chunk.iter_mut().zip(block) {
        *to = *from;
    }
}

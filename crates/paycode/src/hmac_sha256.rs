//! HMAC-SHA-256 (FIPS 198-1, FIPS 180-4) from states computed once: a MAC over a message of up to 55 bytes costs two
//! compressions and little else, in instructions as in flash. What is compressed is RustCrypto's.
//!
//! A chip makes its codes with it, and hashes its passcode.

use sha2::block_api::compress256;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// A MAC, in bytes.
pub const MAC_BYTES: usize = 32;
/// The longest key taken, in bytes: one block. Longer ones would have to be hashed first, and nobody has any.
pub const MAX_KEY_BYTES: usize = BLOCK_BYTES;

const BLOCK_BYTES: usize = 64;
/// A block's last bytes are the length of everything.
const LENGTH_AT: usize = BLOCK_BYTES - 8;

/// What a hash begins with (FIPS 180-4, 5.3.3).
const BEGIN: State =
    [0x6A09_E667, 0xBB67_AE85, 0x3C6E_F372, 0xA54F_F53A, 0x510E_527F, 0x9B05_688C, 0x1F83_D9AB, 0x5BE0_CD19];

type State = [u32; 8];

/// A key, as the states after its inner and its outer block. Wiped when dropped; it has no `Debug`.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct HmacSha256 {
    inner: State,
    outer: State,
}

impl HmacSha256 {
    /// The MAC with this key; of a key longer than [`MAX_KEY_BYTES`] only its beginning counts.
    #[must_use]
    pub fn new(key: &[u8]) -> Self {
        Self { inner: keyed(key, 0x36), outer: keyed(key, 0x5C) }
    }

    /// The MAC over a message.
    #[must_use]
    pub fn mac(&self, message: &[u8]) -> [u8; MAC_BYTES] {
        let mut hash = finished(&self.inner, message);
        let mac = finished(&self.outer, &hash);
        hash.as_mut_slice().zeroize();
        mac
    }
}

/// The state after the first block: the key, masked.
fn keyed(key: &[u8], mask: u8) -> State {
    let mut block = [mask; BLOCK_BYTES];
    block.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
    let mut state = BEGIN;
    compress256(&mut state, &[block]);
    block.as_mut_slice().zeroize();
    state
}

/// The hash of one block that led to `begun`, and of the message after it.
fn finished(begun: &State, message: &[u8]) -> [u8; MAC_BYTES] {
    let mut state = *begun;
    let (whole, rest) = message.as_chunks::<BLOCK_BYTES>();
    if !whole.is_empty() {
        compress256(&mut state, whole);
    }
    let mut block = [[0; BLOCK_BYTES]];
    let [bytes] = &mut block;
    let (to, after) = bytes.split_at_mut(rest.len());
    to.copy_from_slice(rest);
    after.iter_mut().take(1).for_each(|byte| *byte = 0x80);
    if rest.len() >= LENGTH_AT {
        compress256(&mut state, &block);
        block = [[0; BLOCK_BYTES]];
    }
    // Far below 2³² bits: a message lies in memory.
    let bits = 8 * (BLOCK_BYTES + message.len()) as u32;
    let [bytes] = &mut block;
    bytes[BLOCK_BYTES - 4..].copy_from_slice(&bits.to_be_bytes());
    compress256(&mut state, &block);
    // Slices are wiped word by word, arrays byte by byte.
    block.as_flattened_mut().zeroize();
    let mut hash = [0; MAC_BYTES];
    for (to, word) in hash.chunks_exact_mut(4).zip(&state) {
        to.copy_from_slice(&word.to_be_bytes());
    }
    state.zeroize();
    hash
}

#[cfg(test)]
mod tests {
    use hmac::{Hmac, KeyInit, Mac};
    use sha2::Sha256;

    use super::*;

    #[test]
    fn it_is_the_mac_everybody_else_computes() {
        let bytes: [u8; 200] = core::array::from_fn(|at| (at * 7 + 1) as u8);
        for key in [0, 1, 8, 32, 63, 64] {
            for message in 0..bytes.len() {
                let (key, message) = (&bytes[..key], &bytes[..message]);
                let theirs = Hmac::<Sha256>::new_from_slice(key).unwrap().chain_update(message).finalize();
                assert_eq!(HmacSha256::new(key).mac(message)[..], theirs.into_bytes()[..]);
            }
        }
    }
}

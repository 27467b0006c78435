//! FF1 format-preserving encryption (NIST SP 800-38G), radix 10, over any 128-bit block cipher.
//!
//! Guarantees: what comes out has as many decimal digits as what went in, decryption undoes
//! encryption, and the result agrees with NIST's radix-10 samples. Lengths are 6 to 22 digits: below
//! six the domain is under a million and SP 800-38G rev. 1 forbids it; above 22 no code exists.
//!
//! Everything of a round's input but the round number and the right half is the same in all ten
//! rounds, so the cipher runs over it once, in [`Ff1::new`]; each round then costs exactly one block,
//! whatever the tweak. A payment code costs 11 blocks: one to prepare and ten rounds.
//!
//! Running time depends on the lengths; writing the digits may also show them on processors that divide
//! in variable time. What is hidden here is the token index, never the money (`spec/payment-code.md`).

use cipher::{Array, BlockCipherEncrypt, consts::U16};
use zeroize::Zeroize;

use crate::{
    decimal::{self, divide, power_of_ten},
    error::error_enum,
};

/// The fewest digits encrypted: 10^6 is the smallest domain SP 800-38G rev. 1 allows.
pub const MIN_DIGITS: usize = 6;
/// The most digits encrypted: the longest body of a payment code.
pub const MAX_DIGITS: usize = 22;
/// The longest tweak, in bytes. Payment codes use 2 to 9; SP 800-38G leaves the bound to the user.
pub const MAX_TWEAK: usize = 64;

const BLOCK: usize = 16;
const ROUNDS: u8 = 10;

type Block = Array<u8, U16>;
/// The numbers in the left and the right half of a numeral string. The right half is the longer one, if they differ.
pub(crate) type Halves = (u64, u64);

/// A block that a small chip can move word by word.
#[repr(align(4))]
struct Aligned(Block);

error_enum! {
    /// Why FF1 refused its input.
    Error {
        /// The numeral string is shorter than [`MIN_DIGITS`] or longer than [`MAX_DIGITS`], or not
        /// as long as this instance was prepared for.
        Length = "ff1_length", "the number of digits is outside what FF1 was prepared for";
        /// A byte is not an ASCII decimal digit.
        Digit = "ff1_digit", "FF1 encrypts ASCII decimal digits only";
        /// The tweak is longer than [`MAX_TWEAK`] bytes.
        Tweak = "ff1_tweak", "the tweak is too long";
    }
}

/// FF1 prepared for one key, one number of digits and one tweak.
///
/// The cipher may be held by value or by reference.
///
/// ```
/// use aes::Aes128;
/// use cipher::KeyInit;
/// use paycode::ff1::Ff1;
///
/// // NIST's sample 2: AES-128, radix 10, tweak 39383736353433323130.
/// let key = [
///     0x2B, 0x7E, 0x15, 0x16, 0x28, 0xAE, 0xD2, 0xA6, 0xAB, 0xF7, 0x15, 0x88, 0x09, 0xCF, 0x4F, 0x3C,
/// ];
/// let ff1 = Ff1::new(Aes128::new(&key.into()), 10, b"9876543210")?;
/// let mut digits = *b"0123456789";
/// ff1.encrypt(&mut digits)?;
/// assert_eq!(&digits, b"6124200773");
/// ff1.decrypt(&mut digits)?;
/// assert_eq!(&digits, b"0123456789");
/// # Ok::<(), paycode::ff1::Error>(())
/// ```
pub struct Ff1<C> {
    cipher: C,
    /// Digits in the left half (u) and in the right half (v), u ≤ v.
    left: u8,
    right: u8,
    /// Bytes that hold a right half as a number (b).
    number_bytes: u8,
    /// CBC-MAC state after P and every whole block of Q that no round changes, with Q's last block already in it: only
    /// its round number and its right half are still to come. They change the second half of it only, which is kept as
    /// the number that its bytes are.
    chained: [u8; BLOCK / 2],
    chained_end: u64,
}

impl<C: BlockCipherEncrypt<BlockSize = U16>> Ff1<C> {
    /// Prepares for numeral strings of exactly `digits` digits under `tweak`.
    ///
    /// # Errors
    /// [`Error::Length`] outside [`MIN_DIGITS`]..=[`MAX_DIGITS`]; [`Error::Tweak`] above [`MAX_TWEAK`].
    pub fn new(cipher: C, digits: usize, tweak: &[u8]) -> Result<Self, Error> {
        if !(MIN_DIGITS..=MAX_DIGITS).contains(&digits) {
            return Err(Error::Length);
        }
        if tweak.len() > MAX_TWEAK {
            return Err(Error::Tweak);
        }
        // SP 800-38G algorithm 7, steps 1, 3 and 5. All are below 256 by the bounds just checked.
        let left = (digits / 2) as u8;
        let right = digits as u8 - left;
        let mut largest = power_of_ten(usize::from(right)) - 1;
        let mut number_bytes = 0;
        while largest > 0 {
            number_bytes += 1;
            largest >>= 8;
        }

        let mut aligned =
            Aligned(Block::from([1, 2, 1, 0, 0, 10, 10, left, 0, 0, 0, digits as u8, 0, 0, 0, tweak.len() as u8]));
        let Aligned(chained) = &mut aligned;
        cipher.encrypt_block(chained);

        // Q is the tweak, zeros to fill, one byte of round number and the right half. Its blocks
        // before the last hold nothing that a round changes.
        let varying = 1 + usize::from(number_bytes);
        let whole_blocks = (tweak.len() + varying).div_ceil(BLOCK) - 1;
        for piece in tweak.chunks(BLOCK) {
            chained.iter_mut().zip(piece).for_each(|(a, b)| *a ^= b);
            if piece.len() == BLOCK {
                cipher.encrypt_block(chained);
            }
        }
        // Where the round number and the half do not fit behind the tweak's end, zeros fill its block.
        if whole_blocks > tweak.len() / BLOCK {
            cipher.encrypt_block(chained);
        }

        let (begin, end) = halves(chained);
        let ff1 = Self { cipher, left, right, number_bytes, chained: begin, chained_end: u64::from_be_bytes(end) };
        chained.as_mut_slice().zeroize();
        Ok(ff1)
    }

    /// Encrypts ASCII digits in place.
    ///
    /// # Errors
    /// [`Error::Length`] or [`Error::Digit`]; `digits` is then unchanged.
    pub fn encrypt(&self, digits: &mut [u8]) -> Result<(), Error> {
        let halves = self.encrypt_halves(self.read_halves(digits)?);
        self.write_halves(halves, digits);
        Ok(())
    }

    /// Encrypts a numeral string given as the numbers in its halves, which are no longer than this instance's.
    pub(crate) fn encrypt_halves(&self, (mut a, mut b): Halves) -> Halves {
        let mut block = Aligned(Block::default());
        for round in 0..ROUNDS {
            let width = self.width(round);
            let sum = a + self.round_value(&mut block.0, round, b, width);
            // Both are below the modulus, so once is enough.
            (a, b) = (b, less_once(sum, power_of_ten(width)));
        }
        block.0.as_mut_slice().zeroize();
        (a, b)
    }

    /// Decrypts ASCII digits in place.
    ///
    /// # Errors
    /// [`Error::Length`] or [`Error::Digit`]; `digits` is then unchanged.
    pub fn decrypt(&self, digits: &mut [u8]) -> Result<(), Error> {
        let (mut a, mut b) = self.read_halves(digits)?;
        let mut block = Aligned(Block::default());
        for round in (0..ROUNDS).rev() {
            let width = self.width(round);
            let modulus = power_of_ten(width);
            let difference = b + modulus - self.round_value(&mut block.0, round, a, width);
            (a, b) = (less_once(difference, modulus), a);
        }
        block.0.as_mut_slice().zeroize();
        self.write_halves((a, b), digits);
        Ok(())
    }

    fn read_halves(&self, digits: &[u8]) -> Result<Halves, Error> {
        if digits.len() != usize::from(self.left) + usize::from(self.right) {
            return Err(Error::Length);
        }
        let (left, right) = digits.split_at(usize::from(self.left));
        let left = decimal::read(left).ok_or(Error::Digit)?;
        let right = decimal::read(right).ok_or(Error::Digit)?;
        Ok((left, right))
    }

    fn write_halves(&self, (a, b): Halves, digits: &mut [u8]) {
        // Ten rounds swap the halves an even number of times, so `a` is as wide as at the start.
        let (left, right) = digits.split_at_mut(usize::from(self.left));
        decimal::write(a, left);
        decimal::write(b, right);
    }

    /// m: u in even rounds and v in odd ones (step 6.v).
    fn width(&self, round: u8) -> usize {
        usize::from(if round.is_multiple_of(2) { self.left } else { self.right })
    }

    /// Steps 6.i to 6.iv and the reduction of 6.vi: NUM(S) mod 10^`width`. `block` is the caller's to wipe, once for
    /// all rounds.
    fn round_value(&self, block: &mut Block, round: u8, half: u64, width: usize) -> u64 {
        // A half takes five bytes at most, so the round number before it is in the block's second half too.
        let end = self.chained_end ^ half ^ u64::from(round) << (8 * self.number_bytes);
        let [a, b, c, d, e, f, g, h] = self.chained;
        let [i, j, k, l, m, n, o, p] = end.to_be_bytes();
        block.0 = [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p];
        self.cipher.encrypt_block(block);

        // S is the first d = 4·⌈b/4⌉ + 4 bytes: 8, or 12 where a half needs five bytes. One block is
        // always enough.
        let (_, mut value) = divide(u64::from_be_bytes(halves(block).0), width);
        if self.number_bytes > 4 {
            // The remainder is below 10^11 < 2^37, so 16 bits more never leave 64.
            for pair in [[block[8], block[9]], [block[10], block[11]]] {
                (_, value) = divide((value << 16) | u64::from(u16::from_be_bytes(pair)), width);
            }
        }
        value
    }
}

impl<C> Drop for Ff1<C> {
    /// Wipes what was derived from the key; the cipher wipes itself.
    fn drop(&mut self) {
        self.chained.zeroize();
        self.chained_end.zeroize();
    }
}

impl<C> core::fmt::Debug for Ff1<C> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Ff1").field("digits", &(self.left + self.right)).finish_non_exhaustive()
    }
}

/// `number`, less `modulus` where it is not below it.
fn less_once(number: u64, modulus: u64) -> u64 {
    let too_large = u64::from(number >= modulus);
    number - (modulus & too_large.wrapping_neg())
}

fn halves(block: &Block) -> ([u8; BLOCK / 2], [u8; BLOCK / 2]) {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = block.0;
    ([a, b, c, d, e, f, g, h], [i, j, k, l, m, n, o, p])
}

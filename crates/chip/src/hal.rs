//! What a chip maker writes: the few traits between the payment applet and the silicon.
//!
//! Two traits are needed for a working chip, [`Flash`] and [`Rng`], bound together by [`Platform`].
//! Everything above them is the same code on every chip, natively and in an emulator.
//!
//! A third, optional input is [`Platform::is_tampered_with`].
//!
//! Room is kept for two more, each added when the code above it uses it, and not before: a monotonic
//! counter (bound into the store's generation, so that flash rewritten from outside is noticed), and
//! accelerators for AES, SM4 and the hashes (AES-128 inside `blockcipher`, the others inside `paycode`).

use core::fmt;

/// The flash did not do what was asked: a word or page could not be read, programmed or erased.
///
/// It carries nothing else: the applet's only answer is status word 6F00, and after it the store reads
/// everything again from the flash before it is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlashError;

impl fmt::Display for FlashError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the flash could not be read, programmed or erased")
    }
}

impl core::error::Error for FlashError {}

/// Word-programmable flash, given to the payment applet alone.
///
/// Addresses count 32-bit words from 0 to `PAGES * PAGE_WORDS - 1`. An erased word reads `0xFFFF_FFFF`.
/// What the store above relies on, and what a port must hold:
///
/// - programming changes bits from 1 to 0 only; power lost within it leaves any subset of them changed;
/// - erasing sets a page to ones; power lost within it leaves any value in that page, and in no other;
/// - a word is programmed with data once after an erase, and after that only with zero (the wipe). Flash
///   whose error correction allows no second programming at all is not fit for wiping single words;
/// - an operation that returned `Ok` is done. Where a cache lies between (a file on a computer),
///   [`Flash::sync`] makes it so.
pub trait Flash {
    /// Number of pages: even, and two at least. The store keeps its live data in one half of them.
    const PAGES: usize;
    /// Words in a page, the unit of erasing. A half of the flash holds at most 65,535 words.
    const PAGE_WORDS: usize;

    /// Reads one word.
    ///
    /// # Errors
    /// [`FlashError`] when the word can't be read for certain. Never a guess: the store takes a value
    /// that was read as the truth.
    fn read(&self, word: usize) -> Result<u32, FlashError>;

    /// Programs one word: the bits that are 0 in `value` become 0, the others stay.
    ///
    /// # Errors
    /// [`FlashError`] when the word may not hold what was asked.
    fn program(&mut self, word: usize, value: u32) -> Result<(), FlashError>;

    /// Erases one page (counted from 0): all its bits become 1.
    ///
    /// # Errors
    /// [`FlashError`] when the page may not be all ones.
    fn erase(&mut self, page: usize) -> Result<(), FlashError>;

    /// Returns when everything before it is safe from loss of power. Real flash has nothing to do.
    ///
    /// # Errors
    /// [`FlashError`] when that can't be promised.
    fn sync(&mut self) -> Result<(), FlashError> {
        Ok(())
    }
}

/// The random source failed its health test, or could not fill the bytes asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RngError;

impl fmt::Display for RngError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the random source failed")
    }
}

impl core::error::Error for RngError {}

/// A true random source, conditioned and health-tested as NIST SP 800-90B asks.
///
/// The applet tests it again ([`RngError`] where a test fails), and uses it for the passcode's salt, the
/// device key and the signatures made with it. Payment codes and the secure channel need no randomness of
/// the chip (the card challenge is pseudo-random by GlobalPlatform Amendment D, 6.2.2.1), so a weak source
/// can't weaken a payment.
pub trait Rng {
    /// Fills `bytes`.
    ///
    /// # Errors
    /// [`RngError`] when not all of them are random; their content then means nothing.
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), RngError>;
}

/// One chip's silicon: the types its maker supplies, named together.
pub trait Platform {
    /// The flash given to the payment applet.
    type Flash: Flash;
    /// The true random source.
    type Rng: Rng;

    /// Whether a tamper sensor has tripped: mesh, light, voltage, temperature, whatever the silicon has. Asked at
    /// power-up and before each command. Once it says so the chip terminates itself: everything but its name is
    /// wiped. A latch is the sensor's business: the chip believes a single "yes".
    ///
    /// A chip without sensors keeps this default.
    fn is_tampered_with() -> bool {
        false
    }
}

//! The second NOR flash of the board (CFI, Intel command set 0001, two 16-bit chips side by side make a 32-bit
//! word). The emulator keeps its content in a file, so it outlives a loss of power as flash does.
//!
//! A page of the store is the first 4 KiB of one 256 KiB sector: the sector is what can be erased, and a page the
//! size of a sector would be needlessly slow to move.

use crate::mmio::Mmio;
use chip::hal::{Flash, FlashError};

const PAGES: usize = 4;
const PAGE_WORDS: usize = 1024;
const SECTOR_BYTES: usize = 256 * 1024;

/// Commands, given to both chips at once.
const READ_ARRAY: u32 = 0x00FF_00FF;
const PROGRAM: u32 = 0x0040_0040;
const ERASE: u32 = 0x0020_0020;
const CONFIRM: u32 = 0x00D0_00D0;
const CLEAR_STATUS: u32 = 0x0050_0050;

/// Status register of both chips: ready; erase, program, voltage and lock errors.
const READY: u32 = 0x0080_0080;
const ERRORS: u32 = 0x003A_003A;
/// Reads of the status register before a chip counts as broken.
const MAX_STATUS_READS: u32 = 10_000_000;

/// The chip's flash.
pub struct NorFlash {
    chips: Mmio<0x2200_0000, { PAGES * SECTOR_BYTES }>,
}

impl NorFlash {
    pub(crate) const fn new() -> Self {
        Self { chips: Mmio }
    }

    /// Waits for the end of what was begun at `at`, and makes the flash readable again.
    fn finish(&self, at: usize) -> Result<(), FlashError> {
        let status = (0..MAX_STATUS_READS).map(|_| self.chips.read32(at)).find(|status| status & READY == READY);
        self.chips.write32(at, CLEAR_STATUS);
        self.chips.write32(at, READ_ARRAY);
        match status {
            Some(status) if status & ERRORS == 0 => Ok(()),
            _ => Err(FlashError),
        }
    }
}

impl Flash for NorFlash {
    const PAGES: usize = PAGES;
    const PAGE_WORDS: usize = PAGE_WORDS;

    fn read(&self, word: usize) -> Result<u32, FlashError> {
        Ok(self.chips.read32(place(word)?))
    }

    fn program(&mut self, word: usize, value: u32) -> Result<(), FlashError> {
        let at = place(word)?;
        // Real cells only ever lose bits; the emulator would store what it is given.
        let value = self.chips.read32(at) & value;
        self.chips.write32(at, PROGRAM);
        self.chips.write32(at, value);
        self.finish(at)
    }

    fn erase(&mut self, page: usize) -> Result<(), FlashError> {
        let at = place(page.checked_mul(PAGE_WORDS).ok_or(FlashError)?)?;
        self.chips.write32(at, ERASE);
        self.chips.write32(at, CONFIRM);
        self.finish(at)
    }
}

/// Where a word of the store stands in the flash, in bytes.
fn place(word: usize) -> Result<usize, FlashError> {
    let (page, word) = (word / PAGE_WORDS, word % PAGE_WORDS);
    if page < PAGES { Ok(page * SECTOR_BYTES + word * 4) } else { Err(FlashError) }
}

//! Registers and memory at fixed addresses: the two instructions everything else on this board is made of.

/// A device's registers, or a piece of memory, at an address of the board.
pub(crate) struct Mmio<const BASE: usize, const BYTES: usize>;

impl<const BASE: usize, const BYTES: usize> Mmio<BASE, BYTES> {
    /// Reads the 32-bit register at `offset`, or all ones outside this device.
    pub(crate) fn read32(&self, offset: usize) -> u32 {
        if !is_within(offset, 4, BYTES) {
            return u32::MAX;
        }
        // SAFETY: the device's address range is fixed by the board, holds `offset`, and nothing of Rust lives in it.
        unsafe { ((BASE + offset) as *const u32).read_volatile() }
    }

    /// Writes the 32-bit register at `offset`; nothing outside this device.
    pub(crate) fn write32(&self, offset: usize, value: u32) {
        if is_within(offset, 4, BYTES) {
            // SAFETY: as in `read32`.
            unsafe { ((BASE + offset) as *mut u32).write_volatile(value) }
        }
    }

    /// Reads the 8-bit register at `offset`, or all ones outside this device.
    pub(crate) fn read8(&self, offset: usize) -> u8 {
        if !is_within(offset, 1, BYTES) {
            return u8::MAX;
        }
        // SAFETY: as in `read32`.
        unsafe { ((BASE + offset) as *const u8).read_volatile() }
    }

    /// Writes the 8-bit register at `offset`; nothing outside this device.
    pub(crate) fn write8(&self, offset: usize, value: u8) {
        if is_within(offset, 1, BYTES) {
            // SAFETY: as in `read32`.
            unsafe { ((BASE + offset) as *mut u8).write_volatile(value) }
        }
    }
}

const fn is_within(offset: usize, width: usize, bytes: usize) -> bool {
    offset.is_multiple_of(width) && offset <= bytes - width
}

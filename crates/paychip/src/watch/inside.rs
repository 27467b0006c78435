//! The chip inside a virtual watch: the chip's code as part of this program, or its RISC-V image in QEMU.

use ::chip::virtual_chip::{Ram, VirtualChip};

use crate::chip::Card;
use crate::chip::qemu::QemuChip;
use crate::fault::Fault;

/// A watch's chip, powered up.
#[derive(Debug)]
pub enum WatchChip {
    /// The chip's code in this program, its flash in a file.
    Virtual(VirtualChip),
    /// The RISC-V image in QEMU. It loses power with every command of this program, and with it its passcode session.
    Qemu(QemuChip),
}

impl WatchChip {
    /// What is to be kept of the chip's RAM: nothing of one that really loses power.
    #[must_use]
    pub fn ram(&self) -> Option<Ram> {
        match self {
            Self::Virtual(chip) => Some(chip.ram()),
            Self::Qemu(_) => None,
        }
    }

    /// Gives the chip the RAM it had.
    pub fn restore(&mut self, ram: Ram) {
        if let Self::Virtual(chip) = self {
            chip.restore(ram);
        }
    }
}

impl Card for WatchChip {
    fn exchange(&mut self, command: &[u8], answer: &mut [u8]) -> Result<usize, Fault> {
        match self {
            Self::Virtual(chip) => chip.exchange(command, answer),
            Self::Qemu(chip) => chip.exchange(command, answer),
        }
    }

    fn reset(&mut self) -> Result<(), Fault> {
        match self {
            Self::Virtual(chip) => Card::reset(chip),
            Self::Qemu(chip) => Card::reset(chip),
        }
    }
}

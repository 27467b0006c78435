//! The virtual chip: the same applet on a computer, with its flash in a file.
//!
//! It is for development, tests and demonstrations: a file has no tamper protection, whoever reads it has the
//! keys in it.

mod cut_flash;
mod file_flash;
mod ram;

pub use cut_flash::CutFlash;
pub use file_flash::{FileError, FileFlash};
pub use ram::Ram;

use crate::applet::{Chip, OpenError};
use crate::hal::{Platform, Rng, RngError};
use std::path::Path;
use std::{error, fmt};

/// The random source of the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsRng;

impl Rng for OsRng {
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), RngError> {
        getrandom::fill(bytes).map_err(|_| RngError)
    }
}

/// The platform of a virtual chip.
#[derive(Clone, Copy, Debug)]
pub enum Virtual {}

impl Platform for Virtual {
    type Flash = FileFlash;
    type Rng = OsRng;
}

/// Why a virtual chip could not be opened or created.
#[derive(Debug)]
pub enum VirtualChipError {
    /// The file can't be used.
    File(FileError),
    /// The file can, but the chip in it can't.
    Chip(OpenError),
}

impl fmt::Display for VirtualChipError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(error) => error.fmt(f),
            Self::Chip(error) => error.fmt(f),
        }
    }
}

impl error::Error for VirtualChipError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::File(error) => Some(error),
            Self::Chip(error) => Some(error),
        }
    }
}

/// A payment chip in a file.
#[derive(Debug)]
pub struct VirtualChip {
    chip: Chip<Virtual>,
}

impl VirtualChip {
    /// Powers up the chip in this file.
    ///
    /// # Errors
    /// [`VirtualChipError`]: no such file, in use, of another size, damaged, or its creation was cut short (then
    /// there is nothing in it: delete the file and create it again).
    pub fn open(path: impl AsRef<Path>) -> Result<Self, VirtualChipError> {
        let flash = FileFlash::open(path.as_ref()).map_err(VirtualChipError::File)?;
        Chip::open(flash, OsRng).map(|chip| Self { chip }).map_err(|(error, _)| VirtualChipError::Chip(error))
    }

    /// Makes a blank chip in a new file.
    ///
    /// # Errors
    /// [`VirtualChipError`]; an existing file is never overwritten.
    pub fn create(path: impl AsRef<Path>) -> Result<Self, VirtualChipError> {
        let flash = FileFlash::create(path.as_ref()).map_err(VirtualChipError::File)?;
        Chip::create(flash, OsRng).map(|chip| Self { chip }).map_err(|(error, _)| VirtualChipError::Chip(error))
    }

    /// Answers one command APDU; see [`Chip::process`].
    pub fn process(&mut self, command: &[u8], response: &mut [u8]) -> usize {
        self.chip.process(command, response)
    }

    /// What the chip holds in RAM, to be given back to it with [`VirtualChip::restore`].
    #[must_use]
    pub fn ram(&self) -> Ram {
        Ram::of(self.chip.session())
    }

    /// Gives the chip the RAM it had, as if it had never lost power.
    pub fn restore(&mut self, ram: Ram) {
        self.chip.set_session(ram.session());
    }

    /// A reset without loss of power; see [`Chip::reset`].
    pub fn reset(&mut self) {
        self.chip.reset();
    }
}

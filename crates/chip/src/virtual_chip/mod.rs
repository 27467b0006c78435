//! The virtual chip.

mod cut_flash;
pub use cut_flash::CutFlash;

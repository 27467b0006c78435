//! Board support for QEMU's riscv32 `virt` machine: **an emulator, not silicon**. Nothing here resists tampering.
//!
//! This is the only place with unsafe code: registers are memory, and what they do is known to the board alone.
//! Everything it gives out is safe: [`Uart`], [`NorFlash`], [`VirtioRng`], bound together as [`Virt`]. [`take`] and
//! [`VirtioRng::take`] see to it that no device has two owners.

#![no_std]

mod guard;
mod memory;
mod mmio;
mod nor;
mod registers;
mod rng;

pub mod time;
mod uart;

pub use guard::stop;
pub use nor::NorFlash;
pub use riscv_rt::entry;
pub use rng::VirtioRng;
pub use uart::Uart;

use chip::hal::Platform;
use core::sync::atomic::{AtomicBool, Ordering};

/// The platform of a chip on this board.
pub enum Virt {}

impl Platform for Virt {
    type Flash = NorFlash;
    type Rng = VirtioRng;
}

/// Every device of the board the chip uses.
pub struct Board {
    /// The line to the host.
    pub uart: Uart,
    /// The flash the chip keeps everything in.
    pub flash: NorFlash,
}

/// Sets the board up and hands its devices out; `None` the second time.
#[must_use]
pub fn take() -> Option<Board> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    if TAKEN.swap(true, Ordering::AcqRel) {
        return None;
    }
    guard::below_the_stack();
    Some(Board { uart: Uart::new(), flash: NorFlash::new() })
}

/// Names the function that everything begins with: it is given the board, and never returns.
#[macro_export]
macro_rules! start {
    ($run:path) => {
        #[$crate::entry]
        fn start() -> ! {
            match $crate::take() {
                Some(board) => $run(board),
                None => $crate::stop(),
            }
        }
    };
}

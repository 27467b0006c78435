//! What happens when something went wrong: the machine stops, and the host sees that it did.

use crate::mmio::Mmio;
use core::arch::{asm, global_asm};
use core::panic::PanicInfo;

/// QEMU's test finisher: this value written to it ends the emulator with exit code 1.
const FINISHER: Mmio<0x10_0000, 4> = Mmio;
const FAIL: u32 = 1 << 16 | 0x3333;

/// The page right below the stack (memory.x), as a naturally aligned range of 4 KiB: locked, no access.
const GUARD_ADDRESS: u32 = 0x800F_F000 >> 2 | 0x1FF;
const LOCKED_RANGE: u32 = 0x98;

/// Stops the machine.
pub fn stop() -> ! {
    FINISHER.write32(0, FAIL);
    loop {
        // SAFETY: sleeps.
        unsafe { asm!("wfi", options(nomem, nostack)) };
    }
}

/// From now on the processor traps when the stack grows out of its memory.
pub(crate) fn below_the_stack() {
    // SAFETY: forbids access to a page that nothing uses.
    unsafe {
        asm!("csrw pmpaddr0, {}", "csrw pmpcfg0, {}", in(reg) GUARD_ADDRESS, in(reg) LOCKED_RANGE, options(nomem, nostack));
    }
}

/// A panic is a bug. Its text would cost several KiB of flash and tells nobody on a chip.
#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    stop()
}

/// So is any trap: no interrupt is ever taken. The stack may be what ran out, so the way out takes a fresh one. The
/// runtime's own way to tell traps apart, which nothing here needs, is left out (its features `no-…`).
#[unsafe(no_mangle)]
extern "C" fn abort() -> ! {
    stop()
}

global_asm!(
    ".section .trap.start, \"ax\"",
    ".balign 4",
    ".global _start_trap, _dispatch_exception, _dispatch_core_interrupt",
    "_start_trap:",
    "_dispatch_exception:",
    "_dispatch_core_interrupt:",
    "la sp, __sstack",
    "j abort",
);

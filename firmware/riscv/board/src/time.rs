//! Counting: instructions retired, and how deep the stack has been. For measuring; no decision hangs on it.

use core::arch::asm;

/// Marks stack nobody has used.
const UNUSED: u32 = 0x5AFE_57AC;
/// Bytes below the painter's own frame that it leaves alone.
const MARGIN: usize = 256;

unsafe extern "C" {
    /// The ends of the stack, from the linker (riscv-rt names them by the direction it grows in).
    static __estack: u32;
    static __sstack: u32;
}

/// Instructions retired since power-up, modulo 2³².
#[must_use]
pub fn instructions() -> u32 {
    let count: u32;
    // SAFETY: reads a counter.
    unsafe { asm!("csrr {}, minstret", out(reg) count, options(nomem, nostack)) };
    count
}

fn stack() -> (usize, usize) {
    (&raw const __estack as usize, &raw const __sstack as usize)
}

/// Paints the stack below the caller.
#[inline(never)]
pub fn paint_stack() {
    let (lowest, _) = stack();
    let here: usize;
    // SAFETY: reads the stack pointer.
    unsafe { asm!("mv {}, sp", out(reg) here, options(nomem, nostack)) };
    let mut at = lowest;
    while at < here.saturating_sub(MARGIN) {
        // SAFETY: between the lowest address of the stack and well below the stack pointer lies nothing.
        unsafe { (at as *mut u32).write_volatile(UNUSED) };
        at += 4;
    }
}

/// The most stack ever in use since it was painted, in bytes.
#[must_use]
pub fn stack_used_bytes() -> usize {
    let (lowest, end) = stack();
    // SAFETY: reads memory of the stack, aligned, as plain words.
    let untouched = (lowest..end).step_by(4).take_while(|at| unsafe { (*at as *const u32).read_volatile() } == UNUSED);
    end - lowest - untouched.count() * 4
}

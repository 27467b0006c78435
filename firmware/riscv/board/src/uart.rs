//! The 16550 UART to the host. While it waits for a byte the processor sleeps; its interrupt only wakes it, and is
//! never taken. The FIFO stays off: switching it on throws away what came before, and the emulator hands bytes over one
//! by one as they are read.

use crate::mmio::Mmio;
use core::arch::asm;

/// Registers: data, interrupt enable, line control, line status.
const DATA: usize = 0;
const INTERRUPT_ENABLE: usize = 1;
const LINE_CONTROL: usize = 3;
const LINE_STATUS: usize = 5;

const RECEIVED: u8 = 0x01;
const SEND_EMPTY: u8 = 0x20;
const EIGHT_BITS: u8 = 0x03;

/// The interrupt controller (PLIC): this UART is its source 10; the processor in machine mode is its context 0.
const SOURCE: usize = 10;
const PRIORITY: usize = 4 * SOURCE;
const ENABLE: usize = 0x2000;
const THRESHOLD: usize = 0x20_0000;
const CLAIM: usize = 0x20_0004;

/// The line to the host.
pub struct Uart {
    registers: Mmio<0x1000_0000, 8>,
    interrupts: Mmio<0x0C00_0000, 0x20_1000>,
}

impl Uart {
    pub(crate) fn new() -> Self {
        let uart = Self { registers: Mmio, interrupts: Mmio };
        uart.registers.write8(LINE_CONTROL, EIGHT_BITS);
        uart.registers.write8(INTERRUPT_ENABLE, RECEIVED);
        uart.interrupts.write32(PRIORITY, 1);
        uart.interrupts.write32(ENABLE, 1 << SOURCE);
        uart.interrupts.write32(THRESHOLD, 0);
        // SAFETY: lets external interrupts wake the processor; mstatus.MIE stays off, so none is ever taken.
        unsafe { asm!("csrs mie, {}", in(reg) 1 << 11, options(nomem, nostack)) };
        uart
    }

    /// Waits for a byte.
    pub fn receive(&mut self) -> u8 {
        while self.registers.read8(LINE_STATUS) & RECEIVED == 0 {
            // SAFETY: sleeps until an interrupt is pending, and changes nothing.
            unsafe { asm!("wfi", options(nomem, nostack)) };
            let source = self.interrupts.read32(CLAIM);
            self.interrupts.write32(CLAIM, source);
        }
        self.registers.read8(DATA)
    }

    /// Sends bytes.
    pub fn send(&mut self, bytes: &[u8]) {
        for byte in bytes {
            while self.registers.read8(LINE_STATUS) & SEND_EMPTY == 0 {}
            self.registers.write8(DATA, *byte);
        }
    }
}

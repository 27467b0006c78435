//! The emulator's entropy device (virtio-rng over MMIO). It hands out the host's randomness: good enough to develop
//! with, and no model for silicon, where a noise source with health tests (NIST SP 800-90B) stands in its place.
//!
//! One queue of one buffer: it is offered to the device, the device fills it, and it is wiped once used. A device
//! that is missing or silent is an error, never a guess.

use crate::mmio::Mmio;
use chip::hal::{Rng, RngError};
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicBool, Ordering, fence};

/// The eight places of the board where a virtio device may be; with one device it is the last.
const SLOT: usize = 0x1000_8000;

/// Registers of virtio over MMIO, version 2 (OASIS virtio 1.1, 4.2.2).
mod register {
    pub(super) const MAGIC: usize = 0x000;
    pub(super) const VERSION: usize = 0x004;
    pub(super) const DEVICE: usize = 0x008;
    pub(super) const DRIVER_FEATURES: usize = 0x020;
    pub(super) const DRIVER_FEATURES_SELECT: usize = 0x024;
    pub(super) const QUEUE_SELECT: usize = 0x030;
    pub(super) const QUEUE_SIZE: usize = 0x038;
    pub(super) const QUEUE_READY: usize = 0x044;
    pub(super) const NOTIFY: usize = 0x050;
    pub(super) const STATUS: usize = 0x070;
    pub(super) const DESCRIPTORS: usize = 0x080;
    pub(super) const OFFERED: usize = 0x090;
    pub(super) const USED: usize = 0x0A0;
}

const MAGIC: u32 = 0x7472_6976;
const VERSION: u32 = 2;
const ENTROPY: u32 = 4;
/// Status: the device is seen, driven, agreed with, and works.
const ACKNOWLEDGE: u32 = 1;
const DRIVER: u32 = 2;
const DRIVER_OK: u32 = 4;
const FEATURES_OK: u32 = 8;
/// Feature bit 32, the first of the second word: the interface is virtio 1.
const VERSION_1: u32 = 1;
/// A descriptor the device writes to.
const DEVICE_WRITES: u16 = 2;

/// Bytes asked for at a time.
const CHUNK: usize = 32;
/// Looks at the queue before the device counts as silent.
const MAX_LOOKS: u32 = 50_000_000;

/// What driver and device share, laid out as virtio says for a queue of one.
#[repr(C, align(16))]
struct Queue {
    descriptor: Descriptor,
    offered: Offered,
    used: Used,
    bytes: [u8; CHUNK],
}

#[repr(C)]
struct Descriptor {
    address: u64,
    bytes: u32,
    flags: u16,
    next: u16,
}

#[repr(C)]
struct Offered {
    flags: u16,
    index: u16,
    ring: [u16; 1],
    event: u16,
}

#[repr(C, align(4))]
struct Used {
    flags: u16,
    index: u16,
    id: u32,
    bytes: u32,
}

struct Shared(UnsafeCell<Queue>);

// SAFETY: only `VirtioRng` touches it, and `VirtioRng::take` makes one of those at a time.
unsafe impl Sync for Shared {}

static QUEUE: Shared = Shared(UnsafeCell::new(Queue {
    descriptor: Descriptor { address: 0, bytes: 0, flags: 0, next: 0 },
    offered: Offered { flags: 0, index: 0, ring: [0], event: 0 },
    used: Used { flags: 0, index: 0, id: 0, bytes: 0 },
    bytes: [0; CHUNK],
}));

/// The emulator's random source.
pub struct VirtioRng {
    registers: Mmio<SLOT, 0x200>,
    is_ready: bool,
    asked: u16,
}

static TAKEN: AtomicBool = AtomicBool::new(false);

impl VirtioRng {
    /// The random source, unless somebody has it. Dropping it gives it back.
    #[must_use]
    pub fn take() -> Option<Self> {
        let is_free = !TAKEN.swap(true, Ordering::AcqRel);
        is_free.then_some(Self { registers: Mmio, is_ready: false, asked: 0 })
    }

    /// Brings the device up at its first use.
    fn ready(&mut self) -> Result<(), RngError> {
        if self.is_ready {
            return Ok(());
        }
        let device = &self.registers;
        let found = [register::MAGIC, register::VERSION, register::DEVICE].map(|at| device.read32(at));
        if found != [MAGIC, VERSION, ENTROPY] {
            return Err(RngError);
        }
        device.write32(register::STATUS, 0);
        device.write32(register::STATUS, ACKNOWLEDGE | DRIVER);
        device.write32(register::DRIVER_FEATURES_SELECT, 1);
        device.write32(register::DRIVER_FEATURES, VERSION_1);
        device.write32(register::STATUS, ACKNOWLEDGE | DRIVER | FEATURES_OK);
        if device.read32(register::STATUS) & FEATURES_OK == 0 {
            return Err(RngError);
        }
        let queue = QUEUE.0.get();
        // SAFETY: a device that was just reset holds no buffer, so the queue is the driver's alone.
        unsafe {
            (&raw mut (*queue).offered.index).write_volatile(0);
            (&raw mut (*queue).used.index).write_volatile(0);
        }
        self.asked = 0;
        device.write32(register::QUEUE_SELECT, 0);
        device.write32(register::QUEUE_SIZE, 1);
        // SAFETY: addresses of parts of a static; nothing is read or written through them here.
        let parts = unsafe {
            [
                (register::DESCRIPTORS, &raw const (*queue).descriptor as usize),
                (register::OFFERED, &raw const (*queue).offered as usize),
                (register::USED, &raw const (*queue).used as usize),
            ]
        };
        for (at, address) in parts {
            device.write32(at, address as u32);
            device.write32(at + 4, 0);
        }
        device.write32(register::QUEUE_READY, 1);
        device.write32(register::STATUS, ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
        self.is_ready = true;
        Ok(())
    }

    /// Asks for some bytes and gives as many as came, at most [`CHUNK`].
    fn some(&mut self, into: &mut [u8]) -> Result<usize, RngError> {
        self.ready()?;
        let wanted = into.len().min(CHUNK);
        let queue = QUEUE.0.get();
        self.asked = self.asked.wrapping_add(1);
        // SAFETY: the device holds no buffer now, so the queue is the driver's alone.
        unsafe {
            (*queue).descriptor = Descriptor {
                address: &raw const (*queue).bytes as usize as u64,
                bytes: wanted as u32,
                flags: DEVICE_WRITES,
                next: 0,
            };
            fence(Ordering::SeqCst);
            (&raw mut (*queue).offered.index).write_volatile(self.asked);
        }
        fence(Ordering::SeqCst);
        self.registers.write32(register::NOTIFY, 0);
        // SAFETY: a volatile read of what the device writes.
        let came = (0..MAX_LOOKS).any(|_| unsafe { (&raw const (*queue).used.index).read_volatile() } == self.asked);
        fence(Ordering::SeqCst);
        if !came {
            self.stop();
            return Err(RngError);
        }
        // SAFETY: the device gave the buffer back.
        let filled = unsafe { (&raw const (*queue).used.bytes).read_volatile() as usize };
        if filled == 0 || filled > wanted {
            return Err(RngError);
        }
        for (at, byte) in into.iter_mut().take(filled).enumerate() {
            // SAFETY: as above, and `at` is below `CHUNK`.
            unsafe {
                let from = (&raw mut (*queue).bytes).cast::<u8>().add(at);
                *byte = from.read_volatile();
                from.write_volatile(0);
            }
        }
        Ok(filled)
    }
}

impl VirtioRng {
    /// Resets the device, so that it writes to no buffer any more.
    fn stop(&mut self) {
        self.registers.write32(register::STATUS, 0);
        self.is_ready = false;
    }
}

impl Drop for VirtioRng {
    fn drop(&mut self) {
        self.stop();
        TAKEN.store(false, Ordering::Release);
    }
}

impl Rng for VirtioRng {
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), RngError> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let filled = self.some(rest)?;
            rest = rest.get_mut(filled..).ok_or(RngError)?;
        }
        Ok(())
    }
}

//! Small values of the applet: lifecycle, slot, passcode state, stamp. A value that exists is valid.

use super::{MAX_SEQUENCE, SLOTS};

/// Where the chip is in its life. Every arrow is one atomic flash transaction:
/// `Blank → Ready → Bound ↔ Suspended → Terminated`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Lifecycle {
    /// From the foundry, with transport keys only.
    Blank = 0x01,
    /// Personalised in the factory; no token.
    Ready = 0x03,
    /// Holds at least one token and can pay.
    Bound = 0x07,
    /// Frozen by the cloud; holds its tokens but does not pay.
    Suspended = 0x0B,
    /// Keys wiped, for good.
    Terminated = 0x7F,
}

impl Lifecycle {
    /// The lifecycle this byte stands for.
    #[must_use]
    pub const fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            0x01 => Self::Blank,
            0x03 => Self::Ready,
            0x07 => Self::Bound,
            0x0B => Self::Suspended,
            0x7F => Self::Terminated,
            _ => return None,
        })
    }

    /// The byte on the wire.
    #[must_use]
    pub const fn to_byte(self) -> u8 {
        self as u8
    }
}

/// A place for one token: 1 to 4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(u8);

impl Slot {
    /// The first slot.
    pub const FIRST: Self = Self(1);

    /// The slot with this number; `None` outside 1 to 4.
    #[must_use]
    pub const fn new(number: u8) -> Option<Self> {
        if number >= 1 && number <= SLOTS { Some(Self(number)) } else { None }
    }

    /// Its number, 1 to 4.
    #[must_use]
    pub const fn number(self) -> u8 {
        self.0
    }

    /// Its place in an array, 0 to 3.
    #[must_use]
    pub const fn index(self) -> usize {
        (self.0 - 1) as usize
    }

    /// All slots in order.
    pub fn all() -> impl Iterator<Item = Self> {
        (1..=SLOTS).map(Self)
    }
}

/// How the passcode stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum PasscodeState {
    /// No passcode was set.
    None = 0x00,
    /// Set, and not entered since the wearable was put on.
    Closed = 0x01,
    /// Entered; codes are made as verified.
    Open = 0x02,
    /// Too many wrong tries.
    Blocked = 0x03,
}

impl PasscodeState {
    /// The state this byte stands for.
    #[must_use]
    pub const fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            0x00 => Self::None,
            0x01 => Self::Closed,
            0x02 => Self::Open,
            0x03 => Self::Blocked,
            _ => return None,
        })
    }

    /// The byte on the wire.
    #[must_use]
    pub const fn to_byte(self) -> u8 {
        self as u8
    }
}

/// Which code this is: the time step it was made in and its number within the step. Later is greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CodeStamp {
    step: u32,
    sequence: u8,
}

impl CodeStamp {
    /// The stamp of the code `sequence` (0 to 3) in time step `step` (Unix seconds / 30).
    #[must_use]
    pub const fn new(step: u32, sequence: u8) -> Option<Self> {
        if sequence <= MAX_SEQUENCE { Some(Self { step, sequence }) } else { None }
    }

    /// The time step: Unix seconds / 30.
    #[must_use]
    pub const fn step(self) -> u32 {
        self.step
    }

    /// The number within the step, 0 to 3.
    #[must_use]
    pub const fn sequence(self) -> u8 {
        self.sequence
    }

    /// Step and sequence, as they go over the wire.
    pub(super) const fn to_bytes(self) -> [u8; 5] {
        let [a, b, c, d] = self.step.to_be_bytes();
        [a, b, c, d, self.sequence]
    }

    pub(super) const fn from_bytes(bytes: [u8; 5]) -> Option<Self> {
        let [a, b, c, d, sequence] = bytes;
        Self::new(u32::from_be_bytes([a, b, c, d]), sequence)
    }
}

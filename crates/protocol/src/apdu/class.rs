//! The class byte: logical channel, command chaining and secure messaging (ISO/IEC 7816-4 §5.4.1,
//! GlobalPlatform Card Specification v2.3 §11.1.4). Every byte value has a meaning here or says it has none.

use core::fmt;

const PROPRIETARY: u8 = 0x80;
const FURTHER_CHANNELS: u8 = 0x40;
const FURTHER_SECURE_MESSAGING: u8 = 0x20;
const CHAINING: u8 = 0x10;
const FIRST_SECURE_MESSAGING: u8 = 0x0C;
const GP_SECURE_MESSAGING: u8 = 0x04;

/// The class byte (CLA) of a command.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Class(pub u8);

impl Class {
    /// Whether the command is a GlobalPlatform or proprietary one (bit b8) and not interindustry.
    #[must_use]
    pub const fn is_proprietary(self) -> bool {
        self.0 & PROPRIETARY != 0
    }

    /// Whether the byte is in the form for channels 4 to 19 (bit b7).
    #[must_use]
    pub const fn is_further(self) -> bool {
        self.0 & FURTHER_CHANNELS != 0
    }

    /// Whether the command announces secure messaging of any kind: bits b4 b3 for channels 0 to 3 (`04`,
    /// `84`), bit b6 for channels 4 to 19 (`60`, `E0`).
    #[must_use]
    pub const fn is_secured(self) -> bool {
        if self.is_further() { self.0 & FURTHER_SECURE_MESSAGING != 0 } else { self.0 & FIRST_SECURE_MESSAGING != 0 }
    }

    /// Whether the secure messaging is GlobalPlatform's own, the one SCP03 uses (b4 b3 = 01, or b6).
    #[must_use]
    pub const fn is_gp_secured(self) -> bool {
        if self.is_further() {
            self.0 & FURTHER_SECURE_MESSAGING != 0
        } else {
            self.0 & FIRST_SECURE_MESSAGING == GP_SECURE_MESSAGING
        }
    }

    /// The logical channel, 0 to 19.
    #[must_use]
    pub const fn channel(self) -> u8 {
        if self.is_further() { 4 + (self.0 & 0x0F) } else { self.0 & 0x03 }
    }

    /// Whether more of the same command follows (bit b5).
    #[must_use]
    pub const fn is_chained(self) -> bool {
        self.0 & CHAINING != 0
    }

    /// The same class with GlobalPlatform secure messaging announced.
    #[must_use]
    pub const fn secured(self) -> Self {
        if self.is_further() {
            Self(self.0 | FURTHER_SECURE_MESSAGING)
        } else {
            Self(self.0 & !FIRST_SECURE_MESSAGING | GP_SECURE_MESSAGING)
        }
    }

    /// The same class with no secure messaging announced.
    #[must_use]
    pub const fn unsecured(self) -> Self {
        if self.is_further() {
            Self(self.0 & !FURTHER_SECURE_MESSAGING)
        } else {
            Self(self.0 & !FIRST_SECURE_MESSAGING)
        }
    }

    /// The byte that goes into a C-MAC: secured, and on channel 0 whatever channel carries it
    /// (Amendment D §6.2.4). Every other bit counts.
    #[must_use]
    pub const fn for_mac(self) -> u8 {
        let channel_bits = if self.is_further() {
            FURTHER_CHANNELS | FURTHER_SECURE_MESSAGING | 0x0F
        } else {
            FIRST_SECURE_MESSAGING | 0x03
        };
        self.0 & !channel_bits | GP_SECURE_MESSAGING
    }
}

impl fmt::Debug for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Class({:02X})", self.0)
    }
}

impl From<u8> for Class {
    fn from(byte: u8) -> Self {
        Self(byte)
    }
}

//! Status words: the ones this applet answers, by name, with a sentence for people.

use core::fmt;

/// SW1 SW2, the last two bytes of every answer.
///
/// Held in 32 bits, of which 16 are used: a small chip moves and compares them in fewer bytes of code.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct StatusWord(u32);

impl StatusWord {
    /// `9000`: done.
    pub const OK: Self = Self(0x9000);
    /// `6300`: the host's cryptogram is wrong (EXTERNAL AUTHENTICATE).
    pub const AUTHENTICATION_FAILED: Self = Self(0x6300);
    /// `6700`: a length is wrong.
    pub const WRONG_LENGTH: Self = Self(0x6700);
    /// `6881`: the logical channel is not supported.
    pub const CHANNEL_NOT_SUPPORTED: Self = Self(0x6881);
    /// `6882`: this secure messaging is not supported.
    pub const SECURE_MESSAGING_NOT_SUPPORTED: Self = Self(0x6882);
    /// `6982`: a secure channel, or a stronger one, is needed; or a MAC was wrong and it is closed.
    pub const SECURITY_STATUS: Self = Self(0x6982);
    /// `6983`: the passcode is blocked.
    pub const BLOCKED: Self = Self(0x6983);
    /// `6985`: not in this state.
    pub const CONDITIONS_OF_USE: Self = Self(0x6985);
    /// `6A80`: the data field is wrong.
    pub const WRONG_DATA: Self = Self(0x6A80);
    /// `6A82`: application or file not found.
    pub const NOT_FOUND: Self = Self(0x6A82);
    /// `6A84`: no room is left.
    pub const NO_ROOM: Self = Self(0x6A84);
    /// `6A86`: P1 or P2 is wrong.
    pub const WRONG_P1_P2: Self = Self(0x6A86);
    /// `6A88`: the slot, key or object named is not there.
    pub const REFERENCE_NOT_FOUND: Self = Self(0x6A88);
    /// `6D00`: this instruction does not exist.
    pub const UNKNOWN_INSTRUCTION: Self = Self(0x6D00);
    /// `6E00`: this class does not exist.
    pub const UNKNOWN_CLASS: Self = Self(0x6E00);
    /// `6F00`: an inner fault: flash failed.
    pub const INTERNAL: Self = Self(0x6F00);
    /// `9301`: the time given lies before the last code made.
    pub const TIME_BEFORE_LAST_CODE: Self = Self(0x9301);
    /// `9302`: the time given lies past the offline allowance; a sync is needed.
    pub const OFFLINE_TOO_LONG: Self = Self(0x9302);
    /// `9303`: the code budget is used up; a sync is needed.
    pub const BUDGET_USED_UP: Self = Self(0x9303);
    /// `9304`: four codes were already made in this 30-second step; wait for the next.
    pub const STEP_USED_UP: Self = Self(0x9304);

    /// `9305`: too many attempts at the secure channel failed; ask again, it is let through after a while.
    pub const CHANNEL_HELD_BACK: Self = Self(0x9305);
    /// `9306`: a passcode must be set first.
    pub const PASSCODE_REQUIRED: Self = Self(0x9306);

    /// The status word of this number, SW1 in its upper byte.
    #[must_use]
    pub const fn new(number: u16) -> Self {
        Self(number as u32)
    }

    /// SW1 SW2 as a number.
    #[must_use]
    pub const fn to_u16(self) -> u16 {
        self.0 as u16
    }

    /// `63Cx`: wrong passcode, or none given; `tries` are left (15 stands for 15 or more).
    #[must_use]
    pub const fn tries_left(tries: u8) -> Self {
        let tries = if tries > 0x0F { 0x0F } else { tries };
        Self(0x63C0 | tries as u32)
    }

    /// The tries left that a `63Cx` tells; `None` for any other status.
    #[must_use]
    pub const fn tries(self) -> Option<u8> {
        if self.0 & 0xFFF0 == 0x63C0 { Some((self.0 & 0x0F) as u8) } else { None }
    }

    /// Whether this is `9000`.
    #[must_use]
    pub const fn is_ok(self) -> bool {
        self.0 == Self::OK.0
    }

    /// Whether this is a warning (`62xx`, `63xx`): the command ran, with a remark.
    #[must_use]
    pub const fn is_warning(self) -> bool {
        matches!(self.0 >> 8, 0x62 | 0x63)
    }

    /// Whether this is an error in the sense of the secure channel: neither `9000` nor a warning
    /// (Amendment D §6.2.5). Such an answer carries no data and no R-MAC.
    #[must_use]
    pub const fn is_error(self) -> bool {
        !self.is_ok() && !self.is_warning()
    }

    /// SW1 SW2.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 2] {
        self.to_u16().to_be_bytes()
    }
}

impl fmt::Display for StatusWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(tries) = self.tries() {
            return write!(f, "{:04X}: the passcode is not verified, {tries} tries are left", self.0);
        }
        let sentence = match *self {
            Self::OK => "done",
            Self::AUTHENTICATION_FAILED => "the host's cryptogram is wrong",
            Self::WRONG_LENGTH => "a length is wrong",
            Self::CHANNEL_NOT_SUPPORTED => "the logical channel is not supported",
            Self::SECURE_MESSAGING_NOT_SUPPORTED => "this secure messaging is not supported",
            Self::SECURITY_STATUS => "a secure channel is needed",
            Self::BLOCKED => "the passcode is blocked",
            Self::CONDITIONS_OF_USE => "the chip is not in a state that allows this",
            Self::WRONG_DATA => "the data field is wrong",
            Self::NOT_FOUND => "the application was not found",
            Self::NO_ROOM => "no room is left in the chip",
            Self::WRONG_P1_P2 => "P1 or P2 is wrong",
            Self::REFERENCE_NOT_FOUND => "the slot, key or object named is not there",
            Self::UNKNOWN_INSTRUCTION => "this instruction does not exist",
            Self::UNKNOWN_CLASS => "this class does not exist",
            Self::INTERNAL => "the chip met an inner fault",
            Self::CHANNEL_HELD_BACK => "too many attempts at the secure channel failed: ask again",
            Self::PASSCODE_REQUIRED => "a passcode must be set first",
            Self::TIME_BEFORE_LAST_CODE => "the time given lies before the last code made",
            Self::OFFLINE_TOO_LONG => "the chip was offline too long and needs a sync",
            Self::BUDGET_USED_UP => "the code budget is used up and needs a sync",
            Self::STEP_USED_UP => "four codes were made in this half minute, wait for the next",
            _ => "a status this applet does not use",
        };
        write!(f, "{:04X}: {sentence}", self.0)
    }
}

impl fmt::Debug for StatusWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StatusWord({:04X})", self.0)
    }
}

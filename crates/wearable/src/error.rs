//! What can go wrong, once: every error has a number that never changes (for a C caller and for the help
//! desk) and a short text a wearer understands.

use core::fmt;

use protocol::apdu::StatusWord;

/// Why a call failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Error {
    /// `pre_init` was not called, or failed.
    NotStarted,
    /// The secure element did not answer, or could not be powered.
    ChipSilent,
    /// The secure element answered something that cannot be read.
    ChipGarbled,
    /// The payment applet is not in this secure element, or is of a version this SDK does not know.
    NoApplet,
    /// The secure element met an inner fault.
    ChipFault(StatusWord),
    /// The secure element refused for a reason that has no name here.
    Refused(StatusWord),
    /// No account is bound.
    NotBound,
    /// The cloud or the wearer's app has frozen the chip.
    Suspended,
    /// The chip was ended for good.
    Terminated,
    /// The factory has not finished this chip.
    NotPersonalised,
    /// The passcode is not 4 to 8 digits.
    PasscodeFormat,
    /// The passcode is wrong.
    PasscodeWrong {
        /// Tries left before it is blocked.
        tries_left: u8,
    },
    /// Too many wrong passcodes.
    PasscodeBlocked,
    /// A first passcode cannot be set: there is one already.
    PasscodeExists,
    /// There is no passcode yet.
    PasscodeNotSet,
    /// The account wants a passcode, and none is set.
    PasscodeRequired,
    /// The watch's clock is behind the last code made.
    ClockBehind,
    /// The chip was offline too long.
    OfflineTooLong,
    /// All codes of this sync are used up.
    CodesUsedUp,
    /// Four codes were made within half a minute.
    Wait {
        /// Seconds until the next code can be made.
        seconds: u8,
    },
    /// The link took no frame.
    LinkDown,
}

impl Error {
    /// The stable number of the error.
    pub const fn code(self) -> u16 {
        match self {
            Self::NotStarted => 1,
            Self::ChipSilent => 10,
            Self::ChipGarbled => 11,
            Self::NoApplet => 12,
            Self::ChipFault(_) => 13,
            Self::Refused(_) => 14,
            Self::NotBound => 20,
            Self::Suspended => 21,
            Self::Terminated => 22,
            Self::NotPersonalised => 23,
            Self::PasscodeFormat => 30,
            Self::PasscodeWrong { .. } => 31,
            Self::PasscodeBlocked => 32,
            Self::PasscodeExists => 33,
            Self::PasscodeNotSet => 34,
            Self::PasscodeRequired => 35,
            Self::ClockBehind => 40,
            Self::OfflineTooLong => 41,
            Self::CodesUsedUp => 42,
            Self::Wait { .. } => 43,
            Self::LinkDown => 50,
        }
    }

    /// The status word behind the error, where the chip gave one that has a meaning of its own.
    pub const fn status_word(self) -> Option<StatusWord> {
        match self {
            Self::ChipFault(status) | Self::Refused(status) => Some(status),
            Self::PasscodeWrong { tries_left } => Some(StatusWord::tries_left(tries_left)),
            Self::PasscodeBlocked => Some(StatusWord::BLOCKED),
            Self::PasscodeRequired => Some(StatusWord::PASSCODE_REQUIRED),
            Self::ClockBehind => Some(StatusWord::TIME_BEFORE_LAST_CODE),
            Self::OfflineTooLong => Some(StatusWord::OFFLINE_TOO_LONG),
            Self::CodesUsedUp => Some(StatusWord::BUDGET_USED_UP),
            Self::Wait { .. } => Some(StatusWord::STEP_USED_UP),
            _ => None,
        }
    }

    /// A title for the screen, without numbers that change.
    pub const fn title(self) -> &'static str {
        match self {
            Self::NotStarted | Self::NoApplet | Self::NotPersonalised => "Not available",
            Self::ChipSilent | Self::ChipGarbled | Self::ChipFault(_) | Self::Refused(_) => "Chip error",
            Self::NotBound => "Not bound",
            Self::Suspended => "Frozen",
            Self::Terminated => "Chip ended",
            Self::PasscodeFormat => "4 to 8 digits",
            Self::PasscodeWrong { .. } => "Wrong passcode",
            Self::PasscodeBlocked => "Passcode blocked",
            Self::PasscodeExists => "Passcode is set",
            Self::PasscodeNotSet => "No passcode",
            Self::PasscodeRequired => "Set a passcode",
            Self::ClockBehind => "Clock is wrong",
            Self::OfflineTooLong | Self::CodesUsedUp => "Sync needed",
            Self::Wait { .. } => "Wait a moment",
            Self::LinkDown => "No connection",
        }
    }

    /// What the wearer can do about it.
    pub const fn advice(self) -> &'static str {
        match self {
            Self::NotStarted | Self::ChipSilent | Self::ChipGarbled => "Restart the device. If it stays, ask the shop.",
            Self::NoApplet | Self::NotPersonalised | Self::Terminated => "This device cannot pay. Ask the shop.",
            Self::ChipFault(_) | Self::Refused(_) => "Try again. If it stays, ask the shop.",
            Self::NotBound => "Bind an account in the app first.",
            Self::Suspended => "Unfreeze the device in the app.",
            Self::PasscodeFormat => "Choose 4 to 8 digits.",
            Self::PasscodeWrong { .. } => "Try again.",
            Self::PasscodeBlocked => "Bind the device again in the app.",
            Self::PasscodeExists => "Change it instead.",
            Self::PasscodeNotSet => "Set a passcode first.",
            Self::PasscodeRequired => "Your account pays only with one.",
            Self::ClockBehind => "Let the phone set the time.",
            Self::OfflineTooLong | Self::CodesUsedUp => "Open the app near the device.",
            Self::Wait { .. } => "The next code comes in a few seconds.",
            Self::LinkDown => "Keep the phone near.",
        }
    }

    /// The error behind a status word other than `9000`, with `now` to tell how long to wait.
    pub(crate) fn of_status(status: StatusWord, now_unix_s: u64) -> Self {
        if let Some(tries_left) = status.tries() {
            return Self::PasscodeWrong { tries_left };
        }
        match status {
            StatusWord::BLOCKED => Self::PasscodeBlocked,
            StatusWord::PASSCODE_REQUIRED => Self::PasscodeRequired,
            StatusWord::TIME_BEFORE_LAST_CODE => Self::ClockBehind,
            StatusWord::OFFLINE_TOO_LONG => Self::OfflineTooLong,
            StatusWord::BUDGET_USED_UP => Self::CodesUsedUp,
            StatusWord::STEP_USED_UP => {
                let step = protocol::applet::STEP_SECONDS;
                Self::Wait { seconds: (step - now_unix_s % step) as u8 }
            }
            StatusWord::INTERNAL => Self::ChipFault(status),
            _ => Self::Refused(status),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PasscodeWrong { tries_left } => write!(f, "{}, {tries_left} tries left", self.title())?,
            Self::Wait { seconds } => write!(f, "Wait {seconds} s")?,
            other => f.write_str(other.title())?,
        }
        write!(f, " (error {}", self.code())?;
        match self.status_word() {
            Some(status) => write!(f, ", {:04X})", status.to_u16()),
            None => f.write_str(")"),
        }
    }
}

impl core::error::Error for Error {}

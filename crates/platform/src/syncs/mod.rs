//! Sync: what the cloud has to do at a chip that is bound, or was. One channel, one look at what the chip holds, one order:
//!
//! - **refill** of a token that pays: a new time anchor, offline allowance and code budget, and the present mask key;
//! - **wipe** of a token that was revoked: its keys leave the chip, and with the last token the passcode.
//!
//! ```text
//!  (none) ──asked for──▶ Opening ──answers the channel──▶ Ordering ──confirms──▶ Done
//!                         │  ▲                              │  │                  ▲
//!                         │  └──────── channel lost ◀───────┤  └▶ Announcing ▶ Telling
//!                         └────────────▶ Failed ◀───────────┘     where payments are to be told
//! ```
//!
//! After a refill the wearable is told what became of its payments, in a channel of its own that it can read. Where that fails
//! the sync is done all the same, and the next one tells.
//!
//! A sync changes no money and no right: a wipe that never arrives leaves keys in a chip that pay nothing, a refill that
//! arrives twice sets what it set before. One token has one sync, the newest; the messages of an older one are refused.

mod results;
mod steps;

pub use results::{MAX_RESULTS, Notice, TokenResult, Told, UsedCode};
pub use steps::{StartSync, StartSyncFacts, SyncAnswer, SyncFacts, due, relay, start};

use crate::{OnDay, Reason, TokenId, UnixMs};

/// How many channels one sync may open before it fails.
pub const MAX_CHANNELS: u8 = 5;
/// The last script in which a chip that holds its channel back is asked again, as in a binding.
pub const MAX_ASKED_AGAIN: u8 = 40;

/// What a sync does. The number is what is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Work {
    /// A new grant for a token that pays.
    Refill = 1,
    /// A revoked token leaves its chip.
    Wipe = 2,
}

impl Work {
    /// The work with this stored number.
    pub fn from_number(number: u8) -> Option<Self> {
        [Self::Refill, Self::Wipe].into_iter().find(|work| *work as u8 == number)
    }

    /// The name in the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Refill => "refill",
            Self::Wipe => "wipe",
        }
    }

    /// What the audit trail says once it is done.
    const fn event(self) -> &'static str {
        match self {
            Self::Refill => "refilled",
            Self::Wipe => "wiped",
        }
    }
}

/// Where a sync is. The number is what is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum SyncState {
    /// The chip was asked to open a channel.
    Opening = 1,
    /// The order is on its way.
    Ordering = 2,
    /// The chip has confirmed.
    Done = 3,
    /// It ended without.
    Failed = 4,
    /// The chip has confirmed; it was asked to open a channel for notices of payments.
    Announcing = 5,
    /// The notices are on their way.
    Telling = 6,
}

impl SyncState {
    /// The state with this stored number.
    pub fn from_number(number: u8) -> Option<Self> {
        [Self::Opening, Self::Ordering, Self::Done, Self::Failed, Self::Announcing, Self::Telling]
            .into_iter()
            .find(|state| *state as u8 == number)
    }

    /// The name in the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Opening => "opening",
            Self::Ordering => "ordering",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Announcing => "announcing",
            Self::Telling => "telling",
        }
    }

    /// How far it is, percent.
    pub const fn progress_percent(self) -> u8 {
        match self {
            Self::Opening => 10,
            Self::Ordering => 30,
            Self::Announcing | Self::Telling => 90,
            Self::Done => 100,
            Self::Failed => 0,
        }
    }

    /// How far it will be for the device once it has run the script that is due, percent.
    const fn progress_once_run(self) -> u8 {
        match self {
            Self::Opening => 30,
            Self::Ordering => 70,
            Self::Announcing | Self::Telling => 90,
            Self::Done => 100,
            Self::Failed => 0,
        }
    }
}

/// The newest sync of a token. It holds no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenSync {
    /// The token.
    pub token: TokenId,
    /// The session of its messages: 16 random bytes.
    pub session: [u8; 16],
    /// What it does.
    pub work: Work,
    /// The challenge of the present channel.
    pub host_challenge: [u8; 8],
    /// The number of the script that is due.
    pub script: u8,
    /// How many channels the chip has answered to.
    pub channels: u8,
    /// The chip's answer to INITIALIZE UPDATE, once it came.
    pub card_answer: Option<Vec<u8>>,
    /// The time anchor the chip is given, Unix seconds. Kept, as what follows, so that a repeated script is the same script.
    pub anchor_s: u64,
    /// Seconds the chip may make codes after the anchor.
    pub offline_allowance_s: u32,
    /// Codes the chip may make.
    pub code_budget: u16,
    /// The version of the mask key the chip is given.
    pub mask_key_version: u8,
    /// The highest transaction counter the cloud had seen before the order left for the chip.
    pub counter_before: Option<u32>,
    /// Syncs of this token that its chip has confirmed, this one and those before, on the day of the last of them.
    pub confirmed: OnDay,
    /// What the wearable has been told of payments, in this sync and before, at most [`MAX_RESULTS`].
    pub told: Vec<Told>,
    /// What it is to be told in this one, oldest first, at most [`MAX_RESULTS`].
    pub notices: Vec<Notice>,
    /// Where it is.
    pub state: SyncState,
    /// Why it ended without confirmation.
    pub failure: Option<Reason>,
    /// When it began.
    pub created_ms: UnixMs,
}

//! Binding: a chip that is in nobody's hands becomes the means to pay of one account.
//!
//! ```text
//!        offer + confirmation           proves its origin,           chip confirms
//!                                       answers the channel
//!  (none) ───────────────────▶ Opening ───────────────────▶ Installing ─────────────▶ Done
//!                                 │  ▲                          │
//!                                 │  └── channel lost: new challenge, at most MAX_ATTEMPTS
//!                                 └────────────▶ Failed ◀───────┘  not genuine, ended, refused, too late
//! ```
//!
//! `spec/binding.md` tells the same in full.
//!
//! The wearer's phone (or the device itself) carries scripts it can neither read nor change. The token pays only
//! from the moment its chip has confirmed, under the channel's own MAC, that it holds the keys: half a binding is
//! none. Every message may come twice or not at all; the same message gets the same answer.

mod offer;
mod provenance;
mod steps;

pub use offer::{OFFER_PREFIX, Offer};
pub use provenance::Provenance;
pub use steps::{BindingKeys, OfAccount, RelayAnswer, RelayFacts, StartFacts, StartRequest, due, relay, start};

use pki::Serial;

use crate::{AccountId, BindingId, ChipId, Reason, TokenId, UnixMs};

/// How many channels one binding may open before it fails.
pub const MAX_ATTEMPTS: u8 = 5;
/// The last script in which it asks a chip that holds its channel back (`9305`): somebody without keys has tried before. Such
/// a chip refuses thirty-two times before it obeys once, and some of the messages may be lost.
pub const MAX_ASKED_AGAIN: u8 = 40;

/// The most wearables of one account: tokens that are not revoked.
pub const MAX_WEARABLES: usize = 64;
/// The most bindings of one account that are under way. One more takes the place of the oldest, so that those which were left half
/// way need no clock to end.
pub const MAX_UNDER_WAY: usize = 8;

/// Where a binding is. The number is what is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum BindingState {
    /// The chip was asked to open a channel.
    Opening = 1,
    /// The token's keys are on their way to the chip.
    Installing = 2,
    /// The chip has confirmed; the token pays.
    Done = 3,
    /// It ended without a binding.
    Failed = 4,
}

impl BindingState {
    /// The state with this stored number.
    pub fn from_number(number: u8) -> Option<Self> {
        [Self::Opening, Self::Installing, Self::Done, Self::Failed].into_iter().find(|state| *state as u8 == number)
    }

    /// The name in the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Opening => "opening",
            Self::Installing => "installing",
            Self::Done => "done",
            Self::Failed => "failed",
        }
    }

    /// How far it is, percent.
    pub const fn progress_percent(self) -> u8 {
        match self {
            Self::Opening => 10,
            Self::Installing => 30,
            Self::Done => 100,
            Self::Failed => 0,
        }
    }

    /// How far it will be for the wearable once it has run the script that is due, percent.
    pub(crate) const fn progress_once_run(self) -> u8 {
        match self {
            Self::Opening => 30,
            Self::Installing => 70,
            Self::Done => 100,
            Self::Failed => 0,
        }
    }
}

/// One binding. It holds no secret: the channel's keys are derived anew from these fields and the vault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// Its id.
    pub id: BindingId,
    /// For whom.
    pub account: AccountId,
    /// Which chip.
    pub chip: ChipId,
    /// The offer's nonce: one offer is one binding.
    pub nonce: [u8; 8],
    /// The token being bound.
    pub token: TokenId,
    /// The challenge of the present channel.
    pub host_challenge: [u8; 8],
    /// The number of the script that is due: each is one more than the one before. A channel that opens takes two, one
    /// that is held back takes one.
    pub script: u8,
    /// The chip's answer to INITIALIZE UPDATE, once it came.
    pub card_answer: Option<Vec<u8>>,
    /// The time anchor the chip is given, Unix seconds. Kept so that a repeated script is the same script.
    pub anchor_s: u64,
    /// Seconds the chip may make codes after the anchor. Kept for the same reason.
    pub offline_allowance_s: u32,
    /// Codes the chip may make. Kept for the same reason.
    pub code_budget: u16,
    /// Where it is.
    pub state: BindingState,
    /// When it began.
    pub created_ms: UnixMs,
    /// The serial number of the chip's certificate, once the chip has proved that it is the one its maker shipped.
    pub certificate: Option<Serial>,
    /// How many channels the chip has answered to.
    pub channels: u8,
    /// Why it ended without a binding.
    pub failure: Option<Reason>,
}

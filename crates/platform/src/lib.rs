//! The cloud's decisions, and nothing else: no clock, no disk, no network, no randomness of its own.
//!
//! Every rule has the shape `decide(what is asked, what is known) → (answer, changes)`. The store loads what is
//! known, lets the rule decide, and writes the [`Change`]s, many at a time in one transaction; time and random
//! bytes come in with the request. So each rule is a table of cases, and a simulator can own the world around it.

pub mod accounts;
pub mod bindings;
mod change;
pub mod chips;
pub mod guesses;
mod ids;
pub mod makers;
pub mod merchants;
mod on_day;
pub mod payments;
pub mod postings;
mod refusal;
mod relays;
pub mod risk;
mod settings;
pub mod syncs;
pub mod text;
pub mod tokens;
mod vault;

pub use change::{Booking, Change, Event};
pub use ids::{AccountId, BindingId, ChipId, MerchantId, PaymentId, RefundId, ShipmentId, TokenId, TopUpId};
pub use on_day::OnDay;
pub use refusal::{Reason, Refusal, RefusalClass};
pub use settings::{CodeSettings, Limits, Settings};
pub use vault::{KeyVault, KeyVersions, VaultError, mask_keys};

/// Unix time in milliseconds.
pub type UnixMs = u64;

/// Who is asking, as the door has established it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    /// The payment operator's staff or factory line.
    Operator,
    /// A merchant, by its API key.
    Merchant(MerchantId),
    /// A wearer, by the wallet key of the account.
    Wearer(AccountId),
}

impl Caller {
    /// Who it is in the audit trail: `operator`, or an id as text.
    pub fn name(&self) -> String {
        match self {
            Self::Operator => "operator".to_owned(),
            Self::Wearer(account) => account.to_string(),
            Self::Merchant(merchant) => merchant.to_string(),
        }
    }

    /// Whether the caller may see and act for this wearer's account.
    pub fn may_act_for(&self, account: AccountId) -> bool {
        match self {
            Self::Operator => true,
            Self::Wearer(own) => *own == account,
            Self::Merchant(_) => false,
        }
    }
}

/// The secret a caller authenticates with, as it is stored: SHA-256 of the key's text. The keys carry 256 random
/// bits, so a plain hash cannot be searched.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyHash(pub [u8; 32]);

impl KeyHash {
    /// The hash of a key's text.
    pub fn of(key: &str) -> Self {
        use sha2::{Digest, Sha256};
        Self(Sha256::digest(key.as_bytes()).into())
    }
}

impl core::fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("KeyHash(..)")
    }
}

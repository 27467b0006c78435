//! Merchants that have authenticated lately, by their key's hash: looking one up takes two rows, and a busy till does it
//! with every payment. What is kept of a merchant here never changes; one whose key is taken away is known for
//! [`KEPT`] longer at most.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, Instant};

use platform::KeyHash;
use platform::merchants::Merchant;

/// How long a merchant is known without looking again.
const KEPT: Duration = Duration::from_secs(5);
/// Merchants known at a time; when there are more, all are forgotten and looked up again.
const MAX_KNOWN: usize = 20_000;

/// The merchants known.
#[derive(Default)]
pub(crate) struct KnownMerchants(RwLock<HashMap<[u8; 32], (Merchant, Instant)>>);

impl KnownMerchants {
    /// The merchant with this key, if it was looked up lately.
    pub(crate) fn find(&self, key: KeyHash) -> Option<Merchant> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let (merchant, since) = known.get(&key.0)?;
        (since.elapsed() < KEPT).then(|| merchant.clone())
    }

    /// Remembers a merchant that was looked up.
    pub(crate) fn remember(&self, merchant: &Merchant) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX_KNOWN {
            known.clear();
        }
        known.insert(merchant.api_key.0, (merchant.clone(), Instant::now()));
    }
}

//! Whose tokens are: learned at the start, beside what is answered meanwhile.

use std::sync::Arc;

use store::{Env, Queries};

/// Learns it on a thread that may wait. Nothing depends on it but how soon a payment is answered.
pub(crate) fn learn_beside(queries: Arc<Queries>, env: Env) {
    tokio::task::spawn_blocking(move || {
        if let Err(error) = queries.learn_owners(&env) {
            tracing::warn!(%error, "whose tokens are could not be learned; each payment finds it out by itself");
        }
    });
}

//! Work at a chip that somebody carries messages for: a binding, or a sync. What carries them is a phone's requests, its
//! WebSocket, or the device itself.

use platform::bindings::BindingState;
use platform::syncs::SyncState;
use platform::{BindingId, Caller, Reason, TokenId};
use store::commands::{DueOfBinding, DueOfSync, RelayBinding, RelaySync};

use crate::App;
use crate::entropy::{now_ms, random};
use crate::error::ApiError;

/// A piece of work.
#[derive(Debug, Clone, Copy)]
pub(super) enum Work {
    /// A binding.
    Binding(BindingId),
    /// The newest sync of a token.
    Sync(TokenId),
}

/// Where it is, and the message for the wearable.
pub(super) struct Due {
    /// The name of its state.
    pub(super) state: &'static str,
    /// Percent.
    pub(super) progress: u8,
    /// Why it failed.
    pub(super) failure: Option<Reason>,
    /// Whether the message is the last word.
    pub(super) is_over: bool,
    /// The message.
    pub(super) message: Vec<u8>,
}

impl From<platform::bindings::RelayAnswer> for Due {
    fn from(answer: platform::bindings::RelayAnswer) -> Self {
        let state = answer.binding.state;
        Self {
            state: state.name(),
            progress: state.progress_percent(),
            failure: answer.binding.failure,
            is_over: matches!(state, BindingState::Done | BindingState::Failed),
            message: answer.message,
        }
    }
}

impl From<platform::syncs::SyncAnswer> for Due {
    fn from(answer: platform::syncs::SyncAnswer) -> Self {
        let state = answer.sync.state;
        Self {
            state: state.name(),
            progress: state.progress_percent(),
            failure: answer.sync.failure,
            is_over: matches!(state, SyncState::Done | SyncState::Failed),
            message: answer.message,
        }
    }
}

impl Work {
    /// What is due now.
    pub(super) async fn due(self, app: &App, caller: Caller) -> Result<Due, ApiError> {
        Ok(match self {
            Self::Binding(id) => app.store.execute(DueOfBinding { caller, id }).await?.into(),
            Self::Sync(token) => app.store.execute(DueOfSync { caller, token }).await?.into(),
        })
    }

    /// Hands over a message from the wearable.
    pub(super) async fn relay(self, app: &App, caller: Caller, message: Vec<u8>) -> Result<Due, ApiError> {
        let (host_challenge, now_ms) = (random()?, now_ms());
        Ok(match self {
            Self::Binding(id) => {
                app.store.execute(RelayBinding { caller, id, message, host_challenge, now_ms }).await?.into()
            }
            Self::Sync(token) => {
                app.store.execute(RelaySync { caller, token, message, host_challenge, now_ms }).await?.into()
            }
        })
    }
}

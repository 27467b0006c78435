//! What every piece of work over a relay has in common (`spec/relay.md`): messages, and the secure channel that no server
//! remembers ([0007](../../../../docs/decisions/0007-secure-channel-without-state.md)). Binding and sync say what is done
//! in it.

#[cfg(test)]
pub(crate) mod card;
mod channel;
mod messages;

pub(crate) use channel::{Opening, Sealed, encoded, judge_opening, seal};
pub(crate) use messages::{Head, Results, done, failed, read_results, script};

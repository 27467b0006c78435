//! What a wearable remembers of the scripts it ran, so that a script sent twice is answered twice and run once
//! wherever possible. The rules are those of `spec/relay.md` §4; they live in RAM, since a wearable that
//! restarts has lost the chip's secure channel too.

use super::{Script, SessionId};

/// What to do with a script that has arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// New: run it, and keep its results until the next one arrives.
    Run,
    /// The one run last: send its results again. A wearable that no longer holds them runs it again; the chip
    /// then refuses its secured commands, and the cloud starts over.
    AnswerAgain,
    /// Older than the one run last, or not the next: drop it without an answer.
    Drop,
}

/// The session at work and the last script of it that was run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    last: Option<(SessionId, u16)>,
}

impl Memory {
    /// Nothing was run yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { last: None }
    }

    /// What to do with this script. The first script of another session is always new: the cloud has given the
    /// old one up. With nothing remembered any script is run: it may have been run before a restart, and then
    /// the chip refuses its secured commands, which tells the cloud to start over.
    #[must_use]
    pub fn judge(&self, script: &Script<'_>) -> Verdict {
        match self.last {
            Some((session, number)) if session == script.session => {
                if script.number == number {
                    Verdict::AnswerAgain
                } else if Some(script.number) == number.checked_add(1) {
                    Verdict::Run
                } else {
                    Verdict::Drop
                }
            }
            Some(_) if script.number != 1 => Verdict::Drop,
            _ => Verdict::Run,
        }
    }

    /// Remembers that this script was run.
    pub fn ran(&mut self, script: &Script<'_>) {
        self.last = Some((script.session, script.number));
    }

    /// Forgets the session: its outcome has arrived, or it was given up.
    pub fn forget(&mut self) {
        self.last = None;
    }
}

//! The passcode session: from the right passcode to LOCK, a reset, a wrong passcode or its end by time.
//!
//! The chip has no clock. A session has a window in the wearable's time, which begins with the time that came with
//! VERIFY, or else with the first code asked for; each token says how long it is. A code outside it is made as not
//! verified. A hijacked wearable gains nothing by lying: a code is good only around the time it is made for, so
//! whoever wants verified codes that pay at some time has to name that time, and all times of one session lie in one
//! window.

use crate::hardened::Verdict;

/// How far before the window's begin a code may still be verified, in seconds: clocks are set back a little.
const SLACK_SECONDS: u64 = 60;

/// The passcode session. RAM only.
#[derive(Clone, Copy)]
pub(crate) struct Session {
    open: Verdict,
    begin: Option<u64>,
}

impl Session {
    /// No session.
    pub(crate) const CLOSED: Self = Self { open: Verdict::NO, begin: None };

    /// A session opened by this verdict on a passcode; its window begins at the time given.
    pub(crate) const fn opened(open: Verdict, begin: Option<u64>) -> Self {
        Self { open, begin }
    }

    /// Whether the passcode was entered, whatever the time.
    pub(crate) const fn is_open(self) -> Verdict {
        self.open
    }

    /// The session after a code at this time, and whether that code is verified.
    pub(crate) fn at(self, unix_seconds: u64, session_seconds: u32) -> (Self, Verdict) {
        if !self.open.is_yes() {
            return (self, Verdict::NO);
        }
        let begin = self.begin.unwrap_or(unix_seconds);
        let within = Verdict::of(|| is_within(unix_seconds, begin, session_seconds));
        (Self { begin: Some(begin), ..self }, self.open.and(within))
    }
}

/// Whether a time lies in the window. Out of line: it is asked twice.
#[inline(never)]
fn is_within(unix_seconds: u64, begin: u64, session_seconds: u32) -> bool {
    let end = begin.saturating_add(u64::from(session_seconds));
    unix_seconds.saturating_add(SLACK_SECONDS) >= begin && unix_seconds <= end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bound_of_the_window() {
        let open = Verdict::of(|| true);
        for (begin, time, seconds, expected) in [
            (Some(1_000), 1_000, 100, true),
            (Some(1_000), 1_100, 100, true),
            (Some(1_000), 1_101, 100, false),
            (Some(1_000), 940, 100, true),
            (Some(1_000), 939, 100, false),
            (Some(1_000), 1_000, 0, true),
            (Some(1_000), 1_001, 0, false),
            (None, 5_000, 0, true),
            (Some(u64::MAX), u64::MAX, u32::MAX, true),
        ] {
            let (_, verdict) = Session::opened(open, begin).at(time, seconds);
            assert_eq!(verdict.is_yes(), expected, "{begin:?} {time} {seconds}");
        }
        assert!(!Session::CLOSED.at(1, 1).1.is_yes());
    }

    #[test]
    fn the_first_time_named_begins_the_window_and_no_later_one_moves_it() {
        let session = Session::opened(Verdict::of(|| true), None);
        let (session, first) = session.at(1_000, 100);
        let (session, second) = session.at(1_090, 100);
        let (_, third) = session.at(1_101, 100);
        assert_eq!([first.is_yes(), second.is_yes(), third.is_yes()], [true, true, false]);
    }
}

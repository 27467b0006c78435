//! What is made to go wrong, and how often it did.

use std::collections::BTreeMap;

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// A message that never arrived.
    MessageLost,
    /// A message that arrived twice.
    MessageRepeated,
    /// A message that came long after those sent after it.
    MessageDelayed,
    /// A message to a server that was not there, or had no room for it.
    ServerGone,
    /// A server that was gone before it had committed.
    CrashBeforeCommit,
    /// A server that was gone after it had committed and before it had answered.
    CrashBeforeAnswer,
    /// A server that was gone between its transactions.
    Crash,
    /// A commit of which nobody knows how it ended.
    CommitUnknown,
    /// A commit that was written after its server had given it up.
    CommitLate,
    /// A transaction for which there was no room.
    DiskFull,
    /// A read that failed.
    ReadFailed,
    /// A transaction that another server's made void.
    Conflict,
    /// An old code, shown again.
    Replay,
    /// A code shown at two tills at once.
    CodeTwice,
    /// An order number with other parameters.
    OtherParameters,
    /// A code that somebody made up.
    ForgedCode,
    /// A payment refused because its merchant was suspended for its wrong codes.
    MerchantSuspended,
    /// A token that was found frozen because many merchants sent wrong codes.
    FrozenByRisk,
    /// A watch or server whose clock is wrong.
    ClockWrong,
}

impl Fault {
    /// In words.
    pub const fn name(self) -> &'static str {
        match self {
            Self::MessageLost => "messages lost",
            Self::MessageRepeated => "messages repeated",
            Self::MessageDelayed => "messages delayed",
            Self::ServerGone => "messages that their server was down or too busy for",
            Self::CrashBeforeCommit => "crashes before a commit",
            Self::CrashBeforeAnswer => "crashes between commit and answer",
            Self::Crash => "other crashes",
            Self::CommitUnknown => "commits of unknown outcome",
            Self::CommitLate => "commits that land after their server gave up",
            Self::DiskFull => "transactions on a full disk",
            Self::ReadFailed => "reads that fail",
            Self::Conflict => "conflicts between servers",
            Self::Replay => "old codes replayed",
            Self::CodeTwice => "codes shown at two tills",
            Self::OtherParameters => "orders with other parameters",
            Self::ForgedCode => "forged codes",
            Self::MerchantSuspended => "payments refused to suspended merchants",
            Self::FrozenByRisk => "tokens found frozen by risk",
            Self::ClockWrong => "wrong clocks",
        }
    }
}

/// How often each fault happened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Faults(BTreeMap<Fault, u64>);

impl Faults {
    pub(crate) fn count(&mut self, fault: Fault) {
        *self.0.entry(fault).or_default() += 1;
    }

    /// How often this one happened.
    pub fn of(&self, fault: Fault) -> u64 {
        self.0.get(&fault).copied().unwrap_or(0)
    }

    /// Adds another run's.
    pub fn add(&mut self, other: &Self) {
        for (fault, times) in &other.0 {
            *self.0.entry(*fault).or_default() += times;
        }
    }

    /// Each with its number.
    pub fn iter(&self) -> impl Iterator<Item = (Fault, u64)> + '_ {
        self.0.iter().map(|(fault, times)| (*fault, *times))
    }

    /// All of them together.
    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }
}

//! What can go wrong below the rules. None of these has changed anything.

/// The store could not do it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreError {
    /// The queue is full, or the database cannot be reached: try again a little later.
    Busy,
    /// The database cannot be reached, for this reason.
    Unreachable(String),
    /// The store has stopped, after an error of the disk or at shutdown. It acknowledges nothing any more.
    Stopped,
    /// The engine reported an error.
    Engine(String),
    /// A number or name that must be unique is taken: of the table named.
    Taken(&'static str),
    /// Something stored does not have the form it was written in.
    Corrupt(&'static str),
}

impl core::fmt::Display for StoreError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Busy => f.write_str("the store is busy, or cannot reach its database"),
            Self::Unreachable(why) => write!(f, "the database cannot be reached: {why}"),
            Self::Stopped => f.write_str("the store has stopped"),
            Self::Engine(message) => write!(f, "the storage engine failed: {message}"),
            Self::Taken(what) => write!(f, "a row of {what} that must be unique is there already"),
            Self::Corrupt(what) => write!(f, "a stored row of {what} cannot be read"),
        }
    }
}

impl std::error::Error for StoreError {}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Engine(error.to_string())
    }
}

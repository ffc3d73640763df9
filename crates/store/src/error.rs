//! Why a use case fails.

/// Why a use case failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The queue in front of the disk is full, another process keeps the database to itself, or the database cannot be reached or does not answer: nothing
    /// was stored. Try again in a moment.
    #[error("the database does not answer, or more is coming in than it can store")]
    Busy,
    /// The database did not say whether a change was stored, since it went away meanwhile or has not waited for its standby: it may be, or not. A repeat under
    /// the same idempotency key finds out.
    #[error("the database has not said whether it was stored")]
    InDoubt,
    /// The store takes no changes just now, for a reason that it has logged: nothing was stored. In
    /// words for the caller.
    #[error("{0}")]
    Refused(String),
    /// The read took longer than [`READ_MAX`](crate::reading::READ_MAX) and was broken off. Ask for less at once.
    #[error("the read took longer than it may")]
    ReadTooLong,
    /// The key has as many expensive reads under way as it may have. Try again when one has ended.
    #[error("the key has too many expensive reads under way")]
    ReadsCrowded,
    /// The store is shutting down.
    #[error("the store is closed")]
    Closed,
    /// What was asked does not fit what is stored; in words for the caller.
    #[error("{0}")]
    Conflict(String),
    /// What was asked is done, but for its last part, which asking again does; in words for the caller.
    #[error("{0}")]
    Unfinished(String),
    /// The database failed; in words for the operator.
    #[error("database: {0}")]
    Database(String),
    /// A stored row could not be read; in words for the operator.
    #[error("stored data: {0}")]
    Corrupt(String),
    /// The caller's key was revoked since it asked: nothing was stored.
    #[error("the API key was revoked meanwhile")]
    Revoked,
    /// The master key is not the one that sealed what is stored.
    #[error("master key: {0}")]
    MasterKey(String),
}

impl Error {
    /// Puts into the log that `what` failed for this reason and is tried again. What is over in a moment the store has told itself, once for all who ask, so that the log of an
    /// outage is read in one screen: it shows only at `debug`.
    pub fn tell(&self, what: &str) {
        match self {
            Self::Closed => {}
            Self::Busy
            | Self::InDoubt
            | Self::Refused(_)
            | Self::ReadTooLong
            | Self::ReadsCrowded => {
                tracing::debug!(why = %self, "{what}");
            }
            why => tracing::error!(%why, "{what}"),
        }
    }
}

//! Engines: the databases that a store can be kept in.
//!
//! An engine owns the connections, decides who changes the database at which time, and tells of
//! commits. Guarantee: a change is on stable storage when `Ok` comes back, or has left nothing.
//! Changes come one after the other, also where several processes make them.

pub(crate) mod bulk;
pub(crate) mod crowd;
pub(crate) mod db;
pub(crate) mod noting;
pub(crate) mod observer;
pub(crate) mod postgres;
pub(crate) mod prefetch;
pub(crate) mod sqlite;
pub(crate) mod statements;
mod transaction;
pub(crate) mod writer;

pub(crate) use self::transaction::Transaction;
use self::{crowd::Batched, db::Db, postgres::Server, sqlite::Disk};
use crate::{Error, Signals, reading::Reading};

/// The threads that a store runs on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Threads {
    /// Its own: one that changes the database, some that read, one that watches the files.
    #[default]
    Own,
    /// The caller's. Commits and reads hold it up, so this is for a process that runs on one thread
    /// and whose time is not real: a simulation. For SQLite alone.
    Caller,
}

/// A database under a store.
pub(crate) enum Engine {
    /// A file that this process changes alone.
    Sqlite(Disk),
    /// A server that several nodes share.
    Postgres(Server),
}

impl Engine {
    /// Runs `change` in one of the next commits. Returns what it returned, once that commit is on
    /// stable storage.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        change: impl FnOnce(&mut Transaction<'_>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        match self {
            Self::Sqlite(disk) => disk.writer().write(change).await,
            Self::Postgres(server) => server.visit()?.writer().write(change).await,
        }
    }

    /// Serves a request of new work, of about so many bytes, with others of its kind. It is refused
    /// when the queue is full, and not kept waiting.
    pub(crate) async fn take<R: Batched>(
        &self,
        request: R,
        bytes: usize,
    ) -> Result<R::Answer, Error> {
        match self {
            Self::Sqlite(disk) => disk.writer().take(request, bytes).await,
            Self::Postgres(server) => server.visit()?.writer().take(request, bytes).await,
        }
    }

    /// Serves a request with others of its kind.
    pub(crate) async fn batch<R: Batched>(&self, request: R) -> Result<R::Answer, Error> {
        match self {
            Self::Sqlite(disk) => disk.writer().batch(request).await,
            Self::Postgres(server) => server.visit()?.writer().batch(request).await,
        }
    }

    /// Runs `look` in a transaction that sees one moment, when it is its turn.
    ///
    /// # Errors
    /// [`Error::ReadTooLong`] when it costs more than `reading` says.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        reading: Reading,
        look: impl FnOnce(&Db<'_>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        match self {
            Self::Sqlite(disk) => disk.read(reading, look).await,
            Self::Postgres(server) => server.read(reading, look).await,
        }
    }

    /// Says whether new writes are taken.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn takes_writes(&self) -> Result<(), Error> {
        match self {
            Self::Sqlite(disk) => disk.takes_writes(),
            Self::Postgres(_) => Ok(()),
        }
    }

    /// Whether other processes may be at work on the database. A lock on the directory keeps them
    /// from a file.
    pub(crate) const fn is_shared(&self) -> bool {
        matches!(self, Self::Postgres(_))
    }

    /// Sees to it that no file of the store has anything left of removed rows.
    ///
    /// PostgreSQL keeps removed rows until its vacuum takes them away: what of a person is left in
    /// its files is the operator's to say.
    pub(crate) async fn leave_no_traces(&self) -> Result<(), Error> {
        match self {
            Self::Sqlite(disk) => disk.leave_no_traces().await,
            Self::Postgres(_) => Ok(()),
        }
    }

    /// Who is told of commits.
    pub(crate) fn signals(&self) -> &Signals {
        match self {
            Self::Sqlite(disk) => disk.signals(),
            Self::Postgres(server) => server.signals(),
        }
    }

    /// Finishes what is queued and closes.
    pub(crate) async fn close(&self) {
        match self {
            Self::Sqlite(disk) => disk.close().await,
            Self::Postgres(server) => server.close().await,
        }
    }
}

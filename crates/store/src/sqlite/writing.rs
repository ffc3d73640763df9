//! The connection that changes the file.
//!
//! Guarantee: `synchronous=FULL`, so COMMIT returns when the change is synced.

use super::{
    database,
    room::{self, Log},
};
use crate::{
    Acceptance, Error,
    signals::Effects,
    sql::{
        clock::Noting,
        db::Db,
        writer::{self, Accept, Connection},
    },
};

/// See [`Connection`].
pub(super) struct Writing {
    connection: rusqlite::Connection,
    log: Log,
    noting: Noting,
    /// How much the connection had changed when the transaction began: times are noted only where
    /// something else is written.
    changes: u64,
}

impl Writing {
    /// On `connection`, which writes to `log`.
    pub(super) fn new(connection: rusqlite::Connection, log: Log) -> Self {
        Self {
            connection,
            log,
            noting: Noting::default(),
            changes: 0,
        }
    }

    fn step(&self, sql: &str) -> Result<(), Error> {
        Db::Sqlite(&self.connection).execute(sql, &[]).map(drop)
    }
}

impl Connection for Writing {
    fn begin(&mut self) -> Result<(), Error> {
        self.log.before();
        self.changes = self.connection.total_changes();
        self.step("BEGIN IMMEDIATE")
    }

    fn db(&self) -> Result<Db<'_>, Error> {
        Ok(Db::Sqlite(&self.connection))
    }

    fn savepoint(&self) -> Result<(), Error> {
        self.step("SAVEPOINT request")
    }

    fn release(&self) -> Result<(), Error> {
        self.step("RELEASE request")
    }

    fn undo(&self) -> Result<(), Error> {
        self.step("ROLLBACK TO request")?;
        self.release()
    }

    fn accept(
        &self,
        effects: &mut Effects,
        writes: &[Accept],
    ) -> Result<Vec<Result<Acceptance, Error>>, Error> {
        if self.log.has_room() {
            return writer::accept_each(self, effects, writes);
        }
        Ok(writes.iter().map(|_| Err(room::refused())).collect())
    }

    fn commit(&mut self, effects: &Effects) -> Result<(), Error> {
        if let Some(clock) = effects.time.clock()
            && self.noting.is_due(clock)
            && self.connection.total_changes() > self.changes
        {
            self.noting.note(&Db::Sqlite(&self.connection), clock)?;
        }
        self.step("COMMIT")
    }

    fn rollback(&mut self) {
        self.log.failed();
        if !self.connection.is_autocommit() {
            let _ = self.step("ROLLBACK");
        }
    }

    /// Empties the write-ahead log, unless a reader stands in the way for longer than others can be kept waiting.
    fn fold(&mut self) -> bool {
        room::truncate(&self.connection).unwrap_or_else(|why| {
            tracing::warn!(%why, "the write-ahead log could not be emptied");
            false
        })
    }

    fn rest(&mut self) {
        self.log.after(&self.connection);
    }

    fn close(&mut self) {
        if let Err(why) = self
            .connection
            .execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")
        {
            tracing::warn!(why = %database(why), "the write-ahead log could not be folded in at closing; the next start does it");
        }
    }
}

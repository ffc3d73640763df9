//! The connection that changes the file.
//!
//! Guarantee: `synchronous=FULL`, so COMMIT returns when the change is synced.

use std::time::Duration;

use super::{BUSY_TIMEOUT, database};
use crate::{
    Error,
    signals::Effects,
    sql::{db::Db, writer::Connection},
};

/// How long emptying the write-ahead log waits for readers: accepts wait as long.
const FOLD_WAIT_MAX: Duration = Duration::from_millis(50);

/// See [`Connection`].
pub(super) struct Writing(pub(super) rusqlite::Connection);

impl Writing {
    fn step(&self, sql: &str) -> Result<(), Error> {
        Db::Sqlite(&self.0).execute(sql, &[]).map(drop)
    }
}

impl Connection for Writing {
    fn begin(&mut self) -> Result<(), Error> {
        self.step("BEGIN IMMEDIATE")
    }

    fn db(&self) -> Result<Db<'_>, Error> {
        Ok(Db::Sqlite(&self.0))
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

    fn commit(&mut self, _effects: &Effects) -> Result<(), Error> {
        self.step("COMMIT")
    }

    fn rollback(&mut self) {
        if !self.0.is_autocommit() {
            let _ = self.step("ROLLBACK");
        }
    }

    /// Empties the write-ahead log, unless a reader stands in the way for longer than others can be kept waiting.
    fn fold(&mut self) -> bool {
        let emptied = self
            .0
            .busy_timeout(FOLD_WAIT_MAX)
            .and_then(|()| {
                self.0
                    .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| {
                        row.get::<_, i64>(0)
                    })
            })
            .map(|is_busy| is_busy == 0);
        if let Err(why) = self.0.busy_timeout(BUSY_TIMEOUT) {
            tracing::error!(%why, "the writing connection does not wait for other processes any more");
        }
        emptied.unwrap_or_else(|why| {
            tracing::warn!(%why, "the write-ahead log could not be emptied");
            false
        })
    }

    fn close(&mut self) {
        if let Err(why) = self.0.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)") {
            tracing::warn!(why = %database(why), "the write-ahead log could not be folded in at closing; the next start does it");
        }
    }
}

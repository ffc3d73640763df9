//! The connection that changes the file.
//!
//! Guarantee: `synchronous=FULL`, so COMMIT returns when the change is synced. A COMMIT that fails
//! is in doubt: SQLite may have written all of it before the step that failed, and whoever opens
//! the file next then finds it. Until then nobody sees it, and the next commit takes its place in
//! the write-ahead log.

use std::{path::Path, sync::Arc, time::Duration};

use rusqlite::config::DbConfig;

use super::{
    database,
    files::Files,
    note::{Note, Number},
    room::{self, Log},
};
use crate::{
    Error,
    engines::noting::Noting,
    engines::{db::Db, writer::Connection},
    outage::{DISK_QUIET, Outage},
    signals::Raised,
    time::Time,
};

/// See [`Connection`].
pub(super) struct Writing {
    connection: rusqlite::Connection,
    log: Log,
    note: Note,
    /// Kept for longer than the connection.
    files: Arc<Files>,
    /// Commits fail since.
    outage: Outage,
    noting: Noting,
    /// Rows that the connection had changed when the transaction began: the commit is counted, and
    /// times are noted, only where something else is written.
    changed_before: u64,
}

impl Writing {
    /// For the database at `path`, which `connection` has open.
    pub(super) fn new(
        path: &Path,
        connection: rusqlite::Connection,
        log: Log,
        files: Arc<Files>,
    ) -> Result<Self, Error> {
        Ok(Self {
            note: Note::open(path, &connection)?,
            connection,
            log,
            files,
            outage: Outage::new(Duration::ZERO, DISK_QUIET),
            noting: Noting::default(),
            changed_before: 0,
        })
    }

    fn step(&self, sql: &str) -> Result<(), Error> {
        Db::Sqlite(&self.connection).execute(sql, &[]).map(drop)
    }
}

impl Connection for Writing {
    fn begin(&mut self) -> Result<(), Error> {
        self.files.look_at_log()?;
        self.log.before();
        self.step("BEGIN IMMEDIATE")?;
        self.changed_before = self.connection.total_changes();
        Ok(())
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

    fn takes_writes(&self) -> Result<(), Error> {
        match self.log.has_room() {
            true => Ok(()),
            false => Err(room::refused()),
        }
    }

    fn commit(&mut self, _raised: &Raised, time: &Time) -> Result<(), Error> {
        let is_changed = self.connection.total_changes() != self.changed_before;
        if !is_changed && !self.files.is_suspect() {
            return self.step("COMMIT");
        }
        if is_changed
            && let Some(clock) = time.clock()
            && self.noting.is_due(clock)
        {
            self.noting.note(&Db::Sqlite(&self.connection), clock)?;
        }
        let number = Number::count(&self.connection)?;
        match self.step("COMMIT") {
            Ok(()) => {}
            // It could not begin to write.
            Err(Error::Busy) => return Err(Error::Busy),
            Err(why) => {
                if let Some(lasts) = self.outage.goes_on() {
                    tracing::error!(
                        %why, for_s = lasts.as_secs(),
                        "commits fail, and may be stored all the same: their callers get 503 and \
                         are told so; see to the disk under the data directory"
                    );
                }
                return Err(Error::InDoubt);
            }
        }
        if let Some(lasted) = self.outage.succeeds() {
            tracing::info!(for_s = lasted.as_secs(), "commits are stored again");
        }
        if self.files.look().is_err() {
            // It is stored where nobody may find it.
            return Err(Error::InDoubt);
        }
        self.note.write(number);
        self.files.stored(true);
        Ok(())
    }

    fn rollback(&mut self) {
        self.log.failed();
        self.files.stored(false);
        if !self.connection.is_autocommit() {
            let _ = self.step("ROLLBACK");
        }
    }

    /// Empties the write-ahead log, unless a reader stands in the way for longer than others can be
    /// kept waiting.
    fn fold(&mut self) -> bool {
        if self.files.look().is_err() {
            return false;
        }
        self.note.sync();
        room::truncate(&mut self.connection).unwrap_or_else(|why| {
            tracing::warn!(%why, "the write-ahead log could not be emptied");
            false
        })
    }

    fn rest(&mut self) {
        if self.files.must_be_fit().is_ok() && self.log.after(&mut self.connection) {
            self.note.sync();
        }
    }

    fn close(&mut self) {
        if self.files.look().is_err() {
            // The last connection removes the log by its name, which may be that of another
            // database.
            let kept = self
                .connection
                .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
            if let Err(why) = kept {
                tracing::error!(%why, "the write-ahead log in the data directory may be removed");
            }
            return;
        }
        self.note.sync();
        if let Err(why) = room::truncate(&mut self.connection) {
            tracing::warn!(why = %database(why), "the write-ahead log could not be folded in at closing; the next start does it");
        }
    }
}

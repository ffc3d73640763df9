//! The store on one machine's disk: SQLite in WAL mode, one writing thread, a few readers.
//!
//! Guarantee: `synchronous=FULL`, so a commit that returned survives the loss of power.

mod contents;
mod files;
pub mod note;
mod pages;
mod readers;
pub(crate) mod room;
pub(crate) mod schema;
mod writing;

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use model::{Entropy, Timestamp};
use rusqlite::{CachedStatement, Connection, config::DbConfig};

use self::{
    files::{Files, Watch},
    readers::Readers,
    room::{Log, Room},
    writing::Writing,
};
use crate::{
    Error, Observer, Signals,
    engines::{
        Threads,
        db::Db,
        statements,
        writer::{Around, Batch, Writer},
    },
    migrations::Migration,
    reading::Reading,
};

pub use self::room::is_used_up;

/// How often a connection looks whether another process (the command line) has finished its
/// transaction, and how many times: for some 5 s. A writer under load leaves a fraction of a
/// millisecond between two of its own, which SQLite's waits of up to 100 ms can miss for seconds.
const BUSY_LOOK_EVERY: Duration = Duration::from_millis(2);
const BUSY_LOOKS_MAX: i32 = 2_500;

/// Bytes of a page: a write is some 2.5 KB, so that three share one. In force for a database made new.
const PAGE_BYTES: u32 = 8_192;

/// Pages of the write-ahead log at which it is folded into the database where space is plenty: 64 MiB, so that the syncs it costs are rare.
const CHECKPOINT_PAGES: u32 = 8_192;

/// KiB of pages that one connection keeps in memory.
const CACHE_KIB: i32 = 8 * 1_024;

/// Statements that one connection keeps prepared: more than there are in these files.
const STATEMENTS: usize = 192;

/// How often, and how many times, it is tried to empty the write-ahead log: readers are done in milliseconds, the longest counts in seconds.
const FOLD_EVERY: Duration = Duration::from_millis(50);
const FOLD_TRIES_MAX: u32 = 200;

/// A database file that this process changes alone.
pub(crate) struct Disk {
    writer: Writer,
    readers: Readers,
    signals: Arc<Signals>,
    room: Arc<Room>,
    files: Arc<Files>,
    watch: Mutex<Option<Watch>>,
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "it stands in map_err, which passes by value"
)]
pub(crate) fn database(why: rusqlite::Error) -> Error {
    match why.sqlite_error_code() {
        // Another process kept the database to itself for longer than a connection waits: nothing is wrong with it.
        Some(rusqlite::ErrorCode::DatabaseBusy) => {
            tracing::warn!("another process keeps the database to itself");
            Error::Busy
        }
        Some(rusqlite::ErrorCode::DiskFull) => {
            Error::Refused("the disk under the data directory is full".to_owned())
        }
        _ => Error::Database(why.to_string()),
    }
}

/// The same of a use case's statement: it is broken off only where it costs more than its read may.
pub(crate) fn bounded(why: rusqlite::Error) -> Error {
    match why.sqlite_error_code() {
        Some(rusqlite::ErrorCode::OperationInterrupted) => Error::ReadTooLong,
        _ => database(why),
    }
}

/// A statement, from those that the connection keeps prepared.
///
/// # Errors
/// When it cannot be prepared.
pub(crate) fn prepared<'a>(
    connection: &'a Connection,
    sql: &str,
) -> Result<CachedStatement<'a>, Error> {
    statements::note(sql);
    connection.prepare_cached(sql).map_err(bounded)
}

/// Has `connection` wait for the transactions of other processes.
pub(crate) fn wait_for_others(connection: &mut Connection) -> rusqlite::Result<()> {
    connection.busy_handler(Some(|looks| {
        std::thread::sleep(BUSY_LOOK_EVERY);
        looks < BUSY_LOOKS_MAX
    }))
}

pub(crate) fn prepare_connection(connection: &mut Connection) -> Result<(), Error> {
    wait_for_others(connection).map_err(database)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    // A plan follows from the statement alone. Else SQLite plans anew where a bound value might matter to it, such as a limit, and it cannot tell a value from another
    // once the statement was back in the cache: that is at each use, and was a quarter of what the writing thread did.
    connection
        .set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)
        .map_err(database)?;
    connection
        .pragma_update(None, "cache_size", -CACHE_KIB)
        .map_err(database)
}

/// Makes the file, if there is none, for its owner alone: contacts are in it. SQLite gives its companions the same mode.
pub(crate) fn private(path: &Path) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop)
}

/// The connection that changes the database.
pub(crate) fn connect(path: &Path) -> Result<Connection, Error> {
    let connection = note::checked(path, || {
        private(path).map_err(|why| {
            Error::Database(format!("{} cannot be opened: {why}", path.display()))
        })?;
        let mut connection = Connection::open(path).map_err(database)?;
        prepare_connection(&mut connection)?;
        Ok(connection)
    })?;
    connection
        .pragma_update(None, "page_size", PAGE_BYTES)
        .map_err(database)?;
    connection
        .pragma_update(None, "journal_mode", "WAL")
        .map_err(database)?;
    connection
        .pragma_update(None, "synchronous", "FULL")
        .map_err(database)?;
    connection
        .pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)
        .map_err(database)?;
    // A log that a reader had let grow gives its space back when it begins anew.
    connection
        .pragma_update(None, "journal_size_limit", CHECKPOINT_PAGES * PAGE_BYTES)
        .map_err(database)?;
    // What is removed is overwritten where it stood; what was removed before this was so is left out of the file once.
    connection
        .pragma_update(None, "secure_delete", "ON")
        .map_err(database)?;
    pages::check(&connection)?;
    Ok(connection)
}

pub(crate) fn bring_up(
    connection: &mut Connection,
    now: Timestamp,
) -> Result<&'static [Migration], Error> {
    let done = schema::migrate(connection, now)?;
    if done.holds_removed {
        connection.execute_batch("VACUUM").map_err(database)?;
    }
    Ok(done.steps)
}

impl Disk {
    /// Opens the database at `path`, made when absent, and has `prepare` make it ready. A full disk
    /// does not keep it from being opened as long as a reserve is left.
    ///
    /// # Errors
    /// When it cannot be opened or made ready, or lacks commits.
    pub(crate) fn open(
        path: &Path,
        observer: Arc<dyn Observer>,
        entropy: Arc<dyn Entropy>,
        threads: Threads,
        prepare: impl Fn(&mut Connection) -> Result<(), Error>,
    ) -> Result<Self, Error> {
        let room = Room::of(path);
        let made = || -> Result<Connection, Error> {
            let mut connection = connect(path)?;
            room.fold_if_short(&mut connection)?;
            prepare(&mut connection)?;
            Ok(connection)
        };
        let mut connection = match made() {
            Err(_) if room.give_up_reserve() => made(),
            made => made,
        }
        .map_err(|why| room.told_if_full(why))?;
        let log = Log::of(&mut connection, room.clone())?;
        let signals = Arc::new(Signals::default());
        let files = Files::of(path)?;
        let readers = Readers::open(path, &files, threads)?;
        let writer = Writer::start(
            Writing::new(path, connection, log, files.clone())?,
            Batch::default(),
            Around {
                signals: signals.clone(),
                observer,
                entropy,
            },
            threads,
        )?;
        let watch = match threads {
            Threads::Own => Some(Watch::start(files.clone())?),
            Threads::Caller => None,
        };
        Ok(Self {
            writer,
            readers,
            signals,
            room,
            watch: Mutex::new(watch),
            files,
        })
    }

    /// Overwrites what SQLite has left of removed rows between others.
    async fn clear(&self) -> Result<(), Error> {
        let mut next = Some(1);
        while let Some(first) = next {
            let piece = self
                .readers
                .read(Reading::BACKGROUND, move |connection| {
                    pages::walk(connection, first)
                })
                .await?;
            for some in piece.unclear.chunks(pages::CLEAR_MAX_PAGES) {
                let some = some.to_vec();
                self.writer
                    .write(move |tx| match &**tx {
                        Db::Sqlite(connection) => pages::clear(connection, &some),
                        Db::Postgres(_) => Ok(()),
                    })
                    .await?;
            }
            next = piece.next;
        }
        Ok(())
    }

    /// Folds the write-ahead log into the database and empties it, so that nothing removed is left in it.
    async fn fold(&self) -> Result<(), Error> {
        for _ in 0..FOLD_TRIES_MAX {
            if self.writer.fold().await? {
                return Ok(());
            }
            tokio::time::sleep(FOLD_EVERY).await;
        }
        Err(Error::Unfinished(
            "all of it is forgotten, but traces are left in the write-ahead log, which a reader keeps from being emptied. Send this again to finish it"
                .to_owned(),
        ))
    }
}

impl Disk {
    pub(super) const fn writer(&self) -> &Writer {
        &self.writer
    }

    pub(super) async fn read<T: Send + 'static>(
        &self,
        reading: Reading,
        look: impl FnOnce(&Db<'_>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        self.files.must_be_fit()?;
        self.readers
            .read(reading, move |connection| look(&Db::Sqlite(connection)))
            .await
    }

    pub(super) fn takes_writes(&self) -> Result<(), Error> {
        match self.room.is_left() {
            true => Ok(()),
            false => Err(room::refused()),
        }
    }

    pub(super) async fn leave_no_traces(&self) -> Result<(), Error> {
        self.clear().await?;
        self.fold().await
    }

    pub(super) fn signals(&self) -> &Signals {
        &self.signals
    }

    pub(super) async fn close(&self) {
        // The last connection that closes removes the write-ahead log, which one that only reads cannot.
        self.readers.close();
        self.writer.close().await;
        self.watch
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Nothing;

    impl Entropy for Nothing {
        fn bytes(&self) -> [u8; 16] {
            [0; 16]
        }
    }

    #[tokio::test]
    async fn a_database_that_another_keeps_to_itself_is_busy_and_not_broken() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("portico.db");
        let (one, mut other) = (connect(&path).unwrap(), connect(&path).unwrap());
        other.execute_batch("CREATE TABLE a (b)").unwrap();
        other.busy_timeout(Duration::ZERO).unwrap();
        let files = Files::of(&path).unwrap();
        let log = Log::of(&mut other, Room::of(&path)).unwrap();
        let writing = Writing::new(&path, other, log, files).unwrap();
        one.execute_batch("BEGIN IMMEDIATE").unwrap();
        let signals = Arc::new(Signals::default());
        let observer = Arc::new(crate::Unobserved);
        let writer = Writer::start(
            writing,
            Batch::default(),
            Around {
                signals,
                observer,
                entropy: Arc::new(Nothing),
            },
            Threads::Own,
        )
        .unwrap();
        let refused = writer.write(|_| Ok(())).await;
        assert!(matches!(refused, Err(Error::Busy)));
        one.execute_batch("ROLLBACK").unwrap();
        let done = writer.write(|_| Ok(())).await;
        assert!(done.is_ok());
        writer.close().await;
    }
}

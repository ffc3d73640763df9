//! Connections that only read.
//!
//! Guarantee: a read sees one committed state and never waits for the writer, nor the writer for it. It ends in time: the
//! write-ahead log grows as long as a read lasts.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use rusqlite::{Connection, OpenFlags};
use tokio::sync::Semaphore;

use super::database;
use crate::Error;

/// Reads under way at once: a few, since each holds a page cache and all share the disk.
pub(super) const READERS: usize = 4;

/// How long a read may take: a count over millions of rows takes some seconds.
const READ_MAX: Duration = Duration::from_secs(30);

/// Steps of SQLite's machine between two looks at the time: a millisecond or so.
const LOOK_EVERY_STEPS: i32 = 10_000;

/// A connection, and until when its read may go on.
struct Reader {
    connection: Connection,
    /// In milliseconds since `since`.
    until_ms: Arc<AtomicU64>,
    since: Instant,
    /// Set when the read was broken off.
    is_late: Arc<AtomicBool>,
}

impl Reader {
    fn open(path: &Path) -> Result<Self, Error> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(path, flags).map_err(database)?;
        super::prepare_connection(&connection)?;
        let (until_ms, since) = (Arc::new(AtomicU64::new(0)), Instant::now());
        let is_late = Arc::<AtomicBool>::default();
        let (until, late) = (until_ms.clone(), is_late.clone());
        let is_to_end = move || {
            let is_late = elapsed_ms(since) > until.load(Ordering::Relaxed);
            late.fetch_or(is_late, Ordering::Relaxed);
            is_late
        };
        connection
            .progress_handler(LOOK_EVERY_STEPS, Some(is_to_end))
            .map_err(database)?;
        Ok(Self {
            connection,
            until_ms,
            since,
            is_late,
        })
    }

    /// Runs `look` in one transaction: all that one use case reads is of one moment.
    fn read<T>(
        &self,
        within: Duration,
        look: impl FnOnce(&Connection) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let within_ms = u64::try_from(within.as_millis()).unwrap_or(u64::MAX);
        let until_ms = elapsed_ms(self.since).saturating_add(within_ms);
        self.until_ms.store(until_ms, Ordering::Relaxed);
        let transaction = self.connection.unchecked_transaction().map_err(database)?;
        let answer = look(&transaction);
        if self.is_late.swap(false, Ordering::Relaxed) && answer.is_err() {
            let after_s = within.as_secs();
            tracing::warn!(
                after_s,
                "a read took too long and was broken off; its caller gets 503: ask for less at once"
            );
            return Err(Error::Busy);
        }
        answer
    }
}

fn elapsed_ms(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

pub(super) struct Readers {
    idle: Arc<Mutex<Vec<Reader>>>,
    permits: Arc<Semaphore>,
}

impl Readers {
    pub(super) fn open(path: &Path, count: usize) -> Result<Self, Error> {
        let mut idle = Vec::with_capacity(count);
        for _ in 0..count {
            idle.push(Reader::open(path)?);
        }
        Ok(Self {
            idle: Arc::new(Mutex::new(idle)),
            permits: Arc::new(Semaphore::new(count)),
        })
    }

    pub(super) async fn read<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Connection) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let permit = self
            .permits
            .clone()
            .acquire_owned()
            .await
            .map_err(|_| Error::Closed)?;
        let (idle, permits) = (self.idle.clone(), self.permits.clone());
        tokio::task::spawn_blocking(move || {
            let reader = idle
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .pop()
                .ok_or(Error::Closed)?;
            let read = || reader.read(READ_MAX, look);
            // A read that panics takes no connection with it: its transaction has ended with it.
            let result = catch_unwind(AssertUnwindSafe(read));
            if !permits.is_closed() {
                idle.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(reader);
            }
            drop(permit);
            result.unwrap_or_else(|_| Err(Error::Database("a read panicked".to_owned())))
        })
        .await
        .map_err(|_| Error::Database("a read did not finish".to_owned()))?
    }

    pub(super) fn close(&self) {
        self.permits.close();
        self.idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_read_that_panics_takes_no_connection_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.db");
        Connection::open(&path)
            .unwrap()
            .execute_batch("CREATE TABLE a (b)")
            .unwrap();
        let readers = Readers::open(&path, READERS).unwrap();
        for _ in 0..=READERS {
            let read = readers.read(|_| -> Result<(), Error> { panic!("it is told to") });
            assert!(matches!(read.await, Err(Error::Database(_))));
        }
        let count = readers.read(|connection| {
            let count =
                connection.query_row("SELECT count(*) FROM a", [], |row| row.get::<_, i64>(0));
            count.map_err(database)
        });
        assert_eq!(count.await.unwrap(), 0);
    }

    #[test]
    fn a_read_that_takes_too_long_is_broken_off_and_the_next_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.db");
        Connection::open(&path)
            .unwrap()
            .execute_batch("CREATE TABLE a (b)")
            .unwrap();
        let reader = Reader::open(&path).unwrap();
        let count_to = |end: i64| {
            let sql = "WITH RECURSIVE c(x) AS (VALUES (1) UNION ALL SELECT x + 1 FROM c WHERE x < ?1) SELECT count(*) FROM c";
            move |connection: &Connection| -> Result<i64, Error> {
                let count = connection.query_row(sql, [end], |row| row.get(0));
                count.map_err(database)
            }
        };
        let endless = reader.read(Duration::from_millis(50), count_to(i64::MAX));
        assert!(matches!(endless, Err(Error::Busy)), "{endless:?}");
        let short = reader.read(READ_MAX, count_to(100_000));
        assert_eq!(short.unwrap(), 100_000);
    }
}

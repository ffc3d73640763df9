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

use super::{database, files::Files};
use crate::{
    Error,
    engines::Threads,
    reading::{Cost, Gates, LOOKUP_MAX, READ_MAX, Reading, Shares},
};

/// Connections: a few, since each holds a page cache and all share the disk. Of those for look-ups,
/// callers leave one to the server itself.
const SHARES: Shares = Shares {
    lookups: 3,
    callers: 2,
    lists: 4,
    expensive: 2,
    shared: 6,
};

/// KiB of pages that a connection for look-ups keeps in memory: the upper pages of a few indexes.
const LOOKUP_CACHE_KIB: i32 = 2 * 1_024;

/// How long the server's own reads may take, each a piece of some work: the write-ahead log grows
/// meanwhile.
const OWN_MAX: Duration = Duration::from_secs(30);

/// Steps of SQLite's machine between two looks at the time: a millisecond or so.
const LOOK_EVERY_STEPS: i32 = 10_000;

/// Looks that a statement of a page may bring: it reads some ten thousand rows meanwhile.
const PAGE_MAX_LOOKS: u64 = 40;

/// How much a read may cost.
#[derive(Clone, Copy)]
struct Limit {
    within: Duration,
    looks: u64,
}

impl Limit {
    fn of(reading: Reading) -> Self {
        match reading.cost {
            Cost::Lookup if !reading.is_own() => Self {
                within: LOOKUP_MAX,
                looks: u64::MAX,
            },
            Cost::Lookup | Cost::Background => Self {
                within: OWN_MAX,
                looks: u64::MAX,
            },
            Cost::Page => Self {
                within: READ_MAX,
                looks: PAGE_MAX_LOOKS,
            },
            Cost::Expensive => Self {
                within: READ_MAX,
                looks: u64::MAX,
            },
        }
    }
}

/// What a read has left.
#[derive(Default)]
struct Left {
    /// In milliseconds since the connection was opened.
    until_ms: AtomicU64,
    looks: AtomicU64,
    /// Set when the read was broken off.
    is_over: AtomicBool,
}

impl Left {
    /// Looks at it, and says whether the read is to be broken off.
    fn look(&self, now_ms: u64) -> bool {
        let looks = self.looks.load(Ordering::Relaxed);
        self.looks.store(looks.saturating_sub(1), Ordering::Relaxed);
        let is_over = looks == 0 || now_ms > self.until_ms.load(Ordering::Relaxed);
        self.is_over.fetch_or(is_over, Ordering::Relaxed);
        is_over
    }
}

/// A connection, and what its read may still cost.
struct Reader {
    connection: Connection,
    left: Arc<Left>,
    since: Instant,
    /// Kept for longer than the connection.
    _files: Arc<Files>,
}

impl Reader {
    fn open(path: &Path, files: Arc<Files>, cache_kib: i32) -> Result<Self, Error> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(path, flags).map_err(database)?;
        super::prepare_connection(&mut connection)?;
        connection
            .pragma_update(None, "cache_size", -cache_kib)
            .map_err(database)?;
        let (left, since) = (Arc::<Left>::default(), Instant::now());
        let watched = left.clone();
        connection
            .progress_handler(
                LOOK_EVERY_STEPS,
                Some(move || watched.look(elapsed_ms(since))),
            )
            .map_err(database)?;
        Ok(Self {
            connection,
            left,
            since,
            _files: files,
        })
    }

    /// Runs `look` in one transaction: all that one use case reads is of one moment.
    fn read<T>(
        &self,
        limit: Limit,
        look: impl FnOnce(&Connection) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let within_ms = u64::try_from(limit.within.as_millis()).unwrap_or(u64::MAX);
        let until_ms = elapsed_ms(self.since).saturating_add(within_ms);
        self.left.until_ms.store(until_ms, Ordering::Relaxed);
        self.left.looks.store(limit.looks, Ordering::Relaxed);
        self.left.is_over.store(false, Ordering::Relaxed);
        let transaction = self.connection.unchecked_transaction().map_err(database)?;
        let answer = look(&transaction);
        if self.left.is_over.load(Ordering::Relaxed) && answer.is_err() {
            return Err(Error::ReadTooLong);
        }
        answer
    }
}

fn elapsed_ms(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// Connections of one use that nobody reads with just now.
type Idle = Arc<Mutex<Vec<Reader>>>;

fn lock(idle: &Idle) -> std::sync::MutexGuard<'_, Vec<Reader>> {
    idle.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) struct Readers {
    gates: Gates,
    lookups: Idle,
    lists: Idle,
    is_closed: Arc<AtomicBool>,
    threads: Threads,
}

impl Readers {
    pub(super) fn open(path: &Path, files: &Arc<Files>, threads: Threads) -> Result<Self, Error> {
        let some = |count, cache_kib| -> Result<Idle, Error> {
            let readers = (0..count).map(|_| Reader::open(path, files.clone(), cache_kib));
            Ok(Arc::new(Mutex::new(readers.collect::<Result<_, _>>()?)))
        };
        Ok(Self {
            gates: Gates::new(SHARES),
            lookups: some(SHARES.lookups, LOOKUP_CACHE_KIB)?,
            lists: some(SHARES.lists, super::CACHE_KIB)?,
            is_closed: Arc::default(),
            threads,
        })
    }

    pub(super) async fn read<T: Send + 'static>(
        &self,
        reading: Reading,
        look: impl FnOnce(&Connection) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let permit = self.gates.enter(reading).await?;
        let idle = match reading.cost {
            Cost::Lookup => self.lookups.clone(),
            Cost::Page | Cost::Expensive | Cost::Background => self.lists.clone(),
        };
        let is_closed = self.is_closed.clone();
        let read = move || {
            let reader = lock(&idle).pop().ok_or(Error::Closed)?;
            let read = || reader.read(Limit::of(reading), look);
            // A read that panics takes no connection with it: its transaction has ended with it.
            let result = catch_unwind(AssertUnwindSafe(read));
            let mut idle = lock(&idle);
            if !is_closed.load(Ordering::Acquire) {
                idle.push(reader);
            }
            drop(idle);
            drop(permit);
            result.unwrap_or_else(|_| Err(Error::Database("a read panicked".to_owned())))
        };
        let answer = match self.threads {
            Threads::Caller => read(),
            Threads::Own => tokio::task::spawn_blocking(read)
                .await
                .map_err(|_| Error::Database("a read did not finish".to_owned()))?,
        };
        if matches!(answer, Err(Error::ReadTooLong)) && reading.cost != Cost::Page {
            let after_s = Limit::of(reading).within.as_secs();
            tracing::warn!(after_s, "a read took too long and is broken off");
        }
        match answer {
            // Nobody asked for too much: the disk does not keep up.
            Err(Error::ReadTooLong) if reading.cost == Cost::Lookup => Err(Error::Busy),
            answer => answer,
        }
    }

    pub(super) fn close(&self) {
        self.gates.close();
        for idle in [&self.lookups, &self.lists] {
            let mut idle = lock(idle);
            self.is_closed.store(true, Ordering::Release);
            idle.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn made(directory: &Path) -> (Connection, PathBuf, Arc<Files>) {
        let path = directory.join("a.db");
        let connection = super::super::connect(&path).unwrap();
        connection.execute_batch("CREATE TABLE a (b)").unwrap();
        let files = Files::of(&path).unwrap();
        (connection, path, files)
    }

    #[tokio::test]
    async fn a_read_that_panics_takes_no_connection_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let (_connection, path, files) = made(dir.path());
        let readers = Readers::open(&path, &files, Threads::Own).unwrap();
        let page = Reading {
            cost: Cost::Page,
            key: None,
        };
        for _ in 0..=SHARES.lists {
            let read = readers.read(page, |_| -> Result<(), Error> { panic!("it is told to") });
            assert!(matches!(read.await, Err(Error::Database(_))));
        }
        let count = readers.read(page, |connection| {
            let count =
                connection.query_row("SELECT count(*) FROM a", [], |row| row.get::<_, i64>(0));
            count.map_err(database)
        });
        assert_eq!(count.await.unwrap(), 0);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn callers_leave_a_connection_to_the_server_and_hold_theirs_for_a_second() {
        let dir = tempfile::tempdir().unwrap();
        let (_connection, path, files) = made(dir.path());
        let readers = Arc::new(Readers::open(&path, &files, Threads::Own).unwrap());
        let endless = |connection: &Connection| -> Result<i64, Error> {
            let sql = "WITH RECURSIVE c(x) AS (VALUES (1) UNION ALL SELECT x + 1 FROM c) SELECT max(x) FROM c";
            let endless = connection.query_row(sql, [], |row| row.get(0));
            endless.map_err(database)
        };
        struct Fixed(u8);
        impl model::Entropy for Fixed {
            fn bytes(&self) -> [u8; 16] {
                [self.0; 16]
            }
        }
        let callers: Vec<_> = (0..4)
            .map(|n| {
                let key = model::KeyId::new(model::Timestamp::ZERO, &Fixed(n));
                let reading = Reading {
                    cost: Cost::Lookup,
                    key: Some(key),
                };
                let readers = readers.clone();
                tokio::spawn(async move { readers.read(reading, endless).await })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(100)).await;
        let begun = Instant::now();
        let own = readers.read(Reading::OWN, |_| Ok(1)).await;
        assert_eq!(own.unwrap(), 1);
        assert!(begun.elapsed() < LOOKUP_MAX / 2, "{:?}", begun.elapsed());
        for one in callers {
            assert!(matches!(one.await.unwrap(), Err(Error::Busy)));
        }
    }

    #[test]
    fn a_read_that_costs_too_much_is_broken_off_and_the_next_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let (_connection, path, files) = made(dir.path());
        let reader = Reader::open(&path, files, LOOKUP_CACHE_KIB).unwrap();
        let count_to = |end: i64| {
            let sql = "WITH RECURSIVE c(x) AS (VALUES (1) UNION ALL SELECT x + 1 FROM c WHERE x < ?1) SELECT count(*) FROM c";
            move |connection: &Connection| -> Result<i64, Error> {
                let count = connection.query_row(sql, [end], |row| row.get(0));
                count.map_err(database)
            }
        };
        let of = |cost| Reading { cost, key: None };
        let short = Limit {
            within: Duration::from_millis(50),
            looks: u64::MAX,
        };
        let page = Limit {
            within: Duration::MAX,
            ..Limit::of(of(Cost::Page))
        };
        for limit in [short, page] {
            let endless = reader.read(limit, count_to(i64::MAX));
            assert!(matches!(endless, Err(Error::ReadTooLong)), "{endless:?}");
        }
        let next = reader.read(Limit::of(of(Cost::Page)), count_to(1_000));
        assert_eq!(next.unwrap(), 1_000);
        let long = reader.read(Limit::of(of(Cost::Expensive)), count_to(100_000));
        assert_eq!(long.unwrap(), 100_000);
    }
}

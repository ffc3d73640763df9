//! Connections that only read.
//!
//! Guarantee: a read sees one committed state and never waits for the writer, nor the writer for it.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use rusqlite::{Connection, OpenFlags};
use tokio::sync::Semaphore;

use super::database;
use crate::Error;

/// Reads under way at once: a few, since each holds a page cache and all share the disk.
const READERS: usize = 4;

pub(super) struct Readers {
    idle: Arc<Mutex<Vec<Connection>>>,
    permits: Arc<Semaphore>,
}

impl Readers {
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let mut idle = Vec::with_capacity(READERS);
        for _ in 0..READERS {
            let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let connection = Connection::open_with_flags(path, flags).map_err(database)?;
            super::prepare_connection(&connection)?;
            idle.push(connection);
        }
        Ok(Self {
            idle: Arc::new(Mutex::new(idle)),
            permits: Arc::new(Semaphore::new(READERS)),
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
        let idle = self.idle.clone();
        tokio::task::spawn_blocking(move || {
            let connection = idle
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .pop()
                .ok_or(Error::Closed)?;
            // One transaction: all that one use case reads is of one moment.
            let read = || {
                let transaction = connection.unchecked_transaction().map_err(database)?;
                look(&transaction)
            };
            // A read that panics takes no connection with it: its transaction has ended with it.
            let result = catch_unwind(AssertUnwindSafe(read));
            idle.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(connection);
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
        let readers = Readers::open(&path).unwrap();
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
}

//! Opens the store on one machine's disk.
//!
//! Guarantee: an open store has the schema of this version, names its master key, and knows which
//! open write goes before which.

use std::{path::Path, sync::Arc};

use model::Timestamp;
use rusqlite::{Connection, TransactionBehavior};

use crate::{
    Error, Observer, Sealer, Store,
    engines::{
        Engine, Threads, Transaction,
        db::{Db, values},
        sqlite::{self, Disk, database},
    },
    migrations::Migration,
    queue::order,
    records::terms,
    rotation::{self, Opening},
    stamp,
    time::Time,
};

/// Opens the store in the database at `path`, made when absent, and brings its schema up to date.
///
/// # Errors
/// When it cannot be opened, lacks commits, was written by a newer Portico, or is sealed under another master key.
pub fn open(
    path: &Path,
    sealer: Sealer,
    observer: Arc<dyn Observer>,
    now: Timestamp,
) -> Result<Store, Error> {
    open_for(path, Opening::Work, Threads::Own, sealer, observer, now)
}

/// The same, on the threads of its caller, within whose runtime it is opened.
///
/// # Errors
/// As [`open`].
pub fn open_on_caller(
    path: &Path,
    sealer: Sealer,
    observer: Arc<dyn Observer>,
    now: Timestamp,
) -> Result<Store, Error> {
    open_for(path, Opening::Work, Threads::Caller, sealer, observer, now)
}

/// The same to see whether the audit log is whole: it gets no entry by that.
///
/// # Errors
/// As [`open`].
pub fn open_to_verify(
    path: &Path,
    sealer: Sealer,
    observer: Arc<dyn Observer>,
    now: Timestamp,
) -> Result<Store, Error> {
    open_for(path, Opening::Verify, Threads::Own, sealer, observer, now)
}

fn open_for(
    path: &Path,
    opening: Opening,
    threads: Threads,
    sealer: Sealer,
    observer: Arc<dyn Observer>,
    now: Timestamp,
) -> Result<Store, Error> {
    let disk = Disk::open(path, observer, sealer.entropy(), threads, |connection| {
        sqlite::bring_up(connection, now)?;
        prepare(connection, &sealer, opening, now)
    })?;
    Ok(Store::new(Engine::Sqlite(disk), sealer))
}

/// Brings the schema of the database at `path`, made when absent, up to date. Returns the steps that were applied.
///
/// # Errors
/// When it cannot be opened, lacks commits, or was written by a newer Portico.
pub fn migrate(path: &Path, now: Timestamp) -> Result<&'static [Migration], Error> {
    sqlite::bring_up(&mut sqlite::connect(path)?, now)
}

/// Makes the store ready that a database is: the master key, what is derived from the rows, and what this process keeps in the connection's memory, where
/// it is never synced and still follows every rollback.
fn prepare(
    connection: &mut Connection,
    sealer: &Sealer,
    opening: Opening,
    now: Timestamp,
) -> Result<(), Error> {
    connection
        .pragma_update(None, "temp_store", "MEMORY")
        .map_err(database)?;
    // Most often it only reads. Else it has to be the only one that writes from its beginning on.
    match make_ready(
        connection,
        TransactionBehavior::Deferred,
        sealer,
        opening,
        now,
    ) {
        Err(Error::Busy) => make_ready(
            connection,
            TransactionBehavior::Immediate,
            sealer,
            opening,
            now,
        ),
        made => made,
    }
}

fn make_ready(
    connection: &mut Connection,
    behavior: TransactionBehavior,
    sealer: &Sealer,
    opening: Opening,
    now: Timestamp,
) -> Result<(), Error> {
    let transaction = connection
        .transaction_with_behavior(behavior)
        .map_err(database)?;
    let db = Db::Sqlite(&transaction);
    rotation::agree(&db, sealer, opening, now)?;
    terms::build(&Transaction::new(db, sealer.entropy(), Time::default()))?;
    order_make(&transaction)?;
    transaction
        .execute_batch("CREATE TEMP TABLE stamp (last INTEGER NOT NULL)")
        .map_err(database)?;
    db.execute(
        "INSERT INTO temp.stamp (last) VALUES (?1)",
        values![stamp::last(&db)?.as_micros()],
    )?;
    transaction.commit().map_err(database)
}

/// Makes the connection's own table of who goes before whom from the queue. The transaction is the caller's.
pub(crate) fn order_make(connection: &Connection) -> Result<(), Error> {
    connection
        .execute_batch(
            "CREATE TEMP TABLE queue_order (order_key INTEGER NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY (order_key, seq)) WITHOUT ROWID",
        )
        .map_err(database)?;
    let db = Db::Sqlite(connection);
    db.each("SELECT seq, order_keys FROM queue", &[], |row| {
        let (seq, keys): (i64, Vec<u8>) = (row.get(0)?, row.get(1)?);
        for key in order::read(&keys) {
            order::enter_one(&db, seq, key)?;
        }
        Ok(())
    })
}

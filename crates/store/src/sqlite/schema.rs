//! Brings a database's schema up to date.
//!
//! Guarantee: all steps in one transaction, or none.

use model::Timestamp;
use rusqlite::{Connection, TransactionBehavior, params};

use super::database;
use crate::{Error, migrations};

pub(super) fn migrate(connection: &mut Connection, now: Timestamp) -> Result<(), Error> {
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(database)?;
    transaction
        .execute_batch(
            "CREATE TABLE IF NOT EXISTS migrations (number INTEGER PRIMARY KEY, name TEXT NOT NULL, checksum TEXT NOT NULL, applied_at INTEGER NOT NULL)",
        )
        .map_err(database)?;
    let applied: Vec<(i64, String)> = transaction
        .prepare("SELECT number, checksum FROM migrations ORDER BY number")
        .and_then(|mut rows| {
            rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect()
        })
        .map_err(database)?;
    for step in migrations::pending(migrations::SQLITE, &applied).map_err(Error::Database)? {
        transaction.execute_batch(step.sql).map_err(database)?;
        transaction
            .execute(
                "INSERT INTO migrations (number, name, checksum, applied_at) VALUES (?1, ?2, ?3, ?4)",
                params![step.number, step.name, step.checksum(), now.as_micros()],
            )
            .map_err(database)?;
    }
    transaction.commit().map_err(database)
}

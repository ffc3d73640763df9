//! Brings a database's schema up to date.
//!
//! Guarantee: all steps in one transaction, or none; of several nodes that start at once one does it and the others wait.

use model::Timestamp;

use super::session::Session;
use crate::{
    Error, migrations,
    sql::db::{Db, values},
};

/// The lock that whoever changes the schema holds: a number of no meaning, for this alone.
const LOCK: i64 = 0x706f_7274_6963_6f31;

/// Applies what is missing. The transaction is the caller's.
pub(crate) fn migrate(session: &Session, now: Timestamp) -> Result<(), Error> {
    let db = Db::Postgres(session);
    db.one(
        "SELECT pg_advisory_xact_lock(?1) IS NULL",
        values![LOCK],
        |_| Ok(()),
    )?;
    session.run(
        "CREATE TABLE IF NOT EXISTS migrations (number BIGINT PRIMARY KEY, name TEXT NOT NULL, checksum TEXT NOT NULL, applied_at BIGINT NOT NULL)",
    )?;
    let applied: Vec<(i64, String)> = db.all(
        "SELECT number, checksum FROM migrations ORDER BY number",
        &[],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    let pending = migrations::pending(migrations::POSTGRES, &applied).map_err(Error::Database)?;
    for step in pending {
        session.run(step.sql)?;
        db.execute(
            "INSERT INTO migrations (number, name, checksum, applied_at) VALUES (?1, ?2, ?3, ?4)",
            values![step.number, step.name, step.checksum(), now.as_micros()],
        )?;
    }
    Ok(())
}

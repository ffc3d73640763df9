//! Brings a database's schema up to date.
//!
//! Guarantee: all steps in one transaction, or none; of several nodes that start at once one does it and the others wait.

use model::Timestamp;

use super::session::Session;
use crate::{
    Error,
    engines::db::{Db, values},
    migrations::{self, Applied, Migration},
};

/// The lock that whoever changes the schema holds: a number of no meaning, for this alone.
const LOCK: i64 = 0x706f_7274_6963_6f31;

/// Applies what is missing, and returns that. The transaction is the caller's.
pub(crate) fn migrate(session: &Session, now: Timestamp) -> Result<&'static [Migration], Error> {
    let db = Db::Postgres(session);
    // Looked at first: who may not change the schema may use one that is up to date.
    let missing = pending(&db)?;
    if missing.is_empty() {
        return Ok(missing);
    }
    apply(&db, session, now).map_err(|why| match why {
        Error::Database(why) => Error::Database(format!(
            "the schema is {} steps behind and could not be brought up to date: {why}; `portico store migrate` does that too, as a user who may change the schema",
            missing.len()
        )),
        why => why,
    })
}

fn apply(db: &Db<'_>, session: &Session, now: Timestamp) -> Result<&'static [Migration], Error> {
    db.one(
        "SELECT pg_advisory_xact_lock(?1) IS NULL",
        values![LOCK],
        |_| Ok(()),
    )?;
    // Another node may have been faster; and nothing is added to what is another application's.
    if !is_there(db)? {
        let tables = tables(db)?;
        if !tables.is_empty() {
            return Err(Error::Conflict(format!(
                "the database is not empty, and what it holds is not Portico's ({}, …); name a database of Portico's own",
                tables.join(", ")
            )));
        }
    }
    session.run(
        "CREATE TABLE IF NOT EXISTS migrations (number BIGINT PRIMARY KEY, name TEXT NOT NULL, checksum TEXT NOT NULL, applied_at BIGINT NOT NULL, needs BIGINT NOT NULL)",
    )?;
    let missing = pending(db)?;
    for step in missing {
        session.run(step.sql)?;
        db.execute(
            "INSERT INTO migrations (number, name, checksum, applied_at, needs) VALUES (?1, ?2, ?3, ?4, ?5)",
            values![step.number, step.name, step.checksum(), now.as_micros(), step.needs],
        )?;
    }
    Ok(missing)
}

/// Whether anything was ever kept here.
pub(crate) fn is_there(db: &Db<'_>) -> Result<bool, Error> {
    // Others have a table of that name too.
    db.one(
        "SELECT count(*) = 3 FROM pg_attribute WHERE attrelid = to_regclass('migrations') AND attname IN ('number', 'checksum', 'needs') AND NOT attisdropped",
        &[],
        |row| row.get(0),
    )
}

/// Some of the tables that there are, whosever they are.
pub(crate) fn tables(db: &Db<'_>) -> Result<Vec<String>, Error> {
    db.all(
        "SELECT CAST(relname AS TEXT) FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace WHERE n.nspname = current_schema() AND relkind IN ('r', 'p', 'v', 'm') ORDER BY 1 LIMIT 5",
        &[],
        |row| row.get(0),
    )
}

/// The steps that a database has.
pub(crate) fn applied(db: &Db<'_>) -> Result<Vec<Applied>, Error> {
    if !is_there(db)? {
        return Ok(Vec::new());
    }
    db.all(
        "SELECT number, checksum, needs FROM migrations ORDER BY number",
        &[],
        |row| {
            Ok(Applied {
                number: row.get(0)?,
                checksum: row.get(1)?,
                needs: row.get(2)?,
            })
        },
    )
}

/// The steps that are missing.
pub(crate) fn pending(db: &Db<'_>) -> Result<&'static [Migration], Error> {
    migrations::pending(migrations::POSTGRES, &applied(db)?).map_err(Error::Database)
}

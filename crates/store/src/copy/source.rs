//! The SQLite database that is copied.
//!
//! Guarantee: nobody changes it while it is read.

use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use crate::{
    Error,
    engines::sqlite::{self, database},
    inspect::sqlite as inspect,
    migrations, opening,
};

/// A SQLite database that stays as it is while this lives.
pub(super) struct Source(pub(super) Connection);

impl Source {
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let shown = path.display();
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(path, flags)
            .map_err(|why| Error::Database(format!("{shown} cannot be opened: {why}")))?;
        sqlite::prepare_connection(&mut connection)?;
        // Whoever else changes something, such as `portico keys`, waits, and what is read is of one moment.
        connection
            .execute_batch("BEGIN IMMEDIATE")
            .map_err(|why| match database(why) {
                Error::Busy => Error::Conflict(format!(
                    "another process is changing {shown}: let it end, and stop the server"
                )),
                why => why,
            })?;
        match inspect::schema(&connection)? {
            Ok(0) => {}
            Ok(all) if all == migrations::SQLITE.len() => {
                return Err(Error::Conflict(format!("{shown} holds no Portico data")));
            }
            Ok(_) => {
                return Err(Error::Conflict(format!(
                    "the schema of {shown} is an older one: bring it up to date with `portico store migrate`, or start this version's server on it once"
                )));
            }
            Err(why) => return Err(Error::Conflict(format!("{shown}: {why}"))),
        }
        opening::sqlite::order_make(&connection)?;
        Ok(Self(connection))
    }
}

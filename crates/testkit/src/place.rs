//! Where an app stores: on disk, or in a PostgreSQL database.
//!
//! `PORTICO_TEST_STORE=postgres` has all apps of a run store in PostgreSQL, a database each; else each has a directory.
//! Guarantee: a place is an app's own, and is gone when this is dropped. What it is asked is answered by either.

use std::{env, path::PathBuf, process::Command, sync::Arc};

use model::Timestamp;
use store::{
    Observer, Sealer, Store,
    migrations::{Migration, POSTGRES},
    postgres, sqlite,
};
use tempfile::TempDir;
use testbed::Database;

use crate::{Outcome, wrong};

/// Says which store apps have.
pub const STORE_VARIABLE: &str = "PORTICO_TEST_STORE";

/// Connections that read: what is read side by side needs two, and each costs a start of one of the server's processes.
const READERS: usize = 2;

/// Where an app stores.
pub enum Place {
    /// A data directory.
    Disk(TempDir),
    /// A database.
    Database(Database),
}

impl Place {
    /// An empty one, of the kind that the environment names.
    ///
    /// # Errors
    /// When it names another, or this machine has none.
    pub(crate) fn new() -> Outcome<Self> {
        match env::var(STORE_VARIABLE).unwrap_or_default().as_str() {
            "" | "sqlite" => Ok(Self::Disk(TempDir::new()?)),
            "postgres" => {
                // A copy of one whose schema was made once.
                let steps: String = POSTGRES.iter().map(Migration::checksum).collect();
                let database = Database::create_from(&steps, |url| {
                    postgres::migrate(&postgres::Place::new(url)?, Timestamp::ZERO)
                })?;
                let missing = format!("{STORE_VARIABLE}=postgres, and there is no PostgreSQL");
                Ok(Self::Database(database.ok_or(missing)?))
            }
            other => Err(wrong(format!(
                "{STORE_VARIABLE}={other}: it is `sqlite` or `postgres`"
            ))),
        }
    }

    /// Opens the store here: always the same.
    pub(crate) async fn open(
        &self,
        sealer: Sealer,
        observer: Arc<dyn Observer>,
        now: Timestamp,
    ) -> Outcome<Arc<Store>> {
        match self {
            Self::Disk(dir) => Ok(Arc::new(sqlite::open(&file(dir), sealer, observer, now)?)),
            Self::Database(database) => {
                let mut place = postgres::Place::new(database.socket_url())?;
                place.readers = READERS;
                let open = move || postgres::open(&place, sealer, observer, now).map(Arc::new);
                Ok(tokio::task::spawn_blocking(open).await??)
            }
        }
    }

    /// Runs one statement of SQL, past the store. Returns the first value of each row, as text: those of `RETURNING` say what was changed.
    ///
    /// # Errors
    /// When the database refuses it.
    pub fn query(&self, sql: &str) -> Outcome<Vec<String>> {
        match self {
            Self::Disk(dir) => {
                let database = rusqlite::Connection::open(file(dir))?;
                let mut statement = database.prepare(sql)?;
                let rows = statement.query_map([], |row| row.get(0))?;
                Ok(rows.collect::<Result<_, _>>()?)
            }
            Self::Database(database) => {
                let rows = database.query(sql)?;
                Ok(rows
                    .into_iter()
                    .filter_map(|row| row.into_iter().next())
                    .collect())
            }
        }
    }

    /// All that it holds, byte for byte, in named parts: the files of the directory, or the tables of the database. What PostgreSQL has not yet taken out of its own files
    /// is not among it.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn contents(&self) -> Outcome<Vec<(String, Vec<u8>)>> {
        match self {
            Self::Disk(dir) => files(dir),
            Self::Database(database) => tables(database),
        }
    }
}

fn file(dir: &TempDir) -> PathBuf {
    dir.path().join("portico.db")
}

/// Another process reads the files: in this one, closing any of them would let go of the locks that SQLite holds on it.
fn files(dir: &TempDir) -> Outcome<Vec<(String, Vec<u8>)>> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        let bytes = Command::new("cat").arg(&path).output()?.stdout;
        all.push((path.display().to_string(), bytes));
    }
    Ok(all)
}

fn tables(database: &Database) -> Outcome<Vec<(String, Vec<u8>)>> {
    // Bytes are shown as the text that they may be.
    let columns = database.query(
        "SELECT table_name, string_agg(CASE data_type WHEN 'bytea' THEN format('encode(%I, ''escape'')', column_name) ELSE format('%I::text', column_name) END, ', ') \
         FROM information_schema.columns WHERE table_schema = 'public' GROUP BY table_name",
    )?;
    let mut all = Vec::new();
    for row in columns {
        let [table, columns] = row.as_slice() else {
            return Err(wrong("a table and its columns"));
        };
        let rows = database.query(&format!("SELECT {columns} FROM {table}"))?;
        all.push((
            table.clone(),
            rows.into_iter()
                .flatten()
                .collect::<Vec<_>>()
                .join("\n")
                .into_bytes(),
        ));
    }
    Ok(all)
}

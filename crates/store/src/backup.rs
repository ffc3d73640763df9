//! A copy of a database in one file, made while a server goes on.
//!
//! SQLite's `VACUUM INTO`: one transaction that reads, so that writers do not wait for it and it always ends. It writes rows, not pages: what was removed is in no page of
//! the copy. Why not SQLite's online backup: between two of its steps any commit of another process makes it begin anew; in one step it holds the same transaction as long, and copies free pages and what is
//! left between rows too. Guarantee: the copy is of one moment, has all that was committed before [`Source::open`] returned, and was found sound; the database itself is not changed. The master
//! key is not in it.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use model::{Timestamp, record::Kind};
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension};

use crate::{
    Error,
    engines::{
        db::Db,
        sqlite::{
            self, database,
            room::{self, Space},
        },
    },
    inspect::sqlite as inspect,
    master_key, migrations,
    sealing::MasterKeyId,
};

/// Steps of SQLite's machine between two looks at whether to stop: a millisecond or so.
const STOP_EVERY_STEPS: i32 = 10_000;

/// How often it is looked how much is free on the database's disk.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// A database that can be copied.
pub struct Source {
    connection: Connection,
    /// Steps of the schema that are not applied yet.
    schema_behind: usize,
    /// The place of the newest write, if there is one.
    newest: Option<i64>,
    stop: Arc<AtomicBool>,
    /// Set when copying ends since the write-ahead log, which grows as long as it lasts, has filled the disk.
    gives_way: Arc<AtomicBool>,
}

/// What is in a copy.
pub struct Contents {
    /// Accepted writes.
    pub writes: u64,
    /// Prospects.
    pub prospects: u64,
    /// When the newest of the writes was accepted; none without writes.
    pub newest_accepted_at: Option<Timestamp>,
    /// Steps of the schema that the next start on it will apply.
    pub schema_behind: usize,
    /// The master keys that it takes to open the secrets in it. Unknown, and empty, where the schema is behind.
    pub master_keys: Vec<MasterKeyId>,
}

impl Source {
    /// Opens the database at `path`. Once `stop` is set, copying ends with an error within moments.
    ///
    /// # Errors
    /// When it cannot be read. [`Error::Conflict`] when it is not Portico's or was written by a newer Portico.
    pub fn open(path: &Path, stop: Arc<AtomicBool>) -> Result<Self, Error> {
        let gives_way = Arc::<AtomicBool>::default();
        let connection = open(path, &stop, Some(&gives_way))?;
        let schema_behind = match inspect::schema(&connection)? {
            Ok(all) if all == migrations::SQLITE.len() => {
                let shown = path.display();
                return Err(Error::Conflict(format!("{shown} holds no Portico data")));
            }
            Ok(behind) => behind,
            Err(why) => return Err(Error::Conflict(why)),
        };
        Ok(Self {
            schema_behind,
            newest: newest(&connection)?.map(|(seq, _)| seq),
            connection,
            stop,
            gives_way,
        })
    }

    /// Bytes that a copy takes, or fewer.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn bytes_max(&self) -> Result<u64, Error> {
        let number = |name: &str| -> Result<u64, Error> {
            let number: i64 = self
                .connection
                .pragma_query_value(None, name, |row| row.get(0))
                .map_err(database)?;
            Ok(number.unsigned_abs())
        };
        let used = number("page_count")?.saturating_sub(number("freelist_count")?);
        Ok(used * number("page_size")?)
    }

    /// Copies it to `to`, which must not be there yet, and looks through the copy. On an error something may be left at `to`, and beside it.
    ///
    /// # Errors
    /// When it cannot be read or `to` cannot be written, the copy is not what was copied, or it was to stop.
    pub fn copy(&self, to: &Path) -> Result<Contents, Error> {
        let shown = to.display();
        let name = to
            .to_str()
            .ok_or_else(|| Error::Database(format!("{shown} is no name in UTF-8")))?;
        sqlite::private(to)
            .map_err(|why| Error::Database(format!("{shown} cannot be made: {why}")))?;
        self.connection
            .execute("VACUUM INTO ?1", [name])
            .map_err(|why| self.broken_off(why))?;
        let copy = open(to, &self.stop, None)?;
        let damages = inspect::damages(&copy).map_err(database)?;
        if !damages.is_empty() {
            return Err(Error::Corrupt(format!(
                "the copy is damaged: {}",
                damages.join("; ")
            )));
        }
        let (newest, newest_accepted_at) = newest(&copy)?.unzip();
        if inspect::schema(&copy)? != Ok(self.schema_behind) || newest < self.newest {
            return Err(Error::Corrupt("the copy is not all of it".to_owned()));
        }
        let mut master_keys = Vec::new();
        if self.schema_behind == 0 {
            master_keys = master_key::in_use(&Db::Sqlite(&copy))?;
            master_keys.extend(master_key::recorded(&Db::Sqlite(&copy))?);
            master_keys.sort_unstable();
            master_keys.dedup();
        }
        Ok(Contents {
            writes: count(&copy, "SELECT count(*) FROM writes", &[])?,
            prospects: count(
                &copy,
                "SELECT count(*) FROM records WHERE kind = ?1",
                &[Kind::Prospect.word()],
            )?,
            newest_accepted_at,
            schema_behind: self.schema_behind,
            master_keys,
        })
    }
}

impl Source {
    fn broken_off(&self, why: rusqlite::Error) -> Error {
        if self.gives_way.load(Ordering::Relaxed) {
            return Error::Conflict(
                "the database's disk is nearly full, and the server's write-ahead log grows as long as a backup lasts: free space on it, or make the backup when less comes in"
                    .to_owned(),
            );
        }
        match why.sqlite_error_code() {
            // The disk of the copy, which may be another one.
            Some(ErrorCode::DiskFull) => Error::Database(why.to_string()),
            _ => database(why),
        }
    }
}

/// Opens it to be read only. With `gives_way`, a read ends and sets that when the space on its disk is used up. With no log beside it SQLite makes an empty one in which readers and a writer that comes meanwhile find each other.
fn open(
    path: &Path,
    stop: &Arc<AtomicBool>,
    gives_way: Option<&Arc<AtomicBool>>,
) -> Result<Connection, Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags).map_err(database)?;
    sqlite::prepare_connection(&mut connection)?;
    let (stop, gives_way) = (stop.clone(), gives_way.cloned());
    let (directory, mut looked_at) = (room::directory(path).to_owned(), Instant::now());
    let is_to_end = move || {
        if let Some(gives_way) = &gives_way
            && looked_at.elapsed() >= LOOK_EVERY
        {
            looked_at = Instant::now();
            let is_used_up = Space::of(&directory).is_some_and(Space::is_used_up);
            gives_way.fetch_or(is_used_up, Ordering::Relaxed);
            if is_used_up {
                return true;
            }
        }
        stop.load(Ordering::Relaxed)
    };
    connection
        .progress_handler(STOP_EVERY_STEPS, Some(is_to_end))
        .map_err(database)?;
    Ok(connection)
}

/// The place of the newest write, and when it was accepted.
fn newest(connection: &Connection) -> Result<Option<(i64, Timestamp)>, Error> {
    connection
        .query_row(
            "SELECT seq, accepted_at FROM writes ORDER BY seq DESC LIMIT 1",
            [],
            |row| Ok((row.get(0)?, Timestamp::from_micros(row.get(1)?))),
        )
        .optional()
        .map_err(database)
}

fn count(connection: &Connection, sql: &str, values: &[&str]) -> Result<u64, Error> {
    let count: i64 = connection
        .query_row(sql, rusqlite::params_from_iter(values), |row| row.get(0))
        .map_err(database)?;
    Ok(count.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, os::unix::fs::PermissionsExt};

    use rusqlite::params;

    use super::*;

    const ROWS: i64 = 2_000;

    fn go_on() -> Arc<AtomicBool> {
        Arc::default()
    }

    /// A database as the server keeps it, with writes of which some are in the log only.
    fn kept(path: &Path) -> Connection {
        let mut connection = Connection::open(path).unwrap();
        connection
            .execute_batch(
                "PRAGMA page_size = 8192; PRAGMA journal_mode = WAL; PRAGMA secure_delete = ON",
            )
            .unwrap();
        sqlite::schema::migrate(&mut connection, Timestamp::from_micros(7)).unwrap();
        connection
            .execute(
                "INSERT INTO integrations (n, id, vendor, active, credential, body, created_at, updated_at) VALUES (1, 'a', 'KNOCK', 1, x'020303030303030303', '{}', 0, 0)",
                [],
            )
            .unwrap();
        connection.execute_batch("BEGIN").unwrap();
        for seq in 1..=ROWS {
            write(&connection, seq);
        }
        connection.execute_batch("COMMIT").unwrap();
        connection
    }

    fn write(connection: &Connection, seq: i64) {
        connection
            .execute(
                "INSERT INTO writes (seq, job_id, lane, community_id, operation, accepted_at, result, request, status)
                 VALUES (?1, 'job_' || ?1, 1, 'com', 'prospect_create', ?1, '', 'person' || ?1 || '@x', 'PENDING')",
                params![seq],
            )
            .unwrap();
    }

    fn names(dir: &Path) -> Vec<String> {
        let listing = std::fs::read_dir(dir).unwrap();
        let mut names: Vec<_> = listing
            .map(|one| one.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn a_copy_is_of_one_moment_and_has_what_is_in_the_log() {
        let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let path = dir.path().join("portico.db");
        let connection = kept(&path);
        let source = Source::open(&path, go_on()).unwrap();
        // What is committed after it was opened and before it is copied is in it; what is committed afterwards is not.
        write(&connection, ROWS + 1);
        let to = other.path().join("it's a%20'copy'?.db");
        let contents = source.copy(&to).unwrap();
        write(&connection, ROWS + 2);
        assert_eq!((contents.writes, contents.prospects), (2_001, 0));
        assert_eq!(
            contents.newest_accepted_at,
            Some(Timestamp::from_micros(ROWS + 1))
        );
        assert_eq!(contents.schema_behind, 0);
        assert_eq!(contents.master_keys.len(), 1);
        assert_eq!(names(other.path()), ["it's a%20'copy'?.db"]);
        let metadata = std::fs::metadata(&to).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
        assert!(metadata.len() <= source.bytes_max().unwrap());
        let copy = Connection::open(&to).unwrap();
        let asked = |name: &str| -> String {
            copy.query_row(
                &format!("SELECT CAST({name} AS TEXT) FROM pragma_{name}"),
                [],
                |row| row.get(0),
            )
            .unwrap()
        };
        // Not in WAL mode: one file is all of it. The server sets the mode when it opens it.
        assert_eq!(
            (asked("page_size"), asked("journal_mode")),
            ("8192".to_owned(), "delete".to_owned())
        );
        assert!(
            copy.execute("DELETE FROM writes WHERE seq = 1", []).is_ok(),
            "it can be written to"
        );
        assert!(source.copy(&to).is_err(), "a file that is there stays");
    }

    #[test]
    fn what_was_removed_is_not_in_a_copy() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("portico.db");
        let connection = kept(&path);
        // As an older Portico did, which overwrote nothing.
        connection
            .execute_batch(
                "PRAGMA secure_delete = OFF; DELETE FROM writes WHERE seq % 2 = 1; PRAGMA wal_checkpoint(TRUNCATE)",
            )
            .unwrap();
        // Read once: looking for each of a thousand persons by itself takes half a minute.
        let persons = |path: &Path| -> BTreeSet<String> {
            let bytes = std::fs::read(path).unwrap();
            let text = String::from_utf8_lossy(&bytes);
            let found = text.split("person").skip(1);
            found
                .filter_map(|rest| rest.split_once("@x"))
                .map(|(number, _)| number.to_owned())
                .collect()
        };
        let to = dir.path().join("copy.db");
        let contents = Source::open(&path, go_on()).unwrap().copy(&to).unwrap();
        assert_eq!(contents.writes, 1_000);
        assert!(
            persons(&path).contains("777"),
            "the test would show nothing"
        );
        let left = persons(&to);
        for seq in 1..ROWS {
            assert_eq!(left.contains(&seq.to_string()), seq % 2 == 0, "{seq}");
        }
    }

    #[test]
    fn a_database_is_copied_whatever_is_beside_it_and_stays_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("portico.db");
        drop(kept(&path));
        assert_eq!(names(dir.path()), ["portico.db"], "nobody has it open");
        let before = std::fs::read(&path).unwrap();
        let source = Source::open(&path, go_on()).unwrap();
        assert_eq!(
            source.copy(&dir.path().join("copy.db")).unwrap().writes,
            2_000
        );
        drop(source);
        assert!(std::fs::read(&path).unwrap() == before);
        // An empty log is left, which stands in nobody's way.
        let connection = Connection::open(&path).unwrap();
        write(&connection, ROWS + 1);
    }

    #[test]
    fn an_older_schema_is_copied_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("portico.db");
        let old = Connection::open(&path).unwrap();
        let first = &migrations::SQLITE[0];
        old.execute_batch(first.sql).unwrap();
        old.execute_batch("CREATE TABLE migrations (number INTEGER PRIMARY KEY, name TEXT NOT NULL, checksum TEXT NOT NULL, applied_at INTEGER NOT NULL)").unwrap();
        old.execute(
            "INSERT INTO migrations VALUES (1, ?1, ?2, 0)",
            [first.name, &first.checksum()],
        )
        .unwrap();
        let source = Source::open(&path, go_on()).unwrap();
        let contents = source.copy(&dir.path().join("copy.db")).unwrap();
        assert_eq!(contents.schema_behind, migrations::SQLITE.len() - 1);
        assert_eq!((contents.writes, contents.newest_accepted_at), (0, None));
        assert!(contents.master_keys.is_empty());
    }

    #[test]
    fn what_is_not_to_be_copied_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("portico.db");
        let refused = || match Source::open(&path, go_on()) {
            Ok(_) => panic!("it is refused"),
            Err(why) => why.to_string(),
        };
        assert!(refused().contains("unable to open"), "there is none");
        assert!(names(dir.path()).is_empty(), "none is made");
        std::fs::write(&path, "").unwrap();
        assert!(refused().contains("holds no Portico data"));
        std::fs::write(&path, "no database, but a text of some length".repeat(99)).unwrap();
        assert!(refused().contains("not a database"));
        std::fs::remove_file(&path).unwrap();
        let connection = kept(&path);
        connection
            .execute("INSERT INTO migrations VALUES (99, 'later', 'x', 0)", [])
            .unwrap();
        assert!(refused().contains("newer Portico"));
    }

    #[test]
    fn copying_can_be_stopped() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("portico.db");
        let _connection = kept(&path);
        let stop = go_on();
        let source = Source::open(&path, stop.clone()).unwrap();
        stop.store(true, Ordering::Relaxed);
        let to = dir.path().join("copy.db");
        assert!(
            source
                .copy(&to)
                .is_err_and(|why| why.to_string().contains("interrupted"))
        );
        std::fs::remove_file(&to).unwrap();
        stop.store(false, Ordering::Relaxed);
        assert!(source.copy(&to).is_ok());
    }

    #[test]
    fn a_damaged_database_is_no_backup() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("portico.db");
        drop(kept(&path));
        let mut bytes = std::fs::read(&path).unwrap();
        let half = bytes.len() / 2;
        bytes[half..].fill(0x5a);
        std::fs::write(&path, bytes).unwrap();
        let source = Source::open(&path, go_on());
        assert!(
            source
                .and_then(|source| source.copy(&dir.path().join("copy.db")))
                .is_err()
        );
    }
}

//! A look at a database, for who asks what is wrong with it.
//!
//! Guarantee: nothing is changed and nobody is kept waiting, whether a server has it open or not; what cannot be read is told beside what can. It ends in time.

use std::{
    path::{Path, PathBuf},
    sync::mpsc,
    time::Duration,
};

use model::Timestamp;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::{database, schema};
pub use crate::sql::inspect::Data;
use crate::{
    Error, migrations,
    sql::{db::Db, inspect::look},
};

/// Damages that are told: the first ones say enough.
const DAMAGES_MAX: u32 = 3;

/// What was seen.
pub struct Inspection {
    /// Steps of the schema that the next start will apply; or why it will be refused, in words.
    pub schema: Result<usize, String>,
    /// Whether the file is sound.
    pub soundness: Soundness,
    /// What is in it. Nothing when the schema is not the one of this program.
    pub data: Option<Result<Data, Error>>,
}

/// Whether a database file is sound.
pub enum Soundness {
    /// It is.
    Sound,
    /// It is not: the first damages, in SQLite's words.
    Damaged(Vec<String>),
    /// There was not the time to find out; as far as it was looked, it is.
    Unknown,
}

/// Looks at the database at `path`: at its soundness for as long as `within`, and at up to `base_urls_max` places of vendors.
///
/// # Errors
/// When it cannot be opened.
pub fn inspect(
    path: &Path,
    within: Duration,
    base_urls_max: u32,
    now: Timestamp,
) -> Result<Inspection, Error> {
    let connection = open(path)?;
    super::prepare_connection(&connection)?;
    let soundness = soundness(&connection, within)?;
    let schema = schema(&connection)?;
    let data = (schema == Ok(0)).then(|| look(&Db::Sqlite(&connection), base_urls_max, now));
    Ok(Inspection {
        schema,
        soundness,
        data,
    })
}

/// With nothing in the log beside it the file is complete, and is read as if nobody could change it: else SQLite would make a log to look at. (A server that
/// has just started changes the file itself only after tens of MB of log.)
fn open(path: &Path) -> Result<Connection, Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    let has_log = std::fs::metadata(PathBuf::from(log)).is_ok_and(|log| log.len() > 0);
    match path.to_str() {
        Some(text) if !has_log => {
            let text = text
                .replace('%', "%25")
                .replace('?', "%3f")
                .replace('#', "%23");
            let flags = flags | OpenFlags::SQLITE_OPEN_URI;
            Connection::open_with_flags(format!("file:{text}?immutable=1"), flags)
        }
        _ => Connection::open_with_flags(path, flags),
    }
    .map_err(database)
}

fn soundness(connection: &Connection, within: Duration) -> Result<Soundness, Error> {
    let interrupt = connection.get_interrupt_handle();
    let (ended, end) = mpsc::channel::<()>();
    let timer = std::thread::spawn(move || {
        if end.recv_timeout(within) == Err(mpsc::RecvTimeoutError::Timeout) {
            interrupt.interrupt();
        }
    });
    let found = damages(connection);
    drop(ended);
    let _ = timer.join();
    match found {
        Ok(found) if found.is_empty() => Ok(Soundness::Sound),
        Ok(found) => Ok(Soundness::Damaged(found)),
        Err(why) => match why.sqlite_error_code() {
            Some(ErrorCode::OperationInterrupted) => Ok(Soundness::Unknown),
            _ => Err(database(why)),
        },
    }
}

/// The first damages, in SQLite's words; none when it is sound.
pub(super) fn damages(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let found: rusqlite::Result<Vec<String>> = connection
        .prepare(&format!("PRAGMA quick_check({DAMAGES_MAX})"))
        .and_then(|mut sql| sql.query_map([], |row| row.get(0))?.collect());
    match found {
        Ok(found) if found.iter().all(|one| one == "ok") => Ok(Vec::new()),
        Err(why) if why.sqlite_error_code() == Some(ErrorCode::DatabaseCorrupt) => {
            Ok(vec![why.to_string()])
        }
        found => found,
    }
}

/// Steps of the schema that are still to apply; or why the database is refused, in words.
pub(crate) fn schema(connection: &Connection) -> Result<Result<usize, String>, Error> {
    let is_new: bool = connection
        .query_row(
            "SELECT NOT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'migrations')",
            [],
            |row| row.get(0),
        )
        .map_err(database)?;
    let applied = if is_new {
        Vec::new()
    } else {
        schema::applied(connection)?
    };
    Ok(migrations::pending(migrations::SQLITE, &applied).map(<[_]>::len))
}

#[cfg(test)]
mod tests {
    use rusqlite::params;

    use super::*;

    const WITHIN: Duration = Duration::from_secs(60);

    fn migrated(path: &Path) -> Connection {
        let mut connection = Connection::open(path).unwrap();
        connection
            .pragma_update(None, "journal_mode", "WAL")
            .unwrap();
        schema::migrate(&mut connection, Timestamp::from_micros(7)).unwrap();
        connection
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
    fn a_database_is_looked_at_open_or_closed_and_stays_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        // What a path may have and a URI may not.
        let path = dir.path().join("a?b#c%20.db");
        assert!(
            inspect(&path, WITHIN, 1, Timestamp::ZERO).is_err(),
            "there is none"
        );
        assert!(names(dir.path()).is_empty());
        let connection = migrated(&path);
        for (n, active, url) in [
            (1, true, "http://one"),
            (2, true, "http://one"),
            (3, false, "http://two"),
        ] {
            let body = format!(r#"{{"settings":{{"base_url":"{url}"}}}}"#);
            connection
                .execute(
                    "INSERT INTO integrations (n, id, vendor, active, credential, body, created_at, updated_at) VALUES (?1, ?1, 'KNOCK', ?2, ?4, ?3, 0, 0)",
                    params![n, active, body, [&[2_u8][..], &[n; 8]].concat()],
                )
                .unwrap();
        }
        let check = || {
            let before = names(dir.path());
            let seen = inspect(&path, WITHIN, 10, Timestamp::ZERO).unwrap();
            assert_eq!(names(dir.path()), before);
            assert!(matches!(seen.soundness, Soundness::Sound));
            assert_eq!(seen.schema, Ok(0));
            let data = seen.data.unwrap().unwrap();
            assert_eq!((data.keys, data.active), (0, 2));
            assert_eq!(data.base_urls, ["http://one"]);
            assert_eq!(data.newest_at.as_micros(), 7);
            assert_eq!((data.master_key, data.sealed_under.len()), (None, 3));
        };
        check();
        drop(connection);
        assert_eq!(names(dir.path()), ["a?b#c%20.db"]);
        check();
    }

    #[test]
    fn what_is_wrong_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("portico.db");
        let connection = migrated(&path);
        connection
            .execute("INSERT INTO migrations VALUES (99, 'later', 'x', 0)", [])
            .unwrap();
        let newer = inspect(&path, WITHIN, 1, Timestamp::ZERO).unwrap();
        assert!(newer.schema.is_err_and(|why| why.contains("newer Portico")));
        assert!(newer.data.is_none());
        connection
            .execute("DELETE FROM migrations WHERE number > 1", [])
            .unwrap();
        let older = inspect(&path, WITHIN, 1, Timestamp::ZERO).unwrap();
        assert!(
            older
                .schema
                .is_ok_and(|steps| steps == migrations::SQLITE.len() - 1)
        );
        drop(connection);

        let whole = std::fs::read(&path).unwrap();
        let mut damaged = whole.clone();
        // Behind the first page, which has the schema.
        for byte in &mut damaged[4_096..] {
            *byte = 0x5a;
        }
        std::fs::write(&path, damaged).unwrap();
        let seen = inspect(&path, WITHIN, 1, Timestamp::ZERO);
        assert!(
            seen.is_err() || seen.is_ok_and(|seen| matches!(seen.soundness, Soundness::Damaged(_)))
        );
        std::fs::write(&path, "no database, but a text of some length").unwrap();
        assert!(inspect(&path, WITHIN, 1, Timestamp::ZERO).is_err());
    }
}

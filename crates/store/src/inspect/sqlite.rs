//! Looks at a database for `portico doctor`.
//!
//! Guarantee: nothing is changed and nobody is kept waiting, whether a server has the database open or not. It ends in time.
//!
//! SQLite lets a reader see one moment of a database that others change, but it needs a file of notes for that (`-shm`), which
//! it makes when it is missing. So that nothing is made beside a database that nobody has open, that one is read without
//! locks, as a file that nobody changes. Whether that was so is checked afterwards; if not, the look is repeated.

use std::{
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::mpsc,
    time::Duration,
};

use model::Timestamp;
use rusqlite::{Connection, ErrorCode, OpenFlags};

pub use crate::inspect::{Data, Misread};
use crate::{
    Error,
    engines::{
        db::Db,
        sqlite::{
            self, database,
            note::{self, Number},
            schema,
        },
    },
    inspect::look,
    migrations,
};

/// Damages that are told: the first ones say enough.
const DAMAGES_MAX: u32 = 3;

/// Looks that somebody's opening or closing of the database may spoil. Each takes as long as the database is large.
const LOOKS_MAX: u32 = 5;

/// The step of the clock that stamps files: two changes within it cannot be told apart.
const FILE_TIME_STEP: Duration = Duration::from_millis(20);

/// What was seen.
pub struct Inspection {
    /// Steps of the schema that the next start will apply; or why it will be refused, in words.
    pub schema: Result<usize, String>,
    /// Whether the file is sound.
    pub soundness: Soundness,
    /// What is in it. Nothing when the schema is not the one of this program.
    pub data: Option<Result<Data, Error>>,
    /// Commits that were answered and are not in it: the next start will be refused.
    pub missing_commits: u32,
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

/// Looks at the database at `path`: at its soundness for as long as `within`, and at up to `vendors_max` vendors and places of them.
///
/// # Errors
/// When it cannot be opened or read, though what was read of it is sound: rights are missing, or the disk fails.
pub fn inspect(
    path: &Path,
    within: Duration,
    vendors_max: u32,
    now: Timestamp,
) -> Result<Inspection, Error> {
    let look = |opening| look_once(path, opening, within, vendors_max, now);
    for _ in 0..LOOKS_MAX {
        let Some(before) = untouched(path) else {
            return look(Opening::Shared);
        };
        let seen = look(Opening::Alone);
        if untouched(path) == Some(before) {
            return seen;
        }
    }
    // Somebody opens and closes it all the time: then the files that SQLite needs are made anyway.
    look(Opening::Shared)
}

/// How a database is opened.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Opening {
    /// With SQLite's locks, beside others.
    Shared,
    /// Without locks: nobody else has it open.
    Alone,
}

/// True if SQLite found what is no sound database, rather than nothing to read.
fn is_damage(why: &rusqlite::Error) -> bool {
    matches!(
        why.sqlite_error_code(),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
    )
}

fn look_once(
    path: &Path,
    opening: Opening,
    within: Duration,
    vendors_max: u32,
    now: Timestamp,
) -> Result<Inspection, Error> {
    // First: a server that runs meanwhile only adds to the database.
    let noted = note::noted(path);
    let found = open(path, opening).and_then(|connection| {
        let soundness = soundness(&connection, within)?;
        Ok((connection, soundness))
    });
    let (mut connection, soundness) = match found {
        Ok(found) => found,
        Err(why) if is_damage(&why) => {
            return Ok(Inspection {
                schema: Ok(0),
                soundness: Soundness::Damaged(vec![why.to_string()]),
                data: None,
                missing_commits: 0,
            });
        }
        Err(why) => return Err(database(why)),
    };
    if let Soundness::Damaged(_) = soundness {
        return Ok(Inspection {
            schema: Ok(0),
            soundness,
            data: None,
            missing_commits: 0,
        });
    }
    sqlite::prepare_connection(&mut connection)?;
    // One transaction: all that is told of the data is of one moment.
    let transaction = connection.unchecked_transaction().map_err(database)?;
    let schema = schema(&transaction)?;
    let data = (schema == Ok(0)).then(|| look(&Db::Sqlite(&transaction), vendors_max, now));
    let stored = Number::of(&transaction)?;
    let missing_commits = noted.map_or(0, |noted| stored.missing(noted));
    drop(transaction);
    Ok(Inspection {
        schema,
        soundness,
        data,
        missing_commits,
    })
}

/// A file beside the database that SQLite names after it.
fn companion(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}

/// Marks the content of a database that nobody has open; `None` for one that somebody has open, or had when it was killed.
///
/// A connection makes the notes (`-shm`) before it changes anything, and the last one removes them when it closes. The database
/// itself changes only when a log is folded into it, which changes the time of the file.
fn untouched(path: &Path) -> Option<[i128; 4]> {
    let mark = || {
        let file = std::fs::metadata(path).ok()?;
        let changed_ns = i128::from(file.mtime()) * 1_000_000_000 + i128::from(file.mtime_nsec());
        let [device, number, bytes] = [file.dev(), file.ino(), file.len()].map(i128::from);
        Some([device, number, bytes, changed_ns])
    };
    let before = mark()?;
    std::thread::sleep(FILE_TIME_STEP);
    let is_there = |end| companion(path, end).symlink_metadata().is_ok();
    let is_open = ["-shm", "-wal", "-journal"].into_iter().any(is_there);
    // A change within the step before and one after it could have the same time.
    (!is_open && mark() == Some(before)).then_some(before)
}

fn open(path: &Path, opening: Opening) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = match path.to_str() {
        Some(text) if opening == Opening::Alone => {
            let text = text
                .replace('%', "%25")
                .replace('?', "%3f")
                .replace('#', "%23");
            let flags = flags | OpenFlags::SQLITE_OPEN_URI;
            Connection::open_with_flags(format!("file:{text}?immutable=1"), flags)
        }
        _ => Connection::open_with_flags(path, flags),
    }?;
    sqlite::wait_for_others(&mut connection)?;
    Ok(connection)
}

fn soundness(connection: &Connection, within: Duration) -> rusqlite::Result<Soundness> {
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
            _ => Err(why),
        },
    }
}

/// The first damages, in SQLite's words; none when it is sound.
pub(crate) fn damages(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let found: rusqlite::Result<Vec<String>> = connection
        .prepare(&format!("PRAGMA quick_check({DAMAGES_MAX})"))
        .and_then(|mut sql| sql.query_map([], |row| row.get(0))?.collect());
    match found {
        Ok(found) if found.iter().all(|one| one == "ok") => Ok(Vec::new()),
        Err(why) if is_damage(&why) => Ok(vec![why.to_string()]),
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
    use std::sync::atomic::{AtomicBool, Ordering};

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
            assert_eq!(data.vendors, ["KNOCK"]);
            assert_eq!(data.newest_at.as_micros(), 7);
            assert_eq!((data.master_key, data.sealed_under.len()), (None, 3));
        };
        check();
        drop(connection);
        assert_eq!(names(dir.path()), ["a?b#c%20.db"]);
        check();
    }

    /// The fault: a closing command emptied the log while the server wrote, and what was half folded in was read.
    #[test]
    fn a_database_that_others_open_change_and_close_is_never_called_damaged() {
        const LOOKS: u32 = 150;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("portico.db");
        let server = migrated(&path);
        server
            .execute_batch(
                "CREATE TABLE rows (n INTEGER PRIMARY KEY, t TEXT); CREATE INDEX t ON rows (t)",
            )
            .unwrap();
        drop(server);
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            // Some stay open, some are the last that closes, and the log is folded in and emptied all the time.
            for seed in 0..2_u64 {
                let (path, is_over) = (&path, &is_over);
                scope.spawn(move || {
                    let mut round = seed;
                    while !is_over.load(Ordering::Relaxed) {
                        round += 2;
                        let connection = Connection::open(path).unwrap();
                        connection.busy_timeout(WITHIN).unwrap();
                        connection
                            .execute_batch(&format!(
                                "PRAGMA synchronous = OFF; PRAGMA journal_mode = WAL; BEGIN IMMEDIATE;
                                 WITH RECURSIVE c(x) AS (VALUES (1) UNION ALL SELECT x + 1 FROM c WHERE x < 60)
                                 INSERT OR REPLACE INTO rows SELECT abs(random()) % 400, hex(randomblob(100)) FROM c;
                                 DELETE FROM rows WHERE n % 7 = {}; COMMIT; PRAGMA wal_checkpoint(TRUNCATE)",
                                round % 7
                            ))
                            .unwrap();
                    }
                });
            }
            for look in 0..LOOKS {
                let seen = inspect(&path, WITHIN, 1, Timestamp::ZERO).unwrap();
                if let Soundness::Damaged(damages) = seen.soundness {
                    is_over.store(true, Ordering::Relaxed);
                    panic!("look {look}: {damages:?}");
                }
            }
            is_over.store(true, Ordering::Relaxed);
        });
    }

    #[test]
    fn records_whose_number_was_misread_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("portico.db");
        let connection = migrated(&path);
        connection
            .execute_batch(
                r#"INSERT INTO integrations (n, id, vendor, active, credential, body, created_at, updated_at) VALUES (1, 'int_1', 'KNOCK', 0, x'', '{}', 0, 0);
                INSERT INTO records (seq, id, kind, lane, body, created_at, updated_at, last_seen)
                VALUES (1000, 'com_gb', 'community', 1, '{"phone_region":"GB"}', 0, 0, 0);"#,
            )
            .unwrap();
        // The number that was given, the one that was made of it, the one that the record has now.
        for (n, community, given, made, held, kept) in [
            (
                1,
                "com_us",
                "+86 131 2345 6789",
                "+863123456789",
                "+863123456789",
                2,
            ),
            (
                2,
                "com_us",
                "+49 172 1547608",
                "+49721547608",
                "+49721547608",
                1,
            ),
            (
                3,
                "com_us",
                "+49 172 1547608",
                "+49721547608",
                "+491721547608",
                2,
            ),
            (
                4,
                "com_us",
                "+49 172 1547608",
                "+491721547608",
                "+491721547608",
                2,
            ),
            (
                5,
                "com_us",
                "(206) 555-0155",
                "+12065550155",
                "+12065550155",
                2,
            ),
            (
                6,
                "com_gb",
                "020 7946 0958",
                "+442079460958",
                "+442079460958",
                2,
            ),
            (
                7,
                "com_gb",
                "+44 020 7946 0958",
                "+442079460958",
                "+442079460958",
                2,
            ),
            (
                8,
                "com_us",
                "+86 131 2345 6789",
                "+863123456789",
                "+863123456789",
                0,
            ),
            (9, "com_us", "+44 20", "+4420", "+4420", 2),
            (10, "com_us", "+49 172 1547608", "+49\"x", "+49721547608", 2),
        ] {
            let record = format!(r#"{{"phone_1":"{held}"}}"#);
            connection
                .execute(
                    "INSERT INTO records (seq, id, kind, lane, body, created_at, updated_at, last_seen) VALUES (?1, 'pro_' || ?1, 'prospect', 1, ?2, ?1, 0, 0)",
                    params![n, record],
                )
                .unwrap();
            let (result, request) = (
                format!(r#"{{"phone_1":"{given}"}}"#),
                format!(r#"{{"confirmed":{{"create":{{"phone_1":"{made}"}}}}}}"#),
            );
            connection
                .execute(
                    "INSERT INTO writes (seq, job_id, lane, community_id, operation, accepted_at, result, request, status, record_id, kept)
                     VALUES (?1, 'job_' || ?1, 1, ?2, 'prospect_create', 0, ?3, ?4, 'SUCCESS', 'pro_' || ?1, ?5)",
                    params![n, community, result, request, kept],
                )
                .unwrap();
        }
        let seen = inspect(&path, WITHIN, 1, Timestamp::ZERO).unwrap();
        let misread = seen.data.unwrap().unwrap().misread;
        // The seventh would be refused today and was read as it was meant; of the eighth nothing is
        // kept.
        assert_eq!(
            misread.ids.iter().collect::<Vec<_>>(),
            ["pro_1", "pro_2", "pro_9"]
        );
        assert!(misread.is_whole);
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
        let is_damaged = || {
            let seen = inspect(&path, WITHIN, 1, Timestamp::ZERO).unwrap();
            matches!(seen.soundness, Soundness::Damaged(_))
        };
        assert!(is_damaged());
        std::fs::write(&path, "no database, but a text of some length").unwrap();
        assert!(is_damaged());
    }
}

//! The number of the last commit, noted in a file beside the database.
//!
//! The database counts its commits in its own header. After each commit was synced, and before
//! anybody is answered, the number goes into the note, without a sync of its own. So the note can
//! be behind the database, after a power cut, and is never ahead of it. A database that is behind
//! its note lacks commits: its write-ahead log was cut, or an older copy is in its place.
//!
//! Guarantee: such a database is neither opened nor changed until the operator accepts the loss.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use rusqlite::{Connection, OpenFlags, config::DbConfig};
use sha2::{Digest, Sha256};

use super::database;
use crate::Error;

/// The end of the file's name, behind that of the database.
const SUFFIX: &str = "-commit";

/// Bytes of the record: a mark, the number, and the beginning of the SHA-256 of both. One sector
/// holds it.
const RECORD_BYTES: usize = 16;
const SUMMED_BYTES: usize = 8;

/// The beginning of a record of this form.
const MARK: [u8; 4] = *b"PCN1";

/// Reads of a note that another process may be writing meanwhile.
const READS_MAX: u32 = 3;

/// Commits between two syncs of the note at most: about as many as fill the write-ahead log.
const SYNC_EVERY_COMMITS: u32 = 1_000;

/// How many commits a database has had. It begins anew behind 2^32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Number(u32);

impl Number {
    /// The number of the last commit that `connection` sees.
    pub(crate) fn of(connection: &Connection) -> Result<Self, Error> {
        connection
            .prepare_cached("PRAGMA user_version")
            .and_then(|mut sql| sql.query_row([], |row| row.get::<_, i32>(0)))
            .map(|number| Self(number.cast_unsigned()))
            .map_err(database)
    }

    /// The number in the header of a database: that of the last commit which is in the file itself.
    pub(crate) fn in_header(header: &[u8; 100]) -> Self {
        Self(u32::from_be_bytes([
            header[60], header[61], header[62], header[63],
        ]))
    }

    /// Counts one more commit, in the transaction under way.
    pub(crate) fn count(connection: &Connection) -> Result<Self, Error> {
        let next = Self(Self::of(connection)?.0.wrapping_add(1));
        // `user_version` is in the header of the file, which changes with most commits anyway.
        connection
            .pragma_update(None, "user_version", next.0.cast_signed())
            .map_err(database)?;
        Ok(next)
    }

    /// The commits that are missing where `noted` was noted.
    pub(crate) const fn missing(self, noted: Self) -> u32 {
        let missing = noted.0.wrapping_sub(self.0);
        // In the other half of the circle the note is behind.
        if missing.cast_signed() > 0 {
            missing
        } else {
            0
        }
    }

    fn record(self) -> [u8; RECORD_BYTES] {
        let mut record = [0; RECORD_BYTES];
        let (summed, sum) = record.split_at_mut(SUMMED_BYTES);
        summed[..MARK.len()].copy_from_slice(&MARK);
        summed[MARK.len()..].copy_from_slice(&self.0.to_le_bytes());
        sum.copy_from_slice(&Sha256::digest(summed)[..RECORD_BYTES - SUMMED_BYTES]);
        record
    }

    fn read(record: &[u8; RECORD_BYTES]) -> Option<Self> {
        let number = record[MARK.len()..SUMMED_BYTES].try_into().ok()?;
        let number = Self(u32::from_le_bytes(number));
        (number.record() == *record).then_some(number)
    }
}

/// The note beside the database at `path`.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(SUFFIX);
    name.into()
}

/// The number that is noted beside the database at `path`; none where there is no note, or none
/// that can be read.
pub(crate) fn noted(path: &Path) -> Option<Number> {
    let (number, is_damaged) = read(path);
    if is_damaged {
        tracing::warn!(
            note = %beside(path).display(),
            "the note of the last commit is damaged: whether commits are missing is not checked"
        );
    }
    number
}

/// The number that is noted, and true if there is a note that cannot be read.
fn read(path: &Path) -> (Option<Number>, bool) {
    let Ok(file) = File::open(beside(path)) else {
        return (None, false);
    };
    let mut record = [0; RECORD_BYTES];
    for _ in 0..READS_MAX {
        let number = file
            .read_exact_at(&mut record, 0)
            .ok()
            .and_then(|()| Number::read(&record));
        if number.is_some() {
            return (number, false);
        }
    }
    (None, true)
}

fn is_there(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|found| found.len() > 0)
}

/// Refuses a database that lacks commits. `connect` opens it.
///
/// # Errors
/// [`Error::Conflict`] when it lacks some: it then stays as it is, its write-ahead log included.
pub(crate) fn checked(
    path: &Path,
    connect: impl FnOnce() -> Result<Connection, Error>,
) -> Result<Connection, Error> {
    // The note first: a server that runs meanwhile only adds to the database.
    let noted = noted(path);
    let refuse = |missing: u32| {
        Error::Conflict(format!(
            "{} lacks the last {missing} commits that the server has answered, of one or more requests each: its write-ahead log was cut or damaged, or an older copy is in its place. Put the files back as they were. To go on without these commits, start once with `portico serve --accept-loss`",
            path.display()
        ))
    };
    if let Some(noted) = noted
        && !is_there(path)
        && Number(0).missing(noted) > 0
    {
        return Err(refuse(Number(0).missing(noted)));
    }
    let connection = connect()?;
    if let Some(noted) = noted {
        // Closing a connection removes the log, which somebody may still want to mend.
        let keep_log = |keeps| {
            connection
                .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, keeps)
                .map_err(database)
        };
        keep_log(true)?;
        let missing = Number::of(&connection)?.missing(noted);
        if missing > 0 {
            return Err(refuse(missing));
        }
        keep_log(false)?;
    }
    Ok(connection)
}

fn stored(path: &Path) -> Result<Number, Error> {
    if !is_there(path) {
        return Ok(Number(0));
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags).map_err(database)?;
    super::prepare_connection(&mut connection)?;
    Number::of(&connection)
}

/// Notes what the database at `path` has as all there is. Returns how many commits it lacks. No
/// server may be using it.
///
/// # Errors
/// When the database cannot be read or the note cannot be written.
pub fn accept_loss(path: &Path) -> Result<u32, Error> {
    let Some(noted) = noted(path) else {
        return Ok(0);
    };
    let stored = stored(path)?;
    open(path)
        .and_then(|file| {
            file.write_all_at(&stored.record(), 0)?;
            file.sync_all()
        })
        .map_err(|why| {
            Error::Database(format!(
                "{} cannot be written: {why}",
                beside(path).display()
            ))
        })?;
    Ok(stored.missing(noted))
}

fn open(path: &Path) -> io::Result<File> {
    open_at(&beside(path))
}

fn open_at(note: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(note)
}

/// A new file with the number, synced and then renamed to `note`, so that a reader finds all of it.
fn renamed(note: &Path, number: Number) -> io::Result<File> {
    let mut made = note.as_os_str().to_owned();
    made.push("-new");
    let file = open_at(Path::new(&made))?;
    file.write_all_at(&number.record(), 0)?;
    file.sync_all()?;
    std::fs::rename(&made, note)?;
    Ok(file)
}

/// The note, kept open by whoever changes the database.
pub(crate) struct Note {
    path: PathBuf,
    file: Option<File>,
    /// Commits since the last sync.
    unsynced: u32,
    is_failing: bool,
    /// It was logged that the file was not the one at the path.
    is_lost: bool,
}

impl Note {
    /// Opens the note of the database at `path`, made when absent with the number that `connection`
    /// sees.
    pub(crate) fn open(path: &Path, connection: &Connection) -> Result<Self, Error> {
        // The check before this logged a damaged one.
        let is_new = read(path).0.is_none();
        let mut note = Self {
            path: path.to_owned(),
            file: None,
            unsynced: 0,
            is_failing: false,
            is_lost: false,
        };
        match open(path) {
            Ok(file) => note.file = Some(file),
            Err(why) => note.failed(&why),
        }
        if is_new {
            note.write(Number::of(connection)?);
            note.sync();
        }
        Ok(note)
    }

    /// Notes a commit that is synced.
    pub(crate) fn write(&mut self, number: Number) {
        if !self.is_in_place() {
            self.replace(number);
            return;
        }
        let Some(file) = &self.file else { return };
        if let Err(why) = file.write_all_at(&number.record(), 0) {
            self.failed(&why);
            return;
        }
        self.is_failing = false;
        self.unsynced += 1;
        if self.unsynced >= SYNC_EVERY_COMMITS {
            self.sync();
        }
    }

    /// True if the open file is the one at the path, or if neither can be looked at.
    fn is_in_place(&self) -> bool {
        let Some(own) = self.file.as_ref().and_then(|file| file.metadata().ok()) else {
            return true;
        };
        match std::fs::metadata(beside(&self.path)) {
            Ok(found) => (found.dev(), found.ino()) == (own.dev(), own.ino()),
            Err(why) => why.kind() != io::ErrorKind::NotFound,
        }
    }

    /// Puts a new note in the place of one that was removed or replaced.
    fn replace(&mut self, number: Number) {
        let note = beside(&self.path);
        if !std::mem::replace(&mut self.is_lost, true) {
            tracing::warn!(
                note = %note.display(),
                "the note of the last commit was removed or replaced under the server; it is \
                 written anew"
            );
        }
        match renamed(&note, number) {
            Ok(file) => (self.file, self.is_failing) = (Some(file), false),
            Err(why) => self.failed(&why),
        }
        self.unsynced = 0;
    }

    /// Syncs the note, so that it is not far behind after a power cut.
    pub(crate) fn sync(&mut self) {
        let Some(file) = &self.file else { return };
        if self.unsynced > 0
            && let Err(why) = file.sync_data()
        {
            self.failed(&why);
        }
        self.unsynced = 0;
    }

    /// Logs the first failure. The commit is stored all the same: a note that is behind warns of
    /// less, and of nothing false.
    fn failed(&mut self, why: &io::Error) {
        if !std::mem::replace(&mut self.is_failing, true) {
            tracing::warn!(
                note = %beside(&self.path).display(), %why,
                "the note of the last commit cannot be written: until it can, a start does not see that commits are missing"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn migrated(path: &Path) -> Connection {
        let connection = Connection::open(path).unwrap();
        connection
            .pragma_update(None, "journal_mode", "WAL")
            .unwrap();
        connection.execute_batch("CREATE TABLE a (b)").unwrap();
        connection
    }

    #[test]
    fn commits_are_missing_on_one_side_of_the_circle() {
        for (stored, noted, missing) in [
            (0, 0, 0),
            (7, 7, 0),
            (7, 6, 0),
            (6, 7, 1),
            (0, 1_000, 1_000),
            (u32::MAX, 2, 3),
            (2, u32::MAX, 0),
            (i32::MAX.cast_unsigned(), i32::MAX.cast_unsigned() + 1, 1),
        ] {
            assert_eq!(
                Number(stored).missing(Number(noted)),
                missing,
                "{stored} {noted}"
            );
        }
    }

    #[test]
    fn a_record_that_was_changed_is_no_number() {
        for number in [0, 1, u32::MAX] {
            let record = Number(number).record();
            assert_eq!(Number::read(&record), Some(Number(number)));
            for place in 0..RECORD_BYTES {
                let mut changed = record;
                changed[place] ^= 1;
                assert_eq!(Number::read(&changed), None, "{number} {place}");
            }
        }
        assert_eq!(Number::read(&[0; RECORD_BYTES]), None);
    }

    #[test]
    fn a_number_is_counted_in_its_transaction_and_kept_by_vacuum() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("portico.db");
        let connection = migrated(&path);
        connection.execute_batch("BEGIN").unwrap();
        assert_eq!(Number::count(&connection).unwrap(), Number(1));
        connection.execute_batch("ROLLBACK").unwrap();
        assert_eq!(Number::of(&connection).unwrap(), Number(0));
        for number in 1..=3 {
            connection.execute_batch("BEGIN IMMEDIATE").unwrap();
            assert_eq!(Number::count(&connection).unwrap(), Number(number));
            connection.execute_batch("COMMIT").unwrap();
        }
        connection.execute_batch("VACUUM").unwrap();
        assert_eq!(Number::of(&connection).unwrap(), Number(3));
        let other = Connection::open(&path).unwrap();
        assert_eq!(Number::of(&other).unwrap(), Number(3));
        connection.pragma_update(None, "user_version", -1).unwrap();
        connection.execute_batch("BEGIN IMMEDIATE").unwrap();
        assert_eq!(Number::count(&connection).unwrap(), Number(0));
    }

    #[test]
    fn a_note_that_was_removed_or_replaced_is_written_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("portico.db");
        let name = beside(&path);
        let mut note = Note::open(&path, &migrated(&path)).unwrap();
        let mut number = 0;
        let mut is_noted = |note: &mut Note| {
            for _ in 0..2 {
                number += 1;
                note.write(Number(number));
                assert_eq!(noted(&path), Some(Number(number)));
            }
        };
        is_noted(&mut note);
        assert!(!note.is_lost);
        std::fs::remove_file(&name).unwrap();
        is_noted(&mut note);
        assert!(note.is_lost);
        std::fs::rename(&name, dir.path().join("aside")).unwrap();
        is_noted(&mut note);
        std::fs::write(dir.path().join("other"), "other").unwrap();
        std::fs::rename(dir.path().join("other"), &name).unwrap();
        is_noted(&mut note);
    }

    #[test]
    fn a_database_behind_its_note_is_refused_and_left_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("portico.db");
        let connection = migrated(&path);
        connection.pragma_update(None, "user_version", 5).unwrap();
        let open_again = || checked(&path, || Connection::open(&path).map_err(database));
        assert!(open_again().is_ok(), "no note, no check");
        let mut note = Note::open(&path, &connection).unwrap();
        note.write(Number(9));
        let log = dir.path().join("portico.db-wal");
        let before = std::fs::read(&log).unwrap();
        assert!(!before.is_empty());
        // As after a crash: nobody folds the log in.
        connection
            .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
            .unwrap();
        drop(connection);
        for _ in 0..2 {
            let refused = open_again().unwrap_err().to_string();
            assert!(refused.contains("lacks the last 4 commits"), "{refused}");
            assert!(refused.contains("--accept-loss"), "{refused}");
            assert_eq!(std::fs::read(&log).unwrap(), before);
        }
        assert_eq!(accept_loss(&path).unwrap(), 4);
        assert_eq!(accept_loss(&path).unwrap(), 0);
        assert!(open_again().is_ok());

        // A note that cannot be read is none.
        note.write(Number(9));
        std::fs::write(beside(&path), "").unwrap();
        assert!(open_again().is_ok());
        let connection = open_again().unwrap();
        drop(Note::open(&path, &connection).unwrap());
        assert_eq!(noted(&path), Some(Number(5)), "it is made anew");

        // The database is gone, and its note is there: it is not made anew either.
        drop(connection);
        std::fs::remove_file(&path).unwrap();
        let refused = checked(&path, || panic!("it is not opened")).unwrap_err();
        assert!(refused.to_string().contains("lacks the last 5 commits"));
        assert_eq!(accept_loss(&path).unwrap(), 5);
        assert!(open_again().is_ok());
    }
}

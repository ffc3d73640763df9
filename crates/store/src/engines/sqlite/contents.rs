//! Checks that the files which the store has open hold what SQLite left in them.
//!
//! A file that is cut or overwritten in place keeps its name and its identity, and SQLite goes on
//! from what it has in memory: it answers, and the next start finds less. Guarantee: a database
//! that was cut or has become an older copy of itself is noticed, and a write-ahead log of which
//! SQLite still needs something that is not there. Other bytes overwritten in the middle of a file
//! are not seen here.
//!
//! The formats are those of <https://www.sqlite.org/fileformat2.html> and
//! <https://www.sqlite.org/walformat.html>.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt,
    sync::{Mutex, PoisonError},
};

use super::note::Number;

/// The beginning of every database.
const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// Bytes of the database's header.
const HEADER_BYTES: usize = 100;

/// Bytes of the log's header, and of the header of each frame in it, which a page follows.
const LOG_HEADER_BYTES: usize = 32;
const FRAME_HEADER_BYTES: u64 = 24;

/// Bytes of the index's header, which stands there twice.
const INDEX_HEADER_BYTES: usize = 48;

/// Bytes of the index up to the number of frames that are folded in, and with it.
const INDEX_BYTES: usize = 2 * INDEX_HEADER_BYTES + 4;

/// What the index says of the log.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Index {
    page_bytes: u64,
    /// Frames in the log.
    frames: u32,
    /// The first of them are in the database too.
    folded_frames: u32,
    /// As in the header of the log.
    salts: [u8; 8],
}

impl Index {
    /// `None` where a writer is changing it.
    fn read(file: &File) -> io::Result<Option<Self>> {
        let mut bytes = [0; INDEX_BYTES];
        file.read_exact_at(&mut bytes, 0)?;
        let (headers, folded) = bytes.split_at(2 * INDEX_HEADER_BYTES);
        let (one, other) = headers.split_at(INDEX_HEADER_BYTES);
        let is_initialized = one[12] == 1;
        if one != other || !is_initialized {
            return Ok(None);
        }
        let mut salts = [0; 8];
        salts.copy_from_slice(&one[32..40]);
        Ok(Some(Self {
            page_bytes: page_bytes(u16::from_ne_bytes([one[14], one[15]])),
            frames: native(&one[16..20]),
            folded_frames: native(folded),
            salts,
        }))
    }

    /// Bytes of the log that SQLite needs.
    fn log_bytes(self) -> u64 {
        let frame_bytes = FRAME_HEADER_BYTES + self.page_bytes;
        LOG_HEADER_BYTES as u64 + u64::from(self.frames) * frame_bytes
    }
}

/// A number of four bytes in the machine's order.
fn native(bytes: &[u8]) -> u32 {
    bytes.try_into().map_or(0, u32::from_ne_bytes)
}

/// What the database's header said at the last look.
#[derive(Default)]
pub(super) struct Seen(Mutex<Option<Header>>);

struct Header {
    number: Number,
    /// Bytes that the file had.
    file_bytes: u64,
}

impl Seen {
    /// Looks at the database. The words say what is wrong.
    pub(super) fn look(&self, database: &File) -> Result<(), String> {
        let file_bytes = database.metadata().map_err(words)?.len();
        let mut header = [0; HEADER_BYTES];
        if file_bytes < HEADER_BYTES as u64 || database.read_exact_at(&mut header, 0).is_err() {
            return Err(format!("it was cut to {file_bytes} bytes"));
        }
        if !header.starts_with(MAGIC) {
            return Err("it was overwritten: it is no database any more".to_owned());
        }
        let number = Number::in_header(&header);
        let page_bytes = page_bytes(u16::from_be_bytes([header[16], header[17]]));
        let pages = u32::from_be_bytes([header[28], header[29], header[30], header[31]]);
        let meant_bytes = u64::from(pages) * page_bytes;
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(seen) = &*seen {
            if number.missing(seen.number) > 0 {
                return Err("it was overwritten with an older copy".to_owned());
            }
            // While the log is folded in, the header may be ahead of the file, which grows
            // meanwhile, and is shortened only to what the header says.
            if file_bytes < seen.file_bytes && file_bytes < meant_bytes {
                return Err(format!(
                    "it was cut from {} to {file_bytes} bytes",
                    seen.file_bytes
                ));
            }
        }
        *seen = Some(Header { number, file_bytes });
        Ok(())
    }
}

/// Looks at the log. The words say what is wrong.
pub(super) fn look_at_log(log: &File, index: &File) -> Result<(), String> {
    let Some(said) = Index::read(index).map_err(words)? else {
        return Ok(());
    };
    if said.frames <= said.folded_frames {
        return Ok(());
    }
    let bytes = log.metadata().map_err(words)?.len();
    let mut header = [0; LOG_HEADER_BYTES];
    let is_read = log.read_exact_at(&mut header, 0).is_ok();
    let found = if bytes < said.log_bytes() {
        format!(
            "it was cut to {bytes} bytes, and {} are needed",
            said.log_bytes()
        )
    } else if !is_read || header[16..24] != said.salts {
        "it was overwritten".to_owned()
    } else {
        return Ok(());
    };
    // Another process, such as the command line, may have folded the log in meanwhile.
    match Index::read(index).map_err(words)? {
        Some(again) if again == said => Err(found),
        _ => Ok(()),
    }
}

/// As the header of the database and the index of the log have it.
fn page_bytes(number: u16) -> u64 {
    match number {
        1 => 65_536,
        bytes => u64::from(bytes),
    }
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "it stands in map_err, which passes by value"
)]
fn words(why: io::Error) -> String {
    why.to_string()
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{self, OpenOptions},
        path::{Path, PathBuf},
    };

    use rusqlite::Connection;

    use super::*;

    struct Made {
        connection: Connection,
        seen: Seen,
        /// The database, its log and the log's index.
        files: [File; 3],
        database: PathBuf,
        log: PathBuf,
        _dir: tempfile::TempDir,
    }

    fn made() -> Made {
        let dir = tempfile::tempdir().unwrap();
        let [database, log, index] =
            ["a.db", "a.db-wal", "a.db-shm"].map(|name| dir.path().join(name));
        let connection = super::super::connect(&database).unwrap();
        connection
            .execute_batch("CREATE TABLE a (b); PRAGMA user_version = 1")
            .unwrap();
        let files = [&database, &log, &index].map(|path| File::open(path).unwrap());
        Made {
            connection,
            seen: Seen::default(),
            files,
            database,
            log,
            _dir: dir,
        }
    }

    impl Made {
        fn grow(&self, rows: u32) {
            for _ in 0..rows {
                self.connection
                    .execute("INSERT INTO a VALUES (randomblob(6000))", [])
                    .unwrap();
            }
        }

        fn run(&self, sql: &str) {
            let mut statement = self.connection.prepare(sql).unwrap();
            let mut rows = statement.query([]).unwrap();
            while rows.next().unwrap().is_some() {}
        }

        fn fold(&self, mode: &str) {
            self.run(&format!("PRAGMA wal_checkpoint({mode})"));
        }

        fn is_fit(&self) -> (bool, bool) {
            let [database, log, index] = &self.files;
            let database = self.seen.look(database);
            (database.is_ok(), look_at_log(log, index).is_ok())
        }
    }

    fn cut(path: &Path, bytes: u64) {
        let file = OpenOptions::new().write(true).open(path).unwrap();
        file.set_len(bytes).unwrap();
    }

    #[test]
    fn what_sqlite_does_to_its_files_is_no_damage() {
        let made = made();
        assert_eq!(made.is_fit(), (true, true));
        for mode in ["PASSIVE", "FULL", "RESTART", "TRUNCATE"] {
            made.grow(50);
            assert_eq!(made.is_fit(), (true, true), "{mode}");
            made.fold(mode);
            assert_eq!(made.is_fit(), (true, true), "{mode}");
        }
        made.grow(300);
        made.fold("TRUNCATE");
        assert_eq!(made.is_fit(), (true, true));
        made.run("DELETE FROM a");
        made.run("VACUUM");
        assert_eq!(made.is_fit(), (true, true), "emptied, in the log");
        made.fold("TRUNCATE");
        assert_eq!(made.is_fit(), (true, true), "shortened");
        let other = Connection::open(&made.database).unwrap();
        made.grow(10);
        other
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
            .unwrap();
        assert_eq!(made.is_fit(), (true, true), "folded in by another");
    }

    #[test]
    fn a_log_that_is_cut_or_overwritten_is_noticed_also_behind_the_next_commit() {
        for (left, then) in [(0, 0), (0, 1), (31, 0), (20_000, 0), (0, 40)] {
            let made = made();
            made.grow(20);
            assert_eq!(made.is_fit(), (true, true));
            cut(&made.log, left);
            made.grow(then);
            assert_eq!(
                made.is_fit(),
                (true, false),
                "cut to {left}, {then} rows after that"
            );
        }
        let made = made();
        made.grow(20);
        let before = fs::read(&made.log).unwrap();
        made.fold("RESTART");
        made.grow(10);
        let file = OpenOptions::new().write(true).open(&made.log).unwrap();
        file.write_all_at(&before, 0).unwrap();
        assert_eq!(made.is_fit(), (true, false), "of another time");
    }

    #[test]
    fn a_log_of_which_nothing_is_needed_any_more_may_be_cut() {
        let made = made();
        made.grow(20);
        made.fold("PASSIVE");
        cut(&made.log, 0);
        assert_eq!(made.is_fit(), (true, true));
        made.grow(20);
        assert_eq!(made.is_fit(), (true, true));
    }

    #[test]
    fn a_database_that_is_cut_or_overwritten_is_noticed() {
        for left in [0, 99, 8_192] {
            let made = made();
            made.grow(50);
            made.fold("PASSIVE");
            assert_eq!(made.is_fit(), (true, true));
            cut(&made.database, left);
            assert_eq!(made.is_fit(), (false, true), "cut to {left}");
        }
        let made = made();
        made.fold("PASSIVE");
        let before = fs::read(&made.database).unwrap();
        made.grow(50);
        made.connection
            .pragma_update(None, "user_version", 2)
            .unwrap();
        made.fold("PASSIVE");
        assert_eq!(made.is_fit(), (true, true));
        // As `cp` does.
        let file = OpenOptions::new()
            .write(true)
            .truncate(true)
            .open(&made.database)
            .unwrap();
        file.write_all_at(&before, 0).unwrap();
        assert_eq!(made.is_fit(), (false, true), "an older copy");
        file.write_all_at(&[7; 4_096], 0).unwrap();
        assert_eq!(made.is_fit(), (false, true), "no database");
    }
}

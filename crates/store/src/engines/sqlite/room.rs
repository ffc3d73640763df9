//! The space on the database's disk, and when the write-ahead log is folded into the database.
//!
//! Guarantee: the log is folded in the earlier the less space is free, and gives back the space that it took; before the space
//! ends, new writes are refused, so that what becomes of accepted ones can still be stored. Beside the database lies a reserve, a
//! file of no content. It is given up when others have filled the disk: what a start, or folding in the log, takes then is there.

use std::{
    fs::{File, OpenOptions},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use rusqlite::{Connection, hooks::Wal};

use super::{CHECKPOINT_PAGES, PAGE_BYTES};
use crate::{
    Error,
    outage::{DISK_QUIET, Outage, Seldom},
};

/// Bytes that stay free when new writes are refused: for outcomes of some thousand accepted ones. The reserve has as many.
const KEPT_BYTES: u64 = 8 * 1_024 * 1_024;

/// On a small disk it is this part of it.
const KEPT_PART: u64 = 16;

/// The log is folded in when it has this part of the free space: the database may grow by as much as the log has.
const LOG_PART: u64 = 8;

/// Pages of the log under which it is not folded in however little is free: half a MiB, so that syncs do not become many.
const FOLD_MIN_PAGES: u32 = 64;

/// Free bytes under which folding also gives the log's own space back.
const SHORT_BYTES: u64 = 256 * 1_024 * 1_024;

/// How many times longer than meant the log gets, since readers stay, before folding waits for a moment without readers.
const LONG_TIMES: u32 = 4;

/// How often it is looked how much is free: a busy server fills some MiB within this.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// How long emptying the log waits for readers: changes wait as long.
const FOLD_WAIT_MAX: Duration = Duration::from_millis(50);

/// The end of the reserve's name, behind that of the database.
const RESERVE: &str = "-reserve";

/// The space on a disk.
#[derive(Clone, Copy)]
pub(crate) struct Space {
    pub(crate) free: u64,
    /// Bytes that are to stay free.
    kept: u64,
}

impl Space {
    /// As it is; `None` where that cannot be told.
    pub(crate) fn of(directory: &Path) -> Option<Self> {
        let disk = rustix::fs::statvfs(directory).ok()?;
        let all = disk.f_blocks.saturating_mul(disk.f_frsize);
        Some(Self {
            free: disk.f_bavail.saturating_mul(disk.f_frsize),
            kept: KEPT_BYTES.min(all / KEPT_PART),
        })
    }

    /// True if nothing more may be taken that can wait.
    pub(crate) const fn is_used_up(self) -> bool {
        self.free < self.kept
    }

    /// Pages of the log at which it is folded in.
    fn fold_pages(self) -> u32 {
        let pages = self.free.saturating_sub(self.kept) / LOG_PART / u64::from(PAGE_BYTES);
        u32::try_from(pages)
            .unwrap_or(u32::MAX)
            .clamp(FOLD_MIN_PAGES, CHECKPOINT_PAGES)
    }
}

/// True if so little is free on the disk under `directory` that a server there refuses new writes.
pub fn is_used_up(directory: &Path) -> bool {
    Space::of(directory).is_some_and(Space::is_used_up)
}

/// The directory of the database at `path`.
pub(crate) fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

/// Why no new write is taken while the space is used up.
pub(crate) fn refused() -> Error {
    Error::Refused(
        "the disk under the data directory is nearly full; its operator has to free space on it"
            .to_owned(),
    )
}

/// The disk of a database.
pub(crate) struct Room {
    directory: PathBuf,
    reserve: PathBuf,
    is_used_up: AtomicBool,
    outage: Outage,
}

impl Room {
    /// For the database at `path`.
    pub(crate) fn of(path: &Path) -> Arc<Self> {
        let mut reserve = path.as_os_str().to_owned();
        reserve.push(RESERVE);
        Arc::new(Self {
            directory: directory(path).to_owned(),
            reserve: reserve.into(),
            is_used_up: AtomicBool::new(false),
            outage: Outage::new(Duration::ZERO, DISK_QUIET),
        })
    }

    /// True if new writes are taken.
    pub(crate) fn is_left(&self) -> bool {
        !self.is_used_up.load(Ordering::Relaxed)
    }

    /// Looks how much is free.
    fn look(&self) -> Option<Space> {
        let space = Space::of(&self.directory)?;
        let was_used_up = self.is_used_up.load(Ordering::Relaxed);
        // Twice as much to begin again, so that it does not change all the time.
        let is_used_up = space.is_used_up() || (was_used_up && space.free < 2 * space.kept);
        self.is_used_up.store(is_used_up, Ordering::Relaxed);
        let free_mib = space.free / (1_024 * 1_024);
        if is_used_up {
            if let Some(lasts) = self.outage.goes_on() {
                let for_s = lasts.as_secs();
                tracing::error!(
                    free_mib, for_s, directory = %self.directory.display(),
                    "the disk under the data directory is nearly full, and new writes get 503: free space on it, or move the data directory to a larger disk while the server is stopped"
                );
            }
        } else {
            if let Some(lasted) = self.outage.succeeds() {
                let after_s = lasted.as_secs();
                tracing::info!(
                    free_mib,
                    after_s,
                    "there is space on the disk again, and new writes are taken"
                );
            }
            if space.free >= 4 * space.kept {
                self.keep_reserve(space.kept);
            }
        }
        Some(space)
    }

    /// Makes the reserve, if there is none. Without one the server works too.
    fn keep_reserve(&self, bytes: u64) {
        let made = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&self.reserve);
        if let Ok(file) = made
            && !take(&file, bytes)
        {
            let _ = std::fs::remove_file(&self.reserve);
        }
    }

    /// Gives up the reserve, if the space is used up. `true` when there was one, so that it is worth another try.
    pub(crate) fn give_up_reserve(&self) -> bool {
        let is_used_up = Space::of(&self.directory).is_some_and(Space::is_used_up);
        let given = is_used_up && std::fs::remove_file(&self.reserve).is_ok();
        if given {
            tracing::warn!(
                file = %self.reserve.display(),
                "the disk under the data directory is full: the space that was kept for this is used now; free more"
            );
        }
        given
    }

    /// Says that the disk is full, where that is why the database could not be opened: SQLite has
    /// other words for it as well, such as "disk I/O error".
    pub(crate) fn told_if_full(&self, why: Error) -> Error {
        let is_of_disk = matches!(why, Error::Database(_) | Error::Refused(_));
        match Space::of(&self.directory) {
            Some(space) if is_of_disk && space.is_used_up() => Error::Refused(format!(
                "the disk under {} is full ({} KiB are free): free {} MiB on it, or move the data directory to a larger disk, and start again ({why})",
                self.directory.display(),
                space.free / 1_024,
                (2 * space.kept).div_ceil(1_024 * 1_024)
            )),
            _ => why,
        }
    }

    /// Folds a log that an earlier process left into the database, if space is short: what is done next takes some.
    ///
    /// # Errors
    /// [`Error::Refused`] when there is not the space for it.
    pub(crate) fn fold_if_short(&self, connection: &mut Connection) -> Result<(), Error> {
        let is_short = Space::of(&self.directory).is_some_and(|space| space.free < SHORT_BYTES);
        if !is_short {
            return Ok(());
        }
        truncate(connection).map(drop).map_err(|why| match super::database(why) {
            Error::Refused(_) => Error::Refused(format!(
                "the disk under {} is full, and the write-ahead log cannot be folded into the database: free some MiB on it",
                self.directory.display()
            )),
            why => why,
        })
    }
}

/// Takes so much of the disk for a file.
fn take(file: &File, bytes: u64) -> bool {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let taken = rustix::fs::fallocate(file, rustix::fs::FallocateFlags::empty(), 0, bytes).is_ok();
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let taken = {
        let mut left = file;
        std::io::copy(
            &mut std::io::Read::take(std::io::repeat(0x5a), bytes),
            &mut left,
        )
        .is_ok()
    };
    taken
}

/// Folds the log in and gives its space back. `false` when a reader stood in the way for longer than others can be kept waiting.
pub(crate) fn truncate(connection: &mut Connection) -> rusqlite::Result<bool> {
    connection.busy_timeout(FOLD_WAIT_MAX)?;
    let emptied = checkpoint(connection, "TRUNCATE").map(|done| done.is_empty);
    if let Err(why) = super::wait_for_others(connection) {
        tracing::error!(%why, "the writing connection does not wait for other processes any more");
    }
    emptied
}

/// The result of a checkpoint.
struct Checkpoint {
    is_empty: bool,
}

fn checkpoint(connection: &Connection, mode: &str) -> rusqlite::Result<Checkpoint> {
    connection.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| {
        let is_busy: bool = row.get(0)?;
        Ok(Checkpoint {
            is_empty: !is_busy && mode == "TRUNCATE",
        })
    })
}

/// The write-ahead log, as the writing thread grows it.
pub(crate) struct Log {
    room: Arc<Room>,
    /// Pages in it after the last commit.
    pages: Arc<AtomicU32>,
    /// Pages at which it is folded in.
    fold_pages: u32,
    /// After a try that left pages in it: pages at which it is tried again.
    again_pages: u32,
    looked_at: Option<Instant>,
    has_failed: bool,
    told: Seldom,
}

impl Log {
    /// The log that `connection` writes to.
    pub(crate) fn of(connection: &mut Connection, room: Arc<Room>) -> Result<Self, Error> {
        let pages = Arc::new(AtomicU32::new(0));
        let seen = pages.clone();
        // It takes the place of SQLite's own checkpoints.
        connection
            .wal_hook(Some(move |_: &mut Wal, pages| {
                seen.store(u32::try_from(pages).unwrap_or(0), Ordering::Relaxed);
                Ok(())
            }))
            .map_err(super::database)?;
        Ok(Self {
            room,
            pages,
            fold_pages: CHECKPOINT_PAGES,
            again_pages: 0,
            looked_at: None,
            has_failed: false,
            told: Seldom::new(),
        })
    }

    /// True if new writes are taken.
    pub(crate) fn has_room(&self) -> bool {
        self.room.is_left()
    }

    /// A commit failed.
    pub(crate) fn failed(&mut self) {
        self.has_failed = true;
    }

    /// Looks at the space before a batch, where that may be there again.
    pub(crate) fn before(&mut self) {
        if !self.room.is_left() && self.is_time() {
            self.look();
        }
    }

    fn is_time(&self) -> bool {
        self.looked_at.is_none_or(|at| at.elapsed() >= LOOK_EVERY)
    }

    fn look(&mut self) -> Option<Space> {
        self.looked_at = Some(Instant::now());
        let space = self.room.look()?;
        self.fold_pages = space.fold_pages();
        Some(space)
    }

    /// Folds the log in when it is time, after a batch was answered. Returns whether that was tried.
    pub(crate) fn after(&mut self, connection: &mut Connection) -> bool {
        let pages = self.pages.load(Ordering::Relaxed);
        let has_failed = std::mem::take(&mut self.has_failed);
        if !has_failed && !self.is_time() && pages < self.fold_pages.max(self.again_pages) {
            return false;
        }
        let space = self.look();
        let is_used_up = !self.room.is_left();
        if has_failed && self.room.give_up_reserve() {
            self.again_pages = 0;
        }
        if pages < self.fold_pages && !(is_used_up && pages > 0) {
            self.again_pages = 0;
            return false;
        }
        if pages < self.again_pages && !has_failed {
            return false;
        }
        let is_short = space.is_some_and(|space| space.free < SHORT_BYTES);
        let is_long = pages >= self.fold_pages.saturating_mul(LONG_TIMES);
        let folded = if is_short || is_long {
            truncate(connection)
        } else {
            checkpoint(connection, "PASSIVE").map(|done| done.is_empty)
        };
        match folded {
            Ok(true) => {
                self.pages.store(0, Ordering::Relaxed);
                self.again_pages = 0;
                if is_used_up {
                    self.look();
                }
            }
            // All or some is in the database, and the log begins anew when no reader needs it: then it has few pages.
            Ok(false) => self.again_pages = pages.saturating_add(self.fold_pages / LONG_TIMES),
            Err(why) => {
                self.again_pages = pages.saturating_add(self.fold_pages / LONG_TIMES);
                if self.told.is_time() {
                    tracing::warn!(%why, pages, "the write-ahead log could not be folded into the database; it is tried again");
                }
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_is_folded_in_the_earlier_the_less_is_free() {
        const MIB: u64 = 1_024 * 1_024;
        for (all_mib, free_mib, pages) in [
            (500_000, 200_000, CHECKPOINT_PAGES),
            (500_000, 520, CHECKPOINT_PAGES),
            (500_000, 264, 4_096),
            (52, 40, 588),
            (52, 4, FOLD_MIN_PAGES),
            (52, 0, FOLD_MIN_PAGES),
        ] {
            let space = Space {
                free: free_mib * MIB,
                kept: KEPT_BYTES.min(all_mib * MIB / KEPT_PART),
            };
            assert_eq!(space.fold_pages(), pages, "{free_mib} of {all_mib} MiB");
        }
    }

    fn filled(connection: &Connection, rows: u32) {
        for _ in 0..rows {
            connection
                .execute("INSERT INTO a VALUES (randomblob(6000))", [])
                .unwrap();
        }
    }

    #[test]
    fn a_log_that_a_reader_kept_long_gives_its_space_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("portico.db");
        let mut connection = super::super::connect(&path).unwrap();
        connection
            .execute_batch("PRAGMA synchronous = OFF; CREATE TABLE a (b)")
            .unwrap();
        let mut log = Log::of(&mut connection, Room::of(&path)).unwrap();
        let bytes = || {
            std::fs::metadata(dir.path().join("portico.db-wal"))
                .unwrap()
                .len()
        };
        let limit = u64::from(CHECKPOINT_PAGES) * u64::from(PAGE_BYTES);
        let reader = Connection::open(&path).unwrap();
        let looks = reader.unchecked_transaction().unwrap();
        let seen: i64 = looks
            .query_row("SELECT count(*) FROM a", [], |row| row.get(0))
            .unwrap();
        assert_eq!(seen, 0);
        while bytes() < limit * 3 / 2 {
            filled(&connection, 100);
            log.after(&mut connection);
        }
        drop(looks);
        // From now on nobody stands in the way: the log is folded in, begins anew with the commit
        // after that, and is cut to its limit.
        let begins_anew = (0..2 * CHECKPOINT_PAGES).any(|_| {
            filled(&connection, 1);
            log.after(&mut connection);
            log.pages.load(Ordering::Relaxed) < CHECKPOINT_PAGES && bytes() <= limit * 11 / 10
        });
        let pages = log.pages.load(Ordering::Relaxed);
        assert!(begins_anew, "{pages} pages, {} bytes are left", bytes());
    }

    #[test]
    fn a_reserve_is_kept_once_and_has_its_size() {
        let dir = tempfile::tempdir().unwrap();
        let room = Room::of(&dir.path().join("portico.db"));
        for _ in 0..2 {
            room.keep_reserve(70_000);
            let bytes = std::fs::metadata(dir.path().join("portico.db-reserve")).unwrap();
            assert_eq!(bytes.len(), 70_000);
        }
    }
}

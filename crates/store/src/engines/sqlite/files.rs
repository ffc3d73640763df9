//! Checks that the files which the store has open are those in the data directory, and whole.
//!
//! A file that was removed or replaced stays usable for the process that has it open, and what is
//! written to it is found by nobody. Guarantee: once that was noticed, or damage to what is in them
//! ([`contents`]), nothing is read or stored until the files are back.

use std::{
    fs::{self, File, Metadata},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    time::Duration,
};

use super::contents;
use crate::Error;

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Bytes that are free at least where a small commit surely fits: less, and the readiness check
/// stores something to see.
const FREE_MIN_BYTES: u64 = 1_024 * 1_024;

/// A file as it was opened.
struct Opened {
    path: PathBuf,
    file: File,
}

fn identity(of: &Metadata) -> (u64, u64) {
    (of.dev(), of.ino())
}

impl Opened {
    /// In words, when it is not the file of its name.
    fn look(&self) -> Result<(), String> {
        // The own number is asked each time: some file systems give a file that is open another.
        let found = fs::metadata(&self.path).and_then(|found| Ok((found, self.file.metadata()?)));
        match found {
            Ok((found, own)) if identity(&found) == identity(&own) => Ok(()),
            Ok(_) => Err("another file is in its place".to_owned()),
            Err(why)
                if matches!(
                    why.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                Err("it is gone".to_owned())
            }
            Err(why) => Err(why.to_string()),
        }
    }
}

/// The files of a store, opened once more.
///
/// To close one of them ends the locks that SQLite has on it in this process, so whoever has a
/// connection keeps this for longer than the connection.
pub(super) struct Files {
    database: Opened,
    log: Opened,
    index: Opened,
    seen: contents::Seen,
    directory: PathBuf,
    are_unfit: AtomicBool,
    /// The last commit failed, or the next may.
    is_suspect: AtomicBool,
}

impl Files {
    /// The files of the database at `path`, which a connection has just opened in WAL mode.
    pub(super) fn of(path: &Path) -> Result<Arc<Self>, Error> {
        let open = |ending: &str| {
            let mut name = path.as_os_str().to_owned();
            name.push(ending);
            let path = PathBuf::from(name);
            match File::open(&path) {
                Ok(file) => Ok(Opened { path, file }),
                Err(why) => Err(Error::Database(format!(
                    "{} cannot be looked at: {why}",
                    path.display()
                ))),
            }
        };
        Ok(Arc::new(Self {
            database: open("")?,
            log: open("-wal")?,
            index: open("-shm")?,
            seen: contents::Seen::default(),
            directory: path.parent().unwrap_or(Path::new("")).to_owned(),
            are_unfit: AtomicBool::new(false),
            is_suspect: AtomicBool::new(false),
        }))
    }

    /// Looks at every file and at what is in it. A change is logged once.
    pub(super) fn look(&self) -> Result<(), Error> {
        let (database, log, index) = (&self.database, &self.log, &self.index);
        let told = |of: &Opened| {
            let file = of.path.display().to_string();
            |found| (file, found)
        };
        let looked = [database, log, index]
            .into_iter()
            .try_for_each(|one| one.look().map_err(told(one)))
            .and_then(|()| self.seen.look(&database.file).map_err(told(database)))
            .and_then(|()| contents::look_at_log(&log.file, &index.file).map_err(told(log)));
        self.found(looked)
    }

    /// Looks at what the next commit is added to.
    pub(super) fn look_at_log(&self) -> Result<(), Error> {
        self.must_be_fit()?;
        match contents::look_at_log(&self.log.file, &self.index.file) {
            Ok(()) => Ok(()),
            Err(found) => self.found(Err((self.log.path.display().to_string(), found))),
        }
    }

    fn found(&self, looked: Result<(), (String, String)>) -> Result<(), Error> {
        let were_unfit = self.are_unfit.swap(looked.is_err(), Ordering::Relaxed);
        match looked {
            Err((file, found)) if !were_unfit => tracing::error!(
                file,
                found,
                "the database's files were removed, replaced or damaged under the server, and \
                 every request gets 503: put back what was moved away, or stop the server, restore \
                 the data directory, and start it again"
            ),
            Ok(()) if were_unfit => {
                tracing::info!("the database's files are back; requests are served again");
            }
            _ => {}
        }
        self.must_be_fit()
    }

    /// Refuses to go on once a file was found to be gone or damaged.
    pub(super) fn must_be_fit(&self) -> Result<(), Error> {
        if self.are_unfit.load(Ordering::Relaxed) {
            return Err(Error::Refused(
                "the files of the database were removed, replaced or damaged under the server; \
                 its operator has to put them back"
                    .to_owned(),
            ));
        }
        Ok(())
    }

    /// Notes whether a commit was stored.
    pub(super) fn stored(&self, is_stored: bool) {
        self.is_suspect.store(!is_stored, Ordering::Relaxed);
    }

    /// True if a commit may fail now, so that only one that stores something shows that changes are
    /// taken.
    pub(super) fn is_suspect(&self) -> bool {
        self.is_suspect.load(Ordering::Relaxed)
    }

    /// Looks at the disk: one that is full or read-only makes the next commit suspect.
    fn look_at_disk(&self) {
        let directory = match self.directory.as_os_str().is_empty() {
            true => Path::new("."),
            false => &self.directory,
        };
        if let Ok(disk) = rustix::fs::statvfs(directory) {
            let is_read_only = disk.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY);
            if is_read_only || disk.f_bavail.saturating_mul(disk.f_frsize) < FREE_MIN_BYTES {
                self.stored(false);
            }
        }
    }
}

/// Looks at the files every second, until it is dropped.
pub(super) struct Watch(
    #[expect(dead_code, reason = "the thread ends when this is dropped")] mpsc::Sender<()>,
);

impl Watch {
    pub(super) fn start(files: Arc<Files>) -> Result<Self, Error> {
        let (end, ended) = mpsc::channel();
        std::thread::Builder::new()
            .name("store-watch".to_owned())
            .spawn(move || {
                while ended.recv_timeout(LOOK_EVERY) == Err(RecvTimeoutError::Timeout) {
                    let _ = files.look();
                    files.look_at_disk();
                }
            })
            .map_err(|why| {
                Error::Database(format!(
                    "the thread that watches the files cannot be started: {why}"
                ))
            })?;
        Ok(Self(end))
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;

    const ENDINGS: [&str; 3] = ["", "-wal", "-shm"];

    fn made(directory: &Path) -> (Connection, Arc<Files>) {
        let path = directory.join("portico.db");
        let connection = super::super::connect(&path).unwrap();
        connection.execute_batch("CREATE TABLE a (b)").unwrap();
        let files = Files::of(&path).unwrap();
        (connection, files)
    }

    #[test]
    fn a_file_that_is_gone_or_another_is_noticed_and_one_that_is_back_too() {
        for ending in ENDINGS {
            let dir = tempfile::tempdir().unwrap();
            let (_connection, files) = made(dir.path());
            let (name, aside) = (
                dir.path().join(format!("portico.db{ending}")),
                dir.path().join("aside"),
            );
            assert!(files.look().is_ok());
            fs::rename(&name, &aside).unwrap();
            assert!(files.look().is_err(), "{ending}: moved away");
            assert!(files.must_be_fit().is_err());
            fs::copy(&aside, &name).unwrap();
            assert!(files.look().is_err(), "{ending}: another is there");
            fs::rename(&aside, &name).unwrap();
            assert!(files.look().is_ok(), "{ending}: it is back");
            assert!(files.must_be_fit().is_ok());
            fs::remove_file(&name).unwrap();
            // Often with the number of the one that was removed, did nobody hold it.
            fs::write(&name, ending).unwrap();
            assert!(files.look().is_err(), "{ending}: made anew");
        }
    }

    #[test]
    fn a_directory_that_is_gone_or_another_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let (own, aside) = (dir.path().join("own"), dir.path().join("aside"));
        fs::create_dir(&own).unwrap();
        let (_connection, files) = made(&own);
        fs::rename(&own, &aside).unwrap();
        assert!(files.look().is_err());
        fs::create_dir(&own).unwrap();
        let (_other_connection, others) = made(&own);
        assert!(files.look().is_err());
        assert!(others.look().is_ok());
    }

    #[test]
    fn damage_is_noticed_before_the_next_commit_and_stays_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let (connection, files) = made(dir.path());
        assert!(files.look_at_log().is_ok());
        let log = fs::OpenOptions::new()
            .write(true)
            .open(dir.path().join("portico.db-wal"))
            .unwrap();
        log.set_len(0).unwrap();
        assert!(files.look_at_log().is_err());
        connection
            .execute_batch("INSERT INTO a VALUES (1)")
            .unwrap();
        assert!(files.look_at_log().is_err(), "as long as nobody looks");
        assert!(files.look().is_err());
    }
}

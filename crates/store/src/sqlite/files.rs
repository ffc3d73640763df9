//! Checks that the files which the store has open are those in the data directory.
//!
//! A file that was removed or replaced stays usable for the process that has it open, and what is
//! written to it is found by nobody. Guarantee: once that was noticed, nothing is read or stored
//! until the files are back.

use std::{
    fs::{File, Metadata, OpenOptions},
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

use crate::Error;

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The endings of the names of the files that SQLite keeps open: the database, its write-ahead log
/// and the log's index.
const ENDINGS: [&str; 3] = ["", "-wal", "-shm"];

/// Bytes that are free at least where a small commit surely fits: less, and the readiness check
/// stores something to see.
const FREE_MIN_BYTES: u64 = 1_024 * 1_024;

/// A file as it was opened.
struct Opened {
    path: PathBuf,
    #[cfg(target_os = "linux")]
    file: File,
    #[cfg(not(target_os = "linux"))]
    identity: (u64, u64),
}

fn identity(of: &Metadata) -> (u64, u64) {
    (of.dev(), of.ino())
}

impl Opened {
    /// Linux names a file without opening it for use: to close such a descriptor does not end
    /// SQLite's locks, as it does with any other descriptor of the file.
    #[cfg(target_os = "linux")]
    fn new(path: PathBuf) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.read(true);
        let flags = rustix::fs::OFlags::PATH.bits().cast_signed();
        std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, flags);
        let file = options.open(&path)?;
        Ok(Self { path, file })
    }

    #[cfg(not(target_os = "linux"))]
    fn new(path: PathBuf) -> io::Result<Self> {
        let identity = identity(&std::fs::metadata(&path)?);
        Ok(Self { path, identity })
    }

    #[cfg(target_os = "linux")]
    fn identity(&self) -> io::Result<(u64, u64)> {
        // Asked each time: some file systems give a file that is open another number.
        self.file.metadata().map(|found| identity(&found))
    }

    #[cfg(not(target_os = "linux"))]
    fn identity(&self) -> io::Result<(u64, u64)> {
        Ok(self.identity)
    }

    /// In words, when it is not the file of its name.
    fn look(&self) -> Result<(), String> {
        let found = std::fs::metadata(&self.path).and_then(|found| Ok((found, self.identity()?)));
        match found {
            Ok((found, own)) if identity(&found) == own => Ok(()),
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

/// The files of a store.
pub(super) struct Files {
    opened: Vec<Opened>,
    directory: PathBuf,
    are_gone: AtomicBool,
    /// The last commit failed, or the next may.
    is_suspect: AtomicBool,
}

impl Files {
    /// The files of the database at `path`, which a connection has just opened in WAL mode.
    pub(super) fn of(path: &Path) -> Result<Arc<Self>, Error> {
        let opened = ENDINGS.into_iter().map(|ending| {
            let mut name = path.as_os_str().to_owned();
            name.push(ending);
            let name = PathBuf::from(name);
            Opened::new(name.clone()).map_err(|why| {
                Error::Database(format!("{} cannot be looked at: {why}", name.display()))
            })
        });
        Ok(Arc::new(Self {
            opened: opened.collect::<Result<_, _>>()?,
            directory: path.parent().unwrap_or(Path::new("")).to_owned(),
            are_gone: AtomicBool::new(false),
            is_suspect: AtomicBool::new(false),
        }))
    }

    /// Looks at every file. A change is logged once.
    pub(super) fn look(&self) -> Result<(), Error> {
        let looked = self.opened.iter().try_for_each(|one| {
            one.look()
                .map_err(|found| (one.path.display().to_string(), found))
        });
        let were_gone = self.are_gone.swap(looked.is_err(), Ordering::Relaxed);
        match &looked {
            Err((file, found)) if !were_gone => tracing::error!(
                file,
                found,
                "the database's files were removed or replaced under the server, and every request gets 503: put back what was moved away, or stop the server, restore the data directory, and start it again"
            ),
            Ok(()) if were_gone => {
                tracing::info!("the database's files are back; requests are served again");
            }
            _ => {}
        }
        self.must_be_there()
    }

    /// Refuses to go on once a file was found to be gone.
    pub(super) fn must_be_there(&self) -> Result<(), Error> {
        if self.are_gone.load(Ordering::Relaxed) {
            return Err(Error::Refused(
                "the files of the database were removed or replaced under the server; its operator has to put them back"
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
    use std::fs;

    use super::*;

    fn made(directory: &Path) -> (PathBuf, Arc<Files>, Vec<File>) {
        let path = directory.join("portico.db");
        let held = ENDINGS.map(|ending| {
            let name = directory.join(format!("portico.db{ending}"));
            fs::write(&name, ending).unwrap();
            File::open(name).unwrap()
        });
        let files = Files::of(&path).unwrap();
        (path, files, held.into())
    }

    #[test]
    fn a_file_that_is_gone_or_another_is_noticed_and_one_that_is_back_too() {
        for ending in ENDINGS {
            let dir = tempfile::tempdir().unwrap();
            let (_, files, _held) = made(dir.path());
            let (name, aside) = (
                dir.path().join(format!("portico.db{ending}")),
                dir.path().join("aside"),
            );
            assert!(files.look().is_ok());
            // Written to and renamed over itself, as it were: nothing has changed.
            fs::write(&name, "longer than before").unwrap();
            assert!(files.look().is_ok());
            fs::rename(&name, &aside).unwrap();
            assert!(files.look().is_err(), "{ending}: moved away");
            assert!(files.must_be_there().is_err());
            fs::write(&name, ending).unwrap();
            assert!(files.look().is_err(), "{ending}: another is there");
            fs::rename(&aside, &name).unwrap();
            assert!(files.look().is_ok(), "{ending}: it is back");
            assert!(files.must_be_there().is_ok());
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
        let (_, files, _held) = made(&own);
        fs::rename(&own, &aside).unwrap();
        assert!(files.look().is_err());
        fs::create_dir(&own).unwrap();
        let (_, others, _held) = made(&own);
        assert!(files.look().is_err());
        assert!(others.look().is_ok());
        fs::write(&aside, "").unwrap_err();
    }
}

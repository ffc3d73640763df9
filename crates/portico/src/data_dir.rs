//! The data directory: the names of its files, and the right to serve it.
//!
//! Guarantee: closed to other users, served by one process at a time, and not at all where others
//! may write. The right to serve is a
//! lock on the directory itself, which cannot be removed while the database in it stays; servers of
//! older versions take the one on a file in it.

use std::{
    fs::{File, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, bail};
use store::sqlite::note;

use crate::private_file::{self, Us};

/// The database's name.
const DATABASE: &str = "portico.db";

/// The file that a running server holds locked, for versions that do not know the lock on the
/// directory.
const LOCK: &str = "serve.lock";

/// Entries that are no sign of data that is missing: our lock, a database without a byte, and what
/// ext4 puts into every new file system.
const OF_NO_ACCOUNT: [&str; 3] = [LOCK, DATABASE, "lost+found"];

/// Names that a message lists.
const LISTED_MAX: usize = 5;

/// How long a lock is waited for: `doctor` holds it for microseconds to see whether it is taken.
const LOCK_TRIES_MAX: u32 = 20;
const LOCK_EVERY: Duration = Duration::from_millis(25);

/// The database's file in `data_dir`.
pub(crate) fn database(data_dir: &Path) -> PathBuf {
    data_dir.join(DATABASE)
}

/// The file in `data_dir` that a running server holds locked.
pub(crate) fn lock_file(data_dir: &Path) -> PathBuf {
    data_dir.join(LOCK)
}

/// True if a server or a command has kept anything in `data_dir`.
///
/// # Errors
/// When this user may not see that.
pub(crate) fn holds_data(data_dir: &Path) -> anyhow::Result<bool> {
    database(data_dir)
        .try_exists()
        .with_context(|| format!("{} cannot be looked into", data_dir.display()))
}

/// Makes the data directory when there is none, closed to other users: prospects' contacts are in
/// it.
///
/// # Errors
/// When it cannot be made.
pub(crate) fn make(data_dir: &Path) -> anyhow::Result<()> {
    if private_file::is_secret(data_dir) {
        bail!(
            "the data directory is named by a URL or a key. Name a directory; a PostgreSQL database is named by --store-file"
        );
    }
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(data_dir)
        .with_context(|| format!("the data directory {} cannot be made", data_dir.display()))
}

/// The bits of a mode that let others write, and a group.
const OTHERS_WRITE: u32 = 0o002;
const GROUP_WRITES: u32 = 0o020;

/// The bit of a directory in which only its owner renames what is theirs.
const STICKY: u32 = 0o1000;

/// Checks that nobody but this process's user and root, and a group that this process is of, may
/// put anything into `data_dir` or change the database in it. Who may can have the server answer
/// with what they like.
///
/// # Errors
/// In words, when somebody may.
fn check_closed(data_dir: &Path) -> anyhow::Result<()> {
    let us = Us::now();
    let files = [
        DATABASE,
        "portico.db-wal",
        "portico.db-shm",
        "portico.db-commit",
        "portico.db-reserve",
        LOCK,
    ]
    .map(|name| data_dir.join(name));
    for path in std::iter::once(data_dir.to_owned()).chain(files) {
        let found = match std::fs::metadata(&path) {
            Ok(found) => found,
            Err(why) if why.kind() == io::ErrorKind::NotFound => continue,
            Err(why) => {
                return Err(why).with_context(|| format!("{} cannot be looked at", path.display()));
            }
        };
        let (mode, shown) = (found.mode() & 0o7777, path.display());
        if !us.trusts(found.uid()) {
            let (owner, own) = (found.uid(), us.user());
            bail!(
                "{shown} belongs to user {owner}, who may change it, and this process runs as user {own}; run it as user {owner}, or see whether what is in it is as you left it, and give it to user {own}: chown {own} {shown}"
            );
        }
        if mode & OTHERS_WRITE != 0 {
            bail!(
                "every user of this machine may write to {shown} (mode {mode:o}); close it: chmod o-w {shown}, and see whether what is in it is as you left it"
            );
        }
        if mode & GROUP_WRITES != 0 && !us.has_group(found.gid()) {
            bail!(
                "group {}, which this process does not belong to, may write to {shown} (mode {mode:o}); close it: chmod g-w {shown}, and see whether what is in it is as you left it",
                found.gid()
            );
        }
    }
    Ok(())
}

/// The directory that `data_dir` is in, if every user may rename it there and put another in its
/// place.
fn open_parent(data_dir: &Path) -> Option<PathBuf> {
    let parent = data_dir.canonicalize().ok()?.parent()?.to_owned();
    let mode = std::fs::metadata(&parent).ok()?.mode();
    (mode & OTHERS_WRITE != 0 && mode & STICKY == 0).then_some(parent)
}

/// The risks that the operator allows at a start.
#[derive(Clone, Copy, Default)]
pub(crate) struct Allowed {
    /// A new database beside other files.
    pub(crate) new: bool,
    /// A database that lacks commits.
    pub(crate) loss: bool,
}

/// Looks at what a server is about to start on. The directory is owned. Returns whether a new
/// database is to be made.
///
/// # Errors
/// When there is no database, and other files say that there was one or that this is the wrong
/// directory.
pub(crate) fn begin(data_dir: &Path, allowed: Allowed) -> anyhow::Result<bool> {
    let path = database(data_dir);
    if allowed.loss {
        let missing = note::accept_loss(&path)?;
        if missing > 0 {
            tracing::warn!(
                database = %path.display(), missing_commits = missing,
                "the database lacks commits that were answered; it is served without them, as --accept-loss says"
            );
        }
    }
    is_new(data_dir, allowed.new)
}

/// Whether a new database is to be made in `data_dir`, which is there.
///
/// # Errors
/// As [`begin`], unless it is allowed.
pub(crate) fn is_new(data_dir: &Path, is_allowed: bool) -> anyhow::Result<bool> {
    if holds_data(data_dir)? && !is_empty(&database(data_dir))? {
        return Ok(false);
    }
    let shown = data_dir.display();
    let others = others(data_dir).with_context(|| format!("{shown} cannot be looked into"))?;
    if !others.is_empty() && !is_allowed {
        let listed = others[..others.len().min(LISTED_MAX)].join(", ");
        let more = if others.len() > LISTED_MAX {
            ", ..."
        } else {
            ""
        };
        bail!(
            "there is no database in {shown}, and there are other files ({listed}{more}): name the right directory with --data-dir or PORTICO_DATA_DIR, put {DATABASE} back, or start `portico serve` once with --init to make a new database here"
        );
    }
    Ok(true)
}

/// True if the file has no bytes: SQLite would make a new database of it.
fn is_empty(path: &Path) -> anyhow::Result<bool> {
    std::fs::metadata(path)
        .map(|found| found.len() == 0)
        .with_context(|| format!("{} cannot be looked at", path.display()))
}

/// Logs that a new database was made: the operator may expect another there.
pub(crate) fn warn_of_new(data_dir: &Path) {
    tracing::warn!(
        directory = %data_dir.display(),
        "there was no database in the data directory; a new, empty one is made. If there should be one, stop the server and see whether its volume is mounted"
    );
}

/// The names in `data_dir` that say that something was kept there.
fn others(data_dir: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(data_dir)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if !OF_NO_ACCOUNT.contains(&&*name) {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// Proof that no other server uses the data directory, while it lives.
pub(crate) struct Owned {
    _directory: File,
    _file: File,
}

/// Takes the data directory for this process.
///
/// # Errors
/// When another server has it, or others may write to it.
pub(crate) fn own(data_dir: &Path) -> anyhow::Result<Owned> {
    make(data_dir)?;
    check_closed(data_dir)?;
    if let Some(parent) = open_parent(data_dir) {
        tracing::warn!(
            directory = %parent.display(),
            "every user of this machine may replace the data directory; close the directory that it is in: chmod o-w"
        );
    }
    let shown = data_dir.display();
    let directory = File::open(data_dir).with_context(|| format!("{shown} cannot be opened"))?;
    lock(&directory, data_dir)?;
    let file = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(lock_file(data_dir))
        .with_context(|| format!("the lock file in {shown} cannot be made"))?;
    lock(&file, data_dir)?;
    let identity = |of: io::Result<std::fs::Metadata>| of.map(|of| (of.dev(), of.ino()));
    if identity(directory.metadata())? != identity(std::fs::metadata(data_dir))? {
        bail!("{shown} was replaced by another directory just now; start again");
    }
    Ok(Owned {
        _directory: directory,
        _file: file,
    })
}

fn lock(file: &File, data_dir: &Path) -> anyhow::Result<()> {
    for _ in 0..LOCK_TRIES_MAX {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_EVERY),
            Err(TryLockError::Error(why)) => {
                return Err(why).with_context(|| {
                    format!(
                        "the data directory {} cannot be locked: keep it on a disk of this machine",
                        data_dir.display()
                    )
                });
            }
        }
    }
    bail!(
        "another portico already serves {}; stop it, or choose another --data-dir",
        data_dir.display()
    )
}

/// True if a server, of this version or an older one, uses `data_dir`.
///
/// # Errors
/// When that cannot be told.
pub(crate) fn is_served(data_dir: &Path) -> io::Result<bool> {
    for path in [data_dir.to_owned(), lock_file(data_dir)] {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(why) if why.kind() == io::ErrorKind::NotFound => continue,
            Err(why) => return Err(why),
        };
        match file.try_lock_shared() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(true),
            Err(TryLockError::Error(why)) => return Err(why),
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    #[test]
    fn a_directory_has_one_server_whatever_is_removed_in_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let own_dir = dir.path().join("data");
        let owned = own(&own_dir).expect("it is free");
        let is_refused = |path: &Path| {
            own(path)
                .err()
                .is_some_and(|why| why.to_string().contains("already serves"))
        };
        assert!(is_refused(&own_dir));
        fs::remove_file(own_dir.join(LOCK)).expect("removed");
        assert!(is_refused(&own_dir), "the lock file is gone");
        let moved = dir.path().join("moved");
        fs::rename(&own_dir, &moved).expect("renamed");
        assert!(is_refused(&moved), "the lock goes with the directory");
        assert!(is_served(&moved).expect("told"));
        drop(owned);
        assert!(!is_served(&moved).expect("told"));
        let _owned = own(&moved).expect("it is free");
    }

    #[test]
    fn a_directory_that_others_may_write_to_is_not_served() {
        let dir = tempfile::tempdir().expect("a directory");
        fs::write(database(dir.path()), "").expect("written");
        let mode = |path: &Path, mode: u32| {
            fs::set_permissions(path, PermissionsExt::from_mode(mode)).expect("a mode");
        };
        for (of_directory, of_database, is_served) in [
            (0o700, 0o600, true),
            (0o755, 0o644, true),
            // Our own group, as volumes of Kubernetes have it.
            (0o2775, 0o664, true),
            (0o707, 0o600, false),
            (0o777, 0o600, false),
            (0o1777, 0o600, false),
            (0o702, 0o600, false),
            (0o700, 0o602, false),
            (0o700, 0o666, false),
        ] {
            mode(dir.path(), of_directory);
            mode(&database(dir.path()), of_database);
            match own(dir.path()) {
                Ok(_) => assert!(is_served, "{of_directory:o} {of_database:o}"),
                Err(why) => {
                    let why = why.to_string();
                    assert!(!is_served && why.contains("chmod o-w"), "{why}");
                }
            }
        }
    }

    #[test]
    fn a_directory_of_another_user_is_not_served() {
        use std::os::unix::fs::chown;

        let dir = tempfile::tempdir().expect("a directory");
        let file = database(dir.path());
        fs::write(&file, "").expect("written");
        // Only root may give files away.
        if chown(&file, Some(65_533), None).is_err() {
            return;
        }
        for (of_directory, of_database, expected) in [
            (0, 0, None),
            (0, 65_533, Some(file.clone())),
            (65_533, 0, Some(dir.path().to_owned())),
        ] {
            chown(dir.path(), Some(of_directory), None).expect("given");
            chown(&file, Some(of_database), None).expect("given");
            let why = own(dir.path()).err().map(|why| why.to_string());
            let words = expected.map(|path| format!("{} belongs to user 65533", path.display()));
            assert_eq!(why.is_some(), words.is_some(), "{why:?}");
            let (why, words) = (why.unwrap_or_default(), words.unwrap_or_default());
            assert!(why.starts_with(&words), "{why}");
        }
    }

    #[test]
    fn a_parent_in_which_every_user_may_rename_is_told() {
        let dir = tempfile::tempdir().expect("a directory");
        let data_dir = dir.path().join("data");
        make(&data_dir).expect("made");
        let parent = dir.path().canonicalize().expect("a path");
        for (mode, is_told) in [
            (0o755, false),
            (0o1777, false),
            (0o777, true),
            (0o703, true),
        ] {
            fs::set_permissions(dir.path(), PermissionsExt::from_mode(mode)).expect("a mode");
            let told = open_parent(&data_dir);
            assert_eq!(told, is_told.then(|| parent.clone()), "{mode:o}");
        }
    }

    #[test]
    fn a_server_of_an_older_version_is_seen() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = File::create(dir.path().join(LOCK)).expect("made");
        file.try_lock().expect("free");
        assert!(is_served(dir.path()).expect("told"));
        assert!(own(dir.path()).is_err());
        drop(file);
        assert!(own(dir.path()).is_ok());
    }

    #[test]
    fn a_new_database_is_made_in_an_empty_directory_or_when_that_is_asked_for() {
        let new = Allowed {
            new: true,
            loss: false,
        };
        for (names, is_begun) in [
            (&[][..], true),
            (&["lost+found"], true),
            (&["lost+found", LOCK], true),
            (&["master.key"], false),
            (&["portico.db-wal"], false),
            (&["lost+found", "backup.db"], false),
            (&["a", "b", "c", "d", "e", "f"], false),
        ] {
            let dir = tempfile::tempdir().expect("a directory");
            for name in names {
                fs::write(dir.path().join(name), "").expect("written");
            }
            let begun = begin(dir.path(), Allowed::default());
            assert_eq!(begun.is_ok(), is_begun, "{names:?}");
            if let Err(why) = begun {
                let why = why.to_string();
                assert!(why.contains(names[0]) || names[0] == "lost+found", "{why}");
                assert!(why.contains("--init"), "{why}");
            }
            assert!(begin(dir.path(), new).expect("it may be made"), "{names:?}");
            fs::write(database(dir.path()), "").expect("written");
            assert!(begin(dir.path(), new).expect("it may be made"), "{names:?}");
            assert_eq!(begin(dir.path(), Allowed::default()).is_ok(), is_begun);
            fs::write(database(dir.path()), "x").expect("written");
            assert!(!begin(dir.path(), new).expect("it is there"), "{names:?}");
        }
    }
}

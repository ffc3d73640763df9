//! The data directory, its files, and the disk under them.

use std::{
    fs::OpenOptions,
    io::{ErrorKind, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::process::{Resource, geteuid, getrlimit};
use store::sqlite::is_used_up;

use super::Check;
use crate::data_dir;

/// The bits of a file's mode that let its group or others at it.
const OTHERS: u32 = 0o077;

/// The bits that let a file's owner read and change it.
const OWN: u32 = 0o600;

/// The bits that let others change a file.
const OTHERS_WRITE: u32 = 0o022;

/// MiB that must be free: the write-ahead log alone takes 64 before it is folded in, and some times that under load.
pub(crate) const FREE_MIN_MIB: u64 = 256;

/// MiB under which it is time to make room: some hundred thousand prospects.
const FREE_FEW_MIB: u64 = 2_048;

/// Bytes that are written to see how long that takes: as much as a commit of a small batch.
const WRITTEN_BYTES: usize = 16 * 1_024;

/// How long a synced write may take: every accept waits for one or two.
const WRITE_WITHIN: Duration = Duration::from_millis(100);

/// The file that is written to, and removed.
const WRITTEN: &str = ".doctor";

/// Open files that the server may want: its connections at most, and a margin for the database and calls to vendors.
const FILES_MIN: u64 = 12_000 + 1_000;

fn mode(of: &std::fs::Metadata) -> u32 {
    of.mode() & 0o777
}

pub(super) fn directory(data_dir: &Path, is_there: bool) -> Check {
    const NAME: &str = "data directory";
    let shown = data_dir.display();
    if !is_there {
        return Check::fail(
            NAME,
            format!("there is no Portico data in {shown}"),
            "name the server's directory with --data-dir or PORTICO_DATA_DIR; `portico serve` makes a new one",
        );
    }
    let found = match std::fs::metadata(data_dir) {
        Ok(found) => found,
        Err(why) => {
            return Check::fail(
                NAME,
                format!("{shown} cannot be read: {why}"),
                "run this as the user who runs the server",
            );
        }
    };
    let (told, mend) = (
        |how: &str| {
            format!(
                "others than its owner can {how} {shown} (mode {:o})",
                mode(&found)
            )
        },
        format!("chmod 700 {shown}"),
    );
    if mode(&found) & OTHERS_WRITE != 0 {
        return Check::fail(NAME, told("put files into"), mend);
    }
    if mode(&found) & OTHERS != 0 {
        return Check::warn(NAME, told("look into"), mend);
    }
    let own = geteuid().as_raw();
    if found.uid() != own {
        return Check::warn(
            NAME,
            format!(
                "{shown} is user {}'s, and this runs as user {own}",
                found.uid()
            ),
            "run this, and every other command, as the user who runs the server",
        );
    }
    Check::ok(NAME, format!("{shown}, for its owner alone"))
}

pub(super) fn files(database: &Path) -> Check {
    const NAME: &str = "database files";
    let companion = |end: &str| {
        let mut path = database.as_os_str().to_owned();
        path.push(end);
        PathBuf::from(path)
    };
    let owner = database
        .parent()
        .and_then(|dir| std::fs::metadata(dir).ok())
        .map(|dir| dir.uid());
    let lock = database.parent().map(data_dir::lock_file);
    let mut files = vec![database.to_owned(), companion("-wal"), companion("-shm")];
    files.extend(lock);
    for path in files {
        let shown = path.display();
        let found = match std::fs::metadata(&path) {
            Ok(found) => found,
            Err(why) if why.kind() == ErrorKind::NotFound && !path.is_symlink() => continue,
            Err(why) => {
                return Check::fail(
                    NAME,
                    format!("{shown} cannot be looked at, and the server could not start: {why}"),
                    "run this as the user who runs the server; if that is so, let that user into the directory",
                );
            }
        };
        if !found.is_file() {
            return Check::fail(
                NAME,
                format!("{shown} is no file, and the server could not start"),
                "put back the file that was there",
            );
        }
        if mode(&found) & OTHERS != 0 {
            return Check::fail(
                NAME,
                format!(
                    "{shown} is open to others than its owner (mode {:o})",
                    mode(&found)
                ),
                format!("chmod 600 {shown}"),
            );
        }
        if let Some(owner) = owner.filter(|owner| *owner != found.uid()) {
            return Check::fail(
                NAME,
                format!(
                    "{shown} is user {}'s, its directory user {owner}'s: the server may not be able to write to it",
                    found.uid()
                ),
                format!("chown {owner} {shown}"),
            );
        }
        // As a start opens it. Nothing of it is read, and SQLite has none of these files open in this process.
        let opened = OpenOptions::new().read(true).write(true).open(&path);
        if let Err(why) = &opened
            && why.kind() == ErrorKind::ReadOnlyFilesystem
        {
            return Check::fail(
                NAME,
                format!("the file system of {shown} is read-only, and the server could not start"),
                "mount it for writing; if the system made it read-only, look at the disk first",
            );
        }
        if mode(&found) & OWN != OWN || opened.is_err() {
            let why = opened.err().map_or_else(
                || format!("its mode is {:o}", mode(&found)),
                |why| why.to_string(),
            );
            return Check::fail(
                NAME,
                format!("{shown} cannot be written to, and the server could not start: {why}"),
                format!(
                    "run this as the user who runs the server; if that is so, chmod 600 {shown}"
                ),
            );
        }
    }
    Check::ok(NAME, "for their owner alone")
}

/// MiB that whoever runs this may still use of the disk under `directory`.
pub(crate) fn free_mib(directory: &Path) -> rustix::io::Result<u64> {
    let disk = rustix::fs::statvfs(directory)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize) / (1_024 * 1_024))
}

pub(super) fn room(data_dir: &Path) -> Check {
    const NAME: &str = "disk space";
    let free_mib = match free_mib(data_dir) {
        Ok(free_mib) => free_mib,
        Err(why) => {
            return Check::warn(
                NAME,
                format!("how much is free cannot be told: {why}"),
                "look with df",
            );
        }
    };
    let (found, mend) = (
        format!("{free_mib} MiB free"),
        "make room, or move the data directory to a larger disk while the server is stopped",
    );
    match free_mib {
        _ if is_used_up(data_dir) => Check::fail(
            NAME,
            format!("{found}, and the server refuses new writes"),
            mend,
        ),
        ..FREE_FEW_MIB => Check::warn(NAME, found, mend),
        _ => Check::ok(NAME, found),
    }
}

pub(super) fn speed(data_dir: &Path) -> Check {
    const NAME: &str = "disk write";
    let path = data_dir.join(WRITTEN);
    let written = || {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&path)?;
        let begun = Instant::now();
        file.write_all(&[0x5a; WRITTEN_BYTES])?;
        file.sync_all()?;
        Ok::<_, std::io::Error>(begun.elapsed())
    };
    let took = written();
    let _ = std::fs::remove_file(&path);
    let took = match took {
        Ok(took) => took,
        Err(why) if why.kind() == ErrorKind::ReadOnlyFilesystem => {
            return Check::fail(
                NAME,
                format!("the file system of {} is read-only", data_dir.display()),
                "mount it for writing; if the system made it read-only, look at the disk first",
            );
        }
        Err(why) => {
            return Check::fail(
                NAME,
                format!("a file in {} cannot be written: {why}", data_dir.display()),
                "let the user who runs the server write there, and make room if it is full",
            );
        }
    };
    let found = format!(
        "{} KiB written and synced in {:.1} ms",
        WRITTEN_BYTES / 1_024,
        took.as_secs_f64() * 1_000.0
    );
    if took > WRITE_WITHIN {
        return Check::warn(
            NAME,
            found,
            "every accepted write waits for this: use a local SSD rather than a network or busy disk",
        );
    }
    Check::ok(NAME, found)
}

pub(super) fn open_files() -> Check {
    const NAME: &str = "open files";
    // As of this process: the server's is that of whatever starts it.
    match getrlimit(Resource::Nofile).current {
        Some(limit) if limit < FILES_MIN => Check::warn(
            NAME,
            format!("at most {limit} here; the server may want {FILES_MIN}, a connection each"),
            format!(
                "start the server with `ulimit -n {FILES_MIN}`, or LimitNOFILE={FILES_MIN} under systemd"
            ),
        ),
        Some(limit) => Check::ok(NAME, format!("at most {limit} here")),
        None => Check::ok(NAME, "no limit here"),
    }
}

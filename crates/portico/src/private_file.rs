//! A file with a secret: a master key, or the URL of a database.
//!
//! Guarantee: one that others than its owner can read is refused, no more of it is read than a secret has, and what is in it is never told.

use std::{
    fs::{File, OpenOptions},
    io::{Read, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::Path,
};

use anyhow::Context;
use model::Secret;

/// Bytes of a secret at most: a handful of keys, or a URL with a handful of hosts.
pub(crate) const SECRET_MAX_BYTES: u64 = 4 * 1_024;

/// The bits of a file's mode that let its group or others at it.
const OTHERS: u32 = 0o077;

/// The text in `path`, which is to be `what`.
///
/// # Errors
/// In words, when it cannot be read, is open to others, or is too long.
pub(crate) fn read(path: &Path, what: &str) -> Result<Secret, String> {
    let shown = path.display();
    let unreadable = |why| format!("the file {shown} cannot be read: {why}");
    let file = File::open(path).map_err(unreadable)?;
    let mode = file.metadata().map_err(unreadable)?.mode();
    if mode & OTHERS != 0 {
        return Err(format!(
            "the file {shown} is open to others than its owner (mode {:o}); close it: chmod 600 {shown}",
            mode & 0o777
        ));
    }
    let mut text = String::new();
    let read = file.take(SECRET_MAX_BYTES + 1).read_to_string(&mut text);
    let text = Secret::new(text);
    if read.map_err(unreadable)? as u64 > SECRET_MAX_BYTES {
        return Err(format!(
            "the file {shown} has more than {SECRET_MAX_BYTES} bytes: it is no {what}"
        ));
    }
    Ok(text)
}

/// Keeps a secret in `path`, readable by its owner only, in place of what was there.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn write(path: &Path, secret: &Secret) -> anyhow::Result<()> {
    let written = || {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(path)?;
        file.write_all(secret.expose().as_bytes())?;
        file.sync_all()
    };
    written().with_context(|| format!("{} cannot be written", path.display()))
}

//! A file with a secret: a master key, or the URL of a database.
//!
//! Guarantee: one that is open to others than this process and its owner is refused, no more of it
//! is read than a secret has, and what is in it is never told.

use std::{
    fs::File,
    io::{Read, Write},
    os::unix::fs::MetadataExt,
    path::Path,
};

use anyhow::Context;
use model::Secret;
use rustix::process::{getegid, geteuid, getgroups};

use crate::text_file::plain;

/// Bytes of a secret at most: a handful of keys, or a URL with a handful of hosts.
pub(crate) const SECRET_MAX_BYTES: u64 = 4 * 1_024;

/// The bits of a file's mode that let others at it than its owner and its group.
const OTHERS: u32 = 0o007;

/// The bits that let a file's group change or run it.
const GROUP_MORE: u32 = 0o030;

/// The one that lets its group read it.
const GROUP_READS: u32 = 0o040;

/// The user and the groups that a process runs as.
pub(crate) struct Us {
    user: u32,
    groups: Vec<u32>,
}

impl Us {
    pub(crate) fn now() -> Self {
        let more = getgroups().unwrap_or_default();
        let groups = std::iter::once(getegid()).chain(more);
        Self {
            user: geteuid().as_raw(),
            groups: groups.map(rustix::process::Gid::as_raw).collect(),
        }
    }
}

impl Us {
    /// The user that the process runs as.
    pub(crate) fn user(&self) -> u32 {
        self.user
    }

    /// Whether what `owner` has may be changed by nobody but the process and root.
    pub(crate) fn trusts(&self, owner: u32) -> bool {
        owner == self.user || owner == 0
    }

    /// Whether the process belongs to `group`.
    pub(crate) fn has_group(&self, group: u32) -> bool {
        self.groups.contains(&group)
    }
}

/// Checks that a file of `mode`, of `owner` and `group`, is open to nobody who should not read it.
/// A group that we belong to may read a file that is ours or root's: so a service that may not
/// change its key is given it.
fn check(mode: u32, owner: u32, group: u32, us: &Us) -> Result<(), String> {
    let closed = "close it: chmod 600";
    if mode & OTHERS != 0 {
        return Err(format!("is open to every user; {closed}"));
    }
    if mode & GROUP_MORE != 0 {
        return Err(format!("can be changed or run by its group; {closed}"));
    }
    if mode & GROUP_READS == 0 {
        return Ok(());
    }
    if !us.trusts(owner) {
        return Err(format!(
            "can be read by its group, and is user {owner}'s: make root its owner, or {closed}"
        ));
    }
    if !us.has_group(group) {
        return Err(format!(
            "can be read by group {group}, which this process, of user {}, does not belong to; run it as the service's user, or {closed}",
            us.user
        ));
    }
    Ok(())
}

/// True if a path looks like a secret: 64 hexadecimal digits, or a URL. A message must not quote it.
pub(crate) fn is_secret(path: &Path) -> bool {
    let text = path.to_string_lossy();
    let text = text.trim();
    let is_hex = text.len() >= 64 && text.chars().all(|one| one.is_ascii_hexdigit());
    is_hex || text.contains("://")
}

/// The text in `path`, which is to be `what`.
///
/// # Errors
/// In words, when it cannot be read, is open to others, is too long, or is no plain text.
pub(crate) fn read(path: &Path, what: &str) -> Result<Secret, String> {
    if is_secret(path) {
        return Err(format!(
            "a {what} stands where its file is to be named: put it into a file that only you can read, and name that"
        ));
    }
    let shown = path.display();
    let unreadable = |why| format!("the file {shown} cannot be read: {why}");
    let file = File::open(path).map_err(unreadable)?;
    let found = file.metadata().map_err(unreadable)?;
    let mode = found.mode() & 0o777;
    check(mode, found.uid(), found.gid(), &Us::now())
        .map_err(|why| format!("the file {shown} (mode {mode:o}) {why} {shown}"))?;
    let mut bytes = Vec::new();
    file.take(SECRET_MAX_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if bytes.len() as u64 > SECRET_MAX_BYTES {
        return Err(format!(
            "the file {shown} has more than {SECRET_MAX_BYTES} bytes: it is no {what}"
        ));
    }
    plain(bytes)
        .map(Secret::new)
        .map_err(|why| format!("the file {shown} {why}"))
}

/// Keeps a secret in `path`, readable by its owner only, in place of what was there: all of it, or
/// nothing is changed.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn write(path: &Path, secret: &Secret) -> anyhow::Result<()> {
    let directory = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let written = || {
        // Open to its owner only, and removed where it does not become the one at `path`.
        let mut file = tempfile::NamedTempFile::new_in(directory)?;
        file.write_all(secret.expose().as_bytes())?;
        file.as_file().sync_all()?;
        file.persist(path).map(drop).map_err(|failed| failed.error)
    };
    written().with_context(|| format!("{} cannot be written", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_in_place_of_its_file_is_not_repeated() {
        for secret in [
            "3d".repeat(32),
            "postgres://u:SuperSecretPw@db/x".to_owned(),
        ] {
            let found = read(Path::new(&secret), "master key");
            let why = found.err().unwrap_or_default();
            assert!(
                !why.contains(&secret) && why.contains("stands where its file"),
                "{why}"
            );
        }
        assert!(!is_secret(Path::new("/etc/portico/master.key")));
        assert!(!is_secret(Path::new("3d3d")));
    }

    #[test]
    fn a_secret_is_open_to_its_owner_and_the_services_group_alone() {
        let us = Us {
            user: 1_000,
            groups: vec![1_000, 900],
        };
        for (mode, owner, group, expected) in [
            (0o600, 1_000, 1_000, Ok(())),
            (0o400, 1_000, 1_000, Ok(())),
            // Only root can open it.
            (0o600, 2_000, 2_000, Ok(())),
            // As Kubernetes and systemd give a secret to a service.
            (0o440, 0, 900, Ok(())),
            (0o440, 1_000, 900, Ok(())),
            (0o640, 0, 1_000, Ok(())),
            (0o040, 0, 900, Ok(())),
            (0o440, 2_000, 900, Err("is user 2000's")),
            (
                0o440,
                0,
                0,
                Err("group 0, which this process, of user 1000"),
            ),
            (0o440, 1_000, 50, Err("group 50, which")),
            (0o660, 0, 900, Err("can be changed or run by its group")),
            (0o460, 0, 900, Err("can be changed or run by its group")),
            (0o450, 0, 900, Err("can be changed or run by its group")),
            (0o444, 0, 900, Err("is open to every user")),
            (0o644, 1_000, 1_000, Err("is open to every user")),
            (0o402, 1_000, 1_000, Err("is open to every user")),
            (0o401, 1_000, 1_000, Err("is open to every user")),
        ] {
            let found = check(mode, owner, group, &us);
            match (&found, expected) {
                (Ok(()), Ok(())) => {}
                (Err(why), Err(part)) if why.contains(part) => {}
                _ => panic!("{mode:o}, {owner}, {group}: {found:?}"),
            }
        }
    }
}

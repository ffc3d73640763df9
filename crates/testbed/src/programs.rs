//! Where PostgreSQL's programs are, and as whom they run.
//!
//! Guarantee: none runs as root, which PostgreSQL refuses.

use std::{
    env, fs, io,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// Names the folder of the programs, for who has them elsewhere.
const BIN_VARIABLE: &str = "PORTICO_POSTGRES_BIN";

/// Where Debian and its descendants have them, a folder a version.
const DEBIAN: &str = "/usr/lib/postgresql";

/// As whom they run when the tests run as root: the first of these that exists.
const USERS: [&str; 2] = ["postgres", "nobody"];

/// PostgreSQL's programs on this machine.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    bin: PathBuf,
    user: Option<User>,
}

#[derive(Clone, Copy, Debug)]
struct User {
    uid: u32,
    gid: u32,
}

impl Programs {
    /// What to say where there are none.
    pub(crate) const MISSING: &str = "this machine has no PostgreSQL server. Install it (on Debian: package postgresql), or name the folder of its programs in PORTICO_POSTGRES_BIN";

    /// Looks for them; `None` where there are none.
    ///
    /// # Errors
    /// When the folder that the environment names has none, or when there is nobody as whom they may run.
    pub(crate) fn find() -> io::Result<Option<Self>> {
        let Some(bin) = find_bin()? else {
            return Ok(None);
        };
        let user = if rustix::process::geteuid().is_root() {
            let found = USERS.iter().find_map(|name| user(name));
            let missing = "PostgreSQL does not run as root, and this machine has no other user for it: `postgres` or `nobody`";
            Some(found.ok_or_else(|| io::Error::other(missing))?)
        } else {
            None
        };
        Ok(Some(Self { bin, user }))
    }

    /// A program of PostgreSQL's, to be run with `home` as its working folder.
    pub(crate) fn command(&self, program: &str, home: &Path) -> Command {
        self.any(&self.bin.join(program), home)
    }

    /// Any program, as whoever PostgreSQL runs as.
    pub(crate) fn any(&self, program: &Path, home: &Path) -> Command {
        let mut command = Command::new(program);
        // The working folder of the tests may be closed to who it runs as.
        command.current_dir(home);
        if let Some(user) = self.user {
            command.uid(user.uid).gid(user.gid);
        }
        // Messages are searched for words, and no setting of the developer's own (PGHOST, PGOPTIONS) may reach a test.
        command.env("LC_ALL", "C");
        for (name, _) in env::vars_os() {
            if name.to_string_lossy().starts_with("PG") {
                command.env_remove(name);
            }
        }
        command
    }

    /// Hands a file or folder to whoever PostgreSQL runs as.
    ///
    /// # Errors
    /// When it cannot be handed over.
    pub(crate) fn own(&self, path: &Path) -> io::Result<()> {
        match self.user {
            Some(user) => std::os::unix::fs::chown(path, Some(user.uid), Some(user.gid)),
            None => Ok(()),
        }
    }
}

/// Runs it to its end.
///
/// # Errors
/// When it cannot be started or fails, with what it said.
pub(crate) fn run(command: &mut Command) -> io::Result<Output> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| {
        let place = command.get_current_dir().unwrap_or(Path::new("."));
        let words = format!("{name} cannot be run in {}: {error}", place.display());
        io::Error::new(error.kind(), words)
    })?;
    if output.status.success() {
        return Ok(output);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!(
        "{name} failed ({}): {}",
        output.status,
        said.trim()
    )))
}

fn is_complete(bin: &Path) -> bool {
    ["initdb", "postgres", "pg_basebackup"]
        .iter()
        .all(|program| bin.join(program).exists())
}

fn find_bin() -> io::Result<Option<PathBuf>> {
    if let Some(named) = env::var_os(BIN_VARIABLE) {
        let bin = PathBuf::from(named);
        if is_complete(&bin) {
            return Ok(Some(bin));
        }
        return Err(io::Error::other(format!(
            "{BIN_VARIABLE} names {}, which has no PostgreSQL server: it needs initdb, postgres and pg_basebackup",
            bin.display()
        )));
    }
    let told = run(Command::new("pg_config").arg("--bindir")).ok();
    let told = told.map(|output| PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()));
    let path = env::var_os("PATH").unwrap_or_default();
    let found = told.into_iter().chain(env::split_paths(&path));
    Ok(found.chain(debian()).find(|bin| is_complete(bin)))
}

/// Debian's folders, the newest version first.
fn debian() -> Vec<PathBuf> {
    let entries = fs::read_dir(DEBIAN).into_iter().flatten().flatten();
    let mut versions: Vec<u32> = entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    versions.sort_unstable_by(|one, other| other.cmp(one));
    let folder = |version: u32| Path::new(DEBIAN).join(version.to_string()).join("bin");
    versions.into_iter().map(folder).collect()
}

fn user(name: &str) -> Option<User> {
    let id = |which: &str| {
        let output = run(Command::new("id").args([which, name])).ok()?;
        String::from_utf8_lossy(&output.stdout).trim().parse().ok()
    };
    Some(User {
        uid: id("-u")?,
        gid: id("-g")?,
    })
}

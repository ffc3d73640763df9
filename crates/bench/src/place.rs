//! Where a measured store is: in a data directory, or in a PostgreSQL database.
//!
//! Guarantee: a PostgreSQL server of its own ends with its handle, and nothing of it is left; a
//! database of the operator's was empty before.

use std::{
    ffi::OsString,
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context, anyhow, bail};
use model::{Entropy as _, Secret, hex};
use store::postgres::{self, config::is_url};
use tempfile::TempDir;
use testbed::{Options, Server};

use crate::system::SystemEntropy;

/// The word that names a PostgreSQL server of the benchmark's own.
const OWN: &str = "postgres";

/// The database's name there.
const NAME: &str = "portico";

/// The name of SQLite's database in a data directory.
const SQLITE_FILE: &str = "portico.db";

/// Connections to a server of its own besides those that a pool has: those that read and listen, of
/// two servers and two workers, and some in reserve.
const CONNECTIONS_BESIDE: usize = 60;

/// The database that is measured.
#[derive(Clone)]
pub(crate) enum Named {
    /// One in a PostgreSQL server that is started for it.
    Own,
    /// The operator's.
    Url(Secret),
}

/// Reads the value of `--store`.
///
/// # Errors
/// In words, without the value: a password may be in it.
pub(crate) fn named(text: &str) -> Result<Named, String> {
    match text {
        OWN => Ok(Named::Own),
        url if is_url(url) => Ok(Named::Url(Secret::new(url))),
        _ => Err(format!(
            "name it `{OWN}`, or the URL of an empty database: postgres://user:password@host/database"
        )),
    }
}

/// A place for a store, and its master key.
pub(crate) struct Place {
    // The master key, and the data directory or the URL of the database.
    directory: TempDir,
    is_shared: bool,
    // Held so that it runs.
    _server: Option<Server>,
}

impl Place {
    /// A data directory, in `within` if that is given.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(crate) fn directory(within: Option<&Path>) -> anyhow::Result<Self> {
        let directory = temporary(within)?;
        let place = Self {
            directory,
            is_shared: false,
            _server: None,
        };
        place.seal()?;
        Ok(place)
    }

    /// A database, with its server in `within` if that is given. A server of its own has room for
    /// a pool of so many connections.
    ///
    /// # Errors
    /// When this machine has no PostgreSQL, or the operator's database cannot be used.
    pub(crate) async fn database(
        named: &Named,
        pool: usize,
        within: Option<&Path>,
    ) -> anyhow::Result<Self> {
        let directory = temporary(within)?;
        let (url, server) = match named {
            Named::Own => {
                let within = within.map(Path::to_owned);
                let started = tokio::task::spawn_blocking(move || own(pool, within.as_deref()));
                let (url, server) = started.await??;
                (url, Some(server))
            }
            Named::Url(url) => (url.clone(), None),
        };
        let database = database(&url)?;
        let told = database.told();
        let looked = tokio::task::spawn_blocking(move || postgres::holds_data(&database));
        if looked.await?? {
            bail!(
                "{told} is in use: what is measured needs a database that Portico has kept nothing in"
            );
        }
        let place = Self {
            directory,
            is_shared: true,
            _server: server,
        };
        place.seal()?;
        private(&place.store_file(), &url)?;
        Ok(place)
    }

    fn seal(&self) -> anyhow::Result<()> {
        let key = [SystemEntropy.bytes(), SystemEntropy.bytes()].concat();
        private(&self.master_key_file(), &Secret::new(hex::encode(&key)))
    }

    /// True if several servers may share the store: it is in a database.
    pub(crate) fn is_shared(&self) -> bool {
        self.is_shared
    }

    /// The data directory, where the store is in one.
    pub(crate) fn data_dir(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    fn store_file(&self) -> PathBuf {
        self.directory.path().join("store.url")
    }

    fn master_key_file(&self) -> PathBuf {
        self.directory.path().join("master.key")
    }

    /// The options that name the store and its master key.
    pub(crate) fn options(&self) -> [OsString; 4] {
        let (option, path) = if self.is_shared {
            ("--store-file", self.store_file())
        } else {
            ("--data-dir", self.data_dir())
        };
        [
            option.into(),
            path.into(),
            "--master-key-file".into(),
            self.master_key_file().into(),
        ]
    }

    /// The master key.
    ///
    /// # Errors
    /// When its file cannot be read.
    pub(crate) fn master_key(&self) -> anyhow::Result<Secret> {
        secret(&self.master_key_file())
    }
}

/// The file with SQLite's database in `data_dir`.
pub(crate) fn sqlite_file(data_dir: &Path) -> PathBuf {
    data_dir.join(SQLITE_FILE)
}

/// The database at a URL.
///
/// # Errors
/// In words, when the URL is wrong.
pub(crate) fn database(url: &Secret) -> anyhow::Result<postgres::Place> {
    postgres::Place::new(url.expose()).map_err(|why| match why {
        store::Error::Database(why) => anyhow!(why),
        why => why.into(),
    })
}

/// The secret in a file.
///
/// # Errors
/// When it cannot be read.
pub(crate) fn secret(path: &Path) -> anyhow::Result<Secret> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("{} cannot be read", path.display()))?;
    Ok(Secret::new(text.trim()))
}

/// Writes a file that only its owner may read: `portico` takes no other.
fn private(path: &Path, secret: &Secret) -> anyhow::Result<()> {
    std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(secret.expose().as_bytes()))
        .with_context(|| format!("{} cannot be written", path.display()))
}

/// A temporary directory, in `within` if that is given.
fn temporary(within: Option<&Path>) -> anyhow::Result<TempDir> {
    let mut builder = tempfile::Builder::new();
    builder.prefix("portico-bench-");
    match within {
        Some(within) => builder.tempdir_in(within),
        None => builder.tempdir(),
    }
    .context("A temporary directory cannot be made")
}

/// A server that syncs what it commits, and the address of an empty database of it.
fn own(pool: usize, within: Option<&Path>) -> anyhow::Result<(Secret, Server)> {
    let connections = (pool + CONNECTIONS_BESIDE).to_string();
    let mut options = Options::durable().with("max_connections", &connections);
    if let Some(within) = within {
        options = options.within(within);
    }
    let server = Server::start_or_fail(options).context("PostgreSQL cannot be started")?;
    let url = server
        .database_create(NAME)
        .context("PostgreSQL makes no database")?;
    Ok((Secret::new(url), server))
}

#[cfg(test)]
mod tests {
    use super::{Named, named};

    #[test]
    fn a_store_is_named_by_a_word_or_a_url() {
        assert!(matches!(named("postgres"), Ok(Named::Own)));
        let url = "postgres://portico:s3cret@db/bench";
        assert!(matches!(named(url), Ok(Named::Url(kept)) if kept.expose() == url));
        for wrong in ["", "sqlite", "postgre://portico:s3cret@db/bench"] {
            let told = named(wrong).err().expect("refused");
            assert!(!told.contains("s3cret"), "{told}");
        }
    }
}

//! The PostgreSQL database that is measured: in a server of its own, or the operator's.
//!
//! Guarantee: a server of its own ends with its handle, and nothing of it is left; a database of the operator's was empty before.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use model::Secret;
use store::postgres::config::is_url;
use tempfile::TempDir;
use testbed::{Options, Server};

use super::{directory, process::Kept};
use crate::{private_file, store_at::StoreArgs};

/// What stands for a server of its own.
const OWN: &str = "postgres";

/// The database's name there.
const NAME: &str = "portico";

/// Connections to a server of its own besides those that a pool has: those that read and listen, of two servers and two workers, and some in reserve.
const CONNECTIONS_BESIDE: usize = 60;

/// Which database is measured.
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

/// A database to measure, and the directory with what a server on it needs besides.
pub(crate) struct Database {
    data_dir: TempDir,
    store_file: PathBuf,
    // Held so that it runs.
    _server: Option<Server>,
}

impl Database {
    /// Makes one ready, in `within` if that is given. A server of its own has room for a pool of so many connections.
    ///
    /// # Errors
    /// When this machine has no PostgreSQL, or the operator's database cannot be used.
    pub(crate) async fn open(
        named: &Named,
        pool: usize,
        within: Option<&Path>,
    ) -> anyhow::Result<Self> {
        let data_dir = directory(within)?;
        let store_file = data_dir.path().join("store.url");
        let (url, server) = match named {
            Named::Own => {
                let within = within.map(Path::to_owned);
                let started = tokio::task::spawn_blocking(move || own(pool, within.as_deref()));
                let (url, server) = started.await??;
                (url, Some(server))
            }
            Named::Url(url) => (url.clone(), None),
        };
        private_file::write(&store_file, &url)?;
        let store = StoreArgs {
            store_file: Some(store_file.clone()),
            ..StoreArgs::default()
        };
        let at = store.at()?;
        if at.holds_data().await? {
            bail!(
                "{} is in use: what is measured needs a database that Portico has kept nothing in",
                at.told()
            );
        }
        Ok(Self {
            data_dir,
            store_file,
            _server: server,
        })
    }

    /// What a server on it is told.
    pub(crate) fn kept(&self) -> Kept<'_> {
        Kept {
            data_dir: self.data_dir.path(),
            store_file: Some(&self.store_file),
        }
    }
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

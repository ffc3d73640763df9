//! Where everything is kept: in a directory of this machine, or in a PostgreSQL database that nodes share.
//!
//! Guarantee: a database's URL is never shown, since a password may be in it.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{anyhow, bail};
use model::{Clock, Secret};
use store::{
    Observer, Sealer, Store, Unobserved,
    migrations::Migration,
    postgres::{self, Place, config::READERS_DEFAULT},
    sqlite,
};

use crate::{
    data_dir::{self, Owned},
    master_key::Source,
    private_file, settings,
    system::{SystemClock, SystemEntropy},
};

/// The directory unless told otherwise.
pub(crate) const DATA_DIR: &str = "portico-data";

/// Connections that read, at most: each is a process of the database's, and a node that needs more is better two.
const READERS_MAX: i64 = 64;

/// Where everything is kept.
#[derive(Clone, Default, clap::Args)]
pub(crate) struct StoreArgs {
    /// Where everything is kept, on this machine. [default: portico-data]
    #[arg(long, env = "PORTICO_DATA_DIR", value_name = "DIR", global = true)]
    pub(crate) data_dir: Option<PathBuf>,
    /// Keeps everything in a PostgreSQL database instead, which several nodes may share: postgres://user:password@host/database?sslmode=verify-full. With a password in it, put it into
    /// PORTICO_STORE or a file: others on this machine can read command lines.
    #[arg(
        long,
        env = "PORTICO_STORE",
        value_name = "URL",
        hide_env_values = true,
        global = true
    )]
    pub(crate) store: Option<String>,
    /// A file with that URL. Only its owner may read it.
    #[arg(long, env = "PORTICO_STORE_FILE", value_name = "FILE", global = true)]
    pub(crate) store_file: Option<PathBuf>,
    /// Connections to PostgreSQL that only read; two more are for changes and for what other nodes tell. [default: 4]
    #[arg(
        long,
        env = "PORTICO_STORE_READERS",
        value_name = "COUNT",
        value_parser = clap::value_parser!(u8).range(1..=READERS_MAX),
        global = true
    )]
    pub(crate) store_readers: Option<u8>,
}

/// What is named, before it is read.
enum Named {
    Directory(PathBuf),
    Url(Secret),
    UrlFile(PathBuf),
}

impl StoreArgs {
    /// The store that is named here, else the default directory.
    ///
    /// # Errors
    /// When more than one is named, or the one that is cannot be.
    pub(crate) fn at(&self) -> anyhow::Result<StoreAt> {
        self.at_or(&Self::default())
    }

    /// The store that is named here, else the one in `file`, the configuration's, else the default directory.
    ///
    /// # Errors
    /// When more than one is named, or the one that is cannot be.
    pub(crate) fn at_or(&self, file: &Self) -> anyhow::Result<StoreAt> {
        let named = match self.named()? {
            Some(named) => named,
            None => file
                .named()?
                .unwrap_or_else(|| Named::Directory(DATA_DIR.into())),
        };
        let url = match named {
            Named::Directory(path) => return Ok(StoreAt::Directory(path)),
            Named::Url(url) => url,
            // A slip that is easily made. It is not told: there may be a password in it.
            Named::UrlFile(path) if path.to_string_lossy().contains("://") => bail!(
                "the store's file is named by a URL: put the URL into a file of its owner's alone, and name that, or set PORTICO_STORE to the URL"
            ),
            Named::UrlFile(path) => {
                private_file::read(&path, "URL of a database").map_err(|why| anyhow!(why))?
            }
        };
        let url = url.expose().trim();
        if !postgres::config::is_url(url) {
            // It is not told: it may be a URL with a slip in it.
            bail!(
                "the store must be named by a URL that begins with postgres://, as in postgres://user:password@host/database; a directory is named with --data-dir"
            );
        }
        let mut place = Place::new(url).map_err(|why| match why {
            store::Error::Database(why) => anyhow!(why),
            why => why.into(),
        })?;
        place.readers = self
            .store_readers
            .or(file.store_readers)
            .filter(|count| (1..=READERS_MAX).contains(&i64::from(*count)))
            .map_or(READERS_DEFAULT, usize::from);
        Ok(StoreAt::Database(Box::new(place)))
    }

    fn named(&self) -> anyhow::Result<Option<Named>> {
        let named = settings::named;
        let path =
            |path: &Option<PathBuf>| path.clone().filter(|path| !path.as_os_str().is_empty());
        let directory =
            path(&self.data_dir).map(|path| (named("--data-dir"), Named::Directory(path)));
        // A flag with nothing behind it, as of a script that lacks a value.
        if self.store.as_ref().is_some_and(|url| url.trim().is_empty()) {
            bail!("--store names nothing: name a database, or leave it out for a data directory");
        }
        let url = self
            .store
            .as_ref()
            .map(|url| (named("--store"), Named::Url(Secret::new(url.as_str()))));
        let file = path(&self.store_file).map(|path| (named("--store-file"), Named::UrlFile(path)));
        let mut all: Vec<_> = [directory, url, file].into_iter().flatten().collect();
        if all.len() > 1 {
            let names: Vec<_> = all.iter().map(|(name, _)| *name).collect();
            bail!(
                "the store is named by {} at once, by flag, environment or configuration file; name one of them",
                names.join(" and ")
            );
        }
        Ok(all.pop().map(|(_, named)| named))
    }
}

/// Where a store is.
#[derive(Clone)]
pub(crate) enum StoreAt {
    /// In SQLite, in a directory of this machine.
    Directory(PathBuf),
    /// In a PostgreSQL database.
    Database(Box<Place>),
}

impl StoreAt {
    /// The directory, if it is one.
    pub(crate) fn directory(&self) -> Option<&Path> {
        match self {
            Self::Directory(path) => Some(path),
            Self::Database(_) => None,
        }
    }

    /// It in words, without what is secret.
    pub(crate) fn told(&self) -> String {
        match self {
            Self::Directory(path) => path.display().to_string(),
            Self::Database(place) => place.told(),
        }
    }

    /// Opens the store, made when absent.
    ///
    /// # Errors
    /// When it cannot be opened with the master key of this source.
    pub(crate) async fn open(
        &self,
        master_key: Source,
        observer: Arc<dyn Observer>,
    ) -> anyhow::Result<Store> {
        let (at, now) = (self.clone(), SystemClock.now());
        if let Self::Directory(path) = self {
            data_dir::make(path)?;
        }
        let store = tokio::task::spawn_blocking(move || {
            let sealer = sealer(master_key)?;
            match at {
                Self::Directory(path) => {
                    sqlite::open(&data_dir::database(&path), sealer, observer, now)
                }
                Self::Database(place) => postgres::open(&place, sealer, observer, now),
            }
        })
        .await??;
        Ok(store)
    }

    /// Opens a store to see whether its audit log is whole: it gets no entry by that.
    ///
    /// # Errors
    /// As [`StoreAt::open`].
    pub(crate) async fn open_to_verify(&self, master_key: Source) -> anyhow::Result<Store> {
        let (at, now) = (self.clone(), SystemClock.now());
        let observer = Arc::new(Unobserved);
        let store = tokio::task::spawn_blocking(move || {
            let sealer = sealer(master_key)?;
            match at {
                Self::Directory(path) => {
                    sqlite::open_to_verify(&data_dir::database(&path), sealer, observer, now)
                }
                Self::Database(place) => postgres::open_to_verify(&place, sealer, observer, now),
            }
        })
        .await??;
        Ok(store)
    }

    /// Brings the schema up to date, of a store that is made when absent. Returns the steps that were applied.
    ///
    /// # Errors
    /// When it cannot be changed, or was written by a newer Portico.
    pub(crate) async fn migrate(&self) -> anyhow::Result<&'static [Migration]> {
        let (at, now) = (self.clone(), SystemClock.now());
        if let Self::Directory(path) = self {
            data_dir::make(path)?;
        }
        let steps = tokio::task::spawn_blocking(move || match at {
            Self::Directory(path) => sqlite::migrate(&data_dir::database(&path), now),
            Self::Database(place) => postgres::migrate(&place, now),
        })
        .await??;
        Ok(steps)
    }

    /// Whether a command is about to make this store.
    ///
    /// # Errors
    /// When it would, in a directory with other files, which is for `portico serve --init` to do.
    pub(crate) async fn is_new(&self) -> anyhow::Result<bool> {
        match self {
            Self::Directory(path) => {
                data_dir::make(path)?;
                data_dir::is_new(path, false)
            }
            Self::Database(_) => Ok(!self.holds_data().await?),
        }
    }

    /// Whether a server or a command has kept anything there.
    ///
    /// # Errors
    /// When that cannot be seen.
    pub(crate) async fn holds_data(&self) -> anyhow::Result<bool> {
        match self {
            Self::Directory(path) => data_dir::holds_data(path),
            Self::Database(place) => {
                let place = place.clone();
                let looked = tokio::task::spawn_blocking(move || postgres::holds_data(&place));
                Ok(looked.await??)
            }
        }
    }

    /// Refuses to go on without data.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) async fn must_hold_data(&self) -> anyhow::Result<()> {
        match (self, self.holds_data().await?) {
            (_, true) => Ok(()),
            (Self::Directory(path), false) => bail!(
                "there is no Portico data in {}; name the server's directory with --data-dir or PORTICO_DATA_DIR, or its database with --store or PORTICO_STORE",
                path.display()
            ),
            (Self::Database(place), false) => bail!(
                "there is no Portico data in {} yet; `portico serve` makes it ready",
                place.told()
            ),
        }
    }

    /// Takes a directory for this process, until what is returned is dropped. A database is nobody's alone.
    ///
    /// # Errors
    /// When another server has the directory.
    pub(crate) fn own(&self) -> anyhow::Result<Option<Owned>> {
        self.directory().map(data_dir::own).transpose()
    }
}

fn sealer(master_key: Source) -> Result<Sealer, store::Error> {
    Sealer::from_source(Arc::new(master_key), Arc::new(SystemEntropy))
}

//! The command line, a file a command.

pub(crate) mod audit;
pub(crate) mod backup;
pub(crate) mod clock;
pub(crate) mod dev;
pub(crate) mod doctor;
pub(crate) mod keys;
pub(crate) mod listen;
pub(crate) mod openapi;
pub(crate) mod rotate;
pub(crate) mod sandbox;
pub(crate) mod serve;
pub(crate) mod store;

use std::path::PathBuf;

use anyhow::bail;

use crate::{
    data_dir,
    master_key::{self, Source},
    store_at::StoreAt,
};

/// Where the master key is: in one of these, or in the environment as `PORTICO_MASTER_KEY`.
#[derive(Clone, Default, clap::Args)]
pub(crate) struct MasterKey {
    /// A file with the master key that seals credentials: 64 hexadecimal digits, as `openssl rand -hex 32` prints them. Only its owner may read it.
    /// PORTICO_MASTER_KEY may hold the key itself instead.
    #[arg(
        long,
        env = "PORTICO_MASTER_KEY_FILE",
        value_name = "FILE",
        global = true
    )]
    pub(crate) master_key_file: Option<PathBuf>,
    /// A command that prints the master key, run by `sh -c` at the start and whenever a key is met that it did not print.
    #[arg(
        long,
        env = "PORTICO_MASTER_KEY_COMMAND",
        value_name = "COMMAND",
        hide_env_values = true,
        global = true
    )]
    pub(crate) master_key_command: Option<String>,
}

impl MasterKey {
    /// The source that is named here or in the environment, if one is.
    ///
    /// # Errors
    /// When more than one is.
    fn named(&self) -> anyhow::Result<Option<Source>> {
        master_key::named(
            self.master_key_file.as_ref(),
            self.master_key_command.as_ref(),
        )
    }

    /// The source that is named; else the one in `file`, the configuration's.
    ///
    /// # Errors
    /// When there is none, or more than one.
    pub(crate) fn source_or(&self, file: &Self, at: &StoreAt) -> anyhow::Result<Source> {
        let named = match self.named()? {
            Some(source) => Some(source),
            None => file.named()?,
        };
        match (named, at) {
            (Some(source), _) => Ok(source),
            (None, StoreAt::Directory(path)) if data_dir::database(path).exists() => bail!(
                "no master key: name the one that the server on this data directory has, with --master-key-file or PORTICO_MASTER_KEY_FILE"
            ),
            (None, StoreAt::Directory(_)) => bail!(
                "no master key: make one with `(umask 077; openssl rand -hex 32 > master.key)` and name it with --master-key-file or PORTICO_MASTER_KEY_FILE"
            ),
            (None, StoreAt::Database(_)) => bail!(
                "no master key: name that of the database, which all nodes on it have, with --master-key-file or PORTICO_MASTER_KEY_FILE; for a new database make one with `(umask 077; openssl rand -hex 32 > master.key)`"
            ),
        }
    }

    /// The source that is named; else the development key in the data directory, if `portico dev` made one.
    ///
    /// # Errors
    /// When there is none, or more than one.
    pub(crate) fn source(&self, at: &StoreAt) -> anyhow::Result<Source> {
        let own = at.directory().map(|path| path.join(dev::MASTER_KEY));
        match (self.named()?, own) {
            (None, Some(own)) if own.exists() => Ok(Source::File(own)),
            _ => self.source_or(&Self::default(), at),
        }
    }
}

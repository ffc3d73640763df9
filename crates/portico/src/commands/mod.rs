//! The command line, a file a command.

pub(crate) mod audit;
pub(crate) mod bench;
pub(crate) mod dev;
pub(crate) mod keys;
pub(crate) mod openapi;
pub(crate) mod sandbox;
pub(crate) mod serve;

use std::path::PathBuf;

use anyhow::Context;
use model::Secret;

/// Where the master key is.
#[derive(clap::Args)]
pub(crate) struct MasterKey {
    /// A file with the master key that seals credentials: 64 hexadecimal digits, as `openssl rand -hex 32` prints them.
    #[arg(
        long,
        env = "PORTICO_MASTER_KEY_FILE",
        value_name = "FILE",
        global = true
    )]
    pub(crate) master_key_file: Option<PathBuf>,
}

impl MasterKey {
    /// Reads it; without a file named, the development key in `data_dir` if `portico dev` made one.
    ///
    /// # Errors
    /// When there is none, or it cannot be read.
    pub(crate) fn read(&self, data_dir: &std::path::Path) -> anyhow::Result<Secret> {
        let own = data_dir.join(dev::MASTER_KEY);
        let path = match &self.master_key_file {
            Some(path) => path,
            None if own.exists() => &own,
            None => anyhow::bail!(
                "no master key: make one with `openssl rand -hex 32 > master.key` and name it with --master-key-file or PORTICO_MASTER_KEY_FILE"
            ),
        };
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("the master key file {} cannot be read", path.display()))?;
        Ok(Secret::new(text))
    }
}

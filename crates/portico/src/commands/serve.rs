//! `portico serve`
//!
//! Guarantee: what is set in several places is taken from the first of flag, environment, configuration file, default.

use std::{
    io::Read as _,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, anyhow};
use portico_http::metrics::Metrics;
use serde::Deserialize;
use store::retention::Retention;
use tokio::net::TcpListener;

use crate::{commands::MasterKey, server};

/// Where it listens unless told otherwise: this machine alone.
const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

/// Where everything is kept unless told otherwise.
const DATA_DIR: &str = "portico-data";

/// How long attempts are kept unless told otherwise: a quarter of a year, by when nobody asks any more what the vendor answered to which call. Writes are
/// kept for ever unless told otherwise: they are the record of what was taken into custody.
const RETAIN_ATTEMPTS_DAYS: u32 = 90;

/// Bytes of a configuration file at most: it has a handful of lines.
const CONFIG_MAX_BYTES: u64 = 64 * 1_024;

/// Runs the server: no sandbox, nothing seeded.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// A TOML file with any of listen, data_dir, vocabulary, master_key_file, retain_writes_days, retain_attempts_days. Flags and environment go before it; relative paths
    /// in it start at its own directory.
    #[arg(long, env = "PORTICO_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where to listen. Port 0 picks a free port. [default: 127.0.0.1:8080]
    #[arg(long, env = "PORTICO_LISTEN", value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// Where everything is kept. [default: portico-data]
    #[arg(long, env = "PORTICO_DATA_DIR", value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// A TOML file that extends or changes the vocabulary.
    #[arg(long, env = "PORTICO_VOCABULARY", value_name = "FILE")]
    vocabulary: Option<PathBuf>,
    /// Days for which the bodies, requests and errors of writes are kept once they have ended; 0 for ever. Ids, status, outcome and times stay. [default: 0]
    #[arg(long, env = "PORTICO_RETAIN_WRITES_DAYS", value_name = "DAYS")]
    retain_writes_days: Option<u32>,
    /// Days for which attempts, with the vendor's answers, are kept once their write has ended; 0 for ever. [default: 90]
    #[arg(long, env = "PORTICO_RETAIN_ATTEMPTS_DAYS", value_name = "DAYS")]
    retain_attempts_days: Option<u32>,
    #[command(flatten)]
    master_key: MasterKey,
}

/// What a configuration file may say.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    listen: Option<SocketAddr>,
    data_dir: Option<PathBuf>,
    vocabulary: Option<PathBuf>,
    master_key_file: Option<PathBuf>,
    retain_writes_days: Option<u32>,
    retain_attempts_days: Option<u32>,
}

impl File {
    fn read(path: &Path) -> anyhow::Result<Self> {
        let mut text = String::new();
        std::fs::File::open(path)
            .and_then(|file| file.take(CONFIG_MAX_BYTES).read_to_string(&mut text))
            .with_context(|| format!("the configuration file {} cannot be read", path.display()))?;
        let mut file: Self = toml::from_str(&text)
            .map_err(|why| anyhow!("the configuration file {}: {why}", path.display()))?;
        let beside = path.parent().unwrap_or(Path::new(""));
        let named = [
            &mut file.data_dir,
            &mut file.vocabulary,
            &mut file.master_key_file,
        ];
        for named in named.into_iter().flatten() {
            *named = beside.join(&*named);
        }
        Ok(file)
    }
}

pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let file = arguments
        .config
        .as_deref()
        .map(File::read)
        .transpose()?
        .unwrap_or_default();
    let listen = arguments.listen.or(file.listen).unwrap_or(LISTEN);
    let data_dir = arguments
        .data_dir
        .or(file.data_dir)
        .unwrap_or_else(|| DATA_DIR.into());
    let vocabulary = arguments.vocabulary.or(file.vocabulary);
    let master_key = MasterKey {
        master_key_file: arguments
            .master_key
            .master_key_file
            .or(file.master_key_file),
    };

    let days = |given: Option<u32>| given.filter(|days| *days > 0);
    let attempts_days = arguments
        .retain_attempts_days
        .or(file.retain_attempts_days)
        .unwrap_or(RETAIN_ATTEMPTS_DAYS);
    let retention = Retention {
        writes_days: days(arguments.retain_writes_days.or(file.retain_writes_days)),
        attempts_days: days(Some(attempts_days)),
    };

    let owned = server::own(&data_dir)?;
    let registry = server::registry(vocabulary.as_ref())?;
    let metrics = Arc::new(Metrics::default());
    let store =
        server::open_store(&data_dir, &master_key.read(&data_dir)?, metrics.clone()).await?;
    let listener = TcpListener::bind(listen)
        .await
        .with_context(|| format!("{listen} cannot be listened on"))?;
    let address = listener.local_addr()?;
    let ready = || {
        tracing::info!(%address, data_dir = %data_dir.display(), "serving");
        Ok(())
    };
    server::run(
        server::Setup {
            listener,
            store,
            registry,
            metrics,
            delivers: true,
            retention,
            vendor_forgets: None,
        },
        &owned,
        ready,
        server::told_to_stop(),
    )
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<(&str, &str), &str>) {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("portico.toml");
        std::fs::write(&path, text).expect("written");
        match (File::read(&path), expected) {
            (Ok(file), Ok((listen, data_dir))) => {
                assert_eq!(
                    file.listen.map(|at| at.to_string()).unwrap_or_default(),
                    listen
                );
                assert_eq!(
                    file.data_dir.unwrap_or_default(),
                    directory.path().join(data_dir)
                );
            }
            (Err(why), Err(part)) => {
                let why = format!("{why:#}");
                assert!(why.contains(part) && why.contains("portico.toml"), "{why}");
            }
            (Ok(_), Err(part)) => panic!("read, though {part}"),
            (Err(why), Ok(_)) => panic!("{why:#}"),
        }
    }

    #[test]
    fn a_configuration_file_is_read_or_told_what_is_wrong() {
        check(
            "listen = '0.0.0.0:80'\ndata_dir = 'kept'",
            Ok(("0.0.0.0:80", "kept")),
        );
        check(
            "data_dir = '/var/lib/portico'",
            Ok(("", "/var/lib/portico")),
        );
        check("listne = '0.0.0.0:80'", Err("unknown field `listne`"));
        check("listen = 80", Err("line 1"));
        check("listen = ", Err("line 1"));
    }
}

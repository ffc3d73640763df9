//! `portico serve`
//!
//! Guarantee: what is set in several places is taken from the first of flag, environment, configuration file, default.

use std::{
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{anyhow, bail};
use app::Role;
use clap::builder::BoolishValueParser;
use listener::{
    peer::TrustedProxies,
    serve::{IDLE_TIMEOUT_DEFAULT, Settings as Transport},
    tls::Certificate,
};
use model::{key::RateLimit, network::Network};
use portico_http::{limits::rates::RATE_LIMIT_DEFAULT, metrics::Metrics};
use serde::Deserialize;
use store::retention::Retention;

use crate::{
    audit_heads::{EVERY_DEFAULT, EVERY_MAX_S, Heads},
    commands::MasterKey,
    data_dir::{self, Allowed},
    listen_at::ListenAt,
    logging, server, settings,
    signals::{Reloads, Stop},
    store_at::StoreArgs,
    text_file,
};

/// How long attempts are kept unless told otherwise: a quarter of a year, by when nobody asks any more what the vendor answered to which call. Writes are
/// kept for ever unless told otherwise: they are the record of what was taken into custody.
const RETAIN_ATTEMPTS_DAYS: u32 = 90;

/// The most calls to vendors that one process may have under way: each takes a file descriptor and some tens of KB.
const CALLS_MOST: u16 = 4_096;

/// The longest that an unused connection may be kept: an hour, past which systems on the way have
/// forgotten it.
const IDLE_TIMEOUT_MAX_S: u16 = 3_600;

/// Bytes of a configuration file at most: it has a handful of lines.
const CONFIG_MAX_BYTES: u64 = 64 * 1_024;

/// Runs the server: no sandbox, nothing seeded.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// A TOML file with any of listen, data_dir, store_file, store_readers, role, vocabulary, master_key_file, master_key_command, trusted_proxies,
    /// vendor_urls, webhook_allow_http, webhook_networks, webhook_ports, requests_per_minute, tls_cert, tls_key,
    /// connections_per_address, idle_timeout_s, log, calls_max, retain_writes_days,
    /// retain_attempts_days, audit_head_file, audit_head_every_s. Flags and environment go before it; relative paths
    /// in it start at its own directory.
    #[arg(long, env = "PORTICO_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where to listen: host:port, or a port of this machine. Port 0 picks a free port. [default: 127.0.0.1:8080]
    #[arg(long, env = "PORTICO_LISTEN", value_name = "ADDR")]
    listen: Option<ListenAt>,
    #[command(flatten)]
    store: StoreArgs,
    /// Makes a new database although other files are in the data directory.
    #[arg(long)]
    init: bool,
    /// Starts on a database that lacks commits that were answered, without them.
    #[arg(long)]
    accept_loss: bool,
    /// What this node does, of several that share a PostgreSQL database: `api` takes requests, `worker` delivers, announces and synchronises, `all` does both. [default: all]
    #[arg(
        long,
        env = "PORTICO_ROLE",
        value_name = "ROLE",
        hide_possible_values = true
    )]
    role: Option<Role>,
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
    /// Proxies in front of Portico, as networks or addresses: theirs is the word on whom a request comes from (X-Forwarded-For). [default: none]
    #[arg(
        long,
        env = "PORTICO_TRUSTED_PROXIES",
        value_name = "CIDR",
        value_delimiter = ','
    )]
    trusted_proxies: Option<Vec<Network>>,
    /// Where vendors may be besides where they are known to be, such as `https://crm.example.com`: what an integration's base_url may begin with. [default: none]
    #[arg(
        long = "vendor-url",
        env = "PORTICO_VENDOR_URLS",
        value_name = "URL",
        value_delimiter = ','
    )]
    vendor_urls: Option<Vec<String>>,
    /// Lets webhooks be sent over http too, where everybody on the way can read them.
    #[arg(long, env = "PORTICO_WEBHOOK_ALLOW_HTTP", value_name = "YES", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = BoolishValueParser::new())]
    webhook_allow_http: Option<bool>,
    /// Private networks or addresses that webhooks may be sent into, besides the internet. Link-local addresses and a cloud's metadata service are none. [default: none]
    #[arg(
        long = "webhook-network",
        env = "PORTICO_WEBHOOK_NETWORKS",
        value_name = "CIDR",
        value_delimiter = ','
    )]
    webhook_networks: Option<Vec<Network>>,
    /// Ports that webhooks may be sent to besides 443, and 80 where http is allowed: `8443`, or `8000-8999`. [default: none]
    #[arg(
        long = "webhook-port",
        env = "PORTICO_WEBHOOK_PORTS",
        value_name = "PORT",
        value_delimiter = ','
    )]
    webhook_ports: Option<Vec<webhooks::guard::Ports>>,
    /// Requests a minute that an API key may send which has no limit of its own. [default: 15000]
    #[arg(long, env = "PORTICO_REQUESTS_PER_MINUTE", value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=i64::from(RateLimit::MAX)))]
    requests_per_minute: Option<u32>,
    /// A PEM file with the certificate to show, and those that lead to its issuer: then TLS is spoken. Read again when it changes.
    #[arg(long, env = "PORTICO_TLS_CERT", value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// A PEM file with that certificate's private key. Read again when it changes.
    #[arg(long, env = "PORTICO_TLS_KEY", value_name = "FILE")]
    tls_key: Option<PathBuf>,
    /// Connections that one address may have open, be it no trusted proxy. [default: five sixths of all]
    #[arg(long, env = "PORTICO_CONNECTIONS_PER_ADDRESS", value_name = "COUNT")]
    connections_per_address: Option<NonZeroUsize>,
    /// Seconds for which a connection is kept that its caller does not use. [default: 75]
    #[arg(long, env = "PORTICO_IDLE_TIMEOUT_S", value_name = "SECONDS", value_parser = clap::value_parser!(u16).range(1..=i64::from(IDLE_TIMEOUT_MAX_S)))]
    idle_timeout_s: Option<u16>,
    /// Calls to vendors under way at once, over all integrations; what each integration allows is its own setting. [default: 512]
    #[arg(long, env = "PORTICO_CALLS_MAX", value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=i64::from(CALLS_MOST)))]
    calls_max: Option<u16>,
    /// A file to which the newest entry of the audit log is noted, besides the log: keep it where who can change the database cannot. [default: none]
    #[arg(long, env = "PORTICO_AUDIT_HEAD_FILE", value_name = "FILE")]
    audit_head_file: Option<PathBuf>,
    /// Seconds between two looks at the newest entry of the audit log. [default: 300]
    #[arg(long, env = "PORTICO_AUDIT_HEAD_EVERY_S", value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=i64::from(EVERY_MAX_S)))]
    audit_head_every_s: Option<u32>,
}

/// What a configuration file may say.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    listen: Option<ListenAt>,
    data_dir: Option<PathBuf>,
    store_file: Option<PathBuf>,
    store_readers: Option<u8>,
    role: Option<Role>,
    vocabulary: Option<PathBuf>,
    master_key_file: Option<PathBuf>,
    trusted_proxies: Option<Vec<Network>>,
    vendor_urls: Option<Vec<String>>,
    webhook_allow_http: Option<bool>,
    webhook_networks: Option<Vec<Network>>,
    webhook_ports: Option<Vec<webhooks::guard::Ports>>,
    requests_per_minute: Option<u32>,
    master_key_command: Option<String>,
    tls_cert: Option<PathBuf>,
    tls_key: Option<PathBuf>,
    connections_per_address: Option<NonZeroUsize>,
    idle_timeout_s: Option<u16>,
    #[serde(default, deserialize_with = "read_level")]
    log: Option<String>,
    calls_max: Option<u16>,
    retain_writes_days: Option<u32>,
    retain_attempts_days: Option<u32>,
    audit_head_file: Option<PathBuf>,
    audit_head_every_s: Option<u32>,
}

impl File {
    fn read(path: &Path) -> anyhow::Result<Self> {
        let mut file: Self = text_file::read_toml(path, "configuration file", CONFIG_MAX_BYTES)
            .map_err(|why| anyhow!(why))?;
        let beside = path.parent().unwrap_or(Path::new(""));
        let named = [
            &mut file.data_dir,
            &mut file.store_file,
            &mut file.vocabulary,
            &mut file.master_key_file,
            &mut file.tls_cert,
            &mut file.tls_key,
            &mut file.audit_head_file,
        ];
        for named in named {
            // A path that is set to nothing is not set, as in the environment.
            *named = named
                .take()
                .filter(|path| !path.as_os_str().is_empty())
                .map(|path| beside.join(path));
        }
        Ok(file)
    }

    fn store(&self) -> StoreArgs {
        StoreArgs {
            data_dir: self.data_dir.clone(),
            store: None,
            store_file: self.store_file.clone(),
            store_readers: self.store_readers,
        }
    }

    fn master_key(&self) -> MasterKey {
        MasterKey {
            master_key_file: self.master_key_file.clone(),
            master_key_command: self.master_key_command.clone(),
        }
    }
}

/// A log level that is understood: the refusal then names the file and the line, and not the level,
/// since no error repeats a file.
fn read_level<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    let level = String::deserialize(from)?;
    logging::check(&level).map_err(|_| {
        serde::de::Error::custom(
            "The log level is not understood; write one as PORTICO_LOG has it, such as 'info' or 'warn,delivery=debug'",
        )
    })?;
    Ok(Some(level))
}

/// What is shown to callers over TLS, when both files are named.
fn certificate(
    certificate: Option<&Path>,
    key: Option<&Path>,
) -> anyhow::Result<Option<Arc<Certificate>>> {
    match (certificate, key) {
        (None, None) => Ok(None),
        (Some(certificate), Some(key)) => Certificate::open(certificate, key)
            .map(Some)
            .map_err(|why| anyhow!(why)),
        (Some(_), None) => bail!(
            "a TLS certificate without its key: name the key's file with --tls-key or PORTICO_TLS_KEY"
        ),
        (None, Some(_)) => bail!(
            "a TLS key without its certificate: name the certificate's file with --tls-cert or PORTICO_TLS_CERT"
        ),
    }
}

pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let file = arguments
        .config
        .as_deref()
        .map(File::read)
        .transpose()?
        .unwrap_or_default();
    let listen_setting = match (&arguments.listen, &file.listen) {
        (None, Some(_)) => "listen in the configuration file",
        _ => settings::named("--listen"),
    };
    let listen = arguments.listen.or(file.listen.clone());
    let listen = listen.unwrap_or_default();
    let at = arguments.store.at_or(&file.store())?;
    let file_key = file.master_key();
    let role = arguments.role.or(file.role).unwrap_or_default();
    if role != Role::All && at.directory().is_some() {
        bail!(
            "a data directory has one server, which does everything; {} is for nodes that share a PostgreSQL database (--store)",
            settings::named("--role")
        );
    }
    let vocabulary = arguments.vocabulary.or(file.vocabulary);

    let trusted_proxies = arguments.trusted_proxies.or(file.trusted_proxies);
    let tls_cert = arguments.tls_cert.or(file.tls_cert);
    let tls_key = arguments.tls_key.or(file.tls_key);
    let certificate = certificate(tls_cert.as_deref(), tls_key.as_deref())?;
    if let Some(level) = log_level(arguments.config.as_deref())? {
        logging::set_level(&level)?;
    }
    let reloads = Reloads {
        certificate: certificate.clone(),
        config: arguments.config.clone(),
    };
    reloads.follow()?;
    let idle_timeout_s = arguments.idle_timeout_s.or(file.idle_timeout_s);
    if idle_timeout_s.is_some_and(|seconds| !(1..=IDLE_TIMEOUT_MAX_S).contains(&seconds)) {
        bail!("idle_timeout_s is a number of seconds from 1 to {IDLE_TIMEOUT_MAX_S}");
    }
    let transport = Transport {
        trusted_proxies: TrustedProxies(trusted_proxies.unwrap_or_default()),
        certificate,
        connections_per_address_max: arguments
            .connections_per_address
            .or(file.connections_per_address)
            .map(NonZeroUsize::get),
        idle_timeout: idle_timeout_s.map_or(IDLE_TIMEOUT_DEFAULT, |seconds| {
            Duration::from_secs(seconds.into())
        }),
        ..Transport::default()
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

    let owned = at.own()?;
    let allowed = Allowed {
        new: arguments.init,
        loss: arguments.accept_loss,
    };
    let new_in = match at.directory() {
        Some(directory) if data_dir::begin(directory, allowed)? => Some(directory),
        _ => None,
    };
    let vendor_setting = match (&arguments.vendor_urls, &file.vendor_urls) {
        (None, Some(_)) => "vendor_urls in the configuration file",
        _ => settings::named("--vendor-url"),
    };
    let vendor_urls = arguments.vendor_urls.or(file.vendor_urls);
    let registry = server::registry(
        vocabulary.as_ref(),
        &vendor_urls.unwrap_or_default(),
        vendor_setting,
    )?;
    let webhook_networks = arguments.webhook_networks.or(file.webhook_networks);
    let receivers = server::receivers(
        arguments
            .webhook_allow_http
            .or(file.webhook_allow_http)
            .unwrap_or(false),
        webhook_networks.unwrap_or_default(),
        arguments
            .webhook_ports
            .or(file.webhook_ports)
            .unwrap_or_default(),
    )?;
    let rate_limit = arguments
        .requests_per_minute
        .or(file.requests_per_minute)
        .filter(|count| (1..=RateLimit::MAX).contains(count))
        .map_or(RATE_LIMIT_DEFAULT, |count| RateLimit {
            requests_per_minute: count,
            burst: count,
        });
    let calls_max = arguments.calls_max.or(file.calls_max);
    if calls_max.is_some_and(|count| !(1..=CALLS_MOST).contains(&count)) {
        bail!("calls_max is a number from 1 to {CALLS_MOST}");
    }
    let every_s = arguments.audit_head_every_s.or(file.audit_head_every_s);
    if every_s.is_some_and(|seconds| !(1..=EVERY_MAX_S).contains(&seconds)) {
        bail!("audit_head_every_s is a number of seconds from 1 to {EVERY_MAX_S}");
    }
    let heads = Heads {
        file: arguments.audit_head_file.or(file.audit_head_file),
        every: every_s.map_or(EVERY_DEFAULT, |seconds| Duration::from_secs(seconds.into())),
    };
    heads.check()?;
    let metrics = Arc::new(Metrics::default().with_log_lines_lost(logging::lost()));
    let master_key = arguments.master_key.source_or(&file_key, &at)?;
    let store = at.open(master_key, metrics.clone()).await?;
    if let Some(directory) = new_in {
        data_dir::warn_of_new(directory);
    }
    let listener = listen.listen(listen_setting).await?;
    let address = listener.local_addr()?;
    let ready = || {
        let role_name = clap::ValueEnum::to_possible_value(&role);
        let role_name = role_name
            .as_ref()
            .map(clap::builder::PossibleValue::get_name);
        tracing::info!(%address, store = at.told(), role = role_name, "serving");
        Ok(())
    };
    // Until here a signal ends the process, and nothing is lost by it.
    let stop = Stop::listen()?;
    server::run(
        server::Setup {
            listener,
            store: Arc::new(store),
            registry,
            metrics,
            rate_limit,
            role,
            transport,
            retention,
            receivers,
            calls_max: calls_max.map_or(delivery::CALLS_MAX, usize::from),
            vendor_forgets: None,
            heads,
        },
        owned.as_ref(),
        ready,
        stop,
    )
    .await
}

/// Looks at the settings that a start would find in the environment and in the configuration file, and at the files that they name.
///
/// # Errors
/// Why the start would be refused.
pub(super) fn look(config: Option<&Path>) -> anyhow::Result<()> {
    #[derive(clap::Parser)]
    struct Start {
        #[command(flatten)]
        arguments: Arguments,
    }
    let Start { arguments } = settings::from_environment().map_err(|why| {
        let why = why.to_string();
        let first = why.lines().next().unwrap_or_default();
        anyhow!("{}", first.trim_start_matches("error: "))
    })?;
    let file = config.map(File::read).transpose()?.unwrap_or_default();
    let (cert, key) = (
        arguments.tls_cert.or(file.tls_cert),
        arguments.tls_key.or(file.tls_key),
    );
    certificate(cert.as_deref(), key.as_deref())?;
    let vendor_setting = match &arguments.vendor_urls {
        Some(_) => "PORTICO_VENDOR_URLS",
        None => "vendor_urls in the configuration file",
    };
    let vendor_urls = arguments.vendor_urls.or(file.vendor_urls);
    let vocabulary = arguments.vocabulary.or(file.vocabulary);
    server::registry(
        vocabulary.as_ref(),
        &vendor_urls.unwrap_or_default(),
        vendor_setting,
    )?;
    let networks = arguments.webhook_networks.or(file.webhook_networks);
    server::receivers(false, networks.unwrap_or_default(), Vec::new())?;
    Ok(())
}

/// The log level of a configuration file, unless the environment says it: that goes before the
/// file, and stays as it was when the process began.
///
/// # Errors
/// When the file cannot be read.
pub(crate) fn log_level(config: Option<&Path>) -> anyhow::Result<Option<String>> {
    match settings::variable(logging::LEVEL_VARIABLE)? {
        Some(level) => Ok(Some(level)),
        None => Ok(config
            .map(File::read)
            .transpose()?
            .and_then(|file| file.log)),
    }
}

/// Where a configuration file has the store and the master key, for commands that look after a server.
///
/// # Errors
/// When it cannot be read.
pub(super) fn located(config: Option<&Path>) -> anyhow::Result<(StoreArgs, MasterKey)> {
    let file = config.map(File::read).transpose()?.unwrap_or_default();
    Ok((file.store(), file.master_key()))
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
                let expected = Some(data_dir)
                    .filter(|name| !name.is_empty())
                    .map(|name| directory.path().join(name));
                assert_eq!(file.data_dir, expected);
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
        check(
            "listne = '0.0.0.0:80'",
            Err("line 1: a setting that there is not; did you mean `listen`?"),
        );
        check("\nlog = 'warning'", Err("line 2: The log level"));
        check("listen = 80", Ok(("127.0.0.1:80", "")));
        check("data_dir = ''\nlisten = ':0'", Ok(("127.0.0.1:0", "")));
        check("listen = 80000", Err("line 1"));
        check("listen = 'nowhere'", Err("line 1: write a host and a port"));
        check(
            "listen = '0.0.0.0:80'\ndata_dir = 'kept'\ntrusted_proxies = ['10.0.0.0/8', '::1']",
            Ok(("0.0.0.0:80", "kept")),
        );
        check(
            "trusted_proxies = ['10.0.0.0/8', 'nginx']",
            Err("line 1: neither a network"),
        );
        check(
            "listen = '0.0.0.0:80'\ndata_dir = 'kept'\nwebhook_allow_http = true\nwebhook_networks = ['10.0.0.0/8']",
            Ok(("0.0.0.0:80", "kept")),
        );
        check(
            "data_dir = 'kept'\nwebhook_ports = [8443, '9000-9100']",
            Ok(("", "kept")),
        );
        check("webhook_ports = ['https']", Err("line 1: neither a port"));
        check(
            "webhook_networks = ['10.0.0.0/8', 'inside']",
            Err("line 1: neither a network"),
        );
        check("listen = ", Err("line 1"));
    }
}

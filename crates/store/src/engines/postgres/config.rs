//! Where the database is, and how it is spoken to.
//!
//! Guarantee: what is told of a database never has its password.

use std::{path::Path, sync::Arc, time::Duration};

use rustls::pki_types::{CertificateDer, pem::PemObject};
use tokio_postgres::{Config, config::SslMode};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::hosts::Hosts;
use crate::Error;

/// Connections that read, unless it is said otherwise: each is a process of the server's.
pub const READERS_DEFAULT: usize = 4;

/// How long a connection waits for what it asks. Each is shorter than the next, so that it is the server that gives up, and says why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// How long a transaction may lie still before the server ends it: its node hangs, or is gone without a word, and others wait for it.
    pub idle: Duration,
    /// How long the server waits for others who change the database.
    pub lock: Duration,
    /// How long the server works on one statement.
    pub statement: Duration,
    /// How long an answer is waited for. Then the connection is given up: the server stands still, or waits for a standby that is gone.
    pub answer: Duration,
}

impl Patience {
    /// Of the connection that changes the database. While it waits, so does everybody who changes something, on every node: so it is counted in seconds, and what
    /// takes longer is 503 to those who wait, who come again. A node's pause between two statements is counted in milliseconds; three seconds lie still only where a
    /// machine stands still, and then others need not wait for their whole `lock` before they go on. A statement of a change concerns a bounded number of rows.
    pub const WRITING: Self = Self {
        idle: Duration::from_secs(3),
        lock: Duration::from_secs(5),
        statement: Duration::from_secs(8),
        answer: Duration::from_secs(10),
    };

    /// Of those that read: nobody waits for them but who asked, and a count over many rows takes its time.
    pub const READING: Self = Self {
        idle: Duration::from_secs(10),
        lock: Duration::from_secs(4),
        statement: Duration::from_secs(7),
        answer: Duration::from_secs(8),
    };

    /// Of one that prepares a database: a step of the schema may make an index over all there is, and who starts meanwhile waits for it.
    pub(super) const OPENING: Self = Self {
        idle: Duration::from_secs(60),
        lock: Duration::from_secs(3_600),
        statement: Duration::from_secs(3_600),
        answer: Duration::from_secs(3_660),
    };
}

/// A place to store in: `postgres://user:password@host:port/database?parameters`, as libpq has it. With several hosts, that which takes changes is used.
#[derive(Clone)]
pub struct Place {
    pub(super) hosts: Arc<Hosts>,
    database: String,
    /// Whether nothing is said without TLS.
    pub demands_tls: bool,
    /// Connections that read.
    pub readers: usize,
    /// How long a change waits.
    pub writing: Patience,
    /// How long a read waits.
    pub reading: Patience,
}

/// Whether a text names a PostgreSQL database.
pub fn is_url(text: &str) -> bool {
    text.starts_with("postgres://") || text.starts_with("postgresql://")
}

impl Place {
    /// Reads a URL. Besides what tokio-postgres knows, `sslmode=verify-full`, which `require` means here too, and `sslrootcert`, a file of certificates in PEM
    /// to trust instead of the system's.
    ///
    /// # Errors
    /// In words that do not repeat the password.
    pub fn new(url: &str) -> Result<Self, Error> {
        let (mut plain, mut roots) = (String::new(), None);
        let (base, query) = url.split_once('?').unwrap_or((url, ""));
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=') {
                Some(("sslrootcert", path)) => roots = Some(path.to_owned()),
                Some(("sslmode", "verify-full" | "verify-ca")) => {
                    push(&mut plain, "sslmode=require");
                }
                _ => push(&mut plain, pair),
            }
        }
        // What the parser says names the parameter or the part, never a value. One that it does not
        // know may be no parameter at all, but a piece of a password.
        let config: Config =
            format!("{base}{plain}")
                .parse()
                .map_err(|why: tokio_postgres::Error| {
                    let why = match told(&why) {
                        why if why.contains("unknown option") => {
                            "it has a parameter that there is not".to_owned()
                        }
                        why => why,
                    };
                    Error::Database(format!("the URL of the store cannot be read: {why}"))
                })?;
        let Some(database) = config.get_dbname().map(str::to_owned) else {
            return Err(Error::Database(
                "the URL of the store names no database: postgres://user:password@host/database"
                    .to_owned(),
            ));
        };
        // A sign of a password that ends the address early: what follows it would be taken for a database, and told.
        if database.contains(['@', ':', '/']) || base.matches('@').count() > 1 {
            return Err(Error::Database(
                "the URL of the store cannot be read: in a name or a password, write %40 for @, %3A for :, and %2F for /"
                    .to_owned(),
            ));
        }
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err(Error::Database(
                "the URL of the store names no host: postgres://user:password@host/database"
                    .to_owned(),
            ));
        }
        let tls = match config.get_ssl_mode() {
            SslMode::Disable => None,
            _ => Some(tls(roots.as_deref().map(Path::new))?),
        };
        Ok(Self {
            hosts: Arc::new(Hosts::new(&config, tls)),
            database,
            demands_tls: config.get_ssl_mode() == SslMode::Require,
            readers: READERS_DEFAULT,
            writing: Patience::WRITING,
            reading: Patience::READING,
        })
    }

    /// The place in words, without what is secret.
    pub fn told(&self) -> String {
        format!(
            "PostgreSQL database {} at {}",
            self.database,
            self.hosts.told()
        )
    }
}

fn push(query: &mut String, pair: &str) {
    query.push(if query.is_empty() { '?' } else { '&' });
    query.push_str(pair);
}

/// An error with its causes: the outermost alone says little.
pub(super) fn told(why: &tokio_postgres::Error) -> String {
    let mut text = why.to_string();
    let mut cause = std::error::Error::source(why);
    while let Some(one) = cause {
        text = format!("{text}: {one}");
        cause = one.source();
    }
    text
}

fn tls(roots: Option<&Path>) -> Result<MakeRustlsConnect, Error> {
    let mut store = rustls::RootCertStore::empty();
    match roots {
        Some(path) => {
            let unread = |why: &dyn std::fmt::Display| {
                Error::Database(format!(
                    "the certificates to trust ({}) cannot be read: {why}",
                    path.display()
                ))
            };
            for one in CertificateDer::pem_file_iter(path).map_err(|why| unread(&why))? {
                store
                    .add(one.map_err(|why| unread(&why))?)
                    .map_err(|why| unread(&why))?;
            }
            if store.is_empty() {
                return Err(unread(
                    &"it has no certificate (-----BEGIN CERTIFICATE-----) at the beginning of a line, \
                      as where a byte order mark is before it",
                ));
            }
        }
        None => {
            for one in rustls_native_certs::load_native_certs().certs {
                // A certificate of the system's that cannot be read is one that is not trusted.
                let _ = store.add(one);
            }
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|why| Error::Database(format!("TLS cannot be set up: {why}")))?
        .with_root_certificates(store)
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_read_and_told_without_its_password() {
        let place = Place::new("postgres://me:s3cret@one,two:5433/leads?sslmode=disable").unwrap();
        assert_eq!(place.told(), "PostgreSQL database leads at one, two:5433");
        for (url, why) in [
            ("postgres://me:p@s3cret@one/leads", "%40"),
            ("postgres://me:p@x/w:s3cret@one/leads", "%40"),
            ("postgres://me:s3cret@one", "names no database"),
            ("postgres:///leads", "names no host"),
            ("postgres://me:s3cret@one/leads?speed=9", "cannot be read"),
            ("postgres://me:s3cret@one:door/leads", "cannot be read"),
            (
                "postgres://me:s3cret@one/leads?sslrootcert=/no/such",
                "/no/such",
            ),
        ] {
            let told = Place::new(url).err().map(|why| why.to_string());
            let told = told.unwrap_or_default();
            assert!(told.contains(why), "{url}: {told}");
            assert!(!told.contains("s3cret"), "{told}");
        }
        assert!(Place::new("postgres://me@one/leads?sslmode=verify-full").is_ok());
    }
}

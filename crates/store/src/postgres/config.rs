//! Where the database is, and how it is spoken to.
//!
//! Guarantee: what is told of a database never has its password.

use std::{path::Path, time::Duration};

use rustls::pki_types::{CertificateDer, pem::PemObject};
use tokio_postgres::{
    Config,
    config::{Host, SslMode, TargetSessionAttrs},
};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::Error;

/// How long connecting to one of the hosts may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// How long sent data may stay unacknowledged before the connection counts as broken: a host that lost its power says nothing.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(10);

/// How often an idle connection is probed, for the same reason.
const KEEPALIVE: Duration = Duration::from_secs(10);

/// Connections that read, unless it is said otherwise: each is a process of the server's.
pub const READERS_DEFAULT: usize = 4;

/// A place to store in: `postgres://user:password@host:port/database?parameters`, as libpq has it.
#[derive(Clone)]
pub struct Place {
    pub(super) config: Config,
    pub(super) tls: Option<MakeRustlsConnect>,
    /// Connections that read.
    pub readers: usize,
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
        // What the parser says names the parameter or the part, never a value.
        let mut config: Config =
            format!("{base}{plain}")
                .parse()
                .map_err(|why: tokio_postgres::Error| {
                    Error::Database(format!(
                        "the URL of the store cannot be read: {}",
                        told(&why)
                    ))
                })?;
        if config.get_dbname().is_none() {
            return Err(Error::Database(
                "the URL of the store names no database: postgres://user:password@host/database"
                    .to_owned(),
            ));
        }
        if config.get_hosts().is_empty() {
            return Err(Error::Database(
                "the URL of the store names no host: postgres://user:password@host/database"
                    .to_owned(),
            ));
        }
        // After a failover the former primary may still answer; it is the one that takes changes that is wanted.
        config
            .target_session_attrs(TargetSessionAttrs::ReadWrite)
            .tcp_user_timeout(TCP_USER_TIMEOUT)
            .keepalives_idle(KEEPALIVE)
            .keepalives_interval(KEEPALIVE)
            .application_name("portico");
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT_TIMEOUT);
        }
        let tls = match config.get_ssl_mode() {
            SslMode::Disable => None,
            _ => Some(tls(roots.as_deref().map(Path::new))?),
        };
        Ok(Self {
            config,
            tls,
            readers: READERS_DEFAULT,
        })
    }

    /// The place in words, without what is secret.
    pub fn told(&self) -> String {
        let hosts: Vec<String> = self
            .config
            .get_hosts()
            .iter()
            .map(|host| match host {
                Host::Tcp(name) => name.clone(),
                Host::Unix(path) => path.display().to_string(),
            })
            .collect();
        let database = self.config.get_dbname().unwrap_or_default();
        format!("PostgreSQL database {database} at {}", hosts.join(", "))
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
        }
        None => {
            for one in rustls_native_certs::load_native_certs().certs {
                // A certificate of the system's that cannot be read is one that is not trusted.
                let _ = store.add(one);
            }
        }
    }
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
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
        assert_eq!(place.told(), "PostgreSQL database leads at one, two");
        for (url, why) in [
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

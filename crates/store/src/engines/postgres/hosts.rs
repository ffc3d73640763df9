//! The hosts of a place, and connecting to the one that takes changes.
//!
//! Guarantee: connecting ends within its time at each host, whatever the host does; after trouble with one the others are asked first.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use tokio_postgres::{
    AsyncMessage, Client, Config, Connection, NoTls, Socket,
    config::{Host, TargetSessionAttrs},
    error::SqlState,
};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{config::told, wish::Wishes};
use crate::outage::Outage;

/// How long connecting to one of the hosts may take, until the session stands: on a host that stands still the system goes on taking connections, which nobody answers.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// How long sent data may stay unacknowledged before the connection counts as broken: a host that lost its power says nothing.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(10);

/// How often an idle connection is probed, for the same reason.
const KEEPALIVE: Duration = Duration::from_secs(10);

/// How long nothing is tried after no host could be reached: who asks meanwhile hears at once that none can be.
const TROUBLE_WAIT: Duration = Duration::from_millis(250);

/// How long no host may be reachable without a word in the log: a connection that was ended, and is there again.
const BLINK: Duration = Duration::from_secs(1);

/// What a connection's server says without being asked, and what drives the connection: to be polled until it ends.
pub(super) type Wire = Box<
    dyn FnMut(&mut Context<'_>) -> Poll<Option<Result<AsyncMessage, tokio_postgres::Error>>> + Send,
>;

/// A connection to the host that takes changes.
pub(super) struct Reached {
    pub(super) client: Client,
    pub(super) wire: Wire,
    /// Its place among the hosts.
    pub(super) host: usize,
}

/// No host gave a connection.
pub(super) struct Unreached {
    /// For each host why not.
    pub(super) why: String,
    /// The one that takes changes is there, and has no more connections to give.
    pub(super) is_crowded: bool,
}

/// The hosts, and which of them took changes last, as all connections of a process know it.
pub(super) struct Hosts {
    /// For each, all that is needed to connect to it alone.
    each: Vec<Config>,
    tls: Option<MakeRustlsConnect>,
    /// Which is asked first: where changes were taken last, or the next one after trouble with it.
    first: AtomicUsize,
    /// When it may be tried again to connect.
    not_before: Mutex<Option<Instant>>,
    /// What the log knows of it, for all connections of a process.
    outage: Outage,
    /// The connections of this process that the server gives, and refuses.
    pub(super) wishes: Wishes,
}

impl Hosts {
    /// The hosts that `config` names.
    pub(super) fn new(config: &Config, tls: Option<MakeRustlsConnect>) -> Self {
        let count = config.get_hosts().len().max(config.get_hostaddrs().len());
        Self {
            each: (0..count).map(|at| alone(config, at)).collect(),
            tls,
            first: AtomicUsize::new(0),
            not_before: Mutex::new(None),
            outage: Outage::new(BLINK, Duration::ZERO),
            wishes: Wishes::default(),
        }
    }

    /// Their names.
    pub(super) fn told(&self) -> String {
        let names: Vec<String> = self.each.iter().map(name).collect();
        names.join(", ")
    }

    /// Whether `host` is where changes are taken, as far as is known.
    pub(super) fn is_first(&self, host: usize) -> bool {
        self.first.load(Ordering::Relaxed) == host
    }

    /// A connection to `host` broke: it is asked last. It may stand still, or take changes for the primary that it was.
    pub(super) fn leave(&self, host: usize) {
        let next = (host + 1) % self.each.len().max(1);
        // Only the first of its connections that breaks says so.
        let _ = self
            .first
            .compare_exchange(host, next, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Whether no host could be reached a moment ago.
    pub(super) fn is_in_trouble(&self) -> bool {
        let not_before = *self.lock();
        not_before.is_some_and(|at| Instant::now() < at)
    }

    /// Logs now and then that no host can be reached.
    pub(super) fn not_reached(&self, why: &str) {
        if let Some(lasts) = self.outage.goes_on() {
            let for_s = lasts.as_secs();
            tracing::warn!(
                for_s,
                why,
                "the database cannot be reached; it is tried again and again, and who asks meanwhile hears 503"
            );
        }
    }

    /// Logs that a host was reached again, where it was logged that none could be.
    pub(super) fn reached(&self) {
        if let Some(lasted) = self.outage.succeeds() {
            let after_ms = u64::try_from(lasted.as_millis()).unwrap_or(u64::MAX);
            tracing::info!(after_ms, "the database can be reached again");
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.not_before
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Connects to the first host that takes changes.
    ///
    /// # Errors
    /// In words, for each host why not.
    pub(super) async fn connect(&self) -> Result<Reached, Unreached> {
        let first = self.first.load(Ordering::Relaxed);
        let mut reasons = Vec::new();
        let mut is_crowded = false;
        for step in 0..self.each.len() {
            let host = (first + step) % self.each.len();
            let Some(config) = self.each.get(host) else {
                continue;
            };
            let timeout = config.get_connect_timeout().copied();
            let timeout = timeout.unwrap_or(CONNECT_TIMEOUT);
            let why = match tokio::time::timeout(timeout, self.connect_to(config)).await {
                Ok(Ok((client, wire))) => {
                    self.first.store(host, Ordering::Relaxed);
                    *self.lock() = None;
                    return Ok(Reached { client, wire, host });
                }
                Ok(Err(why)) => {
                    is_crowded |= has_no_more(&why);
                    told(&why)
                }
                Err(_) => format!("no answer within {} s", timeout.as_secs_f32()),
            };
            reasons.push(format!("{}: {why}", name(config)));
        }
        if !is_crowded {
            *self.lock() = Some(Instant::now() + TROUBLE_WAIT);
        }
        Err(Unreached {
            why: reasons.join("; "),
            is_crowded,
        })
    }

    async fn connect_to(&self, config: &Config) -> Result<(Client, Wire), tokio_postgres::Error> {
        match &self.tls {
            Some(tls) => config.connect(tls.clone()).await.map(driven),
            None => config.connect(NoTls).await.map(driven),
        }
    }
}

/// True if a server says that it has no more connections to give.
fn has_no_more(why: &tokio_postgres::Error) -> bool {
    why.as_db_error().is_some_and(|why| {
        // A pooler has no code of its own for it.
        *why.code() == SqlState::TOO_MANY_CONNECTIONS
            || why.message().contains("no more connections allowed")
    })
}

fn driven<T>((client, mut connection): (Client, Connection<Socket, T>)) -> (Client, Wire)
where
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let wire = move |context: &mut Context<'_>| connection.poll_message(context);
    (client, Box::new(wire))
}

/// What `config` says, of one of its hosts. It is the one that takes changes that is wanted: after a failover the former primary may still answer.
fn alone(config: &Config, at: usize) -> Config {
    let mut one = Config::new();
    match config.get_hosts().get(at) {
        Some(Host::Tcp(name)) => {
            one.host(name);
        }
        Some(Host::Unix(path)) => {
            one.host_path(path);
        }
        None => {}
    }
    if let Some(address) = config.get_hostaddrs().get(at) {
        one.hostaddr(*address);
    }
    let ports = config.get_ports();
    if let Some(port) = ports.get(at).or_else(|| ports.first()) {
        one.port(*port);
    }
    if let Some(user) = config.get_user() {
        one.user(user);
    }
    if let Some(password) = config.get_password() {
        one.password(password);
    }
    if let Some(database) = config.get_dbname() {
        one.dbname(database);
    }
    if let Some(options) = config.get_options() {
        one.options(options);
    }
    let timeout = config.get_connect_timeout().copied();
    one.ssl_mode(config.get_ssl_mode())
        .ssl_negotiation(config.get_ssl_negotiation())
        .channel_binding(config.get_channel_binding())
        .connect_timeout(timeout.unwrap_or(CONNECT_TIMEOUT))
        .target_session_attrs(TargetSessionAttrs::ReadWrite)
        .tcp_user_timeout(TCP_USER_TIMEOUT)
        .keepalives_idle(KEEPALIVE)
        .keepalives_interval(KEEPALIVE)
        .application_name(config.get_application_name().unwrap_or("portico"));
    one
}

/// A host's name, with its port where it is not PostgreSQL's own.
fn name(config: &Config) -> String {
    let host = match (config.get_hosts().first(), config.get_hostaddrs().first()) {
        (Some(Host::Tcp(name)), _) => name.clone(),
        (Some(Host::Unix(path)), _) => path.display().to_string(),
        (None, Some(address)) => address.to_string(),
        (None, None) => String::new(),
    };
    match config.get_ports().first() {
        Some(5432) | None => host,
        Some(port) => format!("{host}:{port}"),
    }
}

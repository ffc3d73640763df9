//! The processes that are measured: servers and a sandbox, each of its own, as a user would start
//! them.
//!
//! Guarantee: a process ends with its handle; starting one takes a bounded time; only loopback
//! addresses are used.

use std::{
    ffi::{OsStr, OsString},
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, anyhow, bail};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, ChildStdout, Command},
    time::timeout,
};

use crate::{connection::Connection, place::Place};

/// How long a process may take until it is ready.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// How often a server is asked whether it is ready.
const ASK_EVERY: Duration = Duration::from_millis(5);

/// The variable that says how much is logged.
const LOG: &str = "PORTICO_LOG";

/// The settings in the environment that a process is left: what it logs. Others might say
/// something against the options given here.
const LOGGING: [&str; 2] = [LOG, "PORTICO_LOG_FORMAT"];

/// Requests a minute that the benchmark's key may send: the most there may be.
const REQUESTS_PER_MINUTE: &str = "60000000";

/// The part that a server takes.
#[derive(Clone, Copy)]
pub(crate) enum Part {
    /// Takes requests and delivers.
    Everything,
    /// Takes requests alone. For a store in a database.
    Requests,
    /// Delivers alone, with so many calls under way at most. For a store in a database.
    Deliveries { calls_max: u16 },
}

impl Part {
    fn options(self) -> Vec<OsString> {
        let words = match self {
            Self::Everything => Vec::new(),
            Self::Requests => vec!["--role".to_owned(), "api".to_owned()],
            Self::Deliveries { calls_max } => {
                let calls_max = calls_max.to_string();
                let words = ["--role", "worker", "--calls-max", &calls_max];
                words.map(str::to_owned).to_vec()
            }
        };
        words.into_iter().map(OsString::from).collect()
    }
}

/// The `portico` that is measured.
pub(crate) struct Portico(PathBuf);

impl Portico {
    /// The one that is named, else the one beside this executable.
    ///
    /// # Errors
    /// When it is not there.
    pub(crate) fn find(named: Option<PathBuf>) -> anyhow::Result<Self> {
        let file = match named {
            Some(file) => file,
            None => own()?.with_file_name(format!("portico{}", std::env::consts::EXE_SUFFIX)),
        };
        if !file.is_file() {
            bail!(
                "There is no portico at {}. Build it with the same profile, as `cargo build \
                 --release -p portico` does, or name another with --portico",
                file.display()
            );
        }
        Ok(Self(file))
    }

    /// Starts a sandbox that takes so long for each call at least.
    ///
    /// # Errors
    /// When it is not ready in time.
    pub(crate) async fn sandbox(&self, latency_ms: u64) -> anyhow::Result<Process> {
        let mut command = command(&self.0);
        command
            .args(["sandbox", "--json", "--listen", "127.0.0.1:0"])
            .args(["--latency-ms", &latency_ms.to_string()]);
        Process::told(command, "sandbox_url").await
    }

    /// Makes a key that may do everything, and the store when there is none. Returns the token.
    ///
    /// # Errors
    /// When the store cannot be used.
    pub(crate) async fn key(&self, place: &Place) -> anyhow::Result<String> {
        let made = command(&self.0)
            .args(["keys", "create", "--json", "--sandbox", "--name", "bench"])
            .args(["--permissions", "read,write,admin"])
            .args(["--requests-per-minute", REQUESTS_PER_MINUTE])
            .args(place.options())
            .stderr(Stdio::piped())
            .output()
            .await
            .context("Portico cannot be started")?;
        if !made.status.success() {
            bail!(
                "No key could be made: {}",
                String::from_utf8_lossy(&made.stderr).trim()
            );
        }
        let shown: Value =
            serde_json::from_slice(&made.stdout).context("A key was shown without JSON")?;
        let token = shown["token"].as_str().map(str::to_owned);
        token.context("A key was shown without its token")
    }

    /// Starts a server at a free port.
    ///
    /// # Errors
    /// When it is not ready in time.
    pub(crate) async fn serve(
        &self,
        place: &Place,
        sandbox: &Process,
        part: Part,
    ) -> anyhow::Result<Process> {
        self.serve_at(free_address()?, place, sandbox, part).await
    }

    /// Starts a server that listens on `address`.
    ///
    /// # Errors
    /// When it is not ready in time.
    pub(crate) async fn serve_at(
        &self,
        address: SocketAddr,
        place: &Place,
        sandbox: &Process,
        part: Part,
    ) -> anyhow::Result<Process> {
        let mut command = command(&self.0);
        command
            .args(["serve", "--listen", &address.to_string()])
            .args(place.options())
            .args(part.options())
            .args(["--vendor-url", sandbox.url()])
            // Receivers are in the benchmark's own process.
            .args(["--webhook-allow-http", "--webhook-network", "127.0.0.0/8"])
            .args(["--webhook-port", "1-65535"]);
        let mut server = Process::spawn(command, format!("http://{address}"))?;
        timeout(READY_WITHIN, server.until_ready())
            .await
            .map_err(|_| anyhow!("A server was not ready within {READY_WITHIN:?}"))??;
        Ok(server)
    }
}

/// A store that Portico's is compared with.
#[derive(Clone, Copy)]
pub(crate) enum Compared {
    /// Keeps no write: the ceiling.
    Discards,
    /// Has a pool of so many connections, and a transaction for each request.
    Pools(usize),
}

/// Starts a server on a store that Portico's is compared with. It delivers nothing.
///
/// # Errors
/// When it is not ready in time.
pub(crate) async fn serve_compared(
    place: &Place,
    sandbox: &Process,
    compared: Compared,
) -> anyhow::Result<Process> {
    let mut command = command(own()?.as_os_str());
    command
        .arg("server")
        .args(place.options())
        .args(["--vendor-url", sandbox.url()]);
    if let Compared::Pools(connections) = compared {
        command.args(["--pool", &connections.to_string()]);
    }
    Process::told(command, "base_url").await
}

/// The file of this executable.
fn own() -> anyhow::Result<PathBuf> {
    std::env::current_exe().context("The own executable cannot be found")
}

/// A command that ends with its handle, and takes no setting from the environment but what it logs.
fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true);
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("PORTICO_") && !LOGGING.contains(&name.as_ref()) {
            command.env_remove(name.as_ref());
        }
    }
    if std::env::var_os(LOG).is_none_or(|level| level.is_empty()) {
        command.env(LOG, "warn");
    }
    command
}

/// A server or a sandbox.
pub(crate) struct Process {
    child: Child,
    // Held so that the process has somewhere to write to.
    stdout: BufReader<ChildStdout>,
    url: String,
    address: SocketAddr,
}

impl Process {
    /// Starts one that will listen there.
    fn spawn(mut command: Command, url: String) -> anyhow::Result<Self> {
        let address = address(&url)?;
        let (child, stdout) = spawned(&mut command)?;
        Ok(Self {
            child,
            stdout,
            url,
            address,
        })
    }

    /// Starts one that prints a line of JSON when it is ready, with its URL in `member`.
    async fn told(mut command: Command, member: &str) -> anyhow::Result<Self> {
        let (child, mut stdout) = spawned(&mut command)?;
        let mut line = String::new();
        timeout(READY_WITHIN, stdout.read_line(&mut line))
            .await
            .map_err(|_| anyhow!("A process was not ready within {READY_WITHIN:?}"))??;
        let ready: Value = serde_json::from_str(&line)
            .context("A process ended, or printed no line of JSON when it was ready")?;
        let url = ready[member].as_str();
        let url = url.with_context(|| format!("A process did not tell its `{member}`"))?;
        Ok(Self {
            child,
            stdout,
            url: url.to_owned(),
            address: address(url)?,
        })
    }

    /// Asks until it says that it is ready.
    async fn until_ready(&mut self) -> anyhow::Result<()> {
        while self.get("/readyz").await.is_err() {
            if self.child.try_wait()?.is_some() {
                bail!("A server ended before it was ready");
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
        Ok(())
    }

    /// Where it is.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends it at once, without a word: what it has answered must be stored all the same.
    ///
    /// # Errors
    /// When the system does not let it be ended.
    pub(crate) async fn kill(mut self) -> anyhow::Result<()> {
        // The other end of its stdout stays open until it has ended.
        let killed = self.child.kill().await.context("A process cannot be ended");
        drop(self.stdout);
        killed
    }

    /// The most memory it has held so far, in MB (10^6 bytes).
    ///
    /// # Errors
    /// When the system does not tell.
    pub(crate) fn peak_rss_mb(&self) -> anyhow::Result<f64> {
        let id = self.child.id().context("A process ended by itself")?;
        let status = std::fs::read_to_string(format!("/proc/{id}/status"))
            .context("The system does not tell a process's memory")?;
        let kib: f64 = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))
            .and_then(|rest| rest.split_whitespace().next())
            .and_then(|number| number.parse().ok())
            .context("The system does not tell a process's peak memory")?;
        Ok(kib * 1_024.0 / 1_000_000.0)
    }

    /// The body of a GET.
    ///
    /// # Errors
    /// When the answer is not a 200.
    pub(crate) async fn get(&self, path: &str) -> anyhow::Result<String> {
        let mut connection = Connection::open(&self.address.to_string()).await?;
        let (status, body) = connection
            .send(
                connection
                    .request(hyper::Method::GET, path)
                    .body(Default::default())?,
            )
            .await?;
        if status != hyper::StatusCode::OK {
            bail!("{path} answered {status}");
        }
        Ok(String::from_utf8_lossy(&body).into_owned())
    }
}

fn spawned(command: &mut Command) -> anyhow::Result<(Child, BufReader<ChildStdout>)> {
    let mut child = command.spawn().context("A process cannot be started")?;
    let stdout = child.stdout.take().context("A process has no stdout")?;
    Ok((child, BufReader::new(stdout)))
}

/// The address in a URL, which must be on loopback.
fn address(url: &str) -> anyhow::Result<SocketAddr> {
    let address: SocketAddr = url
        .strip_prefix("http://")
        .and_then(|rest| rest.parse().ok())
        .with_context(|| format!("{url} is not an address"))?;
    if !address.ip().is_loopback() {
        bail!("{address} is not on loopback");
    }
    Ok(address)
}

/// An address that nobody listens on at the moment.
fn free_address() -> anyhow::Result<SocketAddr> {
    let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let listener = std::net::TcpListener::bind(free).context("No port is free")?;
    Ok(listener.local_addr()?)
}

/// What a server counts.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Counted {
    /// Writes accepted.
    pub(crate) accepts: f64,
    /// Synced commits that took in at least one of them.
    pub(crate) commits: f64,
    /// Writes that have not ended.
    pub(crate) open: f64,
    /// Events that receivers have not taken.
    pub(crate) pending: f64,
}

/// Reads a server's `/metrics`.
///
/// # Errors
/// When it does not answer.
pub(crate) async fn counted(server: &Process) -> anyhow::Result<Counted> {
    Ok(Counted::of(&server.get("/metrics").await?))
}

impl Counted {
    /// Accepted writes that shared one sync, on average, since `before`.
    pub(crate) fn accepts_per_sync_since(self, before: Self) -> f64 {
        (self.accepts - before.accepts) / (self.commits - before.commits).max(1.0)
    }

    fn of(text: &str) -> Self {
        let sample = |name: &str| {
            text.lines()
                .filter_map(|line| line.rsplit_once(' '))
                .find(|(key, _)| *key == name)
                .and_then(|(_, number)| number.parse().ok())
                .unwrap_or(0.0)
        };
        Self {
            accepts: sample("portico_accepts_total{result=\"accepted\"}"),
            commits: sample("portico_commits_total"),
            open: sample("portico_queue_depth"),
            pending: sample("portico_deliveries_pending"),
        }
    }
}

/// What a sandbox holds and was told.
#[derive(Clone, Copy)]
pub(crate) struct Arrived {
    /// Prospects that it holds.
    pub(crate) prospects: u64,
    /// Calls that told it of one that it held already.
    pub(crate) again: u64,
}

/// Asks a sandbox what arrived.
///
/// # Errors
/// When it does not answer.
pub(crate) async fn arrived(sandbox: &Process) -> anyhow::Result<Arrived> {
    let counts: Value = serde_json::from_str(&sandbox.get("/_sandbox/counts").await?)?;
    let count = |member: &str| {
        let count = counts[member].as_u64();
        count.with_context(|| format!("the sandbox does not count its `{member}`"))
    };
    Ok(Arrived {
        prospects: count("prospects")?,
        again: count("updates")?,
    })
}

#[cfg(test)]
mod tests {
    use super::Counted;

    #[test]
    fn metrics_are_read_by_their_whole_name() {
        let text = "# TYPE portico_commits counter\nportico_commits_total 7\nportico_commits_total_other 9\n\
                    portico_accepts_total{result=\"replayed\"} 3\nportico_accepts_total{result=\"accepted\"} 21\nportico_queue_depth 4\nportico_deliveries_pending 5\n# EOF\n";
        let want = Counted {
            accepts: 21.0,
            commits: 7.0,
            open: 4.0,
            pending: 5.0,
        };
        assert_eq!(Counted::of(text), want);
        assert_eq!(Counted::of(""), Counted::default());
    }
}

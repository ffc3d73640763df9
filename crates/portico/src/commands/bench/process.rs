//! The processes that are measured: a server and a sandbox, each of its own, as a user would start them.
//!
//! Guarantee: a process ends with its handle; starting one takes a bounded time; only loopback addresses are used.

use std::{
    ffi::OsString,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, anyhow, bail};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, ChildStdout, Command},
    time::timeout,
};

use crate::{commands::dev, connection::Connection};

/// How long a process may take until it is ready.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// How often a process that prints nothing is asked whether it is ready.
const ASK_EVERY: Duration = Duration::from_millis(20);

/// The settings in the environment that a process is left: what it logs. Others might say something against the flags given here.
const LOGGING: [&str; 2] = ["PORTICO_LOG", "PORTICO_LOG_FORMAT"];

/// What a server does besides answering.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Stores what it accepts, and delivers nothing.
    Stores,
    /// Stores what it accepts and delivers it.
    Delivers,
    /// Keeps nothing: the ceiling.
    Discards,
    /// Stores what it accepts, each write in a transaction of its own over a pool of so many connections, and delivers nothing.
    Pools(usize),
}

/// Where a server keeps things.
#[derive(Clone, Copy)]
pub(crate) struct Kept<'a> {
    /// The directory with everything, or with what is not in a database.
    pub(crate) data_dir: &'a Path,
    /// The file with the URL of the database, where it is PostgreSQL's.
    pub(crate) store_file: Option<&'a Path>,
}

impl<'a> From<&'a Path> for Kept<'a> {
    fn from(data_dir: &'a Path) -> Self {
        Self {
            data_dir,
            store_file: None,
        }
    }
}

/// A process of this executable.
pub(crate) struct Process {
    child: Child,
    // Held so that the process has somewhere to write to.
    _stdout: BufReader<ChildStdout>,
    ready: Value,
}

impl Process {
    fn command(arguments: Vec<OsString>) -> anyhow::Result<Command> {
        let program = std::env::current_exe().context("the own executable cannot be found")?;
        let mut command = Command::new(program);
        command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy();
            if name.starts_with("PORTICO_") && !LOGGING.contains(&name.as_ref()) {
                command.env_remove(name.as_ref());
            }
        }
        if crate::settings::variable(crate::logging::LEVEL_VARIABLE)?.is_none() {
            command.env("PORTICO_LOG", "warn");
        }
        Ok(command)
    }

    /// Starts one that prints a line of JSON when it is ready.
    async fn start(arguments: Vec<OsString>) -> anyhow::Result<Self> {
        let mut child = Self::command(arguments)?
            .spawn()
            .context("a process cannot be started")?;
        let stdout = child.stdout.take().context("a process has no stdout")?;
        let mut stdout = BufReader::new(stdout);
        let mut line = String::new();
        timeout(READY_WITHIN, stdout.read_line(&mut line))
            .await
            .map_err(|_| anyhow!("a process was not ready within {READY_WITHIN:?}"))??;
        let ready = serde_json::from_str(&line)
            .context("a process ended, or printed no line of JSON when ready")?;
        Ok(Self {
            child,
            _stdout: stdout,
            ready,
        })
    }

    /// Starts a server that keeps things there, at a free port.
    ///
    /// # Errors
    /// When it is not ready in time.
    pub(crate) async fn server(
        kept: impl Into<Kept<'_>>,
        sandbox: &Self,
        mode: Mode,
    ) -> anyhow::Result<Self> {
        let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self::server_at(free, kept, sandbox, mode).await
    }

    /// Starts a server that keeps things there and listens on `address`.
    ///
    /// # Errors
    /// When it is not ready in time.
    pub(crate) async fn server_at(
        address: SocketAddr,
        kept: impl Into<Kept<'_>>,
        sandbox: &Self,
        mode: Mode,
    ) -> anyhow::Result<Self> {
        let Kept {
            data_dir,
            store_file,
        } = kept.into();
        let mut arguments: Vec<OsString> =
            ["dev", "--json", "--listen"].map(OsString::from).to_vec();
        arguments.push(address.to_string().into());
        arguments.push("--sandbox-url".into());
        arguments.push(sandbox.word("sandbox_url")?.into());
        arguments.push("--data-dir".into());
        arguments.push(data_dir.into());
        if let Some(file) = store_file {
            arguments.push("--store-file".into());
            arguments.push(file.into());
        }
        if mode != Mode::Delivers {
            arguments.push("--no-delivery".into());
        }
        match mode {
            Mode::Delivers | Mode::Stores => {}
            Mode::Discards => arguments.push("--discard-accepts".into()),
            Mode::Pools(connections) => {
                arguments.push("--store-pool".into());
                arguments.push(connections.to_string().into());
            }
        }
        Self::start(arguments).await
    }

    /// Starts a worker on a database that a server was started on: one that delivers, with so many calls under way at most, and takes no requests.
    ///
    /// # Errors
    /// When it is not ready in time.
    pub(crate) async fn worker(
        kept: Kept<'_>,
        sandbox: &Self,
        calls_max: u16,
    ) -> anyhow::Result<Self> {
        let address = free_address()?;
        let mut arguments: Vec<OsString> = ["serve", "--role", "worker", "--listen"]
            .map(OsString::from)
            .to_vec();
        arguments.push(address.to_string().into());
        arguments.push("--calls-max".into());
        arguments.push(calls_max.to_string().into());
        arguments.push("--vendor-url".into());
        arguments.push(sandbox.word("sandbox_url")?.into());
        arguments.push("--master-key-file".into());
        arguments.push(kept.data_dir.join(dev::MASTER_KEY).into());
        arguments.push("--store-file".into());
        arguments.push(kept.store_file.context("a worker needs a database")?.into());
        let mut child = Self::command(arguments)?
            .spawn()
            .context("a process cannot be started")?;
        let stdout = child.stdout.take().context("a process has no stdout")?;
        let mut worker = Self {
            child,
            _stdout: BufReader::new(stdout),
            ready: json!({ "base_url": format!("http://{address}") }),
        };
        timeout(READY_WITHIN, worker.until_ready())
            .await
            .map_err(|_| anyhow!("a worker was not ready within {READY_WITHIN:?}"))??;
        Ok(worker)
    }

    /// Asks until it says that it is ready.
    async fn until_ready(&mut self) -> anyhow::Result<()> {
        while self.get("/readyz").await.is_err() {
            if self.child.try_wait()?.is_some() {
                bail!("a worker ended before it was ready");
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
        Ok(())
    }

    /// Starts a sandbox.
    ///
    /// # Errors
    /// When it is not ready in time.
    pub(crate) async fn sandbox() -> anyhow::Result<Self> {
        Self::slow_sandbox(0).await
    }

    /// Starts a sandbox that takes so long for each call at least.
    ///
    /// # Errors
    /// When it is not ready in time.
    pub(crate) async fn slow_sandbox(latency_ms: u64) -> anyhow::Result<Self> {
        let latency_ms = latency_ms.to_string();
        let arguments = [
            "sandbox",
            "--json",
            "--listen",
            "127.0.0.1:0",
            "--latency-ms",
            &latency_ms,
        ];
        Self::start(arguments.map(OsString::from).to_vec()).await
    }

    /// What it printed when it was ready.
    pub(crate) fn ready(&self) -> &Value {
        &self.ready
    }

    /// A string of what it printed when it was ready.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn word(&self, member: &str) -> anyhow::Result<&str> {
        self.ready[member]
            .as_str()
            .ok_or_else(|| anyhow!("a process did not tell its `{member}`"))
    }

    /// Where it listens.
    ///
    /// # Errors
    /// When that is not on loopback.
    pub(crate) fn address(&self) -> anyhow::Result<SocketAddr> {
        let url = self
            .word("base_url")
            .or_else(|_| self.word("sandbox_url"))?;
        let address: SocketAddr = url
            .strip_prefix("http://")
            .and_then(|rest| rest.parse().ok())
            .with_context(|| format!("{url} is not an address"))?;
        if !address.ip().is_loopback() {
            bail!("{address} is not on loopback");
        }
        Ok(address)
    }

    /// Ends it at once, without a word: what it has answered must be stored all the same.
    ///
    /// # Errors
    /// When the system does not let it be ended.
    pub(crate) async fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill().await.context("a process cannot be ended")
    }

    /// The most memory it has held so far, in MB (10^6 bytes).
    ///
    /// # Errors
    /// When the system does not tell.
    pub(crate) fn peak_rss_mb(&self) -> anyhow::Result<f64> {
        let id = self.child.id().context("a process ended by itself")?;
        let status = std::fs::read_to_string(format!("/proc/{id}/status"))
            .context("the system does not tell a process's memory")?;
        let kib: f64 = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))
            .and_then(|rest| rest.split_whitespace().next())
            .and_then(|number| number.parse().ok())
            .context("the system does not tell a process's peak memory")?;
        Ok(kib * 1_024.0 / 1_000_000.0)
    }

    /// The body of a GET.
    ///
    /// # Errors
    /// When the answer is not a 200.
    pub(crate) async fn get(&self, path: &str) -> anyhow::Result<String> {
        let mut connection = Connection::open(&self.address()?.to_string()).await?;
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

/// An address that nobody listens on at the moment.
fn free_address() -> anyhow::Result<SocketAddr> {
    let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let listener = std::net::TcpListener::bind(free).context("no port is free")?;
    Ok(listener.local_addr()?)
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

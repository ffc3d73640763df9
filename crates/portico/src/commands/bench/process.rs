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
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, ChildStdout, Command},
    time::timeout,
};

use crate::connection::Connection;

/// How long a process may take until it is ready.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// What the environment might say against the flags given here.
const UNSET: [&str; 4] = [
    "PORTICO_LISTEN",
    "PORTICO_SANDBOX_LISTEN",
    "PORTICO_SANDBOX_URL",
    "PORTICO_DATA_DIR",
];

/// What a server does besides answering.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Stores what it accepts, and delivers nothing.
    Stores,
    /// Stores what it accepts and delivers it.
    Delivers,
    /// Keeps nothing: the ceiling.
    Discards,
}

/// A process of this executable.
pub(crate) struct Process {
    child: Child,
    // Held so that the process has somewhere to write to.
    _stdout: BufReader<ChildStdout>,
    ready: Value,
}

impl Process {
    async fn start(arguments: Vec<OsString>) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("the own executable cannot be found")?;
        let mut command = Command::new(program);
        command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        for name in UNSET {
            command.env_remove(name);
        }
        if std::env::var_os("PORTICO_LOG").is_none() {
            command.env("PORTICO_LOG", "warn");
        }
        let mut child = command.spawn().context("a process cannot be started")?;
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

    /// Starts a server on `data_dir`, at a free port.
    ///
    /// # Errors
    /// When it is not ready in time.
    pub(crate) async fn server(
        data_dir: &Path,
        sandbox: &Self,
        mode: Mode,
    ) -> anyhow::Result<Self> {
        let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self::server_at(free, data_dir, sandbox, mode).await
    }

    /// Starts a server on `data_dir` that listens on `address`.
    ///
    /// # Errors
    /// When it is not ready in time.
    pub(crate) async fn server_at(
        address: SocketAddr,
        data_dir: &Path,
        sandbox: &Self,
        mode: Mode,
    ) -> anyhow::Result<Self> {
        let mut arguments: Vec<OsString> =
            ["dev", "--json", "--listen"].map(OsString::from).to_vec();
        arguments.push(address.to_string().into());
        arguments.push("--sandbox-url".into());
        arguments.push(sandbox.word("sandbox_url")?.into());
        arguments.push("--data-dir".into());
        arguments.push(data_dir.into());
        match mode {
            Mode::Delivers => {}
            Mode::Stores => arguments.push("--no-delivery".into()),
            Mode::Discards => {
                arguments.push("--no-delivery".into());
                arguments.push("--discard-accepts".into());
            }
        }
        Self::start(arguments).await
    }

    /// Starts a sandbox.
    ///
    /// # Errors
    /// When it is not ready in time.
    pub(crate) async fn sandbox() -> anyhow::Result<Self> {
        let arguments = ["sandbox", "--json", "--listen", "127.0.0.1:0"].map(OsString::from);
        Self::start(arguments.to_vec()).await
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

/// How many prospects a sandbox holds.
///
/// # Errors
/// When it does not answer.
pub(crate) async fn arrived(sandbox: &Process) -> anyhow::Result<u64> {
    let counts: Value = serde_json::from_str(&sandbox.get("/_sandbox/counts").await?)?;
    counts["prospects"]
        .as_u64()
        .context("the sandbox does not count its prospects")
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

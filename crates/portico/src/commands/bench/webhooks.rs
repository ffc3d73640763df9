//! `portico bench webhooks`: what is accepted is told to receivers in this process.

use std::{net::SocketAddr, path::Path};

use anyhow::{Context, bail};
use clap::Subcommand;
use http_body_util::Full;
use hyper::{Method, StatusCode};
use model::Secret;
use serde_json::{Value, json};

use super::{
    chaos, latency,
    process::{Mode, Process},
    receivers::Receiver,
    report,
};
use crate::{connection::Connection, output};

/// What is told to receivers, and how fast.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Whether every event reaches every receiver, while these are slow, fail, hang and break off, and the server is killed.
    Chaos(chaos::Plan),
    /// Events taken a second at most, from accept over the vendor to one receiver, and how long that takes at half the rate.
    Latency(latency::Plan),
}

impl Arguments {
    /// Runs it, and shows what came out.
    ///
    /// # Errors
    /// When something is missing, or cannot be measured.
    pub(crate) async fn measure(self) -> anyhow::Result<()> {
        match self.command {
            Command::Chaos(plan) => {
                let shown = plan.measure().await?;
                output::data(&if plan.json {
                    serde_json::to_string(&shown)?
                } else {
                    format!(
                        "{}\n\n{}",
                        report::table(std::slice::from_ref(&shown.whole)),
                        report::table(&shown.receivers)
                    )
                });
                shown.complete()
            }
            Command::Latency(plan) => {
                let shown = plan.measure().await?;
                output::data(&if plan.json {
                    serde_json::to_string(&shown)?
                } else {
                    format!(
                        "{}\n\n{}",
                        report::table(&shown.rates),
                        report::table(std::slice::from_ref(&shown.half))
                    )
                });
                shown.complete()
            }
        }
    }
}

/// Calls of a server's API, one after the other.
pub(super) struct Api {
    connection: Connection,
    bearer: String,
}

impl Api {
    /// Connects with the key that the server told.
    ///
    /// # Errors
    /// When nobody listens.
    pub(super) async fn of(server: &Process) -> anyhow::Result<Self> {
        Ok(Self {
            connection: Connection::open(&server.address()?.to_string()).await?,
            bearer: format!("Bearer {}", server.word("token")?),
        })
    }

    /// The answer to a call, which must be a 200.
    ///
    /// # Errors
    /// When it is not.
    pub(super) async fn call(
        &mut self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<Value> {
        let request = self
            .connection
            .request(method, path)
            .header("authorization", &self.bearer)
            .header("content-type", "application/json")
            .body(Full::from(body.map(Value::to_string).unwrap_or_default()))?;
        let (status, answer) = self.connection.send(request).await?;
        if status != StatusCode::OK {
            let said: String = String::from_utf8_lossy(&answer).chars().take(300).collect();
            bail!("{path} answered {status}: {said}");
        }
        Ok(serde_json::from_slice(&answer)?)
    }
}

/// A server on `data_dir` that delivers, with these receivers subscribed to `triggers` of prospects before anything has happened. With its receivers' ids.
///
/// # Errors
/// When it does not take them.
pub(super) async fn subscribed(
    data_dir: &Path,
    sandbox: &Process,
    receivers: &[Receiver],
    triggers: &[&str],
) -> anyhow::Result<(Process, Vec<String>)> {
    // It delivers nothing yet, so that the log of events is empty until all have subscribed.
    let server = Process::server(data_dir, sandbox, Mode::Stores).await?;
    let mut api = Api::of(&server).await?;
    let mut ids = Vec::with_capacity(receivers.len());
    for receiver in receivers {
        let mut body = json!({ "url": receiver.url, "triggers": triggers, "active": true });
        if triggers.contains(&"DATA_NEW") {
            body["model"] = json!("crm_prospects");
        }
        let made = api.call(Method::POST, "/v1/webhooks", Some(&body)).await?;
        let word = |member: &str| {
            let word = made["result"][member].as_str();
            word.with_context(|| format!("a webhook was made without its `{member}`"))
        };
        receiver.trust(Secret::new(word("secret")?));
        ids.push(word("id")?.to_owned());
    }
    let address = server.address()?;
    server.kill().await?;
    Ok((again(data_dir, sandbox, address).await?, ids))
}

/// Starts the server again on its data and its address.
///
/// # Errors
/// When it is not ready in time.
pub(super) async fn again(
    data_dir: &Path,
    sandbox: &Process,
    address: SocketAddr,
) -> anyhow::Result<Process> {
    Process::server_at(address, data_dir, sandbox, Mode::Delivers).await
}

/// The write's id in the answer to an accept.
///
/// # Errors
/// When it is not there.
pub(super) fn job_id(answer: &[u8]) -> anyhow::Result<String> {
    let answer: Value = serde_json::from_slice(answer)?;
    let id = answer["meta"]["job_id"].as_str();
    id.map(str::to_owned)
        .context("an accepted write was answered without its `meta.job_id`")
}

//! `portico-bench webhooks`: what is accepted is told to receivers in this process.

use anyhow::Context;
use clap::Subcommand;
use hyper::Method;
use model::Secret;
use serde_json::{Value, json};

use crate::{
    api::Api,
    chaos, latency, output,
    process::{Part, Portico, Process},
    receivers::Receiver,
    report,
    site::Site,
};

/// What is told to receivers, and how fast.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Whether every event reaches every receiver, while these are slow, fail, hang and break off,
    /// and the server is killed.
    Chaos(chaos::Plan),
    /// Events taken a second at most, from accept over the vendor to one receiver, and how long
    /// that takes at half the rate.
    Latency(latency::Plan),
}

impl Arguments {
    /// Runs it, and shows what came out.
    ///
    /// # Errors
    /// When something is missing, or cannot be measured.
    pub(crate) async fn measure(self, portico: &Portico) -> anyhow::Result<()> {
        match self.command {
            Command::Chaos(plan) => {
                let shown = plan.measure(portico).await?;
                output::data(&if plan.json {
                    serde_json::to_string(&shown)?
                } else {
                    format!(
                        "{}\n\n{}",
                        report::table(std::slice::from_ref(&shown.whole)),
                        report::table(&shown.receivers)
                    )
                })?;
                shown.complete()
            }
            Command::Latency(plan) => {
                let shown = plan.measure(portico).await?;
                output::data(&if plan.json {
                    serde_json::to_string(&shown)?
                } else {
                    format!(
                        "{}\n\n{}",
                        report::table(&shown.rates),
                        report::table(std::slice::from_ref(&shown.half))
                    )
                })?;
                shown.complete()
            }
        }
    }
}

/// A server on `site`, with these receivers subscribed to `triggers` of prospects before anything
/// has happened to one. With the subscriptions' ids.
///
/// # Errors
/// When it does not take them.
pub(super) async fn subscribed(
    portico: &Portico,
    site: &Site,
    sandbox: &Process,
    receivers: &[Receiver],
    triggers: &[&str],
) -> anyhow::Result<(Process, Vec<String>)> {
    let server = portico
        .serve(&site.place, sandbox, Part::Everything)
        .await?;
    let mut api = Api::of(&server, &site.token).await?;
    let mut ids = Vec::with_capacity(receivers.len());
    for receiver in receivers {
        let mut body = json!({ "url": receiver.url, "triggers": triggers, "active": true });
        if triggers.contains(&"DATA_NEW") {
            body["model"] = json!("crm_prospects");
        }
        let made = api.call(Method::POST, "/v1/webhooks", Some(&body)).await?;
        let word = |member: &str| {
            let word = made["result"][member].as_str();
            word.with_context(|| format!("A webhook was made without its `{member}`"))
        };
        receiver.trust(Secret::new(word("secret")?));
        ids.push(word("id")?.to_owned());
    }
    Ok((server, ids))
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

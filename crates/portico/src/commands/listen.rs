//! `portico listen`
//!
//! Follows a server's log of events and hands each to a receiver on this machine, as a delivery: the same body, the same headers, signed. Nobody has to be reachable
//! from outside for that. Guarantee: what happens while the server cannot be reached is forwarded when it can be again.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, anyhow, bail};
use bytes::Bytes;
use model::{
    Clock as _, Entropy as _, EventId, Secret, Timestamp, WebhookId,
    key::System,
    resources::webhook::Model,
    text::shown,
    webhook::{Trigger, Webhook},
};
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;
use webhooks::{
    client::Client,
    sender::send,
    signing::{secret_fits, secret_new},
};

use crate::{
    commands::dev,
    output, settings, signals, store_at,
    system::{SystemClock, SystemEntropy},
};

/// Events asked for at once.
const EVENTS_AT_ONCE: u32 = 100;

/// How long the server may wait for the next event before it answers that there is none: well below the time that a call may take.
const WAIT_S: u32 = 10;

/// How long to wait before a server is asked again that could not be asked, at first and at most.
const AGAIN_FIRST: Duration = Duration::from_millis(500);
const AGAIN_MAX: Duration = Duration::from_secs(10);

/// Forwards a server's events to a receiver on this machine, signed as deliveries are, without a public address.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Where to forward events to, such as http://127.0.0.1:3000/hook.
    #[arg(long, value_name = "URL")]
    forward_to: String,
    /// The server.
    #[arg(
        long,
        env = "PORTICO_SERVER",
        default_value = "http://127.0.0.1:8080",
        value_name = "URL"
    )]
    server: String,
    /// An API key's token with the permission webhooks:read. [default: that of `portico dev` in the data directory]
    #[arg(
        long,
        env = "PORTICO_TOKEN",
        value_name = "TOKEN",
        hide_env_values = true
    )]
    token: Option<String>,
    /// Where `portico dev` keeps its token.
    #[arg(
        long,
        env = "PORTICO_DATA_DIR",
        default_value = store_at::DATA_DIR,
        value_name = "DIR"
    )]
    data_dir: PathBuf,
    /// What to sign with. [default: one that is made for this run, and printed]
    #[arg(
        long,
        env = "PORTICO_WEBHOOK_SECRET",
        value_name = "SECRET",
        hide_env_values = true
    )]
    secret: Option<String>,
    /// Forwards these only, such as WRITE_OPERATION_FAILURE.
    #[arg(long = "trigger", value_name = "TRIGGER", value_delimiter = ',', value_parser = trigger)]
    triggers: Vec<Trigger>,
    /// Forwards what is about this model only, such as crm_prospects.
    #[arg(long, value_name = "MODEL", value_parser = model)]
    model: Option<Model>,
    /// Forwards what concerns this integration only.
    #[arg(long, value_name = "ID")]
    integration_id: Option<String>,
    /// Begins with what happened at this time, such as 2026-11-24T09:00:00Z, up to 30 days ago. [default: now]
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<Timestamp>,
    /// Prints a JSON object a line.
    #[arg(long)]
    json: bool,
}

fn trigger(text: &str) -> Result<Trigger, String> {
    let all: Vec<&str> = Trigger::ALL.iter().map(|one| one.word()).collect();
    Trigger::of(text).ok_or_else(|| format!("a trigger is one of {}", all.join(", ")))
}

fn model(text: &str) -> Result<Model, String> {
    let all: Vec<&str> = Model::ALL.iter().map(|one| one.word()).collect();
    Model::of(text).ok_or_else(|| format!("a model is one of {}", all.join(", ")))
}

fn time(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse(text)
        .map_err(|_| "a time is like 2026-11-24T09:00:00Z, with its offset".to_owned())
}

/// A page of the log, as far as it is looked at.
#[derive(Deserialize)]
struct Page {
    meta: Meta,
    results: Vec<Entry>,
}

#[derive(Deserialize)]
struct Meta {
    #[serde(rename = "nextCursor")]
    next_cursor: Option<String>,
}

#[derive(Deserialize)]
struct Entry {
    id: EventId,
    created_at: String,
    trigger: String,
    body: Value,
}

/// Why a page could not be had.
enum Trouble {
    /// Asking again may bring it.
    Passing(String),
    /// It will not.
    Lasting(anyhow::Error),
}

/// A server's log of events.
struct Log {
    client: Client,
    events: Url,
    token: Secret,
}

impl Log {
    async fn page(&self, query: &[(&str, String)], wait_s: Option<u32>) -> Result<Page, Trouble> {
        let mut url = self.events.clone();
        url.query_pairs_mut().extend_pairs(query);
        let now = SystemClock.now();
        let answer = self
            .client
            .get(&url, Some(&self.token), wait_s, now)
            .await
            .map_err(|failure| Trouble::Passing(failure.words))?;
        if answer.status == 200 {
            return serde_json::from_slice(&answer.body).map_err(|why| {
                Trouble::Lasting(anyhow!(
                    "the server's answer is not a page of events ({why}); is this Portico, and not an older one?"
                ))
            });
        }
        let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let said = body["error"]["message"].as_str().unwrap_or("");
        let why = format!("the server answered {}: {said}", answer.status);
        Err(match answer.status {
            429 | 500..=599 => Trouble::Passing(why),
            _ => Trouble::Lasting(anyhow!(why)),
        })
    }

    /// As [`Log::page`], as often as it takes.
    async fn page_in_time(
        &self,
        query: &[(&str, String)],
        wait_s: Option<u32>,
    ) -> anyhow::Result<Page> {
        let mut again = AGAIN_FIRST;
        loop {
            match self.page(query, wait_s).await {
                Ok(page) => return Ok(page),
                Err(Trouble::Lasting(why)) => return Err(why),
                Err(Trouble::Passing(why)) => {
                    output::note(&format!("{why}; trying again"));
                    tokio::time::sleep(again).await;
                    again = (again * 2).min(AGAIN_MAX);
                }
            }
        }
    }
}

fn url(text: &str, what: &str) -> anyhow::Result<Url> {
    let url = Url::parse(text).with_context(|| format!("{what} is not a url: {text}"))?;
    if !["http", "https"].contains(&url.scheme()) || url.host().is_none() {
        bail!("{what} begins neither with http:// nor with https://: {text}");
    }
    Ok(url)
}

pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    tokio::select! {
        ended = follow(arguments) => ended,
        () = signals::told_to_stop() => Ok(()),
    }
}

async fn follow(arguments: Arguments) -> anyhow::Result<()> {
    let forward_to = url(&arguments.forward_to, "--forward-to")?;
    let mut events = url(&arguments.server, settings::named("--server"))?;
    let path = format!("{}/v1/admin/events", events.path().trim_end_matches('/'));
    events.set_path(&path);
    events.set_query(None);
    let token = match arguments.token {
        Some(token) => Secret::new(token.trim()),
        None => dev::token(&arguments.data_dir)
            .context("no token: give one with --token or PORTICO_TOKEN")?,
    };
    let client = Client::anywhere().map_err(|why| anyhow!(why))?;
    let log = Log {
        client: client.clone(),
        events,
        token,
    };
    if let Some(why) = arguments
        .secret
        .as_deref()
        .and_then(|secret| secret_fits(secret).err())
    {
        bail!("{}: {why}", settings::named("--secret"));
    }
    let given = arguments.secret.map(Secret::new);
    let is_given = given.is_some();
    let secret =
        given.unwrap_or_else(|| secret_new([SystemEntropy.bytes(), SystemEntropy.bytes()]));
    let receiver = receiver(forward_to, secret);

    let mut query = vec![
        ("limit", EVENTS_AT_ONCE.to_string()),
        ("order-by", "created_at:asc".to_owned()),
    ];
    query.extend(
        arguments
            .model
            .map(|model| ("model", model.word().to_owned())),
    );
    query.extend(arguments.integration_id.map(|id| ("integration_id", id)));
    let mut cursor = None;
    match arguments.since {
        Some(since) => query.push(("created_at_gte", since.to_string())),
        None => {
            let newest = [("limit", "1".to_owned())];
            cursor = log.page_in_time(&newest, None).await?.meta.next_cursor;
        }
    }
    if arguments.json {
        let secret = receiver.secret.expose();
        let ready =
            json!({ "forward_to": receiver.url, "server": arguments.server, "secret": secret });
        output::data(&ready.to_string());
    } else {
        let signed = if is_given {
            "Signed with your secret".to_owned()
        } else {
            format!("Signed with {}", receiver.secret.expose())
        };
        output::note(&format!(
            "Forwarding events of {} to {}\n{signed}",
            arguments.server, receiver.url
        ));
    }
    loop {
        let mut asked = query.clone();
        asked.extend(cursor.clone().map(|cursor| ("cursor", cursor)));
        let page = log.page_in_time(&asked, Some(WAIT_S)).await?;
        for entry in page.results {
            let is_wanted = arguments.triggers.is_empty()
                || arguments
                    .triggers
                    .iter()
                    .any(|one| one.word() == entry.trigger);
            if is_wanted {
                forward(&client, &receiver, entry, arguments.json).await;
                // Nobody sees any more what becomes of events: they are left to the next run.
                if output::is_reader_gone() {
                    return Ok(());
                }
            }
        }
        cursor = page.meta.next_cursor.or(cursor);
    }
}

/// The receiver on this machine, as a subscription that is nowhere stored.
fn receiver(forward_to: Url, secret: Secret) -> Webhook {
    let now = SystemClock.now();
    Webhook {
        id: WebhookId::NOBODY,
        url: forward_to.into(),
        headers: Vec::new(),
        triggers: Vec::new(),
        active: true,
        system: System::Sandbox,
        object_style: Default::default(),
        integrations: None,
        secret,
        previous: Vec::new(),
        failing_since: None,
        disabled: None,
        created_by: None,
        created_at: now,
        updated_at: now,
    }
}

/// Forwards an event once, and says what became of it: who sits in front of it sees it fail, and can have it again.
async fn forward(client: &Client, receiver: &Webhook, entry: Entry, is_json: bool) {
    let body = Bytes::from(entry.body.to_string());
    let now = SystemClock.now();
    let sent = send(client, receiver, entry.id, body, 1, (now, now)).await;
    let attempt = sent.attempt;
    if is_json {
        let line = json!({
            "event_id": entry.id,
            "created_at": entry.created_at,
            "trigger": entry.trigger,
            "is_taken": attempt.is_taken,
            "status": attempt.status,
            "duration_ms": attempt.duration_ms,
            "error": attempt.error,
            "body": entry.body,
        });
        output::data(&line.to_string());
        return;
    }
    let outcome = match (attempt.is_taken, attempt.status, attempt.error) {
        (true, Some(status), _) => format!("{status}"),
        (_, _, Some(error)) => format!("failed: {}", shown(&error)),
        (_, status, None) => format!("failed: {status:?}"),
    };
    output::data(&format!(
        "{}  {:<24}  {}  {outcome} ({} ms)",
        entry.created_at,
        shown(&entry.trigger),
        entry.id,
        attempt.duration_ms.unwrap_or(0)
    ));
}

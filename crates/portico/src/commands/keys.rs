//! `portico keys`

use std::sync::Arc;

use anyhow::bail;
use clap::Subcommand;
use model::{
    Actor, Clock, KeyId, Permission, Secret, Timestamp, WebhookId,
    key::{Key, RateLimit, System, Token, token_make},
    resources::{
        integration::one_line,
        key::{KeyRecord, OVERLAP_DEFAULT_S, OVERLAP_MAX_S},
    },
};
use serde_json::json;
use store::{Store, Unobserved, webhooks::Revoked};

use crate::{
    commands::{MasterKey, rotate},
    output, server,
    store_at::StoreArgs,
    system::{SystemClock, SystemEntropy},
};

/// Makes, lists, rotates and revokes API keys. Works while a server runs: it notices within a quarter of a second.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    master_key: MasterKey,
    /// Prints JSON.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Makes a key and prints its token, once.
    Create {
        /// What to call it.
        #[arg(long, value_parser = one_line)]
        name: String,
        /// What it may do: read, write, admin, or one of these for a group, such as prospects:write.
        #[arg(long, value_delimiter = ',', default_value = "read,write")]
        permissions: Vec<Permission>,
        /// Limits it to an integration; may be given several times.
        #[arg(long = "integration", value_name = "ID")]
        integrations: Vec<String>,
        /// Its token begins ptk_test_ instead of ptk_live_: for people and for secret scanners; it limits nothing.
        #[arg(long)]
        sandbox: bool,
        /// From when on it is not taken any more, such as 2027-03-01T00:00:00Z. [default: never]
        #[arg(long, value_name = "TIME", value_parser = moment)]
        expires_at: Option<Timestamp>,
        /// How many requests a minute it may send. [default: what the server has set for all]
        #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=i64::from(RateLimit::MAX)))]
        requests_per_minute: Option<u32>,
    },
    /// Lists the keys, without tokens.
    List,
    /// Gives a key another token and prints it, once. Those that it had are taken for a while.
    Rotate {
        /// The key's id.
        id: String,
        /// How long the tokens it had are still taken, in seconds; 0 ends them at once.
        #[arg(long, value_name = "SECONDS", default_value_t = OVERLAP_DEFAULT_S, value_parser = clap::value_parser!(u32).range(0..=i64::from(OVERLAP_MAX_S)))]
        overlap_s: u32,
    },
    /// Revokes a key for good, and switches off its webhooks.
    Revoke {
        /// The key's id.
        id: String,
        /// Leaves the webhooks that it made active.
        #[arg(long)]
        keep_webhooks: bool,
    },
    RotateMaster(rotate::Arguments),
}

fn moment(text: &str) -> Result<Timestamp, String> {
    match Timestamp::parse(text) {
        Ok(at) if at > SystemClock.now() => Ok(at),
        Ok(_) => Err("this time is over".to_owned()),
        Err(_) => Err("give a date-time with its offset, such as 2027-03-01T00:00:00Z".to_owned()),
    }
}

pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let at = arguments.store.at()?;
    if matches!(arguments.command, Command::Create { .. }) {
        if at.is_new().await? {
            let shown = at.told();
            output::note(&format!(
                "There was no Portico data in {shown}; it is made now."
            ));
        }
    } else {
        at.must_hold_data().await?;
    }
    let (by, now) = (server::operator(), SystemClock.now());
    let source = arguments.master_key.source(&at)?;
    let store = at.open(source.clone(), Arc::new(Unobserved)).await?;
    match arguments.command {
        Command::Create {
            name,
            permissions,
            integrations,
            sandbox,
            expires_at,
            requests_per_minute,
        } => {
            let directory = store.directory_load().await?;
            let mut limited = Vec::new();
            for text in &integrations {
                match directory.find_integration(&by.scope, text) {
                    Some(one) => limited.push(one.id),
                    None => bail!("there is no integration {text}"),
                }
            }
            let system = if sandbox {
                System::Sandbox
            } else {
                System::Production
            };
            let limited = (!limited.is_empty()).then_some(limited);
            let (token, kept) = made(system, now)?;
            let key = Key {
                expires_at,
                rate_limit: requests_per_minute.map(|count| RateLimit {
                    requests_per_minute: count,
                    burst: count,
                }),
                ..Key::new(
                    KeyId::new(now, &SystemEntropy),
                    name,
                    system,
                    &permissions,
                    limited,
                    kept,
                )
            };
            let id = key.id;
            store.key_create(&by, key).await?;
            show_token(arguments.json, id, &token);
        }
        Command::List => {
            let keys = store.keys_all().await?;
            if arguments.json {
                let rows: Vec<_> = keys.iter().map(KeyRecord::from).collect();
                output::data(&serde_json::to_string(&rows)?);
            } else {
                list(&keys, now);
            }
        }
        Command::Rotate { id, overlap_s } => {
            let key = find(&store, &by, &id).await?;
            let (token, kept) = made(key.system, now)?;
            let until = now.plus_millis(i64::from(overlap_s) * 1_000);
            if store
                .key_rotate(&by, key.id, kept, until, now)
                .await?
                .is_none()
            {
                bail!("there is no key {id}");
            }
            output::note(&format!(
                "The tokens that key {id} had are taken until {until}."
            ));
            show_token(arguments.json, key.id, &token);
        }
        Command::Revoke { id, keep_webhooks } => {
            let key = find(&store, &by, &id).await?;
            let Some(revoked) = store.key_revoke(&by, key.id, keep_webhooks, now).await? else {
                bail!("there is no key {id}");
            };
            output::note(&format!("Key {id} is revoked."));
            show_revoked(arguments.json, &revoked);
        }
        Command::RotateMaster(rotation) => {
            rotate::run(&rotation, &store, &source, &at, arguments.json).await?;
        }
    }
    store.close().await;
    Ok(())
}

fn made(system: System, now: Timestamp) -> anyhow::Result<(Secret, Token)> {
    token_make(system, &SystemEntropy, now).map_err(|why| anyhow::anyhow!(why))
}

async fn find(store: &Store, by: &Actor, id: &str) -> anyhow::Result<Key> {
    let key = match id.parse() {
        Ok(id) => store.key_find(&by.scope, id).await?,
        Err(_) => None,
    };
    match key {
        Some(key) => Ok(key),
        None => bail!("there is no key {id}; `portico keys list` shows them"),
    }
}

fn show_token(is_json: bool, id: KeyId, token: &Secret) {
    if is_json {
        output::data(&json!({ "id": id, "token": token.expose() }).to_string());
    } else {
        output::note(&format!("Key {id}. Its token is shown once; keep it now:"));
        output::data(token.expose());
    }
}

/// Names the webhooks that a revoked key has made.
fn show_revoked(is_json: bool, revoked: &Revoked) {
    let Revoked {
        key,
        disabled,
        kept,
    } = revoked;
    if is_json {
        let webhooks = json!({ "disabled": disabled, "kept": kept });
        output::data(&json!({ "id": key.id, "webhooks": webhooks }).to_string());
        return;
    }
    let named = |ids: &[WebhookId]| {
        let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
        ids.join(", ")
    };
    if !disabled.is_empty() {
        output::note(&format!(
            "The webhooks that it made are switched off: {}. What happens is kept for them, and sent when a key with webhooks:admin switches them on.",
            named(disabled)
        ));
    }
    if !kept.is_empty() {
        output::note(&format!(
            "The webhooks that it made stay active: {}.",
            named(kept)
        ));
    }
}

/// Whether a key is in force, in a few words.
fn state(key: &Key, now: Timestamp) -> String {
    match (key.revoked_at, key.expires_at) {
        (Some(at), _) => format!("revoked {at}"),
        (None, Some(at)) if at <= now => format!("expired {at}"),
        (None, Some(at)) => format!("until {at}"),
        (None, None) => "in force".to_owned(),
    }
}

fn list(keys: &[Key], now: Timestamp) {
    output::data(&format!(
        "{:<30}  {:<20}  {:<24}  {:<6}  {:<27}  {:<27}  {}",
        "ID", "NAME", "PERMISSIONS", "ENDS", "CREATED", "LAST USED", "STATE"
    ));
    for key in keys {
        let joined = |texts: Vec<String>| texts.join(",");
        let permissions = joined(key.permissions.iter().map(ToString::to_string).collect());
        let ends = joined(key.tokens.iter().map(|token| token.end.clone()).collect());
        let used = key
            .last_used_at
            .map_or_else(|| "never".to_owned(), |at| at.to_string());
        output::data(&format!(
            "{:<30}  {:<20}  {permissions:<24}  {ends:<6}  {}  {used:<27}  {}",
            key.id.to_string(),
            key.name,
            key.created_at,
            state(key, now)
        ));
    }
}

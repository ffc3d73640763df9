//! `portico keys`

use std::{path::PathBuf, sync::Arc};

use anyhow::bail;
use clap::Subcommand;
use model::{
    Clock, IntegrationId, KeyId,
    key::{Key, Permission, System, hex, token_hash, token_new},
};
use serde_json::json;
use store::Unobserved;

use crate::{
    commands::{MasterKey, rotate},
    output, server,
    system::{SystemClock, SystemEntropy},
};

/// Makes, lists and revokes API keys. Works while a server runs: it notices within a quarter of a second.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Where everything is kept.
    #[arg(
        long,
        env = "PORTICO_DATA_DIR",
        default_value = "portico-data",
        value_name = "DIR",
        global = true
    )]
    data_dir: PathBuf,
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
        #[arg(long, value_parser = name)]
        name: String,
        /// What it may do.
        #[arg(long, value_delimiter = ',', default_value = "read,write")]
        permissions: Vec<Permission>,
        /// Limits it to an integration; may be given several times.
        #[arg(long = "integration", value_name = "ID")]
        integrations: Vec<String>,
        /// A key for sandbox integrations: its token begins ptk_test_.
        #[arg(long)]
        sandbox: bool,
    },
    /// Lists the keys, without tokens.
    List,
    /// Revokes a key for good.
    Revoke {
        /// The key's id.
        id: String,
    },
    RotateMaster(rotate::Arguments),
}

/// A new key and its token.
pub(crate) fn make(
    name: String,
    system: System,
    permissions: Vec<Permission>,
    integrations: Option<Vec<IntegrationId>>,
) -> anyhow::Result<(Key, model::Secret)> {
    let now = SystemClock.now();
    let token = token_new(system, &SystemEntropy);
    let Some(hash) = token_hash(token.expose()) else {
        bail!("the token just made is not one")
    };
    let token_end = token
        .expose()
        .chars()
        .skip(token.expose().len() - 4)
        .collect();
    let key = Key {
        id: KeyId::new(now, &SystemEntropy),
        name,
        system,
        permissions,
        integrations,
        token_hash: hex(&hash),
        token_end,
        created_at: now,
        revoked_at: None,
    };
    Ok((key, token))
}

/// Characters of a key's name at most: a line of a list has room for it.
const NAME_MAX_CHARS: usize = 100;

fn name(text: &str) -> Result<String, String> {
    let text = text.trim();
    let is_fit =
        (1..=NAME_MAX_CHARS).contains(&text.chars().count()) && !text.chars().any(char::is_control);
    is_fit
        .then(|| text.to_owned())
        .ok_or_else(|| format!("a name is 1 to {NAME_MAX_CHARS} characters on one line"))
}

pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    if !server::holds_data(&arguments.data_dir) {
        let shown = arguments.data_dir.display();
        if !matches!(arguments.command, Command::Create { .. }) {
            bail!(
                "there is no Portico data in {shown}; name the server's directory with --data-dir or PORTICO_DATA_DIR"
            );
        }
        output::note(&format!(
            "There was no Portico data in {shown}; it is made now."
        ));
    }
    let source = arguments.master_key.source(&arguments.data_dir)?;
    let store =
        server::open_store(&arguments.data_dir, source.clone(), Arc::new(Unobserved)).await?;
    match arguments.command {
        Command::Create {
            name,
            permissions,
            integrations,
            sandbox,
        } => {
            let known = store.directory_contents().await?.integrations;
            let mut limited = Vec::new();
            for text in &integrations {
                match known.iter().find(|one| one.id.to_string() == *text) {
                    Some(one) => limited.push(one.id),
                    None => bail!("there is no integration {text}"),
                }
            }
            let system = if sandbox {
                System::Sandbox
            } else {
                System::Production
            };
            let (key, token) = make(
                name,
                system,
                permissions,
                (!limited.is_empty()).then_some(limited),
            )?;
            let id = key.id;
            store.key_create(key).await?;
            if arguments.json {
                output::data(&json!({ "id": id, "token": token.expose() }).to_string());
            } else {
                output::note(&format!("Key {id}. Its token is shown once; keep it now:"));
                output::data(token.expose());
            }
        }
        Command::List => {
            let keys = store.keys_list().await?;
            if arguments.json {
                let rows: Vec<_> = keys.iter().map(row).collect();
                output::data(&json!(rows).to_string());
            } else {
                output::data(&format!(
                    "{:<30}  {:<20}  {:<16}  {:<6}  {:<27}  {}",
                    "ID", "NAME", "PERMISSIONS", "ENDS", "CREATED", "REVOKED"
                ));
                for key in &keys {
                    let permissions = key
                        .permissions
                        .iter()
                        .map(|one| one.name())
                        .collect::<Vec<_>>()
                        .join(",");
                    let revoked = key.revoked_at.map(|at| at.to_string()).unwrap_or_default();
                    output::data(&format!(
                        "{:<30}  {:<20}  {permissions:<16}  {:<6}  {}  {revoked}",
                        key.id.to_string(),
                        key.name,
                        key.token_end,
                        key.created_at
                    ));
                }
            }
        }
        Command::Revoke { id } => {
            let parsed = id.parse().map_err(|_| {
                anyhow::anyhow!("{id} is not a key's id; `portico keys list` shows them")
            })?;
            if !store.key_revoke(parsed, SystemClock.now()).await? {
                bail!("there is no key {id}");
            }
            output::note(&format!("Key {id} is revoked"));
        }
        Command::RotateMaster(rotation) => {
            let data_dir = &arguments.data_dir;
            rotate::run(&rotation, &*store, &source, data_dir, arguments.json).await?;
        }
    }
    store.close().await;
    Ok(())
}

fn row(key: &Key) -> serde_json::Value {
    json!({
        "id": key.id, "name": key.name, "system": key.system, "permissions": key.permissions, "integrations": key.integrations,
        "token_end": key.token_end, "created_at": key.created_at, "revoked_at": key.revoked_at,
    })
}

//! `portico dev`: the server together with a vendor's sandbox, ready to try.
//!
//! Guarantee: what is made on the first start is kept in the data directory and used again; nothing of it exists in `portico serve`.

mod exports;

use std::{
    io::IsTerminal as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, anyhow, bail};
use app::Role;
use connectors::connector::Definition;
use model::{
    AgentId, AttributionId, Clock, CommunityId, Credentials, Entropy, IntegrationId, KeyId,
    Permission, Secret,
    directory::{Agent, Attribution, Community, Integration, Settings},
    hex,
    key::{Key, RateLimit, System, token_make},
    network::Network,
};
use portico_http::{limits::rates::RATE_LIMIT_DEFAULT, metrics::Metrics, state::VendorForgets};
use serde_json::{Value, json};
use store::{Registration, Store, retention::Retention};
use url::Url;
use webhooks::{client::Client, guard::Ports};

use crate::{
    audit_heads::Heads,
    commands::sandbox::{self, VendorArgs},
    listen_at::ListenAt,
    logging,
    master_key::Source,
    output, private_file, server, settings,
    signals::{Reloads, Stop},
    store_at::StoreAt,
    system::{SystemClock, SystemEntropy},
    vendors,
};

/// The development master key's name in the data directory.
pub(crate) const MASTER_KEY: &str = "dev-master.key";

pub(crate) use exports::EXPORTED;

/// The development token's name in the data directory.
const TOKEN: &str = "dev-token";

/// Calls under way at once to the sandbox.
const CONCURRENCY: u32 = 100;

/// Runs the server together with a vendor's sandbox, ready to try.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    vendor: VendorArgs,
    /// Where to listen: host:port, or a port of this machine. Port 0 picks a free port.
    #[arg(
        long,
        env = "PORTICO_LISTEN",
        default_value = "127.0.0.1:8080",
        value_name = "ADDR"
    )]
    listen: ListenAt,
    /// Where the sandbox listens, likewise.
    #[arg(
        long,
        env = "PORTICO_SANDBOX_LISTEN",
        default_value = "127.0.0.1:8089",
        value_name = "ADDR",
        conflicts_with = "sandbox_url"
    )]
    sandbox_listen: ListenAt,
    /// Uses a sandbox that already runs (`portico sandbox`) instead of one of its own.
    #[arg(long, env = "PORTICO_SANDBOX_URL", value_name = "URL")]
    sandbox_url: Option<String>,
    /// Where everything is kept.
    #[arg(
        long,
        env = "PORTICO_DATA_DIR",
        default_value = "portico-data",
        value_name = "DIR"
    )]
    data_dir: PathBuf,
    /// A TOML file that extends or changes the vocabulary.
    #[arg(long, env = "PORTICO_VOCABULARY", value_name = "FILE")]
    vocabulary: Option<PathBuf>,
    /// Prints one line of JSON on stdout when ready.
    #[arg(long)]
    json: bool,
    /// Prints `export` lines for a shell when ready: those of the server that runs there, if one does.
    #[arg(long, conflicts_with = "json")]
    env: bool,
}

pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    // In a terminal it ends with the terminal, as programs do.
    if !std::io::stdin().is_terminal() {
        Reloads::default().follow()?;
    }
    let definition = arguments.vendor.definition()?;
    let data_dir = &arguments.data_dir;
    let at = StoreAt::Directory(data_dir.clone());
    let owned = match at.own() {
        Err(_) if arguments.env && data_dir.is_dir() => {
            let ready = exports::of_running(data_dir).await?;
            output::data(&exports::lines(&ready));
            return Ok(());
        }
        owned => owned?,
    };
    let kept_ready = exports::Kept::none_yet(data_dir);
    if arguments.env {
        output::note(&format!(
            "No `portico dev` ran on {} yet: this one does until Ctrl-C. For exports in this shell, run it in another.",
            data_dir.display()
        ));
    }
    let metrics = Arc::new(Metrics::default().with_log_lines_lost(logging::lost()));
    let key_file = data_dir.join(MASTER_KEY);
    kept(&key_file, master_key)?;
    let store = at.open(Source::File(key_file), metrics.clone()).await?;
    let listener = arguments.listen.listen(settings::named("--listen")).await?;

    let (stop_sandbox, sandbox_stopped) = tokio::sync::oneshot::channel::<()>();
    let mut vendor_forgets: Option<VendorForgets> = None;
    let (sandbox_url, sandbox_task) = match &arguments.sandbox_url {
        Some(url) => (url.trim_end_matches('/').to_owned(), None),
        None => {
            let journal = data_dir.join(journal_of(definition));
            let sandbox = sandbox::open(definition, Some(journal), 0)?;
            let listen = &arguments.sandbox_listen;
            let listener = listen.listen(settings::named("--sandbox-listen")).await?;
            let url = format!("http://{}", listener.local_addr()?);
            // Its journal is in the data directory: who is forgotten is to be in no file of that.
            let forgets = sandbox.clone();
            vendor_forgets = Some(Arc::new(move |x_id: &str| {
                forgets.forget(x_id).map_err(|why| why.to_string())
            }));
            let stop = Box::pin(async {
                let _ = sandbox_stopped.await;
            });
            (url, Some(tokio::spawn(sandbox.serve(listener, stop))))
        }
    };
    let registry = server::registry(
        arguments.vocabulary.as_ref(),
        std::slice::from_ref(&sandbox_url),
        settings::named("--sandbox-url"),
    )?;
    let token = seed(&store, definition, data_dir, &sandbox_url).await?;
    let store = Arc::new(store);
    let contents = store.directory_contents(0).await?;
    let base_url = format!("http://{}", listener.local_addr()?);
    let ready = || {
        let shown = describe(
            definition,
            &contents,
            (&base_url, &token),
            &sandbox_url,
            data_dir,
        )?;
        kept_ready.keep(&shown)?;
        if arguments.env {
            output::announce(exports::lines(&shown))?;
        } else if arguments.json {
            output::announce(shown.to_string())?;
        } else {
            output::announce(welcome(definition, &shown))?;
        }
        Ok(())
    };
    // Until here a signal ends the process, and nothing is lost by it.
    let stop = Stop::listen()?;
    server::run(
        server::Setup {
            listener,
            store,
            registry,
            metrics,
            rate_limit: RATE_LIMIT_DEFAULT,
            role: Role::All,
            transport: listener::serve::Settings::default(),
            retention: Retention::default(),
            calls_max: delivery::CALLS_MAX,
            // Who develops a receiver has it on this machine.
            receivers: server::receivers(true, this_machine()?, vec![Ports::ANY])?,
            vendor_forgets,
            heads: Heads::default(),
        },
        owned.as_ref(),
        ready,
        stop,
    )
    .await?;
    let _ = stop_sandbox.send(());
    if let Some(task) = sandbox_task {
        task.await??;
    }
    Ok(())
}

/// The token that `portico dev` keeps in `data_dir`.
///
/// # Errors
/// When there is none.
pub(crate) fn token(data_dir: &Path) -> anyhow::Result<Secret> {
    let path = data_dir.join(TOKEN);
    std::fs::read_to_string(&path)
        .map(|token| Secret::new(token.trim()))
        .with_context(|| format!("{} cannot be read", path.display()))
}

/// The networks of this machine alone.
fn this_machine() -> anyhow::Result<Vec<Network>> {
    ["127.0.0.0/8", "::1"]
        .into_iter()
        .map(|network| network.parse().map_err(|why: String| anyhow!(why)))
        .collect()
}

/// The secret kept in `path`, made by `make` when there is none yet. Readable by its owner only.
fn kept(path: &Path, make: impl FnOnce() -> Secret) -> anyhow::Result<Secret> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Secret::new(text.trim())),
        Err(why) if why.kind() == std::io::ErrorKind::NotFound => {
            let secret = make();
            private_file::write(path, &secret)?;
            Ok(secret)
        }
        Err(why) => Err(why).with_context(|| format!("{} cannot be read", path.display())),
    }
}

fn master_key() -> Secret {
    Secret::new(hex::encode(
        &[SystemEntropy.bytes(), SystemEntropy.bytes()].concat(),
    ))
}

/// Makes integration, references and token on the first start; on a later one, points the integration at the sandbox of this start.
async fn seed(
    store: &Store,
    definition: &Definition,
    data_dir: &Path,
    sandbox_url: &str,
) -> anyhow::Result<Secret> {
    let contents = store.directory_contents(0).await?;
    let sandbox = contents
        .branches
        .into_iter()
        .map(|branch| branch.integration)
        .find(|one| is_sandbox(definition, one));
    let registration = match sandbox {
        Some(integration) if integration.settings.base_url == sandbox_url => None,
        Some(mut integration) => {
            sandbox_url.clone_into(&mut integration.settings.base_url);
            Some(Registration {
                integration,
                communities: Vec::new(),
                attributions: Vec::new(),
                agents: Vec::new(),
            })
        }
        None => {
            must_be_sandbox(sandbox_url).await?;
            Some(registration(definition, sandbox_url)?)
        }
    };
    if let Some(registration) = registration {
        store
            .integration_register(&server::operator(), registration, SystemClock.now())
            .await?;
    }
    let path = data_dir.join(TOKEN);
    let directory = store.directory_load().await?;
    if let Ok(token) = std::fs::read_to_string(&path)
        && directory
            .authenticate(token.trim(), SystemClock.now())
            .is_some()
    {
        return Ok(Secret::new(token.trim()));
    }
    let now = SystemClock.now();
    let (token, kept) =
        token_make(System::Sandbox, &SystemEntropy, now).map_err(|why| anyhow!(why))?;
    let key = Key {
        // Whoever measures or tries things out is not to meet a limit.
        rate_limit: Some(RateLimit::NONE),
        ..Key::new(
            KeyId::new(now, &SystemEntropy),
            "dev",
            System::Sandbox,
            &Permission::ALL,
            None,
            kept,
        )
    };
    store.key_create(&server::operator(), key).await?;
    private_file::write(&path, &token)?;
    Ok(token)
}

/// What the sandbox's integration is called, by which it is found again.
fn name_of(definition: &Definition) -> String {
    format!("{} sandbox", definition.title)
}

/// The name of the sandbox's journal in the data directory. The first vendor's has the name that it
/// had when there was no other.
fn journal_of(definition: &Definition) -> String {
    let vendor = definition.terms.vendor;
    let is_first = vendors::all()
        .first()
        .is_some_and(|first| first.terms.vendor == vendor);
    match is_first {
        true => "sandbox.ndjson".to_owned(),
        false => format!("sandbox-{}.ndjson", vendor.slug()),
    }
}

/// Whether an integration is the one that is made here: it may be paused, or have been changed.
fn is_sandbox(definition: &Definition, one: &Integration) -> bool {
    one.name == name_of(definition) && one.archived_at.is_none()
}

/// Refuses an address at which there is no sandbox.
async fn must_be_sandbox(url: &str) -> anyhow::Result<()> {
    let counts: Url = format!("{url}/_sandbox/counts")
        .parse()
        .with_context(|| format!("{} is not a URL", settings::named("--sandbox-url")))?;
    let client = Client::anywhere().map_err(|why| anyhow!(why))?;
    let answer = client
        .get(&counts, None, None, SystemClock.now())
        .await
        .map_err(|failure| anyhow!("no sandbox answers at {url}: {}", failure.words))?;
    let counts: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    if answer.status != 200 || counts["requests"].is_null() {
        bail!("{url} is not a sandbox");
    }
    Ok(())
}

/// What the vendor's sandbox is seeded with, as an integration of ours: every one is with the same.
fn registration(definition: &Definition, sandbox_url: &str) -> anyhow::Result<Registration> {
    let seeded = sandbox::open(definition, None, 0)?.seeded();
    let now = SystemClock.now();
    let integration_id = IntegrationId::new(now, &SystemEntropy);
    let communities: Vec<Community> = seeded
        .communities
        .into_iter()
        .map(|one| Community {
            id: CommunityId::new(now, &SystemEntropy),
            integration_id,
            x_id: one.x_id,
            name: one.name,
            timezone: one.timezone,
            phone_region: None,
            active: true,
        })
        .collect();
    let at = |x_ids: &[String]| -> Vec<CommunityId> {
        let there = communities.iter().filter(|one| x_ids.contains(&one.x_id));
        there.map(|one| one.id).collect()
    };
    let attributions = seeded.attributions.iter().map(|one| Attribution {
        id: AttributionId::new(now, &SystemEntropy),
        integration_id,
        x_id: one.x_id.clone(),
        name: one.name.clone(),
        community_ids: at(&one.x_community_ids),
        active: true,
    });
    let agents = seeded.agents.iter().map(|one| Agent {
        id: AgentId::new(now, &SystemEntropy),
        integration_id,
        x_id: one.x_id.clone(),
        name: one.name.clone(),
        community_ids: at(&one.x_community_ids),
        active: true,
    });
    let (attributions, agents) = (attributions.collect(), agents.collect());
    let terms = &definition.terms;
    let credentials: Credentials = serde_json::from_value(sandbox::credentials(definition)?)
        .context("the credentials of the sandbox are not an object of texts")?;
    let integration = Integration::new(
        integration_id,
        name_of(definition),
        terms.vendor,
        System::Sandbox,
        Settings {
            max_job_concurrency: CONCURRENCY,
            key_header_name: terms.key_header_name.to_owned(),
            ..Settings::new(sandbox_url)
        },
        credentials.stored(terms.credentials),
    );
    Ok(Registration {
        integration,
        communities,
        attributions,
        agents,
    })
}

fn describe(
    definition: &Definition,
    contents: &model::directory::Contents,
    (base_url, token): (&str, &Secret),
    sandbox_url: &str,
    data_dir: &Path,
) -> anyhow::Result<Value> {
    let branch = contents
        .branches
        .iter()
        .find(|branch| is_sandbox(definition, &branch.integration))
        .context("no integration was made")?;
    Ok(json!({
        "base_url": base_url,
        "token": token.expose(),
        "integration_id": branch.integration.id,
        "communities": branch.communities.iter().map(|one| json!({ "id": one.id, "x_id": one.x_id, "name": one.name })).collect::<Vec<_>>(),
        "attributions": branch.attributions.iter().map(|one| json!({ "id": one.id, "name": one.name, "community_ids": one.community_ids })).collect::<Vec<_>>(),
        "agents": branch.agents.iter().map(|one| json!({ "id": one.id, "x_id": one.x_id, "community_ids": one.community_ids })).collect::<Vec<_>>(),
        "sandbox_url": sandbox_url,
        "data_dir": data_dir,
        "pid": std::process::id(),
    }))
}

fn word(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// The first community, and an attribution of it.
fn first_references(shown: &Value) -> (String, String) {
    let community = &shown["communities"][0]["id"];
    let attribution = shown["attributions"]
        .as_array()
        .and_then(|all| {
            all.iter().find(|one| {
                one["community_ids"]
                    .as_array()
                    .is_some_and(|ids| ids.contains(community))
            })
        })
        .map(|one| word(&one["id"]))
        .unwrap_or_default();
    (word(community), attribution)
}

fn welcome(definition: &Definition, shown: &Value) -> String {
    let (base, token, sandbox) = (
        word(&shown["base_url"]),
        word(&shown["token"]),
        word(&shown["sandbox_url"]),
    );
    let (community, attribution) = first_references(shown);
    let integration = word(&shown["integration_id"]);
    let (title, slug) = (definition.title, definition.terms.vendor.slug());
    let prospect = definition.sandbox.first_prospect;
    let prospect = prospect
        .replace("{integration}", &integration)
        .replace("{community}", &community)
        .replace("{attribution}", &attribution);
    format!(
        r#"Portico serves {base}   (docs: {base}/docs)
The {title} sandbox is {sandbox}

Send the first prospect:

  curl -s {base}/crm/v1/prospects/{slug} \
    -H 'Authorization: Bearer {token}' \
    -H 'Content-Type: application/json' \
    -d '{prospect}'

See what became of it (put in the job_id of the answer):

  curl -s {base}/v1/admin/write-status/JOB_ID -H 'Authorization: Bearer {token}'

See it at the vendor:

  curl -s {sandbox}/_sandbox/state

Stop with Ctrl-C. Everything is kept in {}."#,
        word(&shown["data_dir"])
    )
}

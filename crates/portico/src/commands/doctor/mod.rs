//! `portico doctor`
//!
//! Guarantee: it changes nothing, needs no server and disturbs none, shows no secret, and ends within a minute. All that it finds is told, each with
//! how to mend it; the exit code is 1 when anything failed. A check that fails is made once more before it is told: others may
//! have changed meanwhile what it looked at.

mod data;
pub(crate) mod disk;
mod postgres;
mod vendors;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::bail;
use model::text::shown;
use serde::Serialize;
use serde_json::json;
use store::postgres::{Place, inspect::Data};

use self::data::Held;
use crate::{
    commands::{MasterKey, serve},
    data_dir,
    master_key::Source,
    output,
    store_at::{StoreArgs, StoreAt},
};

/// Times that all is looked at while a check fails.
const TRIES: u32 = 2;

/// How long passes between two tries: a command that starts or ends is done by then.
const TRY_PAUSE: Duration = Duration::from_millis(250);

/// Times that a store is looked at while its master keys change. A replacement takes longer than a look.
const KEYS_LOOKS_MAX: u32 = 3;

/// Looks for what is wrong with keys, files, disk, database, clock, webhooks and vendors, and says how to mend it. Changes nothing, and works while a server runs.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The configuration file of `portico serve`, if it has one.
    #[arg(long, env = "PORTICO_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    master_key: MasterKey,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

/// How a check ended.
#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Ok,
    Warn,
    Fail,
}

impl State {
    const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "FAIL",
        }
    }
}

/// One thing that was looked at.
#[derive(Serialize)]
struct Check {
    /// What.
    name: &'static str,
    /// How it is.
    state: State,
    /// What was found.
    found: String,
    /// How to mend it.
    #[serde(skip_serializing_if = "Option::is_none")]
    mend: Option<String>,
}

impl Check {
    fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self {
            name,
            state: State::Ok,
            found: found.into(),
            mend: None,
        }
    }

    fn warn(name: &'static str, found: impl Into<String>, mend: impl Into<String>) -> Self {
        Self {
            name,
            state: State::Warn,
            found: found.into(),
            mend: Some(mend.into()),
        }
    }

    fn fail(name: &'static str, found: impl Into<String>, mend: impl Into<String>) -> Self {
        Self {
            state: State::Fail,
            ..Self::warn(name, found, mend)
        }
    }
}

pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let settings = serve::look(arguments.config.as_deref()).err();
    let (config_store, config_key) = serve::located(arguments.config.as_deref())?;
    let at = arguments.store.at_or(&config_store)?;
    let source = match arguments.master_key.source_or(&config_key, &at) {
        Ok(source) => Ok(source),
        // What `dev` made is as good for looking as it is for `keys`.
        Err(why) => arguments.master_key.source(&at).map_err(|_| why),
    };
    let looked = tokio::task::spawn_blocking(move || look(&at, source));
    let (mut checks, seen) = looked.await?;
    if let Some(data) = seen {
        checks.extend(vendors::missing(&data.vendors));
        checks.extend(vendors::look(data.active, data.base_urls).await);
    }
    checks.push(disk::open_files());
    checks.extend(settings.map(|why| {
        Check::fail(
            "settings",
            format!("the server could not start: {why:#}"),
            "mend the setting, or the file that it names",
        )
    }));
    show(&checks, arguments.json)
}

/// Checks of one store, and what was seen in it.
type Looked = (Vec<Check>, Option<Data>);

fn look(at: &StoreAt, source: anyhow::Result<Source>) -> Looked {
    let mut held = Held::of(source);
    let mut tries = 0;
    loop {
        let looked = match at {
            StoreAt::Directory(dir) => look_directory(dir, &mut held),
            StoreAt::Database(place) => look_database(place, &mut held),
        };
        tries += 1;
        let has_failed = looked.0.iter().any(|check| check.state == State::Fail);
        if !has_failed || tries >= TRIES {
            return looked;
        }
        std::thread::sleep(TRY_PAUSE);
    }
}

/// The result of `look` while the master keys stay the same: else it could be sealed under keys that are no more, or not yet, there.
fn while_keys_stay<T>(held: &mut Held, mut look: impl FnMut() -> T) -> T {
    for _ in 1..KEYS_LOOKS_MAX {
        let seen = look();
        if held.reads_the_same() {
            return seen;
        }
    }
    look()
}

fn look_directory(dir: &Path, held: &mut Held) -> Looked {
    // What may not be looked into is told by who looks closer.
    let is_there = data_dir::holds_data(dir).unwrap_or(true);
    let mut found = vec![disk::directory(dir, is_there)];
    if !is_there {
        return (found, None);
    }
    let path = data_dir::database(dir);
    found.extend([disk::files(&path), disk::room(dir), disk::speed(dir)]);
    let (inspected, seen) = while_keys_stay(held, || data::database(&path));
    found.push(inspected);
    found.extend(data::look(held, seen.as_ref(), Some(dir)));
    found.push(data::server(dir));
    (found, seen)
}

fn look_database(place: &Place, held: &mut Held) -> Looked {
    let (mut found, seen) = while_keys_stay(held, || postgres::look(place));
    found.extend(data::look(held, seen.as_ref(), None));
    (found, seen)
}

fn show(checks: &[Check], is_json: bool) -> anyhow::Result<()> {
    let count = |state| checks.iter().filter(|check| check.state == state).count();
    let (failed, warned) = (count(State::Fail), count(State::Warn));
    if is_json {
        output::data(&json!({ "ok": failed == 0, "checks": checks }).to_string());
    } else {
        for check in checks {
            let (state, name) = (check.state.word(), check.name);
            // What others said, such as a vendor, does not become a line of its own.
            let found = shown(&check.found);
            output::data(&format!("{state:<4}  {name:<15}  {found}"));
            if let Some(mend) = &check.mend {
                output::data(&format!("{:<4}  {:<15}  -> {}", "", "", shown(mend)));
            }
        }
    }
    match (failed, warned) {
        (0, 0) => output::note("All is well."),
        (0, some) => output::note(&format!("It works; {some} to look at.")),
        (some, _) => bail!("{some} of {} checks failed", checks.len()),
    }
    Ok(())
}

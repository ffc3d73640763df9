//! `portico doctor`
//!
//! Guarantee: it changes nothing, needs no server and disturbs none, shows no secret, and ends within a minute. All that it finds is told, each with
//! how to mend it; the exit code is 1 when anything failed.

mod data;
pub(crate) mod disk;
mod postgres;
mod vendors;

use std::path::{Path, PathBuf};

use anyhow::bail;
use serde::Serialize;
use serde_json::json;
use store::postgres::{Place, inspect::Data};

use crate::{
    commands::{MasterKey, serve},
    master_key::Source,
    output,
    store_at::{self, StoreArgs, StoreAt},
};

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
    let (config_store, config_key) = serve::located(arguments.config.as_deref())?;
    let at = arguments.store.at_or(&config_store)?;
    let source = match arguments.master_key.source_or(&config_key, &at) {
        Ok(source) => Ok(source),
        // What `dev` made is as good for looking as it is for `keys`.
        Err(why) => arguments.master_key.source(&at).map_err(|_| why),
    };
    let looked = tokio::task::spawn_blocking(move || match at {
        StoreAt::Directory(dir) => look_directory(&dir, source),
        StoreAt::Database(place) => look_database(&place, source),
    });
    let (mut checks, seen) = looked.await?;
    if let Some(data) = seen {
        checks.extend(vendors::look(data.active, data.base_urls).await);
    }
    checks.push(disk::open_files());
    show(&checks, arguments.json)
}

fn look_directory(dir: &Path, source: anyhow::Result<Source>) -> (Vec<Check>, Option<Data>) {
    // What may not be looked into is told by who looks closer.
    let is_there = store_at::holds_data(dir).unwrap_or(true);
    let mut found = vec![disk::directory(dir, is_there)];
    if !is_there {
        return (found, None);
    }
    let path = store_at::database(dir);
    found.extend([disk::files(&path), disk::room(dir), disk::speed(dir)]);
    let (inspected, seen) = data::database(&path);
    found.push(inspected);
    found.extend(data::look(source, seen.as_ref(), Some(dir)));
    found.push(data::server(dir));
    (found, seen)
}

fn look_database(place: &Place, source: anyhow::Result<Source>) -> (Vec<Check>, Option<Data>) {
    let (mut found, seen) = postgres::look(place);
    found.extend(data::look(source, seen.as_ref(), None));
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
            output::data(&format!("{state:<4}  {name:<15}  {}", check.found));
            if let Some(mend) = &check.mend {
                output::data(&format!("{:<4}  {:<15}  -> {mend}", "", ""));
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

//! `portico doctor`
//!
//! Guarantee: it changes nothing, needs no server and disturbs none, shows no secret, and ends within a minute. All that it finds is told, each with
//! how to mend it; the exit code is 1 when anything failed.

mod data;
pub(crate) mod disk;
mod vendors;

use std::path::PathBuf;

use anyhow::{Context, bail};
use serde::Serialize;
use serde_json::json;

use crate::{
    commands::{MasterKey, serve},
    output,
    store_at::{self, StoreArgs},
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
    let data_dir = at.directory().context("not yet")?.to_owned();
    let source = match arguments.master_key.source_or(&config_key) {
        Ok(source) => Ok(source),
        // What `dev` made is as good for looking as it is for `keys`.
        Err(why) => arguments.master_key.source(&at).map_err(|_| why),
    };
    let is_there = store_at::holds_data(&data_dir);
    let mut checks = vec![disk::directory(&data_dir, is_there)];
    if is_there {
        let (path, dir) = (store_at::database(&data_dir), data_dir.clone());
        let (found, vendors) = tokio::task::spawn_blocking(move || {
            let mut found = vec![disk::files(&path), disk::room(&dir), disk::speed(&dir)];
            let (inspected, seen) = data::database(&path);
            found.push(inspected);
            found.push(data::master_key(source, seen.as_ref(), &dir));
            found.push(data::clock(seen.as_ref()));
            found.extend(seen.as_ref().map(data::keys));
            found.extend(seen.as_ref().map(data::webhooks));
            found.push(data::server(&dir));
            (found, seen.map(|seen| (seen.active, seen.base_urls)))
        })
        .await?;
        checks.extend(found);
        if let Some((active, base_urls)) = vendors {
            checks.extend(vendors::look(active, base_urls).await);
        }
    }
    checks.push(disk::open_files());
    show(&checks, arguments.json)
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

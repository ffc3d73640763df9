//! `portico keys rotate-master`
//!
//! Guarantee: may be broken off at any point and run again; at no point is a secret sealed under a key that its source does not yield. The server goes
//! on meanwhile.

use std::{
    fs::File,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, bail};
use model::{Clock, Entropy, Secret, hex};
use serde_json::json;
use store::{
    Store,
    postgres::alone::{self, Alone},
    sealing::{KeySource, MasterKey, MasterKeyId},
};

use crate::{
    master_key::{self, Source},
    output, server,
    store_at::StoreAt,
    system::{SystemClock, SystemEntropy},
};

/// Secrets moved in one transaction: some milliseconds of the database's one writer, which accepts wait for.
const BATCH_SECRETS: u32 = 100;

/// How long the writer is left to others between two transactions: longer than one takes, so that they get it more often than not.
const PAUSE: Duration = Duration::from_millis(20);

/// How often a transaction is tried that the server left no room for. Each waits some seconds for its turn.
const BUSY_TRIES: u32 = 60;

/// After how many secrets it is told how far it is.
const TOLD_EVERY: u64 = 1_000;

/// The file that is locked while a master key is replaced.
const LOCK: &str = "rotate.lock";

/// Replaces the master key while the server runs, and moves every secret under the new one.
///
/// With the master key file of a data directory it does all of it: it makes a new key, puts it in front of the old one in the file, moves the secrets, and leaves the new
/// key alone in the file. From the environment or a command, and on PostgreSQL, both keys must come, the new one first, in every running server too; when it is done,
/// the old one may go. When it was broken off, run it again.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// A file with the new key, instead of one that is made; for the master key file of a data directory.
    #[arg(long, value_name = "FILE")]
    new_master_key_file: Option<PathBuf>,
}

/// Proof that nobody else replaces the master key.
#[expect(dead_code, reason = "held for its lock")]
enum Held {
    File(File),
    Database(Alone),
}

/// A key and what it is called.
struct Named {
    id: MasterKeyId,
    key: Secret,
}

fn read(source: &Source) -> anyhow::Result<Vec<Named>> {
    let keys = source.read().map_err(store::Error::MasterKey)?;
    let mut named: Vec<Named> = Vec::with_capacity(keys.len());
    for key in keys {
        let id = MasterKey::parse(&key)?.id();
        if !named.iter().any(|known| known.id == id) {
            named.push(Named { id, key });
        }
    }
    Ok(named)
}

pub(crate) async fn run(
    arguments: &Arguments,
    store: &Store,
    source: &Source,
    at: &StoreAt,
    is_json: bool,
) -> anyhow::Result<()> {
    let _held = hold(at).await?;
    // Of nodes that share a database each has a source of its own, so that the file of one is not all there is to change.
    let file = at.directory().and(source.file());
    let current = store.master_key_current().await?;
    let mut keys = read(source)?;
    let was_begun = keys.len() > 1 || keys.first().is_some_and(|key| key.id != current);
    match file {
        Some(path) => begin(arguments, path, &mut keys, was_begun)?,
        None if arguments.new_master_key_file.is_some() => {
            bail!(
                "--new-master-key-file is for the master key file of a data directory; let {} yield the new key in front of the old one, here and in every running server",
                source.told()
            );
        }
        None if !was_begun => bail!(
            "{} yields key {current} alone; let it yield the new key first and this one behind, here and in every running server, and run this again",
            source.told()
        ),
        None => {}
    }
    let Some((new, old)) = keys.split_first() else {
        bail!("{} yields no key", source.told());
    };
    if new.id != current {
        store
            .master_key_set(&server::operator(), new.id, SystemClock.now())
            .await?;
    }
    let moved = move_all(store).await?;
    if let Some(path) = file
        && !old.is_empty()
    {
        master_key::replace(path, std::slice::from_ref(&new.key)).with_context(|| {
            format!(
                "all {moved} secrets are under key {} now; leave only its line in the file yourself",
                new.id
            )
        })?;
    }
    let replaced: Vec<_> = old.iter().map(|key| key.id.to_string()).collect();
    if is_json {
        let shown = json!({
            "key": new.id.to_string(), "replaced": replaced, "moved": moved, "was_begun": was_begun,
            "file": file,
        });
        output::data(&shown.to_string());
        return Ok(());
    }
    if was_begun {
        output::data("A replacement that had begun is done.");
    }
    output::data(&format!(
        "Secrets are sealed under key {}; {moved} were moved under it.",
        new.id
    ));
    let replaced = replaced.join(", ");
    match file {
        _ if old.is_empty() => {}
        Some(path) => output::data(&format!(
            "{} holds that key alone. Keep a copy of it, and of {replaced} as long as you keep backups from before.",
            path.display()
        )),
        None => output::data(&format!(
            "{} need not yield {replaced} any more. Keep it as long as you keep backups from before.",
            source.told()
        )),
    }
    Ok(())
}

/// Keeps others from replacing the master key, as long as what is returned lives.
async fn hold(at: &StoreAt) -> anyhow::Result<Held> {
    let held = match at {
        StoreAt::Directory(path) => {
            let lock = File::create(path.join(LOCK)).context("the lock file cannot be made")?;
            lock.try_lock().is_ok().then_some(Held::File(lock))
        }
        StoreAt::Database(place) => {
            let place = place.clone();
            let taken = tokio::task::spawn_blocking(move || alone::take(&place, alone::MASTER_KEY));
            taken.await??.map(Held::Database)
        }
    };
    held.context("the master key is being replaced by another `portico keys rotate-master`")
}

/// Puts a new key in front, in the file too, unless that was done before.
fn begin(
    arguments: &Arguments,
    path: &Path,
    keys: &mut Vec<Named>,
    was_begun: bool,
) -> anyhow::Result<()> {
    let given = arguments
        .new_master_key_file
        .as_ref()
        .map(|path| {
            let mut given = read(&Source::File(path.clone()))?;
            match (given.pop(), given.is_empty()) {
                (Some(one), true) => Ok(one),
                _ => bail!("{} must hold one key", path.display()),
            }
        })
        .transpose()?;
    let first = keys.first().map(|key| key.id);
    let new = match given {
        Some(given) if first == Some(given.id) => return Ok(()),
        Some(_) if was_begun => bail!(
            "{} holds more than one key: a replacement has begun; end it first, without --new-master-key-file",
            path.display()
        ),
        Some(given) => given,
        None if was_begun => return Ok(()),
        None => {
            let key = Secret::new(hex::encode(
                &[SystemEntropy.bytes(), SystemEntropy.bytes()].concat(),
            ));
            let id = MasterKey::parse(&key)?.id();
            Named { id, key }
        }
    };
    keys.insert(0, new);
    let texts: Vec<_> = keys.iter().map(|key| key.key.clone()).collect();
    master_key::replace(path, &texts)
}

async fn move_all(store: &Store) -> anyhow::Result<u64> {
    let (mut moved, mut told, mut busy) = (0, 0, 0);
    loop {
        let some = match store.secrets_rewrap(BATCH_SECRETS).await {
            Err(store::Error::Busy) if busy < BUSY_TRIES => {
                busy += 1;
                continue;
            }
            some => some?,
        };
        busy = 0;
        if some == 0 {
            return Ok(moved);
        }
        moved += some;
        if moved >= told + TOLD_EVERY {
            told = moved;
            output::note(&format!("{moved} secrets are under the new key"));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

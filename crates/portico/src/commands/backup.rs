//! `portico backup`
//!
//! Guarantee: the server goes on meanwhile and nothing in its data is changed. A backup is of one moment, was looked through before it has its name, and is whole or absent, also after a
//! crash; what had that name before stays. Only its owner can read it.

use std::{
    fs::{File, Permissions},
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use anyhow::{Context, anyhow, bail};
use serde_json::json;
use store::sqlite::backup::{Contents, Source};
use tempfile::TempPath;

use crate::{
    commands::doctor::disk::{FREE_MIN_MIB, free_mib},
    data_dir, output, server,
    store_at::StoreArgs,
};

/// What the directory is called in which a backup is made, at the beginning. One that is left was of a backup that was killed.
const MADE_IN: &str = ".portico-backup-";

const MIB: u64 = 1_024 * 1_024;

/// Copies the database into a file, while the server goes on.
///
/// What is in the file is of one moment: all that was accepted before the command was begun, and some of what came meanwhile. It is looked through before it gets
/// its name. The master key is not in it, and without that key nobody can open the secrets in it.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The file to make, outside of the data directory. Nothing is overwritten.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    store: StoreArgs,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

/// Where a backup goes.
struct Place {
    directory: PathBuf,
    file: PathBuf,
}

/// A backup that was made.
struct Made {
    contents: Contents,
    bytes: u64,
}

pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let begun = Instant::now();
    let at = arguments.store.at()?;
    let Some(data_dir) = at.directory() else {
        bail!(
            "{} is backed up with PostgreSQL's own means, such as pg_dump, pg_basebackup or what its host offers",
            at.told()
        );
    };
    at.must_hold_data().await?;
    let place = Place::of(&arguments.file, data_dir)?;
    let stop = Arc::new(AtomicBool::new(false));
    let (data_dir, own) = (data_dir.to_owned(), stop.clone());
    let making = async { tokio::task::spawn_blocking(move || make(&data_dir, &place, own)).await };
    tokio::pin!(making);
    let made = tokio::select! {
        // First, so that nothing is made that would be left by a signal.
        biased;
        () = server::told_to_stop() => {
            stop.store(true, Ordering::Relaxed);
            making.await
        }
        made = &mut making => made,
    };
    let made = made?.map_err(|why| match stop.load(Ordering::Relaxed) {
        true => anyhow!("no backup was made: it was broken off"),
        false => why,
    })?;
    show(&arguments, &made, begun.elapsed().as_secs_f64());
    Ok(())
}

impl Place {
    fn of(file: &Path, data_dir: &Path) -> anyhow::Result<Self> {
        let shown = file.display();
        let name = file
            .file_name()
            .filter(|_| !file.as_os_str().as_encoded_bytes().ends_with(b"/"))
            .with_context(|| format!("{shown} is no name for a file"))?;
        let parent = match file.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        let directory = parent
            .canonicalize()
            .with_context(|| format!("the directory {} cannot be used", parent.display()))?;
        let data_dir = data_dir
            .canonicalize()
            .with_context(|| format!("{} cannot be read", data_dir.display()))?;
        if directory.starts_with(&data_dir) {
            bail!(
                "{shown} is in the data directory, where nothing of a person may be left that is forgotten; name a file elsewhere, best on another disk"
            );
        }
        let file = directory.join(name);
        match file.symlink_metadata() {
            Ok(there) if there.is_dir() => bail!("{shown} is a directory; name a file in it"),
            Ok(_) => bail!("{shown} is there already, and is not overwritten; name another file"),
            Err(_) => Ok(Self { directory, file }),
        }
    }
}

fn make(data_dir: &Path, place: &Place, stop: Arc<AtomicBool>) -> anyhow::Result<Made> {
    let source = Source::open(&data_dir::database(data_dir), stop)?;
    let shown = place.directory.display();
    // Whatever is left of it, SQLite's journal too, goes with this directory.
    let own = tempfile::Builder::new()
        .prefix(MADE_IN)
        .permissions(Permissions::from_mode(0o700))
        .tempdir_in(&place.directory)
        .with_context(|| format!("no backup was made: {shown} cannot be written to"))?;
    let new = TempPath::try_from_path(data_dir::database(own.path()))?;
    room(source.bytes_max()?, data_dir, place)?;
    let contents = source
        .copy(&new)
        .with_context(|| format!("no backup was made, and nothing is left of it in {shown}"))?;
    // Its content before its name.
    let file = File::open(&new)?;
    file.sync_all()
        .with_context(|| format!("no backup was made: it cannot be synced in {shown}"))?;
    let bytes = file.metadata()?.len();
    new.persist_noclobber(&place.file)
        .map_err(|why| why.error)
        .with_context(|| {
            format!(
                "no backup was made: it cannot be called {}",
                place.file.display()
            )
        })?;
    File::open(&place.directory)
        .and_then(|directory| directory.sync_all())
        .with_context(|| {
            format!(
                "the backup is made, but {shown} cannot be synced: it may be gone after a crash"
            )
        })?;
    Ok(Made { contents, bytes })
}

/// Refuses a backup for which there is no room, before it takes that from the server.
fn room(bytes: u64, data_dir: &Path, place: &Place) -> anyhow::Result<()> {
    let is_shared =
        std::fs::metadata(data_dir)?.dev() == std::fs::metadata(&place.directory)?.dev();
    // The server's log grows while a copy is made.
    let kept_mib = if is_shared { FREE_MIN_MIB } else { 0 };
    let (needed_mib, free_mib) = (bytes.div_ceil(MIB) + kept_mib, free_mib(&place.directory)?);
    if free_mib < needed_mib {
        bail!(
            "no backup was made: it takes {needed_mib} MiB, what the server needs meanwhile included, and {} has {free_mib} MiB free; make room, or name a file on another disk",
            place.directory.display()
        );
    }
    Ok(())
}

fn show(arguments: &Arguments, made: &Made, took_s: f64) {
    let Contents {
        writes,
        prospects,
        newest_accepted_at,
        schema_behind,
        master_keys,
    } = &made.contents;
    let keys: Vec<_> = master_keys.iter().map(ToString::to_string).collect();
    if arguments.json {
        let shown = json!({
            "file": arguments.file, "bytes": made.bytes, "writes": writes, "prospects": prospects, "newest_accepted_at": newest_accepted_at,
            "schema_behind": schema_behind, "master_keys": keys, "took_s": took_s,
        });
        output::data(&shown.to_string());
        return;
    }
    let newest =
        newest_accepted_at.map_or_else(String::new, |at| format!(", the newest accepted at {at}"));
    output::data(&format!(
        "{} has {prospects} prospects and {writes} writes{newest}: {:.1} MiB, made and found sound in {took_s:.1} s.",
        arguments.file.display(),
        made.bytes as f64 / MIB as f64,
    ));
    if *schema_behind > 0 {
        output::data(&format!(
            "Its schema is {schema_behind} steps behind; the start of `portico serve` on it brings it up to date."
        ));
    }
    let key = match keys.is_empty() {
        true => "The master key".to_owned(),
        false => format!("The master key ({})", keys.join(", ")),
    };
    output::data(&format!(
        "{key} is not in it. Keep that elsewhere, as long as this: without it nobody can open the secrets in it."
    ));
}

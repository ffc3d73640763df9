//! The two sides of a move from SQLite to PostgreSQL: how they are named, and how it is told what they hold.
//!
//! Guarantee: a URL is never shown; the data directory is taken for as long as it is read, so that no server changes it.

use std::path::{Path, PathBuf};

use anyhow::bail;
use model::hex;
use serde_json::{Value, json};
use store::{
    copy::{Compared, Progress, Report, Step},
    postgres::Place,
};

use crate::{
    data_dir::{self, Owned},
    output, settings,
    store_at::{DATA_DIR, StoreArgs, StoreAt},
};

/// Digits of a digest that are shown to a person: enough to tell two apart.
const DIGEST_DIGITS: usize = 12;

/// Which data, and which database.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Where everything is kept on SQLite. Its server must be stopped.
    #[arg(long, env = "PORTICO_DATA_DIR", value_name = "DIR", default_value = DATA_DIR)]
    data_dir: PathBuf,
    /// The PostgreSQL database: postgres://user:password@host/database?sslmode=verify-full. With a password in it, put it into PORTICO_STORE or a file: others on this machine can read
    /// command lines.
    #[arg(
        long,
        env = "PORTICO_STORE",
        value_name = "URL",
        hide_env_values = true
    )]
    to: Option<String>,
    /// A file with that URL. Only its owner may read it.
    #[arg(long, env = "PORTICO_STORE_FILE", value_name = "FILE")]
    to_file: Option<PathBuf>,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

/// Both sides, ready to be read.
pub(crate) struct Sides {
    data_dir: PathBuf,
    /// The file with the data on SQLite.
    pub(crate) source: PathBuf,
    /// The database.
    pub(crate) target: Place,
    is_json: bool,
    _owned: Owned,
}

impl Arguments {
    /// Takes the data directory.
    ///
    /// # Errors
    /// When a side is not named or cannot be, or a server uses the directory.
    pub(crate) fn sides(&self) -> anyhow::Result<Sides> {
        let is_set = |text: &str| !text.trim().is_empty();
        if self.to.as_deref().is_some_and(is_set)
            && self
                .to_file
                .as_ref()
                .is_some_and(|path| !path.as_os_str().is_empty())
        {
            bail!(
                "the database is named by {} and {} at once; name one of them",
                settings::named("--to"),
                settings::named("--to-file")
            );
        }
        let database = StoreArgs {
            store: self.to.clone().filter(|url| is_set(url)),
            store_file: self.to_file.clone(),
            ..StoreArgs::default()
        };
        let StoreAt::Database(target) = database.at()? else {
            bail!(
                "name the PostgreSQL database with --to, --to-file, PORTICO_STORE or PORTICO_STORE_FILE"
            );
        };
        let data_dir = self.data_dir.clone();
        if !data_dir::holds_data(&data_dir)? {
            bail!(
                "there is no Portico data in {}; name the server's directory with --data-dir or PORTICO_DATA_DIR",
                data_dir.display()
            );
        }
        Ok(Sides {
            _owned: data_dir::own(&data_dir)?,
            source: data_dir::database(&data_dir),
            data_dir,
            target: *target,
            is_json: self.json,
        })
    }
}

/// Says on stderr how far it is.
pub(crate) fn tell(progress: Progress) {
    let Progress { table, rows, .. } = progress;
    let step = match progress.step {
        Step::Copy => "copied",
        Step::Compare => "compared",
    };
    let more = if progress.is_over { "" } else { " so far" };
    output::note(&format!("{step:<8}  {table:<18}  {rows:>10}{more}"));
}

impl Sides {
    /// Shows what both sides hold.
    ///
    /// # Errors
    /// When that is not the same.
    pub(crate) fn show(&self, report: &Report) -> anyhow::Result<()> {
        if self.is_json {
            let tables: Vec<_> = report.tables.iter().map(as_json).collect();
            let shown = json!({
                "is_same": report.is_same(), "source": self.directory(), "target": self.target.told(), "tables": tables,
            });
            output::data(&shown.to_string());
        } else {
            output::data("table                     rows  digest        PostgreSQL");
            for table in &report.tables {
                output::data(&line(table));
            }
        }
        let differing: Vec<_> = report
            .tables
            .iter()
            .filter(|table| table.difference.is_some())
            .map(|table| table.table)
            .collect();
        if !differing.is_empty() {
            bail!(
                "{} and {} do not hold the same: {}",
                self.directory().display(),
                self.target.told(),
                differing.join(", ")
            );
        }
        output::note(&format!(
            "{} holds the same as {}.",
            self.target.told(),
            self.directory().display()
        ));
        Ok(())
    }

    /// The data directory.
    pub(crate) fn directory(&self) -> &Path {
        &self.data_dir
    }
}

fn line(table: &Compared) -> String {
    let short =
        |digest: &[u8]| -> String { hex::encode(digest).chars().take(DIGEST_DIGITS).collect() };
    let (source, target) = (&table.source, &table.target);
    let other = match &table.difference {
        None => "the same".to_owned(),
        Some(difference) => format!(
            "{} rows, {}; {} {}",
            target.rows,
            short(&target.digest),
            difference.key,
            difference.what
        ),
    };
    format!(
        "{:<18}  {:>10}  {}  {other}",
        table.table,
        source.rows,
        short(&source.digest)
    )
}

fn as_json(table: &Compared) -> Value {
    let side =
        |side: &store::copy::Sum| json!({ "rows": side.rows, "digest": hex::encode(&side.digest) });
    let difference = table
        .difference
        .as_ref()
        .map(|one| json!({ "key": one.key, "what": one.what }));
    json!({
        "table": table.table, "is_same": difference.is_none(), "source": side(&table.source), "target": side(&table.target), "difference": difference,
    })
}

//! From SQLite to PostgreSQL, and whether both hold the same.
//!
//! Rows are copied as they are: what is sealed stays sealed, leases and idempotency keys come along. Tables are named here; columns, types and keys are read from the databases, so that
//! a step of the schema that adds a column needs nothing here. Guarantee: a copy is in one transaction of PostgreSQL and ends, before it is committed, with a comparison of every value on
//! both sides: it is whole, or the target is as it was. Nobody can change the source meanwhile. However much it is, some thousand rows are in memory.

mod layout;
mod pages;
mod source;
mod sum;

use std::{path::Path, time::Duration};

use model::Timestamp;

use self::{layout::Layout, source::Source};
use crate::{
    Error,
    engines::{
        db::{Db, values},
        postgres::{self, Place, schema, session::Session},
    },
    stamp,
};

pub use self::sum::Sum;

/// Every table with data, each behind those that it refers to. `queue_order` is made from `queue` on SQLite. `migrations` and `turn` are each database's own.
pub const TABLES: [&str; 29] = [
    "revisions",
    "clock",
    "master_key",
    "integrations",
    "vendor_tokens",
    "keys",
    "records",
    "record_terms",
    "record_counts",
    "writes",
    "paces",
    "vendor_paces",
    "queue",
    "queue_order",
    "attempts",
    "idempotency",
    "diffs",
    "syncs",
    "jobs",
    "audit_keys",
    "audit",
    "consents",
    "erasures",
    "events",
    "webhooks",
    "webhook_triggers",
    "webhooks_gone",
    "deliveries",
    "delivery_attempts",
];

/// The tables of which a new database has rows already.
const HAVE_ROWS_WHEN_NEW: [&str; 2] = ["revisions", "clock"];

/// Rows of a table between two words on how far it is.
const PROGRESS_ROWS: u64 = 100_000;

/// How long the transaction may lie still: while rows are read from SQLite only, on a slow disk.
const IDLE_MAX: Duration = Duration::from_secs(600);

/// What is being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Rows are copied.
    Copy,
    /// Both sides are read and compared.
    Compare,
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// What is being done.
    pub step: Step,
    /// With which table.
    pub table: &'static str,
    /// Rows of it so far.
    pub rows: u64,
    /// Whether these are all.
    pub is_over: bool,
}

/// What both sides hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Every table, in the order of [`TABLES`].
    pub tables: Vec<Compared>,
}

impl Report {
    /// Whether both sides hold the same.
    pub fn is_same(&self) -> bool {
        self.tables.iter().all(|table| table.difference.is_none())
    }
}

/// A table on both sides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compared {
    /// Its name.
    pub table: &'static str,
    /// What SQLite has.
    pub source: Sum,
    /// What PostgreSQL has.
    pub target: Sum,
    /// The first difference, if there is one.
    pub difference: Option<Difference>,
}

/// Where two tables differ first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The row's key, as in `seq 7`.
    pub key: String,
    /// What is with it, as in `differs in body`.
    pub what: String,
}

/// Copies the store in the SQLite database at `from`, which no server may be using, to an empty database. Blocks; not to be called within a runtime.
///
/// Nothing was copied when what is reported is not the same on both sides.
///
/// # Errors
/// [`Error::Conflict`], in words, when the source is in use, of another version or holds what PostgreSQL cannot, or when the target is not empty: the target is then as it was.
/// [`Error::Unfinished`] when the connection broke while it was committed: [`check`] then says whether it was.
pub fn copy(
    from: &Path,
    to: &Place,
    now: Timestamp,
    progress: &mut dyn FnMut(Progress),
) -> Result<Report, Error> {
    let source = Source::open(from)?;
    let session = begin(to, "BEGIN ISOLATION LEVEL READ COMMITTED")?;
    let filled = postgres::durable(&session)
        .and_then(|()| schema::migrate(&session, now))
        .and_then(|_| fill(&source, &session, to, progress));
    match filled {
        Ok(report) if report.is_same() => {
            session.commit().map_err(|why| match why {
                Error::InDoubt => Error::Unfinished(
                    "all was copied, and then the database did not say whether that is committed; `portico store check` says whether it is there".to_owned(),
                ),
                why => why,
            })?;
            for table in TABLES {
                // Else the first plans are made without knowing how large the tables are. The database does it itself too, in a minute or so.
                if let Err(why) = session.run(&format!("ANALYZE \"{table}\"")) {
                    tracing::warn!(%why, table, "no statistics were made of a table");
                }
            }
            Ok(report)
        }
        other => {
            // A connection that broke has undone it too.
            let _ = session.run("ROLLBACK");
            other
        }
    }
}

/// Compares what the SQLite database at `from`, which no server may be using, and a PostgreSQL database hold. Blocks; not to be called within a runtime.
///
/// # Errors
/// As [`copy`]. Nothing is changed.
pub fn check(from: &Path, to: &Place, progress: &mut dyn FnMut(Progress)) -> Result<Report, Error> {
    let source = Source::open(from)?;
    let session = begin(to, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")?;
    must_be_current(&session, to)?;
    compare_all(&source, &session, progress)
}

fn begin(to: &Place, begin: &str) -> Result<Session, Error> {
    let session = Session::connect(to)?;
    session.run(&format!(
        "{begin}; SET LOCAL idle_in_transaction_session_timeout = {}",
        IDLE_MAX.as_millis()
    ))?;
    Ok(session)
}

/// Refuses a target that has not this program's schema.
fn must_be_current(session: &Session, to: &Place) -> Result<(), Error> {
    let (db, place) = (Db::Postgres(session), to.told());
    if !schema::is_there(&db)? {
        return Err(Error::Conflict(format!("{place} holds no Portico data")));
    }
    if schema::pending(&db)?.is_empty() {
        return Ok(());
    }
    Err(Error::Conflict(format!(
        "the schema of {place} is an older one: bring it up to date with `portico store migrate`"
    )))
}

/// Copies every table and compares them. The transaction is the caller's.
fn fill(
    source: &Source,
    session: &Session,
    to: &Place,
    progress: &mut dyn FnMut(Progress),
) -> Result<Report, Error> {
    let db = Db::Postgres(session);
    // No node changes anything before this is over.
    db.one("SELECT last FROM turn FOR UPDATE", &[], |_| Ok(()))?;
    must_be_empty(session, to)?;
    for table in HAVE_ROWS_WHEN_NEW {
        db.execute(&format!("DELETE FROM {table}"), &[])?;
    }
    for table in TABLES {
        let layout = Layout::of(source, session, table)?;
        layout.copy(source, session, progress)?;
        layout.count_on(source, session)?;
    }
    let last = stamp::last(&db)?;
    db.execute("UPDATE turn SET last = ?1", values![last.as_micros()])?;
    compare_all(source, session, progress)
}

fn must_be_empty(session: &Session, to: &Place) -> Result<(), Error> {
    let db = Db::Postgres(session);
    let mut filled = Vec::new();
    for table in TABLES {
        let sql = format!("SELECT EXISTS (SELECT 1 FROM \"{table}\")");
        let has_rows = db.one(&sql, &[], |row| row.get::<bool>(0))?;
        if has_rows && !HAVE_ROWS_WHEN_NEW.contains(&table) {
            filled.push(table);
        }
    }
    if filled.is_empty() {
        return Ok(());
    }
    let (place, mut what) = (to.told(), filled.join(", "));
    if filled == ["master_key", "audit_keys"] {
        what += ", of a server that was started on it";
    }
    Err(Error::Conflict(format!(
        "{place} is not empty: there are rows in {what}. Nothing was copied; name a new database"
    )))
}

fn compare_all(
    source: &Source,
    session: &Session,
    progress: &mut dyn FnMut(Progress),
) -> Result<Report, Error> {
    let mut tables = Vec::with_capacity(TABLES.len());
    for table in TABLES {
        let layout = Layout::of(source, session, table)?;
        tables.push(layout.compare(source, session, progress)?);
    }
    Ok(Report { tables })
}

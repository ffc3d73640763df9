//! From SQLite to PostgreSQL, and whether both hold the same.
//!
//! Rows are copied as they are: what is sealed stays sealed, leases and idempotency keys come along. Tables are named here; columns, types and keys are read from the databases, so that
//! a step of the schema that adds a column needs nothing here. Guarantee: a copy is in one transaction of PostgreSQL and ends, before it is committed, with a comparison of every value on
//! both sides: it is whole, or the target is as it was. Nobody can change the source meanwhile. However much it is, some thousand rows are in memory.

use std::{borrow::Cow, cmp::Ordering, path::Path, time::Duration};

use model::{Timestamp, key::hex};
use rusqlite::{Connection, OpenFlags, types::ValueRef};
use sha2::{Digest, Sha256};
use tokio_postgres::types::Type;

use crate::{
    Error,
    engines::{
        db::{Db, Value, owned, values},
        postgres::{
            self, Place,
            cell::{Cell, cell},
            schema,
            session::Session,
        },
        sqlite::{self, database},
    },
    inspect::sqlite as inspect,
    migrations, opening, stamp,
};

/// Every table with data, each behind those that it refers to. `queue_order` is made from `queue` on SQLite. `migrations` and `turn` are each database's own.
pub const TABLES: [&str; 27] = [
    "revisions",
    "clock",
    "master_key",
    "integrations",
    "keys",
    "records",
    "record_terms",
    "record_counts",
    "writes",
    "paces",
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

/// Rows that are read from PostgreSQL at once.
const PAGE_ROWS: usize = 500;

/// Rows, and bytes of values in them, that are written to PostgreSQL at once: a row has some KB, of few some hundred.
const BATCH_ROWS_MAX: usize = 2_000;
const BATCH_BYTES_MAX: usize = 4 * 1_024 * 1_024;

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

/// All rows of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sum {
    /// How many there are.
    pub rows: u64,
    /// SHA-256 over every value of every row in the order of the key, each with its type and length: the same on both sides for the same rows.
    pub digest: [u8; 32],
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

/// A SQLite database that stays as it is while this lives.
struct Source(Connection);

impl Source {
    fn open(path: &Path) -> Result<Self, Error> {
        let shown = path.display();
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)
            .map_err(|why| Error::Database(format!("{shown} cannot be opened: {why}")))?;
        sqlite::prepare_connection(&connection)?;
        // Whoever else changes something, such as `portico keys`, waits, and what is read is of one moment.
        connection
            .execute_batch("BEGIN IMMEDIATE")
            .map_err(|why| match database(why) {
                Error::Busy => Error::Conflict(format!(
                    "another process is changing {shown}: let it end, and stop the server"
                )),
                why => why,
            })?;
        match inspect::schema(&connection)? {
            Ok(0) => {}
            Ok(all) if all == migrations::SQLITE.len() => {
                return Err(Error::Conflict(format!("{shown} holds no Portico data")));
            }
            Ok(_) => {
                return Err(Error::Conflict(format!(
                    "the schema of {shown} is an older one: bring it up to date with `portico store migrate`, or start this version's server on it once"
                )));
            }
            Err(why) => return Err(Error::Conflict(format!("{shown}: {why}"))),
        }
        opening::sqlite::order_make(&connection)?;
        Ok(Self(connection))
    }
}

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Integer,
    Boolean,
    Text,
    Blob,
}

impl Kind {
    const fn postgres(self) -> Type {
        match self {
            Self::Integer => Type::INT8,
            Self::Boolean => Type::BOOL,
            Self::Text => Type::TEXT,
            Self::Blob => Type::BYTEA,
        }
    }
}

struct Column {
    name: String,
    kind: Kind,
    /// Whether the database gives it numbers.
    is_numbered: bool,
}

/// A table as both databases have it.
struct Layout {
    table: &'static str,
    /// Those of the key first.
    columns: Vec<Column>,
    /// How many are the key's.
    key: usize,
}

/// What keeps a value from being copied or compared.
fn unfit(what: impl std::fmt::Display) -> Error {
    Error::Corrupt(what.to_string())
}

impl Layout {
    fn of(source: &Source, session: &Session, table: &'static str) -> Result<Self, Error> {
        let mut key: Vec<(i64, String)> = Vec::new();
        let mut others: Vec<String> = Vec::new();
        Db::Sqlite(&source.0).each(
            "SELECT name, pk FROM pragma_table_info(?1)",
            values![table],
            |row| {
                match row.get(1)? {
                    0 => others.push(row.get(0)?),
                    place => key.push((place, row.get(0)?)),
                }
                Ok(())
            },
        )?;
        key.sort_unstable();
        let names = key.iter().map(|(_, name)| name).chain(&others);
        let mut theirs: Vec<Column> = Vec::new();
        Db::Postgres(session).each(
            "SELECT CAST(column_name AS TEXT), CAST(data_type AS TEXT), is_identity = 'YES' FROM information_schema.columns WHERE table_schema = current_schema() AND table_name = CAST(?1 AS TEXT)",
            values![table],
            |row| {
                let (name, kind): (String, String) = (row.get(0)?, row.get(1)?);
                let kind = match kind.as_str() {
                    "bigint" => Kind::Integer,
                    "boolean" => Kind::Boolean,
                    "text" => Kind::Text,
                    "bytea" => Kind::Blob,
                    kind => return Err(unfit(format!("{table}.{name} is of the type {kind}, which is not copied"))),
                };
                theirs.push(Column {
                    name,
                    kind,
                    is_numbered: row.get(2)?,
                });
                Ok(())
            },
        )?;
        let mut columns = Vec::with_capacity(theirs.len());
        for name in names {
            match theirs.iter().position(|column| column.name == *name) {
                Some(place) => columns.push(theirs.swap_remove(place)),
                None => {
                    return Err(unfit(format!("{table}.{name} is in SQLite only")));
                }
            }
        }
        if let Some(column) = theirs.first() {
            let name = &column.name;
            return Err(unfit(format!("{table}.{name} is in PostgreSQL only")));
        }
        if key.is_empty() {
            return Err(unfit(format!("{table} has no key")));
        }
        Ok(Self {
            table,
            columns,
            key: key.len(),
        })
    }

    fn names(columns: &[Column]) -> String {
        let quoted: Vec<_> = columns
            .iter()
            .map(|column| format!("\"{}\"", column.name))
            .collect();
        quoted.join(", ")
    }

    /// The rows that `which` names, in the order of the key. Keys of text are compared by bytes on both sides.
    fn select(&self, which: &str) -> String {
        let (all, key) = (
            Self::names(&self.columns),
            Self::names(&self.columns[..self.key]),
        );
        format!(
            "SELECT {all} FROM \"{}\" {which} ORDER BY {key}",
            self.table
        )
    }

    /// A row's key in words.
    fn told(&self, row: &[Value<'_>]) -> String {
        let named: Vec<_> = self.columns[..self.key]
            .iter()
            .zip(row)
            .map(|(column, value)| match value {
                Value::Null => format!("{} NULL", column.name),
                Value::Integer(value) => format!("{} {value}", column.name),
                Value::Boolean(value) => format!("{} {value}", column.name),
                Value::Text(value) => format!("{} {value:?}", column.name),
                Value::Blob(value) => format!("{} {}", column.name, hex(value)),
            })
            .collect();
        named.join(", ")
    }

    fn of_sqlite<'a>(&self, row: &'a rusqlite::Row<'_>) -> Result<Vec<Value<'a>>, Error> {
        let mut values = Vec::with_capacity(self.columns.len());
        for (place, column) in self.columns.iter().enumerate() {
            let value = match (column.kind, row.get_ref(place).map_err(database)?) {
                (_, ValueRef::Null) => Some(Value::Null),
                (Kind::Integer, ValueRef::Integer(value)) => Some(Value::Integer(value)),
                (Kind::Boolean, ValueRef::Integer(value @ (0 | 1))) => {
                    Some(Value::Boolean(value == 1))
                }
                (Kind::Text, ValueRef::Text(value)) => std::str::from_utf8(value)
                    .ok()
                    .map(|value| Value::Text(Cow::Borrowed(value))),
                (Kind::Blob, ValueRef::Blob(value)) => Some(Value::Blob(Cow::Borrowed(value))),
                _ => None,
            };
            values.push(value.ok_or_else(|| {
                let key = self.told(&values);
                unfit(format!(
                    "the row of {} with {key} has no {:?} in {}",
                    self.table, column.kind, column.name
                ))
            })?);
        }
        Ok(values)
    }

    fn of_postgres<'a>(&self, row: &'a tokio_postgres::Row) -> Result<Vec<Value<'a>>, Error> {
        (0..self.columns.len())
            .map(|place| {
                Ok(match cell(row, place)? {
                    None => Value::Null,
                    Some(Cell::Integer(value)) => Value::Integer(value),
                    Some(Cell::Boolean(value)) => Value::Boolean(value),
                    Some(Cell::Text(value)) => Value::Text(Cow::Borrowed(value)),
                    Some(Cell::Blob(value)) => Value::Blob(Cow::Borrowed(value)),
                })
            })
            .collect()
    }

    fn copy(
        &self,
        source: &Source,
        session: &Session,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(), Error> {
        let sql = format!(
            "COPY \"{}\" ({}) FROM STDIN BINARY",
            self.table,
            Self::names(&self.columns)
        );
        let types: Vec<Type> = self.columns.iter().map(|one| one.kind.postgres()).collect();
        let (mut batch, mut bytes, mut count) = (Vec::new(), 0, 0);
        let mut statement = source.0.prepare(&self.select("")).map_err(database)?;
        let mut rows = statement.query([]).map_err(database)?;
        while let Some(row) = rows.next().map_err(database)? {
            let row = self.of_sqlite(row)?;
            self.must_fit(&row)?;
            bytes += row.iter().map(size).sum::<usize>();
            batch.push(owned(&row));
            if batch.len() >= BATCH_ROWS_MAX || bytes >= BATCH_BYTES_MAX {
                session.fill(&sql, &types, &batch)?;
                batch.clear();
                bytes = 0;
            }
            count += 1;
            self.tell(progress, Step::Copy, count, false);
        }
        session.fill(&sql, &types, &batch)?;
        self.tell(progress, Step::Copy, count, true);
        Ok(())
    }

    /// Refuses text that PostgreSQL cannot store.
    fn must_fit(&self, row: &[Value<'_>]) -> Result<(), Error> {
        for (column, value) in self.columns.iter().zip(row) {
            if matches!(value, Value::Text(text) if text.contains('\0')) {
                return Err(Error::Conflict(format!(
                    "the row of {} with {} has a NUL character in {}, which PostgreSQL cannot store. Nothing was copied",
                    self.table,
                    self.told(row),
                    column.name
                )));
            }
        }
        Ok(())
    }

    /// The highest number that SQLite has given in a column, also to a row that is gone, where it does not give those again.
    fn highest(&self, source: &Source, column: &Column) -> Result<i64, Error> {
        let sql = format!(
            "SELECT max(coalesce((SELECT max(\"{}\") FROM \"{}\"), 0), coalesce((SELECT seq FROM sqlite_sequence WHERE name = ?1), 0))",
            column.name, self.table
        );
        Db::Sqlite(&source.0).one(&sql, values![self.table], |row| row.get(0))
    }

    /// Has PostgreSQL give numbers from where SQLite stopped. Unlike `setval`, this is undone with the transaction.
    fn count_on(&self, source: &Source, session: &Session) -> Result<(), Error> {
        for column in self.columns.iter().filter(|column| column.is_numbered) {
            let next = self.highest(source, column)?.saturating_add(1);
            session.run(&format!(
                "ALTER TABLE \"{}\" ALTER COLUMN \"{}\" RESTART WITH {next}",
                self.table, column.name
            ))?;
        }
        Ok(())
    }

    fn compare(
        &self,
        source: &Source,
        session: &Session,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Compared, Error> {
        let (mut here, mut there) = (Summing::default(), Summing::default());
        let mut difference = None;
        let mut statement = source.0.prepare(&self.select("")).map_err(database)?;
        let mut ours = statement.query([]).map_err(database)?;
        let mut theirs = Pages::new(self, session);
        loop {
            let (one, other) = (ours.next().map_err(database)?, theirs.next()?);
            if one.is_none() && other.is_none() {
                break;
            }
            let one = one.map(|row| self.of_sqlite(row)).transpose()?;
            let other = other.as_ref().map(|row| self.of_postgres(row));
            let other = other.transpose()?;
            // Behind the first difference rows do not stand side by side any more, and are only counted.
            if difference.is_none() {
                difference = self.difference(one.as_deref(), other.as_deref());
            }
            if let Some(row) = one {
                here.add(&row);
            }
            if let Some(row) = other {
                there.add(&row);
            }
            self.tell(progress, Step::Compare, here.rows, false);
        }
        self.tell(progress, Step::Compare, here.rows, true);
        if difference.is_none() {
            difference = self.count_difference(source, session)?;
        }
        Ok(Compared {
            table: self.table,
            source: here.sum(),
            target: there.sum(),
            difference,
        })
    }

    /// What differs in two rows that stand at the same place.
    fn difference(
        &self,
        one: Option<&[Value<'_>]>,
        other: Option<&[Value<'_>]>,
    ) -> Option<Difference> {
        let of = |row: &[Value<'_>], what: String| {
            let key = self.told(row);
            Some(Difference { key, what })
        };
        let missing = |row| of(row, "is in SQLite only".to_owned());
        let added = |row| of(row, "is in PostgreSQL only".to_owned());
        match (one, other) {
            (None, None) => None,
            (Some(one), None) => missing(one),
            (None, Some(other)) => added(other),
            (Some(one), Some(other)) => {
                let key = one.iter().zip(other).take(self.key);
                match key
                    .map(|(one, other)| order(one, other))
                    .find(|one| one.is_ne())
                {
                    Some(Ordering::Less) => missing(one),
                    Some(_) => added(other),
                    None => {
                        let differing: Vec<_> = self
                            .columns
                            .iter()
                            .zip(one.iter().zip(other))
                            .filter(|(_, (one, other))| one != other)
                            .map(|(column, _)| column.name.as_str())
                            .collect();
                        match differing.as_slice() {
                            [] => None,
                            names => of(one, format!("differs in {}", names.join(", "))),
                        }
                    }
                }
            }
        }
    }

    /// Whether PostgreSQL would give a number that was given before.
    fn count_difference(
        &self,
        source: &Source,
        session: &Session,
    ) -> Result<Option<Difference>, Error> {
        for column in self.columns.iter().filter(|column| column.is_numbered) {
            let db = Db::Postgres(session);
            let sequence: String = db.one(
                "SELECT pg_get_serial_sequence(?1, ?2)",
                values![self.table, column.name],
                |row| row.get(0),
            )?;
            let sql = format!(
                "SELECT last_value + CASE WHEN is_called THEN 1 ELSE 0 END FROM {sequence}"
            );
            let next: i64 = db.one(&sql, &[], |row| row.get(0))?;
            let highest = self.highest(source, column)?;
            if next <= highest {
                return Ok(Some(Difference {
                    key: format!("{} {highest}", column.name),
                    what: format!("was given, and PostgreSQL would give {next} to the next row"),
                }));
            }
        }
        Ok(None)
    }

    fn tell(&self, progress: &mut dyn FnMut(Progress), step: Step, rows: u64, is_over: bool) {
        if is_over || rows.is_multiple_of(PROGRESS_ROWS) {
            progress(Progress {
                step,
                table: self.table,
                rows,
                is_over,
            });
        }
    }
}

/// Bytes that a value takes, or some more.
fn size(value: &Value<'_>) -> usize {
    size_of::<Value<'_>>()
        + match value {
            Value::Text(value) => value.len(),
            Value::Blob(value) => value.len(),
            Value::Null | Value::Integer(_) | Value::Boolean(_) => 0,
        }
}

/// Which of two values of a key comes first.
fn order(one: &Value<'_>, other: &Value<'_>) -> Ordering {
    match (one, other) {
        (Value::Integer(one), Value::Integer(other)) => one.cmp(other),
        (Value::Boolean(one), Value::Boolean(other)) => one.cmp(other),
        (Value::Text(one), Value::Text(other)) => one.as_bytes().cmp(other.as_bytes()),
        (Value::Blob(one), Value::Blob(other)) => one.cmp(other),
        // A column has one kind, and a key no NULL.
        _ => Ordering::Equal,
    }
}

/// A [`Sum`] that grows.
#[derive(Default)]
struct Summing {
    rows: u64,
    digest: Sha256,
    buffer: Vec<u8>,
}

impl Summing {
    fn add(&mut self, row: &[Value<'_>]) {
        let out = &mut self.buffer;
        out.clear();
        for value in row {
            match value {
                Value::Null => out.push(0),
                Value::Integer(value) => {
                    out.push(1);
                    out.extend(value.to_be_bytes());
                }
                Value::Boolean(value) => out.extend([2, u8::from(*value)]),
                Value::Text(value) => {
                    out.push(3);
                    out.extend((value.len() as u64).to_be_bytes());
                    out.extend(value.as_bytes());
                }
                Value::Blob(value) => {
                    out.push(4);
                    out.extend((value.len() as u64).to_be_bytes());
                    out.extend(&**value);
                }
            }
        }
        self.digest.update(out);
        self.rows += 1;
    }

    fn sum(self) -> Sum {
        Sum {
            rows: self.rows,
            digest: self.digest.finalize().into(),
        }
    }
}

/// The rows of a table in PostgreSQL, in the order of the key, a page at a time.
struct Pages<'a> {
    layout: &'a Layout,
    session: &'a Session,
    page: std::vec::IntoIter<tokio_postgres::Row>,
    /// The key of the page's last row; nothing before the first page.
    last: Vec<Value<'static>>,
    has_more: bool,
}

impl<'a> Pages<'a> {
    fn new(layout: &'a Layout, session: &'a Session) -> Self {
        Self {
            layout,
            session,
            page: Vec::new().into_iter(),
            last: Vec::new(),
            has_more: true,
        }
    }

    fn next(&mut self) -> Result<Option<tokio_postgres::Row>, Error> {
        if self.page.len() == 0 && self.has_more {
            let layout = self.layout;
            let which = if self.last.is_empty() {
                String::new()
            } else {
                let places: Vec<_> = (1..=layout.key).map(|place| format!("?{place}")).collect();
                let key = Layout::names(&layout.columns[..layout.key]);
                format!("WHERE ({key}) > ({})", places.join(", "))
            };
            let sql = format!("{} LIMIT {PAGE_ROWS}", layout.select(&which));
            let rows = self.session.query(&sql, &self.last)?;
            self.has_more = rows.len() == PAGE_ROWS;
            if let Some(last) = rows.last() {
                let row = layout.of_postgres(last)?;
                self.last = owned(&row[..layout.key]);
            }
            self.page = rows.into_iter();
        }
        Ok(self.page.next())
    }
}

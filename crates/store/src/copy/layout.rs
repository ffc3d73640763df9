//! A table as both databases have it: its rows are copied, and compared.
//!
//! Columns, types and keys are read from the databases, so that a step of the schema that adds a
//! column needs nothing here.

use std::{borrow::Cow, cmp::Ordering};

use model::hex;
use rusqlite::types::ValueRef;
use tokio_postgres::types::Type;

use super::{
    Compared, Difference, PROGRESS_ROWS, Progress, Step, pages::Pages, source::Source, sum::Summing,
};
use crate::{
    Error,
    engines::{
        db::{Db, Value, owned, values},
        postgres::{
            cell::{Cell, cell},
            session::Session,
        },
        sqlite::database,
    },
};

/// Rows, and bytes of values in them, that are written to PostgreSQL at once: a row has some KB, of few some hundred.
const BATCH_ROWS_MAX: usize = 2_000;
const BATCH_BYTES_MAX: usize = 4 * 1_024 * 1_024;

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Integer,
    Boolean,
    Text,
    Blob,
}

impl Kind {
    pub(super) const fn postgres(self) -> Type {
        match self {
            Self::Integer => Type::INT8,
            Self::Boolean => Type::BOOL,
            Self::Text => Type::TEXT,
            Self::Blob => Type::BYTEA,
        }
    }
}

pub(super) struct Column {
    name: String,
    kind: Kind,
    /// Whether the database gives it numbers.
    is_numbered: bool,
}

/// A table as both databases have it.
pub(super) struct Layout {
    pub(super) table: &'static str,
    /// Those of the key first.
    pub(super) columns: Vec<Column>,
    /// How many are the key's.
    pub(super) key: usize,
}

/// What keeps a value from being copied or compared.
pub(super) fn unfit(what: impl std::fmt::Display) -> Error {
    Error::Corrupt(what.to_string())
}

impl Layout {
    pub(super) fn of(
        source: &Source,
        session: &Session,
        table: &'static str,
    ) -> Result<Self, Error> {
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

    pub(super) fn names(columns: &[Column]) -> String {
        let quoted: Vec<_> = columns
            .iter()
            .map(|column| format!("\"{}\"", column.name))
            .collect();
        quoted.join(", ")
    }

    /// The rows that `which` names, in the order of the key. Keys of text are compared by bytes on both sides.
    pub(super) fn select(&self, which: &str) -> String {
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
    pub(super) fn told(&self, row: &[Value<'_>]) -> String {
        let named: Vec<_> = self.columns[..self.key]
            .iter()
            .zip(row)
            .map(|(column, value)| match value {
                Value::Null => format!("{} NULL", column.name),
                Value::Integer(value) => format!("{} {value}", column.name),
                Value::Boolean(value) => format!("{} {value}", column.name),
                Value::Text(value) => format!("{} {value:?}", column.name),
                Value::Blob(value) => format!("{} {}", column.name, hex::encode(value)),
            })
            .collect();
        named.join(", ")
    }

    pub(super) fn of_sqlite<'a>(
        &self,
        row: &'a rusqlite::Row<'_>,
    ) -> Result<Vec<Value<'a>>, Error> {
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

    pub(super) fn of_postgres<'a>(
        &self,
        row: &'a tokio_postgres::Row,
    ) -> Result<Vec<Value<'a>>, Error> {
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

    pub(super) fn copy(
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
    pub(super) fn must_fit(&self, row: &[Value<'_>]) -> Result<(), Error> {
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
    pub(super) fn highest(&self, source: &Source, column: &Column) -> Result<i64, Error> {
        let sql = format!(
            "SELECT max(coalesce((SELECT max(\"{}\") FROM \"{}\"), 0), coalesce((SELECT seq FROM sqlite_sequence WHERE name = ?1), 0))",
            column.name, self.table
        );
        Db::Sqlite(&source.0).one(&sql, values![self.table], |row| row.get(0))
    }

    /// Has PostgreSQL give numbers from where SQLite stopped. Unlike `setval`, this is undone with the transaction.
    pub(super) fn count_on(&self, source: &Source, session: &Session) -> Result<(), Error> {
        for column in self.columns.iter().filter(|column| column.is_numbered) {
            let next = self.highest(source, column)?.saturating_add(1);
            session.run(&format!(
                "ALTER TABLE \"{}\" ALTER COLUMN \"{}\" RESTART WITH {next}",
                self.table, column.name
            ))?;
        }
        Ok(())
    }

    pub(super) fn compare(
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
    pub(super) fn difference(
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
    pub(super) fn count_difference(
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

    pub(super) fn tell(
        &self,
        progress: &mut dyn FnMut(Progress),
        step: Step,
        rows: u64,
        is_over: bool,
    ) {
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

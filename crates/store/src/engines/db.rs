//! A transaction under way, as the use cases see it: statements, values and rows, whichever database runs them.
//!
//! Statements are written in the words that SQLite and PostgreSQL share, and where they share none in SQLite's; `postgres::dialect` is the whole list of
//! what PostgreSQL hears instead. Guarantee: a value is always bound, never put into a statement's text.

use std::{borrow::Cow, ops::ControlFlow};

use rusqlite::types::{ToSqlOutput, ValueRef};

use crate::{
    Error,
    engines::{postgres, sqlite},
};

/// A transaction under way.
#[derive(Clone, Copy)]
pub(crate) enum Db<'a> {
    /// On SQLite.
    Sqlite(&'a rusqlite::Connection),
    /// On PostgreSQL.
    Postgres(&'a postgres::session::Session),
}

/// A row that a statement brought.
pub(crate) enum Row<'a> {
    /// From SQLite.
    Sqlite(&'a rusqlite::Row<'a>),
    /// From PostgreSQL.
    Postgres(&'a tokio_postgres::Row),
}

/// A value bound to a statement.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value<'a> {
    /// Nothing.
    Null,
    /// A number; times in microseconds.
    Integer(i64),
    /// Yes or no.
    Boolean(bool),
    /// Text.
    Text(Cow<'a, str>),
    /// Bytes.
    Blob(Cow<'a, [u8]>),
}

impl Value<'_> {
    /// The value with its own copy of what it has.
    pub(crate) fn owned(&self) -> Value<'static> {
        match self {
            Self::Null => Value::Null,
            Self::Integer(value) => Value::Integer(*value),
            Self::Boolean(value) => Value::Boolean(*value),
            Self::Text(value) => Value::Text(Cow::Owned(value.to_string())),
            Self::Blob(value) => Value::Blob(Cow::Owned(value.to_vec())),
        }
    }
}

/// What can be bound.
pub(crate) trait Bind {
    /// As a value.
    fn bind(&self) -> Value<'_>;
}

/// The values of a statement, in the order of its places.
macro_rules! values {
    ($($value:expr),* $(,)?) => { &[$($crate::engines::db::Bind::bind(&$value)),*] };
}
pub(crate) use values;

/// The values of a statement that is put later.
pub(crate) fn owned(values: &[Value<'_>]) -> Vec<Value<'static>> {
    values.iter().map(Value::owned).collect()
}

/// The words for a page of a statement that has `values`, and all its values.
pub(crate) fn limited(
    mut values: Vec<Value<'_>>,
    offset: u64,
    limit: u64,
) -> (String, Vec<Value<'_>>) {
    let number = |count: u64| Value::Integer(i64::try_from(count).unwrap_or(i64::MAX));
    values.extend([number(limit), number(offset)]);
    let last = values.len();
    (format!("LIMIT ?{} OFFSET ?{last}", last - 1), values)
}

impl Bind for i64 {
    fn bind(&self) -> Value<'_> {
        Value::Integer(*self)
    }
}

impl Bind for u32 {
    fn bind(&self) -> Value<'_> {
        Value::Integer(i64::from(*self))
    }
}

impl Bind for bool {
    fn bind(&self) -> Value<'_> {
        Value::Boolean(*self)
    }
}

impl Bind for str {
    fn bind(&self) -> Value<'_> {
        Value::Text(Cow::Borrowed(self))
    }
}

impl Bind for String {
    fn bind(&self) -> Value<'_> {
        self.as_str().bind()
    }
}

impl Bind for [u8] {
    fn bind(&self) -> Value<'_> {
        Value::Blob(Cow::Borrowed(self))
    }
}

impl<const N: usize> Bind for [u8; N] {
    fn bind(&self) -> Value<'_> {
        self.as_slice().bind()
    }
}

impl Bind for Vec<u8> {
    fn bind(&self) -> Value<'_> {
        self.as_slice().bind()
    }
}

impl<T: Bind> Bind for Option<T> {
    fn bind(&self) -> Value<'_> {
        self.as_ref().map_or(Value::Null, Bind::bind)
    }
}

impl<T: Bind + ?Sized> Bind for &T {
    fn bind(&self) -> Value<'_> {
        (**self).bind()
    }
}

impl From<i64> for Value<'_> {
    fn from(value: i64) -> Self {
        Self::Integer(value)
    }
}

impl From<String> for Value<'_> {
    fn from(value: String) -> Self {
        Self::Text(Cow::Owned(value))
    }
}

impl From<Option<String>> for Value<'_> {
    fn from(value: Option<String>) -> Self {
        value.map_or(Self::Null, Self::from)
    }
}

impl rusqlite::ToSql for Value<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Integer(value) => ValueRef::Integer(*value),
            Self::Boolean(value) => ValueRef::Integer(i64::from(*value)),
            Self::Text(value) => ValueRef::Text(value.as_bytes()),
            Self::Blob(value) => ValueRef::Blob(value),
        }))
    }
}

/// What can be read from a column.
pub(crate) trait Column: rusqlite::types::FromSql + postgres::cell::FromCell {}

impl<T: rusqlite::types::FromSql + postgres::cell::FromCell> Column for T {}

impl Row<'_> {
    /// The value at a place, from 0 on.
    ///
    /// # Errors
    /// When it is of another type.
    pub(crate) fn get<T: Column>(&self, place: usize) -> Result<T, Error> {
        match self {
            Self::Sqlite(row) => row.get(place).map_err(sqlite::bounded),
            Self::Postgres(row) => postgres::cell::get(row, place),
        }
    }
}

/// Reads a count of attempts. One that is none, since somebody changed the row, is the nearest that is one: it must not keep others waiting.
pub(crate) fn count(row: &Row<'_>, place: usize) -> Result<u32, Error> {
    let count = row.get::<i64>(place)?.clamp(0, i64::from(u32::MAX));
    Ok(u32::try_from(count).unwrap_or(u32::MAX))
}

pub(crate) fn corrupt(what: &str) -> impl FnOnce(serde_json::Error) -> Error {
    // serde's message repeats the value it stumbled over, which may be a person's: only its place is told.
    move |why| {
        Error::Corrupt(format!(
            "{what} is not readable at line {} column {}",
            why.line(),
            why.column()
        ))
    }
}

/// The tables whose rows stand in the order stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ordered {
    /// Accepted writes.
    Writes,
    /// Records.
    Records,
    /// The log of events.
    Events,
    /// Changes of records.
    Diffs,
}

impl Ordered {
    /// All of them, in the order of their places.
    pub(crate) const ALL: [Self; 4] = [Self::Writes, Self::Records, Self::Events, Self::Diffs];

    /// The table's name.
    pub(crate) const fn table(self) -> &'static str {
        match self {
            Self::Writes => "writes",
            Self::Records => "records",
            Self::Events => "events",
            Self::Diffs => "diffs",
        }
    }

    /// Asks for the last place that is taken.
    pub(super) const fn newest(self) -> &'static str {
        match self {
            Self::Writes => "SELECT max(seq) FROM writes",
            Self::Records => "SELECT max(seq) FROM records",
            Self::Events => "SELECT max(seq) FROM events",
            Self::Diffs => "SELECT max(seq) FROM diffs",
        }
    }
}

impl Db<'_> {
    /// Runs a statement, and says how many rows it concerned.
    pub(crate) fn execute(&self, sql: &str, values: &[Value<'_>]) -> Result<u64, Error> {
        match self {
            Self::Sqlite(connection) => sqlite::prepared(connection, sql)?
                .execute(rusqlite::params_from_iter(values))
                .map(|count| count as u64)
                .map_err(sqlite::bounded),
            Self::Postgres(session) => session.execute(sql, values),
        }
    }

    /// Runs a statement without waiting for how it went: should it have failed, the transaction, or the part of it that can be undone alone, fails at its end.
    pub(crate) fn send(&self, sql: &str, values: &[Value<'_>]) -> Result<(), Error> {
        match self {
            Self::Sqlite(_) => self.execute(sql, values).map(drop),
            Self::Postgres(session) => session.send_values(sql, values),
        }
    }

    /// The first row, if there is any.
    pub(crate) fn find<T>(
        &self,
        sql: &str,
        values: &[Value<'_>],
        read: impl FnOnce(&Row<'_>) -> Result<T, Error>,
    ) -> Result<Option<T>, Error> {
        match self {
            Self::Sqlite(connection) => {
                let mut sql = sqlite::prepared(connection, sql)?;
                let mut rows = sql
                    .query(rusqlite::params_from_iter(values))
                    .map_err(sqlite::bounded)?;
                match rows.next().map_err(sqlite::bounded)? {
                    Some(row) => read(&Row::Sqlite(row)).map(Some),
                    None => Ok(None),
                }
            }
            Self::Postgres(session) => match session.query(sql, values)?.first() {
                Some(row) => read(&Row::Postgres(row)).map(Some),
                None => Ok(None),
            },
        }
    }

    /// The row that there must be.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn one<T>(
        &self,
        sql: &str,
        values: &[Value<'_>],
        read: impl FnOnce(&Row<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.find(sql, values, read)?
            .ok_or_else(|| Error::Database(format!("no row came of: {sql}")))
    }

    /// Every row.
    pub(crate) fn all<T>(
        &self,
        sql: &str,
        values: &[Value<'_>],
        mut read: impl FnMut(&Row<'_>) -> Result<T, Error>,
    ) -> Result<Vec<T>, Error> {
        let mut all = Vec::new();
        self.each(sql, values, |row| {
            all.push(read(row)?);
            Ok(())
        })?;
        Ok(all)
    }

    /// Every row for each of these sets of values: in one way to the database for all sets, where it is on another machine.
    pub(crate) fn all_for<T>(
        &self,
        sql: &str,
        sets: &[Vec<Value<'_>>],
        mut read: impl FnMut(&Row<'_>) -> Result<T, Error>,
    ) -> Result<Vec<Vec<T>>, Error> {
        match self {
            Self::Sqlite(_) => sets
                .iter()
                .map(|values| self.all(sql, values, &mut read))
                .collect(),
            Self::Postgres(session) => {
                let answers = session.query_for(sql, sets)?;
                let mut read = |row| read(&Row::Postgres(row));
                answers
                    .iter()
                    .map(|rows| rows.iter().map(&mut read).collect())
                    .collect()
            }
        }
    }

    /// Looks at every row, one at a time.
    pub(crate) fn each(
        &self,
        sql: &str,
        values: &[Value<'_>],
        mut look: impl FnMut(&Row<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        match self {
            Self::Sqlite(connection) => {
                let mut sql = sqlite::prepared(connection, sql)?;
                let mut rows = sql
                    .query(rusqlite::params_from_iter(values))
                    .map_err(sqlite::bounded)?;
                while let Some(row) = rows.next().map_err(sqlite::bounded)? {
                    look(&Row::Sqlite(row))?;
                }
                Ok(())
            }
            Self::Postgres(session) => {
                for row in &session.query(sql, values)? {
                    look(&Row::Postgres(row))?;
                }
                Ok(())
            }
        }
    }

    /// Looks at rows until it has seen enough, reading some `step` of them at a time: for lists whose end is far.
    pub(crate) fn until(
        &self,
        sql: &str,
        values: &[Value<'_>],
        step: u64,
        mut look: impl FnMut(&Row<'_>) -> Result<ControlFlow<()>, Error>,
    ) -> Result<(), Error> {
        let places = (values.len() + 1, values.len() + 2);
        let sql = format!("{sql} LIMIT ?{} OFFSET ?{}", places.0, places.1);
        let step = i64::try_from(step).unwrap_or(i64::MAX);
        let mut values = values.to_vec();
        values.extend([Value::Integer(step), Value::Integer(0)]);
        loop {
            let (mut seen, mut has_enough) = (0, false);
            self.each(&sql, &values, |row| {
                seen += 1;
                has_enough = has_enough || look(row)?.is_break();
                Ok(())
            })?;
            if has_enough || seen < step {
                return Ok(());
            }
            if let Some(Value::Integer(offset)) = values.last_mut() {
                *offset += seen;
            }
        }
    }
}

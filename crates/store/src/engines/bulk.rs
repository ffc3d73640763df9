//! Statements for many rows at once.
//!
//! Each is written as for one row. SQLite prepares it once and steps through the rows; PostgreSQL
//! runs it once, over arrays. Guarantee: the rows of a question are found by the index that its
//! condition names, whatever PostgreSQL knows of the tables: each set of values is looked up alone.

use std::fmt::Write;

use tokio_postgres::types::ToSql;

use super::{
    db::{Db, Row, Value},
    postgres::session::{Session, database},
};
use crate::{Error, engines::sqlite};

/// The type of one value of each row.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Type {
    /// A number.
    Integer,
    /// Yes or no.
    Boolean,
    /// Text.
    Text,
    /// Bytes.
    Blob,
}

/// The fate of a row when another one with the same key is put behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Merge {
    /// Both stay.
    Keep,
    /// The later one stays. The key is the first so many values.
    Last(usize),
    /// One stays, with the sum of their second values. The key is the first value.
    Sum,
}

/// A change that is made for many rows at once.
pub(crate) struct Bulk {
    /// When it is run: of the changes that wait, the lowest first.
    pub(crate) order: u8,
    /// The statement for one row: `INSERT INTO .. (..) VALUES (..)`, `UPDATE .. SET .. WHERE ..` or
    /// `DELETE FROM .. WHERE ..`. Other rows are named by `excluded`.
    pub(crate) sql: &'static str,
    /// The types of its values.
    pub(crate) types: &'static [Type],
    /// How rows with the same key become one.
    pub(crate) merge: Merge,
}

/// A question that is put for many sets of values at once.
pub(crate) struct Question<'a> {
    /// The statement for one set.
    pub(crate) sql: &'static str,
    /// The types of its values.
    pub(crate) types: &'static [Type],
    /// The values.
    pub(crate) sets: Vec<Vec<Value<'a>>>,
}

/// Answers to questions.
pub(crate) enum Answers<'a> {
    /// They are looked for when they are read: nothing is nearer.
    Sqlite(&'a rusqlite::Connection),
    /// They came in one way from the server.
    Postgres(Vec<Vec<tokio_postgres::Row>>),
}

impl Type {
    const fn word(self) -> &'static str {
        match self {
            Self::Integer => "BIGINT",
            Self::Boolean => "BOOLEAN",
            Self::Text => "TEXT",
            Self::Blob => "BYTEA",
        }
    }
}

impl Db<'_> {
    /// Makes a change for all rows.
    pub(super) fn bulk(&self, bulk: &Bulk, rows: Vec<Vec<Value<'static>>>) -> Result<(), Error> {
        match self {
            Self::Sqlite(connection) => {
                let mut sql = sqlite::prepared(connection, bulk.sql)?;
                for row in &rows {
                    sql.execute(rusqlite::params_from_iter(row))
                        .map_err(sqlite::bounded)?;
                }
                Ok(())
            }
            Self::Postgres(session) => {
                let mut columns = vec![Vec::with_capacity(rows.len()); bulk.types.len()];
                for row in rows {
                    for (column, value) in columns.iter_mut().zip(row) {
                        column.push(value);
                    }
                }
                session.send_lists(&changes(bulk.sql, bulk.types), columns)
            }
        }
    }

    /// Puts questions, in one way to the database where it is on another machine.
    pub(crate) fn ask(&self, questions: &[Question<'_>]) -> Result<Answers<'_>, Error> {
        match self {
            Self::Sqlite(connection) => Ok(Answers::Sqlite(connection)),
            Self::Postgres(session) => asked(session, questions).map(Answers::Postgres),
        }
    }
}

fn asked(
    session: &Session,
    questions: &[Question<'_>],
) -> Result<Vec<Vec<tokio_postgres::Row>>, Error> {
    let mut put = Vec::new();
    for question in questions.iter().filter(|one| !one.sets.is_empty()) {
        let column = |place| question.sets.iter().map(|set| &set[place]).collect();
        let columns: Vec<Vec<&Value<'_>>> = (0..question.types.len()).map(column).collect();
        put.push((lookups(question.sql, question.types), columns));
    }
    let lists: Vec<Vec<&(dyn ToSql + Sync)>> = put
        .iter()
        .map(|(_, columns)| columns.iter().map(|one| one as _).collect())
        .collect();
    let together: Vec<(&str, &[&(dyn ToSql + Sync)])> = put
        .iter()
        .zip(&lists)
        .map(|((sql, _), lists)| (sql.as_str(), lists.as_slice()))
        .collect();
    let mut found = session.together(&together)?.into_iter();
    let all = questions.iter().map(|one| match one.sets.is_empty() {
        true => Vec::new(),
        false => found.next().unwrap_or_default(),
    });
    Ok(all.collect())
}

impl Answers<'_> {
    /// Reads the rows of the question at `place` of those that were put, with the place of the set
    /// that each is for.
    pub(crate) fn each(
        &self,
        questions: &[Question<'_>],
        place: usize,
        mut read: impl FnMut(usize, &Row<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        match self {
            Self::Sqlite(connection) => {
                let question = &questions[place];
                let mut sql = sqlite::prepared(connection, question.sql)?;
                for (set, values) in question.sets.iter().enumerate() {
                    let mut rows = sql
                        .query(rusqlite::params_from_iter(values))
                        .map_err(sqlite::bounded)?;
                    while let Some(row) = rows.next().map_err(sqlite::bounded)? {
                        read(set, &Row::Sqlite(row))?;
                    }
                }
                Ok(())
            }
            Self::Postgres(all) => {
                for row in &all[place] {
                    let set: i64 = row
                        .try_get(row.len().saturating_sub(1))
                        .map_err(|why| database(&why))?;
                    let set = usize::try_from(set - 1).unwrap_or_default();
                    read(set, &Row::Postgres(row))?;
                }
                Ok(())
            }
        }
    }

    /// The rows of the question at `place` of those that were put, for each of its sets.
    pub(crate) fn of_each<T>(
        &self,
        questions: &[Question<'_>],
        place: usize,
        mut read: impl FnMut(&Row<'_>) -> Result<T, Error>,
    ) -> Result<Vec<Vec<T>>, Error> {
        let mut found: Vec<Vec<T>> = questions[place].sets.iter().map(|_| Vec::new()).collect();
        self.each(questions, place, |set, row| {
            found[set].push(read(row)?);
            Ok(())
        })?;
        Ok(found)
    }
}

/// `UNNEST (..) AS one (c1, c2, ..)`: a row for each set of values.
fn rows_of(types: &[Type], numbered: bool) -> String {
    let (mut lists, mut names) = (String::new(), String::new());
    for (place, of) in types.iter().enumerate() {
        let (comma, number) = (if place == 0 { "" } else { ", " }, place + 1);
        let _ = write!(lists, "{comma}?{number}::{}[]", of.word());
        let _ = write!(names, "{comma}c{number}");
    }
    if numbered {
        format!("UNNEST ({lists}) WITH ORDINALITY AS one ({names}, n)")
    } else {
        format!("UNNEST ({lists}) AS one ({names})")
    }
}

/// `one.c2` for `?2`.
fn named(sql: &str) -> String {
    sql.replace('?', "one.c")
}

/// A change of one row as one of many, in PostgreSQL's words.
fn changes(sql: &str, types: &[Type]) -> String {
    let rows = rows_of(types, false);
    if let Some((into, rest)) = sql.split_once(" VALUES (") {
        let (values, rest) = rest.split_once(')').unwrap_or((rest, ""));
        return format!("{into} SELECT {} FROM {rows}{rest}", named(values));
    }
    let (what, condition) = sql.rsplit_once(" WHERE ").unwrap_or((sql, "TRUE"));
    let from = if what.starts_with("DELETE") {
        "USING"
    } else {
        "FROM"
    };
    format!("{} {from} {rows} WHERE {}", named(what), named(condition))
}

/// A look-up as many, in PostgreSQL's words. `OFFSET 0` keeps each a look-up of its own: else they
/// become one join, which goes over the whole table where there are no statistics.
fn lookups(sql: &str, types: &[Type]) -> String {
    format!(
        "SELECT found.*, one.n FROM {}, LATERAL ({} OFFSET 0) AS found",
        rows_of(types, true),
        named(sql)
    )
}

#[cfg(test)]
mod tests {
    use super::{Type::*, *};

    #[test]
    fn one_row_is_told_as_many() {
        let check = |sql: &str, types: &[Type], expected: &str| {
            assert_eq!(changes(sql, types), expected);
        };
        check(
            "INSERT INTO a (b, c) VALUES (?1, ?2) ON CONFLICT (b) DO UPDATE SET c = excluded.c",
            &[Integer, Text],
            "INSERT INTO a (b, c) SELECT one.c1, one.c2 FROM UNNEST (?1::BIGINT[], ?2::TEXT[]) AS one (c1, c2) ON CONFLICT (b) DO UPDATE SET c = excluded.c",
        );
        check(
            "UPDATE a SET b = ?2 WHERE c = ?1",
            &[Blob, Boolean],
            "UPDATE a SET b = one.c2 FROM UNNEST (?1::BYTEA[], ?2::BOOLEAN[]) AS one (c1, c2) WHERE c = one.c1",
        );
        check(
            "DELETE FROM a WHERE b = ?1",
            &[Integer],
            "DELETE FROM a USING UNNEST (?1::BIGINT[]) AS one (c1) WHERE b = one.c1",
        );
        assert_eq!(
            lookups("SELECT b FROM a WHERE c = ?1", &[Text]),
            "SELECT found.*, one.n FROM UNNEST (?1::TEXT[]) WITH ORDINALITY AS one (c1, n), LATERAL (SELECT b FROM a WHERE c = one.c1 OFFSET 0) AS found"
        );
        assert_eq!(
            lookups("SELECT b FROM a WHERE c = ?1 LIMIT ?2", &[Text, Integer]),
            "SELECT found.*, one.n FROM UNNEST (?1::TEXT[], ?2::BIGINT[]) WITH ORDINALITY AS one (c1, c2, n), LATERAL (SELECT b FROM a WHERE c = one.c1 LIMIT one.c2 OFFSET 0) AS found"
        );
    }
}

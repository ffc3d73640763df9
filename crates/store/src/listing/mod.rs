//! How lists are read: pages, conditions, and what a caller may see.
//!
//! Guarantee: a list names only rows of integrations that its caller may see.

pub(crate) mod scopes;

use model::{IntegrationId, Scope};
use serde_json::Value;

use crate::{
    Error,
    engines::db::{Db, Value as Sql, values},
};

/// A page of a list.
pub struct Page<T> {
    /// The rows.
    pub rows: Vec<T>,
    /// How many there are in all, if the list was read by offset.
    pub total: Option<u64>,
    /// False when counting was broken off: there are `total` at least.
    pub total_is_exact: bool,
    /// Whether more follow.
    pub has_more: bool,
}

/// The conditions of a statement, and their values.
#[derive(Default)]
pub(crate) struct Conditions {
    holds: Vec<String>,
    pub(crate) values: Vec<Sql<'static>>,
}

impl Conditions {
    /// None yet, behind values that the statement has already.
    pub(crate) const fn behind(values: Vec<Sql<'static>>) -> Self {
        Self {
            holds: Vec::new(),
            values,
        }
    }

    /// Adds a condition that has no value.
    pub(crate) fn hold(&mut self, condition: &str) {
        self.holds.push(condition.to_owned());
    }

    /// Adds a condition; the question mark in it stands for `value`.
    pub(crate) fn add(&mut self, condition: &str, value: impl Into<Sql<'static>>) {
        self.values.push(value.into());
        let place = format!("?{}", self.values.len());
        self.holds.push(condition.replace('?', &place));
    }

    /// Adds that the row is of an integration that was asked for and may be seen. `false` when there can be none.
    pub(crate) fn integration(
        &mut self,
        db: &Db<'_>,
        column: &str,
        scope: &Scope,
        asked: Option<IntegrationId>,
    ) -> Result<bool, Error> {
        let asked = asked.map(|id| vec![id]);
        let Some(seen) = seen(scope, asked.as_deref()) else {
            return Ok(true);
        };
        let mut places = Vec::new();
        for id in seen {
            if let Some(lane) = lane(db, id)? {
                self.values.push(Sql::Integer(lane));
                places.push(format!("?{}", self.values.len()));
            }
        }
        self.holds
            .push(format!("{column} IN ({})", places.join(", ")));
        Ok(!places.is_empty())
    }

    pub(crate) fn page(&mut self, offset: u64, limit: u64) -> String {
        let mut number = |count: u64| {
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            self.values.push(Sql::Integer(count));
            self.values.len()
        };
        let (limit, offset) = (number(limit), number(offset));
        format!("LIMIT ?{limit} OFFSET ?{offset}")
    }

    pub(crate) fn all(&self) -> String {
        if self.holds.is_empty() {
            "TRUE".to_owned()
        } else {
            self.holds.join(" AND ")
        }
    }
}

/// The integrations the caller is limited to, as a JSON array; `None` when it sees all.
pub(crate) fn limited_to(scope: &Scope) -> Option<String> {
    scope
        .integrations()
        .map(|ids| Value::from_iter(ids.iter().map(ToString::to_string)).to_string())
}

/// The integrations to look in: those asked for that the caller may see; `None` for all there are.
pub(crate) fn seen(scope: &Scope, asked: Option<&[IntegrationId]>) -> Option<Vec<IntegrationId>> {
    match (scope.integrations(), asked) {
        (None, None) => None,
        (Some(own), None) => Some(own.to_vec()),
        (_, Some(asked)) => Some(asked.iter().copied().filter(|id| scope.sees(*id)).collect()),
    }
}

/// The error about an integration that must be there and is not.
pub(crate) fn no_integration(id: IntegrationId) -> Error {
    Error::Database(format!("there is no integration {id}"))
}

pub(crate) fn lane(db: &Db<'_>, id: IntegrationId) -> Result<Option<i64>, Error> {
    db.find(
        "SELECT n FROM integrations WHERE id = ?1",
        values![id.to_string()],
        |row| row.get(0),
    )
}

/// The first place of a table that is in the order of `column` whose value there is not below `least`; the last place when there is none. Found by
/// halving, since these tables have no index by time: every accept would pay for one.
pub(crate) fn first_at(
    db: &Db<'_>,
    table: &'static str,
    column: &'static str,
    least: i64,
) -> Result<i64, Error> {
    let (mut low, mut high): (i64, i64) = db.one(
        // One by one: SQLite finds the least and the greatest by the index, but not both together.
        &format!(
            "SELECT coalesce((SELECT min(seq) FROM {table}), 0), coalesce((SELECT max(seq) FROM {table}), 0)"
        ),
        &[],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    while low < high {
        let middle = low + (high - low) / 2;
        let at: Option<(i64, i64)> = db.find(
            &format!("SELECT seq, {column} FROM {table} WHERE seq >= ?1 ORDER BY seq LIMIT 1"),
            values![middle],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        match at {
            Some((seq, at)) if at < least => low = seq + 1,
            _ => high = middle,
        }
    }
    Ok(low)
}

/// How many rows there are at least, when `found` were met behind so many.
pub(crate) const fn least(offset: u64, found: u64) -> u64 {
    if found == 0 {
        0
    } else {
        offset.saturating_add(found)
    }
}

/// A count, and whether it is exact: when counting was broken off, there are `least` at least. It
/// is the last that a read does, since the time for more is over then.
pub(crate) fn counted_within(
    count: Result<u64, Error>,
    least: u64,
) -> Result<(Option<u64>, bool), Error> {
    match count {
        Ok(total) => Ok((Some(total), true)),
        Err(Error::ReadTooLong) => Ok((Some(least), false)),
        Err(why) => Err(why),
    }
}

//! The integrations that a key or a subscription is limited to, as the column `scope` has them.
//!
//! Guarantee: the same integrations give the same text. An id has no blank and none is the
//! beginning of another.

use std::collections::{BTreeMap, HashSet};

use model::{IntegrationId, Scope};
use serde_json::Value;

use crate::{
    Error, Page,
    engines::db::{Bind, Db, Value as Bound, limited, values},
};

/// Characters of a scope that the indexes have.
const INDEXED: usize = 200;

/// The ids, sorted, with a blank between two; empty without a limit.
pub(crate) fn scope_of(integrations: Option<&[IntegrationId]>) -> String {
    let ids = integrations.unwrap_or_default().iter();
    let mut ids: Vec<String> = ids.map(ToString::to_string).collect();
    ids.sort_unstable();
    ids.join(" ")
}

/// The integrations of a caller as the value of [`within`]; `None` for one that sees all.
pub(crate) fn own(scope: &Scope) -> Option<String> {
    let ids = scope.integrations()?.iter();
    Some(Value::from_iter(ids.map(ToString::to_string)).to_string())
}

/// The condition that a row of `table`, named by its column `name`, is limited to some of the
/// integrations that ?1 lists. Read along the index: the first id of such a row is one of them.
pub(crate) fn within(table: &str, name: &str) -> String {
    let begins = format!("substr(one.scope, 1, {INDEXED})");
    format!(
        r#"CAST(?1 AS TEXT) IS NOT NULL AND {name} IN (SELECT name FROM (
             SELECT one.{name} AS name, '["' || replace(one.scope, ' ', '","') || '"]' AS ids
             FROM json_each(?1) CROSS JOIN {table} one
             ON {begins} >= value AND {begins} < value || '!') AS candidates
           WHERE NOT EXISTS (SELECT 1 FROM json_each(candidates.ids)
             WHERE value NOT IN (SELECT value FROM json_each(?1))))"#
    )
}

/// A page of the rows of `table` that `scope` may know of and that are `held`, in an order. Each
/// is named by its column `name`. `read` is given the condition, the order and the limit, and their values.
pub(crate) fn page<T>(
    db: &Db<'_>,
    scope: &Scope,
    (table, name, held, order): (&str, &str, &str, &str),
    (offset, limit): (u64, u64),
    read: impl FnOnce(&str, &[Bound<'_>]) -> Result<Vec<T>, Error>,
) -> Result<Page<T>, Error> {
    let own = own(scope);
    let seen = match own {
        Some(_) => within(table, name),
        None => "TRUE".to_owned(),
    };
    let which = format!("{held} AND {seen}");
    let counted: Vec<_> = own.iter().map(Bind::bind).collect();
    let total: i64 = db.one(
        &format!("SELECT count(*) FROM {table} WHERE {which}"),
        &counted,
        |row| row.get(0),
    )?;
    let total = total.unsigned_abs();
    let (rows, values) = limited(counted, offset, limit);
    Ok(Page {
        rows: read(&format!("{which} ORDER BY {order} {rows}"), &values)?,
        has_more: offset.saturating_add(limit) < total,
        total: Some(total),
        total_is_exact: true,
    })
}

/// The parts of `table` that have rows of one scope, or of scopes that begin the same: a step along
/// the index for each.
fn prefixes(table: &str) -> String {
    let prefix = format!("substr(scope, 1, {INDEXED})");
    format!(
        "WITH RECURSIVE each_one (prefix) AS (SELECT min({prefix}) FROM {table} UNION ALL
           SELECT (SELECT min({prefix}) FROM {table} WHERE {prefix} > each_one.prefix)
           FROM each_one WHERE each_one.prefix IS NOT NULL)
         SELECT prefix FROM each_one WHERE prefix IS NOT NULL"
    )
}

/// The rows of some parts of `table` by scope: all of them, and those for which `holds`, which may
/// use ?2.
fn counted(table: &str, holds: &str) -> String {
    format!(
        "SELECT scope, count(*), count(CASE WHEN {holds} AND CAST(?2 AS BIGINT) >= 0 THEN 1 END) FROM {table}
         WHERE CAST(?1 AS TEXT) IS NOT NULL
           AND substr(scope, 1, {INDEXED}) IN (SELECT value FROM json_each(?1)) GROUP BY scope"
    )
}

/// How many rows of `table` there are for the one of `integrations` that has most, each row counted
/// for every integration that it is limited to: all of them, and those for which `holds` at `now`.
/// Without integrations: of the rows that have no limit.
pub(crate) fn most(
    db: &Db<'_>,
    (table, holds): (&str, &str),
    integrations: Option<&[IntegrationId]>,
    now: i64,
) -> Result<(i64, i64), Error> {
    let scope = scope_of(integrations);
    let own: HashSet<&str> = scope.split(' ').collect();
    let is_of_own = |scope: &str| scope.split(' ').any(|id| own.contains(id));
    let mut parts: Vec<String> = db.all(&prefixes(table), &[], |row| row.get(0))?;
    // Of a scope that is cut off, the rest may have one too.
    parts.retain(|prefix| prefix.len() >= INDEXED || is_of_own(prefix));
    let parts = Value::from(parts).to_string();
    let rows: Vec<(String, i64, i64)> =
        db.all(&counted(table, holds), values![parts, now], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })?;
    let mut of_each: BTreeMap<&str, (i64, i64)> = BTreeMap::new();
    for (scope, all, holding) in &rows {
        for id in scope.split(' ').filter(|id| own.contains(id)) {
            let count = of_each.entry(id).or_default();
            *count = (count.0 + all, count.1 + holding);
        }
    }
    let all = of_each.values().map(|(all, _)| *all).max();
    let holding = of_each.values().map(|(_, holding)| *holding).max();
    Ok((all.unwrap_or_default(), holding.unwrap_or_default()))
}

/// How many rows of `table` there are: those that are limited to integrations, and all.
pub(crate) fn limited_and_all(db: &Db<'_>, table: &str) -> Result<(i64, i64), Error> {
    let limited = format!("SELECT count(*) FROM {table} WHERE substr(scope, 1, {INDEXED}) > ''");
    let all = format!("SELECT count(*) FROM {table}");
    let count = |sql: &str| db.one(sql, &[], |row| row.get(0));
    Ok((count(&limited)?, count(&all)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subscriptions::deliveries::tests::assert_plan;

    /// A caller that sees a few integrations reads no key of the others.
    #[test]
    fn what_a_caller_may_know_of_is_found_by_its_index() {
        for (table, name) in [("keys", "id"), ("webhooks", "n")] {
            let sql = format!("SELECT count(*) FROM {table} WHERE {}", within(table, name));
            let along = format!("SEARCH one USING INDEX {table}_scope (<expr>>? AND <expr><?)");
            assert_plan(&sql, &[&along], &["SCAN json_each"]);
        }
    }
    #[test]
    fn rows_of_a_scope_are_counted_by_an_index() {
        for table in ["keys", "webhooks"] {
            let next = format!("SEARCH {table} USING COVERING INDEX {table}_scope (<expr>>?)");
            assert_plan(&prefixes(table), &[&next], &["SCAN each_one"]);
            let equal = format!("SEARCH {table} USING INDEX {table}_scope (<expr>=?)");
            assert_plan(&counted(table, "TRUE"), &[&equal], &["SCAN json_each"]);
        }
    }
}

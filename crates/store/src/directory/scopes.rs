//! The integrations that a key or a subscription is limited to, as the column `scope` has them.
//!
//! Guarantee: the same integrations give the same text. An id has no blank and none is the
//! beginning of another.

use model::{IntegrationId, Scope};
use serde_json::Value;

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
        r#"{name} IN (SELECT name FROM (
             SELECT one.{name} AS name, '["' || replace(one.scope, ' ', '","') || '"]' AS ids
             FROM json_each(?1) CROSS JOIN {table} one
             ON {begins} >= value AND {begins} < value || '!') AS candidates
           WHERE NOT EXISTS (SELECT 1 FROM json_each(candidates.ids)
             WHERE value NOT IN (SELECT value FROM json_each(?1))))"#
    )
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
}

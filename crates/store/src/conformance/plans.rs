//! The plans of all statements that the suite runs.
//!
//! Goal: no statement walks a table that grows, whatever the database knows of its tables. Method:
//! all cases are run, and each statement that they ran is planned anew: on a new database, on one
//! whose tables were just filled, and on one whose rows were counted. PostgreSQL is asked for the
//! plan that it makes without knowing the values.

use super::{Backend, Verdicts, World};
use crate::{
    Error, Store,
    engines::{
        Transaction,
        db::{Db, Value},
        statements,
    },
};

/// The tables that grow.
const GROWING: [&str; 16] = [
    "writes",
    "queue",
    "queue_order",
    "records",
    "record_terms",
    "record_counts",
    "attempts",
    "idempotency",
    "diffs",
    "jobs",
    "consents",
    "erasures",
    "events",
    "deliveries",
    "delivery_attempts",
    "audit",
];

/// Indexes of the few rows of a table that are in a state.
const FEW: [&str; 5] = [
    "jobs_open",
    "queue_leased",
    "queue_ready",
    "deliveries_open",
    "writes_failed",
];

/// Statements, by how they begin, that may walk a table, and why.
const MAY_WALK: [(&str, &str); 5] = [
    (
        "SELECT count(*)",
        "a count of a list: its reader's time bounds it",
    ),
    (
        "SELECT open, ",
        "the depth of the deliveries: those that are open are few",
    ),
    (
        "DELETE FROM record_",
        "terms are made anew once, by a version that makes others",
    ),
    (
        "SELECT seq, order_keys FROM queue",
        "SQLite's order of the queue, made at the start",
    ),
    (
        "INSERT INTO integrations",
        "SQLite would look for rows of a number that changes; none does",
    ),
];

/// A line of a plan, and how deep it stands.
type Line = (usize, String);

/// How a database would run a statement.
struct Plan {
    /// The state of the database.
    state: &'static str,
    /// The statement, in the words of its database.
    sql: String,
    lines: Vec<Line>,
}

/// Asserts that no statement so far walks a table that grows.
pub async fn no_statement_walks<B: Backend>(backend: B) -> Verdicts {
    let world = World::new(backend).await?;
    let known = statements::seen();
    let mut plans = Vec::new();
    planned(&world.store, &known, "new", &mut plans).await?;
    // SQLite has no statistics: its plans follow from the statements alone.
    if world.store.is_shared() {
        for insert in ROWS {
            let sql = format!("WITH RECURSIVE many (i) AS ({MANY}) {insert}");
            run(&world.store, sql).await?;
        }
        planned(&world.store, &known, "filled", &mut plans).await?;
        run(&world.store, "ANALYZE".to_owned()).await?;
        planned(&world.store, &known, "counted", &mut plans).await?;
    }
    assert!(
        plans.len() > 300,
        "{} plans: the cases were not run",
        plans.len()
    );
    let walks = plans.iter().filter(|plan| !plan.may_walk());
    let walks = walks.filter_map(|plan| {
        let (state, line, sql) = (plan.state, &plan.lines[plan.walk()?].1, &plan.sql);
        Some(format!("{state}: {line}: {sql}"))
    });
    let walks: Vec<String> = walks.collect();
    assert!(walks.is_empty(), "{}", walks.join("\n"));
    Ok(())
}

impl Plan {
    fn may_walk(&self) -> bool {
        MAY_WALK
            .iter()
            .any(|(begin, _)| self.sql.starts_with(begin))
    }

    /// The line that walks a table, if one does.
    fn walk(&self) -> Option<usize> {
        (0..self.lines.len()).find(|at| self.is_walk(*at))
    }

    fn is_walk(&self, at: usize) -> bool {
        let line = &self.lines[at].1;
        if let Some(scanned) = line.strip_prefix("SCAN ") {
            let name = scanned.split_whitespace().next().unwrap_or_default();
            return self.grows(name) && !is_few(line) && !self.sql.contains(" LIMIT ");
        }
        let Some((how, on)) = line.split_once(" on ") else {
            return false;
        };
        let table = on.split_whitespace().next().unwrap_or_default();
        if !GROWING.contains(&table) {
            return false;
        }
        let has_condition = self.lines[at + 1..]
            .iter()
            .take_while(|(depth, _)| *depth > self.lines[at].0)
            .any(|(_, line)| line.starts_with("Index Cond"));
        how.contains("Seq Scan")
            || (how.contains("Index") && !has_condition && !is_few(how) && !self.is_limited(at))
    }

    /// True if a table that grows goes by this name in the statement.
    fn grows(&self, name: &str) -> bool {
        let words: Vec<&str> = self.sql.split([' ', '\n', '(', ')', ',']).collect();
        GROWING.contains(&name)
            || words
                .windows(2)
                .any(|pair| pair[1] == name && GROWING.contains(&pair[0]))
    }

    /// True if the rows that a line brings are taken in order until there are enough.
    fn is_limited(&self, at: usize) -> bool {
        let mut depth = self.lines[at].0;
        for (above, line) in self.lines[..at].iter().rev() {
            if *above < depth {
                depth = *above;
                if line.starts_with("Limit") {
                    return true;
                }
                if line.starts_with("Sort") || line.starts_with("Aggregate") {
                    return false;
                }
            }
        }
        false
    }
}

fn is_few(line: &str) -> bool {
    FEW.iter().any(|index| line.contains(index))
}

async fn run(store: &Store, sql: String) -> Result<(), Error> {
    let run = store
        .engine
        .write(move |tx| tx.execute(&sql, &[]).map(drop));
    run.await
}

async fn planned(
    store: &Store,
    known: &[String],
    state: &'static str,
    plans: &mut Vec<Plan>,
) -> Result<(), Error> {
    for sql in known.iter().filter(|sql| has_plan(sql)) {
        let asked = sql.clone();
        let explained = store.engine.write(move |tx| explained(tx, &asked)).await?;
        let line = |line: &String| {
            let text = line.trim_start().trim_start_matches("->").trim_start();
            (line.len() - text.len(), text.to_owned())
        };
        plans.push(Plan {
            state,
            sql: sql.clone(),
            lines: explained.iter().map(line).collect(),
        });
    }
    Ok(())
}

/// Numbers of rows, behind those that there are.
const MANY: &str = "SELECT 1000000 UNION ALL SELECT i + 1 FROM many WHERE i < 1020000";

/// A row for each of [`MANY`] in each table that grows.
const ROWS: [&str; 15] = [
    "INSERT INTO writes (seq, job_id, lane, community_id, operation, accepted_at, result, request, status, attempts, completed_at, record_id)
     SELECT i, 'job_' || i, 1, 'com_1', 'prospect_create', i, '{}', '{}', 'SUCCESS', 1, i, 'pro_' || i FROM many",
    "INSERT INTO queue (seq, lane, state, due_at, order_keys) SELECT i, 1, 1, i, '' FROM many",
    "INSERT INTO queue_order (order_key, seq) SELECT i, i FROM many",
    "INSERT INTO records (seq, id, kind, lane, x_id, body, created_at, updated_at, last_seen)
     SELECT i, 'pro_' || i, CASE i % 4 WHEN 0 THEN 'prospect' WHEN 1 THEN 'event' WHEN 2 THEN 'listing' ELSE 'appointment' END, 1 + i % 2, 'x' || i, '{}', i, i, i FROM many",
    "INSERT INTO record_terms (term, seq) SELECT i, i FROM many",
    "INSERT INTO record_counts (term, n) SELECT i, 1 FROM many",
    "INSERT INTO attempts (seq, number, body) SELECT i, 1, '{}' FROM many",
    "INSERT INTO idempotency (key_hash, fingerprint, job_id, expires_at)
     SELECT CAST('k' || i AS BYTEA), CAST('k' || i AS BYTEA), 'job_' || i, i FROM many",
    "INSERT INTO diffs (seq, at, lane, kind, record_id, job_id, diff)
     SELECT i, i, 1, 'prospect', 'pro_' || i, 'job_' || i, '{}' FROM many",
    "INSERT INTO jobs (job_id, lane, status, started_at, ended_at, body)
     SELECT 'syn_' || i, 1, 'SUCCESS', i, i, '{}' FROM many",
    "INSERT INTO consents (seq, at, value, is_stated, request_id) SELECT i, i, TRUE, TRUE, 'req_1' FROM many",
    "INSERT INTO erasures (record_id, at, body) SELECT 'pro_' || i, i, '{}' FROM many",
    "INSERT INTO events (seq, id, at, lane, trigger, subject) SELECT i, 'evt_' || i, i, 1, 'DATA_NEW', 'pro_' || i FROM many",
    "INSERT INTO deliveries (webhook, event, state, due_at) SELECT 1, i, 3, i FROM many",
    "INSERT INTO delivery_attempts (webhook, event, number, body) SELECT 1, i, 1, '{}' FROM many",
];

fn has_plan(sql: &str) -> bool {
    let first = sql.split_whitespace().next().unwrap_or_default();
    ["SELECT", "INSERT", "UPDATE", "DELETE", "WITH"].contains(&first)
}

/// How many values a statement has.
fn values_count(sql: &str) -> usize {
    let marks = sql.match_indices(['?', '$']).filter_map(|(at, _)| {
        let digits = sql[at + 1..].split(|one: char| !one.is_ascii_digit());
        digits.into_iter().next()?.parse().ok()
    });
    marks.max().unwrap_or(0)
}

fn explained(tx: &Transaction<'_>, sql: &str) -> Result<Vec<String>, Error> {
    let count = values_count(sql);
    match **tx {
        Db::Sqlite(_) => tx.all(
            &format!("EXPLAIN QUERY PLAN {sql}"),
            &vec![Value::Null; count],
            |row| row.get(3),
        ),
        Db::Postgres(session) => {
            session.run("SET LOCAL plan_cache_mode = force_generic_plan")?;
            session.run(&format!("PREPARE explained AS {sql}"))?;
            let nulls = match count {
                0 => String::new(),
                count => format!("({})", vec!["NULL"; count].join(", ")),
            };
            let steps = tx.all(&format!("EXPLAIN EXECUTE explained{nulls}"), &[], |row| {
                row.get(0)
            })?;
            session.run("DEALLOCATE explained")?;
            Ok(steps)
        }
    }
}

//! Brings a database's schema up to date.
//!
//! Guarantee: all steps in one transaction, or none.

use model::Timestamp;
use rusqlite::{Connection, TransactionBehavior, params};

use super::database;
use crate::{
    Error,
    migrations::{self, Applied, Migration},
};

/// The step since which removed rows are overwritten.
const OVERWRITES_SINCE: &str = "privacy";

/// What was done.
pub(crate) struct Done {
    /// The steps that were applied.
    pub(crate) steps: &'static [Migration],
    /// Whether the database may hold what was removed before that was overwritten.
    pub(crate) holds_removed: bool,
}

/// Applies what is missing. Nobody waits, and nobody is waited for, where nothing is.
pub(crate) fn migrate(connection: &mut Connection, now: Timestamp) -> Result<Done, Error> {
    let has_steps = connection
        .table_exists(None, "migrations")
        .map_err(database)?;
    if has_steps
        && migrations::pending(migrations::SQLITE, &applied(connection)?)
            .map_err(Error::Database)?
            .is_empty()
    {
        return Ok(Done {
            steps: &[],
            holds_removed: false,
        });
    }
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(database)?;
    transaction
        .execute_batch(
            "CREATE TABLE IF NOT EXISTS migrations (number INTEGER PRIMARY KEY, name TEXT NOT NULL, checksum TEXT NOT NULL, applied_at INTEGER NOT NULL)",
        )
        .map_err(database)?;
    let applied = applied(&transaction)?;
    let pending = migrations::pending(migrations::SQLITE, &applied).map_err(Error::Database)?;
    for step in pending {
        transaction.execute_batch(step.sql).map_err(database)?;
        transaction
            .execute(
                "INSERT INTO migrations (number, name, checksum, applied_at) VALUES (?1, ?2, ?3, ?4)",
                params![step.number, step.name, step.checksum(), now.as_micros()],
            )
            .map_err(database)?;
    }
    transaction.commit().map_err(database)?;
    Ok(Done {
        steps: pending,
        holds_removed: !applied.is_empty()
            && pending.iter().any(|step| step.name == OVERWRITES_SINCE),
    })
}

/// The steps that a database has.
pub(crate) fn applied(connection: &Connection) -> Result<Vec<Applied>, Error> {
    connection
        .prepare("SELECT number, checksum FROM migrations ORDER BY number")
        .and_then(|mut rows| {
            rows.query_map([], |row| {
                Ok(Applied {
                    number: row.get(0)?,
                    checksum: row.get(1)?,
                    // One process owns it: none works beside another.
                    needs: None,
                })
            })?
            .collect()
        })
        .map_err(database)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use model::{Entropy, Secret, record::Kind};
    use rusqlite::Connection;

    use super::*;
    use crate::{
        Query, Sealer, Unobserved,
        events::types::EventQuery,
        records::query::Equal,
        sealing::{MasterKey, blob::seal_direct},
    };

    struct Fixed;
    impl Entropy for Fixed {
        fn bytes(&self) -> [u8; 16] {
            [7; 16]
        }
    }

    /// A database as a Portico left it that knew only the first `steps` steps.
    fn of_step(path: &std::path::Path, steps: usize) -> Connection {
        let old = Connection::open(path).unwrap();
        old.execute_batch("CREATE TABLE migrations (number INTEGER PRIMARY KEY, name TEXT NOT NULL, checksum TEXT NOT NULL, applied_at INTEGER NOT NULL)").unwrap();
        for step in &migrations::SQLITE[..steps] {
            old.execute_batch(step.sql).unwrap();
            old.execute(
                "INSERT INTO migrations VALUES (?1, ?2, ?3, 0)",
                params![step.number, step.name, step.checksum()],
            )
            .unwrap();
        }
        old
    }

    #[tokio::test]
    async fn a_store_of_the_first_step_keeps_its_records_and_finds_them_by_their_fields() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("portico.db");
        let sealer = || Sealer::new(&Secret::new("a".repeat(64)), Arc::new(Fixed)).unwrap();
        let integration = model::IntegrationId::new(Timestamp::ZERO, &Fixed).to_string();
        let key = MasterKey::parse(&Secret::new("a".repeat(64))).unwrap();
        let sealed = seal_direct(&key, &Fixed, &integration, "key");
        let old = of_step(&path, 1);
        let body = r#"{"name":"n","system":"SANDBOX","settings":{"base_url":"http://127.0.0.1:1","key_header_name":"x-api-key","max_job_concurrency":1}}"#;
        old.execute(
            "INSERT INTO integrations VALUES (1, ?1, 'KNOCK', 1, ?2, ?3, 0, 0)",
            params![integration, sealed, body],
        )
        .unwrap();
        for n in 0..3 {
            old.execute(
                "INSERT INTO records VALUES (?1, ?2, 'prospect', 1, ?2, ?3, ?1, ?1, ?1)",
                params![
                    n,
                    format!("x{n}"),
                    format!(r#"{{"email_1":"P{n}@example.com"}}"#)
                ],
            )
            .unwrap();
        }
        drop(old);

        let store =
            crate::sqlite::open(&path, sealer(), Arc::new(Unobserved), Timestamp::ZERO).unwrap();
        #[expect(clippy::disallowed_methods, reason = "a test may see everything")]
        let scope = model::Scope::operator();
        let filter = *Kind::Prospect.filter("email_1").unwrap();
        let mut query = Query::new(Kind::Prospect, 10);
        let all = store.records_list(&scope, &query).await.unwrap();
        assert_eq!((all.rows.len(), all.total), (3, Some(3)));
        query.equal.push(Equal {
            filter,
            integration_id: None,
            value: filter.normal("p1@EXAMPLE.com"),
        });
        let one = store.records_list(&scope, &query).await.unwrap();
        assert_eq!((one.rows[0].id.as_str(), one.total), ("x1", Some(1)));
        let credential = || async {
            let contents = store.directory_contents(0).await.unwrap();
            contents.branches[0]
                .integration
                .credential
                .expose()
                .to_owned()
        };
        assert_eq!(store.master_key_current().await.unwrap(), key.id());
        assert_eq!(credential().await, "key");
        assert_eq!(store.secrets_rewrap(10).await.unwrap(), 1, "an old blob");
        assert_eq!(store.secrets_rewrap(10).await.unwrap(), 0);
        assert_eq!(credential().await, "key");
    }

    /// A command beside a busy server: it needs nothing that the server has for itself.
    #[tokio::test]
    async fn a_store_without_steps_to_apply_is_opened_while_another_process_changes_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("portico.db");
        let sealer = || Sealer::new(&Secret::new("a".repeat(64)), Arc::new(Fixed)).unwrap();
        let open = || crate::sqlite::open(&path, sealer(), Arc::new(Unobserved), Timestamp::ZERO);
        open().unwrap().close().await;
        let other = super::super::connect(&path).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        open().unwrap().close().await;
        other.execute_batch("COMMIT").unwrap();
    }

    /// Terms that an earlier rule made are made anew: a number whose digits it changed, and a
    /// domain that it did not compare in ASCII, are found by every spelling.
    #[tokio::test]
    async fn a_store_of_the_seventh_step_finds_its_records_by_every_spelling_of_a_contact() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("portico.db");
        let sealer = || Sealer::new(&Secret::new("a".repeat(64)), Arc::new(Fixed)).unwrap();
        let old = of_step(&path, 8);
        let integration = model::IntegrationId::new(Timestamp::ZERO, &Fixed).to_string();
        let key = MasterKey::parse(&Secret::new("a".repeat(64))).unwrap();
        let sealed = seal_direct(&key, &Fixed, &integration, "key");
        old.execute(
            "INSERT INTO integrations (n, id, vendor, active, credential, body, created_at, updated_at) VALUES (1, ?1, 'KNOCK', 1, ?2, '{}', 0, 0)",
            params![integration, sealed],
        )
        .unwrap();
        let contacts = [
            ("email_1", "ada@b\u{fc}cher.de", "ADA@XN--BCHER-KVA.de"),
            (
                "email_1",
                "ada@example.com?subject=x",
                "Ada@example.com?subject=x",
            ),
            ("phone_1", "+491721547608", "+49 172 1547608"),
            ("phone_1", "+863123456789", "+863123456789"),
            ("phone_1", "+4420", "+4420"),
        ];
        for (n, (member, value, _)) in (1..).zip(contacts) {
            old.execute(
                "INSERT INTO records (seq, id, kind, lane, x_id, body, created_at, updated_at, last_seen) VALUES (?1, 'x' || ?1, 'prospect', 1, ?1, ?2, ?1, ?1, ?1)",
                params![n, format!(r#"{{"{member}":"{value}"}}"#)],
            )
            .unwrap();
        }
        old.execute("UPDATE revisions SET revision = 1 WHERE what = 'terms'", [])
            .unwrap();
        drop(old);
        let store =
            crate::sqlite::open(&path, sealer(), Arc::new(Unobserved), Timestamp::ZERO).unwrap();
        #[expect(clippy::disallowed_methods, reason = "a test may see everything")]
        let scope = model::Scope::operator();
        for (n, (member, _, asked)) in (1..).zip(contacts) {
            let filter = *Kind::Prospect.filter(member).unwrap();
            let mut query = Query::new(Kind::Prospect, 10);
            query.equal.push(Equal {
                filter,
                integration_id: None,
                value: filter.normal(asked),
            });
            let found = store.records_list(&scope, &query).await.unwrap();
            let ids: Vec<&str> = found.rows.iter().map(|row| row.id.as_str()).collect();
            assert_eq!(ids, [format!("x{n}")], "{asked}");
        }
    }

    /// What was in the outbox becomes the log, in its order; and whether an integration was ever synchronised is known.
    #[tokio::test]
    async fn a_store_of_the_fifth_step_keeps_its_events() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("portico.db");
        let mut old = of_step(&path, 5);
        let key = MasterKey::parse(&Secret::new("a".repeat(64))).unwrap();
        let ids = [1, 2, 3].map(|second| {
            model::IntegrationId::new(Timestamp::from_micros(second * 1_000_000), &Fixed)
        });
        for (n, id) in (1..).zip(ids) {
            let sealed = seal_direct(&key, &Fixed, &id.to_string(), "key");
            old.execute(
                "INSERT INTO integrations (n, id, vendor, active, credential, body, created_at, updated_at) VALUES (?1, ?2, 'KNOCK', 1, ?3, '{}', 0, 0)",
                params![n, id.to_string(), sealed],
            )
            .unwrap();
            old.execute("INSERT INTO syncs VALUES (?1, 5)", [n])
                .unwrap();
        }
        let event = |second: i64| {
            model::EventId::new(Timestamp::from_micros(second * 1_000_000), &Fixed).to_string()
        };
        // Gaps in the order, and a clock that was set back between the second and the third.
        for (seq, at, operation, status, trigger) in [
            (
                2,
                10,
                "prospect_create",
                "SUCCESS",
                "WRITE_OPERATION_SUCCESS",
            ),
            (3, 90, "event_create", "SUCCESS", "WRITE_OPERATION_SUCCESS"),
            (
                7,
                40,
                "appointment_create",
                "FAILURE",
                "WRITE_OPERATION_FAILURE",
            ),
            (
                8,
                50,
                "listing_create",
                "PARTIAL_SUCCESS",
                "WRITE_OPERATION_FAILURE",
            ),
            (
                9,
                95,
                "prospect_update",
                "SUCCESS",
                "WRITE_OPERATION_SUCCESS",
            ),
        ] {
            let job = format!("job_{seq}");
            old.execute(
                "INSERT INTO writes (seq, job_id, lane, community_id, operation, accepted_at, result, request, status, errors, completed_at)
                 VALUES (?1, ?2, 1, 'com', ?3, ?1, '', '', ?4, '[\"why\"]', ?1)",
                params![seq, job, operation, status],
            )
            .unwrap();
            old.execute(
                "INSERT INTO events VALUES (?1, ?2, ?3, 1, ?4, ?5)",
                params![seq, event(seq), at, trigger, job],
            )
            .unwrap();
        }
        for (seq, lane, status) in [
            (1, 1, "FAILURE"),
            (2, 1, "PARTIAL_SUCCESS"),
            (3, 2, "FAILURE"),
        ] {
            old.execute(
                "INSERT INTO jobs VALUES (?1, ?2, ?3, ?4, 1, 2, '{}')",
                params![seq, format!("run_{seq}"), lane, status],
            )
            .unwrap();
        }
        assert!(
            !migrate(&mut old, Timestamp::ZERO).unwrap().holds_removed,
            "nothing to be left out"
        );
        let complete: Vec<bool> = old
            .prepare("SELECT was_complete FROM syncs ORDER BY lane")
            .unwrap()
            .query_map([], |row| row.get(0))
            .unwrap()
            .map(Result::unwrap)
            .collect();
        assert_eq!(complete, [true, false, false]);
        drop(old);

        let sealer = Sealer::new(&Secret::new("a".repeat(64)), Arc::new(Fixed)).unwrap();
        let store =
            crate::sqlite::open(&path, sealer, Arc::new(Unobserved), Timestamp::ZERO).unwrap();
        #[expect(clippy::disallowed_methods, reason = "a test may see everything")]
        let scope = model::Scope::operator();
        let query = EventQuery {
            limit: 10,
            ..EventQuery::default()
        };
        let log = store.events_list(&scope, &query).await.unwrap().rows;
        let told: Vec<_> = log
            .iter()
            .map(|one| {
                let job = one.job_type.as_deref().unwrap_or_default();
                (one.seq, one.at.as_micros(), one.kind.map(Kind::word), job)
            })
            .collect();
        assert_eq!(
            told,
            [
                (2, 10, Some("prospect"), "prospect_create"),
                (3, 90, Some("event"), "event_create"),
                (7, 90, Some("appointment"), "appointment_create"),
                (8, 90, Some("listing"), "listing_create"),
                (9, 95, Some("prospect"), "prospect_update"),
            ]
        );
        for one in &log {
            assert_eq!(one.id.to_string(), event(one.seq));
            assert_eq!(one.integration_id, ids[0].to_string());
            let body = serde_json::json!(one.body().unwrap());
            assert_eq!(body["data"]["root_job_id"], format!("job_{}", one.seq));
            assert_eq!(body["data"]["errors"], serde_json::json!(["why"]));
        }
        assert_eq!(
            serde_json::json!(log[2].body().unwrap())["data"]["write_status"],
            "FAILURE"
        );
        let since = EventQuery {
            since: Some(Timestamp::from_micros(90)),
            ..query
        };
        let since = store.events_list(&scope, &since).await.unwrap().rows;
        assert_eq!(since.len(), 4, "times never fall");
        let filter = EventQuery {
            subject: Some("job_8".to_owned()),
            limit: 10,
            ..EventQuery::default()
        };
        assert_eq!(
            store.events_list(&scope, &filter).await.unwrap().rows.len(),
            1
        );
    }

    /// Who made a subscription is read from the audit log; one that has outlived its key goes on.
    #[test]
    fn a_store_of_the_tenth_step_knows_who_made_its_webhooks() {
        let mut old = Connection::open_in_memory().unwrap();
        old.execute_batch("CREATE TABLE migrations (number INTEGER PRIMARY KEY, name TEXT NOT NULL, checksum TEXT NOT NULL, applied_at INTEGER NOT NULL)").unwrap();
        for step in &migrations::SQLITE[..10] {
            old.execute_batch(step.sql).unwrap();
            old.execute(
                "INSERT INTO migrations VALUES (?1, ?2, ?3, 0)",
                params![step.number, step.name, step.checksum()],
            )
            .unwrap();
        }
        for (id, integrations, expires_at, revoked_at) in [
            ("key_all", "null", "null", None),
            (
                "key_two",
                r#"["int_b","int_a"]"#,
                r#""2999-03-01T14:30:00.250000Z""#,
                None,
            ),
            (
                "key_old",
                r#"["int_a"]"#,
                r#""2020-03-01T14:30:00.000000Z""#,
                None,
            ),
            (
                "key_off",
                r#"["int_a"]"#,
                r#""2999-03-01T14:30:00.000000Z""#,
                Some(5),
            ),
        ] {
            let body = format!(
                r#"{{"name":"n","integrations":{integrations},"expires_at":{expires_at}}}"#
            );
            old.execute(
                "INSERT INTO keys (id, revoked_at, body) VALUES (?1, ?2, ?3)",
                params![id, revoked_at, body],
            )
            .unwrap();
        }
        for (n, maker, integrations) in [
            (1, Some("key_all"), None),
            (2, Some("key_two"), Some(r#"["int_b","int_a"]"#)),
            (3, Some("key_old"), Some(r#"["int_a"]"#)),
            (4, Some("key_off"), Some(r#"["int_a"]"#)),
            (5, None, None),
        ] {
            let id = format!("whk_{n}");
            old.execute(
                "INSERT INTO webhooks (n, id, active, takes, integrations, sealed, body, revision, created_at, updated_at) VALUES (?1, ?2, 1, 1, ?3, x'', '{}', 1, 0, 0)",
                params![n, id, integrations],
            )
            .unwrap();
            for (place, action) in [(1, "webhook_create"), (2, "webhook_update")] {
                let key = if place == 1 { maker } else { Some("key_other") };
                let entry = serde_json::json!({ "key_id": key, "action": action, "subject": id });
                old.execute(
                    "INSERT INTO audit (seq, at, entry, hash) VALUES (?1, 0, ?2, x'')",
                    params![n * 10 + place, entry.to_string()],
                )
                .unwrap();
            }
        }
        migrate(&mut old, Timestamp::ZERO).unwrap();
        type Made = (String, Option<String>, Option<i64>);
        let made: Vec<Made> = old
            .prepare("SELECT scope, created_by, lapses_at FROM webhooks ORDER BY n")
            .unwrap()
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            .unwrap()
            .map(Result::unwrap)
            .collect();
        let end = Timestamp::parse("2999-03-01T14:30:01Z")
            .unwrap()
            .as_micros();
        let is = |scope: &str, maker: Option<&str>, lapses_at| {
            (scope.to_owned(), maker.map(str::to_owned), lapses_at)
        };
        assert_eq!(
            made,
            [
                is("", Some("key_all"), None),
                is("int_a int_b", Some("key_two"), Some(end)),
                is("int_a", Some("key_old"), None),
                is("int_a", Some("key_off"), None),
                is("", None, None),
            ]
        );
        let keys: Vec<(String, bool)> = old
            .prepare("SELECT scope, expires_at IS NULL FROM keys ORDER BY id")
            .unwrap()
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
            .unwrap()
            .map(Result::unwrap)
            .collect();
        let keys: Vec<_> = keys
            .iter()
            .map(|(scope, is_none)| (scope.as_str(), *is_none))
            .collect();
        assert_eq!(
            keys,
            [
                ("", true),
                ("int_a", false),
                ("int_a", false),
                ("int_a int_b", false)
            ]
        );
    }

    /// Open writes of before have no time in the queue: theirs is that of the accept.
    #[tokio::test]
    async fn a_store_of_the_eighth_step_keeps_a_hundred_thousand_open_writes() {
        const WRITES: i64 = 100_000;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("portico.db");
        let old = of_step(&path, 8);
        let key = MasterKey::parse(&Secret::new("a".repeat(64))).unwrap();
        let id = model::IntegrationId::new(Timestamp::ZERO, &Fixed);
        let sealed = seal_direct(&key, &Fixed, &id.to_string(), "key");
        old.execute(
            "INSERT INTO integrations (n, id, vendor, active, credential, body, created_at, updated_at) VALUES (1, ?1, 'KNOCK', 1, ?2, '{}', 0, 0)",
            params![id.to_string(), sealed],
        )
        .unwrap();
        old.execute(
            "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < ?1)
             INSERT INTO writes (seq, job_id, lane, community_id, operation, accepted_at, result, request, status)
             SELECT n, 'job_' || n, 1, 'com', 'prospect_create', 70 + n, '', '', 'PENDING' FROM n",
            [WRITES],
        )
        .unwrap();
        old.execute(
            "INSERT INTO queue (seq, lane, state, due_at, order_keys) SELECT seq, 1, 1, accepted_at, x'' FROM writes",
            [],
        )
        .unwrap();
        drop(old);

        let sealer = Sealer::new(&Secret::new("a".repeat(64)), Arc::new(Fixed)).unwrap();
        let store =
            crate::sqlite::open(&path, sealer, Arc::new(Unobserved), Timestamp::ZERO).unwrap();
        let depth = store.queue_depth().await.unwrap();
        assert_eq!(depth.open, WRITES.unsigned_abs());
        assert_eq!(depth.oldest_queued_at, Some(Timestamp::from_micros(71)));
        let due = store.lanes_due().await.unwrap();
        assert_eq!(due, [(id, Timestamp::from_micros(71))]);
        let look = store.clock_look().await.unwrap();
        assert_eq!(look.dial, crate::clock::Dial::default());
        store.close().await;
    }
}

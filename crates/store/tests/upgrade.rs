//! Versions of Portico side by side on one PostgreSQL database.
//!
//! A step of the schema that a newer version brings says which step a program must know to work beside it.

use std::sync::Arc;

use model::{Entropy, Secret, Timestamp};
use store::{
    Error, Sealer, Store, Unobserved,
    postgres::{self, Place},
};
use testbed::Database;

struct Fixed;

impl Entropy for Fixed {
    fn bytes(&self) -> [u8; 16] {
        [7; 16]
    }
}

fn open(database: &Database) -> Result<Arc<Store>, Error> {
    let sealer = Sealer::new(&Secret::new("a".repeat(64)), Arc::new(Fixed))?;
    let place = Place::new(database.url())?;
    tokio::task::block_in_place(|| {
        postgres::open(&place, sealer, Arc::new(Unobserved), Timestamp::ZERO).map(Arc::new)
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_goes_on_beside_a_newer_one_that_says_so() {
    let Some(database) = Database::create().unwrap() else {
        return;
    };
    let old = open(&database).unwrap();
    let known = store::migrations::POSTGRES.len();
    // What the start of a newer version does: a column more, and the row that says that this version can work beside it.
    let step = |needs: usize| {
        format!(
            "INSERT INTO migrations (number, name, checksum, applied_at, needs) VALUES ({}, 'later', 'x', 0, {needs})
             ON CONFLICT (number) DO UPDATE SET needs = excluded.needs",
            known + 1
        )
    };
    database
        .query("ALTER TABLE writes ADD COLUMN of_a_later_version TEXT")
        .unwrap();
    database.query(&step(known)).unwrap();
    // The node that runs goes on, and one of its version can be started.
    old.check().await.unwrap();
    let again = open(&database).unwrap();
    again.check().await.unwrap();
    again.close().await;
    old.close().await;
    // One that this version cannot work beside.
    database.query(&step(known + 1)).unwrap();
    let refused = open(&database).map(drop);
    assert!(
        matches!(&refused, Err(Error::Database(why)) if why.contains("newer Portico")),
        "{refused:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_the_first_step_keeps_a_hundred_thousand_open_writes() {
    let Some(database) = Database::create().unwrap() else {
        return;
    };
    let first = &store::migrations::POSTGRES[0];
    let id = model::IntegrationId::new(Timestamp::ZERO, &Fixed);
    for sql in [
        "CREATE TABLE migrations (number BIGINT PRIMARY KEY, name TEXT NOT NULL, checksum TEXT NOT NULL, applied_at BIGINT NOT NULL, needs BIGINT NOT NULL)",
        first.sql,
        &format!("INSERT INTO migrations VALUES (1, '{}', '{}', 0, 1)", first.name, first.checksum()),
        &format!(
            "INSERT INTO integrations (n, id, vendor, active, credential, body, created_at, updated_at)
             VALUES (1, '{id}', 'KNOCK', true, '', '{{}}', 0, 0)"
        ),
        "INSERT INTO writes (seq, job_id, lane, community_id, operation, accepted_at, result, request, status)
         SELECT n, 'job_' || n, 1, 'com', 'prospect_create', 70 + n, '', '', 'PENDING' FROM generate_series(1, 100000) AS n",
        "INSERT INTO queue (seq, lane, state, due_at, order_keys) SELECT seq, 1, 1, accepted_at, '' FROM writes",
    ] {
        database.query(sql).unwrap();
    }
    let store = open(&database).unwrap();
    let depth = store.queue_depth().await.unwrap();
    assert_eq!(depth.open, 100_000);
    assert_eq!(depth.oldest_queued_at, Some(Timestamp::from_micros(71)));
    let due = store.lanes_due().await.unwrap();
    assert_eq!(due, [(id, Timestamp::from_micros(71))]);
    store.close().await;
}

/// Who made a subscription is read from the audit log; one that has outlived its key goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_the_fourth_step_knows_who_made_its_webhooks() {
    let Some(database) = Database::create().unwrap() else {
        return;
    };
    database.query("CREATE TABLE migrations (number BIGINT PRIMARY KEY, name TEXT NOT NULL, checksum TEXT NOT NULL, applied_at BIGINT NOT NULL, needs BIGINT NOT NULL)").unwrap();
    for step in &store::migrations::POSTGRES[..4] {
        database.query(step.sql).unwrap();
        let (number, name, checksum) = (step.number, step.name, step.checksum());
        let sql = format!("INSERT INTO migrations VALUES ({number}, '{name}', '{checksum}', 0, 1)");
        database.query(&sql).unwrap();
    }
    for (id, integrations, expires_at, revoked_at) in [
        ("key_all", "null", "null", "NULL"),
        (
            "key_two",
            r#"["int_b","int_a"]"#,
            r#""2999-03-01T14:30:00.250000Z""#,
            "NULL",
        ),
        (
            "key_old",
            r#"["int_a"]"#,
            r#""2020-03-01T14:30:00.000000Z""#,
            "NULL",
        ),
        (
            "key_off",
            r#"["int_a"]"#,
            r#""2999-03-01T14:30:00.000000Z""#,
            "5",
        ),
    ] {
        let body =
            format!(r#"{{"name":"n","integrations":{integrations},"expires_at":{expires_at}}}"#);
        let sql = format!(
            "INSERT INTO keys (id, revoked_at, body) VALUES ('{id}', {revoked_at}, '{body}')"
        );
        database.query(&sql).unwrap();
    }
    for (n, maker, integrations) in [
        (1, r#""key_all""#, "NULL"),
        (2, r#""key_two""#, r#"'["int_b","int_a"]'"#),
        (3, r#""key_old""#, r#"'["int_a"]'"#),
        (4, r#""key_off""#, r#"'["int_a"]'"#),
        (5, "null", "NULL"),
    ] {
        let sql = format!(
            "INSERT INTO webhooks (n, id, active, takes, integrations, sealed, body, revision, created_at, updated_at) VALUES ({n}, 'whk_{n}', false, false, {integrations}, '', '{{}}', 1, 0, 0)"
        );
        database.query(&sql).unwrap();
        for (place, key, action) in [
            (1, maker, "webhook_create"),
            (2, r#""key_other""#, "webhook_update"),
        ] {
            let entry = format!(
                r#"{{"seq":1,"key_id":{key},"action":"{action}","subject":"whk_{n}","after":{{"name":"\\"action\\":\\"webhook_create\\""}}}}"#
            );
            let sql = format!(
                "INSERT INTO audit (seq, at, entry, hash) VALUES ({}, 0, '{entry}', '')",
                n * 10 + place
            );
            database.query(&sql).unwrap();
        }
    }
    let place = Place::new(database.url()).unwrap();
    tokio::task::block_in_place(|| postgres::migrate(&place, Timestamp::ZERO)).unwrap();
    let rows = |sql: &str| database.query(sql).unwrap().concat();
    let end = Timestamp::parse("2999-03-01T14:30:01Z")
        .unwrap()
        .as_micros();
    assert_eq!(
        rows(
            "SELECT concat_ws(',', n, scope, coalesce(created_by, '-'), coalesce(lapses_at, 0)) FROM webhooks ORDER BY n"
        ),
        [
            "1,,key_all,0".to_owned(),
            format!("2,int_a int_b,key_two,{end}"),
            "3,int_a,key_old,0".to_owned(),
            "4,int_a,key_off,0".to_owned(),
            "5,,-,0".to_owned(),
        ]
    );
    assert_eq!(
        rows("SELECT concat_ws(',', id, scope, expires_at IS NULL) FROM keys ORDER BY id"),
        [
            "key_all,,t",
            "key_off,int_a,f",
            "key_old,int_a,f",
            "key_two,int_a int_b,f"
        ]
    );
}

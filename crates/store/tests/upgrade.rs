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

fn open(database: &Database) -> Result<Arc<dyn Store>, Error> {
    let sealer = Sealer::new(&Secret::new("a".repeat(64)), Arc::new(Fixed))?;
    let place = Place::new(database.url())?;
    tokio::task::block_in_place(|| {
        postgres::open(&place, sealer, Arc::new(Unobserved), Timestamp::ZERO)
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

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

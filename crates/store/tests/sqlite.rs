//! The SQLite back end passes the store's conformance suite.

use std::{sync::Arc, time::Duration};

use model::{Secret, Timestamp};
use store::{
    Sealer, Store, Unobserved,
    conformance::{self, Counting},
    sqlite::Sqlite,
};

#[tokio::test]
async fn sqlite_passes_the_conformance_suite() {
    let dir = tempfile::tempdir().expect("a directory");
    let open = |name: &'static str| {
        let path = dir.path().join(name);
        async move {
            let sealer = Sealer::new(&Secret::new("a".repeat(64)), Arc::new(Counting::default()))
                .expect("a key");
            let store = Sqlite::open(&path, sealer, Arc::new(Unobserved), Timestamp::ZERO)
                .expect("a store");
            Arc::new(store) as Arc<dyn Store>
        }
    };
    tokio::time::timeout(Duration::from_secs(60), conformance::all(open))
        .await
        .expect("in time");
}

#[tokio::test]
async fn another_master_key_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("portico.db");
    let open = |digit: &str| {
        let sealer = Sealer::new(
            &Secret::new(digit.repeat(64)),
            Arc::new(Counting::default()),
        )
        .expect("a key");
        Sqlite::open(&path, sealer, Arc::new(Unobserved), Timestamp::ZERO)
    };
    let store: Arc<dyn Store> = Arc::new(open("a").expect("a store"));
    conformance::register_one(store.clone()).await;
    store.close().await;
    assert!(matches!(open("b"), Err(store::Error::MasterKey(_))));
    assert!(open("a").is_ok());
}

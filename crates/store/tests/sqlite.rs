//! The store on one machine's disk passes the suite that every back end passes.

use std::sync::Arc;

use model::Timestamp;
use store::{
    Error, Sealer, Store, Unobserved,
    conformance::{Backend, Verdicts, plans},
    sqlite,
};
use tempfile::TempDir;

struct Disk(TempDir);

impl Backend for Disk {
    async fn open(&self, sealer: Sealer, now: Timestamp) -> Result<Arc<Store>, Error> {
        let path = self.0.path().join("portico.db");
        sqlite::open(&path, sealer, Arc::new(Unobserved), now).map(Arc::new)
    }
}

store::conformance_tests!(Disk(TempDir::new()?));

store::conformance_tests!(all Disk(TempDir::new()?));

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_statement_walks_a_table_that_grows() -> Verdicts {
    every_case().await?;
    plans::no_statement_walks(Disk(TempDir::new()?)).await
}

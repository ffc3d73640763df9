//! The store on one machine's disk passes the suite that every back end passes.

use std::sync::Arc;

use model::Timestamp;
use store::{Error, Sealer, Store, Unobserved, conformance::Backend, sqlite};
use tempfile::TempDir;

struct Disk(TempDir);

impl Backend for Disk {
    async fn open(&self, sealer: Sealer, now: Timestamp) -> Result<Arc<Store>, Error> {
        let path = self.0.path().join("portico.db");
        sqlite::open(&path, sealer, Arc::new(Unobserved), now).map(Arc::new)
    }
}

store::conformance_tests!(Disk(TempDir::new()?));

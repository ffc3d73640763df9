//! The store in a PostgreSQL database passes the suite that every back end passes.

use std::sync::Arc;

use model::Timestamp;
use store::{
    Error, Sealer, Store, Unobserved,
    conformance::Backend,
    postgres::{self, Place},
};
use testbed::Database;

struct Server(Database);

impl Backend for Server {
    async fn open(&self, sealer: Sealer, now: Timestamp) -> Result<Arc<dyn Store>, Error> {
        let place = Place::new(self.0.url())?;
        tokio::task::block_in_place(|| postgres::open(&place, sealer, Arc::new(Unobserved), now))
    }
}

store::conformance_tests!(match Database::create()? {
    Some(database) => Server(database),
    // Said aloud, and a failure in continuous integration.
    None => return Ok(()),
});

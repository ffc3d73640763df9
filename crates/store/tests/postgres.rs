//! The store in a PostgreSQL database passes the suite that every back end passes.

use std::{io, sync::Arc};

use model::Timestamp;
use store::{
    Error, Sealer, Store, Unobserved,
    conformance::{Backend, Verdicts, plans},
    migrations::{Migration, POSTGRES},
    postgres::{self, Place},
};
use testbed::Database;

/// Connections that read: what is read side by side needs two, and each has the server start a process.
const READERS: usize = 2;

struct Server(Database);

impl Server {
    /// An empty store: a copy of one whose schema was made once.
    fn create() -> io::Result<Option<Self>> {
        let steps: String = POSTGRES.iter().map(Migration::checksum).collect();
        let made = Database::create_from(&steps, |url| {
            postgres::migrate(&Place::new(url)?, Timestamp::ZERO)
        });
        Ok(made?.map(Self))
    }
}

impl Backend for Server {
    async fn open(&self, sealer: Sealer, now: Timestamp) -> Result<Arc<Store>, Error> {
        let mut place = Place::new(self.0.socket_url())?;
        place.readers = READERS;
        tokio::task::block_in_place(|| {
            postgres::open(&place, sealer, Arc::new(Unobserved), now).map(Arc::new)
        })
    }
}

store::conformance_tests!(match Server::create()? {
    Some(server) => server,
    // Said aloud, and a failure in continuous integration.
    None => return Ok(()),
});

store::conformance_tests!(all match Server::create()? {
    Some(server) => server,
    None => return Ok(()),
});

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_statement_walks_a_table_that_grows() -> Verdicts {
    every_case().await?;
    let Some(server) = Server::create()? else {
        return Ok(());
    };
    plans::no_statement_walks(server).await
}

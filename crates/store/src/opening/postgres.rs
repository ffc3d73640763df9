//! Opens the store in a PostgreSQL database.
//!
//! Guarantee: as that of a store on disk; several nodes may open one database at the same time.

use std::sync::Arc;

use model::Timestamp;

use crate::{
    Error, Observer, Sealer, Store,
    engines::{
        Engine, Transaction,
        db::{Db, values},
        postgres::{Place, Server, durable, schema, session::Session},
    },
    migrations::Migration,
    records::terms,
    rotation::{self, Opening},
    stamp,
    time::Time,
};

/// Opens the store in a database and brings its schema up to date. Blocks; to be called within a runtime, on which it listens to other nodes.
///
/// # Errors
/// When it cannot be reached, was written by a newer Portico, or is sealed under another master key.
#[expect(
    clippy::needless_pass_by_value,
    reason = "as the other stores are opened"
)]
pub fn open(
    place: &Place,
    sealer: Sealer,
    observer: Arc<dyn Observer>,
    now: Timestamp,
) -> Result<Store, Error> {
    open_with(place, None, (sealer, Opening::Work), &observer, now)
}

/// The same to see whether the audit log is whole: it gets no entry by that.
///
/// # Errors
/// As [`open`].
#[expect(
    clippy::needless_pass_by_value,
    reason = "as the other stores are opened"
)]
pub fn open_to_verify(
    place: &Place,
    sealer: Sealer,
    observer: Arc<dyn Observer>,
    now: Timestamp,
) -> Result<Store, Error> {
    open_with(place, None, (sealer, Opening::Verify), &observer, now)
}

/// The same for measuring only, as a store would be that has a pool of `connections` and a transaction for each request: none shares a commit, and nobody waits for a
/// turn, so that what rests on turns does not hold.
///
/// # Errors
/// As [`open`].
#[expect(
    clippy::needless_pass_by_value,
    reason = "as the other stores are opened"
)]
pub fn open_pooled(
    place: &Place,
    connections: usize,
    sealer: Sealer,
    observer: Arc<dyn Observer>,
    now: Timestamp,
) -> Result<Store, Error> {
    let pool = Some(connections);
    open_with(place, pool, (sealer, Opening::Work), &observer, now)
}

fn open_with(
    place: &Place,
    pool: Option<usize>,
    (sealer, opening): (Sealer, Opening),
    observer: &Arc<dyn Observer>,
    now: Timestamp,
) -> Result<Store, Error> {
    let server = Server::open(place, pool, observer, &sealer.entropy(), |session| {
        prepare(session, &sealer, opening, now)
    })?;
    Ok(Store::new(Engine::Postgres(server), sealer))
}

/// Brings the schema of a database up to date. Returns the steps that were applied. Blocks.
///
/// # Errors
/// When it cannot be reached or changed, or was written by a newer Portico.
pub fn migrate(place: &Place, now: Timestamp) -> Result<&'static [Migration], Error> {
    let session = Session::connect(place)?;
    durable(&session)?;
    session.run("BEGIN")?;
    let steps = schema::migrate(&session, now)?;
    session.run("COMMIT")?;
    Ok(steps)
}

/// Makes the store ready that a database is.
fn prepare(
    session: &Session,
    sealer: &Sealer,
    opening: Opening,
    now: Timestamp,
) -> Result<(), Error> {
    let db = Db::Postgres(session);
    session.run("BEGIN")?;
    let made = schema::migrate(session, now).and_then(|_| {
        let last: i64 = db.one("SELECT last FROM turn FOR UPDATE", &[], |row| row.get(0))?;
        rotation::agree(&db, sealer, opening, now)?;
        terms::build(&Transaction::new(db, sealer.entropy(), Time::default()))?;
        let last = stamp::last(&db)?.max(Timestamp::from_micros(last));
        db.execute("UPDATE turn SET last = ?1", values![last.as_micros()])
    });
    match made {
        Ok(_) => session.run("COMMIT"),
        Err(why) => {
            let _ = session.run("ROLLBACK");
            Err(why)
        }
    }
}

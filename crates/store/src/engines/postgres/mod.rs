//! The store in a PostgreSQL database, which several nodes share.
//!
//! One thread of a node changes the database, a few read. Guarantee: a commit is answered when PostgreSQL has it on stable storage, and on that of its synchronous standbys where it
//! has any; nodes change the database one after the other, a batch each.

pub mod alone;
pub(crate) mod cell;
pub mod config;
mod dialect;
mod hosts;
pub mod inspect;
mod notices;
mod readers;
pub(crate) mod schema;
pub(crate) mod session;
mod wish;
mod writing;

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use model::Timestamp;
use tokio::task::JoinHandle;

use self::{readers::Readers, session::Session, writing::Writing};
use crate::{
    Error, Observer, Sealer, Signals, Store,
    clock::{stamp, time::Time},
    engines::{
        Engine, Transaction,
        db::{Db, Ordered, values},
        writer::{Batch, Writer},
    },
    migrations::Migration,
    reading::{Cost, PAGE_MAX, Reading},
    records::terms,
    sealing::sealed::{self, Opening},
};

pub use self::config::{Patience, Place};
/// A database that several nodes change.
pub(crate) struct Server {
    /// One, but for measuring.
    writers: Vec<Member>,
    readers: Readers,
    signals: Arc<Signals>,
    listener: Mutex<Option<JoinHandle<()>>>,
}

/// A writer, and how many requests are with it.
struct Member {
    writer: Writer,
    requests: AtomicUsize,
}

/// A request's time with a writer.
pub(super) struct Visit<'a>(&'a Member);

impl Visit<'_> {
    pub(super) const fn writer(&self) -> &Writer {
        &self.0.writer
    }
}

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        self.0.requests.fetch_sub(1, Ordering::Relaxed);
    }
}

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
    open_with(
        place,
        Some(connections),
        (sealer, Opening::Work),
        &observer,
        now,
    )
}

fn open_with(
    place: &Place,
    pool: Option<usize>,
    (sealer, opening): (Sealer, Opening),
    observer: &Arc<dyn Observer>,
    now: Timestamp,
) -> Result<Store, Error> {
    let session = Session::connect(place)?;
    durable(&session)?;
    prepare(&session, &sealer, opening, now)?;
    session.be(place.writing)?;
    let signals = Arc::new(Signals::default());
    let entropy = sealer.entropy();
    let node = model::key::hex(&entropy.bytes());
    let readers = Readers::start(place)?;
    let takes_turns = pool.is_none();
    if !takes_turns {
        number_on(&session)?;
    }
    let mut writers = Vec::new();
    let mut session = Some(session);
    for _ in 0..pool.unwrap_or(1) {
        let writing = Writing::new(place.clone(), session.take(), node.clone(), takes_turns);
        let batch = if takes_turns {
            Batch::default()
        } else {
            Batch { requests: 1 }
        };
        let writer = Writer::start(
            writing,
            batch,
            signals.clone(),
            observer.clone(),
            entropy.clone(),
        )?;
        writers.push(Member {
            writer,
            requests: AtomicUsize::new(0),
        });
    }
    let listening = notices::listen(place.clone(), node, signals.clone());
    let server = Server {
        writers,
        readers,
        signals,
        listener: Mutex::new(Some(tokio::spawn(listening))),
    };
    Ok(Store::new(Engine::Postgres(server), sealer))
}

/// Has the tables that are in order give places behind those that were taken in turns.
fn number_on(session: &Session) -> Result<(), Error> {
    for table in Ordered::ALL {
        let table = table.table();
        session.run(&format!(
            "SELECT setval(pg_get_serial_sequence('{table}', 'seq'), coalesce(max(seq), 0) + 1, false) FROM {table}"
        ))?;
    }
    Ok(())
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

/// Whether a database has anything of Portico's. Blocks.
///
/// # Errors
/// When it cannot be reached.
pub fn holds_data(place: &Place) -> Result<bool, Error> {
    schema::is_there(&Db::Postgres(&Session::connect(place)?))
}

/// Makes sure that the database can keep what it is given, and says so where its server does not sync.
pub(crate) fn durable(session: &Session) -> Result<(), Error> {
    let db = Db::Postgres(session);
    let setting = |name: &str| -> Result<String, Error> {
        db.one("SELECT current_setting(?1)", values![name], |row| {
            row.get(0)
        })
    };
    let encoding = setting("server_encoding")?;
    if encoding != "UTF8" {
        return Err(Error::Database(format!(
            "the database's encoding is {encoding}, which has no place for every name: make one with CREATE DATABASE … TEMPLATE template0 ENCODING 'UTF8'"
        )));
    }
    if setting("fsync")? == "off" {
        tracing::error!(
            "this PostgreSQL runs with fsync off: it loses what it has confirmed when its machine fails"
        );
    }
    Ok(())
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
        sealed::agree(&db, sealer, opening, now)?;
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

impl Server {
    /// The writer with the fewest requests: one that has none, if there is one.
    pub(super) fn visit(&self) -> Result<Visit<'_>, Error> {
        let requests = |member: &&Member| member.requests.load(Ordering::Relaxed);
        let member = self.writers.iter().min_by_key(requests);
        let member = member.ok_or(Error::Closed)?;
        member.requests.fetch_add(1, Ordering::Relaxed);
        Ok(Visit(member))
    }
}

/// Reads a page on the connection that changes the database, whose next change waits for it.
fn beside_changes<T>(
    db: &Db<'_>,
    look: impl FnOnce(&Db<'_>) -> Result<T, Error>,
) -> Result<T, Error> {
    let Db::Postgres(session) = db else {
        return look(db);
    };
    let answer = session.limited(PAGE_MAX, || look(db));
    if session.was_late() {
        return Err(Error::ReadTooLong);
    }
    let answer = answer?;
    session.unlimited()?;
    Ok(answer)
}

impl Server {
    pub(super) async fn read<T: Send + 'static>(
        &self,
        reading: Reading,
        look: impl FnOnce(&Db<'_>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let look = match self.readers.read(reading, look).await {
            Ok(answer) => return answer,
            // The server gives this node no connection to read with: the writer's does that too.
            Err(look) => look,
        };
        match reading.cost {
            // But nobody's changes wait for it.
            Cost::Expensive => Err(Error::Busy),
            Cost::Page => {
                self.visit()?
                    .writer()
                    .write(move |tx| beside_changes(tx, look))
                    .await
            }
            Cost::Lookup | Cost::Background => {
                self.visit()?.writer().write(move |tx| look(tx)).await
            }
        }
    }

    pub(super) fn signals(&self) -> &Signals {
        &self.signals
    }

    pub(super) async fn close(&self) {
        // At the same time: each may have to wait until a database that is gone has not answered.
        let writers =
            futures_util::future::join_all(self.writers.iter().map(|member| member.writer.close()));
        tokio::join!(writers, self.readers.close());
        if let Some(listener) = self
            .listener
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
        {
            listener.abort();
        }
    }
}

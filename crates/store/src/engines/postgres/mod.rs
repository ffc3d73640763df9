//! The store in a PostgreSQL database, which several nodes share.
//!
//! One thread of a node changes the database, a few read. Guarantee: a commit is answered when PostgreSQL has it on stable storage, and on that of its synchronous standbys where it
//! has any; nodes change the database one after the other, a batch each.

pub mod alone;
pub(crate) mod cell;
pub mod config;
mod dialect;
mod hosts;
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

use model::Entropy;
use tokio::task::JoinHandle;

use self::{readers::Readers, session::Session, writing::Writing};
use crate::{
    Error, Observer, Signals,
    engines::{
        Threads,
        db::{Db, Ordered, values},
        writer::{Around, Batch, Writer},
    },
    reading::{Cost, PAGE_MAX, Reading},
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

impl Server {
    /// Opens a database and has `prepare` make it ready. With a `pool`, for measuring only, so many
    /// writers change it with a transaction for each request, and nobody takes turns.
    ///
    /// # Errors
    /// When it cannot be reached or made ready.
    pub(crate) fn open(
        place: &Place,
        pool: Option<usize>,
        observer: &Arc<dyn Observer>,
        entropy: &Arc<dyn Entropy>,
        prepare: impl FnOnce(&Session) -> Result<(), Error>,
    ) -> Result<Self, Error> {
        let session = Session::connect(place)?;
        durable(&session)?;
        prepare(&session)?;
        session.be(place.writing)?;
        let signals = Arc::new(Signals::default());
        let node = model::hex::encode(&entropy.bytes());
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
                Around {
                    signals: signals.clone(),
                    observer: observer.clone(),
                    entropy: entropy.clone(),
                },
                Threads::Own,
            )?;
            writers.push(Member {
                writer,
                requests: AtomicUsize::new(0),
            });
        }
        let listening = notices::listen(place.clone(), node, signals.clone());
        Ok(Self {
            writers,
            readers,
            signals,
            listener: Mutex::new(Some(tokio::spawn(listening))),
        })
    }

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

//! The one thread that changes the database: group commit.
//!
//! Whatever is queued when a commit ends, and whoever comes while that is gathered, makes up the next one; there is no timer. Guarantee: a requester hears `Ok` only after COMMIT returned
//! (`synchronous=FULL`: synced), a request that fails takes none of its batch with it (each runs in a savepoint), and the queue is
//! bounded in requests and in bytes.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
    time::Instant,
};

use rusqlite::Connection;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::database;
use crate::{
    Error, Observer,
    signals::{Effects, Signals},
};

/// Requests that may wait for the disk: some tenths of a second of work, so that who waits longer hears 503 instead.
const QUEUE_MAX_REQUESTS: usize = 4_096;

/// KiB of accepted bodies that may wait for the disk. With the queue's length this bounds its memory.
const QUEUE_MAX_KIB: usize = 32 * 1_024;

/// Requests that share a commit at most, so that the first of them does not wait long for the last.
const BATCH_MAX_REQUESTS: usize = 512;

type Done = Box<dyn FnOnce(Result<(), Error>) + Send>;
type Run = Box<dyn FnOnce(&Connection, &mut Effects) -> (bool, Done) + Send>;

/// Whether a request is an accept: counted, and refused rather than kept waiting when the queue is full.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A write at the door, with the bytes it holds in memory.
    Accept { bytes: usize },
    /// Anything else: it waits for its place.
    Other,
}

struct Request {
    run: Run,
    is_accept: bool,
    _memory: Option<OwnedSemaphorePermit>,
}

/// The queue in front of the writing thread.
pub(super) struct Writer {
    queue: Mutex<Option<mpsc::Sender<Request>>>,
    memory: Arc<Semaphore>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Writer {
    /// Starts the thread, which owns `connection` from now on.
    pub(super) fn start(
        connection: Connection,
        signals: Arc<Signals>,
        observer: Arc<dyn Observer>,
    ) -> Result<Self, Error> {
        let (sender, receiver) = mpsc::channel(QUEUE_MAX_REQUESTS);
        let thread = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || run(&connection, receiver, &signals, &*observer))
            .map_err(|why| {
                Error::Database(format!("the writing thread cannot be started: {why}"))
            })?;
        Ok(Self {
            queue: Mutex::new(Some(sender)),
            memory: Arc::new(Semaphore::new(QUEUE_MAX_KIB)),
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Runs `change` in the next commit and returns what it returned once that commit is synced.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        kind: Kind,
        change: impl FnOnce(&Connection, &mut Effects) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        let run: Run = Box::new(move |connection, effects| {
            let result = change(connection, effects);
            let keep = result.is_ok();
            let done: Done = Box::new(move |commit| {
                // A requester that went away has no use for the answer; its change stands.
                let _ = reply.send(commit.and(result));
            });
            (keep, done)
        });
        let queue = self
            .queue
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
            .ok_or(Error::Closed)?;
        match kind {
            Kind::Accept { bytes } => {
                let kib = u32::try_from(bytes / 1_024 + 1).map_err(|_| Error::Busy)?;
                let memory = self
                    .memory
                    .clone()
                    .try_acquire_many_owned(kib)
                    .map_err(|_| Error::Busy)?;
                queue
                    .try_send(Request {
                        run,
                        is_accept: true,
                        _memory: Some(memory),
                    })
                    .map_err(|why| match why {
                        mpsc::error::TrySendError::Full(_) => Error::Busy,
                        mpsc::error::TrySendError::Closed(_) => Error::Closed,
                    })?;
            }
            Kind::Other => queue
                .send(Request {
                    run,
                    is_accept: false,
                    _memory: None,
                })
                .await
                .map_err(|_| Error::Closed)?,
        }
        drop(queue);
        answer.await.map_err(|_| Error::Closed)?
    }

    /// Lets the thread finish what is queued, and waits for it.
    pub(super) async fn close(&self) {
        self.queue
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(thread) = thread {
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }
}

fn run(
    connection: &Connection,
    mut receiver: mpsc::Receiver<Request>,
    signals: &Signals,
    observer: &dyn Observer,
) {
    let mut batch = Vec::new();
    while let Some(first) = receiver.blocking_recv() {
        batch.push(first);
        // Whoever is about to ask gets in: as long as giving way for a moment brings more, a sync is shared by more. Not a timer: alone, a request waits for nobody.
        loop {
            let before = batch.len();
            while batch.len() < BATCH_MAX_REQUESTS
                && let Ok(next) = receiver.try_recv()
            {
                batch.push(next);
            }
            if batch.len() == before || batch.len() >= BATCH_MAX_REQUESTS {
                break;
            }
            std::thread::yield_now();
        }
        commit(connection, &mut batch, signals, observer);
    }
    if let Err(why) = connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)") {
        tracing::warn!(%why, "the write-ahead log could not be folded in at closing; the next start does it");
    }
}

fn commit(
    connection: &Connection,
    batch: &mut Vec<Request>,
    signals: &Signals,
    observer: &dyn Observer,
) {
    let started = Instant::now();
    let (requests, accepts) = (
        batch.len(),
        batch.iter().filter(|request| request.is_accept).count(),
    );
    let mut effects = Effects::default();
    let mut done = Vec::with_capacity(requests);
    let mut outcome = step(connection, "BEGIN IMMEDIATE");
    for request in batch.drain(..) {
        if outcome.is_err() {
            // Dropping the request closes its answer; it hears that nothing was stored.
            continue;
        }
        match in_savepoint(connection, &mut effects, request.run) {
            Ok(one) => done.push(one),
            Err(why) => outcome = Err(why),
        }
    }
    if outcome.is_ok() {
        outcome = step(connection, "COMMIT");
    }
    if let Err(why) = &outcome {
        tracing::error!(%why, requests, "a commit failed; nothing of it was stored and nobody was told otherwise");
        if !connection.is_autocommit() {
            let _ = step(connection, "ROLLBACK");
        }
        effects = Effects::default();
    }
    // Before anyone is answered, so that a test that was answered finds the count.
    observer.committed(requests, accepts, started.elapsed());
    for one in done {
        one(match &outcome {
            Ok(()) => Ok(()),
            Err(why) => Err(Error::Database(why.to_string())),
        });
    }
    signals.publish(effects);
}

/// Runs one request so that its failure, or its panic, undoes only itself.
fn in_savepoint(connection: &Connection, effects: &mut Effects, run: Run) -> Result<Done, Error> {
    step(connection, "SAVEPOINT request")?;
    let mut own = Effects::default();
    let ran = catch_unwind(AssertUnwindSafe(|| run(connection, &mut own)));
    let (keep, done) = ran.unwrap_or_else(|_| {
        tracing::error!(
            "a request to the store panicked; it was undone and its neighbours were not"
        );
        (false, Box::new(|_| ()))
    });
    if keep {
        step(connection, "RELEASE request")?;
        effects.due.extend(own.due);
        effects.ended.extend(own.ended);
        effects.directory |= own.directory;
    } else {
        step(connection, "ROLLBACK TO request")?;
        step(connection, "RELEASE request")?;
    }
    Ok(done)
}

fn step(connection: &Connection, sql: &str) -> Result<(), Error> {
    connection
        .prepare_cached(sql)
        .and_then(|mut statement| statement.execute([]))
        .map(drop)
        .map_err(database)
}

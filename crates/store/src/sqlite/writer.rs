//! The one thread that changes the database: group commit.
//!
//! Whatever is queued when a commit ends, and whoever of a crowd comes within a moment, makes up the next one. Guarantee: a requester hears
//! `Ok` only after COMMIT returned (`synchronous=FULL`: synced), a request that fails takes none of its batch with it (each runs in a savepoint), and the queue is
//! bounded in requests and in bytes.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use model::Entropy;
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

/// How long the first of a batch waits for others at most: as long as a fast disk takes for a sync.
const GATHER_MAX: Duration = Duration::from_millis(1);

/// How much of a crowd a batch waits for: nearly half, so that one half is served while the other is synced.
const CROWD_PERCENT: usize = 45;

/// The part of a crowd that is forgotten at each commit, so that who asks alone after a crowd soon waits for nobody: an eighth.
const CROWD_FORGOTTEN: usize = 8;

/// How often it is looked who came.
const GATHER_STEP: Duration = Duration::from_micros(50);

/// How long emptying the write-ahead log waits for readers: accepts wait as long.
const FOLD_WAIT_MAX: Duration = Duration::from_millis(50);

type Done = Box<dyn FnOnce(Result<(), Error>) + Send>;
/// Given the transaction, or nothing when it could not begin. Returns whether to keep what it did, and who is to hear of it.
type Run = Box<dyn FnOnce(Option<(&Connection, &mut Effects)>) -> (bool, Done) + Send>;

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
    /// Who is to hear whether the write-ahead log was emptied after the commit.
    fold: Option<oneshot::Sender<bool>>,
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
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, Error> {
        let (sender, receiver) = mpsc::channel(QUEUE_MAX_REQUESTS);
        let thread = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || run(&connection, receiver, &signals, &*observer, &entropy))
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
        let run: Run = Box::new(move |transaction| {
            // Without a transaction the answer is why there was none, which comes with the commit.
            let result = transaction.map_or(Err(Error::Closed), |(connection, effects)| {
                change(connection, effects)
            });
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
                        fold: None,
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
                    fold: None,
                    _memory: None,
                })
                .await
                .map_err(|_| Error::Closed)?,
        }
        drop(queue);
        answer.await.map_err(|_| Error::Closed)?
    }

    /// Folds the write-ahead log into the database and empties it. `false` when a reader stood in the way.
    pub(super) async fn fold(&self) -> Result<bool, Error> {
        let (reply, answer) = oneshot::channel();
        let queue = self
            .queue
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
            .ok_or(Error::Closed)?;
        let request = Request {
            run: Box::new(|_| (true, Box::new(|_| ()))),
            is_accept: false,
            fold: Some(reply),
            _memory: None,
        };
        queue.send(request).await.map_err(|_| Error::Closed)?;
        drop(queue);
        answer.await.map_err(|_| Error::Closed)
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
    entropy: &Arc<dyn Entropy>,
) {
    let mut batch = Vec::new();
    let mut crowd = 0;
    while let Some(first) = receiver.blocking_recv() {
        batch.push(first);
        gather(&mut receiver, &mut batch, crowd);
        let served = batch.len();
        let folds: Vec<_> = batch
            .iter_mut()
            .filter_map(|request| request.fold.take())
            .collect();
        commit(connection, &mut batch, signals, observer, entropy);
        if !folds.is_empty() {
            let is_empty = fold(connection);
            for reply in folds {
                let _ = reply.send(is_empty);
            }
        }
        // Who waits at the end of a commit asked while it ran. It is forgotten slowly, for a crowd comes in waves.
        crowd = (served + receiver.len()).max(crowd - crowd.div_ceil(CROWD_FORGOTTEN));
    }
    if let Err(why) = connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)") {
        tracing::warn!(%why, "the write-ahead log could not be folded in at closing; the next start does it");
    }
}

/// Empties the write-ahead log, unless a reader stands in the way for longer than others can be kept waiting.
fn fold(connection: &Connection) -> bool {
    let emptied = connection
        .busy_timeout(FOLD_WAIT_MAX)
        .and_then(|()| {
            connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| {
                row.get::<_, i64>(0)
            })
        })
        .map(|is_busy| is_busy == 0);
    if let Err(why) = connection.busy_timeout(super::BUSY_TIMEOUT) {
        tracing::error!(%why, "the writing connection does not wait for other processes any more");
    }
    emptied.unwrap_or_else(|why| {
        tracing::warn!(%why, "the write-ahead log could not be emptied");
        false
    })
}

/// Fills `batch` with what is queued and, for a moment, with what is about to be: until it holds its share of the `crowd` that asked of late.
///
/// A sync costs the same for one as for many, so who asks just after it began would pay for another; not all, because the others
/// are served meanwhile. Alone, a request waits for nobody.
fn gather(receiver: &mut mpsc::Receiver<Request>, batch: &mut Vec<Request>, crowd: usize) {
    let enough = (crowd * CROWD_PERCENT / 100).min(BATCH_MAX_REQUESTS);
    let begun = Instant::now();
    loop {
        while batch.len() < BATCH_MAX_REQUESTS
            && let Ok(next) = receiver.try_recv()
        {
            batch.push(next);
        }
        if batch.len() >= enough || begun.elapsed() >= GATHER_MAX {
            return;
        }
        std::thread::sleep(GATHER_STEP);
    }
}

fn commit(
    connection: &Connection,
    batch: &mut Vec<Request>,
    signals: &Signals,
    observer: &dyn Observer,
    entropy: &Arc<dyn Entropy>,
) {
    let started = Instant::now();
    let (requests, accepts) = (
        batch.len(),
        batch.iter().filter(|request| request.is_accept).count(),
    );
    let mut effects = Effects::new(entropy.clone());
    let mut done = Vec::with_capacity(requests);
    let mut outcome = step(connection, "BEGIN IMMEDIATE");
    for request in batch.drain(..) {
        if outcome.is_err() {
            done.push((request.run)(None).1);
            continue;
        }
        outcome = step(connection, "SAVEPOINT request");
        if outcome.is_err() {
            done.push((request.run)(None).1);
            continue;
        }
        let one = in_savepoint(connection, &mut effects, request.run);
        done.push(one.0);
        outcome = one.1;
    }
    if outcome.is_ok() {
        outcome = step(connection, "COMMIT");
    }
    if let Err(why) = &outcome {
        tracing::error!(%why, requests, "a commit failed; nothing of it was stored and nobody was told otherwise");
        if !connection.is_autocommit() {
            let _ = step(connection, "ROLLBACK");
        }
        effects = Effects::new(entropy.clone());
    }
    // Before anyone is answered, so that a test that was answered finds the count.
    observer.committed(requests, accepts, started.elapsed());
    for one in done {
        one(match &outcome {
            Ok(()) => Ok(()),
            Err(Error::Busy) => Err(Error::Busy),
            Err(why) => Err(Error::Database(why.to_string())),
        });
    }
    signals.publish(effects);
}

/// Runs one request so that its failure, or its panic, undoes only itself. Fails when the savepoint cannot be left.
fn in_savepoint(
    connection: &Connection,
    effects: &mut Effects,
    run: Run,
) -> (Done, Result<(), Error>) {
    let mut own = Effects::new(effects.entropy.clone());
    let ran = catch_unwind(AssertUnwindSafe(|| run(Some((connection, &mut own)))));
    let (keep, done) = ran.unwrap_or_else(|_| {
        tracing::error!(
            "a request to the store panicked; it was undone and its neighbours were not"
        );
        (false, Box::new(|_| ()))
    });
    let left = if keep {
        effects.add(own);
        step(connection, "RELEASE request")
    } else {
        step(connection, "ROLLBACK TO request").and_then(|()| step(connection, "RELEASE request"))
    };
    (done, left)
}

fn step(connection: &Connection, sql: &str) -> Result<(), Error> {
    connection
        .prepare_cached(sql)
        .and_then(|mut statement| statement.execute([]))
        .map(drop)
        .map_err(database)
}

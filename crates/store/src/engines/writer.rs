//! The one thread of a process that changes the database, or one task of a runtime: group commit.
//!
//! Whatever is queued when a commit ends, and whoever of a crowd comes within a moment, makes up the next one. Guarantee: a requester hears
//! `Ok` only after the commit returned, a request that fails takes none of its batch with it (each runs in a savepoint), and the queue is
//! bounded in requests and in bytes.

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use model::Entropy;
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::{
    Threads, Transaction,
    crowd::{Batched, Crowds, Request as Joined, Waiting},
    db::Db,
};
use crate::{
    Error, Observer,
    outage::{DISK_QUIET, Outage},
    signals::{Raised, Signals},
    time::Time,
};

/// Requests that may wait for the disk: some tenths of a second of work, so that who waits longer hears 503 instead.
const QUEUE_MAX_REQUESTS: usize = 4_096;

/// KiB of accepted bodies that may wait for the disk. With the queue's length this bounds its memory.
const QUEUE_MAX_KIB: usize = 32 * 1_024;

/// How long who brings a write waits at most: callers give up after some ten seconds, and should hear before that how it stands.
pub(crate) const ACCEPT_MAX: Duration = Duration::from_secs(10);

/// Requests that share a commit at most, so that the first of them does not wait long for the last.
const BATCH_MAX_REQUESTS: usize = 512;

/// How long requests are taken into one commit: what is left then waits for the next, so that the first, and whoever else changes the database, does not wait long.
const BATCH_MAX_WORK: Duration = Duration::from_millis(25);

/// How long the first of a batch waits for others at most: as long as a fast disk takes for a sync.
const GATHER_MAX: Duration = Duration::from_millis(1);

/// How much of a crowd a batch waits for: nearly half, so that one half is served while the other is synced.
const CROWD_PERCENT: usize = 45;

/// The part of a crowd that is forgotten at each commit, so that who asks alone after a crowd soon waits for nobody: an eighth.
const CROWD_FORGOTTEN: usize = 8;

/// How often it is looked who came.
const GATHER_STEP: Duration = Duration::from_micros(50);

/// A connection that changes the database, one transaction after the other.
pub(crate) trait Connection {
    /// Begins a transaction: from now on nobody else changes anything until it ends.
    fn begin(&mut self) -> Result<(), Error>;

    /// The transaction under way.
    fn db(&self) -> Result<Db<'_>, Error>;

    /// Begins a part of it that can be undone alone.
    fn savepoint(&self) -> Result<(), Error>;

    /// Keeps the part.
    fn release(&self) -> Result<(), Error>;

    /// Undoes the part.
    fn undo(&self) -> Result<(), Error>;

    /// Ends the transaction. On `Ok` it is on stable storage, and other nodes are told of `raised`.
    fn commit(&mut self, raised: &Raised, time: &Time) -> Result<(), Error>;

    /// Ends a transaction that failed, if one is under way.
    fn rollback(&mut self);

    /// Says whether writes are accepted.
    ///
    /// # Errors
    /// Why not.
    fn takes_writes(&self) -> Result<(), Error> {
        Ok(())
    }

    /// Empties what a log keeps of former contents. `false` when somebody stood in the way.
    fn fold(&mut self) -> bool {
        true
    }

    /// A batch was answered, and nobody waits just now.
    fn rest(&mut self) {}

    /// Is closed soon.
    fn close(&mut self) {}
}

/// How much shares a commit.
pub(crate) struct Batch {
    /// Requests at most.
    pub(crate) requests: usize,
}

impl Default for Batch {
    fn default() -> Self {
        Self {
            requests: BATCH_MAX_REQUESTS,
        }
    }
}

type Done = Box<dyn FnOnce(Result<(), Error>) + Send>;
/// Given the transaction, or nothing when it could not begin. Returns whether to keep what it did, and who is to hear of it.
type Run = Box<dyn FnOnce(Option<&mut Transaction<'_>>) -> (bool, Done) + Send>;

enum Request {
    /// One that is served with all of its kind.
    Batched(Box<dyn Joined>),
    Change(Run),
    Fold(oneshot::Sender<bool>),
}

/// The loop that serves requests, as it is waited for.
enum Running {
    Thread(JoinHandle<()>),
    Task(tokio::task::JoinHandle<()>),
}

/// The queue in front of the loop that changes the database.
pub(crate) struct Writer {
    queue: Mutex<Option<mpsc::Sender<Request>>>,
    memory: Arc<Semaphore>,
    running: Mutex<Option<Running>>,
}

impl Writer {
    /// Starts the loop, which owns `connection` from now on: on a thread of its own, or as a task of
    /// the current runtime.
    pub(crate) fn start<C: Connection + Send + 'static>(
        connection: C,
        batch: Batch,
        around: Around,
        threads: Threads,
    ) -> Result<Self, Error> {
        let (sender, receiver) = mpsc::channel(QUEUE_MAX_REQUESTS);
        let serving = Serving {
            connection,
            receiver,
            batch: VecDeque::new(),
            crowd: 0,
            most: batch,
            outage: Outage::new(Duration::ZERO, DISK_QUIET),
            around,
        };
        let running = match threads {
            Threads::Caller => Running::Task(tokio::spawn(serving.run_as_task())),
            Threads::Own => Running::Thread(
                std::thread::Builder::new()
                    .name("store-writer".to_owned())
                    .spawn(move || serving.run())
                    .map_err(|why| {
                        Error::Database(format!("the writing thread cannot be started: {why}"))
                    })?,
            ),
        };
        Ok(Self {
            queue: Mutex::new(Some(sender)),
            memory: Arc::new(Semaphore::new(QUEUE_MAX_KIB)),
            running: Mutex::new(Some(running)),
        })
    }

    fn queue(&self) -> Result<mpsc::Sender<Request>, Error> {
        self.queue
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
            .ok_or(Error::Closed)
    }

    /// Runs `change` in the next commit and returns what it returned once that commit is on stable storage. It waits for its place in the queue.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        change: impl FnOnce(&mut Transaction<'_>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        let run: Run = Box::new(move |transaction| {
            // Without a transaction the answer is why there was none, which comes with the commit.
            let result = transaction.map_or(Err(Error::Closed), change);
            let keep = result.is_ok();
            let done: Done = Box::new(move |commit| {
                // A requester that went away has no use for the answer; its change stands.
                let _ = reply.send(commit.and(result));
            });
            (keep, done)
        });
        let queue = self.queue()?;
        queue
            .send(Request::Change(run))
            .await
            .map_err(|_| Error::Closed)?;
        drop(queue);
        answer.await.map_err(unanswered)?
    }

    /// Serves a request of new work, of about so many bytes, in the next commit. It is refused when
    /// the queue is full or does not move, and answered within [`ACCEPT_MAX`].
    pub(crate) async fn take<R: Batched>(
        &self,
        request: R,
        bytes: usize,
    ) -> Result<R::Answer, Error> {
        let kib = u32::try_from(bytes / 1_024 + 1).map_err(|_| Error::Busy)?;
        let memory = self
            .memory
            .clone()
            .try_acquire_many_owned(kib)
            .map_err(|_| Error::Busy)?;
        let (waiting, is_begun, answer) = Waiting::new(request, Some(memory));
        self.queue()?
            .try_send(Request::Batched(Box::new(waiting)))
            .map_err(|why| match why {
                mpsc::error::TrySendError::Full(_) => Error::Busy,
                mpsc::error::TrySendError::Closed(_) => Error::Closed,
            })?;
        match tokio::time::timeout(ACCEPT_MAX, answer).await {
            Ok(answer) => answer.map_err(unanswered)?,
            // Whichever of the two is first: the thread that begins to serve it, or its caller, who
            // waits no longer.
            Err(_) if is_begun.swap(true, Ordering::Relaxed) => Err(Error::InDoubt),
            Err(_) => Err(Error::Busy),
        }
    }

    /// Serves a request in one of the next commits, with others of its kind. It waits for its place
    /// in the queue.
    pub(crate) async fn batch<R: Batched>(&self, request: R) -> Result<R::Answer, Error> {
        let (waiting, _, answer) = Waiting::new(request, None);
        let queue = self.queue()?;
        queue
            .send(Request::Batched(Box::new(waiting)))
            .await
            .map_err(|_| Error::Closed)?;
        drop(queue);
        answer.await.map_err(unanswered)?
    }

    /// Has the connection empty its log of former contents. `false` when somebody stood in the way.
    pub(crate) async fn fold(&self) -> Result<bool, Error> {
        let (reply, answer) = oneshot::channel();
        let queue = self.queue()?;
        queue
            .send(Request::Fold(reply))
            .await
            .map_err(|_| Error::Closed)?;
        drop(queue);
        answer.await.map_err(|_| Error::Closed)
    }

    /// Lets the loop finish what is queued, and waits for it.
    pub(crate) async fn close(&self) {
        self.queue
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let running = self
            .running
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        match running {
            Some(Running::Thread(thread)) => {
                let _ = tokio::task::spawn_blocking(move || thread.join()).await;
            }
            Some(Running::Task(task)) => drop(task.await),
            None => {}
        }
    }
}

/// The thread dropped a request without an answer, so it panicked, and nobody knows at which step.
fn unanswered(_: oneshot::error::RecvError) -> Error {
    Error::InDoubt
}

/// What a loop tells of its commits, and what it needs for them.
pub(crate) struct Around {
    pub(crate) signals: Arc<Signals>,
    pub(crate) observer: Arc<dyn Observer>,
    pub(crate) entropy: Arc<dyn Entropy>,
}

/// The loop.
struct Serving<C> {
    connection: C,
    receiver: mpsc::Receiver<Request>,
    /// Requests for the next commit.
    batch: VecDeque<Request>,
    /// How many asked at once of late.
    crowd: usize,
    most: Batch,
    outage: Outage,
    around: Around,
}

impl<C: Connection> Serving<C> {
    /// Serves on this thread until no request can come any more.
    fn run(mut self) {
        while self.waits() {
            self.gather();
            self.serve();
        }
        self.connection.close();
    }

    /// Blocks until there is a request.
    fn waits(&mut self) -> bool {
        if self.batch.is_empty() {
            self.batch.extend(self.receiver.blocking_recv());
        }
        !self.batch.is_empty()
    }

    /// Takes the requests that are queued into the batch, as far as it has room.
    fn take_queued(&mut self) {
        while self.batch.len() < self.most.requests
            && let Ok(next) = self.receiver.try_recv()
        {
            self.batch.push_back(next);
        }
    }

    /// Fills the batch with the requests that are queued and, for a moment, with those that are
    /// about to be: until it holds its share of the crowd that asked of late.
    ///
    /// A sync costs the same for one as for many, so a request just after it began would pay for
    /// another; not for all, because the others are served meanwhile. A request that is alone waits
    /// for nobody.
    fn gather(&mut self) {
        let enough = (self.crowd * CROWD_PERCENT / 100).min(self.most.requests);
        let begun = Instant::now();
        loop {
            self.take_queued();
            if self.batch.len() >= enough || begun.elapsed() >= GATHER_MAX {
                return;
            }
            std::thread::sleep(GATHER_STEP);
        }
    }

    /// Serves as a task, which takes what is queued and waits for no more: on one thread nobody
    /// else asks meanwhile.
    async fn run_as_task(mut self) {
        loop {
            if self.batch.is_empty() {
                self.batch.extend(self.receiver.recv().await);
            }
            if self.batch.is_empty() {
                break;
            }
            self.take_queued();
            self.serve();
            tokio::task::yield_now().await;
        }
        self.connection.close();
    }

    /// Serves a batch in one commit.
    fn serve(&mut self) {
        let served = self.batch.len();
        if catch_unwind(AssertUnwindSafe(|| self.commit())).is_err() {
            // The requests in it get no answer from here, which makes them in doubt. Later ones are
            // served.
            tracing::error!("the store panicked over a batch of changes; it goes on with the next");
            self.batch.clear();
            self.connection.rollback();
        }
        // Requests that wait at the end of a commit came while it ran. A crowd is forgotten slowly,
        // for it comes in waves.
        let waiting = self.batch.len() + self.receiver.len();
        let left = self.crowd - self.crowd.div_ceil(CROWD_FORGOTTEN);
        self.crowd = (served + waiting).max(left);
    }
}

impl<C: Connection> Serving<C> {
    /// Serves a batch, but for what there is no time for, which is left in it.
    ///
    /// Changes that come while the crowds are served are made too: so a claim that follows from the
    /// outcomes of the batch need not wait for the next one.
    fn commit(&mut self) {
        let Self {
            connection,
            receiver,
            batch,
            crowd: _,
            most,
            outage,
            around:
                Around {
                    signals,
                    observer,
                    entropy,
                },
        } = self;
        let started = Instant::now();
        let (mut crowds, mut changes, mut folds) = (Crowds::default(), VecDeque::new(), Vec::new());
        let mut later = Vec::new();
        let mut late = most.requests.saturating_sub(batch.len());
        for request in batch.drain(..) {
            match request {
                Request::Batched(one) => later.extend(one.join(&mut crowds).map(Request::Batched)),
                Request::Change(run) => changes.push_back(run),
                Request::Fold(reply) => folds.push(reply),
            }
        }
        let time = signals.time();
        let mut outcome = connection.begin();
        let mut raised = Raised::default();
        let mut done = Vec::with_capacity(changes.len());
        if outcome.is_ok() {
            let mut work = |db| {
                let mut tx = Transaction::new(db, entropy.clone(), time.clone());
                crowds.serve(connection, &mut tx)?;
                while late > 0
                    && let Ok(request) = receiver.try_recv()
                {
                    late -= 1;
                    match request {
                        Request::Change(run) => changes.push_back(run),
                        other => later.push(other),
                    }
                }
                while let Some(run) = changes.pop_front() {
                    let ((one, undone), left) = guarded(connection, &mut tx, run);
                    done.extend(one.map(|one| (one, undone)));
                    left?;
                    if started.elapsed() > BATCH_MAX_WORK {
                        break;
                    }
                }
                tx.end()
            };
            outcome = connection
                .db()
                .and_then(&mut work)
                .map(|signalled| raised = signalled);
        }
        batch.extend(later);
        if outcome.is_ok() {
            batch.extend(changes.into_iter().map(Request::Change));
            outcome = connection.commit(&raised, time);
        } else {
            // None of them has a transaction to go into.
            done.extend(changes.into_iter().map(|run| (run(None).1, None)));
        }
        let requests = crowds.requests() + done.len();
        if let Err(why) = &outcome {
            observer.commit_failed();
            tell(why, requests, outage);
            connection.rollback();
            raised = Raised::default();
        }
        if outcome.is_ok() {
            if let Some(lasted) = outage.succeeds() {
                let after_ms = u64::try_from(lasted.as_millis()).unwrap_or(u64::MAX);
                tracing::info!(after_ms, "changes are stored again");
            }
            // Before anyone is answered, so that a test that was answered finds the count.
            observer.committed(requests, crowds.taken(), started.elapsed());
        }
        let failed = |why: &Error| match why {
            Error::Busy => Error::Busy,
            Error::InDoubt => Error::InDoubt,
            Error::Refused(words) => Error::Refused(words.clone()),
            // The log has been told why, once for all who hear this.
            _ => Error::Refused("the database cannot store anything just now".to_owned()),
        };
        crowds.answer(&|| outcome.as_ref().err().map(failed));
        for (one, undone) in done {
            one(match (&outcome, undone) {
                (Ok(()), None) => Ok(()),
                (Ok(()), Some(why)) => Err(why),
                (Err(why), _) => Err(failed(why)),
            });
        }
        signals.publish(raised);
        if matches!(outcome, Err(Error::InDoubt)) {
            // What may be stored all the same is found by looking.
            signals.look_again();
        }
        if !folds.is_empty() {
            let is_empty = connection.fold();
            for reply in folds {
                let _ = reply.send(is_empty);
            }
        }
        connection.rest();
    }
}

/// Logs why a commit failed: once for all that fail in an outage.
fn tell(why: &Error, requests: usize, outage: &Outage) {
    match why {
        // The connection has logged why.
        Error::Busy => tracing::debug!(requests, "a batch was turned away"),
        Error::InDoubt => {}
        why => {
            if let Some(lasts) = outage.goes_on() {
                let for_s = lasts.as_secs();
                tracing::error!(
                    %why, requests, for_s,
                    "commits fail: nothing of them is stored, and callers get 503 until they succeed"
                );
            }
        }
    }
}

/// Runs a change in a part of the transaction of its own.
///
/// # Errors
/// When the transaction is lost by it; what the change itself answers is inside.
pub(super) fn in_part<T>(
    connection: &dyn Connection,
    tx: &mut Transaction<'_>,
    change: impl FnOnce(&mut Transaction<'_>) -> Result<T, Error>,
) -> Result<Result<T, Error>, Error> {
    let (brought, left) = guarded(connection, tx, |transaction| {
        let answer = transaction.map_or(Err(Error::Closed), change);
        (answer.is_ok(), answer)
    });
    left?;
    Ok(match brought {
        (Some(answer), None) => answer,
        (_, Some(why)) => Err(why),
        (None, None) => Err(Error::Closed),
    })
}

/// What a request brought, absent after a panic, and why it was undone after all, if it was.
type Brought<R> = (Option<R>, Option<Error>);

/// Runs one request so that its failure, or its panic, undoes only itself. The second fails when the transaction is lost.
fn guarded<R>(
    connection: &dyn Connection,
    tx: &mut Transaction<'_>,
    run: impl FnOnce(Option<&mut Transaction<'_>>) -> (bool, R),
) -> (Brought<R>, Result<(), Error>) {
    if let Err(why) = connection.savepoint() {
        return ((Some(run(None).1), None), Err(why));
    }
    let outer = tx.begin_part();
    let ran = catch_unwind(AssertUnwindSafe(|| {
        let (is_kept, brought) = run(Some(tx));
        // Without its last changes it is none.
        let settled = if is_kept { tx.settle() } else { Ok(()) };
        (is_kept, brought, settled)
    }));
    match ran {
        Ok((true, brought, settled)) => match settled.and_then(|()| connection.release()) {
            Ok(()) => {
                tx.keep_part(outer);
                ((Some(brought), None), Ok(()))
            }
            Err(why) => {
                tx.undo_part(outer);
                ((Some(brought), Some(why)), connection.undo())
            }
        },
        Ok((false, brought, _)) => {
            tx.undo_part(outer);
            ((Some(brought), None), connection.undo())
        }
        Err(_) => {
            tracing::error!(
                "a request to the store panicked; it was undone and its neighbours were not"
            );
            tx.undo_part(outer);
            ((None, None), connection.undo())
        }
    }
}

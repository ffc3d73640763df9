//! Connections that only read: a few threads with one each.
//!
//! Guarantee: a read sees one committed state and waits for no change, and whoever asks has an answer within [`FREE_MAX`] beyond what one answer may take. A connection that
//! broke is made anew before the next read; while none can be made, reads fail at once.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

use super::{
    config::Place,
    session::{Away, Session},
    wish::{LOOK_EVERY, REST, Use, Wish, Wishes},
};
use crate::{
    Error,
    engines::db::Db,
    reading::{Cost, Gates, LOOKUP_MAX, PAGE_MAX, READ_MAX, Reading, Shares},
};

/// How long no connection is asked for while the node has none that reads: to be refused one takes some milliseconds.
const ALONE_REST: Duration = Duration::from_secs(1);

/// How long who asks waits for a connection that is free: all are busy with slow questions, or the server stands still. Who hears 503 then may come again.
const FREE_MAX: Duration = Duration::from_secs(2);

/// A read, given a connection, or why there is none.
type Run = Box<dyn FnOnce(Result<&Session, Away>) + Send>;

/// A read for a thread.
struct Look {
    /// It goes before all with a higher one.
    rank: u8,
    run: Run,
}

/// The fate of a read.
enum Answer<T, F> {
    Read(Result<T, Error>),
    /// It was not run: the server gives this node no connection that reads.
    Back(F),
}

/// The threads, and what they are asked.
pub(super) struct Readers {
    gates: Gates,
    queue: Arc<Queue>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// How long who asks waits at most.
    wait_max: Duration,
}

/// The reads that wait for a thread.
#[derive(Default)]
struct Queue {
    state: Mutex<State>,
    /// For threads that may take a read.
    work: Condvar,
    /// For threads that leave reads to others that have a connection.
    rest: Condvar,
}

#[derive(Default)]
struct State {
    looks: VecDeque<Look>,
    is_closed: bool,
    /// When the server last refused a connection.
    refused_at: Option<Instant>,
}

/// The next step of a thread.
enum Next {
    /// Runs a read.
    Run(Look),
    /// Runs no read, since there is no connection and a moment ago none was to be had.
    Return(Look),
    /// Ends its connection, which the writer needs.
    GiveWay,
    End,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, look: Look) -> Result<(), Error> {
        let mut state = self.lock();
        if state.is_closed {
            return Err(Error::Closed);
        }
        let before = |other: &&Look| other.rank <= look.rank;
        let place = state.looks.iter().take_while(before).count();
        state.looks.insert(place, look);
        drop(state);
        self.work.notify_one();
        Ok(())
    }

    /// Waits for what a thread is to do, that has a connection or not.
    fn next(&self, is_connected: bool, wishes: &Wishes) -> Next {
        let mut state = self.lock();
        loop {
            if is_connected && wishes.must_give_way(Use::Reading) {
                state.refused_at = Some(Instant::now());
                return Next::GiveWay;
            }
            let since_refused = state.refused_at.map(|at| at.elapsed());
            let rests = !is_connected
                && wishes.has_readers()
                && since_refused.is_some_and(|since| since < REST);
            if rests && !state.is_closed {
                // It may have been woken for this.
                if !state.looks.is_empty() {
                    self.work.notify_one();
                }
                state = wait(&self.rest, state);
                continue;
            }
            match state.looks.pop_front() {
                Some(look)
                    if !is_connected && since_refused.is_some_and(|since| since < ALONE_REST) =>
                {
                    return Next::Return(look);
                }
                Some(look) => return Next::Run(look),
                None if state.is_closed => return Next::End,
                None => state = wait(&self.work, state),
            }
        }
    }

    /// A thread was refused a connection. Takes a read back, for a thread that has one; `None` when a thread has taken it.
    fn refused(&self, look: Look, wishes: &Wishes) -> Option<Look> {
        let mut state = self.lock();
        state.refused_at = Some(Instant::now());
        if !wishes.has_readers() {
            return Some(look);
        }
        state.looks.push_front(look);
        drop(state);
        self.work.notify_one();
        None
    }

    fn close(&self) {
        self.lock().is_closed = true;
        self.work.notify_all();
        self.rest.notify_all();
    }
}

/// Waits to be woken, and now and then looks again.
fn wait<'a>(condition: &Condvar, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
    let waited = condition.wait_timeout(state, LOOK_EVERY);
    waited.unwrap_or_else(PoisonError::into_inner).0
}

impl Readers {
    pub(super) fn start(place: &Place) -> Result<Self, Error> {
        let queue = Arc::new(Queue::default());
        let mut threads = Vec::new();
        for _ in 0..place.readers.max(1) {
            let (place, queue) = (place.clone(), queue.clone());
            let thread = std::thread::Builder::new()
                .name("store-reader".to_owned())
                .spawn(move || run(&place, &queue))
                .map_err(|why| {
                    Error::Database(format!("a reading thread cannot be started: {why}"))
                })?;
            threads.push(thread);
        }
        Ok(Self {
            gates: Gates::new(Shares::of(place.readers)),
            queue,
            threads: Mutex::new(threads),
            wait_max: place.reading.answer + FREE_MAX,
        })
    }

    /// Runs `look` on a connection that reads.
    ///
    /// # Errors
    /// With `look` itself, when the server gives this node no such connection.
    pub(super) async fn read<T, F>(&self, reading: Reading, look: F) -> Result<Result<T, Error>, F>
    where
        T: Send + 'static,
        F: FnOnce(&Db<'_>) -> Result<T, Error> + Send + 'static,
    {
        let permit = match self.gates.enter(reading).await {
            Ok(permit) => permit,
            Err(why) => return Ok(Err(why)),
        };
        let (reply, answer) = oneshot::channel();
        let run = Box::new(move |session: Result<&Session, Away>| {
            let _until_read = permit;
            // Who asked has gone meanwhile, or has waited for too long.
            if reply.is_closed() {
                return;
            }
            let answer = match session {
                Ok(session) => Answer::Read(in_transaction(session, reading, look)),
                Err(Away::Unreachable) => Answer::Read(Err(Error::Busy)),
                Err(Away::Crowded) => Answer::Back(look),
            };
            let _ = reply.send(answer);
        });
        let rank = reading.rank();
        if let Err(why) = self.queue.push(Look { rank, run }) {
            return Ok(Err(why));
        }
        match tokio::time::timeout(self.wait_max, answer).await {
            Ok(Ok(Answer::Read(answer))) => Ok(answer),
            Ok(Ok(Answer::Back(look))) => Err(look),
            Ok(Err(_)) => Ok(Err(Error::Database("a read did not finish".to_owned()))),
            Err(_) => {
                tracing::warn!("no connection was free for a read in time");
                Ok(Err(Error::Busy))
            }
        }
    }

    pub(super) async fn close(&self) {
        self.gates.close();
        self.queue.close();
        let threads =
            std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        let _ = tokio::task::spawn_blocking(move || {
            for thread in threads {
                let _ = thread.join();
            }
        })
        .await;
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        self.queue.close();
    }
}

/// Runs `look` in a transaction that sees one moment and changes nothing.
fn in_transaction<T>(
    session: &Session,
    reading: Reading,
    look: impl FnOnce(&Db<'_>) -> Result<T, Error>,
) -> Result<T, Error> {
    session.send("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")?;
    let db = Db::Postgres(session);
    let within = statement_max(reading);
    let result = match within {
        Some(within) => session.limited(within, || look(&db)),
        None => look(&db),
    };
    if session.was_late() && reading.cost != Cost::Page {
        let after_s = within.map(|within| within.as_secs());
        tracing::warn!(after_s, "a read took too long and is broken off");
    }
    let result = match result {
        // Nobody asked for too much: the database does not keep up.
        Err(Error::ReadTooLong) if reading.cost == Cost::Lookup => Err(Error::Busy),
        result => result,
    };
    match session.run("COMMIT") {
        Ok(()) => result,
        // Of two errors the first says more.
        Err(why) => Err(result.err().unwrap_or(why)),
    }
}

/// How long a statement of a read may take, if less than the connection waits anyway.
fn statement_max(reading: Reading) -> Option<Duration> {
    match reading.cost {
        Cost::Page => Some(PAGE_MAX),
        Cost::Expensive => Some(READ_MAX),
        Cost::Lookup if !reading.is_own() => Some(LOOKUP_MAX),
        Cost::Lookup | Cost::Background => None,
    }
}

fn run(place: &Place, queue: &Queue) {
    let mut session: Option<Session> = None;
    let mut wish = Wish::new(Use::Reading, &place.hosts);
    let wishes = &place.hosts.wishes;
    loop {
        let look = match queue.next(session.is_some(), wishes) {
            Next::Run(look) => look,
            Next::Return(look) => {
                (look.run)(Err(Away::Crowded));
                continue;
            }
            Next::GiveWay => {
                session = None;
                wish.ended();
                wish.refused("the connection that changes the database was refused");
                continue;
            }
            Next::End => return,
        };
        if !session.as_ref().is_some_and(Session::is_well) {
            // The old one ends before there is a new one: the server counts them.
            session = None;
            wish.ended();
            session = match Session::again(place, place.reading, &mut wish) {
                Ok(made) => Some(made),
                Err(Away::Crowded) => {
                    if let Some(look) = queue.refused(look, wishes) {
                        (look.run)(Err(Away::Crowded));
                    }
                    continue;
                }
                Err(why) => {
                    (look.run)(Err(why));
                    continue;
                }
            };
        }
        if let Some(one) = &session {
            let looked =
                std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| (look.run)(Ok(one))));
            if looked.is_err() {
                tracing::error!(
                    "a read panicked; its connection, whose transaction may be under way, is given up"
                );
                session = None;
                wish.ended();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_read_that_panics_leaves_nothing_to_the_next() {
        let Some(database) = testbed::Database::create().unwrap() else {
            return;
        };
        database.query("CREATE TABLE a (b BIGINT)").unwrap();
        let mut place = Place::new(database.url()).unwrap();
        place.readers = 1;
        let readers = Readers::start(&place).unwrap();
        let count = |db: &Db<'_>| -> Result<i64, Error> {
            db.one("SELECT count(*) FROM a", &[], |row| row.get(0))
        };
        let read = readers.read(Reading::OWN, move |db| -> Result<(), Error> {
            assert_eq!(count(db).unwrap(), 0);
            panic!("it is told to");
        });
        assert!(matches!(read.await, Ok(Err(Error::Database(_)))));
        database.query("INSERT INTO a VALUES (1)").unwrap();
        let read = readers
            .read(Reading::OWN, count)
            .await
            .map_err(drop)
            .unwrap();
        assert_eq!(read.unwrap(), 1, "of a moment since");
        readers.close().await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn callers_leave_a_connection_to_the_server_and_hold_theirs_for_a_second() {
        struct Fixed(u8);
        impl model::Entropy for Fixed {
            fn bytes(&self) -> [u8; 16] {
                [self.0; 16]
            }
        }
        let Some(database) = testbed::Database::create().unwrap() else {
            return;
        };
        let mut place = Place::new(database.url()).unwrap();
        place.readers = 3;
        let readers = Arc::new(Readers::start(&place).unwrap());
        let one = |db: &Db<'_>| db.one("SELECT CAST(1 AS BIGINT)", &[], |row| row.get::<i64>(0));
        // Each has its connection before the clock runs.
        for _ in 0..3 {
            let own = readers.read(Reading::OWN, one).await.map_err(drop);
            assert_eq!(own.unwrap().unwrap(), 1);
        }
        let callers: Vec<_> = (0..4)
            .map(|n| {
                let key = model::KeyId::new(model::Timestamp::ZERO, &Fixed(n));
                let reading = Reading {
                    cost: Cost::Lookup,
                    key: Some(key),
                };
                let readers = readers.clone();
                let sleep = |db: &Db<'_>| -> Result<bool, Error> {
                    db.one("SELECT pg_sleep(60) IS NULL", &[], |row| row.get(0))
                };
                tokio::spawn(
                    async move { readers.read(reading, sleep).await.map_err(drop).unwrap() },
                )
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(100)).await;
        let own = readers.read(Reading::OWN, one);
        let own = tokio::time::timeout(LOOKUP_MAX * 3 / 4, own).await;
        assert_eq!(own.unwrap().map_err(drop).unwrap().unwrap(), 1);
        for one in callers {
            assert!(matches!(one.await.unwrap(), Err(Error::Busy)));
        }
        readers.close().await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_read_that_costs_too_much_is_broken_off_and_the_next_is_not() {
        let Some(database) = testbed::Database::create().unwrap() else {
            return;
        };
        let mut place = Place::new(database.url()).unwrap();
        place.readers = 1;
        let readers = Readers::start(&place).unwrap();
        let sleep = |seconds: &'static str| {
            move |db: &Db<'_>| -> Result<bool, Error> {
                let sql = format!("SELECT pg_sleep({seconds}) IS NULL");
                db.one(&sql, &[], |row| row.get(0))
            }
        };
        let read = async |cost, seconds| {
            let reading = Reading { cost, key: None };
            let read = readers.read(reading, sleep(seconds)).await;
            read.map_err(drop).unwrap()
        };
        let (begun, page) = (Instant::now(), read(Cost::Page, "60").await);
        assert!(matches!(page, Err(Error::ReadTooLong)), "{page:?}");
        assert!(begun.elapsed() < Duration::from_secs(30));
        let expensive = read(Cost::Expensive, "60").await;
        assert!(
            matches!(expensive, Err(Error::ReadTooLong)),
            "{expensive:?}"
        );
        // What a page may not take, an expensive read and a look-up may.
        for cost in [Cost::Expensive, Cost::Lookup] {
            assert!(!read(cost, "0.7").await.unwrap(), "{cost:?}");
        }
        // A part that is broken off does not take the rest of what was read.
        let counted = readers.read(
            Reading {
                cost: Cost::Page,
                key: None,
            },
            move |db| {
                Ok((
                    db.one("SELECT CAST(7 AS BIGINT)", &[], |row| row.get::<i64>(0))?,
                    sleep("60")(db),
                ))
            },
        );
        let (seven, late) = counted.await.map_err(drop).unwrap().unwrap();
        assert_eq!(seven, 7);
        assert!(matches!(late, Err(Error::ReadTooLong)), "{late:?}");
        assert!(!read(Cost::Page, "0").await.unwrap(), "the next");
        readers.close().await;
    }
}

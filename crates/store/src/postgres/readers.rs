//! Connections that only read: a few threads with one each.
//!
//! Guarantee: a read sees one committed state and waits for no change, and whoever asks has an answer within [`FREE_MAX`] beyond what one answer may take. A connection that
//! broke is made anew before the next read; while none can be made, reads fail at once.

use std::{
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
    time::Duration,
};

use tokio::sync::oneshot;

use super::{config::Place, session::Session};
use crate::{Error, sql::db::Db};

/// How long who asks waits for a connection that is free: all are busy with slow questions, or the server stands still. Who hears 503 then may come again.
const FREE_MAX: Duration = Duration::from_secs(2);

/// A look at what is stored, or at why nobody can look.
type Look = Box<dyn FnOnce(Result<&Session, Error>) + Send>;

/// The threads, and what they are asked.
pub(super) struct Readers {
    queue: Mutex<Option<std::sync::mpsc::Sender<Look>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// How long who asks waits at most.
    wait_max: Duration,
}

impl Readers {
    pub(super) fn start(place: &Place) -> Result<Self, Error> {
        let (sender, receiver) = std::sync::mpsc::channel::<Look>();
        let receiver = Arc::new(Mutex::new(receiver));
        let mut threads = Vec::new();
        for _ in 0..place.readers.max(1) {
            let (place, receiver) = (place.clone(), receiver.clone());
            let thread = std::thread::Builder::new()
                .name("store-reader".to_owned())
                .spawn(move || run(&place, &receiver))
                .map_err(|why| {
                    Error::Database(format!("a reading thread cannot be started: {why}"))
                })?;
            threads.push(thread);
        }
        Ok(Self {
            queue: Mutex::new(Some(sender)),
            threads: Mutex::new(threads),
            wait_max: place.reading.answer + FREE_MAX,
        })
    }

    pub(super) async fn read<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Db<'_>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        let look: Look = Box::new(move |session| {
            // Who asked has gone meanwhile, or has waited for too long.
            if reply.is_closed() {
                return;
            }
            let result = session.and_then(|session| in_transaction(session, look));
            let _ = reply.send(result);
        });
        let queue = self
            .queue
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        queue
            .ok_or(Error::Closed)?
            .send(look)
            .map_err(|_| Error::Closed)?;
        match tokio::time::timeout(self.wait_max, answer).await {
            Ok(answer) => {
                answer.map_err(|_| Error::Database("a read did not finish".to_owned()))?
            }
            Err(_) => {
                tracing::warn!("no connection was free for a read in time");
                Err(Error::Busy)
            }
        }
    }

    pub(super) async fn close(&self) {
        self.queue
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
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

/// Runs `look` in a transaction that sees one moment and changes nothing.
fn in_transaction<T>(
    session: &Session,
    look: impl FnOnce(&Db<'_>) -> Result<T, Error>,
) -> Result<T, Error> {
    session.send("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")?;
    let result = look(&Db::Postgres(session));
    match session.run("COMMIT") {
        Ok(()) => result,
        // Of two errors the first says more.
        Err(why) => Err(result.err().unwrap_or(why)),
    }
}

fn run(place: &Place, queue: &Mutex<std::sync::mpsc::Receiver<Look>>) {
    let mut session: Option<Session> = None;
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(look) = next else { return };
        if !session.as_ref().is_some_and(Session::is_well) {
            // The old one ends before there is a new one: the server counts them.
            session = None;
            session = match Session::again(place, place.reading) {
                Ok(made) => Some(made),
                Err(why) => {
                    look(Err(why));
                    continue;
                }
            };
        }
        if let Some(one) = &session {
            let looked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| look(Ok(one))));
            if looked.is_err() {
                tracing::error!(
                    "a read panicked; its connection, whose transaction may be under way, is given up"
                );
                session = None;
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
        let read = readers.read(move |db| -> Result<(), Error> {
            assert_eq!(count(db).unwrap(), 0);
            panic!("it is told to");
        });
        assert!(matches!(read.await, Err(Error::Database(_))));
        database.query("INSERT INTO a VALUES (1)").unwrap();
        assert_eq!(readers.read(count).await.unwrap(), 1, "of a moment since");
        readers.close().await;
    }
}

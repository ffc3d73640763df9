//! A connection to PostgreSQL that one thread uses, statement by statement.
//!
//! The use cases are plain functions, so a connection belongs to a thread, which drives it while it waits for an answer. What needs no answer is sent at
//! once and awaited later, so that a transaction costs fewer ways to the server than it has statements.
//! Guarantee: no statement takes longer than the server and [`ANSWER_MAX`] allow; after a failure of the connection nothing more is sent on it.

use std::{
    cell::{Cell, RefCell},
    collections::{HashMap, VecDeque},
    future::Future,
    pin::Pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use model::Timestamp;
use tokio::runtime::Runtime;
use tokio_postgres::{
    Client, NoTls, Statement,
    binary_copy::BinaryCopyInWriter,
    error::SqlState,
    types::{ToSql, Type},
};

use super::{
    config::{Place, told},
    dialect,
};
use crate::{
    Error,
    sql::db::{Refused, Value},
};

/// How long the server works on one statement before it gives it up.
const STATEMENT_MAX: Duration = Duration::from_secs(30);

/// How long the server waits for others who change the database.
const LOCK_MAX: Duration = Duration::from_secs(10);

/// How long a transaction may lie still before the server ends it: its node is gone, or hangs.
const IDLE_MAX: Duration = Duration::from_secs(15);

/// How long an answer is waited for, beyond what the server may take: then the connection is given up.
const ANSWER_MAX: Duration = Duration::from_secs(35);

/// Statements that one connection keeps prepared: more than there are in the use cases; lists have many forms.
const STATEMENTS_MAX: usize = 512;

/// A statement that was sent and whose answer is not yet there.
type Sent = Pin<Box<dyn Future<Output = Result<u64, tokio_postgres::Error>> + Send>>;

/// Why there is no answer.
enum Fault {
    /// The server, or the connection, says why.
    Told(tokio_postgres::Error),
    /// Nothing came in time.
    Silent,
}

impl From<tokio_postgres::Error> for Fault {
    fn from(why: tokio_postgres::Error) -> Self {
        Self::Told(why)
    }
}

impl From<Fault> for Error {
    fn from(why: Fault) -> Self {
        match why {
            Fault::Told(why) => database(&why),
            Fault::Silent => {
                tracing::warn!("the database does not answer; the connection is given up");
                Self::Busy
            }
        }
    }
}

/// A connection.
pub(crate) struct Session {
    runtime: Runtime,
    client: Arc<Client>,
    statements: RefCell<HashMap<String, Statement>>,
    sent: RefCell<VecDeque<Sent>>,
    is_broken: Cell<bool>,
    /// The last time that was given, and what the clock said then.
    last: Cell<Timestamp>,
    given: Cell<Timestamp>,
}

/// A database's error in the store's words. What is over in a moment, or with another connection, is [`Error::Busy`].
pub(crate) fn database(why: &tokio_postgres::Error) -> Error {
    if is_passing(why) {
        tracing::warn!(why = %told(why), "the database does not answer as it should");
        return Error::Busy;
    }
    Error::Database(match why.as_db_error() {
        // Detail and position may repeat a row's values.
        Some(why) => format!("{} ({})", why.message(), why.code().code()),
        None => told(why),
    })
}

/// Whether it says something of the database's state, rather than of what was asked.
pub(super) fn is_passing(why: &tokio_postgres::Error) -> bool {
    let Some(code) = why.code() else {
        // Without a code it is the connection's, or a value that does not fit.
        return why.is_closed()
            || std::error::Error::source(why)
                .is_some_and(<dyn std::error::Error + 'static>::is::<std::io::Error>);
    };
    // Classes: 08 connection, 40 rolled back (deadlock, serialization), 53 out of resources, 57 operator intervention and timeouts.
    ["08", "40", "53", "57"]
        .iter()
        .any(|class| code.code().starts_with(class))
        || *code == SqlState::LOCK_NOT_AVAILABLE
        || *code == SqlState::READ_ONLY_SQL_TRANSACTION
        || *code == SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT
}

impl Session {
    /// Connects.
    ///
    /// # Errors
    /// When no host of the place answers and takes changes.
    pub(crate) fn connect(place: &Place) -> Result<Self, Error> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()
            .map_err(|why| Error::Database(format!("a connection cannot be driven: {why}")))?;
        let unreached = |why: &tokio_postgres::Error| {
            let text = format!("{} cannot be reached: {}", place.told(), told(why));
            if why.code().is_none() || is_passing(why) {
                tracing::warn!(%text, "no connection to the database");
            }
            Error::Database(text)
        };
        let client = runtime.block_on(async {
            // The task that drives a connection ends with it.
            match &place.tls {
                Some(tls) => {
                    let (client, connection) = place.config.connect(tls.clone()).await?;
                    tokio::spawn(async { drop(connection.await) });
                    Ok(client)
                }
                None => {
                    let (client, connection) = place.config.connect(NoTls).await?;
                    tokio::spawn(async { drop(connection.await) });
                    Ok(client)
                }
            }
        });
        let client = client.map_err(|why| unreached(&why))?;
        let session = Self {
            runtime,
            client: Arc::new(client),
            statements: RefCell::default(),
            sent: RefCell::default(),
            is_broken: Cell::new(false),
            last: Cell::new(Timestamp::ZERO),
            given: Cell::new(Timestamp::ZERO),
        };
        session.run(&format!(
            "SET statement_timeout = {}; SET lock_timeout = {}; SET idle_in_transaction_session_timeout = {}",
            STATEMENT_MAX.as_millis(),
            LOCK_MAX.as_millis(),
            IDLE_MAX.as_millis()
        ))?;
        Ok(session)
    }

    /// Whether it can be used: looks at what came of it meanwhile.
    pub(crate) fn is_well(&self) -> bool {
        if !self.is_broken.get() {
            self.runtime.block_on(tokio::task::yield_now());
        }
        !self.is_broken.get() && !self.client.is_closed()
    }

    /// Waits for `answer`, behind what was sent before.
    fn wait<T>(
        &self,
        answer: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, Fault> {
        let sent = std::mem::take(&mut *self.sent.borrow_mut());
        let all = async {
            let mut answer = std::pin::pin!(answer);
            // Sent before anything is awaited: it travels with what was sent before.
            let early = poll_once(answer.as_mut()).await;
            for one in sent {
                one.await?;
            }
            match early {
                Some(answer) => answer,
                None => answer.await,
            }
        };
        let waited = self
            .runtime
            .block_on(async { tokio::time::timeout(ANSWER_MAX, all).await });
        let answer = waited.map_or(Err(Fault::Silent), |answer| answer.map_err(Fault::Told));
        self.is_broken.set(match &answer {
            Ok(_) => false,
            Err(Fault::Silent) => true,
            Err(Fault::Told(why)) => why.code().is_none() && is_passing(why),
        });
        answer
    }

    fn prepared(&self, sql: &str) -> Result<Statement, Fault> {
        if let Some(known) = self.statements.borrow().get(sql) {
            return Ok(known.clone());
        }
        let words = dialect::translate(sql);
        let made = self.wait(self.client.prepare(&words))?;
        let mut statements = self.statements.borrow_mut();
        if statements.len() >= STATEMENTS_MAX {
            statements.clear();
        }
        statements.insert(sql.to_owned(), made.clone());
        Ok(made)
    }

    /// Runs statements that have no values.
    pub(crate) fn run(&self, sql: &str) -> Result<(), Error> {
        Ok(self.wait(self.client.batch_execute(sql))?)
    }

    /// Sends a statement that has no values and whose answer nobody needs now.
    pub(crate) fn send(&self, sql: &'static str) -> Result<(), Error> {
        let client = self.client.clone();
        self.post(Box::pin(async move {
            client.batch_execute(sql).await.map(|()| 0)
        }))
    }

    fn post(&self, mut statement: Sent) -> Result<(), Error> {
        match self.runtime.block_on(poll_once(statement.as_mut())) {
            Some(answer) => answer.map(drop).map_err(|why| database(&why)),
            None => {
                self.sent.borrow_mut().push_back(statement);
                Ok(())
            }
        }
    }

    /// Waits for what was sent.
    pub(crate) fn settle(&self) -> Result<(), Error> {
        Ok(self.wait(std::future::ready(Ok(())))?)
    }

    /// Sends a statement whose answer nobody needs now: should it fail, so does what is sent next.
    pub(crate) fn send_values(&self, sql: &str, values: &[Value<'_>]) -> Result<(), Error> {
        let statement = self.prepared(sql)?;
        let client = self.client.clone();
        let values: Vec<Value<'static>> = values.iter().map(Value::owned).collect();
        self.post(Box::pin(async move {
            client.execute_raw(&statement, values).await
        }))
    }

    /// Runs a statement, and says how many rows it concerned.
    pub(crate) fn execute(&self, sql: &str, values: &[Value<'_>]) -> Result<u64, Error> {
        let statement = self.prepared(sql)?;
        Ok(self.wait(self.client.execute_raw(&statement, values))?)
    }

    /// Runs a statement that returns one number, and must not store what another row has.
    pub(crate) fn execute_unique(&self, sql: &str, values: &[Value<'_>]) -> Result<i64, Refused> {
        let rows = self.rows(sql, values).map_err(|why| match why {
            Fault::Told(why) if why.code() == Some(&SqlState::UNIQUE_VIOLATION) => Refused::Taken,
            why => Refused::Other(why.into()),
        })?;
        rows.first()
            .ok_or_else(|| Refused::Other(Error::Database(format!("no row came of: {sql}"))))
            .and_then(|row| super::cell::get(row, 0).map_err(Refused::Other))
    }

    /// The rows that a statement brings.
    pub(crate) fn query(
        &self,
        sql: &str,
        values: &[Value<'_>],
    ) -> Result<Vec<tokio_postgres::Row>, Error> {
        Ok(self.rows(sql, values)?)
    }

    fn rows(&self, sql: &str, values: &[Value<'_>]) -> Result<Vec<tokio_postgres::Row>, Fault> {
        let statement = self.prepared(sql)?;
        let values: Vec<&(dyn ToSql + Sync)> = values.iter().map(|one| one as _).collect();
        self.wait(self.client.query(&statement, &values))
    }

    /// Adds rows to a table: `copy` is the COPY statement, `types` are those of its columns.
    pub(crate) fn fill(
        &self,
        copy: &str,
        types: &[Type],
        rows: &[Vec<Value<'_>>],
    ) -> Result<(), Error> {
        let statement = self.prepared(copy)?;
        let filling = async {
            let writer = BinaryCopyInWriter::new(self.client.copy_in(&statement).await?, types);
            let mut writer = std::pin::pin!(writer);
            for row in rows {
                writer.as_mut().write_raw(row).await?;
            }
            writer.finish().await
        };
        Ok(self.wait(filling).map(drop)?)
    }

    /// Takes over the last time that was given, here or elsewhere.
    pub(crate) fn stamp_from(&self, last: Timestamp) {
        self.last.set(last);
    }

    /// The last time that was given.
    pub(crate) fn stamp_last(&self) -> Timestamp {
        self.last.get()
    }

    /// `now`, or a microsecond after the last one if that is later.
    pub(crate) fn stamp(&self, now: Timestamp) -> Timestamp {
        let next = now.max(Timestamp::from_micros(self.last.get().as_micros() + 1));
        self.last.set(next);
        self.given.set(now);
        next
    }

    /// The `now` of which the last one was made.
    pub(crate) fn stamp_given(&self) -> Timestamp {
        self.given.get()
    }
}

/// The answer, if it is there at once.
async fn poll_once<T>(mut answer: Pin<&mut (impl Future<Output = T> + ?Sized)>) -> Option<T> {
    std::future::poll_fn(|context| {
        Poll::Ready(match answer.as_mut().poll(context) {
            Poll::Ready(answer) => Some(answer),
            Poll::Pending => None,
        })
    })
    .await
}

//! A connection to PostgreSQL that one thread uses, statement by statement.
//!
//! The use cases are plain functions, so a connection belongs to a thread, which drives it while it waits for an answer. What needs no answer is sent at
//! once and awaited later, so that a transaction costs fewer ways to the server than it has statements.
//! Guarantee: no answer is waited for longer than [`Patience`] has it; after a failure of the connection nothing more is sent on it, and nothing of it reaches the
//! next: what was prepared and what was sent ends with it. A commit that is `Ok` is on stable storage, and on that of the standbys that the server waits for.

use std::{
    borrow::Cow,
    cell::{Cell, RefCell},
    collections::{HashMap, VecDeque},
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::Poll,
    time::Duration,
};

use model::Timestamp;
use tokio::runtime::Runtime;
use tokio_postgres::{
    AsyncMessage, Client, Statement,
    binary_copy::BinaryCopyInWriter,
    error::{DbError, Severity, SqlState},
    types::{ToSql, Type},
};

use super::{
    cell::{self, Unfit},
    config::{Patience, Place, told},
    dialect,
    hosts::{Hosts, Reached, Wire},
    wish::Wish,
};
use crate::{
    Error,
    engines::{
        db::{Ordered, Value, owned, values},
        statements,
    },
    outage::Seldom,
};

/// Statements that one connection keeps prepared: more than there are in the use cases; lists have many forms.
const STATEMENTS_MAX: usize = 512;

/// A statement that was sent and whose answer is not yet there.
type Sent = Pin<Box<dyn Future<Output = Result<u64, tokio_postgres::Error>> + Send>>;

/// Why there is no answer.
enum Fault {
    /// The server, or the connection, says why.
    Told(tokio_postgres::Error),
    /// The same of a statement that was sent before.
    Before(tokio_postgres::Error),
    /// Nothing came in time.
    Silent,
    /// The connection broke before: nothing was sent.
    Unsent,
    /// The statement took longer than its reader may have it take.
    Late,
}

impl From<tokio_postgres::Error> for Fault {
    fn from(why: tokio_postgres::Error) -> Self {
        Self::Told(why)
    }
}

impl From<Fault> for Error {
    fn from(why: Fault) -> Self {
        match why {
            Fault::Told(why) | Fault::Before(why) => database(&why),
            Fault::Silent => {
                tracing::warn!("the database does not answer; the connection is given up");
                Self::Busy
            }
            Fault::Unsent => Self::Busy,
            Fault::Late => Self::ReadTooLong,
        }
    }
}

impl Fault {
    /// Whether the connection, as it is, is of no more use.
    fn ends_connection(&self) -> bool {
        let why = match self {
            Self::Told(why) | Self::Before(why) => why,
            Self::Silent | Self::Unsent => return true,
            Self::Late => return false,
        };
        self.ends_session()
            || why.code().is_some_and(|code| {
                [
                    // The server is not the one any more that takes changes: the next connection finds that.
                    SqlState::READ_ONLY_SQL_TRANSACTION,
                    // What was prepared is not known any more, since a pooler stands between, or its rows look otherwise, since the schema was changed.
                    SqlState::INVALID_SQL_STATEMENT_NAME,
                    SqlState::FEATURE_NOT_SUPPORTED,
                ]
                .contains(code)
            })
    }

    /// Whether the server has ended the session, or nobody knows what it does: a commit may have been stored or not.
    fn ends_session(&self) -> bool {
        match self {
            Self::Told(why) | Self::Before(why) => match why.as_db_error() {
                Some(why) => matches!(
                    why.parsed_severity(),
                    Some(Severity::Fatal | Severity::Panic)
                ),
                // All without the server's words is the connection's, but for a value that was not even sent.
                None => !std::error::Error::source(why)
                    .is_some_and(<dyn std::error::Error + 'static>::is::<Unfit>),
            },
            Self::Silent => true,
            Self::Unsent | Self::Late => false,
        }
    }
}

/// A connection.
pub(crate) struct Session {
    runtime: Runtime,
    client: Arc<Client>,
    statements: RefCell<HashMap<String, Statement>>,
    sent: RefCell<VecDeque<Sent>>,
    patience: Cell<Patience>,
    hosts: Arc<Hosts>,
    /// The place of its host among them.
    host: usize,
    is_broken: Cell<bool>,
    /// Whether the server said of a commit that it is not what it should be.
    is_doubted: Arc<AtomicBool>,
    /// Whether statements of a read are bounded, and whether one of them met the bound.
    is_limited: Cell<bool>,
    was_late: Cell<bool>,
    /// The last time that was given, and what the clock said then.
    last: Cell<Timestamp>,
    given: Cell<Option<Timestamp>>,
    /// The last place of each table that is in order, while nobody else can take the next.
    places: Cell<Option<[i64; Ordered::ALL.len()]>>,
    /// What the transaction under way goes on from, until it is needed.
    start: RefCell<Option<Start>>,
}

/// Rows that were asked for and may not be there yet.
type Later = Arc<Mutex<Option<Result<Vec<tokio_postgres::Row>, Error>>>>;

/// What a transaction that has the turn goes on from.
struct Start {
    turn: Later,
    places: Later,
}

/// Why there is no connection.
struct Unmade {
    why: Error,
    is_crowded: bool,
}

impl From<Error> for Unmade {
    fn from(why: Error) -> Self {
        Self {
            why,
            is_crowded: false,
        }
    }
}

/// Why a node goes without a connection for now.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Away {
    /// No host can be reached.
    Unreachable,
    /// The server has no more connections for this node.
    Crowded,
}

/// A database's error in the store's words, which the log is told as well where a caller hears no
/// more than [`Error::Busy`].
pub(crate) fn database(why: &tokio_postgres::Error) -> Error {
    if why.code() == Some(&SqlState::DISK_FULL) {
        static DISK_FULL: Seldom = Seldom::new();
        if DISK_FULL.is_time() {
            tracing::error!(why = %told(why), "the database's disk is full: nothing is accepted until there is room on it again");
        }
    } else if is_passing(why) {
        tracing::warn!(why = %told(why), "the database does not answer as it should");
    }
    in_words(why)
}

/// A database's error in the store's words. A fault that is over in a moment, or with another
/// connection, is [`Error::Busy`].
fn in_words(why: &tokio_postgres::Error) -> Error {
    if why.code() == Some(&SqlState::DISK_FULL) || is_passing(why) {
        return Error::Busy;
    }
    Error::Database(match why.as_db_error() {
        // Detail and position may repeat a row's values.
        Some(why) if *why.code() == SqlState::INSUFFICIENT_PRIVILEGE => {
            format!(
                "{}: this user needs the rights that README names",
                why.message()
            )
        }
        Some(why) => format!("{} ({})", why.message(), why.code().code()),
        None => told(why),
    })
}

/// Whether it says something of the database's state, rather than of what was asked.
fn is_passing(why: &tokio_postgres::Error) -> bool {
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
        || [
            SqlState::LOCK_NOT_AVAILABLE,
            SqlState::READ_ONLY_SQL_TRANSACTION,
            SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT,
            SqlState::INVALID_SQL_STATEMENT_NAME,
        ]
        .contains(code)
}

/// Drives a connection while its thread waits, until it ends.
async fn drive(mut wire: Wire, is_doubted: Arc<AtomicBool>) {
    loop {
        match std::future::poll_fn(|context| wire(context)).await {
            Some(Ok(AsyncMessage::Notice(notice)))
                if notice.parsed_severity() == Some(Severity::Warning) =>
            {
                tracing::warn!(why = notice.message(), "the database warns");
                if doubts_commit(&notice) {
                    is_doubted.store(true, Ordering::Relaxed);
                }
            }
            Some(Ok(_)) => {}
            Some(Err(why)) => {
                tracing::info!(why = %told(&why), "a connection to the database ended");
                return;
            }
            None => return,
        }
    }
}

/// Whether a commit is not what it should be though it is answered like one that is: it did not wait for a standby, since an operator cancelled that, or there was
/// no transaction to commit.
fn doubts_commit(warning: &DbError) -> bool {
    // The message is in the server's language, and this warning has no code of its own.
    warning.routine() == Some("SyncRepWaitForLSN")
        || *warning.code() == SqlState::NO_ACTIVE_SQL_TRANSACTION
}

impl Session {
    /// Connects, to prepare a database or look into it.
    ///
    /// # Errors
    /// When no host of the place answers and takes changes; in words.
    pub(crate) fn connect(place: &Place) -> Result<Self, Error> {
        Self::with(place, Patience::OPENING).map_err(|unmade| unmade.why)
    }

    fn with(place: &Place, patience: Patience) -> Result<Self, Unmade> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()
            .map_err(|why| Error::Database(format!("a connection cannot be driven: {why}")))?;
        let Reached { client, wire, host } = match runtime.block_on(place.hosts.connect()) {
            Ok(reached) => reached,
            Err(why) => {
                // A name may still be looked up, which nobody waits for.
                runtime.shutdown_background();
                let (place, is_crowded) = (place.told(), why.is_crowded);
                let why = Error::Database(format!("{place} cannot be reached: {}", why.why));
                return Err(Unmade { why, is_crowded });
            }
        };
        let is_doubted = Arc::new(AtomicBool::new(false));
        runtime.spawn(drive(wire, is_doubted.clone()));
        let session = Self {
            runtime,
            client: Arc::new(client),
            statements: RefCell::default(),
            sent: RefCell::default(),
            patience: Cell::new(patience),
            hosts: place.hosts.clone(),
            host,
            is_broken: Cell::new(false),
            is_doubted,
            is_limited: Cell::new(false),
            was_late: Cell::new(false),
            last: Cell::new(Timestamp::ZERO),
            given: Cell::new(None),
            places: Cell::new(None),
            start: RefCell::default(),
        };
        session.be(patience)?;
        Ok(session)
    }

    /// Connects again, to serve, as `wish` wants: fails at once where it was just tried in vain.
    ///
    /// # Errors
    /// The log has the words.
    pub(super) fn again(place: &Place, patience: Patience, wish: &mut Wish) -> Result<Self, Away> {
        if place.hosts.is_in_trouble() {
            return Err(Away::Unreachable);
        }
        match Self::with(place, patience) {
            Ok(session) => {
                place.hosts.reached();
                wish.granted();
                Ok(session)
            }
            Err(unmade) => {
                let why = match unmade.why {
                    Error::Database(words) => words,
                    why => why.to_string(),
                };
                if unmade.is_crowded {
                    wish.refused(&why);
                    return Err(Away::Crowded);
                }
                place.hosts.not_reached(&why);
                Err(Away::Unreachable)
            }
        }
    }

    /// Has the server, and itself, wait so long and no longer, and makes sure that a commit is synced
    /// before it is answered, by a standby too if the server waits for one.
    ///
    /// Statements are written to be run along indexes. The server is kept from whole tables and from
    /// joins that read them: without statistics, or with those of another time, it would take them
    /// for small, and keep the plan while they grow. A plan that it is kept from but has no other for
    /// counts as dear, which would have it compiled each time.
    pub(crate) fn be(&self, patience: Patience) -> Result<(), Error> {
        self.patience.set(patience);
        self.run(&format!(
            "SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; SET jit = off;
             SET statement_timeout = {}; SET lock_timeout = {}; SET idle_in_transaction_session_timeout = {};
             SELECT set_config('synchronous_commit', 'on', FALSE) WHERE current_setting('synchronous_commit') NOT IN ('on', 'remote_apply')",
            patience.statement.as_millis(),
            patience.lock.as_millis(),
            patience.idle.as_millis()
        ))
    }

    /// Whether it can be used: looks at what came of it meanwhile.
    pub(crate) fn is_well(&self) -> bool {
        if !self.is_broken.get() {
            // Once, to hear of what arrived since it was last driven, and once, for the connection to look at it.
            for _ in 0..2 {
                self.runtime.block_on(tokio::task::yield_now());
            }
            if self.client.is_closed() {
                self.leave();
            }
        }
        !self.is_broken.get() && self.hosts.is_first(self.host)
    }

    /// Nothing more is sent on it.
    fn leave(&self) {
        if !self.is_broken.replace(true) {
            self.hosts.leave(self.host);
        }
    }

    /// Waits for `answer`, behind what was sent before.
    fn wait<T>(
        &self,
        answer: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, Fault> {
        let sent = std::mem::take(&mut *self.sent.borrow_mut());
        if self.is_broken.get() {
            return Err(Fault::Unsent);
        }
        let all = async {
            let mut answer = std::pin::pin!(answer);
            // Sent before anything is awaited: it travels with what was sent before.
            let early = poll_once(answer.as_mut()).await;
            for one in sent {
                one.await.map_err(Fault::Before)?;
            }
            let answer = match early {
                Some(answer) => answer,
                None => answer.await,
            };
            answer.map_err(Fault::Told)
        };
        let patience = self.patience.get().answer;
        let waited = self
            .runtime
            .block_on(async { tokio::time::timeout(patience, all).await });
        let answer = self.judged(waited.unwrap_or(Err(Fault::Silent)));
        if answer.as_ref().is_err_and(Fault::ends_connection) {
            self.leave();
        }
        answer
    }

    /// Tells a statement that met its read's bound from other failures.
    fn judged<T>(&self, answer: Result<T, Fault>) -> Result<T, Fault> {
        match answer {
            Err(Fault::Told(why) | Fault::Before(why))
                if self.is_limited.get() && why.code() == Some(&SqlState::QUERY_CANCELED) =>
            {
                self.was_late.set(true);
                Err(Fault::Late)
            }
            answer => answer,
        }
    }

    /// Runs `look`, a part of the transaction under way, in which the server works no longer than
    /// this on a statement.
    ///
    /// # Errors
    /// [`Error::ReadTooLong`] when `look` fails since it did; the transaction, or the part of it
    /// that can be undone alone, has failed then.
    pub(super) fn limited<T>(
        &self,
        within: Duration,
        look: impl FnOnce() -> Result<T, Error>,
    ) -> Result<T, Error> {
        let within = within.min(self.patience.get().statement);
        self.send(format!(
            "SET LOCAL statement_timeout = {}",
            within.as_millis()
        ))?;
        self.is_limited.set(true);
        self.was_late.set(false);
        let answer = look();
        self.is_limited.set(false);
        answer
    }

    /// Has the rest of the transaction take as long as the connection waits.
    pub(super) fn unlimited(&self) -> Result<(), Error> {
        let statement = self.patience.get().statement;
        self.send(format!(
            "SET LOCAL statement_timeout = {}",
            statement.as_millis()
        ))
    }

    /// Whether a statement of the last read that was limited met the bound: its transaction has
    /// failed, whatever became of the read.
    pub(super) fn was_late(&self) -> bool {
        self.was_late.replace(false)
    }

    /// Ends the transaction under way. On `Ok` it is stored.
    ///
    /// # Errors
    /// [`Error::InDoubt`] when the server may have stored it: it has not said so, or has not waited for a standby. Otherwise nothing was stored.
    pub(crate) fn commit(&self) -> Result<(), Error> {
        if self.client.is_closed() {
            self.leave();
        }
        self.is_doubted.store(false, Ordering::Relaxed);
        match self.wait(self.client.batch_execute("COMMIT")) {
            Ok(()) if self.is_doubted.load(Ordering::Relaxed) => {
                tracing::error!(
                    "a commit was answered and may be lost all the same: it was not waited for its standby. Who asked hears that it may be stored or not"
                );
                Err(Error::InDoubt)
            }
            Ok(()) => Ok(()),
            Err(why) if why.ends_session() => {
                let why = Error::from(why);
                tracing::error!(%why, "a commit was not answered; who asked hears that it may be stored or not. It may have waited for a standby that is away: `portico doctor` says so");
                Err(Error::InDoubt)
            }
            Err(why) => Err(why.into()),
        }
    }

    fn prepared(&self, sql: &str) -> Result<Statement, Fault> {
        if let Some(known) = self.statements.borrow().get(sql) {
            return Ok(known.clone());
        }
        let words = dialect::translate(sql);
        statements::note(&words);
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
    pub(crate) fn send(&self, sql: impl Into<Cow<'static, str>>) -> Result<(), Error> {
        let (client, sql) = (self.client.clone(), sql.into());
        self.post(Box::pin(async move {
            client.batch_execute(&sql).await.map(|()| 0)
        }))
    }

    fn post(&self, mut statement: Sent) -> Result<(), Error> {
        if self.is_broken.get() {
            return Err(Fault::Unsent.into());
        }
        match self.runtime.block_on(poll_once(statement.as_mut())) {
            // It was not sent: the connection has ended, or a value does not fit.
            Some(answer) => {
                let answer = answer.map_err(Fault::Told);
                if answer.as_ref().is_err_and(Fault::ends_connection) {
                    self.leave();
                }
                Ok(answer.map(drop)?)
            }
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
        let values = owned(values);
        self.post(Box::pin(async move {
            client.execute_raw(&statement, values).await
        }))
    }

    /// As [`Self::send_values`], for a statement over arrays.
    pub(crate) fn send_lists(
        &self,
        sql: &str,
        lists: Vec<Vec<Value<'static>>>,
    ) -> Result<(), Error> {
        let statement = self.prepared(sql)?;
        let client = self.client.clone();
        self.post(Box::pin(async move {
            client.execute_raw(&statement, lists).await
        }))
    }

    /// Runs a statement, and says how many rows it concerned.
    pub(crate) fn execute(&self, sql: &str, values: &[Value<'_>]) -> Result<u64, Error> {
        let statement = self.prepared(sql)?;
        Ok(self.wait(self.client.execute_raw(&statement, values))?)
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

    /// Runs several statements in one way to the server, one after the other: the rows of each.
    pub(crate) fn together(
        &self,
        statements: &[(&str, &[&(dyn ToSql + Sync)])],
    ) -> Result<Vec<Vec<tokio_postgres::Row>>, Error> {
        let mut prepared = Vec::with_capacity(statements.len());
        for (sql, _) in statements {
            prepared.push(self.prepared(sql)?);
        }
        let all = prepared
            .iter()
            .zip(statements)
            .map(|(statement, (_, values))| self.client.query(statement, values));
        Ok(self.wait(futures_util::future::try_join_all(all))?)
    }

    /// Runs a statement with each of these sets of values, all in one way to the server: the rows
    /// of each.
    pub(crate) fn query_for(
        &self,
        sql: &str,
        sets: &[Vec<Value<'_>>],
    ) -> Result<Vec<Vec<tokio_postgres::Row>>, Error> {
        let sets: Vec<Vec<&(dyn ToSql + Sync)>> = sets
            .iter()
            .map(|values| values.iter().map(|one| one as _).collect())
            .collect();
        let statements: Vec<_> = sets.iter().map(|values| (sql, values.as_slice())).collect();
        self.together(&statements)
    }

    /// Asks for rows that are needed later: they come with the next answer that is waited for.
    fn ask_later(&self, sql: &str) -> Result<Later, Error> {
        let (statement, client) = (self.prepared(sql)?, self.client.clone());
        let later = Later::default();
        let kept = later.clone();
        self.post(Box::pin(async move {
            let answer = client.query(&statement, &[]).await;
            let (rows, failed) = match answer {
                Ok(rows) => (Ok(rows), Ok(0)),
                // The log hears of it from whoever waits for what was sent.
                Err(why) => (Err(in_words(&why)), Err(why)),
            };
            *kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(rows);
            failed
        }))?;
        Ok(later)
    }

    /// Waits, on the server, until nobody else changes anything, and takes over from there.
    /// `turn` brings the last time that was given, `places` the last place of each table that is in
    /// order. Neither is waited for here: they travel with the first question of the transaction.
    pub(crate) fn take_turn(&self, turn: &str, places: &str) -> Result<(), Error> {
        // Two statements: the second sees what was committed while the first waited.
        let start = Start {
            turn: self.ask_later(turn)?,
            places: self.ask_later(places)?,
        };
        self.start.replace(Some(start));
        Ok(())
    }

    /// Makes sure that the transaction has its turn.
    ///
    /// # Errors
    /// When it could not get it, whatever failed after that.
    pub(crate) fn has_turn(&self) -> Result<(), Error> {
        let start = self.start.borrow();
        let Some(Start { turn, places }) = start.as_ref() else {
            return Ok(());
        };
        let take = |later: &Later| later.lock().unwrap_or_else(PoisonError::into_inner).take();
        let rows = |later: &Later| match take(later) {
            Some(rows) => rows,
            None => {
                let settled = self.settle();
                take(later).unwrap_or_else(|| Err(settled.err().unwrap_or(Error::Busy)))
            }
        };
        let (turn, places) = (rows(turn)?, rows(places)?);
        drop(start);
        let (turn, places) = turn.first().zip(places.first()).ok_or_else(|| {
            Error::Database("the table `turn` has no row; restore it: (1, 0)".to_owned())
        })?;
        let last = Timestamp::from_micros(cell::get(turn, 0)?);
        let mut seqs = [0; Ordered::ALL.len()];
        for (place, seq) in seqs.iter_mut().enumerate() {
            *seq = cell::get::<Option<i64>>(places, place)?.unwrap_or(0);
        }
        self.last.set(last);
        self.given.set(None);
        self.places.set(Some(seqs));
        // Only now: a turn that was not given is not given to whoever asks again.
        self.start.take();
        Ok(())
    }

    /// The next place of a table that is in order.
    pub(crate) fn next_seq(&self, table: Ordered) -> Result<i64, Error> {
        self.has_turn()?;
        let Some(mut places) = self.places.get() else {
            // Without a turn another may take it at the same time.
            let sql = "SELECT nextval(pg_get_serial_sequence(?1, 'seq'))";
            let rows = self.query(sql, values![table.table()])?;
            let row = rows.first().ok_or(Error::Busy)?;
            return cell::get(row, 0);
        };
        let place = &mut places[table as usize];
        *place += 1;
        let next = *place;
        self.places.set(Some(places));
        Ok(next)
    }

    /// The last time that was given in this transaction, if one was.
    pub(crate) fn stamp_last(&self) -> Option<Timestamp> {
        self.given.get().map(|_| self.last.get())
    }

    /// `now`, or a microsecond after the last one if that is later.
    pub(crate) fn stamp(&self, now: Timestamp) -> Result<Timestamp, Error> {
        self.has_turn()?;
        let next = now.max(Timestamp::from_micros(
            self.last.get().as_micros().saturating_add(1),
        ));
        self.last.set(next);
        self.given.set(Some(now));
        Ok(next)
    }

    /// The `now` of which the last one was made.
    pub(crate) fn stamp_given(&self) -> Timestamp {
        self.given.get().unwrap_or(Timestamp::ZERO)
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

//! The store on one machine's disk: SQLite in WAL mode, one writing thread, a few readers.
//!
//! Guarantee: `synchronous=FULL`, so a commit that returned survives the loss of power.

mod consents;
mod delivery;
mod directory;
mod erasure;
mod intake;
mod lists;
mod logs;
mod order;
mod pages;
mod plan;
mod readers;
mod records;
mod schema;
mod stamp;
mod strip;
mod sync;
mod terms;
mod writer;

use std::{path::Path, sync::Arc, time::Duration};

use async_trait::async_trait;
use model::{
    IntegrationId, JobId, KeyId, Scope, Timestamp,
    directory::Contents,
    key::Key,
    record::{Kind as RecordKind, Record},
    write::{Attempt, NewWrite, Write, WriteStatus},
};
use rusqlite::Connection;

use self::{
    erasure::{Step, Walked},
    readers::Readers,
    writer::{Kind, Writer},
};
use crate::{
    Acceptance, Claim, Depth, Error, Finish, Lane, Lapse, Observer, Once, Page, Query,
    Registration, Sealer, Signals, Store, Ticket,
    history::{Candidate, Diff, DiffQuery, Job, LogQuery, Seen, Tally},
    privacy::{ConsentEvent, ConsentQuery, Erasure},
};

/// How long a connection waits for another process (the command line) to finish its transaction.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Bytes of a page: a write is some 2.5 KB, so that three share one. In force for a database made new.
const PAGE_BYTES: u32 = 8_192;

/// Pages of the write-ahead log at which it is folded into the database: 64 MiB, so that the syncs it costs are rare.
const CHECKPOINT_PAGES: u32 = 8_192;

/// KiB of pages that one connection keeps in memory.
const CACHE_KIB: i32 = 8 * 1_024;

/// Statements that one connection keeps prepared: more than there are in these files.
const STATEMENTS: usize = 192;

/// Walks over the writes that are open or went wrong, before an erasure gives up on a person about whom something happens all the time.
const ERASURE_WALKS_MAX: u32 = 10;

/// How often, and how many times, it is tried to empty the write-ahead log: readers are done in milliseconds, the longest counts in seconds.
const FOLD_EVERY: Duration = Duration::from_millis(50);
const FOLD_TRIES_MAX: u32 = 200;

/// The store on one machine's disk.
pub struct Sqlite {
    writer: Writer,
    readers: Readers,
    signals: Arc<Signals>,
    sealer: Sealer,
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "it stands in map_err, which passes by value"
)]
pub(crate) fn database(why: rusqlite::Error) -> Error {
    Error::Database(why.to_string())
}

pub(crate) fn corrupt(what: &str) -> impl FnOnce(serde_json::Error) -> Error {
    // serde's message repeats the value it stumbled over, which may be a person's: only its place is told.
    move |why| {
        Error::Corrupt(format!(
            "{what} is not readable at line {} column {}",
            why.line(),
            why.column()
        ))
    }
}

pub(crate) fn prepare_connection(connection: &Connection) -> Result<(), Error> {
    connection.busy_timeout(BUSY_TIMEOUT).map_err(database)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection
        .pragma_update(None, "cache_size", -CACHE_KIB)
        .map_err(database)
}

/// Makes the file, if there is none, for its owner alone: contacts are in it. SQLite gives its companions the same mode.
fn private(path: &Path) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop)
}

impl Sqlite {
    /// Opens the database at `path`, made when absent, and brings its schema up to date.
    ///
    /// # Errors
    /// When it cannot be opened, was written by a newer Portico, or is sealed under another master key.
    pub fn open(
        path: &Path,
        sealer: Sealer,
        observer: Arc<dyn Observer>,
        now: Timestamp,
    ) -> Result<Self, Error> {
        private(path).map_err(|why| {
            Error::Database(format!("{} cannot be opened: {why}", path.display()))
        })?;
        let mut connection = Connection::open(path).map_err(database)?;
        prepare_connection(&connection)?;
        connection
            .pragma_update(None, "page_size", PAGE_BYTES)
            .map_err(database)?;
        connection
            .pragma_update(None, "journal_mode", "WAL")
            .map_err(database)?;
        connection
            .pragma_update(None, "synchronous", "FULL")
            .map_err(database)?;
        connection
            .pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)
            .map_err(database)?;
        // What is removed is overwritten where it stood; what was removed before this was so is left out of the file once.
        connection
            .pragma_update(None, "secure_delete", "ON")
            .map_err(database)?;
        pages::check(&connection)?;
        if schema::migrate(&mut connection, now)? {
            connection.execute_batch("VACUUM").map_err(database)?;
        }
        directory::contents(&connection, &sealer)?;
        order::build(&mut connection)?;
        terms::build(&mut connection)?;
        stamp::build(&connection)?;
        let signals = Arc::new(Signals::default());
        let readers = Readers::open(path)?;
        let writer = Writer::start(connection, signals.clone(), observer)?;
        Ok(Self {
            writer,
            readers,
            signals,
            sealer,
        })
    }
}

impl Sqlite {
    /// Removes what is a person's from the tables; `None` when there is no such prospect that the caller may know of.
    async fn erase(
        &self,
        scope: &Scope,
        id: &str,
        now: Timestamp,
    ) -> Result<Option<Erasure>, Error> {
        for _ in 0..ERASURE_WALKS_MAX {
            let (own, name) = (scope.clone(), id.to_owned());
            let mut walked = self
                .readers
                .read(move |connection| erasure::begin(connection, &own, &name))
                .await?;
            let walk = loop {
                walked = match walked {
                    Walked::None => return Ok(None),
                    Walked::Done(erasure) => return Ok(Some(erasure)),
                    Walked::All(walk) => break walk,
                    Walked::On(walking) => {
                        let on = move |connection: &Connection| erasure::walk(connection, walking);
                        self.readers.read(on).await?
                    }
                };
            };
            let own = scope.clone();
            let step = self
                .writer
                .write(Kind::Other, move |connection, _| {
                    erasure::erase(connection, &own, &walk, now)
                })
                .await?;
            match step {
                Step::None => return Ok(None),
                Step::Done(erasure) => return Ok(Some(erasure)),
                Step::Again => {}
            }
        }
        Err(Error::Busy)
    }

    /// Overwrites what SQLite has left of removed rows between others.
    async fn clear(&self) -> Result<(), Error> {
        let mut next = Some(1);
        while let Some(first) = next {
            let piece = self
                .readers
                .read(move |connection| pages::walk(connection, first))
                .await?;
            for some in piece.unclear.chunks(pages::CLEAR_MAX_PAGES) {
                let some = some.to_vec();
                self.writer
                    .write(Kind::Other, move |connection, _| {
                        pages::clear(connection, &some)
                    })
                    .await?;
            }
            next = piece.next;
        }
        Ok(())
    }

    /// Folds the write-ahead log into the database and empties it, so that nothing removed is left in it.
    async fn fold(&self) -> Result<(), Error> {
        for _ in 0..FOLD_TRIES_MAX {
            if self.writer.fold().await? {
                return Ok(());
            }
            tokio::time::sleep(FOLD_EVERY).await;
        }
        Err(Error::Unfinished(
            "all of it is forgotten, but traces are left in the write-ahead log, which a reader keeps from being emptied. Send this again to finish it"
                .to_owned(),
        ))
    }
}

#[async_trait]
impl Store for Sqlite {
    async fn write_accept(
        &self,
        scope: &Scope,
        write: NewWrite,
        once: Option<Once>,
    ) -> Result<Acceptance, Error> {
        if !scope.sees(write.integration_id) {
            return Err(Error::Conflict(
                "the integration is not the caller's".to_owned(),
            ));
        }
        let row = intake::Row::of(write, scope)?;
        let bytes = row.bytes();
        self.writer
            .write(Kind::Accept { bytes }, move |connection, effects| {
                intake::accept(connection, effects, &row, once.as_ref())
            })
            .await
    }

    async fn replay_find(&self, _scope: &Scope, once: &Once) -> Result<Option<Acceptance>, Error> {
        let once = once.clone();
        self.readers
            .read(move |connection| intake::replay(connection, &once))
            .await
    }

    async fn write_find(&self, scope: &Scope, job_id: JobId) -> Result<Option<Write>, Error> {
        let scope = scope.clone();
        self.readers
            .read(move |connection| intake::find(connection, &scope, job_id))
            .await
    }

    async fn attempts_list(&self, scope: &Scope, job_id: JobId) -> Result<Vec<Attempt>, Error> {
        let scope = scope.clone();
        self.readers
            .read(move |connection| delivery::attempts(connection, &scope, job_id))
            .await
    }

    async fn record_find(
        &self,
        scope: &Scope,
        kind: RecordKind,
        id: &str,
    ) -> Result<Option<Record>, Error> {
        let (scope, id) = (scope.clone(), id.to_owned());
        self.readers
            .read(move |connection| records::find(connection, &scope, kind, &id))
            .await
    }

    async fn records_list(&self, scope: &Scope, query: &Query) -> Result<Page<Record>, Error> {
        let (scope, query) = (scope.clone(), query.clone());
        self.readers
            .read(move |connection| lists::list(connection, &scope, &query))
            .await
    }

    async fn writes_list(&self, scope: &Scope, query: &LogQuery) -> Result<Vec<Write>, Error> {
        let (scope, query) = (scope.clone(), query.clone());
        self.readers
            .read(move |connection| logs::writes(connection, &scope, &query))
            .await
    }

    async fn jobs_list(&self, scope: &Scope, query: &LogQuery) -> Result<Vec<Job>, Error> {
        let (scope, query) = (scope.clone(), query.clone());
        self.readers
            .read(move |connection| logs::jobs(connection, &scope, &query))
            .await
    }

    async fn diffs_list(&self, scope: &Scope, query: &DiffQuery) -> Result<Page<Diff>, Error> {
        let (scope, query) = (scope.clone(), query.clone());
        self.readers
            .read(move |connection| logs::diffs(connection, &scope, &query))
            .await
    }

    async fn sync_request(
        &self,
        scope: &Scope,
        id: IntegrationId,
        now: Timestamp,
    ) -> Result<bool, Error> {
        if !scope.sees(id) {
            return Ok(false);
        }
        self.writer
            .write(Kind::Other, move |connection, effects| {
                sync::request(connection, effects, id, now)
            })
            .await
    }

    async fn syncs_due(&self) -> Result<Vec<(IntegrationId, Timestamp)>, Error> {
        self.readers.read(sync::due).await
    }

    async fn sync_begin(
        &self,
        id: IntegrationId,
        job_id: JobId,
        now: Timestamp,
        next_at: Timestamp,
    ) -> Result<(), Error> {
        self.writer
            .write(Kind::Other, move |connection, _| {
                sync::begin(connection, id, job_id, now, next_at)
            })
            .await
    }

    async fn sync_candidates(
        &self,
        id: IntegrationId,
        newest: u64,
        stalest: u64,
    ) -> Result<Vec<Candidate>, Error> {
        self.readers
            .read(move |connection| sync::candidates(connection, id, newest, stalest))
            .await
    }

    async fn sync_record(
        &self,
        id: IntegrationId,
        job_id: JobId,
        seen: Vec<Seen>,
        now: Timestamp,
    ) -> Result<Tally, Error> {
        self.writer
            .write(Kind::Other, move |connection, effects| {
                sync::record(connection, effects, id, job_id, &seen, now)
            })
            .await
    }

    async fn sync_end(
        &self,
        job_id: JobId,
        status: WriteStatus,
        tally: Tally,
        now: Timestamp,
        next_at: Option<Timestamp>,
    ) -> Result<(), Error> {
        self.writer
            .write(Kind::Other, move |connection, _| {
                sync::end(connection, job_id, status, &tally, now, next_at)
            })
            .await
    }

    async fn syncs_void(&self, now: Timestamp) -> Result<u64, Error> {
        self.writer
            .write(Kind::Other, move |connection, _| {
                sync::void(connection, now)
            })
            .await
    }

    async fn history_sweep(&self, before: Timestamp, limit: u32) -> Result<u64, Error> {
        self.writer
            .write(Kind::Other, move |connection, _| {
                logs::sweep(connection, before, limit)
            })
            .await
    }

    async fn consents_list(
        &self,
        scope: &Scope,
        query: &ConsentQuery,
    ) -> Result<Option<Page<ConsentEvent>>, Error> {
        let (scope, query) = (scope.clone(), query.clone());
        self.readers
            .read(move |connection| consents::list(connection, &scope, &query))
            .await
    }

    async fn prospect_erase(
        &self,
        scope: &Scope,
        id: &str,
        now: Timestamp,
    ) -> Result<Option<Erasure>, Error> {
        let Some(erasure) = self.erase(scope, id, now).await? else {
            return Ok(None);
        };
        self.clear().await?;
        self.fold().await?;
        Ok(Some(erasure))
    }

    async fn attempts_sweep(&self, before: Timestamp, limit: u32) -> Result<u64, Error> {
        self.writer
            .write(Kind::Other, move |connection, _| {
                strip::sweep_attempts(connection, before, limit)
            })
            .await
    }

    async fn writes_sweep(
        &self,
        before: Timestamp,
        limit: u32,
        now: Timestamp,
    ) -> Result<u64, Error> {
        self.writer
            .write(Kind::Other, move |connection, _| {
                strip::sweep_writes(connection, before, limit, now)
            })
            .await
    }

    async fn writes_claim(&self, claim: Claim) -> Result<Vec<Lane>, Error> {
        self.writer
            .write(Kind::Other, move |connection, _| {
                delivery::claim(connection, &claim)
            })
            .await
    }

    async fn leases_renew(&self, tickets: Vec<Ticket>, until: Timestamp) -> Result<(), Error> {
        self.writer
            .write(Kind::Other, move |connection, _| {
                delivery::renew(connection, &tickets, until)
            })
            .await
    }

    async fn leases_lapse(&self, which: Lapse, now: Timestamp) -> Result<u64, Error> {
        self.writer
            .write(Kind::Other, move |connection, effects| {
                delivery::lapse(connection, effects, which, now)
            })
            .await
    }

    async fn lanes_due(&self) -> Result<Vec<(IntegrationId, Timestamp)>, Error> {
        self.readers.read(delivery::lanes_due).await
    }

    async fn attempt_finish(&self, finish: &Finish) -> Result<WriteStatus, Error> {
        let finish = finish.clone();
        self.writer
            .write(Kind::Other, move |connection, effects| {
                delivery::finish(connection, effects, &finish)
            })
            .await
    }

    async fn directory_revision(&self) -> Result<i64, Error> {
        self.readers.read(directory::revision).await
    }

    async fn directory_contents(&self) -> Result<Contents, Error> {
        let sealer = self.sealer.clone();
        self.readers
            .read(move |connection| directory::contents(connection, &sealer))
            .await
    }

    async fn integration_register(
        &self,
        registration: Registration,
        now: Timestamp,
    ) -> Result<(), Error> {
        let sealed = self.sealer.seal(
            &registration.integration.id.to_string(),
            &registration.integration.credential,
        )?;
        self.writer
            .write(Kind::Other, move |connection, effects| {
                directory::register(connection, effects, &registration, &sealed, now)
            })
            .await
    }

    async fn key_create(&self, key: Key) -> Result<(), Error> {
        self.writer
            .write(Kind::Other, move |connection, effects| {
                directory::key_create(connection, effects, &key)
            })
            .await
    }

    async fn keys_list(&self) -> Result<Vec<Key>, Error> {
        self.readers.read(directory::keys).await
    }

    async fn key_revoke(&self, id: KeyId, now: Timestamp) -> Result<bool, Error> {
        self.writer
            .write(Kind::Other, move |connection, effects| {
                directory::key_revoke(connection, effects, id, now)
            })
            .await
    }

    async fn idempotency_sweep(&self, now: Timestamp, limit: u32) -> Result<u64, Error> {
        self.writer
            .write(Kind::Other, move |connection, _| {
                intake::sweep(connection, now, limit)
            })
            .await
    }

    async fn queue_depth(&self) -> Result<Depth, Error> {
        self.readers.read(delivery::depth).await
    }

    async fn check(&self) -> Result<(), Error> {
        self.writer.write(Kind::Other, |_, _| Ok(())).await
    }

    fn signals(&self) -> &Signals {
        &self.signals
    }

    async fn close(&self) {
        self.writer.close().await;
        self.readers.close();
    }
}

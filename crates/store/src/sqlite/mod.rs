//! The store on one machine's disk: SQLite in WAL mode, one writing thread, a few readers.
//!
//! Guarantee: `synchronous=FULL`, so a commit that returned survives the loss of power.

mod audit;
pub mod backup;
mod consents;
mod deliveries;
mod delivery;
mod directory;
mod erasure;
mod events;
pub mod inspect;
mod intake;
mod keys;
mod lists;
mod logs;
mod order;
mod pages;
mod plan;
mod readers;
mod records;
mod schema;
mod sealed;
mod stamp;
mod strip;
mod sync;
mod terms;
mod webhooks;
mod writer;

use std::{path::Path, sync::Arc, time::Duration};

use async_trait::async_trait;
use model::{
    Actor, EventId, IntegrationId, JobId, KeyId, Scope, Secret, Timestamp, WebhookId,
    audit::{Chain, Entry},
    directory::{Contents, Integration},
    key::{Key, Token},
    record::{Kind as RecordKind, Record},
    resources::integration::{Change, Member},
    webhook::{self, Delivery, DeliveryAttempt, Event, Webhook},
    write::{Attempt, NewWrite, Write, WriteStatus},
};
use rusqlite::{Connection, config::DbConfig};

use self::{
    erasure::{Step, Walked},
    readers::Readers,
    writer::{Kind, Writer},
};
use crate::{
    Acceptance, Claim, Depth, Error, Finish, Lane, Lapse, Observer, Once, Page, Query, Registered,
    Registration, Sealer, Signals, Store, Ticket,
    history::{AuditQuery, Candidate, Diff, DiffQuery, Job, LogQuery, Seen, Tally},
    privacy::{ConsentEvent, ConsentQuery, Erasure},
    sealing::{MasterKeyId, Purpose},
    signals::Effects,
    webhooks::{
        DeliveryClaim, DeliveryFinish, DeliveryLane, DeliveryQuery, EventQuery, Replay, Replayed,
    },
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
    /// Held while a subscription is read, changed and put back.
    webhook_changes: tokio::sync::Mutex<()>,
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "it stands in map_err, which passes by value"
)]
pub(crate) fn database(why: rusqlite::Error) -> Error {
    match why.sqlite_error_code() {
        // Another process kept the database to itself for longer than a connection waits: nothing is wrong with it.
        Some(rusqlite::ErrorCode::DatabaseBusy) => Error::Busy,
        _ => Error::Database(why.to_string()),
    }
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
    // A plan follows from the statement alone. Else SQLite plans anew where a bound value might matter to it, such as a limit, and it cannot tell a value from another
    // once the statement was back in the cache: that is at each use, and was a quarter of what the writing thread did.
    connection
        .set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)
        .map_err(database)?;
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
        sealed::agree(&connection, &sealer, now)?;
        order::build(&mut connection)?;
        terms::build(&mut connection)?;
        stamp::build(&connection)?;
        let signals = Arc::new(Signals::default());
        let readers = Readers::open(path)?;
        let writer = Writer::start(connection, signals.clone(), observer, sealer.entropy())?;
        Ok(Self {
            writer,
            readers,
            signals,
            sealer,
            webhook_changes: tokio::sync::Mutex::default(),
        })
    }
}

impl Sqlite {
    /// Removes what is a person's from the tables; `None` when there is no such prospect that the caller may know of.
    async fn erase(&self, by: &Actor, id: &str, now: Timestamp) -> Result<Option<Erasure>, Error> {
        for _ in 0..ERASURE_WALKS_MAX {
            let (own, name) = (by.scope.clone(), id.to_owned());
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
            let by = by.clone();
            let step = self
                .writer
                .write(Kind::Other, move |connection, effects| {
                    erasure::erase(connection, effects, &by, &walk, now)
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
        by: &Actor,
        id: IntegrationId,
        now: Timestamp,
    ) -> Result<bool, Error> {
        if !by.scope.sees(id) {
            return Ok(false);
        }
        let by = by.clone();
        self.writer
            .write(Kind::Other, move |connection, effects| {
                let is_due = sync::request(connection, effects, id, now)?;
                if is_due {
                    let deed = ("integration_sync", id.to_string());
                    directory::note(connection, &by, id, (deed.0, &deed.1), now)?;
                }
                Ok(is_due)
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
            .write(Kind::Other, move |connection, effects| {
                sync::end(connection, effects, job_id, status, &tally, now, next_at)
            })
            .await
    }

    async fn syncs_void(&self, now: Timestamp) -> Result<u64, Error> {
        self.writer
            .write(Kind::Other, move |connection, effects| {
                sync::void(connection, effects, now)
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
        by: &Actor,
        id: &str,
        now: Timestamp,
    ) -> Result<Option<Erasure>, Error> {
        let Some(erasure) = self.erase(by, id, now).await? else {
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

    async fn directory_contents(&self, since: i64) -> Result<Contents, Error> {
        self.read_sealed(move |connection, sealer| directory::contents(connection, sealer, since))
            .await
    }

    async fn integration_register(
        &self,
        by: &Actor,
        registration: Registration,
        now: Timestamp,
    ) -> Result<(), Error> {
        let owner = registration.integration.id.to_string();
        let credential = registration.integration.credential.clone();
        let by = by.clone();
        let change = move |connection: &Connection, effects: &mut Effects, sealed: &[u8]| {
            directory::register(connection, effects, &by, &registration, sealed, now)
        };
        self.write_sealed(&owner, Purpose::Credential, &credential, change)
            .await
    }

    async fn master_key_current(&self) -> Result<MasterKeyId, Error> {
        self.readers.read(sealed::current).await
    }

    async fn master_key_set(
        &self,
        by: &Actor,
        id: MasterKeyId,
        now: Timestamp,
    ) -> Result<(), Error> {
        self.has_key(id).await?;
        let by = by.clone();
        self.writer
            .write(Kind::Other, move |connection, _| {
                sealed::set(connection, &by, id, now)
            })
            .await
    }

    async fn secrets_rewrap(&self, limit: u32) -> Result<u64, Error> {
        let sealer = self.sealer.clone();
        self.writer
            .write(Kind::Other, move |connection, _| {
                sealed::rewrap(connection, &sealer, limit)
            })
            .await
    }

    async fn integration_change(
        &self,
        by: &Actor,
        id: IntegrationId,
        action: &'static str,
        change: Change,
        now: Timestamp,
    ) -> Result<Option<Integration>, Error> {
        let by = by.clone();
        let secret = match (&change.credential, change.archived_at) {
            (_, Some(_)) => Secret::new(""),
            (Some(credential), None) => credential.clone(),
            (None, None) => {
                return self
                    .writer
                    .write(Kind::Other, move |connection, effects| {
                        let what = (id, action);
                        directory::change(connection, effects, &by, what, (&change, None), now)
                    })
                    .await;
            }
        };
        let change = move |connection: &Connection, effects: &mut Effects, sealed: &[u8]| {
            let (what, change) = ((id, action), (&change, Some(sealed)));
            directory::change(connection, effects, &by, what, change, now)
        };
        self.write_sealed(&id.to_string(), Purpose::Credential, &secret, change)
            .await
    }

    async fn members_register(
        &self,
        by: &Actor,
        id: IntegrationId,
        action: &'static str,
        members: Vec<Member>,
        now: Timestamp,
    ) -> Result<Option<Vec<Registered>>, Error> {
        let by = by.clone();
        self.writer
            .write(Kind::Other, move |connection, effects| {
                directory::members(connection, effects, &by, (id, action), &members, now)
            })
            .await
    }

    async fn key_create(&self, by: &Actor, key: Key) -> Result<(), Error> {
        let by = by.clone();
        self.writer
            .write(Kind::Other, move |connection, effects| {
                keys::create(connection, effects, &by, &key)
            })
            .await
    }

    async fn keys_list(&self) -> Result<Vec<Key>, Error> {
        self.readers
            .read(|connection| keys::since(connection, 0))
            .await
    }

    async fn key_revoke(
        &self,
        by: &Actor,
        id: KeyId,
        now: Timestamp,
    ) -> Result<Option<Key>, Error> {
        let by = by.clone();
        self.writer
            .write(Kind::Other, move |connection, effects| {
                keys::revoke(connection, effects, &by, id, now)
            })
            .await
    }

    async fn key_rotate(
        &self,
        by: &Actor,
        id: KeyId,
        token: Token,
        old_until: Timestamp,
        now: Timestamp,
    ) -> Result<Option<Key>, Error> {
        let by = by.clone();
        self.writer
            .write(Kind::Other, move |connection, effects| {
                keys::rotate(connection, effects, &by, id, &token, old_until, now)
            })
            .await
    }

    async fn keys_used(&self, uses: Vec<(KeyId, Timestamp)>) -> Result<(), Error> {
        self.writer
            .write(Kind::Other, move |connection, _| {
                keys::used(connection, &uses)
            })
            .await
    }

    async fn audit_list(
        &self,
        scope: &Scope,
        query: &AuditQuery,
    ) -> Result<Page<(Entry, Vec<u8>)>, Error> {
        let (scope, query) = (scope.clone(), query.clone());
        self.readers
            .read(move |connection| audit::list(connection, &scope, &query))
            .await
    }

    async fn audit_follow(
        &self,
        chain: Chain,
        limit: u32,
    ) -> Result<(Chain, Option<String>), Error> {
        self.readers
            .read(move |connection| audit::follow(connection, chain, limit))
            .await
    }

    async fn webhook_create(&self, by: &Actor, webhook: Webhook) -> Result<(), Error> {
        self.webhook_insert(by, webhook).await
    }

    async fn webhook_change(
        &self,
        by: &Actor,
        id: WebhookId,
        action: &'static str,
        change: webhook::Change,
        now: Timestamp,
    ) -> Result<Option<Webhook>, Error> {
        self.webhook_replace(by, id, action, change, now).await
    }

    async fn webhook_delete(
        &self,
        by: &Actor,
        id: WebhookId,
        now: Timestamp,
    ) -> Result<bool, Error> {
        self.webhook_remove(by, id, now).await
    }

    async fn webhook_find(&self, scope: &Scope, id: WebhookId) -> Result<Option<Webhook>, Error> {
        self.webhook(scope, id).await
    }

    async fn webhooks_list(&self, scope: &Scope) -> Result<Vec<Webhook>, Error> {
        self.webhooks(scope).await
    }

    async fn events_list(&self, scope: &Scope, query: &EventQuery) -> Result<Page<Event>, Error> {
        let (scope, query) = (scope.clone(), query.clone());
        self.readers
            .read(move |connection| events::list(connection, &scope, &query))
            .await
    }

    async fn event_find(&self, scope: &Scope, id: EventId) -> Result<Option<Event>, Error> {
        let scope = scope.clone();
        self.readers
            .read(move |connection| events::find(connection, &scope, id))
            .await
    }

    async fn events_sweep(&self, before: Timestamp, limit: u32) -> Result<u64, Error> {
        self.writer
            .write(Kind::Other, move |connection, _| {
                events::sweep(connection, before, limit)
            })
            .await
    }

    async fn deliveries_claim(&self, claim: DeliveryClaim) -> Result<Vec<DeliveryLane>, Error> {
        self.writer
            .write(Kind::Other, move |connection, _| {
                deliveries::claim(connection, &claim)
            })
            .await
    }

    async fn delivery_finish(&self, finish: &DeliveryFinish) -> Result<bool, Error> {
        let finish = finish.clone();
        self.writer
            .write(Kind::Other, move |connection, effects| {
                deliveries::finish(connection, effects, &finish)
            })
            .await
    }

    async fn deliveries_lapse(&self, which: Lapse, now: Timestamp) -> Result<u64, Error> {
        self.writer
            .write(Kind::Other, move |connection, effects| {
                deliveries::lapse(connection, effects, which, now)
            })
            .await
    }

    async fn deliveries_due(&self) -> Result<Vec<(WebhookId, Timestamp)>, Error> {
        self.readers.read(deliveries::due).await
    }

    async fn deliveries_list(
        &self,
        scope: &Scope,
        query: &DeliveryQuery,
    ) -> Result<Option<Page<Delivery>>, Error> {
        let (scope, query) = (scope.clone(), query.clone());
        self.readers
            .read(move |connection| deliveries::list(connection, &scope, &query))
            .await
    }

    async fn delivery_find(
        &self,
        scope: &Scope,
        webhook_id: WebhookId,
        event_id: EventId,
    ) -> Result<Option<Delivery>, Error> {
        let scope = scope.clone();
        self.readers
            .read(move |connection| deliveries::find(connection, &scope, webhook_id, event_id))
            .await
    }

    async fn delivery_attempts_list(
        &self,
        scope: &Scope,
        webhook_id: WebhookId,
        event_id: EventId,
    ) -> Result<Option<Vec<DeliveryAttempt>>, Error> {
        let scope = scope.clone();
        self.readers
            .read(move |connection| deliveries::attempts(connection, &scope, webhook_id, event_id))
            .await
    }

    async fn deliveries_replay(
        &self,
        by: &Actor,
        webhook_id: WebhookId,
        replay: Replay,
        after: i64,
        limit: u32,
        now: Timestamp,
    ) -> Result<Option<Replayed>, Error> {
        let by = by.clone();
        self.writer
            .write(Kind::Other, move |connection, effects| {
                let from = (after, limit);
                deliveries::replay(connection, effects, &by, webhook_id, replay, from, now)
            })
            .await
    }

    async fn deliveries_depth(&self) -> Result<Depth, Error> {
        self.readers.read(deliveries::depth).await
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

#[cfg(test)]
mod tests {
    use super::*;

    struct Nothing;

    impl model::Entropy for Nothing {
        fn bytes(&self) -> [u8; 16] {
            [0; 16]
        }
    }

    #[tokio::test]
    async fn a_database_that_another_keeps_to_itself_is_busy_and_not_broken() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("portico.db");
        let (one, other) = (
            Connection::open(&path).unwrap(),
            Connection::open(&path).unwrap(),
        );
        one.execute_batch("BEGIN IMMEDIATE").unwrap();
        other.busy_timeout(Duration::ZERO).unwrap();
        let signals = Arc::new(Signals::default());
        let observer = Arc::new(crate::Unobserved);
        let writer = Writer::start(other, signals, observer, Arc::new(Nothing)).unwrap();
        let refused = writer.write(Kind::Other, |_, _| Ok(())).await;
        assert!(matches!(refused, Err(Error::Busy)));
        one.execute_batch("ROLLBACK").unwrap();
        let done = writer.write(Kind::Other, |_, _| Ok(())).await;
        assert!(done.is_ok());
        writer.close().await;
    }
}

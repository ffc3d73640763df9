//! The audit log.
//!
//! Guarantee: an entry is written in the transaction of the change that it tells of; there is no
//! way to change or remove one. A key that is revoked makes none, and so no change that is audited,
//! however long ago its request began. Each entry has a MAC under a key that follows from the master
//! key in force, so that only who has that key can make the chain anew.

use std::{collections::BTreeMap, ops::Deref};

use model::{
    Actor, IntegrationId, Scope, Timestamp,
    audit::{CHAIN_START, Chain, Entry, chained},
    hex,
};
use serde_json::Value;

use crate::{
    Error, Page, Sealer, Store,
    engines::db::{Db, corrupt, values},
    listing::{self, Conditions},
    master_key,
    reading::{Cost, Reading},
    sealing::{MasterKeyId, Purpose, audit_key::AuditKey},
};

/// Which entries of the audit log, newest first.
#[derive(Clone, Debug, Default)]
pub struct AuditQuery {
    /// Entries to skip.
    pub offset: u64,
    /// Entries at most.
    pub limit: u64,
    /// Of this integration only.
    pub integration_id: Option<IntegrationId>,
    /// Not before.
    pub since: Option<Timestamp>,
}

/// What the log calls a change of the master key: with that entry another key begins.
pub(crate) const ROTATION: &str = "master_key_rotate";

/// What the log calls the first entry with a MAC in a log that had others before.
const FIRST_MAC: &str = "audit_mac_begin";

/// Who changes something, with the key that the entry about it is authenticated with.
#[derive(Clone)]
pub(crate) struct Author {
    actor: Actor,
    master: MasterKeyId,
    key: AuditKey,
}

impl Author {
    /// `actor`, while the master key `master` is in force.
    ///
    /// # Errors
    /// When that key is not at hand.
    pub(crate) fn new(actor: Actor, sealer: &Sealer, master: MasterKeyId) -> Result<Self, Error> {
        Ok(Self {
            actor,
            master,
            key: sealer.ring().find(master)?.audit().clone(),
        })
    }
}

impl Deref for Author {
    type Target = Actor;

    fn deref(&self) -> &Actor {
        &self.actor
    }
}

fn seq_of(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// What was done, and to what.
pub(crate) struct Deed<'a> {
    pub(crate) action: &'a str,
    /// The integration that it concerns: its row and its id.
    pub(crate) integration: Option<(i64, IntegrationId)>,
    pub(crate) subject: String,
    pub(crate) before: Value,
    pub(crate) after: Value,
}

/// Keeps the key that follows from the master key `master`, sealed, for when that one is replaced.
pub(crate) fn keep_key(
    db: &Db<'_>,
    sealer: &Sealer,
    master: MasterKeyId,
    now: Timestamp,
) -> Result<(), Error> {
    let ring = sealer.ring();
    let key = ring.find(master)?.audit();
    let id = key.id().to_string();
    let sql = "SELECT n FROM audit_keys WHERE id = ?1";
    if db
        .find(sql, values![id], |row| row.get::<i64>(0))?
        .is_some()
    {
        return Ok(());
    }
    let sealed = sealer.seal(master, &id, Purpose::AuditKey, &key.secret())?;
    db.execute(
        "INSERT INTO audit_keys (id, sealed, made_at) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
        values![id, sealed, now.as_micros()],
    )?;
    Ok(())
}

/// Has entries have a MAC, from the first start on.
///
/// A store that has kept a key has begun: with its first entry, or with one that says so. If its
/// newest entry has no MAC then, somebody took the MACs away, and to begin anew would hide that.
pub(crate) fn begin(
    db: &Db<'_>,
    sealer: &Sealer,
    master: MasterKeyId,
    now: Timestamp,
) -> Result<(), Error> {
    let has_begun = db
        .find("SELECT n FROM audit_keys LIMIT 1", &[], |row| {
            row.get::<i64>(0)
        })?
        .is_some();
    keep_key(db, sealer, master, now)?;
    let newest: Option<(i64, bool)> = db.find(
        "SELECT seq, mac IS NULL FROM audit ORDER BY seq DESC LIMIT 1",
        &[],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    let Some((seq, true)) = newest else {
        return Ok(());
    };
    if has_begun {
        tracing::error!(
            entry = seq,
            "the audit log was tampered with: its newest entry has no MAC; `portico audit verify` says more"
        );
        return Ok(());
    }
    begin_macs(db, sealer, master, (seq, now))
}

/// Has a log whose `entries_before` have no MAC be covered by one from now on.
fn begin_macs(
    db: &Db<'_>,
    sealer: &Sealer,
    master: MasterKeyId,
    (entries_before, now): (i64, Timestamp),
) -> Result<(), Error> {
    let with_mac = "SELECT seq FROM audit WHERE mac IS NOT NULL LIMIT 1";
    if db.find(with_mac, &[], |row| row.get::<i64>(0))?.is_some() {
        // It is for `portico audit verify` to say that this cannot be.
        return Ok(());
    }
    #[expect(
        clippy::disallowed_methods,
        reason = "the process that opens the store acts without a key"
    )]
    let by = Author::new(Actor::local(Scope::operator()), sealer, master)?;
    tracing::info!(
        entries_before,
        "entries of the audit log have a MAC from now on"
    );
    let deed = Deed {
        action: FIRST_MAC,
        integration: None,
        subject: by.key.id().to_string(),
        before: Value::Null,
        after: Value::Null,
    };
    record(db, &by, deed, now)
}

/// Every key that entries were authenticated with, by its id.
fn keys(db: &Db<'_>, sealer: &Sealer) -> Result<BTreeMap<Vec<u8>, AuditKey>, Error> {
    let rows: Vec<(String, Vec<u8>)> = db.all("SELECT id, sealed FROM audit_keys", &[], |row| {
        Ok((row.get(0)?, row.get(1)?))
    })?;
    let mut keys = BTreeMap::new();
    for (id, sealed) in rows {
        let key = AuditKey::of(&sealer.open(&id, Purpose::AuditKey, &sealed)?)
            .filter(|key| key.id().to_string() == id)
            .ok_or_else(|| Error::Corrupt(format!("key {id} of the audit log")))?;
        keys.insert(key.id().bytes().to_vec(), key);
    }
    Ok(keys)
}

/// Writes an entry.
///
/// # Errors
/// [`Error::Busy`] when the master key was replaced since `by` was told it, [`Error::Revoked`] when
/// the actor's key was revoked since it asked.
pub(crate) fn record(
    db: &Db<'_>,
    by: &Author,
    deed: Deed<'_>,
    now: Timestamp,
) -> Result<(), Error> {
    if master_key::current(db)? != by.master {
        return Err(Error::Busy);
    }
    if let Some(id) = by.scope.key() {
        let is_revoked: Option<bool> = db.find(
            "SELECT revoked_at IS NOT NULL FROM keys WHERE id = ?1",
            values![id.to_string()],
            |row| row.get(0),
        )?;
        if is_revoked == Some(true) {
            return Err(Error::Revoked);
        }
    }
    let (seq, before) = head(db)?.map_or((1, CHAIN_START.to_vec()), |(seq, hash)| (seq + 1, hash));
    let entry = Entry {
        seq,
        at: now,
        key_id: by.scope.key(),
        address: by.address,
        request_id: by.request_id.clone(),
        action: deed.action.to_owned(),
        integration_id: deed.integration.map(|(_, id)| id),
        subject: deed.subject,
        before: deed.before,
        after: deed.after,
    };
    let entry = serde_json::to_string(&entry).map_err(corrupt("an entry of the audit log"))?;
    let hash = chained(&before, &entry);
    let lane = deed.integration.map(|(lane, _)| lane);
    let (mac_key, mac) = (by.key.id().bytes(), by.key.mac(&hash));
    db.send(
        "INSERT INTO audit (seq, at, lane, entry, hash, mac_key, mac) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        values![seq_of(seq), now.as_micros(), lane, entry, hash, mac_key, mac],
    )
}

/// The place and the hash of the newest entry.
pub(crate) fn head(db: &Db<'_>) -> Result<Option<(u64, Vec<u8>)>, Error> {
    db.find(
        "SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1",
        &[],
        |row| Ok((row.get::<i64>(0)?.unsigned_abs(), row.get(1)?)),
    )
}

/// A page, newest first.
pub(crate) fn list(
    db: &Db<'_>,
    scope: &Scope,
    query: &AuditQuery,
) -> Result<Page<(Entry, Vec<u8>)>, Error> {
    let mut conditions = Conditions::default();
    if !conditions.integration(db, "lane", scope, query.integration_id)? {
        return Ok(Page {
            rows: Vec::new(),
            total: Some(0),
            total_is_exact: true,
            has_more: false,
        });
    }
    if let Some(since) = query.since {
        conditions.add("at >= ?", since.as_micros());
    }
    let which = conditions.all();
    let counted = conditions.values.clone();
    let page = conditions.page(query.offset, query.limit.saturating_add(1));
    let rows: Vec<(String, Vec<u8>)> = db.all(
        &format!("SELECT entry, hash FROM audit WHERE {which} ORDER BY seq DESC {page}"),
        &conditions.values,
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    let found = rows.len() as u64;
    let rows = rows
        .into_iter()
        .take(usize::try_from(query.limit).unwrap_or(usize::MAX))
        .map(|(entry, hash)| {
            let entry =
                serde_json::from_str(&entry).map_err(corrupt("an entry of the audit log"))?;
            Ok((entry, hash))
        })
        .collect::<Result<Vec<_>, Error>>()?;
    let count = db.one(
        &format!("SELECT count(*) FROM audit WHERE {which}"),
        &counted,
        |row| row.get::<i64>(0),
    );
    let least = listing::least(query.offset, found);
    let (total, total_is_exact) = listing::counted_within(count.map(i64::unsigned_abs), least)?;
    Ok(Page {
        has_more: found > query.limit,
        total,
        total_is_exact,
        rows,
    })
}

/// An entry with the columns that it is listed by, and its MAC.
struct Stored {
    seq: i64,
    entry: String,
    hash: Vec<u8>,
    at: i64,
    integration_id: Option<String>,
    mac_key: Option<Vec<u8>>,
    mac: Option<Vec<u8>>,
}

impl Stored {
    /// Follows the chain to this entry.
    fn follow(&self, chain: &mut Chain, keys: &BTreeMap<Vec<u8>, AuditKey>) -> Result<(), String> {
        let seq = u64::try_from(self.seq).ok().filter(|seq| *seq > 0);
        let seq = seq.ok_or_else(|| {
            format!(
                "there is an entry at place {}, and the first place is 1",
                self.seq
            )
        })?;
        let entry = chain.follow(seq, &self.entry, &self.hash)?;
        self.is_as_listed(&entry)?;
        let key = self.authentic(keys)?.map(|key| key.id().bytes());
        let is_first = key.is_some() && chain.mac_key.is_none();
        if is_first && entry.seq > 1 && entry.action != FIRST_MAC {
            return Err(format!(
                "entry {} is the first with a MAC, and does not say that MACs begin: those of the entries before it were taken away",
                entry.seq
            ));
        }
        chain.authenticated(&entry, key, ROTATION)
    }

    /// Whether the entry is listed as what it is: its hash does not cover the columns that lists go by.
    fn is_as_listed(&self, entry: &Entry) -> Result<(), String> {
        let told = entry.integration_id.map(|id| id.to_string());
        if entry.at.as_micros() != self.at || told != self.integration_id {
            return Err(format!(
                "entry {} is listed under another time or integration than its own",
                entry.seq
            ));
        }
        Ok(())
    }

    /// The key that its MAC was made with; `None` when it has none.
    fn authentic<'a>(
        &self,
        keys: &'a BTreeMap<Vec<u8>, AuditKey>,
    ) -> Result<Option<&'a AuditKey>, String> {
        let seq = self.seq;
        let (id, mac) = match (&self.mac_key, &self.mac) {
            (None, None) => return Ok(None),
            (Some(id), Some(mac)) => (id, mac),
            _ => return Err(format!("entry {seq} has half of a MAC")),
        };
        let Some(key) = keys.get(id) else {
            return Err(format!(
                "entry {seq} has a MAC under key {}, which the store does not have",
                hex::encode(id)
            ));
        };
        if key.mac(&self.hash)[..] != mac[..] {
            return Err(format!(
                "entry {seq} does not have the MAC that the master key makes: the chain was made anew from there on, or before"
            ));
        }
        Ok(Some(key))
    }
}

/// Follows the chain for up to `limit` entries. The second value is why it breaks there, in words.
pub(crate) fn follow(
    db: &Db<'_>,
    sealer: &Sealer,
    mut chain: Chain,
    limit: u32,
) -> Result<(Chain, Option<String>), Error> {
    // From the very beginning: nothing stands before the first entry.
    let behind = match chain.count {
        0 => i64::MIN,
        count => seq_of(count),
    };
    let rows: Vec<Stored> = db.all(
        "SELECT a.seq, a.entry, a.hash, a.at, i.id, a.mac_key, a.mac
         FROM audit a LEFT JOIN integrations i ON i.n = a.lane WHERE a.seq > ?1 ORDER BY a.seq LIMIT ?2",
        values![behind, limit],
        |row| {
            Ok(Stored {
                seq: row.get(0)?,
                entry: row.get(1)?,
                hash: row.get(2)?,
                at: row.get(3)?,
                integration_id: row.get(4)?,
                mac_key: row.get(5)?,
                mac: row.get(6)?,
            })
        },
    )?;
    let keys = keys(db, sealer)?;
    for row in &rows {
        let before = chain;
        if let Err(why) = row.follow(&mut chain, &keys) {
            return Ok((before, Some(why)));
        }
    }
    // A replacement of the master key is an entry itself.
    let in_force = sealer.ring().find(master_key::current(db)?)?.audit().id();
    let is_all = rows.len() < usize::try_from(limit).unwrap_or(usize::MAX);
    if is_all && chain.count > 0 && chain.mac_key.is_none() && !keys.is_empty() {
        let why = "no entry has a MAC, though the store has kept a key for them: they were taken away, and the chain may have been made anew";
        return Ok((chain, Some(why.to_owned())));
    }
    if is_all && chain.count == 0 && has_told_keys(db)? {
        let why = "it is empty, though an API key was made since it is kept, which is an entry: all entries were removed";
        return Ok((chain, Some(why.to_owned())));
    }
    if is_all && chain.mac_key.is_some_and(|key| key != in_force.bytes()) {
        let why = format!(
            "the entries since the master key was replaced are missing: the key of the last MAC is not {in_force}, which is in force"
        );
        return Ok((chain, Some(why)));
    }
    Ok((chain, None))
}

/// True if the newest API key was made after the first key of the log: that made an entry.
fn has_told_keys(db: &Db<'_>) -> Result<bool, Error> {
    let newest: Option<String> = db.find(
        "SELECT body FROM keys ORDER BY id DESC LIMIT 1",
        &[],
        |row| row.get(0),
    )?;
    let since: Option<i64> =
        db.one("SELECT min(made_at) FROM audit_keys", &[], |row| row.get(0))?;
    let Some((body, since)) = newest.zip(since) else {
        return Ok(false);
    };
    let body: Value = serde_json::from_str(&body).map_err(corrupt("a key"))?;
    let made_at = serde_json::from_value::<Timestamp>(body["created_at"].clone());
    Ok(made_at.is_ok_and(|at| at.as_micros() > since))
}

impl Store {
    /// `by`, with what entries of the audit log are authenticated with now.
    pub(crate) async fn author(&self, by: &Actor) -> Result<Author, Error> {
        let reading = Reading::of(&by.scope, Cost::Lookup);
        let id = self.current_key(reading).await?;
        Author::new(by.clone(), &self.sealer, id)
    }

    /// The audit log, newest first, with the hash of each entry.
    pub async fn audit_list(
        &self,
        scope: &Scope,
        query: &AuditQuery,
    ) -> Result<Page<(Entry, Vec<u8>)>, Error> {
        self.listed_whole(scope, query, false, list, |page| page.total_is_exact)
            .await
    }

    /// Follows the audit log's chain and its MACs for up to `limit` entries; with it, why it breaks there, in words.
    pub async fn audit_follow(
        &self,
        chain: Chain,
        limit: u32,
    ) -> Result<(Chain, Option<String>), Error> {
        self.read_sealed(Reading::BACKGROUND, move |db, sealer| {
            follow(db, sealer, chain, limit)
        })
        .await
    }

    /// The place and the hash of the newest entry of the audit log; `None` when there is none.
    pub async fn audit_head(&self) -> Result<Option<(u64, Vec<u8>)>, Error> {
        self.engine.read(Reading::BACKGROUND, head).await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use model::{Entropy, Secret};
    use rusqlite::{Connection, params};

    use super::*;
    use crate::{
        migrations,
        rotation::{self, Opening},
        sealing::MasterKey,
    };

    struct Fixed;
    impl Entropy for Fixed {
        fn bytes(&self) -> [u8; 16] {
            [7; 16]
        }
    }

    fn text(digit: char) -> String {
        digit.to_string().repeat(64)
    }

    /// A sealer under the keys of these digits, the first first.
    fn sealer(digits: &str) -> Sealer {
        let keys: Vec<String> = digits.chars().map(text).collect();
        Sealer::new(&Secret::new(keys.join(" ")), Arc::new(Fixed)).unwrap()
    }

    fn id(digit: char) -> MasterKeyId {
        MasterKey::parse(&Secret::new(text(digit))).unwrap().id()
    }

    fn author(sealer: &Sealer, digit: char) -> Author {
        #[expect(clippy::disallowed_methods, reason = "a test may act as the operator")]
        let actor = Actor::local(Scope::operator());
        Author::new(actor, sealer, id(digit)).unwrap()
    }

    fn write(db: &Db<'_>, by: &Author, count: usize) {
        for place in 0..count {
            let deed = Deed {
                action: "key_create",
                integration: None,
                subject: format!("key_{place}"),
                before: Value::Null,
                after: Value::Null,
            };
            record(db, by, deed, Timestamp::ZERO).unwrap();
        }
    }

    fn empty() -> Connection {
        let connection = Connection::open_in_memory().unwrap();
        for step in migrations::SQLITE {
            connection.execute_batch(step.sql).unwrap();
        }
        connection
    }

    /// A log of five entries under the key `a`.
    fn log() -> Connection {
        let connection = empty();
        let (db, sealer) = (Db::Sqlite(&connection), sealer("a"));
        rotation::agree(&db, &sealer, Opening::Work, Timestamp::ZERO).unwrap();
        write(&db, &author(&sealer, 'a'), 5);
        connection
    }

    fn verify(connection: &Connection, digits: &str) -> Result<Chain, String> {
        let (db, mut chain) = (Db::Sqlite(connection), Chain::default());
        loop {
            let (next, broken) = follow(&db, &sealer(digits), chain, 2).unwrap();
            match broken {
                Some(why) => return Err(why),
                None if next.count == chain.count => return Ok(next),
                None => chain = next,
            }
        }
    }

    /// What somebody does who can write to the database and has no key: past the triggers, and with a
    /// chain that is made anew.
    fn forge(connection: &Connection, deed: &str) {
        let triggers: Vec<String> = connection
            .prepare("SELECT name FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = 'audit'")
            .unwrap()
            .query_map([], |row| row.get(0))
            .unwrap()
            .map(Result::unwrap)
            .collect();
        for trigger in triggers {
            connection
                .execute_batch(&format!("DROP TRIGGER {trigger}"))
                .unwrap();
        }
        connection.execute_batch(deed).unwrap();
        let entries: Vec<(i64, String)> = connection
            .prepare("SELECT seq, entry FROM audit ORDER BY seq")
            .unwrap()
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
            .unwrap()
            .map(Result::unwrap)
            .collect();
        let mut head = CHAIN_START;
        for (place, (seq, entry)) in (1_i64..).zip(entries) {
            let mut entry: Entry = serde_json::from_str(&entry).unwrap();
            entry.seq = place.unsigned_abs();
            let entry = serde_json::to_string(&entry).unwrap();
            head = chained(&head, &entry);
            connection
                .execute(
                    "UPDATE audit SET seq = ?2, entry = ?3, hash = ?4 WHERE seq = ?1",
                    params![seq, place, entry, head],
                )
                .unwrap();
        }
    }

    #[test]
    fn a_chain_that_was_made_anew_is_noticed() {
        let left_alone = verify(&log(), "a").unwrap();
        assert_eq!((left_alone.count, left_alone.with_mac), (5, 5));
        let changed = "UPDATE audit SET entry = replace(entry, 'key_1', 'key_9') WHERE seq = 2";
        for (deed, part) in [
            (
                "DELETE FROM audit WHERE seq = 2",
                "entry 2 does not have the MAC",
            ),
            (
                "DELETE FROM audit WHERE seq = 1",
                "entry 1 does not have the MAC",
            ),
            (changed, "entry 2 does not have the MAC"),
            (
                "DELETE FROM audit WHERE seq = 2; UPDATE audit SET mac = NULL, mac_key = NULL WHERE seq > 2",
                "entry 2 has no MAC",
            ),
            (
                "UPDATE audit SET mac_key = x'0000000000000000' WHERE seq = 3",
                "which the store does not have",
            ),
            ("UPDATE audit SET mac = NULL WHERE seq = 3", "half of a MAC"),
            (
                "UPDATE audit SET mac = (SELECT mac FROM audit WHERE seq = 2) WHERE seq = 3",
                "entry 3 does not have the MAC",
            ),
            ("DELETE FROM audit_keys", "which the store does not have"),
        ] {
            let connection = log();
            forge(&connection, deed);
            let why = verify(&connection, "a").expect_err("it is noticed");
            assert!(why.contains(part), "{deed}: {why}");
        }
        // In front of the first entry nothing stands.
        for place in [0, -1] {
            let connection = log();
            forge(&connection, "");
            let deed = format!(
                "INSERT INTO audit SELECT {place}, at, lane, entry, hash, mac_key, mac FROM audit WHERE seq = 1"
            );
            connection.execute_batch(&deed).unwrap();
            let why = verify(&connection, "a").expect_err("it is noticed");
            assert!(why.contains("the first place is 1"), "{why}");
        }
        let connection = log();
        forge(&connection, "UPDATE audit SET seq = seq - 1000");
        let restored = verify(&connection, "a");
        assert!(restored.is_ok(), "`forge` numbers them anew: {restored:?}");
        connection
            .execute_batch("UPDATE audit SET seq = seq - 1000")
            .unwrap();
        let why = verify(&connection, "a").expect_err("it is noticed");
        assert!(why.contains("the first place is 1"), "{why}");
        // An empty log beside keys.
        let connection = log();
        forge(&connection, "DELETE FROM audit");
        assert!(verify(&connection, "a").is_ok(), "there is no key yet");
        connection
            .execute_batch(
                r#"INSERT INTO keys (id, body, revision) VALUES ('key_1', '{"created_at":"2026-01-01T00:00:00Z"}', 1)"#,
            )
            .unwrap();
        let why = verify(&connection, "a").expect_err("it is noticed");
        assert!(why.contains("it is empty"), "{why}");
        // Without any MAC and any key a log is what one of before is, and is told as such.
        let connection = log();
        forge(
            &connection,
            "UPDATE audit SET mac = NULL, mac_key = NULL; DELETE FROM audit_keys",
        );
        let (db, ring) = (Db::Sqlite(&connection), sealer("a"));
        rotation::agree(&db, &ring, Opening::Verify, Timestamp::ZERO).unwrap();
        let chain = verify(&connection, "a").unwrap();
        assert_eq!((chain.count, chain.with_mac), (5, 0), "nothing was added");
    }

    #[test]
    fn macs_do_not_begin_twice() {
        let connection = log();
        forge(
            &connection,
            "DELETE FROM audit WHERE seq = 2; UPDATE audit SET mac = NULL, mac_key = NULL",
        );
        let (db, sealer) = (Db::Sqlite(&connection), sealer("a"));
        for opening in [Opening::Verify, Opening::Work, Opening::Work] {
            rotation::agree(&db, &sealer, opening, Timestamp::ZERO).unwrap();
            let why = verify(&connection, "a").expect_err("it is noticed");
            assert!(why.contains("no entry has a MAC, though"), "{why}");
            assert_eq!(head(&db).unwrap().unwrap().0, 4, "nothing was added");
        }
        // Nor does what is written afterwards cover what was made anew.
        write(&db, &author(&sealer, 'a'), 2);
        let why = verify(&connection, "a").expect_err("it is noticed");
        assert!(why.contains("entry 5 is the first with a MAC"), "{why}");
    }

    #[test]
    fn entries_of_before_are_covered_from_the_first_mac_on() {
        let connection = log();
        forge(
            &connection,
            "UPDATE audit SET mac = NULL, mac_key = NULL; DELETE FROM audit_keys",
        );
        let (db, sealer) = (Db::Sqlite(&connection), sealer("a"));
        for _ in 0..2 {
            rotation::agree(&db, &sealer, Opening::Work, Timestamp::ZERO).unwrap();
            let chain = verify(&connection, "a").unwrap();
            assert_eq!((chain.count, chain.with_mac), (6, 1));
        }
        forge(&connection, "DELETE FROM audit WHERE seq = 2");
        assert!(verify(&connection, "a").is_err_and(|why| why.contains("entry 5 does not have")));
        // A new log begins with nothing.
        let connection = empty();
        rotation::agree(
            &Db::Sqlite(&connection),
            &sealer,
            Opening::Work,
            Timestamp::ZERO,
        )
        .unwrap();
        assert_eq!(verify(&connection, "a"), Ok(Chain::default()));
    }

    #[test]
    fn macs_outlive_their_master_key_and_a_cut_at_its_replacement_is_noticed() {
        let connection = log();
        let (db, both) = (Db::Sqlite(&connection), sealer("ba"));
        let by = author(&both, 'b');
        // Not before it is in force.
        let deed = |db: &Db<'_>| {
            let deed = Deed {
                action: "key_create",
                integration: None,
                subject: String::new(),
                before: Value::Null,
                after: Value::Null,
            };
            record(db, &by, deed, Timestamp::ZERO)
        };
        assert!(matches!(deed(&db), Err(Error::Busy)));
        rotation::set(&db, &both, &by, id('b'), Timestamp::ZERO).unwrap();
        write(&db, &by, 2);
        assert_eq!(
            master_key::rewrap(&db, &both, 10).unwrap(),
            1,
            "the key of before"
        );
        let chain = verify(&connection, "b").unwrap();
        assert_eq!((chain.count, chain.with_mac), (8, 8));
        // Who has the old key alone can neither write on nor cut back to it.
        forge(&connection, "DELETE FROM audit WHERE seq > 5");
        let why = verify(&connection, "b").expect_err("it is noticed");
        assert!(
            why.contains("since the master key was replaced are missing"),
            "{why}"
        );
    }
}

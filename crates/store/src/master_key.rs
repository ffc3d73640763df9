//! The master key of the store, and the secrets that are sealed under it.
//!
//! Guarantee: which key is current is in the store. Whatever stores a blob looks that up in the same transaction, so that no blob is left under a key
//! that was just retired. No transaction waits for a source of keys.

use std::sync::Arc;

use model::Secret;

use crate::{
    Error, Sealer, Store,
    engines::{
        Transaction,
        db::{Db, values},
    },
    reading::Reading,
    sealing::{MasterKeyId, Purpose, blob},
};

/// How often a secret is sealed anew, because the key was retired while it waited for the writer, before its change is refused.
const SEAL_TRIES: usize = 3;

/// How often a read is repeated, because it met a key that was learnt only then.
const OPEN_TRIES: usize = 3;

/// Where sealed blobs are. Each has an index on the first bytes of its blob.
struct Column {
    table: &'static str,
    owner: &'static str,
    blob: &'static str,
    purpose: Purpose,
}

/// Every column with sealed blobs.
const COLUMNS: &[Column] = &[
    Column {
        table: "integrations",
        owner: "id",
        blob: "credential",
        purpose: Purpose::Credential,
    },
    Column {
        table: "webhooks",
        owner: "id",
        blob: "sealed",
        purpose: Purpose::WebhookSecret,
    },
    Column {
        table: "audit_keys",
        owner: "id",
        blob: "sealed",
        purpose: Purpose::AuditKey,
    },
    Column {
        table: "vendor_tokens",
        owner: "id",
        blob: "sealed",
        purpose: Purpose::VendorToken,
    },
];

impl Column {
    /// The beginning of a blob, in the words of its index.
    fn prefix(&self) -> String {
        format!("substr({}, 1, {})", self.blob, blob::PREFIX_BYTES)
    }

    /// The keys that blobs are sealed under: a step along the index for each.
    fn keys(&self, db: &Db<'_>) -> Result<Vec<MasterKeyId>, Error> {
        let (table, prefix) = (self.table, self.prefix());
        let next =
            format!("SELECT {prefix} FROM {table} WHERE {prefix} > ?1 ORDER BY {prefix} LIMIT 1");
        let (mut found, mut last) = (Vec::new(), Vec::<u8>::new());
        loop {
            let one: Option<Vec<u8>> = db.find(&next, values![last], |row| row.get(0))?;
            let Some(one) = one else {
                return Ok(found);
            };
            let id = blob::prefix_key(&one).ok_or_else(|| {
                Error::Corrupt(format!("a sealed {} is damaged", self.purpose.word()))
            })?;
            if !found.contains(&id) {
                found.push(id);
            }
            last = one;
        }
    }

    fn rewrap(
        &self,
        db: &Db<'_>,
        sealer: &Sealer,
        under: MasterKeyId,
        limit: u32,
    ) -> Result<u32, Error> {
        let (table, owner, blob, prefix) = (self.table, self.owner, self.blob, self.prefix());
        let rows: Vec<(i64, String, Vec<u8>)> = db.all(
            &format!(
                "SELECT n, {owner}, {blob} FROM {table} WHERE {prefix} < ?1
                 UNION ALL SELECT n, {owner}, {blob} FROM {table} WHERE {prefix} > ?1 LIMIT ?2"
            ),
            values![blob::prefix(under), limit],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )?;
        let put = format!("UPDATE {table} SET {blob} = ?2 WHERE n = ?1");
        let mut moved = 0;
        for (row, owner, old) in rows {
            if let Some(new) = sealer.rewrap(under, &owner, self.purpose, &old)? {
                db.execute(&put, values![row, new])?;
                moved += 1;
            }
        }
        Ok(moved)
    }
}

/// The key that secrets are sealed under. A store that is open has one.
pub(crate) fn current(db: &Db<'_>) -> Result<MasterKeyId, Error> {
    recorded(db)?.ok_or_else(|| Error::Corrupt("the store names no master key".to_owned()))
}

pub(crate) fn recorded(db: &Db<'_>) -> Result<Option<MasterKeyId>, Error> {
    let id: Option<Vec<u8>> = db.find("SELECT id FROM master_key", &[], |row| row.get(0))?;
    id.map(|id| {
        MasterKeyId::from_bytes(&id)
            .ok_or_else(|| Error::Corrupt("the name of the master key".to_owned()))
    })
    .transpose()
}

/// Every key that a blob is sealed under.
pub(crate) fn in_use(db: &Db<'_>) -> Result<Vec<MasterKeyId>, Error> {
    let mut all = Vec::new();
    for column in COLUMNS {
        all.extend(column.keys(db)?);
    }
    all.sort_unstable();
    all.dedup();
    Ok(all)
}

pub(crate) fn rewrap(db: &Db<'_>, sealer: &Sealer, limit: u32) -> Result<u64, Error> {
    let under = current(db)?;
    let mut left = limit;
    for column in COLUMNS {
        left -= column.rewrap(db, sealer, under, left)?;
    }
    Ok(u64::from(limit - left))
}

impl Store {
    /// The current key, which is at hand.
    pub(crate) async fn current_key(&self, reading: Reading) -> Result<MasterKeyId, Error> {
        let id = self.engine.read(reading, current).await?;
        self.has_key(id).await?;
        Ok(id)
    }

    /// Makes sure that the key `id` is at hand.
    pub(crate) async fn has_key(&self, id: MasterKeyId) -> Result<(), Error> {
        if self.sealer.ring().get(id).is_some() {
            return Ok(());
        }
        // Its source may be a file, or a program.
        let sealer = self.sealer.clone();
        let has = tokio::task::spawn_blocking(move || sealer.has(id))
            .await
            .map_err(|_| Error::MasterKey("its source could not be read".to_owned()))?;
        if has {
            return Ok(());
        }
        Err(Error::MasterKey(format!(
            "secrets are sealed under key {id} by now, and the keys at hand are {}; let this process have that key",
            self.sealer.ring().told()
        )))
    }

    /// Runs `change` with `secret` sealed under the key that is current in the transaction of the change.
    pub(crate) async fn write_sealed<T: Send + 'static>(
        &self,
        owner: &str,
        purpose: Purpose,
        secret: &Secret,
        change: impl Fn(&mut Transaction<'_>, &[u8]) -> Result<T, Error> + Send + Sync + 'static,
    ) -> Result<T, Error> {
        let change = Arc::new(change);
        for _ in 0..SEAL_TRIES {
            let under = self.current_key(Reading::OWN).await?;
            let (change, sealed) = (
                change.clone(),
                self.sealer.seal(under, owner, purpose, secret)?,
            );
            let done = self
                .engine
                .write(move |tx| {
                    if current(tx)? != under {
                        return Ok(None);
                    }
                    change(tx, &sealed).map(Some)
                })
                .await?;
            if let Some(done) = done {
                return Ok(done);
            }
        }
        Err(Error::MasterKey(
            "it was changed again and again meanwhile; repeat the request".to_owned(),
        ))
    }

    /// Runs `look`, which opens secrets; once more when it met a key that its source yields by now.
    pub(crate) async fn read_sealed<T: Send + 'static>(
        &self,
        reading: Reading,
        look: impl Fn(&Db<'_>, &Sealer) -> Result<T, Error> + Send + Sync + 'static,
    ) -> Result<T, Error> {
        let look = Arc::new(look);
        for _ in 1..OPEN_TRIES {
            let seen = self.sealer.ring();
            match self.look(reading, look.clone()).await {
                Err(Error::MasterKey(why)) => {
                    let sealer = self.sealer.clone();
                    let learnt = tokio::task::spawn_blocking(move || sealer.read_again(&seen));
                    if !learnt.await.unwrap_or(false) {
                        return Err(Error::MasterKey(why));
                    }
                }
                other => return other,
            }
        }
        self.look(reading, look).await
    }

    async fn look<T: Send + 'static>(
        &self,
        reading: Reading,
        look: Arc<impl Fn(&Db<'_>, &Sealer) -> Result<T, Error> + Send + Sync + 'static>,
    ) -> Result<T, Error> {
        let sealer = self.sealer.clone();
        let look = move |db: &Db<'_>| look(db, &sealer);
        self.engine.read(reading, look).await
    }
}

impl Store {
    /// The master key that secrets are sealed under.
    pub async fn master_key_current(&self) -> Result<MasterKeyId, Error> {
        self.engine.read(Reading::OWN, current).await
    }

    /// Moves up to `limit` secrets under the current master key. Returns how many; none are left when it is 0. Nothing changes for callers, nor does the
    /// directory's revision.
    ///
    /// # Errors
    /// [`Error::MasterKey`] when the sealer lacks the key of one, [`Error::Corrupt`] when one is damaged.
    pub async fn secrets_rewrap(&self, limit: u32) -> Result<u64, Error> {
        let sealer = self.sealer.clone();
        self.engine
            .write(move |tx| rewrap(tx, &sealer, limit))
            .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::migrations;

    /// Thousands of secrets are moved in small steps: none may read all of them.
    #[test]
    fn secrets_are_found_by_their_index() {
        let connection = rusqlite::Connection::open_in_memory().unwrap();
        for step in migrations::SQLITE {
            connection.execute_batch(step.sql).unwrap();
        }
        for column in COLUMNS {
            let (table, prefix) = (column.table, column.prefix());
            for condition in [
                format!("{prefix} > ?1 ORDER BY {prefix}"),
                format!("{prefix} < ?1"),
            ] {
                let plan: String = connection
                    .query_row(
                        &format!(
                            "EXPLAIN QUERY PLAN SELECT rowid FROM {table} WHERE {condition} LIMIT 1"
                        ),
                        [Vec::<u8>::new()],
                        |row| row.get(3),
                    )
                    .unwrap();
                assert!(
                    plan.starts_with("SEARCH") && plan.contains("INDEX"),
                    "{plan}"
                );
            }
        }
    }
}

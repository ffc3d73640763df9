//! The change of the master key: its agreement at the start, and its replacement.
//!
//! Guarantee: a store is opened only with the keys that its secrets are sealed under.

use model::{Actor, Timestamp};
use serde_json::json;

use crate::{
    Error, Sealer, Store,
    audit::{self, Author, Deed},
    engines::db::{Db, values},
    master_key::{current, in_use, recorded},
    sealing::MasterKeyId,
};

/// What a store is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opening {
    /// To be changed.
    Work,
    /// To see whether its audit log is whole: it gets no entry and no key.
    Verify,
}

/// Holds the keys at hand against the store, which is told its key when it has none yet.
pub(crate) fn agree(
    db: &Db<'_>,
    sealer: &Sealer,
    opening: Opening,
    now: Timestamp,
) -> Result<(), Error> {
    let used = in_use(db)?;
    let known = recorded(db)?;
    let wanted = known.or_else(|| used.first().copied());
    if let Some(id) = wanted
        && !sealer.has(id)
    {
        return Err(Error::MasterKey(format!(
            "the secrets in this store are sealed under key {id}, and the keys given are {}. Start with that key; one that is to replace it goes in front \
             of it, and `portico keys rotate-master` makes the change",
            sealer.ring().told()
        )));
    }
    if let Some(id) = used.into_iter().find(|id| !sealer.has(*id)) {
        return Err(Error::MasterKey(format!(
            "some secrets in this store are still sealed under key {id}, and the keys given are {}. Add that key behind them, and let \
             `portico keys rotate-master` end its work before it goes",
            sealer.ring().told()
        )));
    }
    if known.is_none() {
        let id = wanted
            .or_else(|| sealer.ring().ids().first().copied())
            .ok_or_else(|| Error::MasterKey("there is none".to_owned()))?;
        db.execute(
            "INSERT INTO master_key (one, id, set_at) VALUES (1, ?1, ?2) ON CONFLICT DO NOTHING",
            values![id.as_bytes(), now.as_micros()],
        )?;
    }
    match opening {
        Opening::Work => audit::begin(db, sealer, current(db)?, now),
        Opening::Verify => Ok(()),
    }
}

/// Has the key `id` be in force, which `by` was told.
pub(crate) fn set(
    db: &Db<'_>,
    sealer: &Sealer,
    by: &Author,
    id: MasterKeyId,
    now: Timestamp,
) -> Result<(), Error> {
    let before = current(db)?;
    if before == id {
        return Ok(());
    }
    db.execute(
        "UPDATE master_key SET id = ?1, set_at = ?2",
        values![id.as_bytes(), now.as_micros()],
    )?;
    audit::keep_key(db, sealer, id, now)?;
    let deed = Deed {
        action: audit::ROTATION,
        integration: None,
        subject: id.to_string(),
        before: json!({ "id": before.to_string() }),
        after: json!({ "id": id.to_string() }),
    };
    audit::record(db, by, deed, now)
}

impl Store {
    /// Makes secrets be sealed under another master key from now on, one that the store's sealer has. Those that are sealed stay as they are.
    ///
    /// # Errors
    /// [`Error::MasterKey`] when the sealer does not have it.
    pub async fn master_key_set(
        &self,
        by: &Actor,
        id: MasterKeyId,
        now: Timestamp,
    ) -> Result<(), Error> {
        self.has_key(id).await?;
        let by = Author::new(by.clone(), &self.sealer, id)?;
        let sealer = self.sealer.clone();
        self.engine
            .write(move |tx| set(tx, &sealer, &by, id, now))
            .await
    }
}

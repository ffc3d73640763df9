//! The tokens that vendors give for integrations.
//!
//! Guarantee: sealed at rest; one process at a time fetches another. A token goes with the credentials
//! that it was given for.

use model::{IntegrationId, Secret, Timestamp};

use crate::{
    Error, Store,
    engines::{
        Transaction,
        db::{Db, values},
    },
    listing::no_integration,
    reading::Reading,
    sealing::Purpose,
};

/// A token that a vendor has given.
#[derive(Clone)]
pub struct VendorToken {
    /// The token.
    pub secret: Secret,
    /// Which one of the integration it is: a number that grows.
    pub revision: i64,
    /// Until when the vendor takes it, in steady time.
    pub expires_at: Timestamp,
}

/// Forgets the token of an integration: its credentials are others.
pub(crate) fn forget(tx: &Transaction<'_>, integration_id: &str) -> Result<(), Error> {
    tx.send(
        "DELETE FROM vendor_tokens WHERE id = ?1",
        values![integration_id],
    )
}

fn find(db: &Db<'_>, id: IntegrationId) -> Result<Option<(Vec<u8>, i64, i64)>, Error> {
    db.find(
        "SELECT sealed, revision, expires_at FROM vendor_tokens WHERE id = ?1 AND sealed IS NOT NULL",
        values![id.to_string()],
        |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
    )
}

/// Takes the right to fetch a token, unless somebody has it, or has fetched one meanwhile.
fn begin(
    tx: &Transaction<'_>,
    id: IntegrationId,
    now: Timestamp,
    until: Timestamp,
) -> Result<bool, Error> {
    let id_text = id.to_string();
    let integration: Option<i64> = tx.find(
        "SELECT n FROM integrations WHERE id = ?1",
        values![id_text],
        |row| row.get(0),
    )?;
    let n = integration.ok_or_else(|| no_integration(id))?;
    let held: Option<(i64, i64)> = tx.find(
        "SELECT renewing_until, expires_at FROM vendor_tokens WHERE id = ?1",
        values![id_text],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    if held.is_some_and(|(until, fresh_until)| until.max(fresh_until) > now.as_micros()) {
        return Ok(false);
    }
    tx.send(
        "INSERT INTO vendor_tokens (n, id, revision, expires_at, renewing_until) VALUES (?1, ?2, 0, 0, ?3)
         ON CONFLICT (n) DO UPDATE SET renewing_until = excluded.renewing_until",
        values![n, id_text, until.as_micros()],
    )?;
    Ok(true)
}

impl Store {
    /// The token of an integration, if it has one.
    pub async fn token_find(&self, id: IntegrationId) -> Result<Option<VendorToken>, Error> {
        self.read_sealed(Reading::OWN, move |db, sealer| {
            let Some((sealed, revision, expires_at)) = find(db, id)? else {
                return Ok(None);
            };
            Ok(Some(VendorToken {
                secret: sealer.open(&id.to_string(), Purpose::VendorToken, &sealed)?,
                revision,
                expires_at: Timestamp::from_micros(expires_at),
            }))
        })
        .await
    }

    /// Takes the right to fetch a token until `until`; `false` when another process has it, or has
    /// fetched one.
    pub async fn token_begin(
        &self,
        id: IntegrationId,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<bool, Error> {
        self.engine.write(move |tx| begin(tx, id, now, until)).await
    }

    /// Keeps a token that was fetched, and gives the right to fetch back.
    pub async fn token_put(
        &self,
        id: IntegrationId,
        token: &Secret,
        expires_at: Timestamp,
    ) -> Result<(), Error> {
        let owner = id.to_string();
        let row = owner.clone();
        let change = move |tx: &mut Transaction<'_>, sealed: &[u8]| {
            tx.send(
                "UPDATE vendor_tokens SET sealed = ?2, revision = revision + 1, expires_at = ?3, renewing_until = 0 WHERE id = ?1",
                values![row, sealed, expires_at.as_micros()],
            )
        };
        self.write_sealed(&owner, Purpose::VendorToken, token, change)
            .await
    }

    /// Gives the right to fetch back: no token came.
    pub async fn token_end(&self, id: IntegrationId) -> Result<(), Error> {
        self.engine
            .write(move |tx| {
                tx.send(
                    "UPDATE vendor_tokens SET renewing_until = 0 WHERE id = ?1",
                    values![id.to_string()],
                )
            })
            .await
    }

    /// Has a token be over that the vendor does not take any more, unless another is there by now.
    pub async fn token_expire(&self, id: IntegrationId, revision: i64) -> Result<(), Error> {
        self.engine
            .write(move |tx| {
                tx.send(
                    "UPDATE vendor_tokens SET expires_at = 0 WHERE id = ?1 AND revision = ?2",
                    values![id.to_string(), revision],
                )
            })
            .await
    }
}

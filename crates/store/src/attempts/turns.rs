//! Limits that vendors set by themselves: so many calls of a kind, for a community, in a time.
//!
//! Guarantee: whoever takes turns, in however many processes, takes each once; they are as far apart as
//! the limits say. A write whose turn is later is put back until then, and keeps its turn.

use model::{IntegrationId, Timestamp};

use crate::{
    Error, Store, Ticket,
    engines::{Transaction, db::values},
    listing::no_integration,
};

/// A limit of a vendor that a call falls under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VendorLimit {
    /// What is limited, such as a kind of call for a community.
    pub key: String,
    /// From the beginning of one such call to that of the next at least, in microseconds.
    pub gap_micros: i64,
}

fn take(
    tx: &Transaction<'_>,
    id: IntegrationId,
    ticket: Ticket,
    limits: &[VendorLimit],
    now: Timestamp,
) -> Result<Option<Timestamp>, Error> {
    let lane: Option<i64> = tx.find(
        "SELECT n FROM integrations WHERE id = ?1",
        values![id.to_string()],
        |row| row.get(0),
    )?;
    let lane = lane.ok_or_else(|| no_integration(id))?;
    let mut turn = now.as_micros();
    for limit in limits {
        let next: Option<i64> = tx.find(
            "SELECT next_at FROM vendor_paces WHERE lane = ?1 AND key = ?2",
            values![lane, limit.key],
            |row| row.get(0),
        )?;
        turn = turn.max(next.unwrap_or_default());
    }
    for limit in limits {
        tx.send(
            "INSERT INTO vendor_paces (lane, key, next_at) VALUES (?1, ?2, ?3) ON CONFLICT (lane, key) DO UPDATE SET next_at = excluded.next_at",
            values![lane, limit.key, turn.saturating_add(limit.gap_micros)],
        )?;
    }
    if turn <= now.as_micros() {
        return Ok(None);
    }
    // No call was made: the attempt is still to come.
    tx.send(
        "UPDATE queue SET state = 1, due_at = ?3, turn_at = ?3, attempt = attempt - 1 WHERE seq = ?1 AND attempt = ?2 AND state = 2",
        values![ticket.seq, ticket.attempt, turn],
    )?;
    Ok(Some(Timestamp::from_micros(turn)))
}

impl Store {
    /// Takes a turn under each of these limits for a write under a lease. When it is later, the write
    /// is put back until then, and the lease is over.
    pub async fn turn_take(
        &self,
        id: IntegrationId,
        ticket: Ticket,
        limits: Vec<VendorLimit>,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, Error> {
        self.engine
            .write(move |tx| take(tx, id, ticket, &limits, now))
            .await
    }
}

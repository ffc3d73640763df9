//! The queue: writes that have not ended, and the order in which they go.
//!
//! Guarantee: a write is due when it is the earliest open write of all its order keys.

pub(crate) mod order;
pub(crate) mod pace;

use model::{
    Timestamp,
    write::{Call, Confirmed},
};
use serde::{Deserialize, Serialize};

use crate::{
    Error,
    engines::{
        bulk::{
            Question,
            Type::{Integer, Text},
        },
        db::{Row, Value},
    },
};

/// States of a row in `queue`.
pub(crate) const WAITS: i64 = 0;
pub(crate) const READY: i64 = 1;
pub(crate) const LEASED: i64 = 2;

/// What the vendor is sent and what its confirmation makes, as kept in `writes.request`.
#[derive(Serialize, Deserialize)]
pub(crate) struct Request {
    pub(crate) call: Call,
    pub(crate) confirmed: Confirmed,
}

/// Asks for what is due, and when the next is, for claimers that each are named by a text, a time and
/// a number of rows: the values of a set.
pub(crate) fn due_questions<'a>(
    due: &'static str,
    next: &'static str,
    sets: Vec<Vec<Value<'a>>>,
) -> [Question<'a>; 2] {
    let types = &[Text, Integer, Integer];
    let question = |sql, sets| Question { sql, types, sets };
    [question(due, sets.clone()), question(next, sets)]
}

/// Reads when the next is due behind those that a claim asks for: the earlier of two times.
pub(crate) fn next_due_at(row: &Row<'_>) -> Result<Option<Timestamp>, Error> {
    let times: [Option<i64>; 2] = [row.get(0)?, row.get(1)?];
    Ok(times
        .into_iter()
        .flatten()
        .min()
        .map(Timestamp::from_micros))
}

/// Which leases to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lapse {
    /// Those whose time is over.
    Expired,
    /// All: the caller knows that no worker lives. For the start of a store that only one process may own.
    All,
}

impl Lapse {
    /// Leases end that hold no longer than this, in microseconds.
    pub(crate) const fn until_micros(self, now: Timestamp) -> i64 {
        match self {
            Self::Expired => now.as_micros(),
            Self::All => i64::MAX,
        }
    }
}

/// How much is waiting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Depth {
    /// Writes that have not ended.
    pub open: u64,
    /// When the oldest of them was queued, in steady time.
    pub oldest_queued_at: Option<Timestamp>,
}

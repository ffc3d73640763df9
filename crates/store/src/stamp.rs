//! The times on records and events.
//!
//! Guarantee: each is later than every one before it, in the order of commits, whatever the clocks do. So who walks a list by time misses nothing
//! that was stored behind their back.

use model::{Timestamp, record::Kind};

use crate::Error;
use crate::engines::db::{Db, values};

/// The last time that was given, as the rows have it.
pub(crate) fn last(db: &Db<'_>) -> Result<Timestamp, Error> {
    // Each of these is one step into an index: the times of creation, and of events, rise with the order stored, the others are indexed by kind.
    let mut last = 0;
    for sql in [
        "SELECT created_at FROM records ORDER BY seq DESC LIMIT 1",
        "SELECT at FROM events ORDER BY seq DESC LIMIT 1",
    ] {
        let one: Option<i64> = db.find(sql, &[], |row| row.get(0))?;
        last = last.max(one.unwrap_or(0));
    }
    for &kind in Kind::ALL {
        for sql in [
            "SELECT max(updated_at) FROM records WHERE kind = ?1",
            "SELECT max(last_seen) FROM records WHERE kind = ?1",
        ] {
            let one: Option<i64> = db.one(sql, values![kind.word()], |row| row.get(0))?;
            last = last.max(one.unwrap_or(0));
        }
    }
    Ok(Timestamp::from_micros(last))
}

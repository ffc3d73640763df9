//! The use cases in SQL, written once for both databases.
//!
//! Each file is one theme: its functions run inside of a transaction ([`db::Db`]) that the back end opens, commits or undoes. [`Relational`] makes a
//! [`Store`](crate::Store) of them and of an [`Engine`], which is what differs between [`sqlite`](crate::sqlite) and [`postgres`](crate::postgres): connections, who changes what at
//! which time, and how a commit is told.
//! Guarantee: changes come one after the other, also where several processes make them: an engine lets in one batch at a time.

pub(crate) mod accept;
pub(crate) mod audit;
pub(crate) mod clock;
pub(crate) mod consents;
pub(crate) mod deliveries;
pub(crate) mod delivery;
pub(crate) mod directory;
pub(crate) mod erasure;
pub(crate) mod events;
pub(crate) mod inspect;
pub(crate) mod intake;
pub(crate) mod keys;
pub(crate) mod lists;
pub(crate) mod logs;
pub(crate) mod memo;
pub(crate) mod misread;
pub(crate) mod order;
pub(crate) mod pace;
pub(crate) mod plan;
pub(crate) mod records;
pub(crate) mod sealed;
pub(crate) mod stamp;
pub(crate) mod strip;
pub(crate) mod sync;
pub(crate) mod terms;
pub(crate) mod webhooks;

pub(crate) use crate::engines::db;

use crate::Error;

/// Reads a count of attempts. One that is none, since somebody changed the row, is the nearest that is one: it must not keep others waiting.
pub(crate) fn count(row: &db::Row<'_>, place: usize) -> Result<u32, Error> {
    let count = row.get::<i64>(place)?.clamp(0, i64::from(u32::MAX));
    Ok(u32::try_from(count).unwrap_or(u32::MAX))
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

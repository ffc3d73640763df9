//! The row that says how steady time stands to wall time.

use std::time::{Duration, Instant};

use model::{Actor, Timestamp};
use serde_json::{Value, json};

use crate::{
    Error, Store,
    audit::{self, Author, Deed},
    clock::{Dial, Look},
    engines::db::{Db, Row, values},
    reading::Reading,
    stamp,
};

const DIAL: &str = "SELECT revision, apart_micros, ahead_micros, ahead_until, noted_at, noted_steady, boot, boot_micros FROM clock";

/// The database's wall time in microseconds, in PostgreSQL's words.
const DATABASE_NOW: &str =
    "SELECT CAST(floor(extract(epoch FROM clock_timestamp()) * 1000000) AS BIGINT)";

fn read(row: &Row<'_>) -> Result<Dial, Error> {
    let time = |place: usize| row.get(place).map(Timestamp::from_micros);
    Ok(Dial {
        revision: row.get(0)?,
        apart_micros: row.get(1)?,
        ahead_micros: row.get(2)?,
        ahead_until: time(3)?,
        noted_at: time(4)?,
        noted_steady: time(5)?,
        boot: row.get(6)?,
        boot_micros: row.get(7)?,
    })
}

pub(crate) fn dial(db: &Db<'_>) -> Result<Dial, Error> {
    db.find(DIAL, &[], read)?
        .ok_or_else(|| Error::Database("the table `clock` has no row; restore a backup".to_owned()))
}

pub(crate) fn look(db: &Db<'_>) -> Result<Look, Error> {
    let dial = dial(db)?;
    let database = match db {
        Db::Sqlite(_) => None,
        Db::Postgres(_) => {
            let begun = Instant::now();
            let micros: i64 = db.one(DATABASE_NOW, &[], |row| row.get(0))?;
            // It was read somewhere on the way there and back.
            let half: Duration = begun.elapsed() / 2;
            Some((Timestamp::from_micros(micros), begun + half))
        }
    };
    let last_stamp = if dial.noted_at == Timestamp::ZERO {
        stamp::last(db)?
    } else {
        Timestamp::ZERO
    };
    Ok(Look {
        dial,
        database,
        last_stamp,
    })
}

/// Replaces the row that was read as `to.revision`. `false` when it has changed since.
pub(crate) fn set(db: &Db<'_>, to: &Dial) -> Result<bool, Error> {
    let changed = db.execute(
        "UPDATE clock SET revision = revision + 1, apart_micros = ?2, ahead_micros = ?3, ahead_until = ?4,
                noted_at = ?5, noted_steady = ?6, boot = ?7, boot_micros = ?8 WHERE revision = ?1",
        values![
            to.revision,
            to.apart_micros,
            to.ahead_micros,
            to.ahead_until.as_micros(),
            to.noted_at.as_micros(),
            to.noted_steady.as_micros(),
            to.boot,
            to.boot_micros,
        ],
    )?;
    Ok(changed > 0)
}

/// Confirms a jump ahead. Returns how far it was, in microseconds; zero when there is none.
pub(crate) fn accept(db: &Db<'_>, by: &Author, now: Timestamp) -> Result<i64, Error> {
    let before = dial(db)?;
    if before.ahead_micros <= 0 {
        return Ok(0);
    }
    db.send(
        "UPDATE clock SET revision = revision + 1, ahead_micros = 0, ahead_until = 0",
        &[],
    )?;
    let deed = Deed {
        action: "clock_accept",
        integration: None,
        subject: "clock".to_owned(),
        before: json!({ "ahead_s": before.ahead_micros / 1_000_000 }),
        after: Value::Null,
    };
    audit::record(db, by, deed, now)?;
    Ok(before.ahead_micros)
}

impl Store {
    /// How steady time stands to wall time, and the database's own time where it has one.
    pub async fn clock_look(&self) -> Result<Look, Error> {
        self.engine.read(Reading::OWN, look).await
    }

    /// Sets how steady time stands to wall time. `false` when another revision than `to` has is
    /// stored: another process was first.
    pub async fn clock_set(&self, to: Dial) -> Result<bool, Error> {
        self.engine.write(move |tx| set(tx, &to)).await
    }

    /// Confirms that the clock was rightly set ahead. Returns how far, in microseconds; zero when
    /// there is nothing to confirm.
    pub async fn clock_accept(&self, by: &Actor, now: Timestamp) -> Result<i64, Error> {
        let by = self.author(by).await?;
        self.engine.write(move |tx| accept(tx, &by, now)).await
    }
}

//! Wall and steady time, noted with a commit every few seconds.

use model::{Clock, Timestamp};

use crate::{
    Error,
    engines::db::{Db, values},
};

/// How often the two noted times are renewed, in microseconds of steady time: after a restart of
/// the machine, a due time lies so much further ahead at most.
const NOTE_EVERY_MICROS: i64 = 5_000_000;

/// The two noted times in a commit.
#[derive(Default)]
pub(crate) struct Noting {
    noted: Timestamp,
}

impl Noting {
    /// True if they are old enough to be renewed.
    pub(crate) fn is_due(&self, clock: &dyn Clock) -> bool {
        clock.steady().as_micros() - self.noted.as_micros() >= NOTE_EVERY_MICROS
    }

    /// Renews them with the transaction under way.
    pub(crate) fn note(&mut self, db: &Db<'_>, clock: &dyn Clock) -> Result<(), Error> {
        let steady = clock.steady();
        db.send(
            "UPDATE clock SET noted_at = ?1, noted_steady = ?2",
            values![clock.now().as_micros(), steady.as_micros()],
        )?;
        self.noted = steady;
        Ok(())
    }
}

//! How steady time stands to wall time, as the store keeps it over restarts.
//!
//! The process reads and judges the clocks; the store keeps one row, and on PostgreSQL tells its
//! own time, so that nodes whose clocks differ agree on what is due.

pub(crate) mod stored;

use std::time::Instant;

use model::Timestamp;

/// The row that the store keeps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dial {
    /// Grows with each change by [`Store::clock_set`](crate::Store::clock_set) and
    /// [`Store::clock_accept`](crate::Store::clock_accept).
    pub revision: i64,
    /// Wall time less steady time, in microseconds.
    pub apart_micros: i64,
    /// How far the clock was set ahead without a confirmation, in microseconds. Below zero: how far
    /// it was set back, and may be set ahead again without a confirmation.
    pub ahead_micros: i64,
    /// The steady time at which that counts as confirmed.
    pub ahead_until: Timestamp,
    /// Wall time at one of the last commits; zero when none was noted yet.
    pub noted_at: Timestamp,
    /// Steady time at the same moment.
    pub noted_steady: Timestamp,
    /// The boot of the machine that `boot_micros` is of.
    pub boot: String,
    /// Steady time when that machine was started.
    pub boot_micros: i64,
}

/// The row, and what time the database has.
#[derive(Clone, Debug)]
pub struct Look {
    /// The row.
    pub dial: Dial,
    /// The database's own wall time and when it was read, where the database has a clock that its
    /// nodes share.
    pub database: Option<(Timestamp, Instant)>,
    /// The last time on a record or event, where the row has no noted times yet; else zero.
    pub last_stamp: Timestamp,
}

/// How far wall time and steady time may part before that counts as a jump, in microseconds: more
/// than corrections over the network make at once, less than any wait that matters.
pub const JUMP_MIN_MICROS: i64 = 5_000_000;

/// No time before 2025-01-01 is right: it is older than this program. A machine without a battery
/// for its clock begins in 1970.
const OLDEST_AT: Timestamp = Timestamp::from_micros(1_735_689_600_000_000);

impl Dial {
    /// The steady time at the start of a process: `wall` is its wall time, and its machine has run
    /// for `uptime_micros` since `boot`.
    pub fn steady_at_start(&self, wall: Timestamp, boot: &str, uptime_micros: i64) -> Timestamp {
        if self.noted_at == Timestamp::ZERO {
            return wall;
        }
        let of_boot = plus(self.boot_micros, uptime_micros);
        let is_same_boot = !boot.is_empty()
            && boot == self.boot
            && of_boot.as_micros() >= self.noted_steady.as_micros() - JUMP_MIN_MICROS;
        if is_same_boot {
            return of_boot;
        }
        // The machine was off, or is another one: only the wall time says for how long. Where it
        // says less than nothing, no time is known to have passed.
        let away = wall.as_micros().saturating_sub(self.noted_at.as_micros());
        plus(self.noted_steady.as_micros(), away.max(0))
    }

    /// The row before the first start on it: a clock behind all that is stored was set back.
    #[must_use]
    pub fn begun(self, wall: Timestamp, last_stamp: Timestamp) -> Self {
        let back = wall.as_micros().saturating_sub(last_stamp.as_micros());
        if self.noted_at != Timestamp::ZERO || back >= -JUMP_MIN_MICROS {
            return self;
        }
        Self {
            ahead_micros: back,
            ..self
        }
    }

    /// The row after a jump; none where wall time and steady time stand to each other as before.
    #[must_use]
    pub fn judged(&self, wall: Timestamp, steady: Timestamp) -> Option<Self> {
        let jump = self.jump_micros(wall, steady);
        if is_small(jump) {
            return None;
        }
        let before = match self.ahead_micros {
            back @ ..0 => back,
            _ => self.unconfirmed_micros(steady),
        };
        // The latest that the clock would say now, had it not been set back.
        let latest = plus(
            self.wall(steady).as_micros(),
            before.saturating_neg().max(0),
        );
        // A jump back takes away from a jump ahead, which it may have mended; and the other way
        // round: a return to where the clock was makes nothing older than it was.
        let ahead = match before.saturating_add(jump) {
            1.. if latest < OLDEST_AT => 0,
            rest if before != 0 && (before < 0) != (jump < 0) && is_small(rest) => 0,
            rest => rest,
        };
        let until = plus(steady.as_micros(), ahead);
        let ahead_until = match ahead {
            ..=0 => Timestamp::ZERO,
            _ if jump < 0 => until.min(self.ahead_until),
            _ => until,
        };
        Some(Self {
            apart_micros: self.apart_micros.saturating_add(jump),
            ahead_micros: ahead,
            ahead_until,
            ..self.clone()
        })
    }

    /// How far wall time has left the place that the row knows, in microseconds.
    pub fn jump_micros(&self, wall: Timestamp, steady: Timestamp) -> i64 {
        let apart = wall.as_micros().saturating_sub(steady.as_micros());
        apart.saturating_sub(self.apart_micros)
    }

    /// How far the clock is ahead without a confirmation, in microseconds.
    pub fn unconfirmed_micros(&self, steady: Timestamp) -> i64 {
        if steady < self.ahead_until {
            self.ahead_micros.max(0)
        } else {
            0
        }
    }

    /// See [`Clock::settled`](model::Clock::settled). A jump that is not in the row yet counts as
    /// unconfirmed too.
    pub fn settled(&self, wall: Timestamp, steady: Timestamp) -> Timestamp {
        let known = match self.jump_micros(wall, steady) {
            jump if jump > JUMP_MIN_MICROS => self.wall(steady),
            _ => wall,
        };
        plus(known.as_micros(), -self.unconfirmed_micros(steady))
    }

    /// The wall time at an instant of steady time, as far as the row knows.
    pub fn wall(&self, steady: Timestamp) -> Timestamp {
        plus(steady.as_micros(), self.apart_micros)
    }
}

fn is_small(micros: i64) -> bool {
    micros.saturating_abs() <= JUMP_MIN_MICROS
}

fn plus(micros: i64, more: i64) -> Timestamp {
    Timestamp::from_micros(micros.saturating_add(more))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;
    const MINUTE: i64 = 60 * SECOND;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;
    const YEARS: i64 = 3_652 * DAY;

    const START: Timestamp = Timestamp::from_micros(1_768_478_400_000_000);

    fn at(micros: i64) -> Timestamp {
        plus(START.as_micros(), micros)
    }

    /// Sets the clock by each of `jumps`, a minute after the other. Returns how far it is then
    /// ahead unconfirmed, and for how much longer.
    fn check(jumps: &[i64]) -> (i64, i64) {
        let (mut dial, mut steady, mut apart) = (Dial::default(), START, 0);
        // The latest settled time yet, less steady time.
        let mut latest = i64::MIN;
        for jump in jumps {
            let before = dial.settled(plus(steady.as_micros(), apart), steady);
            latest = latest.max(before.as_micros() - steady.as_micros());
            apart += jump;
            let wall = plus(steady.as_micros(), apart);
            // Before the jump is noticed as well as after it, nothing has become older.
            let most = plus(steady.as_micros(), latest + JUMP_MIN_MICROS);
            assert!(dial.settled(wall, steady) <= most);
            dial = dial.judged(wall, steady).unwrap_or(dial);
            assert!(dial.settled(wall, steady) <= most);
            assert_eq!(dial.judged(wall, steady), None, "it is noticed once");
            steady = plus(steady.as_micros(), MINUTE);
        }
        let left = (dial.ahead_until.as_micros() - steady.as_micros()).max(0);
        (dial.unconfirmed_micros(steady), left)
    }

    #[test]
    fn a_jump_ahead_is_confirmed_by_as_much_steady_time_and_mended_by_a_jump_back() {
        for (jumps, unconfirmed, left) in [
            (&[][..], 0, 0),
            (&[5 * SECOND], 0, 0),
            (&[-5 * SECOND], 0, 0),
            (&[3 * SECOND, 3 * SECOND], 6 * SECOND, 0),
            (&[30 * SECOND], 0, 0),
            (&[5 * MINUTE], 5 * MINUTE, 4 * MINUTE),
            (&[DAY], DAY, DAY - MINUTE),
            (&[-5 * MINUTE], 0, 0),
            (&[-YEARS], 0, 0),
            (&[YEARS, -YEARS], 0, 0),
            (&[DAY, -HOUR], 23 * HOUR, 23 * HOUR - MINUTE),
            (&[-HOUR, HOUR], 0, 0),
            (&[-HOUR, HOUR + 2 * SECOND], 0, 0),
            (&[-HOUR, DAY], 23 * HOUR, 23 * HOUR - MINUTE),
            (&[-YEARS, HOUR, YEARS - HOUR], 0, 0),
            (&[DAY, -2 * DAY, DAY], 0, 0),
            (&[DAY, DAY], 2 * DAY, 2 * DAY - MINUTE),
            (&[HOUR, -DAY], 0, 0),
        ] {
            // Six seconds were over before the look.
            let unconfirmed = if left == 0 { 0 } else { unconfirmed };
            assert_eq!(check(jumps), (unconfirmed, left), "{jumps:?}");
        }
    }

    #[test]
    fn a_clock_that_was_behind_all_that_is_stored_or_never_right_is_corrected() {
        let correct = |last_stamp, to| {
            let wall = at(-YEARS);
            let dial = Dial::default().begun(wall, last_stamp);
            let dial = dial.judged(to, wall).expect("a jump");
            dial.unconfirmed_micros(wall)
        };
        assert_eq!(correct(at(0), at(0)), 0, "back to where it was");
        assert_eq!(correct(at(0), at(DAY)), DAY, "further than it was");
        assert_eq!(correct(Timestamp::ZERO, at(0)), 0, "it never was right");
        let noted = Dial {
            noted_at: at(0),
            ..Dial::default()
        };
        assert_eq!(noted.clone().begun(at(-YEARS), at(0)), noted);
    }

    #[test]
    fn steady_time_goes_on_over_a_restart_whatever_the_clock_says() {
        let dial = Dial {
            noted_at: at(0),
            noted_steady: at(-DAY),
            apart_micros: DAY,
            boot: "a".to_owned(),
            boot_micros: at(-DAY).as_micros() - HOUR,
            ..Dial::default()
        };
        for (what, wall, boot, uptime, steady) in [
            ("at once", at(0), "a", HOUR, at(-DAY)),
            (
                "a minute later",
                at(MINUTE),
                "a",
                HOUR + MINUTE,
                at(MINUTE - DAY),
            ),
            (
                "set back meanwhile",
                at(-HOUR),
                "a",
                HOUR + MINUTE,
                at(MINUTE - DAY),
            ),
            (
                "set ahead meanwhile",
                at(9 * DAY),
                "a",
                HOUR + MINUTE,
                at(MINUTE - DAY),
            ),
            (
                "the machine was off for two days",
                at(2 * DAY),
                "b",
                MINUTE,
                at(DAY),
            ),
            (
                "off, and set back by years",
                at(-YEARS),
                "b",
                MINUTE,
                at(-DAY),
            ),
            (
                "another machine of the same name",
                at(HOUR),
                "a",
                MINUTE,
                at(HOUR - DAY),
            ),
            (
                "no name of the boot",
                at(HOUR),
                "",
                2 * HOUR,
                at(HOUR - DAY),
            ),
        ] {
            assert_eq!(dial.steady_at_start(wall, boot, uptime), steady, "{what}");
        }
        assert_eq!(Dial::default().steady_at_start(at(0), "a", HOUR), at(0));
    }

    #[test]
    fn downtime_is_no_jump_and_a_clock_that_was_set_meanwhile_is_one() {
        let dial = Dial {
            noted_at: at(0),
            noted_steady: at(0),
            boot: "a".to_owned(),
            boot_micros: at(-HOUR).as_micros(),
            ..Dial::default()
        };
        let jump = |wall, boot, uptime| {
            let steady = dial.steady_at_start(wall, boot, uptime);
            dial.judged(wall, steady).map_or(0, |one| one.apart_micros)
        };
        assert_eq!(jump(at(DAY), "a", HOUR + DAY), 0, "stopped for a day");
        assert_eq!(jump(at(DAY), "b", MINUTE), 0, "switched off for a day");
        assert_eq!(jump(at(DAY), "a", HOUR + MINUTE), DAY - MINUTE, "set ahead");
        assert_eq!(jump(at(-DAY), "a", HOUR), -DAY, "set back");
        assert_eq!(jump(at(-DAY), "b", MINUTE), -DAY, "off, and set back");
    }
}

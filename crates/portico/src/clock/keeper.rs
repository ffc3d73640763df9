//! Looks once a second whether the clock was set, and keeps in the store how it stands.
//!
//! On one machine's disk wall time is the machine's. On PostgreSQL it is the database's: nodes
//! whose clocks differ agree on what is due, and one node stores a jump for all.

use std::{sync::Arc, time::Duration};

use model::{Clock, Timestamp};
use portico_http::metrics::Metrics;
use store::{
    Error, Store,
    clock::{Dial, JUMP_MIN_MICROS, Look},
};

use super::{ServerClock, machine};

/// How often it looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A look at the database's clock that took longer says too little.
const LOOK_MAX: Duration = Duration::from_secs(1);

/// Times that a start looks again when another node was faster.
const START_TRIES: u32 = 20;

/// See the module.
pub(crate) struct Keeper {
    store: Arc<Store>,
    metrics: Arc<Metrics>,
    clock: Arc<ServerClock>,
    known: Dial,
    /// The boot of this machine, and steady time at it.
    boot: (String, i64),
    /// True if the last change of the row is this process's.
    is_own: bool,
}

impl Keeper {
    /// Makes the clock of a server that begins on `store`, and has the store go by it.
    ///
    /// # Errors
    /// As the store's.
    pub(crate) async fn start(store: Arc<Store>, metrics: Arc<Metrics>) -> Result<Self, Error> {
        for _ in 0..START_TRIES {
            let look = store.clock_look().await?;
            let is_shared = look.database.is_some();
            let Begun {
                before,
                dial,
                steady,
                has_jumped,
            } = begin(&look);
            let (boot, boot_micros) = (dial.boot.clone(), dial.boot_micros);
            let is_to_set = !is_shared || has_jumped || before != look.dial;
            let known = if is_to_set {
                match store.clock_set(dial.clone()).await {
                    Ok(false) => continue,
                    Ok(true) => {
                        if has_jumped {
                            tell(&before, &dial, steady, &metrics);
                        }
                        Dial {
                            revision: dial.revision + 1,
                            ..dial
                        }
                    }
                    // A full disk, say: until it can be stored, a jump is judged again and again.
                    Err(why) => {
                        why.tell("the state of the clock could not be stored; trying again");
                        look.dial
                    }
                }
            } else {
                look.dial
            };
            let clock = ServerClock::new(known.clone(), steady, is_shared);
            store.signals().time().keep(clock.clone());
            return Ok(Self {
                store,
                metrics,
                clock,
                known,
                boot: (boot, boot_micros),
                is_own: is_to_set,
            });
        }
        Err(Error::Busy)
    }

    /// The clock.
    pub(crate) fn clock(&self) -> Arc<ServerClock> {
        self.clock.clone()
    }

    /// Looks until the store is closed.
    pub(crate) async fn keep(mut self) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            match self.look().await {
                Ok(()) => {}
                Err(Error::Closed) => return,
                Err(why) => why.tell("the clock could not be looked after; trying again"),
            }
        }
    }

    async fn look(&mut self) -> Result<(), Error> {
        let begun = std::time::Instant::now();
        let look = self.store.clock_look().await?;
        let took = begun.elapsed();
        let wall = match there(&look) {
            Some(_) if took > LOOK_MAX => return Ok(()),
            Some(wall) => wall,
            None => machine::wall(),
        };
        let is_shared = look.database.is_some();
        let mut is_overruled = false;
        if look.dial.revision != self.known.revision {
            // Whoever disagrees with what this process made of the clocks is believed: else two
            // of which one stood still would overrule each other for ever.
            is_overruled = is_shared && std::mem::take(&mut self.is_own);
            let steady = self.clock.steady();
            if self.known.unconfirmed_micros(steady) > 0 && look.dial.ahead_micros <= 0 {
                tracing::info!("a jump of the clock was confirmed, or mended");
            }
            self.adopt(look.dial.clone());
        }
        let steady = self.clock.steady();
        let jumped = look.dial.judged(wall, steady);
        if let Some(jumped) = jumped.filter(|_| !is_overruled) {
            let is_set = self.set(jumped.clone(), wall, steady).await?;
            if is_set {
                tell(&look.dial, &jumped, steady, &self.metrics);
            }
            return Ok(());
        }
        if is_shared {
            // The database's clock is what all nodes go by.
            let micros = wall.as_micros().saturating_sub(look.dial.apart_micros);
            self.clock.be_at(Timestamp::from_micros(micros));
        } else if look.dial.boot_micros != self.boot.1 {
            // The start could not store it.
            self.set(look.dial, wall, steady).await?;
            return Ok(());
        }
        let ahead_micros = look.dial.ahead_micros;
        if ahead_micros > 0 && look.dial.unconfirmed_micros(steady) == 0 {
            let over = Dial {
                ahead_micros: 0,
                ahead_until: Timestamp::ZERO,
                ..look.dial
            };
            let is_set = self.set(over, wall, steady).await?;
            if is_set && ahead_micros >= JUMP_MIN_MICROS {
                tracing::info!(
                    ahead_s = ahead_micros / 1_000_000,
                    "as much time has passed as the clock was set ahead: that is confirmed"
                );
            }
        }
        Ok(())
    }

    /// Stores another dial. `false` when another process was first.
    async fn set(&mut self, to: Dial, wall: Timestamp, steady: Timestamp) -> Result<bool, Error> {
        let to = Dial {
            noted_at: wall,
            noted_steady: steady,
            boot: self.boot.0.clone(),
            boot_micros: self.boot.1,
            ..to
        };
        if !self.store.clock_set(to.clone()).await? {
            return Ok(false);
        }
        self.is_own = true;
        self.adopt(Dial {
            revision: to.revision + 1,
            ..to
        });
        Ok(true)
    }

    fn adopt(&mut self, dial: Dial) {
        self.known = dial.clone();
        self.clock.go_by(dial);
    }
}

/// How a start finds the clocks.
struct Begun {
    /// The row before a jump.
    before: Dial,
    /// The row to store, with the times and the boot of now.
    dial: Dial,
    steady: Timestamp,
    has_jumped: bool,
}

fn begin(look: &Look) -> Begun {
    let (boot, uptime_micros) = (machine::boot(), machine::uptime_micros());
    let (wall, steady) = match there(look) {
        // Behind the noted time of an earlier process, the clock was set back since.
        Some(wall) => (wall, steady_there(&look.dial, wall)),
        None => {
            let wall = machine::wall();
            let steady = look.dial.steady_at_start(wall, &boot, uptime_micros);
            (wall, steady)
        }
    };
    let before = look.dial.clone().begun(wall, look.last_stamp);
    let jumped = before.judged(wall, steady);
    let has_jumped = jumped.is_some();
    let dial = Dial {
        noted_at: wall,
        noted_steady: steady,
        boot_micros: steady.as_micros().saturating_sub(uptime_micros),
        boot,
        ..jumped.unwrap_or_else(|| before.clone())
    };
    Begun {
        before,
        dial,
        steady,
        has_jumped,
    }
}

/// Stores a jump that no server has noticed yet, as a start does.
///
/// # Errors
/// As the store's.
pub(crate) async fn note_jump(store: &Store) -> Result<(), Error> {
    for _ in 0..START_TRIES {
        let begun = begin(&store.clock_look().await?);
        if !begun.has_jumped || store.clock_set(begun.dial).await? {
            return Ok(());
        }
    }
    Err(Error::Busy)
}

/// The database's time now, where it has one.
fn there(look: &Look) -> Option<Timestamp> {
    let (at, read_at) = look.database?;
    let since = i64::try_from(read_at.elapsed().as_micros()).unwrap_or(i64::MAX);
    Some(Timestamp::from_micros(at.as_micros().saturating_add(since)))
}

/// The steady time where the database's wall time is `wall`: no earlier than any that was noted.
fn steady_there(dial: &Dial, wall: Timestamp) -> Timestamp {
    let micros = wall.as_micros().saturating_sub(dial.apart_micros);
    let noted = dial.noted_steady.as_micros();
    if noted.saturating_sub(micros) > JUMP_MIN_MICROS {
        dial.noted_steady
    } else {
        Timestamp::from_micros(micros)
    }
}

/// Says what the clock did.
fn tell(before: &Dial, after: &Dial, steady: Timestamp, metrics: &Metrics) {
    let jump_s = (after.apart_micros - before.apart_micros) / 1_000_000;
    metrics.clock_jumped(jump_s > 0);
    if jump_s > 0 {
        tracing::warn!(
            jump_s,
            unconfirmed_s = after.unconfirmed_micros(steady) / 1_000_000,
            "the clock was set ahead: nothing is given up, removed, switched off or expires for it until as much time has passed; if the new time is right, run `portico clock accept`"
        );
    } else {
        tracing::warn!(
            jump_s,
            "the clock was set back: waits and leases go on as if it had not been"
        );
    }
}

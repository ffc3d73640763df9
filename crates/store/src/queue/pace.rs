//! How fast each integration's vendor is called, by all who call it.
//!
//! Guarantee: what is given within a limit is counted in the same transaction, so that claimers and runs of synchronisation, in however many processes, together keep
//! to what one of them would. An integration without a limit that was not asked to leave its vendor alone has no row, and costs no write.

use model::{IntegrationId, Timestamp, pace::Pace};

use crate::{
    Error, Store,
    engines::{
        bulk::{Question, Type::Text},
        db::{Bind, Db, Row, values},
    },
    listing::no_integration,
    reading::Reading,
};

/// What [`Pacing`] is read from: asked at each claim.
const STANDING: &str = "SELECT i.n, (SELECT count(*) FROM queue q INDEXED BY queue_leased WHERE q.lane = i.n AND q.state = 2),
            coalesce(p.writes_full_at, 0), coalesce(p.calls_full_at, 0), coalesce(p.paused_until, 0), i.updated_at
     FROM integrations i LEFT JOIN paces p ON p.lane = i.n WHERE i.id = ?1";

/// What keeps the calls of a lane back.
pub(crate) struct Pacing {
    pub(crate) lane: i64,
    /// Its writes under a lease, whoever holds them.
    pub(crate) leased: u32,
    /// The pace of writes.
    writes: Pace,
    /// The pace of everything: what synchronisation may take is what this leaves, and what it takes is not taken from writes. So over any time there may be, beside the
    /// limit, a bucket of each.
    calls: Pace,
    paused_until: Timestamp,
    /// When the integration was last changed.
    pub(crate) updated_at: Timestamp,
}

impl Pacing {
    /// Asks for those of some integrations.
    pub(crate) fn question(ids: &[String]) -> Question<'_> {
        Question {
            sql: STANDING,
            types: &[Text],
            sets: ids.iter().map(|id| vec![id.bind()]).collect(),
        }
    }

    /// Reads a row of the answer to [`Self::question`].
    pub(crate) fn read(row: &Row<'_>) -> Result<Self, Error> {
        let time = |place: usize| row.get(place).map(Timestamp::from_micros);
        Ok(Self {
            lane: row.get(0)?,
            leased: row.get(1)?,
            writes: Pace::new(time(2)?),
            calls: Pace::new(time(3)?),
            paused_until: time(4)?,
            updated_at: time(5)?,
        })
    }

    fn within(
        &self,
        pace: &Pace,
        now: Timestamp,
        gap_micros: Option<i64>,
        wanted: u32,
    ) -> Result<u32, Timestamp> {
        if self.paused_until > now {
            return Err(self.paused_until);
        }
        pace.room(now, gap_micros, wanted)
    }

    /// How many writes may go now, at most `wanted`; and when the next may, if it is none.
    pub(crate) fn writes_room(
        &self,
        now: Timestamp,
        gap_micros: Option<i64>,
        wanted: u32,
    ) -> Result<u32, Timestamp> {
        self.within(&self.writes, now, gap_micros, wanted)
    }

    /// `count` writes go now.
    pub(crate) fn writes_began(
        &mut self,
        db: &Db<'_>,
        now: Timestamp,
        gap_micros: Option<i64>,
        count: u32,
    ) -> Result<(), Error> {
        self.writes.began(now, gap_micros, count);
        self.calls.began(now, gap_micros, count);
        if gap_micros.is_some() && count > 0 {
            self.store(db)?;
        }
        Ok(())
    }

    fn store(&self, db: &Db<'_>) -> Result<(), Error> {
        db.send(
            "INSERT INTO paces (lane, writes_full_at, calls_full_at) VALUES (?1, ?2, ?3) ON CONFLICT (lane) DO UPDATE SET writes_full_at = ?2, calls_full_at = ?3",
            values![
                self.lane,
                self.writes.full_at().as_micros(),
                self.calls.full_at().as_micros()
            ],
        )
    }
}

/// When a call of synchronisation may begin, if not now. One that may is counted.
pub(crate) fn call_begin(
    db: &Db<'_>,
    id: IntegrationId,
    gap_micros: Option<i64>,
    now: Timestamp,
) -> Result<Option<Timestamp>, Error> {
    let pacing = db.find(STANDING, values![id.to_string()], Pacing::read)?;
    let mut pacing = pacing.ok_or_else(|| no_integration(id))?;
    if let Err(at) = pacing.within(&pacing.calls, now, gap_micros, 1) {
        return Ok(Some(at));
    }
    if gap_micros.is_some() {
        pacing.calls.began(now, gap_micros, 1);
        pacing.store(db)?;
    }
    Ok(None)
}

/// The vendor of a write asked to be left alone until then.
pub(crate) fn pause(db: &Db<'_>, seq: i64, until: Timestamp) -> Result<(), Error> {
    db.send(
        "INSERT INTO paces (lane, paused_until) SELECT lane, CAST(?2 AS BIGINT) FROM writes WHERE seq = ?1
             ON CONFLICT (lane) DO UPDATE SET paused_until = CASE WHEN paces.paused_until < ?2 THEN ?2 ELSE paces.paused_until END",
        values![seq, until.as_micros()],
    )
}

/// Forgets what kept a lane back: it leads elsewhere now, or has other limits.
pub(crate) fn begin_anew(db: &Db<'_>, lane: i64) -> Result<(), Error> {
    db.send("DELETE FROM paces WHERE lane = ?1", values![lane])
}

impl Store {
    /// When a run may make a call to its vendor, if not now; one that may be made is counted. `gap_micros` is as in [`Ask`](crate::Ask). What writes take is taken from it, and what it takes is
    /// not taken from writes.
    pub async fn call_begin(
        &self,
        id: IntegrationId,
        gap_micros: Option<i64>,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, Error> {
        let begin = move |db: &Db<'_>| call_begin(db, id, gap_micros, now);
        if gap_micros.is_none() {
            // There is nothing to count.
            return self.engine.read(Reading::OWN, begin).await;
        }
        self.engine.write(move |tx| begin(tx)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subscriptions::deliveries::tests::assert_plan;

    #[test]
    fn what_is_asked_at_each_claim_walks_over_no_table() {
        let leased = "SEARCH q USING COVERING INDEX queue_leased (lane=?)";
        assert_plan(
            STANDING,
            &[leased, "SEARCH p USING INTEGER PRIMARY KEY"],
            &[],
        );
    }
}

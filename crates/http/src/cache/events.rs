//! The newest part of the log of events in memory, for all requests that wait for something in it.
//!
//! Guarantee: new events are read once, however many wait; each is then compared with what each of
//! them asked for without asking the store.

use std::{collections::VecDeque, time::Duration};

use model::{EventId, Scope};
use store::{
    Error, Store,
    webhooks::{EventHead, EventQuery},
};
use tokio::{sync::Mutex, time::Instant};

/// How often a wait for events looks at the store, as a net under the signal: all requests that
/// wait share one look.
pub(crate) const WAIT_POLL: Duration = Duration::from_secs(1);

/// Events that are kept in memory: a wait that was not woken for as many looks into the store. Some
/// 1 MB.
const HEADS_MAX: usize = 4_096;

/// Events that are read at once.
const PIECE_ROWS: u32 = 1_024;

/// Such pieces in a row, for who fell behind.
const PIECES_MAX: usize = HEADS_MAX / PIECE_ROWS as usize;

/// When nobody has waited for so long, it begins anew.
const STALE: Duration = Duration::from_secs(5);

/// How soon after a look the next may be: events that are stored meanwhile are read together.
pub(crate) const PAUSE: Duration = Duration::from_millis(20);

/// The newest events.
#[derive(Default)]
pub struct Tail(Mutex<Option<Newest>>);

struct Newest {
    heads: VecDeque<EventHead>,
    /// All events behind this place are there.
    from: i64,
    /// All events up to this place are there.
    to: i64,
    /// What the store's signals counted before it was read.
    revision: u64,
    read_at: Instant,
}

/// What the newest events say to a wait.
pub(crate) struct Told {
    /// Whether something that is waited for may be among them: the store is to be asked.
    pub(crate) may_be_there: bool,
    /// Up to where in the log it is known.
    pub(crate) to: i64,
    /// The last event among them that the caller may know of.
    pub(crate) seen: Option<(i64, EventId)>,
}

impl Tail {
    /// Reads what is new, unless another has just done so, and says what it means for `query`, of
    /// which nothing is in the log up to `known`; that is `None` when nobody has looked.
    ///
    /// # Errors
    /// As the store's.
    pub(crate) async fn look(
        &self,
        store: &Store,
        scope: &Scope,
        query: &EventQuery,
        known: Option<i64>,
    ) -> Result<Told, Error> {
        let mut newest = self.0.lock().await;
        let is_followed = match &mut *newest {
            Some(newest) if newest.read_at.elapsed() < STALE => newest.follow(store).await?,
            _ => false,
        };
        if !is_followed {
            *newest = None;
        }
        let newest = match &mut *newest {
            Some(newest) => newest,
            none => none.insert(Newest::begin(store).await?),
        };
        Ok(newest.tell(scope, query, known))
    }
}

impl Newest {
    async fn begin(store: &Store) -> Result<Self, Error> {
        let revision = store.signals().events_revision();
        let newest = store.event_newest().await?;
        Ok(Self {
            heads: VecDeque::new(),
            from: newest,
            to: newest,
            revision,
            read_at: Instant::now(),
        })
    }

    /// Reads on. `false` when so much is new that it is better to begin anew: who waits then looks
    /// into the store.
    async fn follow(&mut self, store: &Store) -> Result<bool, Error> {
        let revision = store.signals().events_revision();
        // Of what other nodes stored there may be no signal.
        if revision == self.revision && self.read_at.elapsed() < WAIT_POLL {
            return Ok(true);
        }
        for _ in 0..PIECES_MAX {
            let some = store.event_heads(self.to, PIECE_ROWS).await?;
            let is_all = some.len() < PIECE_ROWS as usize;
            self.add(some);
            if is_all {
                (self.revision, self.read_at) = (revision, Instant::now());
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn add(&mut self, some: Vec<EventHead>) {
        self.to = some.last().map_or(self.to, |last| last.seq);
        self.heads.extend(some);
        while self.heads.len() > HEADS_MAX {
            self.from = self.heads.pop_front().map_or(self.from, |head| head.seq);
        }
    }

    fn tell(&self, scope: &Scope, query: &EventQuery, known: Option<i64>) -> Told {
        let is_visible = |head: &EventHead| head.integration_id.is_some_and(|id| scope.sees(id));
        let behind = known.unwrap_or(self.to);
        let new = || self.heads.iter().rev().take_while(|head| head.seq > behind);
        let seen = new().find(|head| is_visible(head) && head.id.is_some());
        Told {
            may_be_there: known.is_none_or(|known| known < self.from)
                || new().any(|head| is_visible(head) && is_asked_for(head, query)),
            to: self.to,
            seen: seen.and_then(|head| Some((head.seq, head.id?))),
        }
    }
}

/// Whether an event is what `query` asks for, wherever it is.
fn is_asked_for(head: &EventHead, query: &EventQuery) -> bool {
    let EventQuery {
        integration_id,
        trigger,
        kind,
        subject,
        since,
        after: _,
        behind: _,
        goes_on: _,
        is_descending: _,
        limit: _,
    } = query;
    integration_id.is_none_or(|id| head.integration_id == Some(id))
        && trigger.is_none_or(|trigger| head.trigger == Some(trigger))
        && kind.is_none_or(|kind| head.kind == Some(kind))
        && subject
            .as_ref()
            .is_none_or(|subject| head.subject == *subject)
        && since.is_none_or(|since| head.at >= since)
}

#[cfg(test)]
mod tests {
    use model::{IntegrationId, Timestamp, record::Kind, webhook::Trigger};

    use super::*;
    use crate::fixture::Fixed;

    fn integration(n: u8) -> IntegrationId {
        IntegrationId::new(Timestamp::ZERO, &Fixed(n))
    }

    fn head(seq: i64) -> EventHead {
        EventHead {
            seq,
            id: Some(EventId::new(Timestamp::ZERO, &Fixed(7))),
            at: Timestamp::from_micros(seq),
            trigger: Some(Trigger::DataNew),
            kind: Some(Kind::Prospect),
            integration_id: Some(integration(1)),
            subject: "pro_1".to_owned(),
        }
    }

    fn newest() -> Newest {
        let mut newest = Newest {
            heads: VecDeque::new(),
            from: 10,
            to: 10,
            revision: 0,
            read_at: Instant::now(),
        };
        newest.add((11..=20).map(head).collect());
        newest
    }

    #[expect(clippy::disallowed_methods, reason = "a test may see everything")]
    fn everyone() -> Scope {
        Scope::operator()
    }

    #[test]
    fn a_wait_asks_the_store_only_for_what_it_waits_for() {
        let newest = newest();
        let all = EventQuery::default;
        let trigger = |trigger| EventQuery {
            trigger: Some(trigger),
            ..all()
        };
        let since = |micros| EventQuery {
            since: Some(Timestamp::from_micros(micros)),
            ..all()
        };
        for (query, known, expected) in [
            (all(), None, true),
            (all(), Some(10), true),
            (all(), Some(19), true),
            (all(), Some(20), false),
            // It was not woken for so long that what happened is not in memory.
            (trigger(Trigger::JobFailure), Some(9), true),
            (trigger(Trigger::JobFailure), Some(10), false),
            (trigger(Trigger::DataNew), Some(15), true),
            (
                EventQuery {
                    kind: Some(Kind::Agent),
                    ..all()
                },
                Some(10),
                false,
            ),
            (
                EventQuery {
                    integration_id: Some(integration(2)),
                    ..all()
                },
                Some(10),
                false,
            ),
            (
                EventQuery {
                    subject: Some("pro_2".to_owned()),
                    ..all()
                },
                Some(10),
                false,
            ),
            (since(20), Some(10), true),
            (since(21), Some(10), false),
        ] {
            let told = newest.tell(&everyone(), &query, known);
            assert_eq!(told.may_be_there, expected, "{query:?} {known:?}");
            assert_eq!(told.to, 20);
            let is_new = known.is_some_and(|known| known < 20);
            assert_eq!(told.seen.map(|(seq, _)| seq), is_new.then_some(20));
        }
    }

    #[test]
    fn what_is_kept_in_memory_is_bounded_and_says_from_where() {
        let mut newest = newest();
        newest.add((21..21 + HEADS_MAX as i64).map(head).collect());
        assert_eq!((newest.heads.len(), newest.from), (HEADS_MAX, 20));
        let query = EventQuery::default();
        assert!(
            newest
                .tell(&everyone(), &query, Some(newest.to))
                .seen
                .is_none()
        );
        assert!(newest.tell(&everyone(), &query, Some(19)).may_be_there);
    }
}

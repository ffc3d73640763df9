//! Questions about the log of events, and their answers.

use model::{
    EventId, IntegrationId, Timestamp,
    record::Kind,
    webhook::{Event, Trigger},
};

/// Which events of the log.
#[derive(Clone, Debug, Default)]
pub struct EventQuery {
    /// Concerning this integration only.
    pub integration_id: Option<IntegrationId>,
    /// Of this trigger only.
    pub trigger: Option<Trigger>,
    /// About this kind of record only.
    pub kind: Option<Kind>,
    /// About this record, write or run only.
    pub subject: Option<String>,
    /// Not stored before.
    pub since: Option<Timestamp>,
    /// Behind this event, in the direction of the list.
    pub after: Option<EventId>,
    /// Behind this place of the log too, in the same direction: it was looked at up to there.
    pub behind: Option<i64>,
    /// Whether this goes on where an earlier look for the same request ended: then it is one of the
    /// expensive reads of its key.
    pub goes_on: bool,
    /// The newest first; else the oldest.
    pub is_descending: bool,
    /// Events at most.
    pub limit: u64,
}

/// What a look at the log brought.
#[derive(Debug, Default)]
pub struct EventPage {
    /// The events.
    pub rows: Vec<Event>,
    /// Whether more may follow: the log goes on.
    pub has_more: bool,
    /// The last event, of those that the caller may know of, that was looked at, whether or not it
    /// was asked for: a cursor to go on behind. `None` when there was none.
    pub seen: Option<(i64, EventId)>,
}

/// What is known of an event without reading all of it.
#[derive(Clone, Debug)]
pub struct EventHead {
    /// Its place in the log.
    pub seq: i64,
    /// Its id. This and what follows is absent when it cannot be read.
    pub id: Option<EventId>,
    /// When it was stored.
    pub at: Timestamp,
    /// What kind of thing.
    pub trigger: Option<Trigger>,
    /// Of which kind of record.
    pub kind: Option<Kind>,
    /// The integration that it concerns.
    pub integration_id: Option<IntegrationId>,
    /// What it is about.
    pub subject: String,
}

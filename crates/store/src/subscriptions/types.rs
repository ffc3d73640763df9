//! What the store is asked and told about subscriptions, events and deliveries.

use model::{
    EventId, Timestamp, WebhookId,
    key::Key,
    webhook::{DeliveryAttempt, DeliveryStatus, Event},
};

/// How many deliveries to claim, and for whom.
pub struct DeliveryClaim {
    /// Subscriptions and how many deliveries each may have.
    pub lanes: Vec<(WebhookId, u32)>,
    /// What counts as due.
    pub now: Timestamp,
    /// Until when the claimer holds them.
    pub lease_until: Timestamp,
}

/// What a claim brought for one subscription.
pub struct DeliveryLane {
    /// The subscription.
    pub webhook_id: WebhookId,
    /// Its deliveries, now under a lease.
    pub deliveries: Vec<ClaimedDelivery>,
    /// When its next one is due, if it has one.
    pub next_due_at: Option<Timestamp>,
}

/// The right to record what became of one attempt to deliver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DeliveryTicket {
    /// The subscription's row.
    pub webhook: i64,
    /// The event's place in the log.
    pub event: i64,
    /// Which attempt of the delivery.
    pub attempt: u32,
    /// Which attempt since it was last replayed, or ever: what the schedule goes by.
    pub tries: u32,
}

/// A delivery under a lease.
pub struct ClaimedDelivery {
    /// The lease.
    pub ticket: DeliveryTicket,
    /// The event; why it cannot be read, in words for the operator, if so.
    pub event: Result<Event, String>,
}

/// How an attempt leaves its delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryVerdict {
    /// The receiver has it.
    Delivered,
    /// It will be tried again, not before.
    Again(Timestamp),
    /// It was tried as often as it is.
    GivenUp,
}

/// An attempt to deliver that is over, and what follows.
#[derive(Clone)]
pub struct DeliveryFinish {
    /// The lease.
    pub ticket: DeliveryTicket,
    /// The attempt.
    pub attempt: DeliveryAttempt,
    /// What follows for the delivery.
    pub verdict: DeliveryVerdict,
    /// What follows for the subscription.
    pub standing: Standing,
    /// When.
    pub now: Timestamp,
}

/// What an attempt says about the receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nothing: it was not asked.
    Unasked,
    /// It works.
    Well,
    /// It failed. When it did nothing else since before this instant, its subscription is switched off, for this reason.
    Failed {
        /// See above.
        since_before: Timestamp,
        /// See above.
        reason: String,
    },
    /// It failed, and says that it is gone, perhaps by mistake. When it said so before, and took nothing
    /// since, its subscription is switched off.
    SaidGone {
        /// Before when it must have said so.
        said_before: Timestamp,
        /// Why it is switched off then.
        reason: String,
        /// As `since_before` of [`Failed`](Self::Failed), which holds as well.
        failed_before: Timestamp,
        /// Why it is switched off for that.
        failed: String,
    },
    /// It wants no more: its subscription is switched off, for this reason.
    Gone {
        /// See above.
        reason: String,
    },
}

/// What an attempt changed about its receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// Nothing: it fails as before, or works as before.
    Same,
    /// It worked, and fails now.
    Fails,
    /// It failed, and works now.
    Works,
    /// Its subscription was switched off.
    Off,
}

/// A key that is revoked, and what became of the subscriptions that it made.
#[derive(Clone, Debug, PartialEq)]
pub struct Revoked {
    /// The key.
    pub key: Key,
    /// Those that were switched off.
    pub disabled: Vec<WebhookId>,
    /// Those that go on.
    pub kept: Vec<WebhookId>,
}

/// Which subscriptions.
#[derive(Clone, Copy, Debug)]
pub struct WebhookQuery {
    /// Active ones only, or those only that are not; both when absent.
    pub active: Option<bool>,
    /// The newest first.
    pub is_descending: bool,
    /// Subscriptions to skip.
    pub offset: u64,
    /// Subscriptions at most.
    pub limit: u64,
}

/// Which deliveries of a subscription, the newest event first.
#[derive(Clone, Debug)]
pub struct DeliveryQuery {
    /// The subscription.
    pub webhook_id: WebhookId,
    /// Standing so only.
    pub status: Option<DeliveryStatus>,
    /// Of events that happened before this one.
    pub after: Option<EventId>,
    /// Deliveries at most.
    pub limit: u64,
}

/// What to deliver once more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replay {
    /// This event, whether or not it was delivered, or the subscription has that trigger.
    Event(EventId),
    /// What was given up.
    Failed,
    /// Every event since then that the subscription is to, whether or not it was delivered.
    Since(Timestamp),
}

/// How far a replay has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Deliveries that are due again, so far.
    pub count: u64,
    /// The event to go on behind; `None` when all is done.
    pub next: Option<i64>,
}

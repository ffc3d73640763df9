//! Events, and who subscribes to them.
//!
//! Guarantee: the body of an event is made of what was stored with the fact, the same at every attempt, for every subscriber and in the log of events.
//! Source: the public contract, section 6.

mod body;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::{
    clock::Timestamp,
    id::{EventId, IntegrationId, KeyId, TriggerId, WebhookId},
    key::System,
    record::{Kind, Record},
    secret::Secret,
    words,
    write::{Outcome, WriteStatus},
};

pub use self::body::{
    ChangedRecordData, EventBody, EventContext, EventData, EventMeta, NewRecordData, RecordDiff,
    SyncRun, SyncRunData, TEST, TestData, WriteEndData,
};

words! {
    /// What kind of thing happened.
    Trigger {
        /// A record was stored that was not there before.
        DataNew = "DATA_NEW",
        /// A record changed.
        DataUpdate = "DATA_UPDATE",
        /// A synchronisation has ended, and it was not the first.
        SyncComplete = "SYNC_COMPLETE",
        /// The first synchronisation of an integration has ended.
        FirstSyncComplete = "FIRST_SYNC_COMPLETE",
        /// A synchronisation has ended well.
        JobSuccess = "JOB_SUCCESS",
        /// A synchronisation brought nothing.
        JobFailure = "JOB_FAILURE",
        /// A write ended, and not all of it is at the vendor.
        WriteFailure = "WRITE_OPERATION_FAILURE",
        /// A write ended, and all of it is at the vendor.
        WriteSuccess = "WRITE_OPERATION_SUCCESS",
    }
}

impl Trigger {
    /// Whether it is about records, so that a subscription can be to those of one model.
    pub const fn is_by_model(self) -> bool {
        matches!(self, Self::DataNew | Self::DataUpdate)
    }
}

words! {
    /// How the deliveries of a subscription write the model of a record.
    ObjectStyle {
        /// `crm_prospects`.
        Underscore = "underscore",
        /// `crm-prospects`.
        Dash = "dash",
    }
}

impl Default for ObjectStyle {
    /// The style of the public contract for CRM models.
    fn default() -> Self {
        Self::Underscore
    }
}

/// What a subscription is told of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscribed {
    /// Its id.
    pub id: TriggerId,
    /// What happens.
    pub trigger: Trigger,
    /// Of which records; of all when absent. Only where [`Trigger::is_by_model`].
    #[serde(with = "kind_word", default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
}

/// A kind as its word.
mod kind_word {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

    use crate::record::Kind;

    #[expect(
        clippy::ref_option,
        reason = "serde hands over a reference to the member"
    )]
    pub(super) fn serialize<S: Serializer>(
        kind: &Option<Kind>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        kind.map(Kind::word).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Kind>, D::Error> {
        Option::<String>::deserialize(deserializer)?
            .map(|word| Kind::of(&word).ok_or_else(|| D::Error::custom("not a kind of record")))
            .transpose()
    }
}

/// The secret that a subscription had before, by which deliveries are signed too until its receiver has changed over.
#[derive(Clone)]
pub struct Previous {
    /// It.
    pub secret: Secret,
    /// Until when.
    pub until: Timestamp,
}

/// That a subscription was switched off because its receiver failed, or its key is no longer in
/// force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disabled {
    /// When.
    pub at: Timestamp,
    /// Why, in words.
    pub reason: String,
}

/// Earlier secrets that deliveries are still signed with at most: who rotates again, because an answer was lost, is not to cut off a receiver that has the one
/// before, and more than a few at a time are a mistake.
pub const PREVIOUS_MAX: usize = 4;

/// A subscription to events.
#[derive(Clone)]
pub struct Webhook {
    /// Its id.
    pub id: WebhookId,
    /// Where events are sent.
    pub url: String,
    /// Headers of every delivery. Their values may be credentials.
    pub headers: Vec<(String, Secret)>,
    /// What it is told of.
    pub triggers: Vec<Subscribed>,
    /// Whether events are sent.
    pub active: bool,
    /// Production or sandbox: a label.
    pub system: System,
    /// How its deliveries write the model of a record.
    pub object_style: ObjectStyle,
    /// The integrations whose events it gets: those of the key that made it; of all when absent.
    pub integrations: Option<Vec<IntegrationId>>,
    /// What deliveries are signed with.
    pub secret: Secret,
    /// What they were signed with before, for a while: the newest first, at most [`PREVIOUS_MAX`].
    pub previous: Vec<Previous>,
    /// Since when every attempt failed.
    pub failing_since: Option<Timestamp>,
    /// That it was switched off because its receiver failed, or its key is no longer in force. What
    /// happens since then is kept for it.
    pub disabled: Option<Disabled>,
    /// The API key that made it, or that has adopted it since; none when that was the operator.
    /// When the key is revoked or expires, the subscription is switched off.
    pub created_by: Option<KeyId>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

impl Webhook {
    /// The secrets to sign with at `now`, the newest first.
    pub fn secrets(&self, now: Timestamp) -> Vec<&Secret> {
        let previous = self.previous.iter().filter(|one| one.until > now);
        std::iter::once(&self.secret)
            .chain(previous.map(|one| &one.secret))
            .collect()
    }
}

/// What is to change about a subscription. Applied to it as it is stored, so that two changes at once do not undo each other.
#[derive(Clone, Default)]
pub struct Change {
    /// Another address.
    pub url: Option<String>,
    /// Other headers, in place of all.
    pub headers: Option<Vec<(String, Secret)>>,
    /// Other triggers, in place of all.
    pub triggers: Option<Vec<Subscribed>>,
    /// Whether events are to be sent.
    pub active: Option<bool>,
    /// How deliveries are to write the model of a record.
    pub object_style: Option<ObjectStyle>,
    /// Another secret, and until when deliveries are signed with the one before as well.
    pub secret: Option<(Secret, Timestamp)>,
    /// Whether the key that asks adopts the subscription, which then ends with that key. It does in
    /// any case if it gives another address, or switches on a subscription whose key is over.
    pub adopts: bool,
}

impl Change {
    /// Applies it. Switching a subscription on, or giving it another address, begins anew: that it
    /// failed before counts no more. Secrets whose overlap is over by `settled` are forgotten.
    pub fn apply(self, to: &mut Webhook, now: Timestamp, settled: Timestamp) {
        if let Some(url) = self.url
            && url != to.url
        {
            to.url = url;
            to.failing_since = None;
        }
        to.headers = self.headers.unwrap_or(std::mem::take(&mut to.headers));
        to.triggers = self.triggers.unwrap_or(std::mem::take(&mut to.triggers));
        to.object_style = self.object_style.unwrap_or(to.object_style);
        if let Some(active) = self.active {
            if active && !to.active {
                to.failing_since = None;
            }
            to.active = active;
            to.disabled = None;
        }
        if let Some((secret, until)) = self.secret
            && secret.expose() != to.secret.expose()
        {
            let before = std::mem::replace(&mut to.secret, secret);
            to.previous.retain(|one| one.until > settled);
            if until > now {
                let before = Previous {
                    secret: before,
                    until,
                };
                to.previous.insert(0, before);
                to.previous.truncate(PREVIOUS_MAX);
            } else {
                // What is to end at once takes with it what went before.
                to.previous.clear();
            }
        }
        to.updated_at = now;
    }
}

/// How a write ended, for the event that tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// How.
    pub status: WriteStatus,
    /// What it did, if it ended well.
    pub outcome: Option<Outcome>,
    /// Why it ended otherwise, in words.
    pub errors: Vec<String>,
    /// Our id of the record it made or met.
    pub record_id: Option<String>,
}

/// Something that happened. Kept as it was stored; [`Event::body`] says it.
#[derive(Clone, Debug)]
pub struct Event {
    /// Its place in the log: later ones have higher places, with gaps.
    pub seq: i64,
    /// Its id.
    pub id: EventId,
    /// When it was stored: never before what stands before it in the log.
    pub at: Timestamp,
    /// What kind of thing.
    pub trigger: Trigger,
    /// Of which kind of record, where it is about one.
    pub kind: Option<Kind>,
    /// The integration that it concerns.
    pub integration_id: String,
    /// The vendor behind that.
    pub integration_vendor: String,
    /// What it is about: a record, a write, or a run of synchronisation.
    pub subject: String,
    /// The write or the run that brought it.
    pub job_id: Option<String>,
    /// What that was: the name of the write's operation, or `sync`.
    pub job_type: Option<String>,
    /// What was stored with it, as JSON; nothing when it was forgotten since, or when [`Event::ended`] says all.
    pub stored: Option<String>,
    /// How the write ended, where it is about one.
    pub ended: Option<Ended>,
}

/// A record that is new, as it is stored with its event.
#[derive(Serialize, Deserialize)]
struct NewRecord {
    x_id: Option<String>,
    body: Value,
}

/// What is stored with the event of a new record.
pub fn stored_new(x_id: Option<&str>, body: &Value) -> String {
    json!({ "x_id": x_id, "body": body }).to_string()
}

/// What is stored with the event of a changed record: the members that changed, with their values now and before.
pub fn stored_change(
    community_id: &Value,
    new: &Map<String, Value>,
    previous: &Map<String, Value>,
) -> String {
    json!({ "community_id": community_id, "new": new, "previous": previous }).to_string()
}

/// A change of a record, as it is stored with its event.
#[derive(Default, Deserialize)]
#[serde(default)]
struct StoredChange {
    community_id: Value,
    #[serde(flatten)]
    diff: RecordDiff,
}

/// What is stored with the event of a synchronisation that ended, having read these models to their
/// end.
pub fn stored_run(status: WriteStatus, errors: &[String], models: &[String]) -> String {
    let is_finished = status != WriteStatus::Failure;
    let run = SyncRun {
        successful_job_count: u64::from(is_finished),
        failed_job_count: errors.len().max(usize::from(!is_finished)) as u64,
        is_sync_finished: is_finished,
        errors: errors.to_vec(),
        models_synced: models.to_vec(),
        ..SyncRun::default()
    };
    json!(run).to_string()
}

impl Event {
    /// What subscribers are sent, and what the log shows.
    ///
    /// # Errors
    /// When what was stored cannot be read.
    pub fn body(&self) -> Result<EventBody, serde_json::Error> {
        Ok(EventBody {
            trigger: self.trigger.word(),
            data: self.data()?,
            meta: EventMeta {
                object: self.model(),
                integration_id: Some(self.integration_id.clone()),
                event_id: self.id,
                created_at: self.at,
            },
        })
    }

    fn model(&self) -> Option<String> {
        self.kind.map(|kind| kind.model().to_owned())
    }

    fn data(&self) -> Result<EventData, serde_json::Error> {
        let (event, integration_id) = (self.trigger, self.integration_id.clone());
        let vendor = self.integration_vendor.clone();
        let (job_id, job_type) = (self.job_id.clone(), self.job_type.clone());
        Ok(match self.trigger {
            Trigger::WriteFailure | Trigger::WriteSuccess => {
                let ended = self.ended.as_ref();
                EventData::End(WriteEndData {
                    event,
                    integration_id,
                    vendor,
                    root_job_id: self.subject.clone(),
                    write_status: ended.map(|ended| ended.status),
                    outcome: ended.and_then(|ended| ended.outcome),
                    errors: ended.map_or_else(Vec::new, |ended| ended.errors.clone()),
                    created_record_id: ended.and_then(|ended| ended.record_id.clone()),
                    job_type,
                })
            }
            Trigger::SyncComplete
            | Trigger::FirstSyncComplete
            | Trigger::JobSuccess
            | Trigger::JobFailure => EventData::Run(SyncRunData {
                event,
                integration_id,
                vendor,
                root_job_id: job_id.clone(),
                job_id,
                job_type,
                run: self.read()?.unwrap_or_default(),
            }),
            Trigger::DataNew => {
                let payload = self.payload()?;
                EventData::New(NewRecordData {
                    event,
                    integration_id,
                    vendor,
                    root_job_id: job_id.clone(),
                    job_id,
                    job_type,
                    object: self.model(),
                    record_id: self.subject.clone(),
                    context: EventContext::of(&payload["community_id"]),
                    payload,
                })
            }
            Trigger::DataUpdate => {
                let told: StoredChange = self.read()?.unwrap_or_default();
                EventData::Changed(ChangedRecordData {
                    event,
                    integration_id,
                    vendor,
                    root_job_id: job_id.clone(),
                    job_id,
                    job_type,
                    object: self.model(),
                    record_id: self.subject.clone(),
                    diff: told.diff,
                    context: EventContext::of(&told.community_id),
                })
            }
        })
    }

    fn read<T: serde::de::DeserializeOwned>(&self) -> Result<Option<T>, serde_json::Error> {
        self.stored.as_deref().map(serde_json::from_str).transpose()
    }

    /// The record as it was when it was new, in the shape that reading it has; null when the person in it was forgotten.
    fn payload(&self) -> Result<Value, serde_json::Error> {
        let (Some(new), Some(kind)) = (self.read::<NewRecord>()?, self.kind) else {
            return Ok(Value::Null);
        };
        let record = Record {
            id: self.subject.clone(),
            created_at: self.at,
            updated_at: self.at,
            last_seen: self.at,
            integration_id: self.integration_id.clone(),
            integration_vendor: self.integration_vendor.clone(),
            x_id: new.x_id,
            body: new.body,
        };
        (kind.facts().shown)(record)
    }
}

words! {
    /// How the delivery of an event to a subscriber stands.
    DeliveryStatus {
        /// It was not taken yet, and is tried, or waits until its subscription is switched on.
        Pending = "PENDING",
        /// The receiver has taken it.
        Delivered = "DELIVERED",
        /// It was tried as often as it is, and not taken. It can be replayed.
        Failed = "FAILED",
    }
}

/// The delivery of one event to one subscriber.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The event.
    pub event_id: EventId,
    /// Its place in the log.
    pub seq: i64,
    /// What kind of thing happened.
    pub trigger: Trigger,
    /// Of which kind of record.
    pub kind: Option<Kind>,
    /// The integration that it concerns.
    pub integration_id: String,
    /// When it happened.
    pub created_at: Timestamp,
    /// How it stands.
    pub status: DeliveryStatus,
    /// Attempts begun, replays included.
    pub attempts: u32,
    /// Why it was not taken, in words, as of the last attempt.
    pub error: Option<String>,
    /// When it is tried next; `None` when it has ended, or is being tried now.
    pub next_attempt_at: Option<Timestamp>,
    /// When it was taken, or given up.
    pub completed_at: Option<Timestamp>,
}

/// One attempt to deliver an event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeliveryAttempt {
    /// Which attempt of its delivery: 1, 2, ...
    pub number: u32,
    /// When it began.
    pub started_at: Timestamp,
    /// How long it took; `None` when it was cut off.
    pub duration_ms: Option<u64>,
    /// Whether the receiver took it.
    pub is_taken: bool,
    /// Why not, in words.
    pub error: Option<String>,
    /// The HTTP status, when there was an answer.
    pub status: Option<u16>,
    /// The beginning of the answer's body.
    pub response: Option<String>,
    /// Whether that was cut.
    #[serde(default)]
    pub response_is_cut: bool,
}

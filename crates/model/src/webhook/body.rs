//! The body of an event, as subscribers are sent it and as the log of events shows it.
//!
//! Guarantee: the members of `data` stand beside it at the top level too, so that a receiver which
//! was written for either published shape finds them.
//! Source: the public contract, sections 6 and 8.2.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::{ObjectStyle, Trigger};
use crate::{
    clock::Timestamp,
    id::EventId,
    write::{Outcome, WriteStatus},
};

/// The trigger of a test event. No subscription is to it.
pub const TEST: &str = "TEST";

/// The body of an event.
#[derive(Clone, Debug, PartialEq)]
pub struct EventBody {
    /// The trigger's word.
    pub trigger: &'static str,
    /// What happened.
    pub data: EventData,
    /// About the event.
    pub meta: EventMeta,
}

impl EventBody {
    /// The body with the model of its record written in this style.
    #[must_use]
    pub fn styled(mut self, style: ObjectStyle) -> Self {
        let object = match &mut self.data {
            EventData::New(data) => Some(&mut data.object),
            EventData::Changed(data) => Some(&mut data.object),
            EventData::Run(_) | EventData::End(_) | EventData::Test(_) => None,
        };
        if style == ObjectStyle::Dash {
            let objects = object.into_iter().chain([&mut self.meta.object]);
            for object in objects.flatten() {
                *object = object.replace('_', "-");
            }
        }
        self
    }
}

impl Serialize for EventBody {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Whole<'a> {
            trigger: &'static str,
            data: &'a EventData,
            meta: &'a EventMeta,
            #[serde(flatten)]
            members: &'a EventData,
        }
        let Self {
            trigger,
            data,
            meta,
        } = self;
        let whole = Whole {
            trigger,
            data,
            meta,
            members: data,
        };
        whole.serialize(serializer)
    }
}

/// What happened, by what kind of thing it is.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum EventData {
    /// A record is new.
    New(NewRecordData),
    /// A record changed.
    Changed(ChangedRecordData),
    /// A run of synchronisation ended.
    Run(SyncRunData),
    /// A write ended.
    End(WriteEndData),
    /// Somebody sent a test event.
    Test(TestData),
}

/// About an event.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct EventMeta {
    /// The model of the record, in the `object_style` of the webhook; `null` when the event is
    /// about none.
    pub object: Option<String>,
    /// The integration that the event concerns; `null` for a test.
    pub integration_id: Option<String>,
    /// The event's id, the same as `webhook-id`.
    #[schema(value_type = String)]
    pub event_id: EventId,
    /// When the event was stored.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
}

/// A record was stored that was not there before.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct NewRecordData {
    /// The trigger.
    pub event: Trigger,
    /// The integration that the record belongs to.
    pub integration_id: String,
    /// The vendor of that integration.
    pub vendor: String,
    /// The write or the synchronisation that brought the record.
    pub job_id: Option<String>,
    /// The same.
    pub root_job_id: Option<String>,
    /// The operation of the write, or `sync`.
    pub job_type: Option<String>,
    /// The record's model, such as `crm_prospects`, in the `object_style` of the webhook.
    pub object: Option<String>,
    /// The record's id.
    pub record_id: String,
    /// The record, as reading it answers, as it was then; `null` when the person in it was
    /// forgotten since.
    #[schema(value_type = Option<Object>)]
    pub payload: Value,
    /// Where the record belongs.
    pub context: EventContext,
}

/// A record changed.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct ChangedRecordData {
    /// The trigger.
    pub event: Trigger,
    /// The integration that the record belongs to.
    pub integration_id: String,
    /// The vendor of that integration.
    pub vendor: String,
    /// The write or the synchronisation that brought the change.
    pub job_id: Option<String>,
    /// The same.
    pub root_job_id: Option<String>,
    /// The operation of the write, or `sync`.
    pub job_type: Option<String>,
    /// The record's model, such as `crm_prospects`, in the `object_style` of the webhook.
    pub object: Option<String>,
    /// The record's id.
    pub record_id: String,
    /// What changed.
    pub diff: RecordDiff,
    /// Where the record belongs.
    pub context: EventContext,
}

/// Members of a record that changed, now and before. Both are empty when the person in it was
/// forgotten since.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct RecordDiff {
    /// The values now.
    #[schema(value_type = Object)]
    pub new: Map<String, Value>,
    /// The values before.
    #[schema(value_type = Object)]
    pub previous: Map<String, Value>,
}

/// Where a record belongs.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct EventContext {
    /// The record's community; `null` where it belongs to none, or to several.
    pub community_id: Option<String>,
    /// The same.
    pub property_id: Option<String>,
}

impl EventContext {
    /// The context of a record of this community.
    pub fn of(community_id: &Value) -> Self {
        let id = community_id.as_str().map(str::to_owned);
        Self {
            community_id: id.clone(),
            property_id: id,
        }
    }
}

/// A synchronisation ended.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct SyncRunData {
    /// The trigger.
    pub event: Trigger,
    /// The integration.
    pub integration_id: String,
    /// The vendor of that integration.
    pub vendor: String,
    /// The synchronisation's id.
    pub job_id: Option<String>,
    /// The same.
    pub root_job_id: Option<String>,
    /// `sync`.
    pub job_type: Option<String>,
    /// How it went.
    #[serde(flatten)]
    pub run: SyncRun,
}

/// How a synchronisation went, as it is stored with its event. The synchronisation is a job, and so
/// is each question in it that brought nothing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct SyncRun {
    /// Jobs that ended well.
    pub successful_job_count: u64,
    /// Jobs that did not.
    pub failed_job_count: u64,
    /// Whether it brought anything.
    pub is_sync_finished: bool,
    /// What went wrong.
    pub errors: Vec<String>,
    /// Whether it was to read everything anew.
    pub is_backsync: bool,
    /// The schedule that it was due by; `null` where there is none.
    pub job_schedule_id: Option<String>,
    /// The models that it read to their end.
    pub models_synced: Vec<String>,
}

/// A write ended.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct WriteEndData {
    /// The trigger.
    pub event: Trigger,
    /// The integration that it was for.
    pub integration_id: String,
    /// The vendor of that integration.
    pub vendor: String,
    /// The write's id.
    pub root_job_id: String,
    /// How it ended.
    pub write_status: Option<WriteStatus>,
    /// What it did; `null` when it did not end well.
    pub outcome: Option<Outcome>,
    /// Why it did not end well.
    pub errors: Vec<String>,
    /// The record that it made, changed or found.
    pub created_record_id: Option<String>,
    /// Its operation.
    pub job_type: Option<String>,
}

/// A test event was asked for. It stands in no log, and is not sent again.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct TestData {
    /// `TEST`.
    #[schema(value_type = String)]
    pub event: &'static str,
    /// The webhook.
    pub webhook_id: String,
    /// What the event is, in words.
    pub message: String,
}

//! The body of "Create Event: Knock".
//!
//! Source: the public contract, section 3.3.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

model::words! {
    /// What happened. Each kind has fields of its own that it requires.
    EventName {
        /// A text message: wants `agent_id`, `event_datetime` and `notes`.
        Sms = "SMS",
        /// A chat: wants `agent_id`, `event_datetime` and `notes`.
        Chat = "CHAT",
        /// A telephone call: wants `agent_id`, `attribution_id`, `call_status`, `time_from` and `time_to`.
        Call = "CALL",
        /// An email: wants `agent_id`, `event_datetime`, `email_subject` and `email_body`.
        Email = "EMAIL",
        /// Anything else: wants `event_datetime` and `notes`.
        Activity = "ACTIVITY",
    }
}

impl EventName {
    /// The fields that this kind requires beside those that all do.
    pub const fn required(self) -> &'static [&'static str] {
        match self {
            Self::Sms | Self::Chat => &["agent_id", "event_datetime", "notes"],
            Self::Activity => &["event_datetime", "notes"],
            Self::Email => &["agent_id", "event_datetime", "email_subject", "email_body"],
            Self::Call => &[
                "agent_id",
                "attribution_id",
                "call_status",
                "time_from",
                "time_to",
            ],
        }
    }
}

/// An event to be recorded at Knock. Knock records it and sends nothing. What a kind does not require may be given, is kept with the event here, and is
/// not sent where Knock has no place for it.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(
    example = json!({
        "integration_id": "int_01kaz6v2zrf0pt4jbqm3y8s5nd",
        "prospect_id": "pro_01kaz6v3a1b2c3d4e5f6g7h8j9",
        "community_id": "com_01kaz6v2zsgy8d2x6wq4t9r3hb",
        "event_name": "ACTIVITY",
        "event_datetime": "2027-03-01T14:30:00Z",
        "notes": "Asked for a floor plan"
    })
)]
pub struct EventCreateKnock {
    /// The id of an active integration whose vendor is Knock.
    #[serde(default)]
    #[schema(required, example = "int_01kaz6v2zrf0pt4jbqm3y8s5nd")]
    pub integration_id: String,
    /// The id of a prospect of that community.
    #[serde(default)]
    #[schema(required, example = "pro_01kaz6v3a1b2c3d4e5f6g7h8j9")]
    pub prospect_id: String,
    /// The id of the prospect's community.
    #[serde(default)]
    #[schema(required, example = "com_01kaz6v2zsgy8d2x6wq4t9r3hb")]
    pub community_id: String,
    /// What happened.
    #[schema(required, value_type = EventName, nullable = false)]
    pub event_name: Option<EventName>,
    /// The id of an attribution valid for that community. Required for CALL.
    #[schema(example = "att_01kaz6v2zt5m7c1k8ve0n4p9xj")]
    pub attribution_id: Option<String>,
    /// The id of an agent who works for that community. Required for SMS, CHAT, CALL and EMAIL.
    #[schema(example = "agt_01kaz6v2zv9q3s6f2hr7d1w8ek")]
    pub agent_id: Option<String>,
    /// When it happened: an ISO 8601 date-time with its offset. Required for SMS, CHAT, EMAIL and ACTIVITY.
    #[schema(format = DateTime, example = "2027-03-01T14:30:00Z")]
    pub event_datetime: Option<String>,
    /// What was said or noted. Required for SMS, CHAT and ACTIVITY.
    #[schema(example = "Asked for a floor plan", max_length = 10000)]
    pub notes: Option<String>,
    /// The email's subject. Required for EMAIL.
    #[schema(example = "Your tour", max_length = 1000)]
    pub email_subject: Option<String>,
    /// The email's text. Required for EMAIL.
    #[schema(example = "We look forward to seeing you.", max_length = 100000)]
    pub email_body: Option<String>,
    /// How the call ended. Required for CALL.
    #[schema(example = "ANSWERED")]
    pub call_status: Option<String>,
    /// When the call began: an ISO 8601 date-time with its offset. Required for CALL.
    #[schema(format = DateTime, example = "2027-03-01T14:30:00Z")]
    pub time_from: Option<String>,
    /// When the call ended; not before `time_from`. Required for CALL.
    #[schema(format = DateTime, example = "2027-03-01T14:35:00Z")]
    pub time_to: Option<String>,
}

//! An event that a vendor is to record: the fields of all vendors.
//!
//! Source: the public contract, section 3.3.

use serde::{Deserialize, Serialize};

/// An event that a vendor is to record.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NewEvent {
    /// The id of the integration.
    pub integration_id: String,
    /// The id of the prospect.
    pub prospect_id: String,
    /// The id of the prospect's community.
    pub community_id: String,
    /// What happened, in a word of the vendor's schema: `CALL`.
    pub event_name: String,
    /// The id of an attribution.
    pub attribution_id: Option<String>,
    /// The id of the agent who took part.
    pub agent_id: Option<String>,
    /// When it happened: a date-time with its offset.
    pub event_datetime: Option<String>,
    /// What was said or noted.
    pub notes: Option<String>,
    /// An email's subject.
    pub email_subject: Option<String>,
    /// An email's text.
    pub email_body: Option<String>,
    /// How a call ended, in our words.
    pub call_status: Option<String>,
    /// When a call began: a date-time with its offset.
    pub time_from: Option<String>,
    /// When a call ended: a date-time with its offset.
    pub time_to: Option<String>,
}

//! An event as it is read back.
//!
//! Source: the public contract, sections 3.3 and 4.

use super::Checked;
use crate::text::trimmed;

resource! {
    /// An event that the vendor has recorded.
    #[schema(as = CrmEvent)]
    Event, like "pev_01kaz6v3a1b2c3d4e5f6g7h8j9" {
        /// The vendor's id of its prospect.
        x_prospect_id: Option<String>,
        /// The vendor's id of its community.
        x_community_id: Option<String>,
        /// The vendor's id of its agent.
        x_agent_id: Option<String>,
        /// The vendor's id of its attribution.
        x_attribution_id: Option<String>,
        /// Its prospect.
        prospect_id: Option<String>,
        /// Its community.
        community_id: Option<String>,
        /// Its attribution.
        attribution_id: Option<String>,
        /// Its agent.
        agent_id: Option<String>,
        /// What happened: SMS, CHAT, CALL, EMAIL or ACTIVITY.
        event_name: Option<String>,
        /// When it happened.
        event_datetime: Option<String>,
        /// What was said or noted.
        notes: Option<String>,
        /// The email's subject.
        email_subject: Option<String>,
        /// The email's text.
        email_body: Option<String>,
        /// How the call ended.
        call_status: Option<String>,
        /// When the call began.
        time_from: Option<String>,
        /// When the call ended.
        time_to: Option<String>,
    }
}

impl Event {
    /// The event that a vendor makes of `event`.
    pub fn created(event: &Checked) -> Self {
        let new = &event.new;
        unstored!(Self {
            x_prospect_id: Some(event.prospect.x_id.clone()),
            x_community_id: Some(event.community.x_id.clone()),
            x_agent_id: event.agent.as_ref().map(|agent| agent.x_id.clone()),
            x_attribution_id: event.attribution.as_ref().map(|one| one.x_id.clone()),
            prospect_id: Some(event.prospect.id.clone()),
            community_id: Some(event.community.id.to_string()),
            attribution_id: event.attribution.as_ref().map(|one| one.id.to_string()),
            agent_id: event.agent.as_ref().map(|agent| agent.id.to_string()),
            event_name: Some(new.event_name.clone()),
            event_datetime: event.event_datetime.map(|at| at.to_string()),
            notes: trimmed(new.notes.as_deref()),
            email_subject: trimmed(new.email_subject.as_deref()),
            email_body: trimmed(new.email_body.as_deref()),
            call_status: new.call_status.clone(),
            time_from: event.time_from.map(|at| at.to_string()),
            time_to: event.time_to.map(|at| at.to_string()),
        })
    }
}

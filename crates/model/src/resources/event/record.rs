//! An event as it is read back.
//!
//! Source: the public contract, sections 3.3 and 4.

resource! {
    /// An event that the vendor has recorded.
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

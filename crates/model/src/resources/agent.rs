//! An agent as it is read back.
//!
//! Source: the public contract, section 4.

use crate::{
    id::AgentId,
    record::{Facts, Filter},
    resources::shown,
    write::Outcome,
};

/// The facts about agents.
pub const FACTS: Facts = Facts {
    word: "agent",
    model: "crm_agents",
    id_prefix: AgentId::PREFIX,
    filters: &[Filter::COMMUNITIES],
    name: &["name"],
    vocabulary: &[],
    kept: &[],
    again: Outcome::Matched,
    shown: shown::<Agent>,
};

resource! {
    /// A person who lets apartments.
    Agent, like "agt_01kaz6v3a1b2c3d4e5f6g7h8j9" {
        /// Its name.
        name: Option<String>,
        /// The email address.
        email: Option<String>,
        /// Whether it may be named in a write.
        #[serde(alias = "active")]
        is_active: Option<bool>,
        /// The communities the agent works for.
        community_ids: Option<Vec<String>>,
    }
}

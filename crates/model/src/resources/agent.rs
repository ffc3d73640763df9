//! An agent as it is read back.
//!
//! Source: the public contract, section 4.

use serde::{Deserialize, Serialize};

use utoipa::ToSchema;

/// A person who lets apartments.
#[derive(Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Agent {
    /// Its id.
    #[schema(example = "agt_01kaz6v3a1b2c3d4e5f6g7h8j9")]
    pub id: String,
    /// When it was first stored here.
    #[schema(format = DateTime)]
    pub created_at: String,
    /// When it last changed here.
    #[schema(format = DateTime)]
    pub updated_at: String,
    /// When it was last registered, or the vendor last showed it.
    #[schema(format = DateTime)]
    pub last_seen: String,
    /// The integration it belongs to.
    pub integration_id: String,
    /// The vendor behind that integration.
    #[schema(example = "KNOCK")]
    pub integration_vendor: String,
    /// The vendor's id of it.
    pub x_id: Option<String>,
    /// Its name.
    pub name: Option<String>,
    /// The email address.
    pub email: Option<String>,
    /// Whether it may be named in a write.
    #[serde(alias = "active")]
    pub is_active: Option<bool>,
    /// The communities the agent works for.
    pub community_ids: Option<Vec<String>>,
}

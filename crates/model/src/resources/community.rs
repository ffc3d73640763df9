//! A community as it is read back.
//!
//! Source: the public contract, section 4.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// A property that prospects are sent to.
#[derive(Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Community {
    /// Its id.
    #[schema(example = "com_01kaz6v3a1b2c3d4e5f6g7h8j9")]
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
    /// Its IANA time zone.
    #[schema(example = "America/Los_Angeles")]
    pub timezone: Option<String>,
    /// The first address line.
    pub address_1: Option<String>,
    /// The city.
    pub city: Option<String>,
    /// The state.
    pub state: Option<String>,
    /// The zip code.
    pub zip: Option<String>,
    /// What the vendor keeps besides.
    #[schema(value_type = Option<Object>)]
    pub custom_data: Option<Value>,
}

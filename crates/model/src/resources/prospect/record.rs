//! A prospect as it is read back.
//!
//! Guarantee: it exists once the vendor has confirmed it, never before. One shape for all vendors.
//! Source: the public contract, section 4.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// A prospect that the vendor has confirmed.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Prospect {
    /// Its id.
    #[serde(default)]
    #[schema(required, example = "pro_01kaz6v3a1b2c3d4e5f6g7h8j9")]
    pub id: String,
    /// When it was first stored here.
    #[serde(default)]
    #[schema(required, format = DateTime)]
    pub created_at: String,
    /// When it last changed here.
    #[serde(default)]
    #[schema(required, format = DateTime)]
    pub updated_at: String,
    /// When the vendor last showed it.
    #[serde(default)]
    #[schema(required, format = DateTime)]
    pub last_seen: String,
    /// The integration it belongs to.
    #[serde(default)]
    #[schema(required)]
    pub integration_id: String,
    /// The vendor behind that integration.
    #[serde(default)]
    #[schema(required, example = "KNOCK")]
    pub integration_vendor: String,
    /// The vendor's id of it.
    pub x_id: Option<String>,
    /// The vendor's id of its community.
    pub x_community_id: Option<String>,
    /// The vendor's id of its agent.
    pub x_agent_id: Option<String>,
    /// The vendor's id of its attribution.
    pub x_attribution_id: Option<String>,
    /// When the vendor made it.
    pub x_created_at: Option<String>,
    /// When the vendor last changed it.
    pub x_updated_at: Option<String>,
    /// Its community.
    pub community_id: Option<String>,
    /// Its attribution.
    pub attribution_id: Option<String>,
    /// Its agent.
    pub agent_id: Option<String>,
    /// The primary email address.
    pub email_1: Option<String>,
    /// The primary phone number, in E.164.
    pub phone_1: Option<String>,
    /// The first name.
    pub first_name: Option<String>,
    /// The last name.
    pub last_name: Option<String>,
    /// The first address line.
    pub address_1: Option<String>,
    /// The city.
    pub city: Option<String>,
    /// The state.
    pub state: Option<String>,
    /// The zip code.
    pub zip: Option<String>,
    /// The move-in date, `YYYY-MM-DD`.
    pub move_in_date: Option<String>,
    /// How many people will live in the unit.
    pub number_of_occupants: Option<i64>,
    /// The lease term, in months.
    pub lease_term_in_months: Option<i64>,
    /// The least rent a month, in cents.
    pub rent_minimum_in_cents: Option<i64>,
    /// The most rent a month, in cents.
    pub rent_maximum_in_cents: Option<i64>,
    /// Notes.
    pub notes: Option<String>,
    /// The numbers of bedrooms wanted.
    pub desired_num_bedrooms: Option<Vec<i64>>,
    /// The pets.
    pub pets: Option<Vec<String>>,
    /// Whether automated messages may go to the prospect.
    pub subscribe: Option<bool>,
    /// How the prospect first got in touch.
    pub first_contact_type: Option<String>,
    /// Where it stands at the vendor; `null` until the vendor has said.
    pub status: Option<String>,
    /// Whether the vendor has deleted or merged it; `null` until the vendor has said.
    pub is_deleted: Option<bool>,
    /// Whether the vendor says it is no prospect; `null` until the vendor has said.
    pub not_prospect: Option<bool>,
    /// Whether the person agreed to text messages; `null` until the vendor has said.
    pub sms_consent: Option<bool>,
    /// What the vendor keeps besides.
    #[schema(value_type = Option<Object>)]
    pub custom_data: Option<Value>,
}

//! The bodies of Toy's routes, and its credentials.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What Toy lets itself be called with.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "the type stands for its schema")]
pub struct ToyCredentials {
    /// The key, for the header.
    #[serde(rename = "apiKey")]
    #[schema(required, min_length = 1, max_length = 200, pattern = "^[!-~]+$")]
    api_key: String,
    /// The secret, for the body.
    #[schema(required, min_length = 1, max_length = 200)]
    secret: String,
}

/// A prospect to be written to Toy.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "integration_id": "int_01kaz6v2zrf0pt4jbqm3y8s5nd",
    "community_id": "com_01kaz6v2zsgy8d2x6wq4t9r3hb",
    "email_1": "ada@example.com",
    "first_name": "Ada",
    "last_name": "Byron",
    "move_in_date": "2027-03-01",
    "notes": "By bicycle",
    "pets": ["CAT"]
}))]
pub struct ProspectCreateToy {
    /// The id of an active integration whose vendor is Toy.
    #[serde(default)]
    #[schema(required)]
    pub integration_id: String,
    /// The id of a community of that integration.
    #[serde(default)]
    #[schema(required)]
    pub community_id: String,
    /// The email address, by which Toy knows a lead.
    #[schema(required, value_type = String, format = "email", nullable = false)]
    pub email_1: Option<String>,
    /// The phone number.
    pub phone_1: Option<String>,
    /// The digits of its extension.
    pub phone_1_extension: Option<String>,
    /// The first name.
    #[schema(max_length = 500)]
    pub first_name: Option<String>,
    /// The last name.
    #[schema(max_length = 500)]
    pub last_name: Option<String>,
    /// The move-in date.
    #[schema(pattern = r"^\d{4}-\d{2}-\d{2}$")]
    pub move_in_date: Option<String>,
    /// Notes.
    #[schema(max_length = 200)]
    pub notes: Option<String>,
    /// The pets that will live in the unit.
    #[schema(max_items = 10)]
    pub pets: Option<Vec<String>>,
}

/// What to change on a prospect at Toy.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "first_name": "Ada", "last_name": "King" }))]
pub struct ProspectUpdateToy {
    /// The first name.
    #[schema(max_length = 500)]
    pub first_name: Option<String>,
    /// The last name.
    #[schema(max_length = 500)]
    pub last_name: Option<String>,
    /// Notes.
    #[schema(max_length = 200)]
    pub notes: Option<String>,
}

model::words! {
    /// What happened.
    ToyEvent {
        /// A note on the lead.
        Note = "NOTE",
        /// A message that Toy sends to the person.
        Message = "MESSAGE",
    }
}

/// An event to be recorded at Toy.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "integration_id": "int_01kaz6v2zrf0pt4jbqm3y8s5nd",
    "community_id": "com_01kaz6v2zsgy8d2x6wq4t9r3hb",
    "prospect_id": "pro_01kaz6v3a1b2c3d4e5f6g7h8j9",
    "event_name": "MESSAGE",
    "notes": "See you at ten"
}))]
pub struct EventCreateToy {
    /// The id of an active integration whose vendor is Toy.
    #[serde(default)]
    #[schema(required)]
    pub integration_id: String,
    /// The id of the prospect's community.
    #[serde(default)]
    #[schema(required)]
    pub community_id: String,
    /// The id of the prospect.
    #[serde(default)]
    #[schema(required)]
    pub prospect_id: String,
    /// What happened.
    #[schema(required, value_type = ToyEvent, nullable = false)]
    pub event_name: Option<ToyEvent>,
    /// What was said.
    #[serde(default)]
    #[schema(required, min_length = 1, max_length = 200)]
    pub notes: String,
}

//! The body of "Update Prospect: Knock".
//!
//! Guarantee: only what Knock changes on a guest card that exists. As with [`super::prospect_create`], the type is the schema and the echo.
//! Source: the public contract, section 3.2.

use model::resources::integer;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::prospect_create::Bedrooms;

/// What to change on a prospect at Knock. At least one field.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(
    example = json!({ "first_name": "Ada", "move_in_date": "2027-04-01", "number_of_occupants": 3 })
)]
pub struct ProspectUpdateKnock {
    /// The id of an agent who works for the prospect's community.
    #[schema(example = "agt_01kaz6v2zv9q3s6f2hr7d1w8ek")]
    pub agent_id: Option<String>,
    /// The primary email address. Knock finds the card by the contact that stays, so not both contacts can change at once.
    #[schema(format = "email", example = "ada@example.com")]
    pub email_1: Option<String>,
    /// The primary phone number, as people write it, with its extension if it has one. Knock finds
    /// the card by the contact that stays, so not both contacts can change at once.
    #[schema(example = "(206) 555-0155")]
    pub phone_1: Option<String>,
    /// The digits of the number's extension, with `phone_1` beside them. They may also stand in
    /// `phone_1`.
    #[schema(example = "136")]
    pub phone_1_extension: Option<String>,
    /// The first name.
    #[schema(example = "Ada", max_length = 500)]
    pub first_name: Option<String>,
    /// The last name.
    #[schema(example = "Byron", max_length = 500)]
    pub last_name: Option<String>,
    /// The move-in date: `YYYY-MM-DD`, or an ISO 8601 date-time, of which the calendar date counts, in the offset it is written in.
    #[schema(pattern = r"^\d{4}-\d{2}-\d{2}([Tt ]\S+)?$", example = "2027-03-01")]
    pub move_in_date: Option<String>,
    /// How many people will live in the unit.
    #[serde(default, deserialize_with = "integer::option")]
    #[schema(minimum = 1, maximum = 2_147_483_647, example = 2)]
    pub number_of_occupants: Option<i64>,
    /// The lease term, in months.
    #[serde(default, deserialize_with = "integer::option")]
    #[schema(minimum = 1, maximum = 2_147_483_647, example = 12)]
    pub lease_term_in_months: Option<i64>,
    /// The least rent a month, in cents.
    #[serde(default, deserialize_with = "integer::option")]
    #[schema(minimum = 1, maximum = 2_147_483_647, example = 180_000)]
    pub rent_minimum_in_cents: Option<i64>,
    /// The most rent a month, in cents; not below `rent_minimum_in_cents`.
    #[serde(default, deserialize_with = "integer::option")]
    #[schema(minimum = 1, maximum = 2_147_483_647, example = 240_000)]
    pub rent_maximum_in_cents: Option<i64>,
    /// The numbers of bedrooms wanted: 0 is a studio, 3 is three or more.
    #[serde(default, deserialize_with = "integer::list")]
    #[schema(value_type = Option<Vec<Bedrooms>>, max_items = 100, example = json!([1, 2]))]
    pub desired_num_bedrooms: Option<Vec<i64>>,
}

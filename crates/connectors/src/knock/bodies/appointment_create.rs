//! The body of "Create Appointment: Knock".
//!
//! Source: the public contract, section 3.4.

use model::resources::integer;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::prospect_create::Bedrooms;

/// A tour to be booked at Knock. `email_1` and/or `phone_1` is required: by it Knock makes or finds the prospect. A second tour of the same person
/// at the same community replaces the first.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(
    example = json!({
        "integration_id": "int_01kaz6v2zrf0pt4jbqm3y8s5nd",
        "community_id": "com_01kaz6v2zsgy8d2x6wq4t9r3hb",
        "attribution_id": "att_01kaz6v2zt5m7c1k8ve0n4p9xj",
        "appointment_date": "2027-03-12",
        "appointment_time": "14:00:00",
        "email_1": "ada@example.com",
        "first_name": "Ada",
        "last_name": "Byron",
        "tour_type": "IN_PERSON"
    })
)]
pub struct AppointmentCreateKnock {
    /// The id of an active integration whose vendor is Knock.
    #[serde(default)]
    #[schema(required, example = "int_01kaz6v2zrf0pt4jbqm3y8s5nd")]
    pub integration_id: String,
    /// The id of a community of that integration.
    #[serde(default)]
    #[schema(required, example = "com_01kaz6v2zsgy8d2x6wq4t9r3hb")]
    pub community_id: String,
    /// The id of an attribution (lead source) of that integration, valid for that community.
    #[serde(default)]
    #[schema(required, example = "att_01kaz6v2zt5m7c1k8ve0n4p9xj")]
    pub attribution_id: String,
    /// The tour's date in UTC: `YYYY-MM-DD`, or an ISO 8601 date-time, of which the calendar date
    /// counts, in the offset it is written in.
    #[serde(default)]
    #[schema(
        required,
        pattern = r"^\d{4}-\d{2}-\d{2}([Tt ]\S+)?$",
        example = "2027-03-12"
    )]
    pub appointment_date: String,
    /// The time of day in UTC at which the tour begins, `HH:MM:SS`.
    #[serde(default)]
    #[schema(
        required,
        pattern = r"^(?:[01]\d|2[0123]):(?:[012345]\d):(?:[012345]\d)$",
        example = "14:00:00"
    )]
    pub appointment_time: String,
    /// The primary email address.
    #[schema(format = "email", example = "ada@example.com")]
    pub email_1: Option<String>,
    /// The primary phone number, as people write it, with its extension if it has one. A number
    /// without a country code is read in the community's region (US by default).
    #[schema(example = "+12065550155")]
    pub phone_1: Option<String>,
    /// The digits of the number's extension. They may also stand in `phone_1`, as in
    /// `206-555-0155 x136`: then this member shows them.
    #[schema(example = "136")]
    pub phone_1_extension: Option<String>,
    /// The first name.
    #[schema(example = "Ada", max_length = 500)]
    pub first_name: Option<String>,
    /// The last name.
    #[serde(default)]
    #[schema(required, min_length = 1, example = "Byron", max_length = 500)]
    pub last_name: String,
    /// The move-in date: `YYYY-MM-DD`, or an ISO 8601 date-time, of which the calendar date counts, in the offset it is written in.
    #[schema(pattern = r"^\d{4}-\d{2}-\d{2}([Tt ]\S+)?$", example = "2027-03-01")]
    pub move_in_date: Option<String>,
    /// How many people will live in the unit.
    #[serde(default, deserialize_with = "integer::option")]
    #[schema(minimum = 1, maximum = 2_147_483_647, example = 2)]
    pub number_of_occupants: Option<i64>,
    /// The lease term, in months.
    #[serde(default, deserialize_with = "integer::option")]
    #[schema(minimum = 1, maximum = 18, example = 12)]
    pub lease_term_in_months: Option<i64>,
    /// The least rent a month, in cents.
    #[serde(default, deserialize_with = "integer::option")]
    #[schema(minimum = 1, maximum = 2_147_483_647, example = 180_000)]
    pub rent_minimum_in_cents: Option<i64>,
    /// The most rent a month, in cents; not below `rent_minimum_in_cents`.
    #[serde(default, deserialize_with = "integer::option")]
    #[schema(minimum = 1, maximum = 2_147_483_647, example = 240_000)]
    pub rent_maximum_in_cents: Option<i64>,
    /// Notes, at most 1000 characters.
    #[schema(max_length = 1000, example = "Comes by bicycle")]
    pub notes: Option<String>,
    /// The numbers of bedrooms wanted: 0 is a studio, 3 is three or more.
    #[serde(default, deserialize_with = "integer::list")]
    #[schema(value_type = Option<Vec<Bedrooms>>, max_items = 100, example = json!([1, 2]))]
    pub desired_num_bedrooms: Option<Vec<i64>>,
    /// The pets that will live in the unit.
    #[schema(max_items = 100, example = json!(["CAT"]))]
    pub pets: Option<Vec<String>>,
    /// How the prospect first got in touch.
    #[schema(example = "INTERNET")]
    pub first_contact_type: Option<String>,
    /// The kind of tour.
    #[schema(example = "IN_PERSON")]
    pub tour_type: Option<String>,
}

//! The body of "Create Prospect: Knock".
//!
//! Guarantee: what utoipa reads off this type is what is enforced (`http` compiles the validator from it), and serialising it is the
//! echo of the contract: every field, defaults filled in, absent ones `null`.
//! Source: the public contract, section 3.1.

use model::resources::integer;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Characters that `notes` may have.
pub const NOTES_MAX_CHARS: u64 = 1_000;

/// A prospect to be written to Knock. `email_1` and/or `phone_1` is required.
// Every field has a serde default, so that what is left of a body after its wrong members were taken out can still be
// read and its other rules checked: a caller hears of all problems at once. `required` in the schema is what requires.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(
    example = json!({
        "integration_id": "int_01kaz6v2zrf0pt4jbqm3y8s5nd",
        "community_id": "com_01kaz6v2zsgy8d2x6wq4t9r3hb",
        "attribution_id": "att_01kaz6v2zt5m7c1k8ve0n4p9xj",
        "email_1": "ada@example.com",
        "phone_1": "(206) 555-0155",
        "first_name": "Ada",
        "last_name": "Byron",
        "move_in_date": "2027-03-01",
        "number_of_occupants": 2,
        "lease_term_in_months": 12,
        "rent_minimum_in_cents": 180000,
        "rent_maximum_in_cents": 240000,
        "notes": "Is the two bedroom still available for March?",
        "desired_num_bedrooms": [1, 2],
        "pets": ["CAT"],
        "subscribe": true,
        "first_contact_type": "INTERNET"
    })
)]
pub struct ProspectCreateKnock {
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
    /// The id of an agent of that integration. When absent, Knock assigns one.
    #[schema(example = "agt_01kaz6v2zv9q3s6f2hr7d1w8ek")]
    pub agent_id: Option<String>,
    /// The primary email address. An internationalised domain is sent to the vendor in its ASCII
    /// form (`xn--`). This field and/or `phone_1` is required. A filler such as none@none.com is
    /// refused: leave the field out instead.
    #[schema(format = "email", example = "ada@example.com")]
    pub email_1: Option<String>,
    /// The primary phone number, as people write it, with its extension if it has one. A number
    /// without a country code is read in the community's region (US by default). This field and/or
    /// `email_1` is required. A filler such as 0000000000 is refused: leave the field out instead.
    #[schema(example = "(206) 555-0155")]
    pub phone_1: Option<String>,
    /// The digits of the number's extension. They may also stand in `phone_1`, as in
    /// `206-555-0155 x136`: then this member shows them.
    #[schema(example = "136")]
    pub phone_1_extension: Option<String>,
    /// The first name.
    #[schema(example = "Ada", max_length = 500)]
    pub first_name: Option<String>,
    /// The last name.
    #[schema(example = "Byron", max_length = 500)]
    pub last_name: Option<String>,
    /// The first address line.
    #[schema(example = "12 St James Square", max_length = 500)]
    pub address_1: Option<String>,
    /// The city.
    #[schema(example = "Seattle", max_length = 500)]
    pub city: Option<String>,
    /// The state.
    #[schema(example = "WA")]
    pub state: Option<String>,
    /// The zip code.
    #[schema(example = "98101", max_length = 100)]
    pub zip: Option<String>,
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
    #[schema(
        max_length = 1000,
        example = "Is the two bedroom still available for March?"
    )]
    pub notes: Option<String>,
    /// The numbers of bedrooms wanted: 0 is a studio, 3 is three or more.
    #[serde(default, deserialize_with = "integer::list")]
    #[schema(value_type = Option<Vec<Bedrooms>>, max_items = 100, example = json!([1, 2]))]
    pub desired_num_bedrooms: Option<Vec<i64>>,
    /// The pets that will live in the unit.
    #[schema(max_items = 100, example = json!(["CAT"]))]
    pub pets: Option<Vec<String>>,
    /// Whether Knock's automated messages may go to the prospect. You must hold the person's consent. Where the integration's
    /// `require_explicit_consent` is set it must be stated, `true` or `false`; else an absent one is `true`. Each is kept as a consent event, with
    /// whether it was stated.
    #[schema(default = true, example = true)]
    pub subscribe: Option<bool>,
    /// How the prospect first got in touch.
    #[schema(example = "INTERNET")]
    pub first_contact_type: Option<String>,
}

/// A number of bedrooms: 0 is a studio, 3 is three or more.
#[derive(ToSchema)]
#[schema(minimum = 0, maximum = 3, example = 1)]
pub struct Bedrooms(
    #[expect(
        dead_code,
        reason = "the type stands for its schema; values are read as i64"
    )]
    i64,
);

impl ProspectCreateKnock {
    /// What `subscribe` is when a body does not say.
    pub const SUBSCRIBE_DEFAULT: bool = true;
}

//! A prospect that a vendor is to make, and what is to change on one: the fields of all vendors.
//!
//! Guarantee: a field has the name that it has in the public contract, at every vendor that has it.
//! A body that keeps a vendor's schema can be read as one of these; what the vendor has no place for
//! is absent.
//! Source: the public contract, section 3.

use serde::{Deserialize, Serialize};

use crate::resources::integer;

/// A prospect that a vendor is to make.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NewProspect {
    /// The id of the integration.
    pub integration_id: String,
    /// The id of the community.
    pub community_id: String,
    /// The id of the attribution, where the vendor takes one.
    pub attribution_id: Option<String>,
    /// The id of the agent asked for.
    pub agent_id: Option<String>,
    /// The lead source in words, where the vendor takes it so.
    pub prospect_source: Option<String>,
    /// The primary email address.
    pub email_1: Option<String>,
    /// The primary phone number, as people write it.
    pub phone_1: Option<String>,
    /// The digits of its extension.
    pub phone_1_extension: Option<String>,
    /// The secondary phone number.
    pub phone_2: Option<String>,
    /// The first name.
    pub first_name: Option<String>,
    /// The middle name.
    pub middle_name: Option<String>,
    /// The last name.
    pub last_name: Option<String>,
    /// The first address line.
    pub address_1: Option<String>,
    /// The second address line.
    pub address_2: Option<String>,
    /// The city.
    pub city: Option<String>,
    /// The state.
    pub state: Option<String>,
    /// The zip code.
    pub zip: Option<String>,
    /// The country.
    pub country: Option<String>,
    /// The move-in date: a date, or a date-time whose calendar date counts.
    pub move_in_date: Option<String>,
    /// How many people will live in the unit.
    #[serde(deserialize_with = "integer::option")]
    pub number_of_occupants: Option<i64>,
    /// The lease term, in months.
    #[serde(deserialize_with = "integer::option")]
    pub lease_term_in_months: Option<i64>,
    /// The least rent a month, in cents.
    #[serde(deserialize_with = "integer::option")]
    pub rent_minimum_in_cents: Option<i64>,
    /// The most rent a month, in cents.
    #[serde(deserialize_with = "integer::option")]
    pub rent_maximum_in_cents: Option<i64>,
    /// Notes.
    pub notes: Option<String>,
    /// The numbers of bedrooms wanted: 0 is a studio.
    #[serde(deserialize_with = "integer::list")]
    pub desired_num_bedrooms: Option<Vec<i64>>,
    /// The pets that will live in the unit, in our words.
    pub pets: Option<Vec<String>>,
    /// Whether automated messages may go to the person.
    pub subscribe: Option<bool>,
    /// How the person first got in touch, in our words.
    pub first_contact_type: Option<String>,
    /// How the person prefers to be reached, in our words.
    pub preferred_contact_method: Option<String>,
}

/// What is to change on a prospect.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProspectChange {
    /// The id of the agent asked for.
    pub agent_id: Option<String>,
    /// The lead source in words, where the vendor takes it so.
    pub prospect_source: Option<String>,
    /// The primary email address.
    pub email_1: Option<String>,
    /// The primary phone number, as people write it.
    pub phone_1: Option<String>,
    /// The digits of its extension.
    pub phone_1_extension: Option<String>,
    /// The secondary phone number.
    pub phone_2: Option<String>,
    /// The first name.
    pub first_name: Option<String>,
    /// The last name.
    pub last_name: Option<String>,
    /// The first address line.
    pub address_1: Option<String>,
    /// The second address line.
    pub address_2: Option<String>,
    /// The city.
    pub city: Option<String>,
    /// The state.
    pub state: Option<String>,
    /// The zip code.
    pub zip: Option<String>,
    /// The country.
    pub country: Option<String>,
    /// The move-in date: a date, or a date-time whose calendar date counts.
    pub move_in_date: Option<String>,
    /// How many people will live in the unit.
    #[serde(deserialize_with = "integer::option")]
    pub number_of_occupants: Option<i64>,
    /// The lease term, in months.
    #[serde(deserialize_with = "integer::option")]
    pub lease_term_in_months: Option<i64>,
    /// The least rent a month, in cents.
    #[serde(deserialize_with = "integer::option")]
    pub rent_minimum_in_cents: Option<i64>,
    /// The most rent a month, in cents.
    #[serde(deserialize_with = "integer::option")]
    pub rent_maximum_in_cents: Option<i64>,
    /// Notes.
    pub notes: Option<String>,
    /// The numbers of bedrooms wanted: 0 is a studio.
    #[serde(deserialize_with = "integer::list")]
    pub desired_num_bedrooms: Option<Vec<i64>>,
    /// The pets that will live in the unit, in our words.
    pub pets: Option<Vec<String>>,
    /// Whether automated messages may go to the person.
    pub subscribe: Option<bool>,
    /// How the person prefers to be reached, in our words.
    pub preferred_contact_method: Option<String>,
}

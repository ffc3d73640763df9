//! A tour that a vendor is to book: the fields of all vendors.
//!
//! Source: the public contract, section 3.4.

use serde::{Deserialize, Serialize};

use crate::resources::integer;

/// A tour that a vendor is to book.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NewAppointment {
    /// The id of the integration.
    pub integration_id: String,
    /// The id of the community.
    pub community_id: String,
    /// The id of the attribution, where the vendor takes one.
    pub attribution_id: Option<String>,
    /// The date in UTC, `YYYY-MM-DD`.
    pub appointment_date: String,
    /// The time of day in UTC, `HH:MM:SS`.
    pub appointment_time: String,
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
    /// How the person first got in touch, in our words.
    pub first_contact_type: Option<String>,
    /// The kind of tour, in our words.
    pub tour_type: Option<String>,
}

//! The body of "Create Listing: Knock".
//!
//! Source: the public contract, section 3.6.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A listing to be made known to Knock.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(
    example = json!({
        "integration_id": "int_01kaz6v2zrf0pt4jbqm3y8s5nd",
        "community_id": "com_01kaz6v2zsgy8d2x6wq4t9r3hb",
        "title": "Two bedrooms by the harbor",
        "url": "https://seattle.craigslist.org/see/apa/d/two-bedrooms/7812345678.html",
        "publish_date": "2027-03-01T14:30:00Z",
        "is_listed": true
    })
)]
pub struct ListingCreateKnock {
    /// The id of an active integration whose vendor is Knock.
    #[serde(default)]
    #[schema(required, example = "int_01kaz6v2zrf0pt4jbqm3y8s5nd")]
    pub integration_id: String,
    /// The id of a community of that integration.
    #[serde(default)]
    #[schema(required, example = "com_01kaz6v2zsgy8d2x6wq4t9r3hb")]
    pub community_id: String,
    /// Its title.
    #[serde(default)]
    #[schema(
        required,
        min_length = 1,
        max_length = 500,
        example = "Two bedrooms by the harbor"
    )]
    pub title: String,
    /// Where it is: a Craigslist listing, whose address ends with `.html`.
    #[serde(default)]
    #[schema(
        required,
        max_length = 2_000,
        pattern = r"^https?://[^\s/]+/\S*\.html$",
        example = "https://seattle.craigslist.org/see/apa/d/two-bedrooms/7812345678.html"
    )]
    pub url: String,
    /// When it was or will be published: an ISO 8601 date-time with its offset.
    #[serde(default)]
    #[schema(required, format = DateTime, example = "2027-03-01T14:30:00Z")]
    pub publish_date: String,
    /// Whether it is to be seen.
    #[schema(required, value_type = bool, nullable = false, example = true)]
    pub is_listed: Option<bool>,
}

//! A listing that a vendor is to know.
//!
//! Source: the public contract, section 3.6.

use serde::{Deserialize, Serialize};

/// A listing that a vendor is to know.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NewListing {
    /// The id of the integration.
    pub integration_id: String,
    /// The id of the community.
    pub community_id: String,
    /// Its title.
    pub title: String,
    /// Where it is.
    pub url: String,
    /// When it was or will be published: a date-time with its offset.
    pub publish_date: String,
    /// Whether it is to be seen.
    pub is_listed: Option<bool>,
}

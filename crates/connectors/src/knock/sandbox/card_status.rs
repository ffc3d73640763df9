//! Where a guest card stands in its leasing.
//!
//! Guarantee: exactly the documented list, in Knock's own words.

use serde::de::IntoDeserializer;
use serde::de::value::Error;
use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum CardStatus {
    #[default]
    New,
    Open,
    Waiting,
    Booked,
    Visited,
    #[serde(rename = "Canceled (Manager)")]
    CanceledByManager,
    #[serde(rename = "Canceled (Renter)")]
    CanceledByRenter,
    #[serde(rename = "No Show")]
    NoShow,
    #[serde(rename = "Applied (in review)")]
    InReview,
    #[serde(rename = "Applied (Leased)")]
    Leased,
    #[serde(rename = "Applied (Lost)")]
    AppliedAndLost,
    Lost,
}

impl CardStatus {
    /// # Errors
    /// In words that name the whole list.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let read: Result<Self, Error> = Self::deserialize(text.into_deserializer());
        read.map_err(|error| error.to_string())
    }
}

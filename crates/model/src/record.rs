//! Whatever has an id here and one at a vendor, as the store keeps it: columns that are searched, and a body for the rest.

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::clock::Timestamp;

/// What a record is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A property.
    Community,
    /// Where a prospect heard of it.
    Attribution,
    /// A person who lets.
    Agent,
    /// A person who seeks.
    Prospect,
}

impl Kind {
    /// Its word in the store and in messages.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Community => "community",
            Self::Attribution => "attribution",
            Self::Agent => "agent",
            Self::Prospect => "prospect",
        }
    }
}

/// A record. Every resource has these members beside its own.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Record {
    /// Its id.
    pub id: String,
    /// When it was first stored here.
    pub created_at: Timestamp,
    /// When it last changed here.
    pub updated_at: Timestamp,
    /// When the vendor last showed it, or it was last registered.
    pub last_seen: Timestamp,
    /// The integration it belongs to.
    pub integration_id: String,
    /// The vendor behind that integration.
    pub integration_vendor: String,
    /// The vendor's id of it.
    pub x_id: String,
    /// The resource's own members: a JSON object.
    #[serde(skip)]
    pub body: Value,
}

impl Record {
    /// The record as its resource, the columns laid over the body.
    ///
    /// # Errors
    /// When the body does not fit the resource.
    pub fn read<T: DeserializeOwned>(self) -> Result<T, serde_json::Error> {
        let columns = serde_json::to_value(&self)?;
        let mut whole = self.body;
        if let (Some(whole), Value::Object(columns)) = (whole.as_object_mut(), columns) {
            whole.extend(columns);
        }
        serde_json::from_value(whole)
    }
}

//! What callers send and read, a folder or a file a resource.
//!
//! [`record`](crate::record) is how the store keeps all of them; the macro here gives each the members that all have.

/// A resource as it is read back: the members of every record, and its own.
macro_rules! resource {
    (
        $(#[$doc:meta])*
        $name:ident, like $example:literal {
            $($(#[$member_doc:meta])* $member:ident: $type:ty,)*
        }
    ) => {
        #[derive(Clone, Default, PartialEq, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
        $(#[$doc])*
        pub struct $name {
            /// Its id.
            #[serde(default)]
            #[schema(required, example = $example)]
            pub id: String,
            /// When it was first stored here.
            #[serde(default)]
            #[schema(required, format = DateTime)]
            pub created_at: String,
            /// When it last changed here.
            #[serde(default)]
            #[schema(required, format = DateTime)]
            pub updated_at: String,
            /// When the vendor last showed it, or it was last registered.
            #[serde(default)]
            #[schema(required, format = DateTime)]
            pub last_seen: String,
            /// The integration it belongs to.
            #[serde(default)]
            #[schema(required)]
            pub integration_id: String,
            /// The vendor behind that integration.
            #[serde(default)]
            #[schema(required)]
            pub integration_vendor: String,
            /// The vendor's id of it; `null` when the vendor gave none.
            pub x_id: Option<String>,
            $($(#[$member_doc])* pub $member: $type,)*
        }
    };
}

/// A record that the store has not seen: it adds ids, times and the vendor's id. Every other member is
/// named, so that one that is forgotten does not compile.
macro_rules! unstored {
    ($name:ident { $($member:ident: $value:expr,)* }) => {
        $name {
            id: String::new(),
            created_at: String::new(),
            updated_at: String::new(),
            last_seen: String::new(),
            integration_id: String::new(),
            integration_vendor: String::new(),
            x_id: None,
            $($member: $value,)*
        }
    };
}

pub mod agent;
pub mod appointment;
pub mod attribution;
pub mod checks;
pub mod community;
pub mod event;
pub mod integer;
pub mod integration;
pub mod key;
pub mod listing;
pub mod prospect;
pub mod webhook;

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::record::{Facts, Record};

/// The kinds of records, and the facts about each.
macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident = $facts:path,)+) => {
        /// What a record is of.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Kind { $($(#[$doc])* $kind,)+ }

        impl Kind {
            /// Every kind.
            pub const ALL: &'static [Self] = &[$(Self::$kind,)+];

            /// The facts about it.
            pub const fn facts(self) -> &'static Facts {
                match self { $(Self::$kind => &$facts,)+ }
            }
        }
    };
}

kinds! {
    /// A property.
    Community = community::FACTS,
    /// Where a prospect heard of it.
    Attribution = attribution::FACTS,
    /// A person who lets.
    Agent = agent::FACTS,
    /// A person who seeks.
    Prospect = prospect::FACTS,
    /// What happened between the two.
    Event = event::FACTS,
    /// A tour.
    Appointment = appointment::FACTS,
    /// An advertisement.
    Listing = listing::FACTS,
}

/// The operations that write, with their words and the kind of record that each makes or changes.
macro_rules! operations {
    ($($(#[$doc:meta])* $operation:ident = $word:literal of $kind:ident,)+) => {
        crate::words! {
            /// What is asked of the vendor. Named after the operation that accepts it.
            Operation { $($(#[$doc])* $operation = $word,)+ }
        }

        impl Operation {
            /// The kind of record that its confirmation makes or changes.
            pub const fn kind(self) -> Kind {
                match self { $(Self::$operation => Kind::$kind,)+ }
            }
        }
    };
}

operations! {
    /// Make a prospect.
    ProspectCreate = "prospect_create" of Prospect,
    /// Change a prospect.
    ProspectUpdate = "prospect_update" of Prospect,
    /// Record an event.
    EventCreate = "event_create" of Event,
    /// Book a tour.
    AppointmentCreate = "appointment_create" of Appointment,
    /// Make a listing known.
    ListingCreate = "listing_create" of Listing,
}

/// A record as the resource `T`.
///
/// # Errors
/// When its body does not fit the resource.
fn shown<T: DeserializeOwned + Serialize>(record: Record) -> Result<Value, serde_json::Error> {
    serde_json::to_value(record.read::<T>()?)
}

//! A community as it is read back.
//!
//! Source: the public contract, section 4.

use serde_json::Value;

use crate::{id::CommunityId, record::Facts, resources::shown, write::Outcome};

/// The facts about communities.
pub const FACTS: Facts = Facts {
    word: "community",
    model: "crm_communities",
    id_prefix: CommunityId::PREFIX,
    filters: &[],
    name: &["name"],
    vocabulary: &[],
    kept: &[],
    again: Outcome::Matched,
    shown: shown::<Community>,
};

resource! {
    /// A property that prospects are sent to.
    Community, like "com_01kaz6v3a1b2c3d4e5f6g7h8j9" {
        /// Its name.
        name: Option<String>,
        /// Its IANA time zone.
        #[schema(example = "America/Los_Angeles")]
        timezone: Option<String>,
        /// The first address line.
        address_1: Option<String>,
        /// The second address line.
        address_2: Option<String>,
        /// The city.
        city: Option<String>,
        /// The state.
        state: Option<String>,
        /// The zip code.
        zip: Option<String>,
        /// The country.
        country: Option<String>,
        /// What the vendor keeps besides.
        #[schema(value_type = Option<Object>)]
        custom_data: Option<Value>,
    }
}

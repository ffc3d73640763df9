//! An attribution as it is read back.
//!
//! Source: the public contract, section 4.

use crate::{
    id::AttributionId,
    record::{Facts, Filter},
    resources::shown,
    write::Outcome,
};

/// The facts about attributions.
pub const FACTS: Facts = Facts {
    word: "attribution",
    model: "crm_attributions",
    id_prefix: AttributionId::PREFIX,
    filters: &[Filter::COMMUNITIES],
    name: &["name"],
    vocabulary: &[],
    kept: &[],
    again: Outcome::Matched,
    shown: shown::<Attribution>,
};

resource! {
    /// Where a prospect heard of a community.
    Attribution, like "att_01kaz6v3a1b2c3d4e5f6g7h8j9" {
        /// Its name.
        name: Option<String>,
        /// The communities it is valid for.
        community_ids: Option<Vec<String>>,
    }
}

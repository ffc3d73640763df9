//! A prospect: a person who looks for an apartment.
//!
//! [`input`] is what a caller sends to make one and [`update`] to change one, [`rules`] what fields must keep besides their types, [`record`] what is
//! read back.

pub mod input;
pub mod record;
pub mod rules;
pub mod update;

pub use input::ProspectCreate;
pub use record::Prospect;
pub use rules::{Checked, CheckedUpdate, Known, is_there};
pub use update::ProspectUpdate;

use crate::{
    id::ProspectId,
    record::{Facts, Filter, SORTS_OF_MANY},
    resources::shown,
    write::Outcome,
};

/// The facts about prospects.
pub const FACTS: Facts = Facts {
    word: "prospect",
    model: "crm_prospects",
    id_prefix: ProspectId::PREFIX,
    filters: &[
        Filter::COMMUNITY,
        Filter::ATTRIBUTION,
        Filter::AGENT,
        Filter::EMAIL,
        Filter::PHONE,
        Filter::STATUS,
        Filter::of_vendor("x_agent_id"),
        Filter::wide("is_deleted"),
        Filter::wide("not_prospect"),
    ],
    sorts: SORTS_OF_MANY,
    vocabulary: &["pets", "first_contact_type"],
    kept: &[
        "community_id",
        "x_community_id",
        "attribution_id",
        "x_attribution_id",
        "is_deleted",
        "vanished_at",
    ],
    again: Outcome::Matched,
    shown: shown::<Prospect>,
};

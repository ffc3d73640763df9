//! A prospect: a person who looks for an apartment.
//!
//! [`new`] is what a caller asks for, [`rules`] what its fields must keep besides their types,
//! [`record`] what is read back.

pub mod new;
pub mod record;
pub mod rules;

pub use new::{NewProspect, ProspectChange};
pub use record::Prospect;
pub use rules::{Checked, CheckedChange, Contacts, Known, is_there};

use crate::{
    id::ProspectId,
    record::{Facts, Filter},
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
    name: &["last_name", "first_name"],
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

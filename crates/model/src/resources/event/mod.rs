//! An event: what happened between a prospect and a community. A call, a message, a note.
//!
//! [`new`] is what a caller asks for, [`rules`] what its fields must keep besides their types,
//! [`record`] what is read back.

pub mod new;
pub mod record;
pub mod rules;

pub use new::NewEvent;
pub use record::Event;
pub use rules::Checked;

use crate::{
    record::{Facts, Filter},
    resources::shown,
    write::Outcome,
};

/// The facts about events.
pub const FACTS: Facts = Facts {
    word: "event",
    model: "crm_events",
    id_prefix: "pev",
    filters: &[
        Filter::COMMUNITY,
        Filter::ATTRIBUTION,
        Filter::AGENT,
        Filter::PROSPECT,
        Filter::wide("event_name"),
    ],
    name: &["event_name"],
    vocabulary: &["call_status"],
    kept: &[
        "prospect_id",
        "community_id",
        "x_community_id",
        "attribution_id",
        "x_attribution_id",
        "event_name",
        "event_datetime",
        "time_from",
        "time_to",
    ],
    again: Outcome::Matched,
    shown: shown::<Event>,
};

//! What an event's fields must keep besides their types.
//!
//! Guarantee: every broken rule is reported; a [`Checked`] event has all that its kind requires, and its prospect belongs to its community.

use std::sync::Arc;

use serde_json::json;

use super::NewEvent;
use crate::{
    clock::Timestamp,
    directory::{Agent, Attribution, Community, Integration},
    issue::Issue,
    resources::{
        checks::{Checks, Context},
        prospect::Known,
    },
};

/// An event that keeps every rule, with what it refers to.
pub struct Checked {
    /// What was asked for.
    pub new: NewEvent,
    /// The integration it goes to.
    pub integration: Arc<Integration>,
    /// The community it concerns.
    pub community: Arc<Community>,
    /// Whom it concerns.
    pub prospect: Known,
    /// Where the person came from.
    pub attribution: Option<Arc<Attribution>>,
    /// Who was part of it.
    pub agent: Option<Arc<Agent>>,
    /// When it happened.
    pub event_datetime: Option<Timestamp>,
    /// When the call began.
    pub time_from: Option<Timestamp>,
    /// When the call ended.
    pub time_to: Option<Timestamp>,
}

/// Checks `new`, whose `prospect_id` is that of `prospect` if there is one. `required` are the fields
/// that the vendor wants of such an event.
///
/// # Errors
/// Every problem found. When the schema found one too, the caller adds these to it.
pub fn check(
    new: NewEvent,
    prospect: Option<Known>,
    required: &[&str],
    context: Context<'_>,
) -> Result<Checked, Vec<Issue>> {
    let mut checks = Checks::new(context);
    let integration = checks.integration(&new.integration_id);
    let community = checks.community(&new.community_id, integration.as_ref());
    let prospect = checks.reference("prospect_id", || {
        let found = prospect.ok_or(
            "No prospect has this id. A prospect exists once its vendor has confirmed it: created_record_id in write-status is its id",
        )?;
        if integration
            .as_ref()
            .is_some_and(|one| one.id.to_string() != found.integration_id)
        {
            return Err("This prospect belongs to another integration than integration_id");
        }
        if community
            .as_ref()
            .is_some_and(|one| one.id.to_string() != found.community_id)
        {
            return Err("This prospect belongs to another community than community_id");
        }
        Ok(found)
    });
    let attribution = checks.attribution(
        new.attribution_id.as_deref(),
        integration.as_ref(),
        community.as_ref(),
    );
    let agent = checks.agent(
        new.agent_id.as_deref(),
        integration.as_ref(),
        community.as_ref(),
    );
    let event_datetime = checks.instant("event_datetime", new.event_datetime.as_deref());
    let time_from = checks.instant("time_from", new.time_from.as_deref());
    let time_to = checks.instant("time_to", new.time_to.as_deref());
    if let (Some(from), Some(to)) = (time_from, time_to)
        && to < from
    {
        checks.refuse("time_to", "time_to must not be before time_from");
    }
    note_missing(&mut checks, &new, required);

    match (integration, community, prospect, checks.issues.is_empty()) {
        (Some(integration), Some(community), Some(prospect), true) => Ok(Checked {
            new,
            integration,
            community,
            prospect,
            attribution,
            agent,
            event_datetime,
            time_from,
            time_to,
        }),
        _ => Err(checks.issues),
    }
}

/// Notes what is required and the body lacks, or has only as blanks.
fn note_missing(checks: &mut Checks<'_>, new: &NewEvent, required: &[&str]) {
    let given = serde_json::to_value(new).unwrap_or_default();
    let name = &new.event_name;
    for field in required {
        if checks.is_broken(field) {
            continue;
        }
        match given[field].as_str().map(str::trim) {
            None => checks.issues.push(Issue::new(
                "invalid_type",
                vec![(*field).into()],
                format!("Required: {field} is missing, which {name} needs"),
                json!({ "expected": "string", "received": "undefined" }),
            )),
            Some("") => checks.issues.push(Issue::new(
                "too_small",
                vec![(*field).into()],
                format!("{field} is blank, and {name} needs it"),
                json!({ "minimum": 1, "type": "string", "inclusive": true, "exact": false }),
            )),
            Some(_) => {}
        }
    }
}

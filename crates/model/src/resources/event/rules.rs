//! What an event's fields must keep besides their types.
//!
//! Guarantee: every broken rule is reported; a [`Checked`] event has all that its kind requires, and its prospect belongs to its community.

use std::sync::Arc;

use serde_json::json;

use super::{EventCreate, EventName};
use crate::{
    clock::Timestamp,
    directory::{Agent, Attribution, Community, Directory, Integration, Vendor},
    issue::Issue,
    resources::{checks::Checks, prospect::Known},
    scope::Scope,
};

/// An event that keeps every rule, with what it refers to.
pub struct Checked {
    /// The body.
    pub input: EventCreate,
    /// What happened.
    pub name: EventName,
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

/// Checks `input`, whose `prospect_id` is that of `prospect` if there is one. `broken` names the top-level fields that the schema has already refused.
///
/// # Errors
/// Every problem found. When the schema found one too, the caller adds these to it.
pub fn check(
    input: EventCreate,
    prospect: Option<Known>,
    vendor: Vendor,
    directory: &Directory,
    scope: &Scope,
    broken: &dyn Fn(&str) -> bool,
) -> Result<Checked, Vec<Issue>> {
    let mut checks = Checks::new(directory, scope, broken);
    let integration = checks.integration(&input.integration_id, vendor);
    let community = checks.community(&input.community_id, integration.as_ref());
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
    let attribution = input
        .attribution_id
        .as_deref()
        .and_then(|id| checks.attribution(id, integration.as_ref(), community.as_ref()));
    let agent = input
        .agent_id
        .as_deref()
        .and_then(|id| checks.agent(id, integration.as_ref(), community.as_ref()));
    let event_datetime = checks.instant("event_datetime", input.event_datetime.as_deref());
    let time_from = checks.instant("time_from", input.time_from.as_deref());
    let time_to = checks.instant("time_to", input.time_to.as_deref());
    if let (Some(from), Some(to)) = (time_from, time_to)
        && to < from
    {
        checks.refuse("time_to", "time_to must not be before time_from");
    }
    if let Some(name) = input.event_name {
        required(&mut checks, &input, name);
    }

    match (
        integration,
        community,
        prospect,
        input.event_name,
        checks.issues.is_empty(),
    ) {
        (Some(integration), Some(community), Some(prospect), Some(name), true) => Ok(Checked {
            input,
            name,
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

/// Notes what this kind requires and the body lacks, or has only as blanks.
fn required(checks: &mut Checks<'_>, input: &EventCreate, name: EventName) {
    let given = serde_json::to_value(input).unwrap_or_default();
    for field in name.required() {
        if (checks.broken)(field) {
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

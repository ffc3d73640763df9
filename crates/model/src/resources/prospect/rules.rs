//! What a prospect's fields must keep besides their types.
//!
//! Guarantee: every broken rule is reported, each with its path; a [`Checked`] prospect keeps them all and all it refers to
//! exists, is active, and belongs together.

use std::sync::Arc;

use jiff::{Timestamp, civil::Date, civil::DateTime};

use super::ProspectCreate;
use crate::{
    contact::{DEFAULT_REGION, Email, Phone, Refusal},
    directory::{Agent, Attribution, Community, Directory, Integration, Vendor},
    issue::Issue,
    scope::Scope,
};

/// A prospect that keeps every rule, with what it refers to.
pub struct Checked {
    /// The body, defaults filled in.
    pub input: ProspectCreate,
    /// The integration it goes to.
    pub integration: Arc<Integration>,
    /// The community it concerns.
    pub community: Arc<Community>,
    /// Where the person came from.
    pub attribution: Arc<Attribution>,
    /// The agent asked for.
    pub agent: Option<Arc<Agent>>,
    /// The email address.
    pub email: Option<Email>,
    /// The phone number.
    pub phone: Option<Phone>,
    /// The move-in date.
    pub move_in_date: Option<Date>,
}

/// Checks `input` against the rules and, in `directory`, what it refers to. `broken` names the top-level fields that
/// the schema has already refused: nothing is said of them twice.
///
/// # Errors
/// Every problem found. When the schema found one too, the caller adds these to it.
pub fn check(
    mut input: ProspectCreate,
    vendor: Vendor,
    directory: &Directory,
    scope: &Scope,
    broken: &dyn Fn(&str) -> bool,
) -> Result<Checked, Vec<Issue>> {
    input.fill_defaults();
    let mut issues = Vec::new();

    let integration = reference(&mut issues, broken, "integration_id", || {
        let found = directory
            .find_integration(scope, &input.integration_id)
            .ok_or("No integration has this id, or your key may not use it")?;
        if found.vendor != vendor {
            return Err(
                "This integration's vendor is not the one this path writes to. Use the path of its vendor, or POST /crm/v1/prospects/",
            );
        }
        if !found.active {
            return Err("This integration is not active. Activate it before writing to it");
        }
        Ok(found.clone())
    });
    // What does not belong to the integration named is reported as unknown in it; without a known one, only what exists nowhere is.
    let elsewhere = |id| integration.as_ref().is_some_and(|one| one.id != id);
    let community = reference(&mut issues, broken, "community_id", || {
        let found = directory
            .find_community(scope, &input.community_id)
            .ok_or("No community has this id")?;
        if elsewhere(found.integration_id) {
            return Err("This community belongs to another integration than integration_id");
        }
        if !found.active {
            return Err("This community is not active");
        }
        Ok(found.clone())
    });
    let attribution = reference(&mut issues, broken, "attribution_id", || {
        let found = directory
            .find_attribution(scope, &input.attribution_id)
            .ok_or("No attribution has this id")?;
        if elsewhere(found.integration_id) {
            return Err("This attribution belongs to another integration than integration_id");
        }
        if !found.active {
            return Err("This attribution is not active");
        }
        if community
            .as_ref()
            .is_some_and(|one| !found.community_ids.contains(&one.id))
        {
            return Err(
                "This attribution is not valid for the community in community_id. Choose one whose community_ids has it",
            );
        }
        Ok(found.clone())
    });
    let agent = input.agent_id.as_ref().and_then(|id| {
        reference(&mut issues, broken, "agent_id", || {
            let found = directory.find_agent(scope, id).ok_or("No agent has this id")?;
            if elsewhere(found.integration_id) {
                return Err("This agent belongs to another integration than integration_id");
            }
            if !found.active {
                return Err("This agent is not active");
            }
            if community.as_ref().is_some_and(|one| !found.community_ids.contains(&one.id)) {
                return Err("This agent does not work for the community in community_id. Choose another, or leave the field out");
            }
            Ok(found.clone())
        })
    });

    if input.email_1.is_none()
        && input.phone_1.is_none()
        && !broken("email_1")
        && !broken("phone_1")
    {
        for field in ["email_1", "phone_1"] {
            issues.push(Issue::custom(field, "email_1 and/or phone_1 is required: without one of them no guest card can be made or found"));
        }
    }
    let email = input
        .email_1
        .as_deref()
        .and_then(|text| contact(&mut issues, "email_1", "email", Email::parse(text)));
    let region = community
        .as_ref()
        .and_then(|one| one.phone_region.as_deref())
        .unwrap_or(DEFAULT_REGION);
    let phone = input
        .phone_1
        .as_deref()
        .and_then(|text| contact(&mut issues, "phone_1", "phone", Phone::parse(text, region)));

    let move_in_date = input.move_in_date.as_deref().and_then(|text| {
        let date = calendar_date(text);
        if date.is_none() {
            issues.push(Issue::invalid_string("move_in_date", "date", "Invalid date: give YYYY-MM-DD, or an ISO 8601 date-time such as 2027-03-01T09:30:00-05:00"));
        }
        date
    });
    if let (Some(least), Some(most)) = (input.rent_minimum_in_cents, input.rent_maximum_in_cents)
        && most < least
    {
        issues.push(Issue::custom(
            "rent_maximum_in_cents",
            "rent_maximum_in_cents must not be below rent_minimum_in_cents",
        ));
    }

    match (integration, community, attribution, issues.is_empty()) {
        (Some(integration), Some(community), Some(attribution), true) => Ok(Checked {
            input,
            integration,
            community,
            attribution,
            agent,
            email,
            phone,
            move_in_date,
        }),
        _ => Err(issues),
    }
}

fn reference<T>(
    issues: &mut Vec<Issue>,
    broken: &dyn Fn(&str) -> bool,
    field: &str,
    find: impl FnOnce() -> Result<T, &'static str>,
) -> Option<T> {
    if broken(field) {
        return None;
    }
    find()
        .map_err(|why| issues.push(Issue::custom(field, why)))
        .ok()
}

fn contact<T>(
    issues: &mut Vec<Issue>,
    field: &str,
    validation: &str,
    parsed: Result<T, Refusal>,
) -> Option<T> {
    parsed
        .map_err(|refusal| {
            issues.push(match refusal {
                Refusal::Invalid(why) => Issue::invalid_string(field, validation, why),
                Refusal::Placeholder(why) => Issue::custom(field, why),
            });
        })
        .ok()
}

/// The calendar date of `YYYY-MM-DD` or of an ISO 8601 date-time, in the offset it is written in.
fn calendar_date(text: &str) -> Option<Date> {
    let day = text.get(..10)?;
    let date: Date = day.parse().ok()?;
    if text.len() == day.len() {
        return Some(date);
    }
    // The rest must be a real time too, with an offset or without one.
    let real = text.parse::<Timestamp>().is_ok()
        || (text.parse::<DateTime>().is_ok() && !text.contains(['+', '[']));
    real.then_some(date)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_date(text: &str, expect: Option<&str>) {
        assert_eq!(
            calendar_date(text).map(|date| date.to_string()).as_deref(),
            expect,
            "{text}"
        );
    }

    #[test]
    fn the_calendar_date_counts_in_the_offset_it_is_written_in() {
        check_date("2027-03-01", Some("2027-03-01"));
        check_date("2027-03-10T23:59:59.000-08:00", Some("2027-03-10"));
        check_date("2026-12-23T00:00:00Z", Some("2026-12-23"));
        check_date("2027-07-20T09:30:00", Some("2027-07-20"));
        check_date("2028-02-29", Some("2028-02-29"));
        check_date("2027-02-29", None);
        check_date("2027-13-01", None);
        check_date("2027-03-01T25:00:00Z", None);
        check_date("2027-03-01Tnoon", None);
        check_date("03/01/2027", None);
        check_date("2027-03", None);
        check_date("2027-03-0é", None);
        check_date("", None);
    }
}

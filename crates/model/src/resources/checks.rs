//! What the rules of all resources share: what a body refers to, contacts, dates.
//!
//! Guarantee: every broken rule is reported with its path; nothing is said twice of a field that the schema has refused already.

use std::sync::Arc;

use jiff::civil::Date;

use crate::{
    clock::Timestamp,
    contact::{DEFAULT_REGION, Email, Phone, Refusal},
    directory::{Agent, Attribution, Community, Directory, Integration},
    instant,
    issue::Issue,
    scope::Scope,
    vendor::Vendor,
};

/// What a body is checked against.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// The vendor that it is for.
    pub vendor: Vendor,
    /// What it may refer to.
    pub directory: &'a Directory,
    /// Who asks.
    pub scope: &'a Scope,
    /// Whether the schema has refused a top-level field.
    pub broken: &'a (dyn Fn(&str) -> bool + Sync),
}

/// The rules under way for one body.
pub struct Checks<'a> {
    context: Context<'a>,
    /// What was found so far.
    pub issues: Vec<Issue>,
}

impl<'a> Checks<'a> {
    /// Nothing found yet.
    pub const fn new(context: Context<'a>) -> Self {
        Self {
            context,
            issues: Vec::new(),
        }
    }

    /// Whether the schema has refused a top-level field.
    pub fn is_broken(&self, field: &str) -> bool {
        (self.context.broken)(field)
    }

    /// Notes a broken rule on one field.
    pub fn refuse(&mut self, field: &str, why: impl Into<String>) {
        self.issues.push(Issue::custom(field, why));
    }

    /// What `find` brings; what it says instead is noted on `field`.
    pub fn reference<T>(
        &mut self,
        field: &str,
        find: impl FnOnce() -> Result<T, &'static str>,
    ) -> Option<T> {
        if self.is_broken(field) {
            return None;
        }
        find().map_err(|why| self.refuse(field, why)).ok()
    }

    /// The vendor's active integration with this id.
    pub fn integration(&mut self, id: &str) -> Option<Arc<Integration>> {
        let Context {
            vendor,
            directory,
            scope,
            ..
        } = self.context;
        self.reference("integration_id", || {
            let found = directory
                .find_integration(scope, id)
                .ok_or("No integration has this id, or your key may not use it")?;
            if found.vendor != vendor {
                return Err(
                    "This integration's vendor is not the one this path writes to. Use the path of its vendor, or the one that names none",
                );
            }
            if !found.active {
                return Err("This integration is not active. Activate it before writing to it");
            }
            Ok(found.clone())
        })
    }

    /// The active community with this id, of `integration` if that is known: without it, only what exists nowhere is unknown.
    pub fn community(
        &mut self,
        id: &str,
        integration: Option<&Arc<Integration>>,
    ) -> Option<Arc<Community>> {
        let (directory, scope) = (self.context.directory, self.context.scope);
        self.reference("community_id", || {
            let found = directory
                .find_community(scope, id)
                .ok_or("No community has this id")?;
            if integration.is_some_and(|one| one.id != found.integration_id) {
                return Err("This community belongs to another integration than integration_id");
            }
            if !found.active {
                return Err("This community is not active");
            }
            Ok(found.clone())
        })
    }

    /// The active attribution with this id, valid for `community`.
    pub fn attribution(
        &mut self,
        id: Option<&str>,
        integration: Option<&Arc<Integration>>,
        community: Option<&Arc<Community>>,
    ) -> Option<Arc<Attribution>> {
        let id = id?;
        let (directory, scope) = (self.context.directory, self.context.scope);
        self.reference("attribution_id", || {
            let found = directory
                .find_attribution(scope, id)
                .ok_or("No attribution has this id")?;
            if integration.is_some_and(|one| one.id != found.integration_id) {
                return Err("This attribution belongs to another integration than integration_id");
            }
            if !found.active {
                return Err("This attribution is not active");
            }
            if community.is_some_and(|one| !found.community_ids.contains(&one.id)) {
                return Err(
                    "This attribution is not valid for the community in community_id. Choose one whose community_ids has it",
                );
            }
            Ok(found.clone())
        })
    }

    /// The active agent with this id, who works for `community`.
    pub fn agent(
        &mut self,
        id: Option<&str>,
        integration: Option<&Arc<Integration>>,
        community: Option<&Arc<Community>>,
    ) -> Option<Arc<Agent>> {
        let id = id?;
        let (directory, scope) = (self.context.directory, self.context.scope);
        self.reference("agent_id", || {
            let found = directory.find_agent(scope, id).ok_or("No agent has this id")?;
            if integration.is_some_and(|one| one.id != found.integration_id) {
                return Err("This agent belongs to another integration than integration_id");
            }
            if !found.active {
                return Err("This agent is not active");
            }
            if community.is_some_and(|one| !found.community_ids.contains(&one.id)) {
                return Err("This agent does not work for the community in community_id. Choose another, or leave the field out");
            }
            Ok(found.clone())
        })
    }

    /// Notes that neither `email_1` nor `phone_1` is there, if so.
    pub fn some_contact(&mut self, email: Option<&str>, phone: Option<&str>) {
        if email.is_none()
            && phone.is_none()
            && !self.is_broken("email_1")
            && !self.is_broken("phone_1")
        {
            for field in ["email_1", "phone_1"] {
                self.refuse(field, "email_1 and/or phone_1 is required: without one of them no guest card can be made or found");
            }
        }
    }

    /// The address in `email_1`.
    pub fn email(&mut self, text: Option<&str>) -> Option<Email> {
        self.contact("email_1", "email", Email::parse(text?))
    }

    /// The number in `phone_1`, read as one of the community's region, with the extension that is
    /// in it or beside it.
    pub fn phone(
        &mut self,
        text: Option<&str>,
        extension: Option<&str>,
        community: Option<&Arc<Community>>,
    ) -> Option<Phone> {
        let extension = extension.filter(|text| !text.trim().is_empty());
        let Some(text) = text else {
            if extension.is_some() && !self.is_broken("phone_1") {
                self.refuse(
                    "phone_1_extension",
                    "An extension needs its number. Give phone_1 with it, or leave it out",
                );
            }
            return None;
        };
        let region = community.map_or(DEFAULT_REGION, |one| one.phone_region());
        let phone = self.contact("phone_1", "phone", Phone::parse(text, region))?;
        match extension {
            None => Some(phone),
            Some(extension) => {
                let phone = phone.with_extension(extension);
                self.contact("phone_1_extension", "phone", phone)
            }
        }
    }

    fn contact<T>(
        &mut self,
        field: &str,
        validation: &str,
        parsed: Result<T, Refusal>,
    ) -> Option<T> {
        parsed
            .map_err(|refusal| {
                self.issues.push(match refusal {
                    Refusal::Invalid(why) => Issue::invalid_string(field, validation, why),
                    Refusal::Placeholder(why) => Issue::custom(field, why),
                });
            })
            .ok()
    }

    /// The calendar date in `field`: of a date, or of a date-time in the offset it is written in.
    pub fn date(&mut self, field: &str, text: Option<&str>) -> Option<Date> {
        let date = calendar_date(text?);
        if date.is_none() {
            self.issues.push(Issue::invalid_string(field, "date", "Invalid date: give YYYY-MM-DD, or an ISO 8601 date-time such as 2027-03-01T09:30:00-05:00"));
        }
        date
    }

    /// The instant in `field`.
    pub fn instant(&mut self, field: &str, text: Option<&str>) -> Option<Timestamp> {
        let instant = Timestamp::parse(text?).ok();
        if instant.is_none() {
            self.issues.push(Issue::invalid_string(field, "datetime", "Invalid date-time: give an ISO 8601 date-time with its offset, such as 2027-03-01T09:30:00-05:00 or 2027-03-01T14:30:00Z"));
        }
        instant
    }

    /// Notes a budget whose upper end is below its lower.
    pub fn rents(&mut self, least: Option<i64>, most: Option<i64>) {
        if let (Some(least), Some(most)) = (least, most)
            && most < least
        {
            self.refuse(
                "rent_maximum_in_cents",
                "rent_maximum_in_cents must not be below rent_minimum_in_cents",
            );
        }
    }
}

/// The calendar date of `YYYY-MM-DD` or of an ISO 8601 date-time, in the offset it is written in.
fn calendar_date(text: &str) -> Option<Date> {
    let day = text.get(..10)?;
    let date: Date = day.parse().ok()?;
    if text.len() == day.len() {
        return Some(date);
    }
    // The rest must be a real time too, with an offset or without one.
    instant::is_real(text).then_some(date)
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
        check_date("9999-12-31T23:59:59Z", Some("9999-12-31"));
        check_date("2027-07-20 09:30:00Z", Some("2027-07-20"));
        check_date("2027-07-20T09:30:00[Europe/Paris]", None);
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

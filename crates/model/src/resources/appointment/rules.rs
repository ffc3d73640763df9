//! What an appointment's fields must keep besides their types.
//!
//! Guarantee: every broken rule is reported; a [`Checked`] appointment lies in the future, at a real instant, and its community's time zone is known.

use std::sync::Arc;

use jiff::{civil::Date, civil::Time, tz::TimeZone};

use super::NewAppointment;
use crate::{
    clock::Timestamp,
    contact::{Email, Phone},
    directory::{Attribution, Community, Integration},
    issue::Issue,
    resources::{
        checks::{Checks, Context},
        prospect::{Known, rules::extension_of},
    },
};

/// An appointment that keeps every rule, with what it refers to.
pub struct Checked {
    /// What was asked for.
    pub new: NewAppointment,
    /// The integration it goes to.
    pub integration: Arc<Integration>,
    /// The community it concerns.
    pub community: Arc<Community>,
    /// Where the person came from, if that was given.
    pub attribution: Option<Arc<Attribution>>,
    /// When it begins.
    pub starts_at: Timestamp,
    /// The community's time zone.
    pub zone: TimeZone,
    /// The email address.
    pub email: Option<Email>,
    /// The phone number.
    pub phone: Option<Phone>,
    /// The move-in date.
    pub move_in_date: Option<Date>,
    /// The prospects of the community that are known to have one of the contacts: by their others, too, it is the same person.
    pub known: Vec<Known>,
}

impl Checked {
    /// When it begins, in the community's time zone with its offset there and then: `2027-03-12T09:00:00-05:00`.
    pub fn starts_at_local(&self) -> String {
        local(self.starts_at, &self.zone)
    }
}

/// An instant in a time zone, to the second, with its offset there and then.
pub fn local(at: Timestamp, zone: &TimeZone) -> String {
    let at = jiff::Timestamp::from_microsecond(at.as_micros()).unwrap_or_default();
    at.to_zoned_datetime(zone.clone())
        .strftime("%Y-%m-%dT%H:%M:%S%:z")
        .to_string()
}

/// Checks `new` at `now`.
///
/// # Errors
/// Every problem found. When the schema found one too, the caller adds these to it.
pub fn check(
    mut new: NewAppointment,
    now: Timestamp,
    context: Context<'_>,
) -> Result<Checked, Vec<Issue>> {
    let mut checks = Checks::new(context);
    let integration = checks.integration(&new.integration_id);
    let community = checks.community(&new.community_id, integration.as_ref());
    let attribution = checks.attribution(
        new.attribution_id.as_deref(),
        integration.as_ref(),
        community.as_ref(),
    );
    checks.some_contact(new.email_1.as_deref(), new.phone_1.as_deref());
    let email = checks.email(new.email_1.as_deref());
    let phone = checks.phone(
        new.phone_1.as_deref(),
        new.phone_1_extension.as_deref(),
        community.as_ref(),
    );
    new.phone_1_extension = extension_of(phone.as_ref());
    let move_in_date = checks.date("move_in_date", new.move_in_date.as_deref());
    checks.rents(new.rent_minimum_in_cents, new.rent_maximum_in_cents);
    let zone = community.as_ref().and_then(|community| {
        let zone = TimeZone::get(&community.timezone).ok();
        if zone.is_none() {
            checks.refuse(
                "community_id",
                "This community is registered with a time zone that does not exist. Have it corrected",
            );
        }
        zone
    });
    let starts_at = starts_at(&mut checks, &mut new, now);

    match (
        (integration, community),
        (starts_at, zone),
        checks.issues.is_empty(),
    ) {
        ((Some(integration), Some(community)), (Some(starts_at), Some(zone)), true) => {
            Ok(Checked {
                new,
                integration,
                community,
                attribution,
                starts_at,
                zone,
                email,
                phone,
                move_in_date,
                known: Vec::new(),
            })
        }
        _ => Err(checks.issues),
    }
}

fn starts_at(
    checks: &mut Checks<'_>,
    new: &mut NewAppointment,
    now: Timestamp,
) -> Option<Timestamp> {
    if checks.is_broken("appointment_date") {
        return None;
    }
    let date = checks.date("appointment_date", Some(&new.appointment_date))?;
    new.appointment_date = date.to_string();
    if checks.is_broken("appointment_time") {
        return None;
    }
    let time = new.appointment_time.parse::<Time>().ok()?;
    let Ok(starts_at) = date.to_datetime(time).to_zoned_datetime(TimeZone::UTC) else {
        checks.refuse(
            "appointment_date",
            "The tour would begin beyond the end of the calendar",
        );
        return None;
    };
    let starts_at = Timestamp::from_micros(starts_at.timestamp().as_microsecond());
    if starts_at <= now {
        checks.refuse(
            "appointment_date",
            format!(
                "The tour would begin in the past: {starts_at}. appointment_date and appointment_time are in UTC"
            ),
        );
        return None;
    }
    Some(starts_at)
}

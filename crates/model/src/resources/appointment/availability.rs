//! When tours are possible: the question, and the answer.
//!
//! Source: the public contract, section 3.5.

use std::sync::Arc;

use jiff::{ZonedDateTime, tz::TimeZone};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    clock::Timestamp,
    directory::{Community, Integration},
    issue::Issue,
    resources::checks::{Checks, Context},
};

/// The question when tours of a community are possible.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AvailabilityRequest {
    /// The id of the integration.
    pub integration_id: String,
    /// The id of the community.
    pub community_id: String,
    /// How the tour would be made, in a word of the vendor's schema: `SELF_GUIDED_TOUR`.
    pub appointment_type: Option<String>,
}

/// A question that keeps every rule, with what it refers to.
pub struct Checked {
    /// What was asked for.
    pub request: AvailabilityRequest,
    /// The integration it goes to.
    pub integration: Arc<Integration>,
    /// The community it concerns.
    pub community: Arc<Community>,
}

/// Checks `request`.
///
/// # Errors
/// Every problem found. When the schema found one too, the caller adds these to it.
pub fn check(request: AvailabilityRequest, context: Context<'_>) -> Result<Checked, Vec<Issue>> {
    let mut checks = Checks::new(context);
    let integration = checks.integration(&request.integration_id);
    let community = checks.community(&request.community_id, integration.as_ref());
    match (integration, community) {
        (Some(integration), Some(community)) if checks.issues.is_empty() => Ok(Checked {
            request,
            integration,
            community,
        }),
        _ => Err(checks.issues),
    }
}

/// When tours of a community are possible.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Availability {
    /// When the vendor was asked.
    #[schema(format = DateTime)]
    pub last_seen: String,
    /// Whose calendar it is: always the property's.
    #[schema(example = "PROPERTY_CALENDAR")]
    pub calendar_type: String,
    /// The community's IANA time zone, in which the days and times are.
    #[schema(example = "America/New_York")]
    pub timezone: String,
    /// The vendor's id of the community.
    pub x_property_id: String,
    /// The days on which tours are possible, the nearest first.
    pub calendar_days: Vec<CalendarDay>,
}

/// A day on which tours are possible.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct CalendarDay {
    /// `YYYY-MM-DD`.
    #[schema(example = "2027-03-12")]
    pub date: String,
    /// `MONDAY` to `SUNDAY`.
    #[schema(example = "FRIDAY")]
    pub day_of_week: String,
    /// When a tour may begin.
    pub available_slots: Vec<Slot>,
}

/// When a tour may begin.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = AvailableSlot)]
pub struct Slot {
    /// `HH:MM:SS`.
    #[schema(example = "09:00:00")]
    pub start: String,
    /// Always `null`: the vendor gives no end.
    pub end: Option<String>,
}

impl Availability {
    /// Puts instants into days of the community's time zone; in that of UTC when its own does not exist.
    pub fn of(mut times: Vec<Timestamp>, community: &Community, seen_at: Timestamp) -> Self {
        times.sort_unstable();
        times.dedup();
        let (zone, timezone) = match TimeZone::get(&community.timezone) {
            Ok(zone) => (zone, community.timezone.clone()),
            Err(_) => (TimeZone::UTC, "UTC".to_owned()),
        };
        let mut calendar_days: Vec<CalendarDay> = Vec::new();
        for time in times {
            let local: ZonedDateTime = jiff::Timestamp::from_microsecond(time.as_micros())
                .unwrap_or_default()
                .to_zoned_datetime(zone.clone());
            let date = local.date().to_string();
            let slot = Slot {
                start: local.strftime("%H:%M:%S").to_string(),
                end: None,
            };
            match calendar_days.last_mut().filter(|day| day.date == date) {
                Some(day) => day.available_slots.push(slot),
                None => calendar_days.push(CalendarDay {
                    date,
                    day_of_week: local.strftime("%A").to_string().to_uppercase(),
                    available_slots: vec![slot],
                }),
            }
        }
        Self {
            last_seen: seen_at.to_string(),
            calendar_type: "PROPERTY_CALENDAR".to_owned(),
            timezone,
            x_property_id: community.x_id.clone(),
            calendar_days,
        }
    }
}

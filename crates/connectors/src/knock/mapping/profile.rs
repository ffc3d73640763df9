//! What a guest card and a tour say of a person alike.
//!
//! Guarantee: rounding never narrows a budget.

use jiff::civil::Date;
use model::{
    contact::{Email, Phone},
    text::trimmed,
};
use serde_json::json;

use crate::mapping::{Body, without_repeats};

/// Knock's words for 0, 1, 2, and 3 or more bedrooms.
pub(crate) const BEDROOMS: [&str; 4] = ["STUDIO", "1_BEDROOM", "2_BEDROOMS", "3_OR_MORE_BEDROOMS"];

/// What is said of a person; what is absent is not said.
#[derive(Default)]
pub(super) struct Profile<'a> {
    pub(super) email: Option<&'a Email>,
    pub(super) phone: Option<&'a Phone>,
    pub(super) first_name: Option<&'a str>,
    pub(super) last_name: Option<&'a str>,
    pub(super) move_in_date: Option<Date>,
    pub(super) bedrooms: Option<&'a [i64]>,
    pub(super) occupants: Option<i64>,
    pub(super) lease_term_in_months: Option<i64>,
    pub(super) rent_minimum_in_cents: Option<i64>,
    pub(super) rent_maximum_in_cents: Option<i64>,
    /// In Knock's words.
    pub(super) pets: Option<Vec<String>>,
}

impl Profile<'_> {
    pub(super) fn put_into(self, body: &mut Body) {
        body.put("firstName", trimmed(self.first_name));
        body.put("lastName", trimmed(self.last_name));
        body.put("email", self.email.map(Email::sent));
        body.put(
            "phone",
            self.phone
                .map(|phone| phone.national_us().unwrap_or(phone.as_str())),
        );
        body.put("moveDate", self.move_in_date.map(|date| date.to_string()));
        let bedrooms = self.bedrooms.map(|numbers| {
            without_repeats(
                numbers
                    .iter()
                    .filter_map(|number| BEDROOMS.get(usize::try_from(*number).ok()?)),
            )
        });
        body.put("bedrooms", bedrooms.map(|words| json!(words)));
        body.put("occupants", self.occupants);
        body.put("leaseTermMonths", self.lease_term_in_months);
        body.put("minBudget", self.rent_minimum_in_cents.map(dollars_down));
        body.put("maxBudget", self.rent_maximum_in_cents.map(dollars_up));
        body.put("pets", self.pets);
    }
}

/// Whole dollars, rounded down.
pub(crate) const fn dollars_down(cents: i64) -> i64 {
    cents / 100
}

/// Whole dollars, rounded up.
pub(crate) const fn dollars_up(cents: i64) -> i64 {
    cents / 100 + (cents % 100 > 0) as i64
}

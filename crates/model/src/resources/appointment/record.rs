//! An appointment as it is read back.
//!
//! Source: the public contract, sections 3.4 and 4.

use super::Checked;
use crate::text::trimmed;

resource! {
    /// A tour that the vendor has confirmed.
    Appointment, like "apt_01kaz6v3a1b2c3d4e5f6g7h8j9" {
        /// The vendor's id of its community.
        x_community_id: Option<String>,
        /// The vendor's id of its attribution.
        x_attribution_id: Option<String>,
        /// Its prospect, if that is known here: the vendor does not tell whom it made or met.
        prospect_id: Option<String>,
        /// Its community.
        community_id: Option<String>,
        /// Its attribution.
        attribution_id: Option<String>,
        /// Where it stands: `CONFIRMED`, or `REPLACED` when a later one of the same person took its place.
        status: Option<String>,
        /// The appointment that took its place.
        replaced_by: Option<String>,
        /// Its date in UTC, `YYYY-MM-DD`.
        appointment_date: Option<String>,
        /// The time of day in UTC at which it begins, `HH:MM:SS`.
        appointment_time: Option<String>,
        /// The instant at which it begins.
        #[schema(format = DateTime)]
        starts_at: Option<String>,
        /// The same in the community's time zone, with its offset there and then.
        #[schema(format = DateTime)]
        starts_at_local: Option<String>,
        /// The community's IANA time zone.
        timezone: Option<String>,
        /// The kind of tour.
        tour_type: Option<String>,
        /// The primary email address.
        email_1: Option<String>,
        /// The primary phone number, in E.164.
        phone_1: Option<String>,
        /// The digits of its extension. Lists are filtered by the number alone.
        phone_1_extension: Option<String>,
        /// The first name.
        first_name: Option<String>,
        /// The last name.
        last_name: Option<String>,
        /// The move-in date, `YYYY-MM-DD`.
        move_in_date: Option<String>,
        /// How many people will live in the unit.
        number_of_occupants: Option<i64>,
        /// The lease term, in months.
        lease_term_in_months: Option<i64>,
        /// The least rent a month, in cents.
        rent_minimum_in_cents: Option<i64>,
        /// The most rent a month, in cents.
        rent_maximum_in_cents: Option<i64>,
        /// Notes.
        notes: Option<String>,
        /// The numbers of bedrooms wanted.
        desired_num_bedrooms: Option<Vec<i64>>,
        /// The pets.
        pets: Option<Vec<String>>,
        /// How the prospect first got in touch.
        first_contact_type: Option<String>,
    }
}

impl Appointment {
    /// The appointment that a vendor makes of `appointment`, should it be new to us.
    pub fn created(appointment: &Checked) -> Self {
        let new = &appointment.new;
        unstored!(Self {
            x_community_id: Some(appointment.community.x_id.clone()),
            x_attribution_id: appointment.attribution.as_ref().map(|one| one.x_id.clone()),
            community_id: Some(appointment.community.id.to_string()),
            attribution_id: appointment
                .attribution
                .as_ref()
                .map(|one| one.id.to_string()),
            status: Some("CONFIRMED".to_owned()),
            appointment_date: Some(new.appointment_date.clone()),
            appointment_time: Some(new.appointment_time.clone()),
            starts_at: Some(appointment.starts_at.to_string()),
            starts_at_local: Some(appointment.starts_at_local()),
            timezone: Some(appointment.community.timezone.clone()),
            tour_type: new.tour_type.clone(),
            email_1: appointment
                .email
                .as_ref()
                .map(|email| email.as_str().to_owned()),
            phone_1: appointment
                .phone
                .as_ref()
                .map(|phone| phone.as_str().to_owned()),
            phone_1_extension: new.phone_1_extension.clone(),
            first_name: trimmed(new.first_name.as_deref()),
            last_name: trimmed(new.last_name.as_deref()),
            move_in_date: appointment.move_in_date.map(|date| date.to_string()),
            number_of_occupants: new.number_of_occupants,
            lease_term_in_months: new.lease_term_in_months,
            rent_minimum_in_cents: new.rent_minimum_in_cents,
            rent_maximum_in_cents: new.rent_maximum_in_cents,
            notes: trimmed(new.notes.as_deref()),
            desired_num_bedrooms: new.desired_num_bedrooms.clone(),
            pets: new.pets.clone(),
            first_contact_type: new.first_contact_type.clone(),
            // Known once it is stored.
            prospect_id: None,
            replaced_by: None,
        })
    }
}

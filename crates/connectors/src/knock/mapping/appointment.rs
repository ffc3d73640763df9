//! An appointment as a request for a tour at Knock.
//!
//! Guarantee: the time is told in the community's zone with its offset there and then, so it is the same instant on both sides of a clock change.

use model::{
    Issue,
    contact::{Email, Phone},
    record::stated,
    resources::appointment::{Appointment, Checked},
    vocabulary::Vocabulary,
    write::{Call, Confirmed, Touched},
};
use serde_json::{Value, json};

use super::{message::message, order::Order, profile::Profile, prospect::changed_by_a_repeat};
use crate::{
    Prepared,
    mapping::{Body, Words, without_repeats},
};

/// `POST /appointment/request` for `appointment`.
///
/// # Errors
/// When the vocabulary has no word for a value.
pub fn create(appointment: &Checked, vocabulary: &Vocabulary) -> Result<Prepared, Vec<Issue>> {
    let new = &appointment.new;
    let mut words = Words::of("Knock", vocabulary);
    let pets = words.list("pets", new.pets.as_deref());
    let first_contact_type = words.one("first_contact_type", new.first_contact_type.as_deref());
    let tour_type = words.one("tour_type", new.tour_type.as_deref());
    words.finish()?;

    let mut profile = Body::default();
    let person = Profile {
        email: appointment.email.as_ref(),
        phone: appointment.phone.as_ref(),
        first_name: new.first_name.as_deref(),
        last_name: new.last_name.as_deref(),
        move_in_date: appointment.move_in_date,
        bedrooms: new.desired_num_bedrooms.as_deref(),
        occupants: new.number_of_occupants,
        lease_term_in_months: new.lease_term_in_months,
        rent_minimum_in_cents: new.rent_minimum_in_cents,
        rent_maximum_in_cents: new.rent_maximum_in_cents,
        pets,
    };
    person.put_into(&mut profile);
    let mut body = Body::default();
    body.put("communityId", Some(appointment.community.x_id.as_str()));
    let source = appointment.attribution.as_ref();
    body.put("sourceTitle", source.map(|one| one.x_id.as_str()));
    let time = json!([{ "startTime": appointment.starts_at_local() }]);
    body.put("requestedTimes", Some(time));
    body.put("profile", Some(profile.finish()));
    let extension = appointment.phone.as_ref().and_then(Phone::extension);
    body.put("message", message(new.notes.as_deref(), extension));
    body.put("firstContactType", first_contact_type);
    body.put("tourType", tour_type);

    let (email, phone) = (appointment.email.as_ref(), appointment.phone.as_ref());
    let order = Order::within(appointment.integration.id, appointment.community.id);
    Ok(Prepared {
        call: Call {
            method: "POST".to_owned(),
            path: "/appointment/request".to_owned(),
            x_community_id: appointment.community.x_id.clone(),
            body: body.finish(),
        },
        confirmed: confirmed(appointment),
        order_keys: {
            let mut keys = order.contacts(email, phone);
            for known in &appointment.known {
                keys.extend(order.contacts(known.email.as_ref(), known.phone.as_ref()));
            }
            keys.sort_unstable();
            keys.dedup();
            keys
        },
        blocked_by: Vec::new(),
    })
}

fn confirmed(appointment: &Checked) -> Confirmed {
    let record = stated(&Appointment::created(appointment));
    let named = contacts(appointment.email.as_ref(), appointment.phone.as_ref());
    let mut replaces = named.clone();
    for known in &appointment.known {
        replaces.extend(contacts(known.email.as_ref(), known.phone.as_ref()));
    }
    let person = changed_by_a_repeat(&record);
    Confirmed {
        // Whatever Knock held under this id, it is this tour now.
        update: Value::Object(record.clone()),
        create: Value::Object(record),
        replaces: without_repeats(replaces),
        // Assumed: a request for a tour changes the card that it meets as a repeated guest card would.
        prospect: Some(Touched {
            by: named,
            update: Value::Object(person),
        }),
        subject: None,
        identity: None,
    }
}

/// Contacts as fields and values, in the order in which Knock goes by them.
fn contacts(email: Option<&Email>, phone: Option<&Phone>) -> Vec<(String, String)> {
    let email = email.map(|email| ("email_1".to_owned(), email.matching()));
    let phone = phone.map(|phone| ("phone_1".to_owned(), phone.as_str().to_owned()));
    email.into_iter().chain(phone).collect()
}

#[cfg(test)]
mod tests {
    use model::{
        Timestamp,
        resources::appointment::{NewAppointment, rules},
    };

    use super::*;
    use crate::knock::{mapping::world::World, vocabulary};

    fn prepare(timezone: &str, date: &str, time: &str, more: &Value) -> Prepared {
        let world = World::in_zone(timezone);
        let mut body = world.ids.clone();
        body.as_object_mut().unwrap().remove("agent_id");
        body["appointment_date"] = json!(date);
        body["appointment_time"] = json!(time);
        body["last_name"] = json!("Byron");
        body["email_1"] = json!("ada@example.com");
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        let new: NewAppointment = serde_json::from_value(body).unwrap();
        let checked = rules::check(new, Timestamp::ZERO, world.context());
        let checked = checked.unwrap_or_else(|issues| panic!("{issues:?}"));
        create(&checked, &vocabulary::table()).unwrap()
    }

    #[test]
    fn every_field_in_knocks_words() {
        let prepared = prepare(
            "America/New_York",
            "2027-03-12",
            "14:00:00",
            &json!({
                "phone_1": "+12065550155", "first_name": "Ada", "move_in_date": "2027-04-01", "number_of_occupants": 2, "lease_term_in_months": 12,
                "rent_minimum_in_cents": 180_099, "rent_maximum_in_cents": 240_001, "notes": "By bicycle", "desired_num_bedrooms": [0, 3],
                "pets": ["CAT"], "first_contact_type": "CHAT", "tour_type": "SELF_GUIDED",
            }),
        );
        insta::assert_json_snapshot!("every_field_of_a_tour", prepared.call.body);
        insta::assert_json_snapshot!(
            "every_field_of_the_record_of_a_tour",
            prepared.confirmed.create
        );
        assert_eq!(prepared.order_keys.len(), 2);
    }

    #[test]
    fn a_time_is_the_same_instant_in_the_communitys_zone() {
        let check = |zone: &str, date: &str, time: &str, expect: &str| {
            let body = prepare(zone, date, time, &json!({})).call.body;
            assert_eq!(
                body["requestedTimes"][0]["startTime"], expect,
                "{zone} {date} {time}"
            );
        };
        // Nine in the morning, before and after the clocks change in New York; in Phoenix they never do.
        check(
            "America/New_York",
            "2027-03-12",
            "14:00:00",
            "2027-03-12T09:00:00-05:00",
        );
        check(
            "America/New_York",
            "2027-03-15",
            "13:00:00",
            "2027-03-15T09:00:00-04:00",
        );
        check(
            "America/New_York",
            "2027-11-05",
            "13:00:00",
            "2027-11-05T09:00:00-04:00",
        );
        check(
            "America/New_York",
            "2027-11-08",
            "14:00:00",
            "2027-11-08T09:00:00-05:00",
        );
        check(
            "America/Phoenix",
            "2027-03-12",
            "16:00:00",
            "2027-03-12T09:00:00-07:00",
        );
        check(
            "America/Phoenix",
            "2027-03-15",
            "16:00:00",
            "2027-03-15T09:00:00-07:00",
        );
        // Another day there than in UTC, and the hour that comes twice.
        check(
            "America/Los_Angeles",
            "2027-07-02",
            "01:30:00",
            "2027-07-01T18:30:00-07:00",
        );
        check(
            "America/New_York",
            "2027-11-07",
            "05:30:00",
            "2027-11-07T01:30:00-04:00",
        );
        check(
            "America/New_York",
            "2027-11-07",
            "06:30:00",
            "2027-11-07T01:30:00-05:00",
        );
        check(
            "Asia/Kolkata",
            "2027-01-01",
            "20:00:00",
            "2027-01-02T01:30:00+05:30",
        );
    }
}

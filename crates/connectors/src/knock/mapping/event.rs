//! An event as an activity on Knock's guest card.
//!
//! Guarantee: what Knock has no place for is not sent; it stays with the event here.

use model::{
    Issue, Timestamp,
    record::stated,
    resources::event::{Checked, Event},
    text::trimmed,
    vocabulary::Vocabulary,
    write::{Call, Confirmed},
};
use serde_json::{Value, json};

use super::order::Order;
use crate::{
    Prepared,
    knock::bodies::EventName,
    mapping::{Body, Words, segment},
};

/// `POST /prospect/{id}/...` for `event`.
///
/// # Errors
/// When the vocabulary has no word for a value.
pub fn create(event: &Checked, vocabulary: &Vocabulary) -> Result<Prepared, Vec<Issue>> {
    let new = &event.new;
    let mut words = Words::of("Knock", vocabulary);
    let outcome = words.one("call_status", new.call_status.as_deref());
    words.finish()?;
    let name = EventName::of(&new.event_name)
        .ok_or_else(|| vec![Issue::custom("event_name", "Knock has no such event")])?;
    let mut body = Body::default();
    let agent = event.agent.as_ref();
    body.put("agent", agent.map(|one| json!({ "username": one.x_id })));
    let time = |at: Option<Timestamp>| at.map(|at| at.to_string());
    let what = match name {
        EventName::Sms | EventName::Chat | EventName::Activity => {
            body.put("time", time(event.event_datetime));
            body.put("message", trimmed(new.notes.as_deref()));
            match name {
                EventName::Sms => "sms",
                EventName::Chat => "chat",
                _ => "activity",
            }
        }
        EventName::Email => {
            body.put("time", time(event.event_datetime));
            body.put("subject", trimmed(new.email_subject.as_deref()));
            body.put("body", trimmed(new.email_body.as_deref()));
            "email"
        }
        EventName::Call => {
            body.put("startTime", time(event.time_from));
            body.put("endTime", time(event.time_to));
            body.put("outcome", outcome);
            let source = event.attribution.as_ref();
            body.put("sourceTitle", source.map(|one| one.x_id.as_str()));
            "call"
        }
    };

    let order = Order::within(event.integration.id, event.community.id);
    let prospect = &event.prospect;
    let mut order_keys = order.contacts(prospect.email.as_ref(), prospect.phone.as_ref());
    order_keys.push(order.prospect(&prospect.x_id));
    Ok(Prepared {
        call: Call {
            method: "POST".to_owned(),
            path: format!("/prospect/{}/{what}", segment(&prospect.x_id)),
            x_community_id: event.community.x_id.clone(),
            body: body.finish(),
        },
        confirmed: confirmed(event),
        order_keys,
        blocked_by: Vec::new(),
    })
}

fn confirmed(event: &Checked) -> Confirmed {
    Confirmed {
        create: Value::Object(stated(&Event::created(event))),
        update: json!({}),
        subject: None,
        identity: None,
        replaces: Vec::new(),
        prospect: None,
    }
}

#[cfg(test)]
mod tests {
    use model::resources::event::{NewEvent, rules};

    use super::*;
    use crate::knock::{mapping::world::World, vocabulary};

    #[test]
    fn every_kind_in_knocks_words() {
        let world = World::new();
        let mut shown = serde_json::Map::new();
        for (name, more) in [
            (
                "SMS",
                json!({ "event_datetime": "2027-03-01T09:30:00-05:00", "notes": " On my way " }),
            ),
            (
                "CHAT",
                json!({ "event_datetime": "2027-03-01T14:30:00Z", "notes": "Hi", "attribution_id": null }),
            ),
            (
                "ACTIVITY",
                json!({ "event_datetime": "2027-03-01T14:30:00.123456Z", "notes": "Note", "agent_id": null }),
            ),
            (
                "EMAIL",
                json!({ "event_datetime": "2027-03-01T14:30:00Z", "email_subject": "Tour", "email_body": "See you.\nSam", "notes": "kept here" }),
            ),
            (
                "CALL",
                json!({ "call_status": "MISSED_VOICEMAIL", "time_from": "2027-03-01T14:30:00Z", "time_to": "2027-03-01T14:35:00Z" }),
            ),
        ] {
            let mut body = world.ids.clone();
            body["prospect_id"] = json!(world.known.id);
            body["event_name"] = json!(name);
            body.as_object_mut()
                .unwrap()
                .extend(more.as_object().unwrap().clone());
            let new: NewEvent = serde_json::from_value(body).unwrap();
            let known = Some(world.known.clone());
            let required = EventName::of(name).unwrap().required();
            let checked = rules::check(new, known, required, world.context());
            let checked = checked.unwrap_or_else(|issues| panic!("{issues:?}"));
            let prepared = create(&checked, &vocabulary::table()).unwrap();
            assert_eq!(prepared.order_keys.len(), 3, "email, phone, prospect");
            let call = json!({ "path": prepared.call.path, "body": prepared.call.body, "record": prepared.confirmed.create });
            shown.insert(name.to_owned(), call);
        }
        insta::assert_json_snapshot!("every_kind", shown);
    }
}

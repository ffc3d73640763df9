//! A prospect as Knock's guest card.
//!
//! Guarantee: a field left out, or blank, is left out; a change names the card by every contact that is known and stays, so that Knock finds that card
//! and makes no other.

use model::{
    Issue,
    contact::Phone,
    record::stated,
    resources::prospect::{Checked, CheckedChange, Prospect},
    text::trimmed,
    vocabulary::Vocabulary,
    write::{Call, Confirmed},
};
use serde_json::{Map, Value, json};

use super::{message::message, order::Order, profile::Profile};
use crate::{
    Prepared,
    mapping::{Body, Words},
};

/// What a repeated POST changes on a card that Knock already holds; so that is what changes on our record. The rest stays as it was first sent.
const CHANGED_BY_A_REPEAT: [&str; 13] = [
    "agent_id",
    "x_agent_id",
    "first_name",
    "last_name",
    "phone_1",
    "phone_1_extension",
    "email_1",
    "move_in_date",
    "lease_term_in_months",
    "number_of_occupants",
    "rent_minimum_in_cents",
    "rent_maximum_in_cents",
    "desired_num_bedrooms",
];

/// `POST /prospect` for `prospect`.
///
/// # Errors
/// When the vocabulary has no word for a value.
pub fn create(prospect: &Checked, vocabulary: &Vocabulary) -> Result<Prepared, Vec<Issue>> {
    let new = &prospect.new;
    let mut words = Words::of("Knock", vocabulary);
    let pets = words.list("pets", new.pets.as_deref());
    let first_contact_type = words.one("first_contact_type", new.first_contact_type.as_deref());
    words.finish()?;

    let mut body = Body::default();
    body.put("communityId", Some(prospect.community.x_id.as_str()));
    let source = prospect.attribution.as_ref();
    body.put("sourceTitle", source.map(|one| one.x_id.as_str()));
    let agent = prospect.agent.as_ref();
    body.put("agent", agent.map(|one| json!({ "username": one.x_id })));
    let profile = Profile {
        email: prospect.email.as_ref(),
        phone: prospect.phone.as_ref(),
        first_name: new.first_name.as_deref(),
        last_name: new.last_name.as_deref(),
        move_in_date: prospect.move_in_date,
        bedrooms: new.desired_num_bedrooms.as_deref(),
        occupants: new.number_of_occupants,
        lease_term_in_months: new.lease_term_in_months,
        rent_minimum_in_cents: new.rent_minimum_in_cents,
        rent_maximum_in_cents: new.rent_maximum_in_cents,
        pets,
    };
    profile.put_into(&mut body);
    body.put("address", trimmed(new.address_1.as_deref()));
    body.put("city", trimmed(new.city.as_deref()));
    body.put("state", trimmed(new.state.as_deref()));
    body.put("zip", trimmed(new.zip.as_deref()));
    let extension = prospect.phone.as_ref().and_then(Phone::extension);
    body.put("message", message(new.notes.as_deref(), extension));
    body.put("firstContactType", first_contact_type);
    body.put("autorespond", new.subscribe);

    let order = Order::within(prospect.integration.id, prospect.community.id);
    Ok(Prepared {
        call: call(&prospect.community.x_id, body),
        confirmed: confirmed(prospect),
        order_keys: order.contacts(prospect.email.as_ref(), prospect.phone.as_ref()),
        blocked_by: Vec::new(),
    })
}

fn call(x_community_id: &str, body: Body) -> Call {
    Call {
        method: "POST".to_owned(),
        path: "/prospect".to_owned(),
        x_community_id: x_community_id.to_owned(),
        body: body.finish(),
    }
}

fn confirmed(prospect: &Checked) -> Confirmed {
    let record = stated(&Prospect::created(prospect));
    Confirmed {
        update: Value::Object(changed_by_a_repeat(&record)),
        create: Value::Object(record),
        subject: None,
        identity: None,
        replaces: Vec::new(),
        prospect: None,
    }
}

pub(super) fn changed_by_a_repeat(record: &Map<String, Value>) -> Map<String, Value> {
    record
        .iter()
        .filter(|(name, _)| CHANGED_BY_A_REPEAT.contains(&name.as_str()))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

/// `POST /prospect` that changes the card of a prospect that is known.
///
/// # Errors
/// When the record lacks what Knock wants with every card.
pub fn update(change: &CheckedChange) -> Result<Prepared, Vec<Issue>> {
    let (asked, known, contacts) = (&change.change, &change.known, &change.contacts);
    let Some(source) = &known.x_attribution_id else {
        return Err(vec![Issue::new(
            "custom",
            Vec::new(),
            "This prospect has no attribution, which Knock wants with every change. Change it at Knock",
            Value::Null,
        )]);
    };
    let mut body = Body::default();
    body.put("communityId", Some(change.community.x_id.as_str()));
    body.put("sourceTitle", Some(source.as_str()));
    let agent = change.agent.as_ref();
    body.put("agent", agent.map(|one| json!({ "username": one.x_id })));
    let profile = Profile {
        email: contacts.email.as_ref(),
        phone: contacts.phone.as_ref(),
        first_name: asked.first_name.as_deref(),
        last_name: asked.last_name.as_deref(),
        move_in_date: change.move_in_date,
        bedrooms: asked.desired_num_bedrooms.as_deref(),
        occupants: asked.number_of_occupants,
        lease_term_in_months: asked.lease_term_in_months,
        rent_minimum_in_cents: asked.rent_minimum_in_cents,
        rent_maximum_in_cents: asked.rent_maximum_in_cents,
        pets: None,
    };
    profile.put_into(&mut body);
    body.put("message", message(None, change.phone_extension.as_deref()));

    let order = Order::within(change.integration.id, change.community.id);
    let held = order.contacts(known.email.as_ref(), known.phone.as_ref());
    let mut anew = order.contacts(contacts.email.as_ref(), contacts.phone.as_ref());
    anew.retain(|key| !held.contains(key));
    let blocked_by = order.blocks(&held, &anew, &known.x_id);
    let mut order_keys = held;
    order_keys.extend(anew);
    order_keys.push(order.prospect(&known.x_id));
    if contacts.change() {
        order_keys.push(order.contact_change(&known.x_id));
    }
    Ok(Prepared {
        call: call(&change.community.x_id, body),
        confirmed: confirmed_update(change),
        order_keys,
        blocked_by,
    })
}

fn confirmed_update(change: &CheckedChange) -> Confirmed {
    let record = stated(&Prospect::changed(change));
    Confirmed {
        update: Value::Object(changed_by_a_repeat(&record)),
        create: Value::Object(record),
        subject: Some(change.known.id.clone()),
        identity: None,
        replaces: Vec::new(),
        prospect: None,
    }
}

#[cfg(test)]
mod tests {
    use model::{
        resources::prospect::{NewProspect, ProspectChange, rules},
        write::Operation,
    };
    use proptest::prelude::*;

    use super::*;
    use crate::knock::{mapping::world::World, matching::contact_issues, vocabulary};

    fn prepare(mut body: Value, with_agent: bool) -> Prepared {
        let world = World::new();
        for (name, id) in world.ids.as_object().unwrap() {
            if with_agent || name != "agent_id" {
                body[name] = id.clone();
            }
        }
        let new: NewProspect = serde_json::from_value(body).unwrap();
        let checked = rules::check(new, Some(true), world.context())
            .unwrap_or_else(|issues| panic!("{issues:?}"));
        create(&checked, &vocabulary::table()).unwrap_or_else(|issues| panic!("{issues:?}"))
    }

    #[test]
    fn every_field_in_knocks_words() {
        let body = json!({
            "email_1": " Ada@Example.com ", "phone_1": "+1 (206) 555-0155", "first_name": " Ada ", "last_name": "Byron", "address_1": "12 St James Square",
            "city": "Seattle", "state": "WA", "zip": "98101", "move_in_date": "2027-03-10T23:59:59.000-08:00", "number_of_occupants": 2.0,
            "lease_term_in_months": 12, "rent_minimum_in_cents": 180_099, "rent_maximum_in_cents": 240_001, "notes": "Hello", "desired_num_bedrooms": [3, 0, 1, 2, 3],
            "pets": ["CAT", "SMALL_DOG", "CAT"], "subscribe": false, "first_contact_type": "CHAT",
        });
        let prepared = prepare(body, true);
        insta::assert_json_snapshot!("every_field", prepared.call.body);
        insta::assert_json_snapshot!("every_field_of_the_record", prepared.confirmed.create);
        assert_eq!(prepared.order_keys.len(), 2);
    }

    #[test]
    fn what_is_left_out_or_blank_is_left_out() {
        let body = json!({ "phone_1": "+44 20 7946 0958", "first_name": "  ", "notes": "", "agent_id": null, "subscribe": null });
        insta::assert_json_snapshot!("the_least", prepare(body, false).call.body);
    }

    #[test]
    fn spellings_of_one_contact_share_an_order_key() {
        let keys = |body: Value| prepare(body, false).order_keys;
        assert_eq!(
            keys(json!({ "email_1": "ada@example.com" })),
            keys(json!({ "email_1": "ADA@example.com " }))
        );
        assert_eq!(
            keys(json!({ "phone_1": "2065550155" })),
            keys(json!({ "phone_1": "+1 206.555.0155" }))
        );
        assert_ne!(
            keys(json!({ "phone_1": "2065550155" })),
            keys(json!({ "phone_1": "2065550156" }))
        );
    }

    proptest! {
        #[test]
        fn rounding_never_narrows_a_budget(least in 1..=2_147_483_647_i64, most in 1..=2_147_483_647_i64) {
            let (least, most) = (least.min(most), least.max(most));
            let body = prepare(json!({ "email_1": "a@example.com", "rent_minimum_in_cents": least, "rent_maximum_in_cents": most }), false).call.body;
            let dollars = |name: &str| body[name].as_i64().unwrap();
            prop_assert!(dollars("minBudget") * 100 <= least && least < dollars("minBudget") * 100 + 100);
            prop_assert!(dollars("maxBudget") * 100 >= most && most > dollars("maxBudget") * 100 - 100);
        }
    }

    fn change(world: &World, body: Value) -> Result<Prepared, Vec<Issue>> {
        let asked: ProspectChange = serde_json::from_value(body).unwrap();
        let checked =
            rules::check_change(asked, world.known.clone(), contact_issues, world.context());
        update(&checked?)
    }

    #[test]
    fn every_field_of_a_change_in_knocks_words() {
        let world = World::new();
        let body = json!({
            "agent_id": world.ids["agent_id"], "email_1": "ada@new.example.com", "first_name": "Ada", "last_name": "King", "move_in_date": "2027-04-01",
            "number_of_occupants": 3, "lease_term_in_months": 6, "rent_minimum_in_cents": 150_050, "rent_maximum_in_cents": 200_050, "desired_num_bedrooms": [2],
        });
        let prepared = change(&world, body).unwrap();
        let shown = json!({ "body": prepared.call.body, "create": prepared.confirmed.create, "update": prepared.confirmed.update });
        insta::assert_json_snapshot!("every_field_of_a_change", shown);
        assert_eq!(prepared.confirmed.subject.as_ref(), Some(&world.known.id));
        // The old address, the new one, the number, the prospect, and the change of a contact.
        assert_eq!(prepared.order_keys.len(), 5);
        let of = |operation| {
            let blocks = prepared.blocked_by.iter();
            blocks
                .filter(|block| block.operations.contains(&operation))
                .count()
        };
        assert_eq!(of(Operation::ProspectCreate), 3);
        assert_eq!(
            of(Operation::ProspectUpdate),
            2,
            "of this card, and to this contact"
        );
        assert_eq!(of(Operation::EventCreate), 0);
    }

    #[test]
    fn a_change_always_leaves_a_contact_to_find_the_card_by() {
        let check = |email: bool, phone: bool, body: Value, is_taken: bool| {
            let mut world = World::new();
            world.known.email = world.known.email.filter(|_| email);
            world.known.phone = world.known.phone.filter(|_| phone);
            let changed = change(&world, body.clone());
            assert_eq!(changed.is_ok(), is_taken, "{email} {phone} {body}");
            if let Ok(prepared) = changed {
                let sent = &prepared.call.body;
                let stays = (email && sent["email"] == "ada@example.com")
                    || (phone && sent["phone"] == "2065550155");
                assert!(stays, "{sent}");
            }
        };
        let other = json!({ "email_1": "new@example.com", "phone_1": "2065550199" });
        let same = json!({ "email_1": "ADA@example.com", "phone_1": "+1 206 555 0155", "last_name": "King" });
        check(true, true, json!({ "email_1": "new@example.com" }), true);
        check(true, true, json!({ "phone_1": "2065550199" }), true);
        check(true, true, other.clone(), false);
        check(true, true, same.clone(), true);
        check(true, false, json!({ "email_1": "new@example.com" }), false);
        check(true, false, json!({ "phone_1": "2065550199" }), true);
        check(true, false, other.clone(), false);
        check(true, false, same, true);
        check(false, true, json!({ "email_1": "new@example.com" }), true);
        check(false, false, json!({ "last_name": "King" }), false);
        check(false, false, other, false);
        check(true, true, json!({ "last_name": "King" }), true);
        check(true, true, json!({}), false);
        check(
            true,
            true,
            json!({ "last_name": "  ", "first_name": null }),
            false,
        );
    }
}

//! The writes that Toy takes: what a body has to keep, and what is sent.

use connectors::{
    Prepared,
    component::Component,
    mapping::{Body, Order, Words, segment},
    write_operation::{IfUnknown, Prepare, PreparedWrite, Refused, WriteOperation, WriteRequest},
};
use model::{
    contact::{Email, Phone},
    record::stated,
    resources::{
        event::{self, Event, NewEvent},
        prospect::{Contacts, Known, NewProspect, Prospect, ProspectChange, rules},
    },
    text::trimmed,
    write::{Block, Call, Confirmed, Operation},
};
use serde_json::{Value, json};

use crate::bodies::{EventCreateToy, ProspectCreateToy, ProspectUpdateToy};

/// All of them.
pub(crate) const OPERATIONS: &[WriteOperation] = &[
    WriteOperation {
        operation: Operation::ProspectCreate,
        body: Component::of::<ProspectCreateToy>(),
        description: "Makes a lead at Toy, or changes the one that has the email address.",
        // A repeated create makes a second lead.
        if_unknown: IfUnknown::Resolve(lead_find),
        follow_up: Some(lead_change),
        prepare: |request| Box::pin(async { prospect_create(request) }),
    },
    WriteOperation {
        operation: Operation::ProspectUpdate,
        body: Component::of::<ProspectUpdateToy>(),
        description: "Changes a lead at Toy.",
        if_unknown: IfUnknown::Repeat,
        follow_up: None,
        prepare: |request| Box::pin(async { prospect_update(request) }),
    },
    WriteOperation {
        operation: Operation::EventCreate,
        body: Component::of::<EventCreateToy>(),
        description: "Puts a note on a lead, or has Toy send a message, which is never sent twice.",
        if_unknown: IfUnknown::NeverRepeat,
        follow_up: None,
        prepare: event_create,
    },
];

fn call(method: &str, path: String, x_community_id: &str, body: Value) -> Call {
    Call {
        method: method.to_owned(),
        path,
        x_community_id: x_community_id.to_owned(),
        body,
    }
}

/// The question how a lead stands.
pub(crate) fn lead_get(x_community_id: &str, x_id: &str) -> Call {
    let path = format!("/v1/leads/{}", segment(x_id));
    call("GET", path, x_community_id, Value::Null)
}

/// The question whether Toy has the lead of a create.
fn lead_find(create: &Call) -> Call {
    let property = create.body["property"].as_str().unwrap_or_default();
    let mail = create.body["person"]["mail"].as_str().unwrap_or_default();
    let path = format!(
        "/v1/leads?property={}&mail={}",
        segment(property),
        segment(mail)
    );
    call("GET", path, &create.x_community_id, Value::Null)
}

/// The change that a create becomes where Toy had the lead already.
fn lead_change(create: &Call, x_id: &str) -> Call {
    let path = format!("/v1/leads/{}", segment(x_id));
    call("PUT", path, &create.x_community_id, create.body.clone())
}

fn prospect_create(request: &WriteRequest<'_>) -> Result<PreparedWrite, Refused> {
    let body: ProspectCreateToy = request.read()?;
    let new: NewProspect = request.read()?;
    let prospect = request.settle(rules::check(new, None, request.context))?;
    let new = &prospect.new;
    let mut words = Words::of("Toy", request.vocabulary);
    let pets = words.list("pets", new.pets.as_deref());
    words.finish()?;
    let mut person = Body::default();
    let mail = prospect.email.as_ref().map(Email::sent);
    person.put("mail", mail);
    person.put("given", trimmed(new.first_name.as_deref()));
    person.put("family", trimmed(new.last_name.as_deref()));
    person.put("tel", prospect.phone.as_ref().map(Phone::as_str));
    let mut lead = Body::default();
    lead.put("property", Some(prospect.community.x_id.as_str()));
    lead.put("person", Some(person.finish()));
    lead.put("wanted_from", new.move_in_date.clone());
    lead.put("remark", trimmed(new.notes.as_deref()));
    lead.put("animals", pets);
    let record = stated(&Prospect::created(&prospect));
    let matching = prospect.email.as_ref().map(Email::matching);
    let order = Order::within(prospect.integration.id, prospect.community.id);
    let prepared = Prepared {
        call: call(
            "POST",
            "/v1/leads".to_owned(),
            &prospect.community.x_id,
            lead.finish(),
        ),
        confirmed: Confirmed {
            create: Value::Object(record.clone()),
            update: Value::Object(record),
            // Toy tells the number of a lead later than it takes it.
            identity: matching
                .clone()
                .map(|matching| ("email_1".to_owned(), matching)),
            ..Confirmed::default()
        },
        order_keys: matching
            .iter()
            .map(|matching| order.key("email", matching))
            .collect(),
        blocked_by: Vec::new(),
    };
    let echo = ProspectCreateToy {
        phone_1_extension: new.phone_1_extension.clone(),
        ..body
    };
    PreparedWrite::new(&prospect.community, &echo, prepared)
}

/// Toy changes a lead by its number, whatever its contacts are.
fn any_contacts(_known: &Known, _contacts: &Contacts) -> Vec<model::Issue> {
    Vec::new()
}

fn prospect_update(request: &WriteRequest<'_>) -> Result<PreparedWrite, Refused> {
    let body: ProspectUpdateToy = request.read()?;
    let asked: ProspectChange = request.read()?;
    let known = request.subject.cloned().ok_or(Refused::Internal)?;
    let checked = rules::check_change(asked, known, any_contacts, request.context);
    let change = request.settle(checked)?;
    let asked = &change.change;
    let mut person = Body::default();
    person.put("given", trimmed(asked.first_name.as_deref()));
    person.put("family", trimmed(asked.last_name.as_deref()));
    let mut lead = Body::default();
    lead.put("person", Some(person.finish()));
    lead.put("remark", trimmed(asked.notes.as_deref()));
    let order = Order::within(change.integration.id, change.community.id);
    let mail = change.known.email.as_ref().map(Email::matching);
    let key = mail.map(|mail| order.key("email", &mail));
    let mut update = stated(&Prospect::changed(&change));
    // What is not asked for stays.
    update.retain(|name, value| {
        !value.is_null() && ["first_name", "last_name"].contains(&name.as_str())
    });
    let prepared = Prepared {
        call: call(
            "PUT",
            format!("/v1/leads/{}", segment(&change.known.x_id)),
            &change.community.x_id,
            lead.finish(),
        ),
        confirmed: Confirmed {
            create: Value::Object(stated(&Prospect::changed(&change))),
            update: Value::Object(update),
            subject: Some(change.known.id.clone()),
            ..Confirmed::default()
        },
        // Behind what was accepted before about the person: a create may still be under way.
        order_keys: key.into_iter().collect(),
        blocked_by: Vec::<Block>::new(),
    };
    PreparedWrite::new(&change.community, &body, prepared)
}

fn event_create<'a>(request: &'a WriteRequest<'a>) -> Prepare<'a> {
    Box::pin(async {
        let body: EventCreateToy = request.read()?;
        let new: NewEvent = request.read()?;
        let prospect = request.records.prospect(&new.prospect_id).await?;
        let checked = event::rules::check(new, prospect, &["notes"], request.context);
        let event = request.settle(checked)?;
        let known = &event.prospect;
        let kind = event.new.event_name.to_ascii_lowercase();
        let path = format!("/v1/leads/{}/{kind}s", segment(&known.x_id));
        let order = Order::within(event.integration.id, event.community.id);
        let mail = known.email.as_ref().map(Email::matching);
        let prepared = Prepared {
            call: call(
                "POST",
                path,
                &event.community.x_id,
                json!({ "text": trimmed(event.new.notes.as_deref()) }),
            ),
            confirmed: Confirmed {
                create: Value::Object(stated(&Event::created(&event))),
                update: json!({}),
                ..Confirmed::default()
            },
            order_keys: mail.iter().map(|mail| order.key("email", mail)).collect(),
            blocked_by: Vec::new(),
        };
        PreparedWrite::new(&event.community, &body, prepared)
    })
}

//! The writes that Knock takes: what a body has to keep, and what is sent.

use model::{
    resources::{
        appointment::{self, NewAppointment},
        event::{self, NewEvent},
        listing::{self, NewListing},
        prospect::{Known, NewProspect, ProspectChange, rules},
    },
    write::Operation,
};

use super::{
    bodies::{
        AppointmentCreateKnock, EventCreateKnock, EventName, ListingCreateKnock,
        ProspectCreateKnock, ProspectUpdateKnock,
    },
    mapping, matching,
};
use crate::{
    component::Component,
    write_operation::{IfUnknown, Prepare, PreparedWrite, Refused, WriteOperation, WriteRequest},
};

/// All of them.
pub const OPERATIONS: &[WriteOperation] = &[
    WriteOperation {
        operation: Operation::ProspectCreate,
        body: Component::of::<ProspectCreateKnock>(),
        description: "Takes a prospect into custody, answers once it is on stable storage, then writes it to Knock and keeps at it until the outcome is known.",
        if_unknown: IfUnknown::Repeat,
        follow_up: None,
        prepare: |request| Box::pin(async { prospect_create(request) }),
    },
    WriteOperation {
        operation: Operation::ProspectUpdate,
        body: Component::of::<ProspectUpdateKnock>(),
        description: "Changes what Knock changes on a guest card that exists. Updates of one prospect arrive in the order accepted. While a write is open that may give the\ncard other contacts, an update is refused with 409: send it again once that write has ended.",
        if_unknown: IfUnknown::Repeat,
        follow_up: None,
        prepare: prospect_update,
    },
    WriteOperation {
        operation: Operation::EventCreate,
        body: Component::of::<EventCreateKnock>(),
        description: "Records what happened between a prospect and a community on the prospect's guest card. Knock records it and sends nothing. Should an answer of Knock's\nbe lost, the event is sent again and may stand on the card twice: Knock has no way to tell a repeat.",
        if_unknown: IfUnknown::RepeatTwiceAtWorst,
        follow_up: None,
        prepare: event_create,
    },
    WriteOperation {
        operation: Operation::AppointmentCreate,
        body: Component::of::<AppointmentCreateKnock>(),
        description: "Books a tour. Knock makes or finds the prospect by the contact. A second tour of the same person at the same community replaces the first: `outcome` in\nwrite-status is then `REPLACED`. A time that Knock does not offer ends as FAILURE, in Knock's words.",
        if_unknown: IfUnknown::Repeat,
        follow_up: None,
        prepare: appointment_create,
    },
    WriteOperation {
        operation: Operation::ListingCreate,
        body: Component::of::<ListingCreateKnock>(),
        description: "Makes a Craigslist listing of a community known to Knock. The same address again changes the listing.",
        if_unknown: IfUnknown::Repeat,
        follow_up: None,
        prepare: |request| Box::pin(async { listing_create(request) }),
    },
];

fn prospect_create(request: &WriteRequest<'_>) -> Result<PreparedWrite, Refused> {
    let body: ProspectCreateKnock = request.read()?;
    let new: NewProspect = request.read()?;
    let default = Some(ProspectCreateKnock::SUBSCRIBE_DEFAULT);
    let prospect = request.settle(rules::check(new, default, request.context))?;
    let prepared = mapping::prospect::create(&prospect, request.vocabulary)?;
    let echo = ProspectCreateKnock {
        subscribe: prospect.new.subscribe,
        phone_1_extension: prospect.new.phone_1_extension,
        ..body
    };
    Ok(PreparedWrite {
        consent: prospect.consent,
        ..PreparedWrite::new(&prospect.community, &echo, prepared)?
    })
}

fn prospect_update<'a>(request: &'a WriteRequest<'a>) -> Prepare<'a> {
    Box::pin(async {
        let body: ProspectUpdateKnock = request.read()?;
        let change: ProspectChange = request.read()?;
        let known = request.subject.cloned().ok_or(Refused::Internal)?;
        let rules = matching::contact_issues;
        let checked = rules::check_change(change, known, rules, request.context);
        let mut change = request.settle(checked)?;
        matching::leave_no_doubt(request, &mut change).await?;
        let prepared = mapping::prospect::update(&change)?;
        let echo = ProspectUpdateKnock {
            phone_1_extension: change.change.phone_1_extension,
            ..body
        };
        PreparedWrite::new(&change.community, &echo, prepared)
    })
}

fn event_create<'a>(request: &'a WriteRequest<'a>) -> Prepare<'a> {
    Box::pin(async {
        let body: EventCreateKnock = request.read()?;
        let new: NewEvent = request.read()?;
        let prospect = request.records.prospect(&new.prospect_id).await?;
        let required = body.event_name.map_or(&[][..], EventName::required);
        let checked = event::rules::check(new, prospect, required, request.context);
        let event = request.settle(checked)?;
        let prepared = mapping::event::create(&event, request.vocabulary)?;
        PreparedWrite::new(&event.community, &body, prepared)
    })
}

fn appointment_create<'a>(request: &'a WriteRequest<'a>) -> Prepare<'a> {
    Box::pin(async {
        let body: AppointmentCreateKnock = request.read()?;
        let new: NewAppointment = request.read()?;
        let checked = appointment::rules::check(new, request.now, request.context);
        let mut tour = request.settle(checked)?;
        let email = tour.email.as_ref();
        let email = email.map(|email| ("email_1", email.as_str().to_owned()));
        let phone = tour.phone.as_ref();
        let phone = phone.map(|phone| ("phone_1", phone.as_str().to_owned()));
        for (name, value) in email.into_iter().chain(phone) {
            let contact = (name, &*value);
            let known = request
                .records
                .prospects_having(&tour.community, contact)
                .await?;
            tour.known.extend(known.iter().filter_map(Known::of));
        }
        let prepared = mapping::appointment::create(&tour, request.vocabulary)?;
        let echo = AppointmentCreateKnock {
            phone_1_extension: tour.new.phone_1_extension,
            ..body
        };
        PreparedWrite::new(&tour.community, &echo, prepared)
    })
}

fn listing_create(request: &WriteRequest<'_>) -> Result<PreparedWrite, Refused> {
    let body: ListingCreateKnock = request.read()?;
    let new: NewListing = request.read()?;
    let listing = request.settle(listing::rules::check(new, request.context))?;
    let prepared = mapping::listing::create(&listing);
    PreparedWrite::new(&listing.community, &body, prepared)
}

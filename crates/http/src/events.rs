//! Events: create, get, list.

use model::{
    Scope,
    directory::Vendor,
    record::Kind,
    resources::event::{Event, EventCreate, rules},
    write::{NewWrite, Operation},
};

use crate::{
    App,
    error::Error,
    intake::{self, Draft, Route, writes},
    lists::reads,
    openapi::{Accepted, Answer, GenericAccepted, GenericEventCreate, PageAnswer},
    prospects,
};

reads!(
    Event,
    Kind::Event,
    "Events",
    event_get,
    "Get an event",
    "/crm/v1/events/{id}",
    events_list,
    "List events",
    "/crm/v1/events",
    EventsRead "events:read"
);

writes! {
    /// Create Event: Knock
    ///
    /// Records what happened between a prospect and a community on the prospect's guest card. Knock records it and sends nothing. Should an answer of Knock's
    /// be lost, the event is sent again and may stand on the card twice: Knock has no way to tell a repeat.
    post "/crm/v1/events/knock", event_create_knock, "Events", Operation::EventCreate, Route::Of(Vendor::Knock), EventsWrite "events:write", EventCreate => Accepted
}

writes! {
    /// Create Event
    ///
    /// Finds the vendor from the integration and applies that vendor's rules.
    post "/crm/v1/events", event_create, "Events", Operation::EventCreate, Route::Generic, EventsWrite "events:write", GenericEventCreate => GenericAccepted
}

/// Checks and maps an event.
pub(crate) async fn prepare_create(
    app: &App,
    scope: &Scope,
    draft: Draft,
) -> Result<NewWrite, Error> {
    let (vendor, screened) = intake::screened(app, scope, draft)?;
    let input: EventCreate = screened.read()?;
    let prospect = prospects::known(app, scope, &input.prospect_id).await?;
    let broken = |field: &str| screened.is_broken(field);
    let checked = rules::check(input, prospect, vendor, &app.live.get(), scope, &broken);
    let event = screened.settle(checked)?;
    let prepared = intake::connector(app, vendor)?.event_create(&event);
    let of = (event.integration.id, event.community.id);
    intake::new_write(app, Operation::EventCreate, of, &event.input, prepared)
}

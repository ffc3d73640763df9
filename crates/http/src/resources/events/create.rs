//! An event to be created: checked and mapped.

use model::{
    Scope,
    resources::event::{EventCreate, rules},
};

use crate::{
    error::Error, intake::Ready, resources::prospects::known::known, screening::Draft, state::App,
};

/// Checks and maps an event to be created.
pub(super) async fn prepare(app: &App, scope: &Scope, draft: Draft) -> Result<Ready, Error> {
    let (vendor, screened) = draft.screened(app, scope)?;
    let input: EventCreate = screened.read()?;
    let prospect = known(app, scope, &input.prospect_id).await?;
    let broken = |field: &str| screened.is_broken(field);
    let checked = rules::check(input, prospect, vendor, &app.live.get(), scope, &broken);
    let event = screened.settle(checked)?;
    let prepared = app.map(vendor, &event)?;
    Ready::new(
        (&event.integration, &event.community),
        &event.input,
        prepared,
    )
}

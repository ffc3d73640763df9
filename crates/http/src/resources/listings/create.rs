//! A listing to be created: checked and mapped.

use model::{
    Scope,
    resources::listing::{ListingCreate, rules},
};

use crate::{error::Error, intake::Ready, screening::Draft, state::App};

/// Checks and maps a listing to be created.
pub(super) async fn prepare(app: &App, scope: &Scope, draft: Draft) -> Result<Ready, Error> {
    let (vendor, screened) = draft.screened(app, scope)?;
    let input: ListingCreate = screened.read()?;
    let broken = |field: &str| screened.is_broken(field);
    let checked = rules::check(input, vendor, &app.live.get(), scope, &broken);
    let listing = screened.settle(checked)?;
    let prepared = app.map(vendor, &listing)?;
    Ready::new(
        (&listing.integration, &listing.community),
        &listing.input,
        prepared,
    )
}

//! A tour to be booked: checked and mapped.

use model::{
    Scope,
    resources::{
        appointment::{AppointmentCreate, rules},
        prospect::Known,
    },
};

use crate::{
    error::Error, intake::Ready, resources::prospects::known::having, screening::Draft, state::App,
};

/// Checks and maps a tour to be booked.
pub(super) async fn prepare(app: &App, scope: &Scope, draft: Draft) -> Result<Ready, Error> {
    let (vendor, screened) = draft.screened(app, scope)?;
    let input: AppointmentCreate = screened.read()?;
    let broken = |field: &str| screened.is_broken(field);
    let now = app.clock.now();
    let checked = rules::check(input, vendor, &app.live.get(), scope, &broken, now);
    let mut tour = screened.settle(checked)?;
    let email = tour
        .email
        .as_ref()
        .map(|email| ("email_1", email.as_str().to_owned()));
    let phone = tour
        .phone
        .as_ref()
        .map(|phone| ("phone_1", phone.as_str().to_owned()));
    for (name, value) in email.into_iter().chain(phone) {
        let known = having(app, scope, &tour.community, (name, &value)).await?;
        tour.known.extend(known.iter().filter_map(Known::of));
    }
    let prepared = app.map(vendor, &tour)?;
    Ready::new((&tour.integration, &tour.community), &tour.input, prepared)
}

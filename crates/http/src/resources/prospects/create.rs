//! A prospect to be created: checked and mapped.

use model::{
    Scope,
    resources::prospect::{ProspectCreate, rules},
};

use crate::{error::Error, intake::Ready, screening::Draft, state::App};

/// Checks and maps a prospect to be created.
pub(super) async fn prepare(app: &App, scope: &Scope, draft: Draft) -> Result<Ready, Error> {
    let (vendor, screened) = draft.screened(app, scope)?;
    let input: ProspectCreate = screened.read()?;
    let broken = |field: &str| screened.is_broken(field);
    let checked = rules::check(input, vendor, &app.live.get(), scope, &broken);
    let prospect = screened.settle(checked)?;
    let prepared = app.map(vendor, &prospect)?;
    let of = (&*prospect.integration, &*prospect.community);
    Ok(Ready {
        consent: Some(prospect.consent),
        ..Ready::new(of, &prospect.input, prepared)?
    })
}

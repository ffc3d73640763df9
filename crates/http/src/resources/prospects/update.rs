//! A prospect to be updated: checked, kept apart from other prospects, and mapped.

use model::{
    Scope,
    resources::prospect::{CheckedUpdate, ProspectUpdate, is_there, rules},
};

use super::known::{having, known, may_read, none};
use crate::{
    error::Error,
    intake::Ready,
    screening::{Draft, Target},
    state::App,
};

/// Checks and maps a change of a prospect.
pub(super) async fn prepare(app: &App, scope: &Scope, draft: Draft) -> Result<Ready, Error> {
    let id = draft.subject.clone().unwrap_or_default();
    let Some(known) = known(app, scope, &id).await? else {
        return Err(none(app, scope, &id).await?);
    };
    let vendor = known
        .integration_id
        .parse()
        .ok()
        .and_then(|id| Some(app.live.get().integration(id)?.vendor))
        .ok_or_else(Error::internal)?;
    if let Target::Of(asked) = draft.target
        && asked != vendor
    {
        return Err(Error::conflict(format!(
            "This prospect is one of {vendor}. Use the path of its vendor, or the one that names none"
        )));
    }
    let screened = draft.screened_for(app, vendor)?;
    let input: ProspectUpdate = screened.read()?;
    let broken = |field: &str| screened.is_broken(field);
    let checked = rules::check_update(input, known, vendor, &app.live.get(), scope, &broken);
    let mut change = screened.settle(checked)?;
    leave_no_doubt(app, scope, &mut change).await?;
    let prepared = app.map(vendor, &change)?;
    Ready::new(
        (&change.integration, &change.community),
        &change.input,
        prepared,
    )
}

/// Why a change is refused that concerns another prospect, to who may not know of that one: neither
/// which it is, nor which contact it has.
fn in_doubt() -> String {
    "The vendor finds a guest card by its contacts, and could not tell for certain which one this change is for. Ask someone whose API key has `prospects:read`, who is told why".to_owned()
}

/// Leaves out the contacts by which the vendor might find the card of another prospect.
///
/// # Errors
/// 409 when a contact is to be changed to one that another prospect has, or when none is left by which the card can be told from others.
async fn leave_no_doubt(app: &App, scope: &Scope, change: &mut CheckedUpdate) -> Result<(), Error> {
    let email = change
        .email
        .as_ref()
        .map(|email| ("email_1", email.as_str().to_owned(), change.email_changes));
    let phone = change
        .phone
        .as_ref()
        .map(|phone| ("phone_1", phone.as_str().to_owned(), change.phone_changes));
    let mut shared = Vec::new();
    for (name, value, changes) in email.into_iter().chain(phone) {
        let all = having(app, scope, &change.community, (name, &value)).await?;
        let mut others = all.into_iter().filter(|row| is_there(&row.body));
        let Some(other) = others.find(|row| row.id != change.known.id) else {
            continue;
        };
        if changes {
            return Err(Error::conflict(if may_read(scope) {
                format!(
                    "Another prospect of this community has this {name}: {}. The vendor would find that one's guest card and change it. Change that prospect, or give another {name}",
                    other.id
                )
            } else {
                in_doubt()
            }));
        }
        shared.push((name, other.id));
    }
    for (name, _) in &shared {
        match *name {
            "email_1" => change.email = None,
            _ => change.phone = None,
        }
    }
    let stays = (change.email.is_some() && !change.email_changes)
        || (change.phone.is_some() && !change.phone_changes);
    match shared.first() {
        Some(_) if !stays && !may_read(scope) => Err(Error::conflict(in_doubt())),
        Some((name, other)) if !stays => Err(Error::conflict(format!(
            "The vendor finds a guest card by its contacts, and another prospect of this community has the same {name}: {other}. It could not tell the two apart. Change it at the vendor"
        ))),
        _ => Ok(()),
    }
}

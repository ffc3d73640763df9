//! Prospects: create, update, get, list.

use model::{
    JobId, Scope,
    directory::Vendor,
    record::Kind,
    resources::prospect::{CheckedUpdate, Known, Prospect, ProspectCreate, ProspectUpdate, rules},
    write::{NewWrite, Operation, WriteStatus},
};
use store::{Query, query::Equal};

use crate::{
    App,
    error::Error,
    intake::{self, Draft, Route, writes},
    lists::reads,
    openapi::{
        Accepted, Answer, GenericAccepted, GenericProspectCreate, GenericProspectUpdate,
        PageAnswer, Subject,
    },
};

reads!(
    Prospect,
    Kind::Prospect,
    "Prospects",
    prospect_get,
    "Get a prospect

A prospect exists once its vendor has confirmed it.",
    "/crm/v1/prospects/{id}",
    prospects_list,
    "List prospects",
    "/crm/v1/prospects"
);

writes! {
    /// Create Prospect: Knock
    ///
    /// Takes a prospect into custody, answers once it is on stable storage, then writes it to Knock and keeps at it until the outcome is known.
    post "/crm/v1/prospects/knock", prospect_create_knock, "Prospects", Operation::ProspectCreate, Route::Of(Vendor::Knock), ProspectCreate => Accepted
}

writes! {
    /// Create Prospect
    ///
    /// Finds the vendor from the integration and applies that vendor's rules.
    post "/crm/v1/prospects", prospect_create, "Prospects", Operation::ProspectCreate, Route::Generic, GenericProspectCreate => GenericAccepted
}

writes! {
    /// Update Prospect: Knock
    ///
    /// Changes what Knock changes on a guest card that exists. Updates of one prospect arrive in the order accepted. While a write is open that may give the
    /// card other contacts, an update is refused with 409: send it again once that write has ended.
    put "/crm/v1/prospects/knock/{prospect_id}" by "prospect_id", prospect_update_knock, "Prospects", Operation::ProspectUpdate, Route::Of(Vendor::Knock), ProspectUpdate => Accepted
}

writes! {
    /// Update Prospect
    ///
    /// Finds the vendor from the prospect and applies that vendor's rules.
    put "/crm/v1/prospects/{id}" by "id", prospect_update, "Prospects", Operation::ProspectUpdate, Route::Generic, GenericProspectUpdate => GenericAccepted
}

/// Checks and maps a prospect to be made.
pub(crate) async fn prepare_create(
    app: &App,
    scope: &Scope,
    draft: Draft,
) -> Result<NewWrite, Error> {
    let (vendor, screened) = intake::screened(
        app,
        scope,
        draft.route,
        Subject::ProspectCreate,
        draft.body,
        draft.ignore_unknown,
    )?;
    let input: ProspectCreate = screened.read()?;
    let broken = |field: &str| screened.is_broken(field);
    let checked = rules::check(input, vendor, &app.live.get(), scope, &broken);
    let prospect = screened.settle(checked)?;
    let prepared = intake::connector(app, vendor)?.prospect_create(&prospect);
    let of = (prospect.integration.id, prospect.community.id);
    intake::new_write(app, draft.operation, of, &prospect.input, prepared)
}

/// Checks and maps a change of a prospect.
pub(crate) async fn prepare_update(
    app: &App,
    scope: &Scope,
    draft: Draft,
) -> Result<NewWrite, Error> {
    let id = draft.subject.unwrap_or_default();
    let Some(known) = known(app, scope, &id).await? else {
        return Err(none(app, scope, &id).await?);
    };
    let vendor = known
        .integration_id
        .parse()
        .ok()
        .and_then(|id| Some(app.live.get().integration(id)?.vendor))
        .ok_or_else(Error::internal)?;
    if let Route::Of(asked) = draft.route
        && asked != vendor
    {
        return Err(Error::conflict(format!(
            "This prospect is one of {vendor}. Use the path of its vendor, or the one that names none"
        )));
    }
    let (subject, body) = (Subject::ProspectUpdate, draft.body);
    let screened = match draft.route {
        Route::Of(_) => {
            let ignore_unknown = draft.ignore_unknown;
            intake::screened(app, scope, draft.route, subject, body, ignore_unknown)?.1
        }
        Route::Generic => intake::screened_for(app, vendor, subject, body, draft.ignore_unknown)?,
    };
    let input: ProspectUpdate = screened.read()?;
    let broken = |field: &str| screened.is_broken(field);
    let checked = rules::check_update(input, known, vendor, &app.live.get(), scope, &broken);
    let change = screened.settle(checked)?;
    taken_by_another(app, scope, &change).await?;
    let prepared = intake::connector(app, vendor)?.prospect_update(&change);
    let of = (change.integration.id, change.community.id);
    intake::new_write(app, draft.operation, of, &change.input, prepared)
}

/// A prospect that the vendor has confirmed, as writes about it need it.
pub(crate) async fn known(app: &App, scope: &Scope, id: &str) -> Result<Option<Known>, Error> {
    let found = app.store.record_find(scope, Kind::Prospect, id).await?;
    Ok(found.as_ref().and_then(Known::of))
}

/// Why there is no prospect under `id`: most often since somebody sent the id of the write that is to make it.
async fn none(app: &App, scope: &Scope, id: &str) -> Result<Error, Error> {
    let Ok(job_id) = id.parse::<JobId>() else {
        return Ok(Error::not_found("prospect"));
    };
    let Some(write) = app.store.write_find(scope, job_id).await? else {
        return Ok(Error::not_found("prospect"));
    };
    Ok(match (write.status, write.record_id) {
        (WriteStatus::Pending, _) => Error::conflict(format!(
            "{job_id} is a write that has not ended: its prospect does not exist yet. Send this again with the created_record_id that write-status shows then"
        )),
        (_, Some(record_id)) => Error::conflict(format!(
            "{job_id} is a write. The id of its prospect is {record_id}: send this again with that"
        )),
        (_, None) => Error::not_found("prospect"),
    })
}

/// A contact that another prospect of the community has must not be given to this one: the vendor would find and change the other's card.
async fn taken_by_another(app: &App, scope: &Scope, change: &CheckedUpdate) -> Result<(), Error> {
    if !change.changes_contact {
        return Ok(());
    }
    let equal = |name: &str, value: &str| {
        let filter = Kind::Prospect
            .filters()
            .iter()
            .find(|one| one.name == name)?;
        Some(Equal {
            filter: *filter,
            integration_id: None,
            value: filter.normal(value),
        })
    };
    let community = equal("community_id", &change.community.id.to_string());
    let email = change
        .email
        .as_ref()
        .map(|email| ("email_1", email.as_str()));
    let phone = change
        .phone
        .as_ref()
        .map(|phone| ("phone_1", phone.as_str()));
    for (name, value) in email.into_iter().chain(phone) {
        let query = Query {
            integrations: Some(vec![change.integration.id]),
            equal: equal(name, value)
                .into_iter()
                .chain(community.clone())
                .collect(),
            ..Query::new(Kind::Prospect, 2)
        };
        let page = app.store.records_list(scope, &query).await?;
        if let Some(other) = page.rows.iter().find(|row| row.id != change.known.id) {
            return Err(Error::conflict(format!(
                "Another prospect of this community has this {name}: {}. The vendor would find that one's guest card and change it. Change that prospect, or give another {name}",
                other.id
            )));
        }
    }
    Ok(())
}

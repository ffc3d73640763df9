//! Prospects: create, update, get, list.

use model::{
    JobId, Permission, Scope,
    directory::{Community, Vendor},
    permission::{Group, Level},
    record::{Kind, Record},
    resources::prospect::{
        CheckedUpdate, Known, Prospect, ProspectCreate, ProspectUpdate, is_there, rules,
    },
    write::{NewWrite, Operation, WriteStatus},
};
use store::{Query, query::Equal};

use crate::{
    App,
    error::Error,
    intake::{self, Draft, Route, writes},
    lists::reads,
    openapi::{
        Accepted, Answer, BodyKind, GenericAccepted, GenericProspectCreate, GenericProspectUpdate,
        PageAnswer,
    },
};

/// Prospects with one contact that are looked at: there is one, or something is wrong already.
const HAVING_MAX: u64 = 10;

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
    "/crm/v1/prospects",
    ProspectsRead "prospects:read"
);

writes! {
    /// Create Prospect: Knock
    ///
    /// Takes a prospect into custody, answers once it is on stable storage, then writes it to Knock and keeps at it until the outcome is known.
    post "/crm/v1/prospects/knock", prospect_create_knock, "Prospects", Operation::ProspectCreate, Route::Of(Vendor::Knock), ProspectsWrite "prospects:write", ProspectCreate => Accepted
}

writes! {
    /// Create Prospect
    ///
    /// Finds the vendor from the integration and applies that vendor's rules.
    post "/crm/v1/prospects", prospect_create, "Prospects", Operation::ProspectCreate, Route::Generic, ProspectsWrite "prospects:write", GenericProspectCreate => GenericAccepted
}

writes! {
    /// Update Prospect: Knock
    ///
    /// Changes what Knock changes on a guest card that exists. Updates of one prospect arrive in the order accepted. While a write is open that may give the
    /// card other contacts, an update is refused with 409: send it again once that write has ended.
    put "/crm/v1/prospects/knock/{prospect_id}" by "prospect_id", prospect_update_knock, "Prospects", Operation::ProspectUpdate, Route::Of(Vendor::Knock), ProspectsWrite "prospects:write", ProspectUpdate => Accepted
}

writes! {
    /// Update Prospect
    ///
    /// Finds the vendor from the prospect and applies that vendor's rules.
    put "/crm/v1/prospects/{id}" by "id", prospect_update, "Prospects", Operation::ProspectUpdate, Route::Generic, ProspectsWrite "prospects:write", GenericProspectUpdate => GenericAccepted
}

/// Checks and maps a prospect to be made.
pub(crate) async fn prepare_create(
    app: &App,
    scope: &Scope,
    draft: Draft,
) -> Result<NewWrite, Error> {
    let (vendor, screened) = intake::screened(app, scope, draft)?;
    let input: ProspectCreate = screened.read()?;
    let broken = |field: &str| screened.is_broken(field);
    let checked = rules::check(input, vendor, &app.live.get(), scope, &broken);
    let prospect = screened.settle(checked)?;
    let prepared = intake::connector(app, vendor)?.prospect_create(&prospect);
    let of = (prospect.integration.id, prospect.community.id);
    let write = intake::new_write(
        app,
        Operation::ProspectCreate,
        of,
        &prospect.input,
        prepared,
    )?;
    Ok(NewWrite {
        consent: Some(prospect.consent),
        ..write
    })
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
    let (subject, body) = (BodyKind::ProspectUpdate, draft.body);
    let screened = match draft.route {
        Route::Of(_) => {
            let ignore_unknown = draft.ignore_unknown;
            intake::screened_as(app, scope, draft.route, subject, body, ignore_unknown)?.1
        }
        Route::Generic => intake::screened_for(app, vendor, subject, body, draft.ignore_unknown)?,
    };
    let input: ProspectUpdate = screened.read()?;
    let broken = |field: &str| screened.is_broken(field);
    let checked = rules::check_update(input, known, vendor, &app.live.get(), scope, &broken);
    let mut change = screened.settle(checked)?;
    leave_no_doubt(app, scope, &mut change).await?;
    let prepared = intake::connector(app, vendor)?.prospect_update(&change);
    let of = (change.integration.id, change.community.id);
    intake::new_write(app, draft.operation, of, &change.input, prepared)
}

/// A prospect that the vendor has confirmed, as writes about it need it.
///
/// # Errors
/// 409 when the vendor does not have it any more or the person was forgotten, and as the store's.
pub(crate) async fn known(app: &App, scope: &Scope, id: &str) -> Result<Option<Known>, Error> {
    let Some(found) = app.store.record_find(scope, Kind::Prospect, id).await? else {
        return Ok(None);
    };
    if let Some(erased_at) = found.body["erased_at"].as_str() {
        return Err(Error::conflict(format!(
            "The person of this prospect was forgotten at {erased_at}; what is about them is taken no more. If they get in touch again, create them as a new prospect"
        )));
    }
    if let Some(vanished_at) = found.body["vanished_at"].as_str() {
        return Err(Error::conflict(format!(
            "The vendor no longer has the guest card of this prospect; that was seen at {vanished_at}. Create the prospect again, or have the integration synchronised if the card is back"
        )));
    }
    if found.body["is_deleted"] == true {
        return Err(Error::conflict(
            "The vendor has shown the guest card of this prospect as merged or deleted. Write to the prospect that it was merged into (GET /crm/v1/prospects?email_1=...), or have the integration synchronised if the card is back",
        ));
    }
    Ok(Known::of(&found))
}

/// Whether the caller may read prospects: only then is it told about others than the one that it
/// names.
fn may_read(scope: &Scope) -> bool {
    scope.may(Permission::of(Group::Prospects, Level::Read))
}

/// Why there is no prospect under `id`: most often since somebody sent the id of the write that is to make it.
async fn none(app: &App, scope: &Scope, id: &str) -> Result<Error, Error> {
    let Ok(job_id) = id.parse::<JobId>() else {
        return Ok(Error::not_found("prospect"));
    };
    let Some(write) = app.store.write_find(scope, job_id).await? else {
        return Ok(Error::not_found("prospect"));
    };
    if !may_read(scope) {
        return Ok(Error::conflict(format!(
            "{job_id} is the id of a write. Send this again with the created_record_id that write-status shows when the write has ended"
        )));
    }
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

/// The prospects of a community that have this contact.
pub(crate) async fn having(
    app: &App,
    scope: &Scope,
    community: &Community,
    (field, value): (&str, &str),
) -> Result<Vec<Record>, Error> {
    let equal = |name: &str, value: &str| {
        let filter = Kind::Prospect.filter(name)?;
        Some(Equal {
            filter: *filter,
            integration_id: None,
            value: filter.normal(value),
        })
    };
    let of_community = equal("community_id", &community.id.to_string());
    let query = Query {
        integrations: Some(vec![community.integration_id]),
        equal: equal(field, value)
            .into_iter()
            .chain(of_community)
            .collect(),
        ..Query::new(Kind::Prospect, HAVING_MAX)
    };
    Ok(app.store.records_list(scope, &query).await?.rows)
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

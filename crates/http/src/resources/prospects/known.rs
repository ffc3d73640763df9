//! Prospects that the vendor has confirmed, as writes about them need them.

use model::{
    JobId, Permission, Scope,
    directory::Community,
    permission::{Group, Level},
    record::{Kind, Record},
    resources::prospect::Known,
    write::WriteStatus,
};
use store::{Query, query::Equal};

use crate::{error::Error, state::App};

/// Prospects with one contact that are looked at: there is one, or something is wrong already.
const HAVING_MAX: u64 = 10;

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
pub(super) fn may_read(scope: &Scope) -> bool {
    scope.may(Permission::of(Group::Prospects, Level::Read))
}

/// Why there is no prospect under `id`: most often since somebody sent the id of the write that is to make it.
pub(super) async fn none(app: &App, scope: &Scope, id: &str) -> Result<Error, Error> {
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

//! Prospects that the vendor has confirmed, as writes about them need them.
//!
//! Guarantee: none but those of the caller's integrations.

use async_trait::async_trait;
use connectors::write_operation::{Records, Refused};
use model::{
    JobId, Permission, Scope, Vendor,
    directory::Community,
    permission::{Group, Level},
    record::{Kind, Record},
    resources::prospect::Known,
    write::WriteStatus,
};
use store::{Query, query::Equal};

use super::{Future, Subject};
use crate::{
    error::{Error, Reason},
    screening::Target,
    state::App,
};

/// Prospects with one contact that are looked at: there is one, or something is wrong already.
const HAVING_MAX: u64 = 10;

/// What is stored, as a caller may see it.
pub(super) struct StoredRecords<'a> {
    pub(super) app: &'a App,
    pub(super) scope: &'a Scope,
}

#[async_trait]
impl Records for StoredRecords<'_> {
    async fn prospect(&self, id: &str) -> Result<Option<Known>, Refused> {
        let found = known(self.app, self.scope, id).await;
        found.map_err(|why| Refused::Records(Box::new(why)))
    }

    async fn prospects_having(
        &self,
        community: &Community,
        contact: (&str, &str),
    ) -> Result<Vec<Record>, Refused> {
        let found = having(self.app, self.scope, community, contact).await;
        found.map_err(|why| Refused::Records(Box::new(why)))
    }
}

/// The prospect that a path names, and its vendor.
///
/// # Errors
/// 404 when there is none, 409 when it is of another vendor than the path, or the vendor does not
/// have it any more.
pub fn subject<'a>(
    app: &'a App,
    scope: &'a Scope,
    id: &'a str,
    target: Target,
) -> Future<'a, Result<Subject, Error>> {
    Box::pin(async move {
        let Some(known) = known(app, scope, id).await? else {
            return Err(none(app, scope, id).await?);
        };
        let vendor: Option<Vendor> = known
            .integration_id
            .parse()
            .ok()
            .and_then(|id| Some(app.live.get().integration(id)?.vendor));
        let vendor = vendor.ok_or_else(|| {
            Error::internal(format_args!(
                "the integration of the prospect {id} is not there"
            ))
        })?;
        match target {
            Target::Of(asked) if asked != vendor => Err(Error::conflict(
                Reason::OtherVendor,
                format!(
                    "This prospect is one of {vendor}. Use the path of its vendor, or the one that names none"
                ),
            )),
            Target::Of(_) | Target::Generic => Ok(Subject { known, vendor }),
        }
    })
}

/// A prospect that the vendor has confirmed, as writes about it need it.
///
/// # Errors
/// 409 when the vendor does not have it any more or the person was forgotten, and as the store's.
async fn known(app: &App, scope: &Scope, id: &str) -> Result<Option<Known>, Error> {
    let Some(found) = app.store.record_find(scope, Kind::Prospect, id).await? else {
        return Ok(None);
    };
    if let Some(erased_at) = found.body["erased_at"].as_str() {
        return Err(Error::conflict(
            Reason::PersonForgotten,
            format!(
                "The person of this prospect was forgotten at {erased_at}; what is about them is taken no more. If they get in touch again, create them as a new prospect"
            ),
        ));
    }
    if let Some(vanished_at) = found.body["vanished_at"].as_str() {
        return Err(Error::conflict(
            Reason::RecordGone,
            format!(
                "The vendor no longer has the guest card of this prospect; that was seen at {vanished_at}. Create the prospect again, or have the integration synchronised if the card is back"
            ),
        ));
    }
    if found.body["is_deleted"] == true {
        return Err(Error::conflict(
            Reason::RecordGone,
            "The vendor has shown the guest card of this prospect as merged or deleted. Write to the prospect that it was merged into (GET /crm/v1/prospects?email_1=...), or have the integration synchronised if the card is back",
        ));
    }
    if found.x_id.is_none() {
        return Err(Error::conflict(
            Reason::RecordWithoutVendorId,
            "The vendor has not told its id of this prospect yet, without which it cannot be named. It comes when the person is created there once more, or when the vendor tells it. Send this again once `x_id` is there",
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
        return Ok(Error::conflict_with(
            job_id,
            Reason::WriteId,
            format!(
                "{job_id} is the id of a write. Send this again with the created_record_id that write-status shows when the write has ended"
            ),
        ));
    }
    Ok(match (write.status, write.record_id) {
        (WriteStatus::Pending, _) => Error::conflict_with(
            job_id,
            Reason::WritePending,
            format!(
                "{job_id} is a write that has not ended: its prospect does not exist yet. Send this again with the created_record_id that write-status shows then"
            ),
        ),
        (_, Some(record_id)) => Error::conflict_with(
            job_id,
            Reason::WriteId,
            format!(
                "{job_id} is a write. The id of its prospect is {record_id}: send this again with that"
            ),
        ),
        (_, None) => Error::not_found("prospect"),
    })
}

/// The prospects of a community that have this contact.
async fn having(
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

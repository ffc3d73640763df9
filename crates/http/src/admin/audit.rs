//! The audit log: who changed what.

use axum::{extract::State, http::Uri, response::Response};
use model::{Scope, audit::Entry, hex};
use serde::Serialize;
use serde_json::Value;
use store::history::AuditQuery;
use utoipa::ToSchema;

use crate::{
    document::{answers::Page, problems::ListProblems},
    door::{
        caller::{AuditAdmin, Caller},
        query::Parameters,
    },
    error::Error,
    lists::answers::page_answer,
    state::App,
};

/// A page of them.
type AuditPage = Page<AuditEntry>;

/// What a query for the audit log may say.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "the type stands for its documentation")]
pub struct AuditParameters {
    /// Entries to skip
    #[param(minimum = 0)]
    offset: Option<i64>,
    /// Entries to answer
    #[param(minimum = 0, maximum = 250)]
    limit: Option<i64>,
    /// Of this integration
    #[param(required = false, value_type = String, min_length = 1, pattern = r"\S")]
    integration_id: Option<String>,
    /// Made at this time or later
    #[param(required = false, value_type = String, format = DateTime)]
    created_at_gte: Option<String>,
}

/// A change that was made.
#[derive(Serialize, ToSchema)]
pub struct AuditEntry {
    /// Its id.
    pub id: String,
    /// Its place in the log: 1, 2, ... without gaps; `null` for a key that is limited to some integrations.
    #[schema(minimum = 1)]
    pub place: Option<u64>,
    /// When.
    #[schema(format = DateTime)]
    pub created_at: String,
    /// By which API key; `null`: by the operator, on the command line.
    pub key_id: Option<String>,
    /// From which address; `null`: at the machine itself.
    pub address: Option<String>,
    /// The request that it came with.
    pub request_id: Option<String>,
    /// What was done, by the name of the operation.
    #[schema(example = "integration_update")]
    pub action: String,
    /// The integration that it concerns, when it is one.
    pub integration_id: Option<String>,
    /// The id of what was changed.
    pub subject_id: String,
    /// How that was before, without secrets.
    #[schema(value_type = Option<Object>)]
    pub before: Value,
    /// How that is since, without secrets.
    #[schema(value_type = Option<Object>)]
    pub after: Value,
    /// The hash over the entry and the hash before it. Note the newest elsewhere, and `portico audit verify --head` tells whether anything was cut off since.
    pub hash: String,
}

impl AuditEntry {
    fn of((entry, hash): &(Entry, Vec<u8>), scope: &Scope) -> Self {
        Self {
            id: format!("aud_{}", &hex::encode(hash)[..26]),
            place: scope.integrations().is_none().then_some(entry.seq),
            created_at: entry.at.to_string(),
            key_id: entry.key_id.map(|id| id.to_string()),
            address: entry.address.map(|address| address.to_string()),
            request_id: entry.request_id.clone(),
            action: entry.action.clone(),
            integration_id: entry.integration_id.map(|id| id.to_string()),
            subject_id: entry.subject.clone(),
            before: entry.before.clone(),
            after: entry.after.clone(),
            hash: hex::encode(hash),
        }
    }
}

/// List the audit log
///
/// Newest first. A key that is limited to some integrations sees what concerns those.
#[utoipa::path(
    get,
    path = "/v1/admin/audit-log",
    operation_id = "audit_list",
    tag = "Administration",
    params(AuditParameters),
    responses((status = 200, description = "A page of the log", body = AuditPage), ListProblems),
    security(("bearer" = ["audit:admin"]))
)]
pub async fn audit_list(
    State(app): State<App>,
    caller: Caller<AuditAdmin>,
    uri: Uri,
) -> Result<Response, Error> {
    let mut given = Parameters::of(&uri);
    let (offset, limit) = given.page();
    let query = AuditQuery {
        offset,
        limit,
        integration_id: given.integration_id(),
        since: given.instant("created_at_gte"),
    };
    given.finish()?;
    let page = app.store.audit_list(&caller.scope, &query).await?;
    let results = page
        .rows
        .iter()
        .map(|row| AuditEntry::of(row, &caller.scope))
        .collect();
    Ok(page_answer(
        (offset, limit),
        "desc",
        page.has_more,
        (page.total, page.total_is_exact),
        results,
    ))
}

//! What was said about automated messages to a prospect.

use axum::{
    extract::{Path, State},
    http::Uri,
    response::Response,
};
use model::write::WriteStatus;
use serde::Serialize;
use store::privacy::ConsentQuery;
use utoipa::ToSchema;

use crate::{
    document::{answers::Page, parameters::PageParameters, problems::InnerListProblems},
    door::{
        caller::{Caller, ProspectsAdmin},
        query::Parameters,
    },
    error::Error,
    lists::answers::page_answer,
    state::App,
};

/// A page of them.
type ConsentEventPage = Page<ConsentEvent>;

/// What comes behind the kind in an id. A write has one event, so that its own id tells the event's.
fn digits_of(id: &str) -> &str {
    id.split_once('_').map_or(id, |(_, digits)| digits)
}

/// What a write said about automated messages to its prospect. Never changed, never removed: it holds ids only.
#[derive(Serialize, ToSchema)]
pub struct ConsentEvent {
    /// Its id.
    pub id: String,
    /// When the write was accepted.
    #[schema(format = DateTime)]
    pub created_at: String,
    /// What it said: whether automated messages may go to the prospect.
    pub subscribe: bool,
    /// Whether the caller said so. When false, the caller said nothing and the default stands.
    pub is_stated: bool,
    /// The id of the request that brought the write.
    pub request_id: String,
    /// The API key that it came with; null for the operator at the machine.
    pub key_id: Option<String>,
    /// The write.
    pub job_id: String,
    /// The write that first said it, when this one is a retry.
    pub repeats_job_id: Option<String>,
    /// How the write stands.
    pub write_status: WriteStatus,
    /// The integration that the write went to.
    pub integration_id: String,
    /// The community that it concerned.
    pub community_id: String,
}

/// List a prospect's consent events
///
/// What each write that made or met this prospect said in `subscribe`, newest first. A retry says what the failed write said, and names it. They are kept
/// for ever, also when the writes' contents are not and when the person is forgotten.
#[utoipa::path(
    get,
    path = "/v1/admin/prospects/{id}/consents",
    operation_id = "prospect_consents_list",
    tag = "Privacy",
    params(("id" = String, Path, description = "The prospect's id"), PageParameters),
    responses(
        (status = 200, description = "A page of consent events", body = ConsentEventPage),
        InnerListProblems
    ),
    security(("bearer" = ["prospects:admin"]))
)]
pub async fn prospect_consents_list(
    State(app): State<App>,
    caller: Caller<ProspectsAdmin>,
    Path(id): Path<String>,
    uri: Uri,
) -> Result<Response, Error> {
    let mut given = Parameters::of(&uri);
    let (offset, limit) = given.page();
    let query = ConsentQuery {
        prospect_id: id,
        offset,
        limit,
    };
    given.finish()?;
    let page = app
        .store
        .consents_list(&caller.scope, &query)
        .await?
        .ok_or_else(|| Error::not_found("prospect"))?;
    let results = page.rows.into_iter().map(|event| ConsentEvent {
        id: format!("con_{}", digits_of(&event.job_id.to_string())),
        created_at: event.at.to_string(),
        subscribe: event.consent.value,
        is_stated: event.consent.is_stated,
        request_id: event.request_id,
        key_id: event.key_id.map(|id| id.to_string()),
        job_id: event.job_id.to_string(),
        repeats_job_id: event.repeats_job_id.map(|id| id.to_string()),
        write_status: event.write_status,
        integration_id: event.integration_id.to_string(),
        community_id: event.community_id.to_string(),
    });
    Ok(page_answer(
        (offset, limit),
        "desc",
        page.has_more,
        (page.total, page.total_is_exact),
        results.collect(),
    ))
}

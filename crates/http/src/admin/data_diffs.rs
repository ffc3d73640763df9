//! What changed in records.
//!
//! Source: the public contract, section 5.

use axum::{extract::State, http::Uri, response::Response};
use model::{Timestamp, hex, record::Kind, webhook::RecordDiff};
use serde::Serialize;
use sha2::{Digest, Sha256};
use store::history::DiffQuery;
use utoipa::ToSchema;

use crate::{
    document::{answers::Page, problems::ListProblems},
    door::{
        caller::{Caller, IntegrationsAdmin},
        query::Parameters,
    },
    error::Error,
    lists::answers::page_answer,
    state::App,
};

/// A page of them.
type DataDiffPage = Page<DataDiff>;

/// What a query for diffs may say.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "the type stands for its documentation")]
pub struct DiffParameters {
    /// Diffs to skip
    #[param(minimum = 0)]
    offset: Option<i64>,
    /// Diffs to answer
    #[param(minimum = 0, maximum = 250)]
    limit: Option<i64>,
    /// Of records of this integration
    #[param(required = false, value_type = String, min_length = 1, pattern = r"\S")]
    integration_id: Option<String>,
    /// Of this record
    #[param(required = false, value_type = String, min_length = 1, pattern = r"\S")]
    record_id: Option<String>,
    /// Of records of this model, such as `crm_prospects`
    #[param(required = false, value_type = String)]
    model: Option<String>,
    /// Changed at this time or later
    #[param(required = false, value_type = String, format = DateTime)]
    created_at_gte: Option<String>,
}

/// What changed in a record at one time.
#[derive(Serialize, ToSchema)]
pub struct DataDiff {
    /// Its id.
    pub id: String,
    /// When it changed.
    #[schema(format = DateTime)]
    pub created_at: String,
    /// The integration of the record.
    pub integration_id: String,
    /// The vendor behind that integration.
    pub integration_vendor: String,
    /// The model of the record.
    #[schema(example = "crm_prospects")]
    pub model: String,
    /// The record.
    pub record_id: String,
    /// The write or the synchronisation that brought it.
    pub job_id: String,
    /// The members that changed.
    pub diff: RecordDiff,
}

/// An id that counts nothing: a record changes once at a time.
fn id_of(record_id: &str, at: Timestamp) -> String {
    let digest = Sha256::digest(format!("{record_id} {}", at.as_micros()));
    format!("dif_{}", hex::encode(&digest[..13]))
}

/// List data diffs
///
/// What changed in each record, newest first; kept for 30 days.
#[utoipa::path(
    get,
    path = "/v1/admin/data-diffs",
    operation_id = "data_diffs_list",
    tag = "Administration",
    params(DiffParameters),
    responses((status = 200, description = "A page of diffs", body = DataDiffPage), ListProblems),
    security(("bearer" = ["integrations:admin"]))
)]
pub async fn data_diffs_list(
    State(app): State<App>,
    caller: Caller<IntegrationsAdmin>,
    uri: Uri,
) -> Result<Response, Error> {
    let mut given = Parameters::of(&uri);
    let models: Vec<(&str, Kind)> = Kind::ALL.iter().map(|kind| (kind.model(), *kind)).collect();
    let (offset, limit) = given.page();
    let query = DiffQuery {
        offset,
        limit,
        integration_id: given.integration_id(),
        record_id: given.text("record_id"),
        kind: given.word("model", &models),
        since: given.instant("created_at_gte"),
    };
    given.finish()?;
    let page = app.store.diffs_list(&caller.scope, &query).await?;
    let results = page.rows.into_iter().map(|diff| DataDiff {
        id: id_of(&diff.record_id, diff.at),
        created_at: diff.at.to_string(),
        integration_id: diff.integration_id,
        integration_vendor: diff.integration_vendor,
        model: diff.kind.model().to_owned(),
        record_id: diff.record_id,
        job_id: diff.job_id,
        diff: serde_json::from_value(diff.diff).unwrap_or_default(),
    });
    Ok(page_answer(
        (offset, limit),
        "desc",
        page.has_more,
        (page.total, page.total_is_exact),
        results.collect(),
    ))
}

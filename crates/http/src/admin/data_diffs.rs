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
    lists::{
        answers::{direction, page_answer},
        vendor,
    },
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
    /// The contract's name for `record_id`
    #[param(required = false, value_type = String, min_length = 1, pattern = r"\S")]
    model_record_id: Option<String>,
    /// Of this vendor's integrations
    #[param(required = false, value_type = String)]
    integration_vendor: Option<String>,
    /// Changed at this time or later
    #[param(required = false, value_type = String, format = DateTime)]
    created_at_gte: Option<String>,
    /// The contract's name for `created_at_gte`
    #[param(required = false, value_type = String, format = DateTime)]
    after: Option<String>,
    /// Changed at this time or before
    #[param(required = false, value_type = String, format = DateTime)]
    before: Option<String>,
    /// `created_at:asc` (or `created_at`) or `created_at:desc`, which is meant when absent
    #[param(rename = "order-by", required = false, value_type = String, pattern = "^created_at(:asc|:desc)?$")]
    order_by: Option<String>,
}

/// What changed in a record at one time.
// In the document, a schema is not called as one of its members: clients in Python would confuse them.
#[derive(Serialize, ToSchema)]
#[schema(as = RecordChange)]
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
    /// The same.
    pub model_record_id: String,
    /// `UPDATE`: the record changed.
    #[schema(value_type = String)]
    pub event_type: &'static str,
    /// The write or the synchronisation that brought it.
    pub job_id: String,
    /// The members that changed.
    pub diff: RecordDiff,
    /// The same.
    pub data_diff: RecordDiff,
}

/// An id that counts nothing: a record changes once at a time.
fn id_of(record_id: &str, at: Timestamp) -> String {
    let digest = Sha256::digest(format!("{record_id} {}", at.as_micros()));
    format!("dif_{}", hex::encode(&digest[..13]))
}

/// List data diffs
///
/// What changed in each record, newest first unless the query says otherwise; kept for 30 days.
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
    let (record_id, model_record_id) = (given.text("record_id"), given.text("model_record_id"));
    let (since, after) = (given.instant("created_at_gte"), given.instant("after"));
    let vendor = vendor(&mut given, &app);
    let is_descending = given.created_order();
    let query = DiffQuery {
        offset,
        limit,
        integration_id: given.integration_id(),
        record_id: record_id.or(model_record_id),
        kind: given.word("model", &models),
        vendor: vendor.map(|vendor| vendor.to_string()),
        since: since.or(after),
        until: given.instant("before"),
        is_ascending: !is_descending,
    };
    given.finish()?;
    let page = app.store.diffs_list(&caller.scope, &query).await?;
    let results = page.rows.into_iter().map(|diff| {
        let changed: RecordDiff = serde_json::from_value(diff.diff).unwrap_or_default();
        DataDiff {
            id: id_of(&diff.record_id, diff.at),
            created_at: diff.at.to_string(),
            integration_id: diff.integration_id,
            integration_vendor: diff.integration_vendor,
            model: diff.kind.model().to_owned(),
            model_record_id: diff.record_id.clone(),
            record_id: diff.record_id,
            event_type: "UPDATE",
            job_id: diff.job_id,
            data_diff: changed.clone(),
            diff: changed,
        }
    });
    Ok(page_answer(
        (offset, limit),
        direction(is_descending),
        page.has_more,
        (page.total, page.total_is_exact),
        results.collect(),
    ))
}

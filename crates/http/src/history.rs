//! Looking back, and what is in force: logs of writes and of synchronisation, what changed in records, the vocabulary; and asking for a synchronisation.

use axum::{
    Json,
    extract::{Path, State},
    http::Uri,
    response::{IntoResponse, Response},
};
use model::{IntegrationId, Timestamp, directory::Vendor, record::Kind, write::WriteStatus};
use serde::Serialize;
use serde_json::{Value, json};
use store::history::{DiffQuery, LogQuery};
use utoipa::ToSchema;

use crate::{
    App,
    caller::{Admin, Caller, Read},
    error::Error,
    openapi::{
        DiffParameters, ErrorBody, GetProblems, ListMeta, ListProblems, LogParameters, Order,
        PageAnswer,
    },
    parameters::Parameters,
};

/// Lines of a log unless the caller says otherwise, and at most. Source: the public contract, section 2.
const LOG_LIMIT_DEFAULT: u64 = 100;
const LOG_LIMIT_MAX: u64 = 100;

/// Diffs of a page unless the caller says otherwise, and at most.
const DIFF_LIMIT_DEFAULT: u64 = 100;
const DIFF_LIMIT_MAX: u64 = 250;

const HOUR_MS: i64 = 3_600_000;

/// How far back a log goes, by its name, in milliseconds.
const TIME_RANGES: [(&str, i64); 4] = [
    ("hour", HOUR_MS),
    ("day", 24 * HOUR_MS),
    ("week", 7 * 24 * HOUR_MS),
    ("month", 30 * 24 * HOUR_MS),
];

/// A log.
#[derive(Serialize, ToSchema)]
pub struct LogAnswer {
    /// Its lines.
    pub results: Logs,
}

/// Lines of a log.
#[derive(Serialize, ToSchema)]
pub struct Logs {
    /// Newest first.
    pub logs: Vec<LogLine>,
}

/// A write, or a run of synchronisation.
#[derive(Serialize, ToSchema)]
pub struct LogLine {
    /// The line's id.
    pub id: String,
    /// When it began.
    #[schema(format = DateTime)]
    pub created_at: String,
    /// When it ended.
    #[schema(format = DateTime)]
    pub completed_at: Option<String>,
    /// The job.
    pub job_id: String,
    /// The line's id.
    pub job_log_id: String,
    /// Where it stands.
    pub status: WriteStatus,
    /// The integration.
    pub integration_id: String,
    /// `WRITE` or `SYNC`.
    pub job_type: String,
    /// A write's body as accepted; what a synchronisation did.
    #[schema(value_type = Option<Object>)]
    pub parameters: Option<Value>,
    /// Why it did not end well.
    pub error: Option<String>,
    /// What it was, such as `prospect_create`.
    pub name: String,
    /// The vendor.
    #[schema(example = "KNOCK")]
    pub vendor: String,
}

fn log_query(uri: &Uri, now: Timestamp) -> Result<LogQuery, Error> {
    let mut given = Parameters::of(uri);
    let offset = given.number("offset", i64::MAX as u64).unwrap_or(0);
    let limit = given.number("limit", LOG_LIMIT_MAX);
    if limit == Some(0) {
        given.refuse(
            "limit",
            format!("limit is a whole number from 1 to {LOG_LIMIT_MAX}"),
        );
    }
    let range = given.word("time_range", &TIME_RANGES);
    let integration = given.text("integration_id");
    let statuses: Vec<(&str, WriteStatus)> = WriteStatus::ALL
        .iter()
        .map(|status| (status.word(), *status))
        .collect();
    let status = given.word("status", &statuses);
    given.finish()?;
    Ok(LogQuery {
        integration_id: integration.as_deref().map(of_integration),
        status,
        since: range.map(|ms| now.plus_millis(-ms)),
        offset,
        limit: limit.unwrap_or(LOG_LIMIT_DEFAULT),
    })
}

/// An integration's id; one that nothing has when the text is none.
fn of_integration(text: &str) -> IntegrationId {
    text.parse().unwrap_or(IntegrationId::NOBODY)
}

fn joined(errors: &[String]) -> Option<String> {
    (!errors.is_empty()).then(|| errors.join("; "))
}

/// List writes
///
/// Every accepted write, newest first.
#[utoipa::path(
    get,
    path = "/v1/admin/logs/writes",
    operation_id = "writes_list",
    tag = "Administration",
    params(LogParameters),
    responses((status = 200, description = "The log", body = LogAnswer), ListProblems),
    security(("bearer" = []))
)]
pub async fn writes_list(
    State(app): State<App>,
    caller: Caller<Admin>,
    uri: Uri,
) -> Result<Response, Error> {
    let query = log_query(&uri, app.clock.now())?;
    let writes = app.store.writes_list(&caller.scope, &query).await?;
    let logs = writes.into_iter().map(|write| LogLine {
        id: write.job_id.to_string(),
        created_at: write.accepted_at.to_string(),
        completed_at: write.completed_at.map(|at| at.to_string()),
        job_id: write.job_id.to_string(),
        job_log_id: write.job_id.to_string(),
        status: write.status,
        integration_id: write.integration_id.to_string(),
        job_type: "WRITE".to_owned(),
        parameters: serde_json::from_str(&write.result).ok(),
        error: joined(&write.errors),
        name: write.operation.word().to_owned(),
        vendor: write.integration_vendor,
    });
    let results = Logs {
        logs: logs.collect(),
    };
    Ok(Json(LogAnswer { results }).into_response())
}

/// List synchronisations
///
/// Every run, newest first; kept for 30 days.
#[utoipa::path(
    get,
    path = "/v1/admin/logs/jobs",
    operation_id = "jobs_list",
    tag = "Administration",
    params(LogParameters),
    responses((status = 200, description = "The log", body = LogAnswer), ListProblems),
    security(("bearer" = []))
)]
pub async fn jobs_list(
    State(app): State<App>,
    caller: Caller<Admin>,
    uri: Uri,
) -> Result<Response, Error> {
    let query = log_query(&uri, app.clock.now())?;
    let jobs = app.store.jobs_list(&caller.scope, &query).await?;
    let logs = jobs.into_iter().map(|job| {
        let tally = &job.tally;
        LogLine {
            id: job.job_id.to_string(),
            created_at: job.started_at.to_string(),
            completed_at: job.ended_at.map(|at| at.to_string()),
            job_id: job.job_id.to_string(),
            job_log_id: job.job_id.to_string(),
            status: job.status,
            integration_id: job.integration_id.to_string(),
            job_type: "SYNC".to_owned(),
            parameters: Some(json!({
                "calls": tally.calls,
                "seen": tally.seen,
                "created": tally.created,
                "changed": tally.changed,
                "missing": tally.missing,
            })),
            error: joined(&tally.errors),
            name: "integration_sync".to_owned(),
            vendor: job.integration_vendor,
        }
    });
    let results = Logs {
        logs: logs.collect(),
    };
    Ok(Json(LogAnswer { results }).into_response())
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
    #[schema(example = "KNOCK")]
    pub integration_vendor: String,
    /// The model of the record.
    #[schema(example = "crm_prospects")]
    pub model: String,
    /// The record.
    pub record_id: String,
    /// The write or the synchronisation that brought it.
    pub job_id: String,
    /// The members that changed.
    pub diff: Diff,
}

/// Members that changed.
#[derive(Serialize, ToSchema)]
pub struct Diff {
    /// With their new values.
    #[schema(value_type = Object)]
    pub new: Value,
    /// With the values that they had.
    #[schema(value_type = Object)]
    pub previous: Value,
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
    responses((status = 200, description = "A page of diffs", body = PageAnswer<DataDiff>), ListProblems),
    security(("bearer" = []))
)]
pub async fn data_diffs_list(
    State(app): State<App>,
    caller: Caller<Admin>,
    uri: Uri,
) -> Result<Response, Error> {
    let mut given = Parameters::of(&uri);
    let models: Vec<(&str, Kind)> = Kind::ALL.iter().map(|kind| (kind.model(), *kind)).collect();
    let query = DiffQuery {
        offset: given.number("offset", i64::MAX as u64).unwrap_or(0),
        limit: given
            .number("limit", DIFF_LIMIT_MAX)
            .unwrap_or(DIFF_LIMIT_DEFAULT),
        integration_id: given.text("integration_id").as_deref().map(of_integration),
        record_id: given.text("record_id"),
        kind: given.word("model", &models),
        since: given.instant("created_at_gte"),
    };
    given.finish()?;
    let page = app.store.diffs_list(&caller.scope, &query).await?;
    let results = page.rows.into_iter().map(|mut diff| DataDiff {
        id: format!("dif_{}", diff.seq),
        created_at: diff.at.to_string(),
        integration_id: diff.integration_id,
        integration_vendor: diff.integration_vendor,
        model: diff.kind.model().to_owned(),
        record_id: diff.record_id,
        job_id: diff.job_id,
        diff: Diff {
            new: diff.diff["new"].take(),
            previous: diff.diff["previous"].take(),
        },
    });
    let answer = PageAnswer {
        results: results.collect(),
        meta: ListMeta {
            offset: query.offset,
            limit: query.limit,
            order_by: vec![Order {
                field: "created_at".to_owned(),
                direction: "desc".to_owned(),
            }],
            has_more: page.has_more,
            total: page.total,
            next_cursor: None,
        },
    };
    Ok(Json(answer).into_response())
}

/// The vocabulary of a field.
#[derive(Serialize, ToSchema)]
pub struct NormalizationAnswer {
    /// Our values, with what each vendor calls them.
    pub results: Vec<Normalization>,
}

/// One value.
#[derive(Serialize, ToSchema)]
pub struct Normalization {
    /// The vendor.
    #[schema(example = "KNOCK")]
    pub integration_vendor: String,
    /// The value that bodies take.
    #[schema(example = "CAT")]
    pub value: String,
    /// What the vendor is sent for it.
    #[schema(example = "CAT")]
    pub vendor_value: String,
}

/// The fields of a model that have a vocabulary.
const fn fields(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Prospect => &["pets", "first_contact_type"],
        Kind::Event => &["call_status"],
        Kind::Appointment => &["pets", "first_contact_type", "tour_type"],
        Kind::Community | Kind::Attribution | Kind::Agent | Kind::Listing => &[],
    }
}

/// Get a field's vocabulary
///
/// The values of a field, as in force, and the vendor's words for them.
#[utoipa::path(
    get,
    path = "/v1/admin/normalization/{model}/{field}",
    operation_id = "normalization_get",
    tag = "Administration",
    params(
        ("model" = String, Path, description = "Such as `crm_prospects`"),
        ("field" = String, Path, description = "Such as `pets`"),
    ),
    responses((status = 200, description = "The vocabulary", body = NormalizationAnswer), GetProblems),
    security(("bearer" = []))
)]
pub async fn normalization_get(
    State(app): State<App>,
    _caller: Caller<Read>,
    Path((model, field)): Path<(String, String)>,
) -> Result<Response, Error> {
    let with_fields = || {
        Kind::ALL
            .into_iter()
            .filter(|kind| !fields(*kind).is_empty())
    };
    let Some(kind) = with_fields().find(|kind| kind.model() == model) else {
        let models: Vec<&str> = with_fields().map(Kind::model).collect();
        return Err(Error::not_found_among("model with a vocabulary", &models));
    };
    if !fields(kind).contains(&field.as_str()) {
        return Err(Error::not_found_among(
            "field with a vocabulary in this model",
            fields(kind),
        ));
    }
    let mut results = Vec::new();
    for vendor in Vendor::ALL {
        let Some(connector) = app.registry.get(vendor) else {
            continue;
        };
        let vocabulary = connector.vocabulary();
        results.extend(vocabulary.values(&field).map(|value| {
            Normalization {
                integration_vendor: vendor.name().to_owned(),
                value: value.to_owned(),
                vendor_value: vocabulary
                    .literal(&field, value)
                    .unwrap_or_default()
                    .to_owned(),
            }
        }));
    }
    Ok(Json(NormalizationAnswer { results }).into_response())
}

/// The answer to a request for a synchronisation.
#[derive(Serialize, ToSchema)]
pub struct SyncAnswer {
    /// What became of it.
    pub result: SyncResult,
}

/// What became of a request for a synchronisation.
#[derive(Serialize, ToSchema)]
pub struct SyncResult {
    /// Always true.
    pub success: bool,
}

/// Synchronise an integration now
///
/// Reads its lead sources, and its prospects as far as one run goes, as soon as writes leave room. GET /v1/admin/logs/jobs shows what became of it.
#[utoipa::path(
    post,
    path = "/v1/admin/integrations/{id}/manual-sync",
    operation_id = "integration_sync",
    tag = "Administration",
    params(("id" = String, Path, description = "The integration's id")),
    responses(
        (status = 200, description = "It is due now", body = SyncAnswer),
        (status = 409, description = "The integration is not active", body = ErrorBody),
        GetProblems
    ),
    security(("bearer" = []))
)]
pub async fn integration_sync(
    State(app): State<App>,
    caller: Caller<Admin>,
    Path(id): Path<String>,
) -> Result<Response, Error> {
    let none = || Error::not_found("integration");
    let directory = app.live.get();
    let integration = directory
        .find_integration(&caller.scope, &id)
        .ok_or_else(none)?;
    if !integration.active {
        return Err(Error::conflict(
            "This integration is not active. Activate it before synchronising it",
        ));
    }
    let now = app.clock.now();
    if !app
        .store
        .sync_request(&caller.scope, integration.id, now)
        .await?
    {
        return Err(none());
    }
    let result = SyncResult { success: true };
    Ok(Json(SyncAnswer { result }).into_response())
}

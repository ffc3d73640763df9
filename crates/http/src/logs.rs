//! Logs: of writes, and of runs of synchronisation.
//!
//! Source: the public contract, sections 2 and 5.

use axum::{
    Json,
    extract::State,
    http::Uri,
    response::{IntoResponse, Response},
};
use model::{IntegrationId, Timestamp, write::WriteStatus};
use serde::Serialize;
use serde_json::{Value, json};
use store::history::LogQuery;
use utoipa::ToSchema;

use crate::{
    App,
    caller::{Caller, IntegrationsAdmin, WritesAdmin},
    error::Error,
    openapi::{ListProblems, LogParameters},
    parameters::Parameters,
};

/// Lines of a log unless the caller says otherwise, and at most.
const LOG_LIMIT_DEFAULT: u64 = 100;
const LOG_LIMIT_MAX: u64 = 100;

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
    let offset = given.number("offset", 0..=i64::MAX as u64).unwrap_or(0);
    let limit = given.number("limit", 1..=LOG_LIMIT_MAX);
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
pub(crate) fn of_integration(text: &str) -> IntegrationId {
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
    security(("bearer" = ["writes:admin"]))
)]
pub async fn writes_list(
    State(app): State<App>,
    caller: Caller<WritesAdmin>,
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
    security(("bearer" = ["integrations:admin"]))
)]
pub async fn jobs_list(
    State(app): State<App>,
    caller: Caller<IntegrationsAdmin>,
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

//! The runs of synchronisation in the log.

use axum::{
    Json,
    extract::State,
    http::Uri,
    response::{IntoResponse, Response},
};
use serde_json::json;

use super::{LogAnswer, LogLine, LogParameters, Logs, joined, log_query};
use crate::{
    document::problems::ListProblems,
    door::caller::{Caller, IntegrationsAdmin},
    error::Error,
    state::App,
};

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

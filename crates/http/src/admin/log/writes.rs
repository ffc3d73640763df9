//! The writes in the log.

use axum::{
    Json,
    extract::State,
    http::Uri,
    response::{IntoResponse, Response},
};

use super::{LogAnswer, LogLine, LogParameters, Logs, joined, log_query};
use crate::{
    document::problems::ListProblems,
    door::caller::{Caller, WritesAdmin},
    error::Error,
    state::App,
};

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

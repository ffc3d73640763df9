//! The log of jobs: writes, and runs of synchronisation.
//!
//! Source: the public contract, sections 2 and 5.

pub mod jobs;
pub mod writes;

use axum::http::Uri;
use model::{Timestamp, write::WriteStatus};
use serde::Serialize;
use serde_json::Value;
use store::history::LogQuery;
use utoipa::ToSchema;

use crate::{door::query::Parameters, error::Error};

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
#[schema(as = LogEntries)]
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
    pub vendor: String,
}

/// What a log's query may say.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "the type stands for its documentation")]
pub struct LogParameters {
    /// Lines to skip
    #[param(minimum = 0)]
    offset: Option<i64>,
    /// Lines to answer
    #[param(minimum = 1, maximum = 100)]
    limit: Option<i64>,
    /// How far back: `hour`, `day`, `week` or `month`; all that is kept when absent
    #[param(required = false, value_type = String, pattern = "^(hour|day|week|month)$")]
    time_range: Option<String>,
    /// Of this integration
    #[param(required = false, value_type = String, min_length = 1, pattern = r"\S")]
    integration_id: Option<String>,
    /// With this status
    status: Option<WriteStatus>,
}

fn log_query(uri: &Uri, now: Timestamp) -> Result<LogQuery, Error> {
    let mut given = Parameters::of(uri);
    let offset = given.number("offset", 0..=i64::MAX as u64).unwrap_or(0);
    let limit = given.number("limit", 1..=LOG_LIMIT_MAX);
    let range = given.word("time_range", &TIME_RANGES);
    let integration = given.integration_id();
    let statuses: Vec<(&str, WriteStatus)> = WriteStatus::ALL
        .iter()
        .map(|status| (status.word(), *status))
        .collect();
    let status = given.word("status", &statuses);
    given.finish()?;
    Ok(LogQuery {
        integration_id: integration,
        status,
        since: range.map(|ms| now.plus_millis(-ms)),
        offset,
        limit: limit.unwrap_or(LOG_LIMIT_DEFAULT),
    })
}

fn joined(errors: &[String]) -> Option<String> {
    (!errors.is_empty()).then(|| errors.join("; "))
}

//! Writes after they were accepted: where one stands, its attempts, its retry.

pub mod attempts;
pub mod retry;
pub mod status;

use model::JobId;

use crate::error::Error;

fn none() -> Error {
    Error::not_found("write")
}

fn job_id(text: &str) -> Result<JobId, Error> {
    text.parse().map_err(|_| none())
}

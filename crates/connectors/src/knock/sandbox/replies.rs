//! Knock's way to say what is wrong.

use http::StatusCode;

use super::KnockImitation;
use super::assumptions::UNKNOWN_STATUS;
use crate::sandbox::{Imitation, reply::Reply};

/// Says what is wrong.
pub(super) fn error_message(status: StatusCode, text: &str) -> Reply {
    KnockImitation::FORM.error(status, text)
}

/// Says that a path names something that does not exist.
pub(super) fn unknown(what: &str) -> Reply {
    error_message(UNKNOWN_STATUS, &format!("{what} not found"))
}

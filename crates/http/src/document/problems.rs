//! The refusals that many operations share.

use utoipa::IntoResponses;

use crate::document::answers::ErrorBody;

/// How a write may be refused.
#[derive(IntoResponses)]
pub enum WriteProblems {
    /// Not valid: every problem is listed
    #[response(status = 400)]
    Invalid(ErrorBody),
    /// No valid API key
    #[response(status = 401)]
    Unauthorized(ErrorBody),
    /// The key may not write
    #[response(status = 403)]
    Forbidden(ErrorBody),
    /// The record in the path does not exist
    #[response(status = 404)]
    NotFound(ErrorBody),
    /// The vendor cannot do this
    #[response(status = 405)]
    NotAllowed(ErrorBody),
    /// The body did not arrive within 10 s, or came slower than 16 KiB in 4 s
    #[response(status = 408)]
    Late(ErrorBody),
    /// An earlier write about the same person has to end first
    #[response(status = 409)]
    Conflict(ErrorBody),
    /// `erased`: the Idempotency-Key was used for a write whose contents were removed since,
    /// because the person was forgotten; nothing was stored
    #[response(status = 410)]
    Erased(ErrorBody),
    /// The body is larger than 256 KiB
    #[response(status = 413)]
    TooLarge(ErrorBody),
    /// The body is not announced as JSON
    #[response(status = 415)]
    NotJson(ErrorBody),
    /// The Idempotency-Key was used with another request
    #[response(status = 422)]
    Mismatch(ErrorBody),
    /// A fault of Portico
    #[response(status = 500)]
    Internal(ErrorBody),
    /// Too busy, or stopping; nothing was stored
    #[response(status = 503)]
    Unavailable(ErrorBody),
}

/// How a question to the vendor may end without an answer.
#[derive(IntoResponses)]
pub enum QuestionProblems {
    /// Not valid: every problem is listed
    #[response(status = 400)]
    Invalid(ErrorBody),
    /// No valid API key
    #[response(status = 401)]
    Unauthorized(ErrorBody),
    /// The key may not read
    #[response(status = 403)]
    Forbidden(ErrorBody),
    /// The body did not arrive within 10 s, or came slower than 16 KiB in 4 s
    #[response(status = 408)]
    Late(ErrorBody),
    /// The body is larger than 256 KiB
    #[response(status = 413)]
    TooLarge(ErrorBody),
    /// The body is not announced as JSON
    #[response(status = 415)]
    NotJson(ErrorBody),
    /// A fault of Portico
    #[response(status = 500)]
    Internal(ErrorBody),
    /// The vendor is slow or failing: ask again after `Retry-After`
    #[response(status = 503)]
    Unavailable(ErrorBody),
}

/// How an administrator's change may be refused.
#[derive(IntoResponses)]
pub enum ChangeProblems {
    /// Not valid: every problem is listed
    #[response(status = 400)]
    Invalid(ErrorBody),
    /// No valid API key
    #[response(status = 401)]
    Unauthorized(ErrorBody),
    /// The key may not administer this
    #[response(status = 403)]
    Forbidden(ErrorBody),
    /// There is none
    #[response(status = 404)]
    NotFound(ErrorBody),
    /// The body did not arrive within 10 s, or came slower than 16 KiB in 4 s
    #[response(status = 408)]
    Late(ErrorBody),
    /// It does not fit how things stand
    #[response(status = 409)]
    Conflict(ErrorBody),
    /// The body is too large
    #[response(status = 413)]
    TooLarge(ErrorBody),
    /// The body is not announced as JSON
    #[response(status = 415)]
    NotJson(ErrorBody),
    /// A fault of Portico
    #[response(status = 500)]
    Internal(ErrorBody),
    /// Too busy, or stopping; nothing was stored
    #[response(status = 503)]
    Unavailable(ErrorBody),
}

/// How reading a record may fail.
#[derive(IntoResponses)]
pub enum GetProblems {
    /// No valid API key
    #[response(status = 401)]
    Unauthorized(ErrorBody),
    /// The key may not read
    #[response(status = 403)]
    Forbidden(ErrorBody),
    /// There is none
    #[response(status = 404)]
    NotFound(ErrorBody),
    /// The database is in trouble, or reading took longer than it may; `Retry-After` says when to try again
    #[response(status = 503)]
    Unavailable(ErrorBody),
}

/// How reading a list may fail.
#[derive(IntoResponses)]
pub enum ListProblems {
    /// A wrong parameter: every one is listed
    #[response(status = 400)]
    Invalid(ErrorBody),
    /// No valid API key
    #[response(status = 401)]
    Unauthorized(ErrorBody),
    /// The key may not read
    #[response(status = 403)]
    Forbidden(ErrorBody),
    /// The database is in trouble, or the read took longer than 5 s: ask for less at once, or go on by `cursor`. `Retry-After` says when to try again
    #[response(status = 503)]
    Unavailable(ErrorBody),
}

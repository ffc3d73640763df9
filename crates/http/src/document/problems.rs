//! The refusals that operations share: a component of the document for each status.
//!
//! Guarantee: an operation names statuses only, so that the same status is described alike wherever
//! it is answered.

use std::collections::BTreeMap;

use utoipa::{
    IntoResponses, ToSchema as _,
    openapi::{ContentBuilder, Ref, RefOr, Response, ResponseBuilder},
};

use crate::error::body::ErrorBody;

/// A status that refuses: its name among the document's responses, and the document's words.
struct Refusal(&'static str, &'static str, &'static str);

/// Every status that refuses. Those that any request may get share a range.
#[rustfmt::skip]
const REFUSALS: &[Refusal] = &[
    Refusal("400", "Invalid", "The request is not valid: `details.issues` lists every problem"),
    Refusal("404", "NotFound", "There is no such thing, or the API key may not see it"),
    Refusal("405", "NotAllowed", "The vendor has no such operation"),
    Refusal("409", "Conflict", "The request does not fit how things stand: `details.reason` says why"),
    Refusal("410", "Gone", "The Idempotency-Key was used for a write whose contents were removed since. Nothing was stored"),
    Refusal("422", "Mismatch", "The Idempotency-Key was used with another request"),
    Refusal("4XX", "Refused", "401: the request has no valid API key. 403: the API key may not do this. 408: the body did not arrive within 10 s, or came slower than 16 KiB in 4 s. 413: the body is larger than 256 KiB. 415: the body is not announced as JSON. 429: the API key, or the address, has sent too many requests or has too many under way; `Retry-After` says when to go on"),
    Refusal("5XX", "Failed", "500: Portico failed. 503: Portico is too busy or stopping, or the vendor or the database does not answer in time; `Retry-After` says when to try again"),
];

/// Where the document describes a status: by itself, or with all of its range that are not.
const fn described_at(status: u16) -> &'static str {
    match status {
        400 => "400",
        404 => "404",
        405 => "405",
        409 => "409",
        410 => "410",
        422 => "422",
        500.. => "5XX",
        _ => "4XX",
    }
}

/// The responses that stand for refusals, by their names in the document.
pub(crate) fn responses() -> impl Iterator<Item = (&'static str, Response)> {
    REFUSALS.iter().map(|Refusal(_, name, words)| {
        let body = Ref::from_schema_name(ErrorBody::name());
        let content = ContentBuilder::new().schema(Some(body)).build();
        let response = ResponseBuilder::new()
            .description(*words)
            .content("application/json", content);
        (*name, response.build())
    })
}

/// References to the refusals of these statuses.
fn refer(statuses: &[u16]) -> BTreeMap<String, RefOr<Response>> {
    let places: Vec<&str> = statuses
        .iter()
        .map(|status| described_at(*status))
        .collect();
    let named = REFUSALS.iter().filter(|one| places.contains(&one.0));
    named
        .map(|Refusal(place, name, _)| {
            let reference = Ref::from_response_name(*name);
            ((*place).to_owned(), RefOr::Ref(reference))
        })
        .collect()
}

/// Types that stand for the refusals of some statuses.
macro_rules! problems {
    ($($(#[$doc:meta])* $name:ident: $($status:literal)+;)+) => {
        $(
            $(#[$doc])*
            pub struct $name;

            impl IntoResponses for $name {
                fn responses() -> BTreeMap<String, RefOr<Response>> {
                    refer(&[$($status),+])
                }
            }
        )+

        #[cfg(test)]
        const NAMED: &[u16] = &[$($($status),+),+];
    };
}

problems! {
    /// How a write may be refused.
    WriteProblems: 400 401 403 404 405 408 409 410 413 415 422 429 500 503;
    /// How a repeat of a failed write may be refused.
    RetryProblems: 400 401 403 404 409 410 422 429 500 503;
    /// How a question to the vendor may end without an answer.
    QuestionProblems: 400 401 403 405 408 413 415 429 500 503;
    /// How an administrator's change may be refused.
    ChangeProblems: 400 401 403 404 408 409 413 415 429 500 503;
    /// How an administrator's change that takes no body may be refused.
    PlainChangeProblems: 401 403 404 409 429 500 503;
    /// How reading a record may fail.
    GetProblems: 401 403 404 429 500 503;
    /// How reading a list may fail.
    ListProblems: 400 401 403 429 500 503;
    /// How reading a list that belongs to a record may fail.
    InnerListProblems: 400 401 403 404 429 500 503;
    /// How a change that no vendor of this build takes is refused.
    UntakenProblems: 400 401 403 404 405 408 413 415 429 500 503;
    /// How reading what needs no API key may fail.
    OpenProblems: 429 500 503;
    /// How Portico says that it is not ready.
    ReadinessProblems: 503;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_that_is_named_is_described() {
        for status in NAMED {
            let place = described_at(*status);
            assert!(REFUSALS.iter().any(|one| one.0 == place), "{status}");
        }
    }
}

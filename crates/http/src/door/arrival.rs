//! A request for a write at the end of the door: its caller is known, its body is read, and a repeat
//! of it is recognised.

use axum::{
    extract::{FromRequest as _, Request},
    http::HeaderMap,
};
use model::Permission;
use serde_json::Value;
use store::{Acceptance, Once};

use super::{
    body::JsonBody,
    caller::AnyCaller,
    idempotency, preferences,
    request::{RequestId, path_parameter},
};
use crate::{error::Error, state::App};

/// Such a request.
pub struct Arrival {
    /// The caller.
    pub caller: AnyCaller,
    /// The value of the path's parameter, where it has one.
    pub subject: Option<String>,
    /// The request's headers.
    pub headers: HeaderMap,
    /// The request's id.
    pub request_id: String,
    /// The body.
    pub body: Value,
    /// Whether members that the schema does not have are dropped.
    pub ignore_unknown: bool,
    /// The idempotency key.
    pub once: Option<Once>,
    /// What was accepted under that key before.
    pub earlier: Option<Acceptance>,
}

/// Takes a request of a caller who may do what takes `permission`. `name` is told
/// the path's parameter and whether unknown members are dropped, and names what an idempotency key
/// is bound to.
///
/// # Errors
/// When the caller may not, the body is not JSON in its bounds, or a header or the query is wrong.
pub async fn arrive(
    app: &App,
    permission: Permission,
    name: impl FnOnce(Option<&str>, bool) -> String,
    request: Request,
) -> Result<Arrival, Error> {
    let (mut parts, body) = request.into_parts();
    let caller = AnyCaller::of(&mut parts, app, permission)?;
    let subject = path_parameter(&mut parts).await?;
    let (uri, headers) = (parts.uri.clone(), parts.headers.clone());
    let request_id = parts.extensions.get::<RequestId>().map(|id| id.0.clone());
    let request = Request::from_parts(parts, body);
    let JsonBody(body) = <JsonBody>::from_request(request, app).await?;
    let ignore_unknown = preferences::ignores_unknown_fields(&uri)?;
    let name = name(subject.as_deref(), ignore_unknown);
    let (once, earlier) = idempotency::once(app, &headers, &caller.scope, &name, &body).await?;
    Ok(Arrival {
        caller,
        subject,
        headers,
        request_id: request_id.unwrap_or_default(),
        body,
        ignore_unknown,
        once,
        earlier,
    })
}

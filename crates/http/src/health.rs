//! What an operator's tools ask: does it live, is it ready, how is it doing.
//!
//! Guarantee: whoever asks needs no key, so an answer costs little, and an address that asks for
//! metrics or the document too often is told to wait.

use std::time::Duration;

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};
use listener::peer::ClientAddress;
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use crate::{
    document::problems::{OpenProblems, ReadinessProblems},
    error::Error,
    limits::rates::{OPEN_PER_MINUTE, Open},
    state::App,
};

/// How it is.
#[derive(Serialize, ToSchema)]
#[schema(as = HealthState)]
pub struct Health {
    /// `ok`.
    pub status: String,
}

/// How long the store may take to answer: load balancers and monitors wait for some seconds.
const READY_WITHIN: Duration = Duration::from_secs(3);

/// What the store answers, if it does within [`READY_WITHIN`].
async fn in_time<T>(
    asked: impl Future<Output = Result<T, store::Error>>,
) -> Result<T, store::Error> {
    let answer = tokio::time::timeout(READY_WITHIN, asked).await;
    answer.unwrap_or(Err(store::Error::Busy))
}

/// Whether the process lives
#[utoipa::path(get, path = "/healthz", operation_id = "health_get", tag = "Operations", security(()), responses((status = 200, description = "It lives", body = Health)))]
pub async fn health_get() -> Json<Health> {
    Json(Health {
        status: "ok".to_owned(),
    })
}

/// Whether the store answers and the worker runs
#[utoipa::path(
    get, path = "/readyz", operation_id = "readiness_get", tag = "Operations", security(()),
    responses((status = 200, description = "It is ready", body = Health), ReadinessProblems)
)]
pub async fn readiness_get(State(app): State<App>) -> Result<Json<Health>, Error> {
    in_time(app.store.check()).await.map_err(|why| {
        why.tell("not ready: the store takes no changes");
        match why {
            store::Error::Busy | store::Error::Closed => {
                Error::unavailable("The store does not answer")
            }
            store::Error::Refused(why) => Error::unavailable(format!("Not ready: {why}")),
            _ => Error::unavailable("The store takes no changes; the log says why"),
        }
    })?;
    // The sender goes when the worker does.
    if let Some(alive) = &app.worker_alive
        && alive.has_changed().is_err()
    {
        return Err(Error::unavailable("The worker does not run"));
    }
    Ok(Json(Health {
        status: "ok".to_owned(),
    }))
}

/// Metrics in the Prometheus text format
#[utoipa::path(get, path = "/metrics", operation_id = "metrics_get", tag = "Operations", security(()), responses((status = 200, description = "The metrics", body = String, content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8"), OpenProblems))]
pub async fn metrics_get(State(app): State<App>, client: ClientAddress) -> Result<Response, Error> {
    in_turn(&app, Open::Metrics, client)?;
    // What this process counts is wanted most while the store is in trouble.
    let depths = app.cache.depths.get(&app.store).await;
    let text = app
        .metrics
        .render(depths, &*app.clock)
        .ok_or_else(|| Error::internal("the metrics cannot be written"))?;
    Ok((
        [(
            header::CONTENT_TYPE,
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
        )],
        text,
    )
        .into_response())
}

/// This document
#[utoipa::path(get, path = "/openapi.json", operation_id = "openapi_get", tag = "Operations", security(()), responses((status = 200, description = "The OpenAPI document, with the vocabulary in force", body = Object), (status = 304, description = "It is the one that If-None-Match names"), OpenProblems))]
pub async fn openapi_get(
    State(app): State<App>,
    client: ClientAddress,
    headers: HeaderMap,
) -> Result<Response, Error> {
    in_turn(&app, Open::Document, client)?;
    Ok(app.document.answer(&headers))
}

/// Counts a request without a key, and refuses it when its address has sent too many.
fn in_turn(app: &App, what: Open, client: ClientAddress) -> Result<(), Error> {
    let counted = app.limits.rates.open(what, client.0);
    counted.map_err(|wait| Error::too_many_without_key(OPEN_PER_MINUTE, wait))
}

/// Where the root leads.
pub async fn root_get() -> Response {
    Json(json!({ "name": "portico", "docs": "/docs", "openapi": "/openapi.json" })).into_response()
}

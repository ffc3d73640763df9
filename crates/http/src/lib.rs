//! The public surface: routes, authentication, validation, errors, the OpenAPI document.
//!
//! Guarantee: a 200 on a write is given only after the store said that it is on stable storage; no handler calls a vendor.

pub mod agents;
pub mod attributions;
pub mod body;
pub mod caller;
pub mod communities;
pub mod envelope;
pub mod error;
pub mod health;
pub mod lists;
pub mod metrics;
pub mod openapi;
pub mod preferences;
pub mod prospects;
pub mod serve;
pub mod writes;

use std::sync::Arc;

use axum::{
    Router, middleware,
    response::{IntoResponse, Response},
    routing::get,
};
use connectors::Registry;
use model::{Clock, Entropy};
use serde_json::Value;
use store::{Live, Store};
use tokio::sync::watch;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::OpenApi;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{error::Error, metrics::Metrics, openapi::Schemas};

/// What every handler may use.
pub struct Parts {
    /// Custody.
    pub store: Arc<dyn Store>,
    /// Keys and references, as in force.
    pub live: Live,
    /// The vendors.
    pub registry: Registry,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Ids.
    pub entropy: Arc<dyn Entropy>,
    /// Metrics.
    pub metrics: Arc<Metrics>,
    /// Closed when the worker has ended; `None` when this process has none, which is ready without.
    pub worker_alive: Option<watch::Receiver<bool>>,
    /// Memory for bodies under way.
    pub body_room: body::Room,
    /// The document as served.
    pub openapi: Value,
    /// The document's schemas, compiled.
    pub schemas: Schemas,
}

/// A handle to [`Parts`].
pub type App = Arc<Parts>;

/// Every route on one page.
fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::with_openapi(openapi::Document::openapi())
        .routes(routes!(prospects::prospect_create_knock))
        .routes(routes!(prospects::prospect_get))
        .routes(routes!(prospects::prospects_list))
        .routes(routes!(communities::community_get))
        .routes(routes!(communities::communities_list))
        .routes(routes!(attributions::attribution_get))
        .routes(routes!(attributions::attributions_list))
        .routes(routes!(agents::agent_get))
        .routes(routes!(agents::agents_list))
        .routes(routes!(writes::write_status_get))
        .routes(routes!(writes::write_retry))
        .routes(routes!(writes::write_attempts_list))
        .routes(routes!(health::health_get))
        .routes(routes!(health::readiness_get))
        .routes(routes!(health::metrics_get))
        .routes(routes!(health::openapi_get))
}

/// The OpenAPI document for `registry`'s vocabulary.
///
/// # Errors
/// In words, when it cannot be written as JSON.
pub fn document(registry: &Registry) -> Result<Value, String> {
    let (_, document) = routes().split_for_parts();
    openapi::finish(&document, registry)
}

/// The router, every layer on it.
pub fn router(app: App) -> Router {
    let (router, _) = routes().split_for_parts();
    let docs = utoipa_swagger_ui::SwaggerUi::new("/docs")
        .config(utoipa_swagger_ui::Config::from("/openapi.json"));
    router
        .route("/", get(health::root_get))
        .merge(docs)
        .fallback(async || Error::no_route())
        .method_not_allowed_fallback(async || Error::method_not_allowed())
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::from_fn_with_state(app.clone(), envelope::wrap))
        .with_state(app)
}

fn panicked(_what: Box<dyn std::any::Any + Send>) -> Response {
    // What a panic says may repeat what a caller sent; that it happened, and for which request, is in the span.
    tracing::error!("a handler panicked");
    Error::internal().into_response()
}

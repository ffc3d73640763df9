//! The public surface: routes, authentication, validation, errors, the OpenAPI document.
//!
//! Guarantee: a 200 on a write is given only after the store said that it is on stable storage; no handler but those of [`availability`] and [`integrations`] calls a vendor,
//! and none but those of [`webhooks`] a receiver.

pub mod agents;
mod announced;
pub mod appointments;
pub mod attributions;
pub mod audit;
pub mod availability;
pub mod blank;
pub mod body;
pub mod caller;
pub mod communities;
pub mod consents;
pub mod cursor;
pub mod data_diffs;
pub mod deliveries;
pub mod depths;
pub mod envelope;
pub mod erasure;
pub mod error;
pub mod event_log;
pub mod events;
#[cfg(test)]
mod fixture;
pub mod follow;
pub mod headers;
pub mod health;
mod host;
pub mod intake;
pub mod integrations;
pub mod json;
pub mod keys;
pub mod limits;
pub mod listings;
pub mod lists;
pub mod logs;
pub mod members;
pub mod metrics;
pub mod normalization;
pub mod openapi;
pub mod parameters;
pub mod preferences;
pub mod problems;
pub mod prospects;
pub mod replays;
pub mod served;
mod tally;
pub mod uses;
pub mod walks;
pub mod webhooks;
pub mod writes;

use std::sync::Arc;

use axum::{
    Router, middleware,
    response::{IntoResponse, Response},
    routing::get,
};
use connectors::Registry;
use model::{Clock, Entropy, Scope};
use serde_json::Value;
use store::{Live, Store};
use tokio::{sync::watch, time::timeout};
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::OpenApi;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{error::Error, metrics::Metrics, openapi::Schemas};

/// What every handler may use.
pub struct Parts {
    /// Custody.
    pub store: Arc<Store>,
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
    /// How often callers may ask.
    pub limits: limits::Limits,
    /// When keys were last used.
    pub uses: uses::Uses,
    /// Memory for bodies under way.
    pub body_room: body::Room,
    /// The newest events, for who waits for some.
    pub tail: follow::Tail,
    /// Who waits for events.
    pub waits: follow::Waits,
    /// Who waits for the end of a write.
    pub end_waits: follow::Waits,
    /// Where pages of lists ended.
    pub walks: walks::Walks,
    /// Questions to vendors.
    pub desk: availability::Desk,
    /// What receivers of webhooks are reached through.
    pub receivers: ::webhooks::client::Client,
    /// Receivers that are being tried.
    pub trials: webhooks::Trials,
    /// Replays under way.
    pub replays: replays::Replays,
    /// How the vendor is made to forget a card too, where this process plays the vendor; real ones have to be asked by a person.
    pub vendor_forgets: Option<VendorForgets>,
    /// True if the server is told to stop.
    pub stopping: Stopping,
    /// How much waits.
    pub depths: depths::Depths,
    /// The document as served.
    pub openapi: served::Served,
    /// The document's schemas, compiled.
    pub schemas: Schemas,
}

impl Parts {
    /// Has this process follow a change of the directory that was just stored: it is in force for the next request.
    ///
    /// # Errors
    /// 503 when it cannot be read, in words that do not deny that it is stored.
    async fn follow(&self) -> Result<(), Error> {
        self.live.refresh(&self.store).await.map_err(|why| {
            tracing::error!(%why, "a change of the directory is stored, and not yet in force here");
            Error::unavailable(
                "It is stored, and not yet in force here, since the database does not answer. Look at what is stored before you send it again",
            )
        })
    }
}

impl Parts {
    /// Refuses a caller whose key, or token, is in force no more: it was when the request came.
    ///
    /// # Errors
    /// 401.
    fn admit(&self, scope: &Scope) -> Result<(), Error> {
        if self.live.get().admits(scope, self.clock.settled()) {
            Ok(())
        } else {
            Err(Error::unauthorized())
        }
    }

    /// Ends when the caller's key, or token, is in force no more.
    async fn ousted(&self, scope: &Scope) {
        let mut changes = self.live.changes();
        while self.admit(scope).is_ok() {
            // Nothing tells when a key expires.
            let _ = timeout(preferences::WAIT_POLL, changes.changed()).await;
        }
    }
}

/// Word that the server stops: callers who wait for something are answered at once.
pub struct Stopping(watch::Sender<bool>);

impl Default for Stopping {
    fn default() -> Self {
        Self(watch::Sender::new(false))
    }
}

impl Stopping {
    /// Gives the word.
    pub fn tell(&self) {
        self.0.send_replace(true);
    }

    fn is_told(&self) -> bool {
        *self.0.borrow()
    }

    /// Ends when the word is given.
    async fn told(&self) {
        // The sender is here, so there is no error.
        let _ = self.0.subscribe().wait_for(|is_told| *is_told).await;
    }
}

/// Makes a vendor forget what it holds under an id of its own; says in words why it could not. It may block.
pub type VendorForgets = Arc<dyn Fn(&str) -> Result<(), String> + Send + Sync>;

/// A handle to [`Parts`].
pub type App = Arc<Parts>;

/// Every route on one page.
fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::with_openapi(openapi::Document::openapi())
        .routes(routes!(prospects::prospect_create_knock))
        .routes(routes!(prospects::prospect_update_knock))
        .routes(routes!(
            prospects::prospects_list,
            prospects::prospect_create
        ))
        .routes(routes!(prospects::prospect_get, prospects::prospect_update))
        .routes(routes!(events::event_create_knock))
        .routes(routes!(events::events_list, events::event_create))
        .routes(routes!(events::event_get))
        .routes(routes!(appointments::appointment_create_knock))
        .routes(routes!(
            appointments::appointments_list,
            appointments::appointment_create
        ))
        .routes(routes!(appointments::appointment_get))
        .routes(routes!(availability::availability_get_knock))
        .routes(routes!(availability::availability_get))
        .routes(routes!(listings::listing_create_knock))
        .routes(routes!(listings::listings_list, listings::listing_create))
        .routes(routes!(listings::listing_get))
        .routes(routes!(communities::community_get))
        .routes(routes!(communities::communities_list))
        .routes(routes!(attributions::attribution_get))
        .routes(routes!(attributions::attributions_list))
        .routes(routes!(agents::agent_get))
        .routes(routes!(agents::agents_list))
        .routes(routes!(writes::write_status_get))
        .routes(routes!(writes::write_retry))
        .routes(routes!(writes::write_attempts_list))
        .routes(routes!(logs::writes_list))
        .routes(routes!(logs::jobs_list))
        .routes(routes!(data_diffs::data_diffs_list))
        .routes(routes!(consents::prospect_consents_list))
        .routes(routes!(erasure::prospect_erase))
        .routes(routes!(normalization::normalization_get))
        .routes(routes!(
            integrations::integrations_list,
            integrations::integration_create
        ))
        .routes(routes!(
            integrations::integration_get,
            integrations::integration_update,
            integrations::integration_archive
        ))
        .routes(routes!(integrations::integration_pause))
        .routes(routes!(integrations::integration_resume))
        .routes(routes!(integrations::integration_sync))
        .routes(routes!(
            integrations::data_access_get,
            integrations::data_access_check
        ))
        .routes(routes!(members::community_register))
        .routes(routes!(members::communities_register))
        .routes(routes!(members::attribution_register))
        .routes(routes!(members::attributions_register))
        .routes(routes!(members::agent_register))
        .routes(routes!(members::agents_register))
        .routes(routes!(webhooks::webhooks_list, webhooks::webhook_create))
        .routes(routes!(
            webhooks::webhook_get,
            webhooks::webhook_update,
            webhooks::webhook_delete
        ))
        .routes(routes!(webhooks::webhook_secret_rotate))
        .routes(routes!(webhooks::webhook_test))
        .routes(routes!(deliveries::webhook_deliveries_list))
        .routes(routes!(deliveries::webhook_delivery_get))
        .routes(routes!(deliveries::webhook_delivery_attempts_list))
        .routes(routes!(deliveries::webhook_delivery_replay))
        .routes(routes!(deliveries::webhook_replay))
        .routes(routes!(event_log::event_log_list))
        .routes(routes!(event_log::event_log_get))
        .routes(routes!(keys::keys_list, keys::key_create))
        .routes(routes!(keys::key_get, keys::key_revoke))
        .routes(routes!(keys::key_rotate))
        .routes(routes!(audit::audit_list))
        .merge(operations())
        .routes(routes!(health::openapi_get))
}

/// Those of them that every node has, also one that only delivers.
fn operations() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(health::health_get))
        .routes(routes!(health::readiness_get))
        .routes(routes!(health::metrics_get))
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
        // "none": no other site is asked what it thinks of the document.
        .config(utoipa_swagger_ui::Config::from("/openapi.json").validator_url("none"));
    let router = router
        .route("/", get(health::root_get))
        .merge(docs)
        .fallback(async || Error::no_route());
    layered(router, app)
}

/// The router of a node that only delivers, every layer on it.
pub fn worker_router(app: App) -> Router {
    let (router, _) = operations().split_for_parts();
    layered(router.fallback(async || Error::only_delivers()), app)
}

fn layered(router: Router<App>, app: App) -> Router {
    router
        .method_not_allowed_fallback(async || Error::method_not_allowed())
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::from_fn_with_state(app.clone(), envelope::wrap))
        .layer(middleware::from_fn(headers::put))
        .with_state(app)
}

fn panicked(_what: Box<dyn std::any::Any + Send>) -> Response {
    // What a panic says may repeat what a caller sent; that it happened, and for which request, is in the span.
    tracing::error!("a handler panicked");
    Error::internal().into_response()
}

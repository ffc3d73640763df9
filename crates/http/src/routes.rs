//! Every route on one page.

use axum::{
    Router,
    extract::State,
    http::{Method, Uri},
    middleware,
    response::{IntoResponse, Response},
    routing::get,
};
use connectors::{Connector, Registry, connector::BodyOf};
use model::{
    Vendor,
    resources::integration::{AgentRegister, AttributionRegister, CommunityRegister},
    write::Operation,
};
use serde_json::Value;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::OpenApi;
use utoipa_axum::{
    router::{OpenApiRouter, UtoipaMethodRouterExt as _},
    routes,
};

use crate::{
    admin::{
        audit, data_diffs, events as event_log,
        integrations::{
            access, manage as integrations, members, pause, property_lists, rate_limits, sync,
        },
        keys, log, normalization,
        privacy::{consents, erasure},
        users,
        webhooks::{deliveries, manage as webhooks, replay, test},
        writes,
    },
    document::{self as documented, VendorBody},
    door::{envelope, headers},
    error::Error,
    health,
    intake::{self, WriteOperation},
    lists::Records,
    pages,
    resources::{
        agents, appointments,
        appointments::{availability, update},
        attributions, communities, events, listings, prospects,
    },
    state::App,
};

/// A resource: how it is read, and the operations that write it.
struct Resource(&'static Records, &'static [&'static WriteOperation]);

/// The resources of the CRM.
#[rustfmt::skip]
const RESOURCES: &[Resource] = &[
    Resource(&prospects::RECORDS, &[&prospects::CREATE, &prospects::UPDATE]),
    Resource(&events::RECORDS, &[&events::CREATE]),
    Resource(&appointments::RECORDS, &[&appointments::CREATE]),
    Resource(&listings::RECORDS, &[&listings::CREATE]),
    Resource(&communities::RECORDS, &[]),
    Resource(&attributions::RECORDS, &[]),
    Resource(&agents::RECORDS, &[]),
];

/// The operations that write.
fn operations() -> impl Iterator<Item = &'static WriteOperation> {
    RESOURCES.iter().flat_map(|resource| resource.1).copied()
}

/// The operation that makes writes of a kind.
fn operation_of(kind: Operation) -> Option<&'static WriteOperation> {
    operations().find(|operation| operation.operation == kind)
}

fn routes(registry: &Registry) -> OpenApiRouter<App> {
    let mut router = OpenApiRouter::with_openapi(documented::Document::openapi());
    for Resource(records, operations) in RESOURCES {
        router = (records.routes)(router, records);
        for route in operations
            .iter()
            .flat_map(|operation| operation.routes(registry.connectors()))
        {
            router = router.routes(intake::route(route));
        }
    }
    router = router.routes(availability::generic_route());
    for route in registry.connectors().filter_map(availability::vendor_route) {
        router = router.routes(route);
    }
    router = router.routes(routes!(update::appointment_update));
    let find_operation = axum::Extension(writes::retry::FindOperation(operation_of));
    router
        .routes(routes!(writes::status::write_status_get))
        .routes(routes!(writes::retry::write_retry).layer(find_operation))
        .routes(routes!(writes::attempts::write_attempts_list))
        .routes(routes!(log::writes::writes_list))
        .routes(routes!(log::jobs::jobs_list))
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
        .routes(routes!(pause::integration_pause))
        .routes(routes!(pause::integration_resume))
        .routes(routes!(rate_limits::rate_limits_list))
        .routes(routes!(
            property_lists::property_lists_list,
            property_lists::property_list_create
        ))
        .routes(routes!(property_lists::property_list_update))
        .routes(routes!(sync::integration_sync))
        .routes(routes!(access::data_access_get, access::data_access_check))
        .routes(members::register_one::<CommunityRegister>())
        .routes(members::register_many::<CommunityRegister>())
        .routes(members::register_one::<AttributionRegister>())
        .routes(members::register_many::<AttributionRegister>())
        .routes(members::register_one::<AgentRegister>())
        .routes(members::register_many::<AgentRegister>())
        .routes(routes!(webhooks::webhooks_list, webhooks::webhook_create))
        .routes(routes!(
            webhooks::webhook_get,
            webhooks::webhook_update,
            webhooks::webhook_delete
        ))
        .routes(routes!(webhooks::webhook_secret_rotate))
        .routes(routes!(test::webhook_test))
        .routes(routes!(deliveries::webhook_deliveries_list))
        .routes(routes!(deliveries::webhook_delivery_get))
        .routes(routes!(deliveries::webhook_delivery_attempts_list))
        .routes(routes!(replay::webhook_delivery_replay))
        .routes(routes!(replay::webhook_replay))
        .routes(routes!(event_log::event_log_list))
        .routes(routes!(event_log::event_log_get))
        .routes(routes!(keys::keys_list, keys::key_create))
        .routes(routes!(keys::key_get, keys::key_revoke))
        .routes(routes!(keys::key_rotate))
        .routes(routes!(users::users_list))
        .routes(routes!(users::user_get))
        .routes(routes!(audit::audit_list))
        .merge(node_routes())
        .routes(routes!(health::openapi_get))
}

/// The routes that every node has, also one that only delivers.
fn node_routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(health::health_get))
        .routes(routes!(health::readiness_get))
        .routes(routes!(health::metrics_get))
}

/// The OpenAPI document for the vendors of `registry`.
///
/// # Errors
/// In words, when it cannot be written as JSON.
pub fn document(registry: &Registry) -> Result<Value, String> {
    let (_, document) = routes(registry).split_for_parts();
    let writes = operations().map(|operation| VendorBody {
        generic: operation.body,
        of: BodyOf::Write(operation.operation),
    });
    let availability = VendorBody {
        generic: availability::BODY,
        of: BodyOf::Availability,
    };
    let bodies: Vec<_> = writes.chain([availability]).collect();
    let lists = RESOURCES
        .iter()
        .map(|Resource(records, _)| (records.list.path, records.kind));
    documented::finish(&document, registry, &bodies, &lists.collect::<Vec<_>>())
}

/// The router, every layer on it.
pub fn router(app: App) -> Router {
    let (router, _) = routes(&app.registry).split_for_parts();
    let router = router
        .route("/", get(health::root_get))
        .merge(pages::routes())
        .fallback(async |State(app): State<App>, method: Method, uri: Uri| {
            match lacking(&app.registry, &method, uri.path()) {
                Some(vendor) => Error::not_taken(vendor),
                None => Error::no_route(),
            }
        });
    layered(router, app)
}

/// The vendor whose path this would be, if it had the operation.
fn lacking(registry: &Registry, method: &Method, path: &str) -> Option<Vendor> {
    let is_post = *method == Method::POST;
    registry.connectors().map(Connector::vendor).find(|vendor| {
        let is_write = operations().any(|one| one.is_at(*vendor, method, path));
        is_write || (is_post && path == availability::vendor_path(*vendor))
    })
}

/// The router of a node that only delivers, every layer on it.
pub fn worker_router(app: App) -> Router {
    let (router, _) = node_routes().split_for_parts();
    layered(router.fallback(async || Error::only_delivers()), app)
}

fn layered(router: Router<App>, app: App) -> Router {
    router
        .method_not_allowed_fallback(async |State(app): State<App>, method: Method, uri: Uri| {
            match lacking(&app.registry, &method, uri.path()) {
                Some(vendor) => Error::not_taken(vendor),
                None => Error::method_not_allowed(),
            }
        })
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::from_fn_with_state(app.clone(), envelope::wrap))
        .layer(middleware::from_fn(headers::put))
        .with_state(app)
}

fn panicked(_what: Box<dyn std::any::Any + Send>) -> Response {
    // The words of a panic may repeat what a caller sent; the span has the request.
    Error::internal("a handler panicked").into_response()
}

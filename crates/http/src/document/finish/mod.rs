//! The parts of the document that routes and types do not show by themselves.
//!
//! Guarantee: what several operations have alike stands once, as a component; every member that an
//! answer always has is required; no schema has a default, which clients would send by themselves.

mod accepted;
mod members;
mod shared;
mod vendors;
mod vocabularies;

use connectors::{Registry, component::Component, connector::BodyOf};
use model::record::Kind;
use serde_json::{Value, json};

use crate::document::{lists, schemas::operations, webhooks};

/// A body that vendors have schemas of their own for.
pub struct VendorBody {
    /// The schema whoever the vendor is.
    pub generic: Component,
    /// What it is of, by which a vendor's own schema is found.
    pub of: BodyOf,
}

/// Finishes a generated document. `kinds` are the records that can be listed, by path.
///
/// # Errors
/// In words, when the document cannot be written as JSON.
pub fn finish(
    document: &utoipa::openapi::OpenApi,
    registry: &Registry,
    bodies: &[VendorBody],
    kinds: &[(&str, Kind)],
) -> Result<Value, String> {
    let mut document = serde_json::to_value(document).map_err(|why| why.to_string())?;
    vendors::add(&mut document, registry, bodies)?;
    for (path, kind) in kinds {
        let parameters = lists::parameters(*kind, &registry.filters());
        document["paths"][path]["get"]["parameters"] = parameters;
    }
    name_models(&mut document);
    if let Some(first) = registry.connectors().next() {
        webhooks::add(&mut document, first.definition())?;
    }
    accepted::show_results(&mut document);
    vocabularies::name(&mut document["components"]["schemas"], registry);
    members::require(&mut document);
    shared::share(&mut document);
    Ok(document)
}

/// Adds the names of the models to the parameters that take one.
fn name_models(document: &mut Value) {
    let names = Kind::ALL
        .iter()
        .filter_map(|kind| kind.model().strip_prefix("crm_"));
    let pattern = format!("^crm_({})$", names.collect::<Vec<_>>().join("|"));
    for operation in operations(document) {
        let parameters = operation
            .get_mut("parameters")
            .and_then(Value::as_array_mut);
        let parameters = parameters.into_iter().flatten();
        for one in parameters.filter(|one| one["name"] == "model" && one["in"] == "query") {
            one["schema"]["pattern"] = json!(pattern);
        }
    }
}

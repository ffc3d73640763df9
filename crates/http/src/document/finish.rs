//! The parts of the document that are known only as data: the vocabulary in force, the fields of
//! the generic bodies, the parameters of lists, the requests to webhooks.

use connectors::Registry;
use model::{directory::Vendor, record::Kind, vocabulary::Vocabulary};
use serde_json::{Value, json};

use crate::document::{
    lists,
    schemas::{body_names, operations, own_name},
    webhooks,
};

/// Adds them to a generated document. `kinds` are the records that can be listed, by path.
///
/// # Errors
/// In words, when the document cannot be written as JSON.
pub fn finish(
    document: &utoipa::openapi::OpenApi,
    registry: &Registry,
    kinds: &[(&str, Kind)],
) -> Result<Value, String> {
    let mut document = serde_json::to_value(document).map_err(|why| why.to_string())?;
    let bodies = body_names(&document);
    let schemas = &mut document["components"]["schemas"];
    for vendor in Vendor::ALL {
        for generic in &bodies {
            let name = own_name(generic, vendor);
            if !bodies.contains(&name) {
                continue;
            }
            if let Some(connector) = registry.get(vendor) {
                offer_vocabulary(&mut schemas[&name]["properties"], connector.vocabulary());
            }
            let own = schemas[&name].clone();
            generalise(&mut schemas[generic], &own);
        }
    }
    generalise_update(schemas);
    for (path, kind) in kinds {
        document["paths"][path]["get"]["parameters"] = lists::parameters(*kind);
    }
    name_models(&mut document);
    document["webhooks"] = webhooks::requests()?;
    limit(&mut document);
    Ok(document)
}

/// Adds the refusal of too many requests to every operation that takes a key.
fn limit(document: &mut Value) {
    for operation in operations(document).filter(|one| one.get("security").is_some()) {
        let body = json!({ "$ref": "#/components/schemas/ErrorBody" });
        operation["responses"]["429"] = json!({
            "description": "The key, or the address, has sent too many requests, or the key has as many under way of those that cost much or wait as it may have; Retry-After says when to go on",
            "content": { "application/json": { "schema": body } },
        });
    }
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

/// Lists the values of a vocabulary at the properties that take them.
fn offer_vocabulary(properties: &mut Value, vocabulary: &Vocabulary) {
    for field in vocabulary.fields() {
        if let Some(property) = properties.get_mut(field) {
            let values: Vec<&str> = vocabulary.values(field).collect();
            offer(property, &values);
        }
    }
}

/// Says which values a property takes.
fn offer(property: &mut Value, values: &[&str]) {
    if property.get("items").is_some() {
        property["items"]["enum"] = json!(values);
        return;
    }
    let mut values = json!(values);
    let is_nullable = property["type"]
        .as_array()
        .is_some_and(|types| types.contains(&json!("null")));
    // An enum that forbids null would contradict the type, which allows it.
    if let (true, Some(all)) = (is_nullable, values.as_array_mut()) {
        all.push(Value::Null);
    }
    property["enum"] = values;
}

/// Adds a vendor's fields to a generic body, which requires no more than what finds the vendor.
fn generalise(generic: &mut Value, own: &Value) {
    if let Some(properties) = own["properties"].as_object() {
        for (name, property) in properties {
            let known = &mut generic["properties"][name];
            if known.is_null() {
                *known = property.clone();
            }
        }
    }
    if own["properties"].get("integration_id").is_some() {
        generic["required"] = json!(["integration_id"]);
    }
    generic["type"] = json!("object");
    generic["additionalProperties"] = json!(false);
    if generic.get("example").is_none() {
        generic["example"] = own["example"].clone();
    }
}

/// What may be changed of a prospect is, over all vendors, what it may be made with.
fn generalise_update(schemas: &mut Value) {
    let create = schemas["ProspectCreate"]["properties"].clone();
    let update = &mut schemas["ProspectUpdate"]["properties"];
    for (name, property) in create.as_object().into_iter().flatten() {
        let names_a_vendors =
            ["integration_id", "community_id", "attribution_id"].contains(&name.as_str());
        if !names_a_vendors && update[name].is_null() {
            update[name] = property.clone();
        }
    }
}

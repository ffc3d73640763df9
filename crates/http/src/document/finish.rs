//! The parts of the document that are known only as data: the vocabulary in force, the fields of
//! the generic bodies, the parameters of lists, the requests to webhooks.

use connectors::{Connector, Registry, component::Component, connector::BodyOf};
use model::{record::Kind, vocabulary::Vocabulary, write::AttemptKind};
use serde_json::{Value, json};

use crate::document::{
    lists,
    schemas::{COMPONENTS, operations},
    webhooks,
};

/// The name of the schema that stands for the credentials of any vendor.
const ANY_CREDENTIALS: &str = "VendorCredentials";

/// A body that vendors have schemas of their own for.
pub struct VendorBody {
    /// The schema whoever the vendor is.
    pub generic: Component,
    /// What it is of, by which a vendor's own schema is found.
    pub of: BodyOf,
}

/// Adds them to a generated document. `kinds` are the records that can be listed, by path.
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
    let schemas = &mut document["components"]["schemas"];
    for connector in registry.connectors() {
        for body in bodies {
            let Some(own) = connector.body(body.of) else {
                continue;
            };
            let name = own.name();
            offer_vocabulary(&mut schemas[&*name]["properties"], connector.vocabulary());
            let own = schemas[&*name].clone();
            generalise(&mut schemas[&*body.generic.name()], &own);
        }
    }
    generalise_update(schemas);
    let names: Vec<String> = registry
        .connectors()
        .map(|connector| connector.vendor().to_string())
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    name_vendors(schemas, &names);
    add_credentials(&mut document, registry)?;
    for (path, kind) in kinds {
        document["paths"][path]["get"]["parameters"] = lists::parameters(*kind, &names);
    }
    name_models(&mut document);
    if let Some(first) = registry.connectors().next() {
        document["webhooks"] = webhooks::requests(first.definition())?;
    }
    if registry.connectors().any(Connector::has_steps) {
        show_kinds(&mut document["components"]["schemas"]["AttemptRow"]["properties"]);
    }
    limit(&mut document);
    Ok(document)
}

/// Shows a vendor wherever one is named, and says which an integration may have.
fn name_vendors(schemas: &mut Value, names: &[&str]) {
    if let Some(first) = names.first() {
        show_vendor(schemas, first);
    }
    let pattern = match names {
        [only] => format!("^{only}$"),
        _ => format!("^({})$", names.join("|")),
    };
    schemas["IntegrationCreate"]["properties"]["integration_vendor"]["pattern"] = json!(pattern);
}

/// Shows `name` at the properties that name a vendor.
fn show_vendor(schemas: &mut Value, name: &str) {
    match schemas {
        Value::Object(members) => {
            let named = members.get_mut("properties").and_then(Value::as_object_mut);
            if let Some(named) = named {
                for member in ["integration_vendor", "vendor"] {
                    if let Some(property) = named.get_mut(member) {
                        property["example"] = json!(name);
                    }
                }
            }
            members.values_mut().for_each(|one| show_vendor(one, name));
        }
        Value::Array(values) => values.iter_mut().for_each(|one| show_vendor(one, name)),
        _ => {}
    }
}

/// Shows what an attempt is for, where a vendor takes more calls than the writes' own.
fn show_kinds(attempt: &mut Value) {
    let shown = AttemptKind::ALL
        .iter()
        .filter(|kind| **kind != AttemptKind::NoCall);
    let words = shown.map(|kind| kind.word());
    attempt["kind"] = json!({
        "type": "string",
        "enum": words.collect::<Vec<_>>(),
        "default": AttemptKind::Write.word(),
        "description": "What it was for: to have the write taken, when absent",
    });
}

/// Puts the vendors' schemas of credentials where those of any vendor stand.
fn add_credentials(document: &mut Value, registry: &Registry) -> Result<(), String> {
    let mut references = Vec::new();
    for connector in registry.connectors() {
        let credentials = connector.definition().credentials;
        let mut collected = Vec::new();
        credentials.collect(&mut collected);
        for (name, schema) in collected {
            let schema = serde_json::to_value(schema).map_err(|why| why.to_string())?;
            document["components"]["schemas"][name] = schema;
        }
        references.push(format!("{COMPONENTS}{}", credentials.name()));
    }
    if let Some(schemas) = document["components"]["schemas"].as_object_mut() {
        schemas.remove(ANY_CREDENTIALS);
    }
    replace_reference(
        document,
        &format!("{COMPONENTS}{ANY_CREDENTIALS}"),
        &references,
    );
    if let Some(connector) = registry.connectors().next() {
        let definition = connector.definition();
        let credentials: Value = serde_json::from_str(definition.credentials_example)
            .map_err(|why| format!("the example of credentials: {why}"))?;
        document["components"]["schemas"]["IntegrationCreate"]["example"] = json!({
            "integration_vendor": connector.vendor().name(),
            "name": "Harbor Homes",
            "credentials": credentials,
            "active": true,
        });
    }
    Ok(())
}

/// Lets what refers to one schema refer to others: to one of them, where there are several.
fn replace_reference(value: &mut Value, from: &str, to: &[String]) {
    match value {
        Value::Object(members) => {
            if members
                .get("$ref")
                .is_some_and(|reference| reference == from)
            {
                match to {
                    [only] => drop(members.insert("$ref".to_owned(), json!(only))),
                    several => {
                        members.remove("$ref");
                        let any: Vec<Value> =
                            several.iter().map(|one| json!({ "$ref": one })).collect();
                        members.insert("oneOf".to_owned(), json!(any));
                    }
                }
            }
            for member in members.values_mut() {
                replace_reference(member, from, to);
            }
        }
        Value::Array(values) => {
            for one in values {
                replace_reference(one, from, to);
            }
        }
        _ => {}
    }
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
            } else {
                join_values(known, property);
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

/// Adds the values that a vendor takes to those of others.
fn join_values(known: &mut Value, property: &Value) {
    if let (Some(items), Some(more)) = (known.get_mut("items"), property.get("items")) {
        join_values(items, more);
    }
    if let (Some(values), Some(more)) = (
        known.get_mut("enum").and_then(Value::as_array_mut),
        property["enum"].as_array(),
    ) {
        for value in more {
            if !values.contains(value) {
                values.push(value.clone());
            }
        }
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

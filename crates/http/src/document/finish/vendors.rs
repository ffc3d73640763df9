//! The parts of the document that vendors bring: their credentials, their fields in the generic
//! bodies, their names.

use connectors::{Connector, Registry};
use serde_json::{Value, json};

use super::{VendorBody, vocabularies};
use crate::document::schemas::COMPONENTS;

/// The name of the schema that stands for the credentials of any vendor.
const ANY_CREDENTIALS: &str = "VendorCredentials";

/// Adds what the vendors of `registry` bring.
///
/// # Errors
/// In words, when an example of credentials is not JSON.
pub(super) fn add(
    document: &mut Value,
    registry: &Registry,
    bodies: &[VendorBody],
) -> Result<(), String> {
    let schemas = &mut document["components"]["schemas"];
    for connector in registry.connectors() {
        for body in bodies {
            let Some(own) = connector.body(body.of) else {
                continue;
            };
            let name = own.name();
            vocabularies::offer(&mut schemas[&*name]["properties"], connector.vocabulary());
            let own = schemas[&*name].clone();
            generalise(&mut schemas[&*body.generic.name()], &own);
        }
    }
    generalise_update(schemas);
    name_vendors(schemas, &names(registry));
    add_credentials(document, registry)
}

/// The names of the vendors.
fn names(registry: &Registry) -> Vec<String> {
    let vendors = registry.connectors().map(Connector::vendor);
    vendors.map(|vendor| vendor.to_string()).collect()
}

/// Shows a vendor wherever one is named, and says which an integration may have.
fn name_vendors(schemas: &mut Value, names: &[String]) {
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

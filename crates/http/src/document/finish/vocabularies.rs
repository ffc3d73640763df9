//! The vocabularies in force, as components of the document.
//!
//! Guarantee: a property that has the name of a vocabulary's field takes the same words in requests
//! and in records.

use std::collections::{BTreeMap, BTreeSet};

use connectors::Registry;
use model::vocabulary::Vocabulary;
use serde_json::{Map, Value, json};

use crate::document::{names::pascal, schemas::COMPONENTS};

/// Lists the values of a vocabulary at the properties that take them.
pub(super) fn offer(properties: &mut Value, vocabulary: &Vocabulary) {
    for field in vocabulary.fields() {
        if let Some(property) = properties.get_mut(field) {
            let values: Vec<&str> = vocabulary.values(field).collect();
            let words = word_of(property);
            words["enum"] = json!(values);
        }
    }
}

/// The schema of one word of a property: the property, or the items of a list.
fn word_of(property: &mut Value) -> &mut Value {
    match property.get("items") {
        Some(_) => &mut property["items"],
        None => property,
    }
}

/// Puts the words of all vendors into components, and refers to these wherever all are taken.
pub(super) fn name(schemas: &mut Value, registry: &Registry) {
    let mut words: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for connector in registry.connectors() {
        let vocabulary = connector.vocabulary();
        for field in vocabulary.fields() {
            let known = words.entry(field.to_owned()).or_default();
            for value in vocabulary.values(field) {
                if !known.iter().any(|one| one == value) {
                    known.push(value.to_owned());
                }
            }
        }
    }
    let Some(schemas) = schemas.as_object_mut() else {
        return;
    };
    for (field, words) in words {
        let mut name = String::new();
        for schema in schemas.values_mut() {
            let property = schema
                .get_mut("properties")
                .and_then(|all| all.get_mut(&field));
            if let Some(property) = property {
                name = component_name(&field, property);
                refer(property, &name, &words);
            }
        }
        if !name.is_empty() {
            let described = format!("A word of `{field}`");
            let component = json!({ "type": "string", "enum": words, "description": described });
            schemas.insert(name, component);
        }
    }
}

/// The name of a field's component: `FirstContactType`, and `Pet` for the list `pets`.
fn component_name(field: &str, property: &Value) -> String {
    let singular = match property.get("items") {
        Some(_) => field.strip_suffix('s').unwrap_or(field),
        None => field,
    };
    pascal(singular)
}

/// Refers to the component `name` where a property takes all of `words`, or says nothing of them.
fn refer(property: &mut Value, name: &str, words: &[String]) {
    let reference = json!({ "$ref": format!("{COMPONENTS}{name}") });
    let all: BTreeSet<&str> = words.iter().map(String::as_str).collect();
    let takes_all = |schema: &Value| match schema["enum"].as_array() {
        Some(own) => {
            own.iter()
                .filter_map(Value::as_str)
                .collect::<BTreeSet<_>>()
                == all
        }
        None => true,
    };
    if property.get("items").is_some() {
        if takes_all(&property["items"]) {
            property["items"] = reference;
        }
    } else if takes_all(property) {
        let is_nullable = is_nullable(property);
        let mut whole = Map::new();
        for kept in ["description", "example", "examples"] {
            if let Some(value) = property.get_mut(kept) {
                whole.insert(kept.to_owned(), value.take());
            }
        }
        match is_nullable {
            true => {
                let branches = json!([reference, { "type": "null" }]);
                whole.insert("anyOf".to_owned(), branches);
            }
            false => drop(whole.insert("$ref".to_owned(), reference["$ref"].clone())),
        }
        *property = Value::Object(whole);
    } else if is_nullable(property) {
        // An enum that forbids null would contradict the type, which allows it.
        if let Some(values) = property["enum"].as_array_mut() {
            values.push(Value::Null);
        }
    }
}

fn is_nullable(property: &Value) -> bool {
    let types = property["type"].as_array();
    types.is_some_and(|types| types.contains(&json!("null")))
}

//! The answers to accepted writes, with the echo of each body.
//!
//! Guarantee: the echo has every member that the body may have, absent ones `null`.

use serde_json::{Map, Value, json};

use crate::document::{
    answers::{ACCEPTED, ACCEPTED_META},
    schemas::{COMPONENTS, operations},
};

/// What limits or describes a value that comes in. The body's own schema says that.
const OF_BODIES: [&str; 11] = [
    "default",
    "description",
    "example",
    "examples",
    "maxItems",
    "maxLength",
    "maximum",
    "minItems",
    "minLength",
    "minimum",
    "pattern",
];

/// Where an operation refers to its answer.
const ANSWER: &str = "/responses/200/content/application~1json/schema/$ref";

/// Gives each operation that answers with its body an answer of its own.
pub(super) fn show_results(document: &mut Value) {
    let general = format!("{COMPONENTS}{ACCEPTED}");
    let mut bodies = Vec::new();
    for operation in operations(document) {
        let body = &operation["requestBody"]["content"]["application/json"]["schema"]["$ref"];
        let body = body.as_str().and_then(|path| path.strip_prefix(COMPONENTS));
        let body = body.map(str::to_owned);
        let answer = operation.pointer_mut(ANSWER);
        let answer = answer.filter(|to| **to == *general);
        if let (Some(body), Some(answer)) = (body, answer) {
            *answer = json!(format!("{COMPONENTS}{body}{ACCEPTED}"));
            bodies.push(body);
        }
    }
    let Some(schemas) = document["components"]["schemas"].as_object_mut() else {
        return;
    };
    schemas.remove(ACCEPTED);
    for body in bodies {
        let result = result_of(&schemas[&body]);
        let accepted = json!({
            "type": "object",
            "description": "The write is accepted and durable",
            "required": ["meta", "result"],
            "properties": {
                "meta": { "$ref": format!("{COMPONENTS}{ACCEPTED_META}") },
                "result": { "$ref": format!("{COMPONENTS}{body}Result") },
            },
        });
        schemas.insert(format!("{body}{ACCEPTED}"), accepted);
        schemas.insert(format!("{body}Result"), result);
    }
}

/// The schema of the echo of a body.
fn result_of(body: &Value) -> Value {
    let mut properties = Map::new();
    for (name, property) in body["properties"].as_object().into_iter().flatten() {
        let mut property = property.clone();
        if let Some(members) = property.as_object_mut() {
            members.retain(|name, _| !OF_BODIES.contains(&&**name));
            if members
                .get("format")
                .is_some_and(|format| format != "date-time")
            {
                members.remove("format");
            }
        }
        properties.insert(name.clone(), property);
    }
    let names: Vec<&String> = properties.keys().collect();
    json!({
        "type": "object",
        "description": "The accepted body: every member, with what is assumed filled in, absent ones null",
        "required": names,
        "properties": properties,
    })
}

//! Which members an answer always has, and how a value that may be `null` is written down.
//!
//! Guarantee: a member of an answer is required unless [`SOMETIMES`] names it. Answers are made from
//! types whose members are all sent, `null` where there is nothing.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::document::schemas::{body_names, references};

/// Members of answers that are left out at times, by their schema.
const SOMETIMES: &[(&str, &[&str])] = &[
    (
        "AcceptedMeta",
        &["write_status", "errors", "created_record_id"],
    ),
    (
        "ActionAccess",
        &["status", "error_message", "unsupported", "untested"],
    ),
    ("ErrorMembers", &["details"]),
    (
        "ErrorDetails",
        &[
            "name",
            "issues",
            "reason",
            "job_id",
            "may_repeat",
            "request_id",
        ],
    ),
    ("GenericAccepted", &["meta"]),
    ("ListMeta", &["total", "total_is_exact"]),
];

/// The one of them that may be `null` besides.
const MAY_BE_NULL: &str = "created_record_id";

/// Names what is required in answers, and writes every value that may be `null` in the one way that
/// client generators bear.
pub(super) fn require(document: &mut Value) {
    let of_requests = requested(document);
    if let Some(schemas) = document["components"]["schemas"].as_object_mut() {
        for (name, schema) in schemas {
            one_example(schema);
            if !of_requests.contains(name) {
                let sometimes = SOMETIMES.iter().find(|(schema, _)| schema == name);
                require_all(schema, sometimes.map_or(&[], |(_, members)| members));
            }
        }
    }
    // An issue has what Zod gives one of its code besides.
    document["components"]["schemas"]["Issue"]["additionalProperties"] = json!(true);
    plainer(document);
}

/// The names of the schemas that requests are made of.
fn requested(document: &Value) -> BTreeSet<String> {
    let schemas = &document["components"]["schemas"];
    let (mut found, bodies) = (BTreeSet::new(), body_names(document));
    let mut names: Vec<&str> = bodies.iter().map(String::as_str).collect();
    while let Some(name) = names.pop() {
        if found.insert(name.to_owned()) {
            references(&schemas[name], &mut names);
        }
    }
    found
}

/// Requires every member but `sometimes`, wherever in `schema` an object is described.
fn require_all(schema: &mut Value, sometimes: &[&str]) {
    match schema {
        Value::Object(members) => {
            let described = members.get_mut("properties").and_then(Value::as_object_mut);
            if let Some(properties) = described {
                for name in sometimes.iter().filter(|name| **name != MAY_BE_NULL) {
                    if let Some(property) = properties.get_mut(*name) {
                        deny_null(property);
                    }
                }
                let names = properties.keys();
                let always: Vec<_> = names
                    .filter(|name| !sometimes.contains(&&***name))
                    .collect();
                let always = json!(always);
                members.insert("required".to_owned(), always);
            }
            for member in members.values_mut() {
                require_all(member, sometimes);
            }
        }
        Value::Array(values) => values
            .iter_mut()
            .for_each(|one| require_all(one, sometimes)),
        _ => {}
    }
}

/// Takes `null` from the types of a property: when there is nothing, the member is left out.
fn deny_null(property: &mut Value) {
    if let Some(types) = property["type"].as_array() {
        let others: Vec<&Value> = types.iter().filter(|one| *one != "null").collect();
        if let [only] = others[..] {
            property["type"] = only.clone();
        }
    }
    let others: Vec<Value> = property["oneOf"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|one| one["type"] != "null")
        .cloned()
        .collect();
    if let ([only], Some(members)) = (&others[..], property.as_object_mut()) {
        members.remove("oneOf");
        members.extend(only.as_object().cloned().unwrap_or_default());
    }
}

/// Whether a schema takes any object. Generators take one that says nothing of its members for one
/// without members.
fn is_free(schema: &Map<String, Value>) -> bool {
    let takes_objects = match schema.get("type") {
        Some(Value::Array(types)) => types.iter().any(|one| one == "object"),
        Some(one) => one == "object",
        None => false,
    };
    takes_objects
        && !["properties", "additionalProperties"]
            .iter()
            .any(|name| schema.contains_key(*name))
}

/// Drops the examples of single members where the whole has one.
fn one_example(schema: &mut Value) {
    if schema.get("example").is_none() {
        return;
    }
    let properties = schema.get_mut("properties").and_then(Value::as_object_mut);
    for property in properties.into_iter().flat_map(|all| all.values_mut()) {
        if let Some(members) = property.as_object_mut() {
            members.remove("example");
        }
    }
}

/// Drops defaults, which some generators have their clients send by themselves, and writes choices
/// without a discriminator as `anyOf`, `null` last.
fn plainer(value: &mut Value) {
    match value {
        Value::Object(members) => {
            // A property that is called so is described by an object.
            if members
                .get("default")
                .is_some_and(|value| !value.is_object())
            {
                members.remove("default");
            }
            if is_free(members) {
                members.insert("additionalProperties".to_owned(), json!(true));
            }
            if !members.contains_key("discriminator")
                && let Some(Value::Array(mut branches)) = members.remove("oneOf")
            {
                branches.sort_by_key(|one| one["type"] == "null");
                members.insert("anyOf".to_owned(), Value::Array(branches));
            }
            for (name, member) in members {
                if name != "example" && name != "examples" {
                    plainer(member);
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(plainer),
        _ => {}
    }
}

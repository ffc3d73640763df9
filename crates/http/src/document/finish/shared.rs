//! What operations have alike, once: parameters, refusals, headers of answers.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::document::{lists, names::pascal, problems, schemas::operations, webhooks};

/// How many operations must have a parameter alike before it becomes a component.
const SHARED_MIN: usize = 3;

/// Headers of answers: name, component, type, words.
#[rustfmt::skip]
const HEADERS: &[(&str, &str, &str, &str)] = &[
    ("x-request-id", "RequestId", "string", "The request's id: the caller's own when it is sane, else made. Every log line of the request has it"),
    ("x-ratelimit-limit", "RateLimitLimit", "integer", "Requests a minute that the API key may send"),
    ("x-ratelimit-remaining", "RateLimitRemaining", "integer", "Requests that the API key may send at once now"),
    ("idempotency-replayed", "IdempotencyReplayed", "string", "`true` when the answer is that of an earlier request with the same Idempotency-Key"),
    ("preference-applied", "PreferenceApplied", "string", "The part of `Prefer` that was kept to, such as `wait=10`"),
    ("retry-after", "RetryAfter", "integer", "Seconds after which to try again"),
];

/// Makes components of what operations have alike.
pub(super) fn share(document: &mut Value) {
    let refusals: Map<String, Value> = problems::responses()
        .map(|(name, response)| (name.to_owned(), json!(response)))
        .collect();
    document["components"]["responses"] = Value::Object(refusals);
    if let Some(responses) = document["components"]["responses"].as_object_mut() {
        for (name, response) in responses.iter_mut() {
            let retry = ["Refused", "Failed"].contains(&&**name);
            let names: &[&str] = if retry {
                &[
                    "x-request-id",
                    "x-ratelimit-limit",
                    "x-ratelimit-remaining",
                    "retry-after",
                ]
            } else {
                &["x-request-id"]
            };
            put_headers(response, names);
        }
        responses.extend(webhooks::answers());
    }
    for operation in operations(document) {
        // The spelling for operations that take no key; the routes' macros can only say `[{}]`.
        if operation.get("security") == Some(&json!([{}])) {
            operation["security"] = json!([]);
        }
        let takes = |name: &str| {
            let all = operation["parameters"].as_array();
            all.is_some_and(|all| all.iter().any(|one| one["name"] == name))
        };
        // Those that every answer has stand at the refusals, and in words in front of all.
        let mut names = Vec::new();
        if takes("Idempotency-Key") {
            names.push("idempotency-replayed");
        }
        if takes("Prefer") {
            names.push("preference-applied");
        }
        if !names.is_empty() {
            put_headers(&mut operation["responses"]["200"], &names);
        }
    }
    let headers: Map<String, Value> = HEADERS
        .iter()
        .map(|(_, component, kind, words)| {
            let header = json!({ "description": words, "schema": { "type": kind } });
            ((*component).to_owned(), header)
        })
        .collect();
    document["components"]["headers"] = Value::Object(headers);
    share_parameters(document);
}

fn put_headers(response: &mut Value, names: &[&str]) {
    let named = HEADERS.iter().filter(|header| names.contains(&header.0));
    let headers: Map<String, Value> = named
        .map(|(name, component, ..)| {
            let reference = json!({ "$ref": format!("#/components/headers/{component}") });
            ((*name).to_owned(), reference)
        })
        .collect();
    response["headers"] = Value::Object(headers);
}

/// Describes the parameters of pages alike, wherever they are bounded alike.
fn describe_pages_alike(document: &mut Value) {
    let known: Vec<Value> = lists::page().into_iter().chain(lists::times()).collect();
    for operation in operations(document) {
        let parameters = operation
            .get_mut("parameters")
            .and_then(Value::as_array_mut);
        for parameter in parameters.into_iter().flatten() {
            let alike = known.iter().find(|one| {
                one["name"] == parameter["name"]
                    && one["schema"]["maximum"] == parameter["schema"]["maximum"]
            });
            if let Some(alike) = alike {
                *parameter = alike.clone();
            }
        }
    }
}

/// Of the parameters of one name, the most frequent becomes a component.
fn share_parameters(document: &mut Value) {
    describe_pages_alike(document);
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for operation in operations(document) {
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            *counts.entry(parameter.to_string()).or_default() += 1;
        }
    }
    let mut shared: BTreeMap<String, (usize, Value)> = BTreeMap::new();
    for (text, count) in counts.iter().filter(|(_, count)| **count >= SHARED_MIN) {
        let parameter: Value = serde_json::from_str(text).unwrap_or_default();
        let name = pascal(parameter["name"].as_str().unwrap_or_default());
        let known = shared.entry(name).or_insert((0, Value::Null));
        if *count > known.0 {
            *known = (*count, parameter);
        }
    }
    for operation in operations(document) {
        let parameters = operation
            .get_mut("parameters")
            .and_then(Value::as_array_mut);
        for parameter in parameters.into_iter().flatten() {
            let name = pascal(parameter["name"].as_str().unwrap_or_default());
            if shared.get(&name).is_some_and(|(_, one)| one == parameter) {
                *parameter = json!({ "$ref": format!("#/components/parameters/{name}") });
            }
        }
    }
    let shared = shared.into_iter().map(|(name, (_, one))| (name, one));
    let parameters: Map<String, Value> = shared.chain(webhooks::parameters()).collect();
    document["components"]["parameters"] = Value::Object(parameters);
}

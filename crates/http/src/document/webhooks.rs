//! The requests that receivers of webhooks get, for the document.
//!
//! Guarantee: the examples are made by what makes the bodies, and keep the schemas beside them.
//! Source: the public contract, section 6.

use connectors::connector::Definition;
use model::{
    EventId, Timestamp, WebhookId,
    record::Kind,
    webhook::{Ended, Event, Trigger, stored_change, stored_new, stored_run},
    write::{Outcome, WriteStatus},
};
use serde_json::{Map, Value, json};

/// The trigger of a test event. No subscription is to it.
pub const TEST: &str = "TEST";

/// The body of a test event.
pub(crate) fn test_body(webhook_id: WebhookId, event_id: EventId, now: Timestamp) -> Value {
    json!({
        "trigger": TEST,
        "data": {
            "event": TEST,
            "webhook_id": webhook_id,
            "message": "This is a test. It stands in no log, and is not sent again",
        },
        "meta": {
            "object": null,
            "integration_id": null,
            "event_id": event_id,
            "created_at": now,
        },
    })
}

/// The requests, by trigger.
///
/// # Errors
/// In words, when an example cannot be made.
pub(crate) fn requests(of: &Definition) -> Result<Value, String> {
    let mut requests = Map::new();
    for trigger in Trigger::ALL {
        let event = example(*trigger, of)?;
        let body = event.body().map_err(|why| why.to_string())?;
        let request = request(trigger.word(), words(*trigger), &data(*trigger), &body);
        requests.insert(trigger.word().to_owned(), request);
    }
    let (webhook, event) = (id::<WebhookId>("whk")?, id::<EventId>("evt")?);
    let body = test_body(webhook, event, Timestamp::ZERO);
    let words =
        "`POST /v1/webhooks/{id}/test` was called. It stands in no log, and is not sent again";
    let data = json!({ "webhook_id": text(), "message": text() });
    requests.insert(TEST.to_owned(), request(TEST, words, &data, &body));
    Ok(Value::Object(requests))
}

/// An id for examples.
fn id<T: std::str::FromStr>(prefix: &str) -> Result<T, String> {
    let text = format!("{prefix}_01kaz6v2zrf0pt4jbqm3y8s5nd");
    text.parse()
        .map_err(|_| format!("{text} is not an id of its kind"))
}

const fn words(trigger: Trigger) -> &'static str {
    match trigger {
        Trigger::DataNew => "A record was stored that was not there before",
        Trigger::DataUpdate => "A record changed",
        Trigger::SyncComplete => "A synchronisation has ended, and it was not the first",
        Trigger::FirstSyncComplete => "The first synchronisation of an integration has ended",
        Trigger::JobFailure => "A synchronisation brought nothing",
        Trigger::WriteFailure => "A write ended, and not all of it is at the vendor",
        Trigger::WriteSuccess => "A write ended, and all of it is at the vendor",
    }
}

fn text() -> Value {
    json!({ "type": "string" })
}

fn maybe_text() -> Value {
    json!({ "type": ["string", "null"] })
}

/// The members of `data`, beside those that all have.
fn data(trigger: Trigger) -> Value {
    let count = json!({ "type": "integer", "minimum": 0 });
    let errors = json!({ "type": "array", "items": text() });
    let record = json!({
        "job_id": maybe_text(), "root_job_id": maybe_text(), "job_type": maybe_text(), "object": text(), "record_id": text(),
        "context": { "type": "object", "properties": { "community_id": maybe_text() }, "required": ["community_id"] },
    });
    let with = |mut members: Value, name: &str, schema: Value| {
        members[name] = schema;
        members
    };
    match trigger {
        Trigger::WriteFailure | Trigger::WriteSuccess => json!({
            "root_job_id": text(), "write_status": text(), "outcome": maybe_text(), "errors": errors, "created_record_id": maybe_text(), "job_type": maybe_text(),
        }),
        Trigger::SyncComplete | Trigger::FirstSyncComplete | Trigger::JobFailure => json!({
            "job_id": maybe_text(), "root_job_id": maybe_text(), "job_type": maybe_text(), "successful_job_count": count, "failed_job_count": count,
            "is_sync_finished": { "type": "boolean" }, "errors": errors,
        }),
        Trigger::DataNew => with(
            record,
            "payload",
            json!({
                "type": ["object", "null"],
                "description": "The record, as reading it answers, as it was then; null when the person in it was forgotten",
            }),
        ),
        Trigger::DataUpdate => with(
            record,
            "diff",
            json!({
                "type": "object", "required": ["new", "previous"],
                "properties": { "new": { "type": "object" }, "previous": { "type": "object" } },
                "description": "The members that changed, with their values since and before; both empty when the person in it was forgotten",
            }),
        ),
    }
}

/// Every member of an object is there, in all events of a trigger.
fn object(properties: &Value) -> Value {
    let names: Vec<&String> = properties
        .as_object()
        .map(|all| all.keys().collect())
        .unwrap_or_default();
    json!({ "type": "object", "properties": properties, "required": names })
}

fn header(name: &str, words: &str) -> Value {
    json!({ "name": name, "in": "header", "required": true, "description": words, "schema": text() })
}

fn request(trigger: &str, words: &str, members: &Value, example: &Value) -> Value {
    let mut data = members.clone();
    data["event"] = json!({ "const": trigger });
    if trigger != TEST {
        data["integration_id"] = text();
        data["vendor"] = text();
    }
    let meta = json!({
        "object": { "type": ["string", "null"], "description": "The model of the record; null when it is about none" },
        "integration_id": maybe_text(),
        "event_id": { "type": "string", "description": "The same as `webhook-id`" },
        "created_at": { "type": "string", "format": "date-time" },
    });
    let body =
        json!({ "trigger": { "const": trigger }, "data": object(&data), "meta": object(&meta) });
    json!({ "post": {
        "operationId": format!("webhook_sent_{}", trigger.to_lowercase()),
        "tags": ["Webhooks"],
        "summary": words,
        "description": "Sent to the `url` of each webhook that is to it, until it is taken. It may come more than once, and not in order: `webhook-id` tells a repeat.",
        "parameters": [
            header("webhook-id", "The event's id, the same for every attempt and every replay"),
            header("webhook-timestamp", "When this attempt was made, in seconds since 1970. Refuse one that is more than five minutes off"),
            header("webhook-signature", "Standard Webhooks: `v1,` and the base64 of HMAC-SHA256 over `{webhook-id}.{webhook-timestamp}.{body}`; two, with a blank between them, while a secret is being rotated"),
            header("propexo-signature", "The lower-case hex of HMAC-SHA256 over the body. It tells neither a repeat nor an old one: prefer the other"),
        ],
        "requestBody": { "required": true, "content": { "application/json": { "schema": object(&body), "example": example } } },
        "responses": {
            "2XX": { "description": "It is taken. Answer within 15 s, and do the work afterwards" },
            "410": { "description": "No more: without a body, the webhook is switched off at once; with one, if that is said again six hours later and nothing was taken in between" },
            "429": { "description": "Later: `Retry-After` is kept to. So is that of a 503" },
            "default": { "description": "It is sent again, after 5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 14 h, 20 h and 24 h. A redirect is not followed" },
        },
    } })
}

/// An event of this trigger.
fn example(trigger: Trigger, of: &Definition) -> Result<Event, String> {
    let (vendor, title) = (of.terms.vendor, of.title);
    let kind = trigger.is_by_model().then_some(Kind::Attribution);
    let is_write = [Trigger::WriteFailure, Trigger::WriteSuccess].contains(&trigger);
    let community = json!(id::<model::CommunityId>("com")?);
    let is_good = trigger == Trigger::WriteSuccess;
    let members = |name: &str| Map::from_iter([("name".to_owned(), json!(name))]);
    let stored = match trigger {
        Trigger::DataNew => Some(stored_new(
            Some("Craigslist"),
            &json!({ "name": "Craigslist", "community_ids": [community] }),
        )),
        Trigger::DataUpdate => Some(stored_change(
            &Value::Null,
            &members("Craigslist.org"),
            &members("Craigslist"),
        )),
        Trigger::SyncComplete | Trigger::FirstSyncComplete => {
            Some(stored_run(WriteStatus::Success, &[]))
        }
        Trigger::JobFailure => Some(stored_run(
            WriteStatus::Failure,
            &[format!("{title} refuses the credentials")],
        )),
        Trigger::WriteFailure | Trigger::WriteSuccess => None,
    };
    Ok(Event {
        seq: 1,
        id: id("evt")?,
        at: Timestamp::ZERO,
        trigger,
        kind,
        integration_id: id::<model::IntegrationId>("int")?.to_string(),
        integration_vendor: vendor.to_string(),
        subject: match kind {
            Some(_) => id::<model::AttributionId>("att")?.to_string(),
            None => id::<model::JobId>("job")?.to_string(),
        },
        job_id: Some(id::<model::JobId>("job")?.to_string()),
        job_type: Some(if is_write { "prospect_create" } else { "sync" }.to_owned()),
        stored,
        ended: is_write.then(|| Ended {
            status: if is_good {
                WriteStatus::Success
            } else {
                WriteStatus::Failure
            },
            outcome: is_good.then_some(Outcome::Created),
            errors: if is_good {
                Vec::new()
            } else {
                vec![format!("{title} refused it (422): email is invalid")]
            },
            record_id: is_good.then(|| "pro_01kaz6v2zrf0pt4jbqm3y8s5nd".to_owned()),
        }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_trigger_is_described_and_its_example_keeps_its_schema() {
        let of = connectors::VENDORS[0];
        let all = requests(of).expect("requests");
        let all = all.as_object().expect("an object");
        assert_eq!(all.len(), Trigger::ALL.len() + 1);
        for (name, one) in all {
            let content = &one["post"]["requestBody"]["content"]["application/json"];
            let validator = jsonschema::draft202012::new(&content["schema"]).expect("a schema");
            let found: Vec<String> = validator
                .iter_errors(&content["example"])
                .map(|why| why.to_string())
                .collect();
            assert_eq!(found, Vec::<String>::new(), "{name}");
            let told = content["example"]["data"].as_object().expect("data");
            let described = &content["schema"]["properties"]["data"]["properties"];
            for member in told.keys() {
                assert!(!described[member].is_null(), "{name} has {member} too");
            }
        }
    }
}

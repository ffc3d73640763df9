//! The requests that receivers of webhooks get, for the document.
//!
//! Guarantee: the schemas are those of the types that the bodies are serialised from, and the
//! examples are made by what makes the bodies.
//! Source: the public contract, sections 6 and 8.2.

use connectors::{
    component::{Component, Schemas},
    connector::Definition,
};
use model::{
    EventId, Timestamp, WebhookId,
    record::Kind,
    webhook::{
        ChangedRecordData, Ended, Event, EventBody, EventData, EventMeta, NewRecordData,
        SyncRunData, TEST, TestData, Trigger, WriteEndData, stored_change, stored_new, stored_run,
    },
    write::{Outcome, WriteStatus},
};
use serde_json::{Map, Value, json};
use utoipa::{PartialSchema, ToSchema};

use crate::document::{names::pascal, schemas::COMPONENTS};

/// Stands for the body of any event in the document.
pub struct WebhookBody;

impl ToSchema for WebhookBody {}

impl PartialSchema for WebhookBody {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
        // `add` puts the union of all bodies in its place.
        utoipa::openapi::schema::Object::new().into()
    }
}

/// The body of a test event.
pub(crate) fn test_body(webhook_id: WebhookId, event_id: EventId, now: Timestamp) -> EventBody {
    EventBody {
        trigger: TEST,
        data: EventData::Test(TestData {
            event: TEST,
            webhook_id: webhook_id.to_string(),
            message: "This is a test. It stands in no log, and is not sent again".to_owned(),
        }),
        meta: EventMeta {
            object: None,
            integration_id: None,
            event_id,
            created_at: now,
        },
    }
}

/// Adds the requests and their bodies to the document.
///
/// # Errors
/// In words, when an example cannot be made.
pub(crate) fn add(document: &mut Value, of: &Definition) -> Result<(), String> {
    let mut requests = Map::new();
    let mut bodies = Map::new();
    for trigger in Trigger::ALL {
        let event = example(*trigger, of)?;
        let body = event.body().map_err(|why| why.to_string())?;
        let request = request(trigger.word(), words(*trigger), &json!(body));
        requests.insert(trigger.word().to_owned(), request);
        put_body(&mut bodies, trigger.word(), data(*trigger))?;
    }
    let (webhook, event) = (id::<WebhookId>("whk")?, id::<EventId>("evt")?);
    let body = test_body(webhook, event, Timestamp::ZERO);
    let words =
        "`POST /v1/webhooks/{id}/test` was called. It stands in no log, and is not sent again";
    requests.insert(TEST.to_owned(), request(TEST, words, &json!(body)));
    put_body(&mut bodies, TEST, Component::of::<TestData>())?;
    put_component(&mut bodies, Component::of::<EventMeta>())?;

    let triggers = requests.keys();
    let mapping: Map<String, Value> = triggers
        .map(|word| {
            (
                word.clone(),
                json!(format!("{COMPONENTS}{}", body_name(word))),
            )
        })
        .collect();
    let branches: Vec<Value> = mapping.values().map(|to| json!({ "$ref": to })).collect();
    let union = json!({
        "description": "The body of an event, by its trigger",
        "oneOf": branches,
        "discriminator": { "propertyName": "trigger", "mapping": mapping },
    });
    bodies.insert(WebhookBody::name().into_owned(), union);
    if let Some(schemas) = document["components"]["schemas"].as_object_mut() {
        schemas.extend(bodies);
    }
    document["webhooks"] = Value::Object(requests);
    Ok(())
}

/// The parameters of all requests, by the names of their components.
pub(crate) fn parameters() -> impl Iterator<Item = (String, Value)> {
    [
        ("webhook-id", "The event's id, the same for every attempt and every replay"),
        ("webhook-timestamp", "When this attempt was made, in seconds since 1970. Refuse one that is more than five minutes off"),
        ("webhook-signature", "Standard Webhooks: `v1,` and the base64 of HMAC-SHA256 over `{webhook-id}.{webhook-timestamp}.{body}`; two, with a blank between them, while a secret is being rotated"),
        ("propexo-signature", "The lower-case hex of HMAC-SHA256 over the body. It tells neither a repeat nor an old request: prefer the other"),
    ]
    .into_iter()
    .map(|(name, words)| {
        let parameter = json!({
            "name": name, "in": "header", "required": true, "description": words,
            "schema": { "type": "string" },
        });
        (pascal(name), parameter)
    })
}

/// The name of a trigger's body: `DataNewBody`.
fn body_name(trigger: &str) -> String {
    format!("{}Body", pascal(&trigger.to_lowercase()))
}

/// What the events of a trigger say.
fn data(trigger: Trigger) -> Component {
    match trigger {
        Trigger::WriteFailure | Trigger::WriteSuccess => Component::of::<WriteEndData>(),
        Trigger::SyncComplete
        | Trigger::FirstSyncComplete
        | Trigger::JobSuccess
        | Trigger::JobFailure => Component::of::<SyncRunData>(),
        Trigger::DataNew => Component::of::<NewRecordData>(),
        Trigger::DataUpdate => Component::of::<ChangedRecordData>(),
    }
}

fn put_component(all: &mut Map<String, Value>, component: Component) -> Result<(), String> {
    let mut schemas = Schemas::new();
    component.collect(&mut schemas);
    let mut found = Map::new();
    for (name, schema) in schemas {
        let schema = serde_json::to_value(schema).map_err(|why| why.to_string())?;
        found.insert(name, schema);
    }
    let name = component.name();
    let whole = found.remove(&*name).unwrap_or_default();
    let whole = merged(whole, &mut found);
    found.insert(name.into_owned(), whole);
    all.extend(found);
    Ok(())
}

/// One object in the place of several that hold all together, as those of a flattened member do.
/// What they refer to is taken from `others`.
fn merged(mut schema: Value, others: &mut Map<String, Value>) -> Value {
    let Some(Value::Array(parts)) = schema.as_object_mut().and_then(|all| all.remove("allOf"))
    else {
        return schema;
    };
    let mut properties = Map::new();
    for mut part in parts {
        let other = part["$ref"]
            .as_str()
            .and_then(|to| to.strip_prefix(COMPONENTS));
        if let Some(other) = other.and_then(|name| others.remove(name)) {
            part = other;
        }
        if let Value::Object(more) = part["properties"].take() {
            properties.extend(more);
        }
    }
    schema["type"] = json!("object");
    schema["properties"] = Value::Object(properties);
    schema
}

/// Adds the body of a trigger's events, with the members of its data at the top level too.
fn put_body(all: &mut Map<String, Value>, trigger: &str, data: Component) -> Result<(), String> {
    put_component(all, data)?;
    let mut properties = all[&*data.name()]["properties"].clone();
    for property in properties
        .as_object_mut()
        .into_iter()
        .flat_map(Map::values_mut)
    {
        if let Some(members) = property.as_object_mut() {
            members.remove("description");
        }
    }
    properties["trigger"] = json!({ "type": "string", "const": trigger });
    properties["data"] = json!({ "$ref": format!("{COMPONENTS}{}", data.name()) });
    properties["meta"] = json!({ "$ref": format!("{COMPONENTS}{}", EventMeta::name()) });
    let body = json!({
        "type": "object",
        "description": "An event's body. The members of `data` stand at the top level too",
        "properties": properties,
    });
    all.insert(body_name(trigger), body);
    Ok(())
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
        Trigger::JobSuccess => "A synchronisation has ended well",
        Trigger::JobFailure => "A synchronisation brought nothing",
        Trigger::WriteFailure => "A write ended, and not all of it is at the vendor",
        Trigger::WriteSuccess => "A write ended, and all of it is at the vendor",
    }
}

fn request(trigger: &str, words: &str, example: &Value) -> Value {
    let schema = json!({ "$ref": format!("{COMPONENTS}{}", body_name(trigger)) });
    let parameters: Vec<Value> = parameters()
        .map(|(name, _)| json!({ "$ref": format!("#/components/parameters/{name}") }))
        .collect();
    json!({ "post": {
        "operationId": format!("webhook_sent_{}", trigger.to_lowercase()),
        "tags": ["Webhook events"],
        "summary": words,
        "security": [],
        "parameters": parameters,
        "requestBody": { "required": true, "content": { "application/json": { "schema": schema, "example": example } } },
        "responses": {
            "2XX": { "$ref": "#/components/responses/Taken" },
            "410": { "$ref": "#/components/responses/Unsubscribed" },
            "429": { "$ref": "#/components/responses/TakenLater" },
            "default": { "$ref": "#/components/responses/NotTaken" },
        },
    } })
}

/// What a receiver may answer, by the names of the responses.
pub(crate) fn answers() -> impl Iterator<Item = (String, Value)> {
    [
        ("Taken", "The receiver has taken the event. Answer within 15 s, and do the work afterwards"),
        ("Unsubscribed", "The receiver wants no more events. Without a body, the webhook is switched off at once; with one, if the receiver says so again six hours later and took nothing in between"),
        ("TakenLater", "The receiver wants the event later. Portico keeps to its `Retry-After`, and to that of a 503"),
        ("NotTaken", "Portico sends the event again, after 5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 14 h, 20 h and 24 h. It follows no redirect"),
    ]
    .into_iter()
    .map(|(name, words)| (name.to_owned(), json!({ "description": words })))
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
        Trigger::SyncComplete | Trigger::FirstSyncComplete | Trigger::JobSuccess => {
            Some(stored_run(
                WriteStatus::Success,
                &[],
                &[Kind::Attribution.model().to_owned()],
            ))
        }
        Trigger::JobFailure => Some(stored_run(
            WriteStatus::Failure,
            &[format!("{title} refuses the credentials")],
            &[],
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
        let mut document = json!({ "components": { "schemas": {} } });
        add(&mut document, of).expect("the webhooks");
        let all = document["webhooks"].as_object().expect("an object");
        assert_eq!(all.len(), Trigger::ALL.len() + 1);
        for (name, one) in all {
            let content = &one["post"]["requestBody"]["content"]["application/json"];
            let mut schema = content["schema"].clone();
            let described = schema["$ref"].as_str().unwrap().trim_start_matches('#');
            let described = document.pointer(described).expect("the body")["properties"].clone();
            schema["components"] = document["components"].clone();
            let validator = jsonschema::draft202012::new(&schema).expect("a schema");
            let example = &content["example"];
            let found: Vec<String> = validator
                .iter_errors(example)
                .map(|why| why.to_string())
                .collect();
            assert_eq!(found, Vec::<String>::new(), "{name}");
            let members = example.as_object().expect("a body");
            let described: Vec<&String> =
                described.as_object().expect("properties").keys().collect();
            assert_eq!(members.keys().collect::<Vec<_>>(), described, "{name}");
            for (member, value) in example["data"].as_object().expect("data") {
                assert_eq!(
                    members[member], *value,
                    "{name} has {member} at the top too"
                );
            }
        }
    }
}

//! The OpenAPI document: generated from the handlers and types, and the very thing that bodies are validated against.
//!
//! Guarantee: the schema that is shown is the schema that is enforced: the validators are compiled from this document's components.

use std::collections::BTreeMap;

use connectors::Registry;
use jsonschema::Validator;
use model::{
    directory::Vendor,
    resources::appointment::Availability,
    write::{Operation, Outcome, WriteStatus},
};
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::{
    IntoParams, IntoResponses, Modify, OpenApi, ToSchema,
    openapi::security::{Http, HttpAuthScheme, SecurityScheme},
};

use crate::blank::Shape;

/// The document's frame; the routes add themselves.
#[derive(OpenApi)]
#[openapi(
    info(title = "Portico", description = "The open, self-hosted front door to leasing CRMs. Every write is on stable storage before it is answered, \
        is delivered to the vendor until its outcome is known, and can always say what became of it.\n\n\
        In every body, an optional field that is `null` is absent, and so is text that is empty or has only blanks in it, whatever its format: \
        an id, a date and a word of a list too. A required field that is blank is missing. \
        In a query, a date alone and a time without offset are UTC."),
    modifiers(&Bearer),
    tags(
        (name = "Prospects", description = "People who look for an apartment"),
        (name = "Events", description = "What happened between a prospect and a community: calls, messages, notes"),
        (name = "Appointments", description = "Tours"),
        (name = "Listings", description = "Advertisements"),
        (name = "Communities", description = "Properties that prospects are sent to"),
        (name = "Attributions", description = "Where a prospect heard of a community"),
        (name = "Agents", description = "People who let apartments"),
        (name = "Writes", description = "What became of a write"),
        (name = "Integrations", description = "Vendor accounts, and what is registered with them"),
        (name = "Webhooks", description = "What happened, told to whoever subscribes to it: subscriptions, deliveries, and the log of events"),
        (name = "Keys", description = "API keys"),
        (name = "Administration", description = "Synchronisation, vocabulary, and what changed"),
        (name = "Privacy", description = "What prospects agreed to, and forgetting them"),
        (name = "Operations", description = "For those who run Portico"),
    )
)]
pub struct Document;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let components = document.components.get_or_insert_default();
        components.add_security_scheme(
            "bearer",
            SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)),
        );
        document.info.license = None;
    }
}

/// The answer to an accepted write.
#[derive(Serialize, ToSchema)]
pub struct Accepted {
    /// About the write.
    pub meta: AcceptedMeta,
    /// The accepted body: every field, defaults filled in, absent ones null.
    #[schema(value_type = Object)]
    pub result: Value,
}

/// The answer to an accepted generic write.
#[derive(Serialize, ToSchema)]
pub struct GenericAccepted {
    /// The write's id, for write-status.
    pub job_id: String,
    /// Always empty.
    #[schema(value_type = Object)]
    pub data: Value,
    /// Where the write stands. Only with `Prefer: wait`.
    pub meta: Option<AcceptedMeta>,
}

/// The answer to a question when tours are possible.
#[derive(Serialize, ToSchema)]
pub struct AvailabilityAnswer {
    /// About the question.
    pub meta: QuestionMeta,
    /// The calendars: one.
    pub result: Vec<Availability>,
}

/// About a question to the vendor.
#[derive(Serialize, ToSchema)]
pub struct QuestionMeta {
    /// What names the question in the log. Nothing of it is kept.
    pub job_id: String,
}

/// About an accepted write.
#[derive(Serialize, ToSchema)]
pub struct AcceptedMeta {
    /// The write's id, for write-status.
    pub job_id: String,
    /// Where the write stands. Only with `Prefer: wait`.
    pub write_status: Option<WriteStatus>,
    /// Why it has not ended well. Only with `Prefer: wait`.
    pub errors: Option<Vec<String>>,
    /// The id of the record it made or met. Only with `Prefer: wait`.
    pub created_record_id: Option<String>,
}

/// Where a write stands.
#[derive(Serialize, ToSchema)]
pub struct WriteState {
    /// In one word.
    pub write_status: WriteStatus,
    /// Why it has not ended, or not ended well.
    pub errors: Vec<String>,
    /// The id of the record it made or met.
    pub created_record_id: Option<String>,
    /// What it did, once it has ended well.
    pub outcome: Option<Outcome>,
    /// Calls to the vendor so far.
    #[schema(minimum = 0)]
    pub attempts: u32,
    /// When it was accepted.
    #[schema(format = DateTime)]
    pub created_at: String,
    /// When it ended.
    #[schema(format = DateTime)]
    pub completed_at: Option<String>,
    /// When it is tried next, if that is known.
    #[schema(format = DateTime)]
    pub next_attempt_at: Option<String>,
}

/// The answer to a retry.
#[derive(Serialize, ToSchema)]
pub struct Retried {
    /// Always true.
    pub success: bool,
    /// The new write's id.
    pub job_id: String,
}

/// The attempts of a write.
#[derive(Serialize, ToSchema)]
pub struct AttemptsAnswer {
    /// Oldest first.
    pub results: Vec<AttemptRow>,
}

/// One call to the vendor.
#[derive(Serialize, ToSchema)]
pub struct AttemptRow {
    /// Which: 1, 2, ...
    pub attempt: u32,
    /// When it began.
    #[schema(format = DateTime)]
    pub started_at: String,
    /// How long it took; null when it was cut off.
    pub duration_ms: Option<u64>,
    /// How it ended.
    pub outcome: model::write::Class,
    /// Why it did not deliver.
    pub error: Option<String>,
    /// What was sent; null when what is stored of it cannot be read.
    #[schema(value_type = Option<Object>)]
    pub request: Option<Value>,
    /// What came back.
    #[schema(value_type = Option<Object>)]
    pub response: Option<Value>,
}

/// About a list.
#[derive(Serialize, ToSchema)]
pub struct ListMeta {
    /// Rows skipped.
    pub offset: u64,
    /// Rows asked for.
    pub limit: u64,
    /// The order.
    #[serde(rename = "orderBy")]
    pub order_by: Vec<Order>,
    /// Whether more follow.
    #[serde(rename = "hasMore")]
    pub has_more: bool,
    /// How many there are in all. Not with a `cursor`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    /// `false`: there are `total` rows or more. Counting what several conditions hold for took longer than a read may take.
    /// Absent when `total` is exact.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_is_exact: Option<bool>,
    /// What to give as `cursor` for the rows behind these; null when there are none.
    #[serde(rename = "nextCursor")]
    pub next_cursor: Option<String>,
}

/// One field of an order.
#[derive(Serialize, ToSchema)]
pub struct Order {
    /// The field.
    pub field: String,
    /// `asc` or `desc`.
    pub direction: String,
}

/// One record.
#[derive(Serialize, ToSchema)]
pub struct Answer<T> {
    /// About the answer.
    pub meta: ListMeta,
    /// The record.
    pub results: T,
}

/// A page of records.
#[derive(Serialize, ToSchema)]
pub struct PageAnswer<T> {
    /// About the page.
    pub meta: ListMeta,
    /// The records.
    pub results: Vec<T>,
}

/// An answer that is not a success.
#[derive(Serialize, ToSchema)]
pub struct ErrorBody {
    /// What was wrong.
    pub error: ErrorMembers,
}

/// What was wrong.
#[derive(Serialize, ToSchema)]
pub struct ErrorMembers {
    /// One word for programs.
    pub code: String,
    /// A sentence for people.
    pub message: String,
    /// More: the issues of a 400, the request id of a 5xx.
    #[schema(value_type = Option<Object>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub details: Option<Value>,
}

/// How it is.
#[derive(Serialize, ToSchema)]
pub struct Health {
    /// `ok`.
    pub status: String,
}

/// The fields that a prospect may have at any vendor and that Knock has none of.
#[derive(ToSchema)]
#[schema(as = ProspectCreate)]
#[expect(dead_code, reason = "the type stands for its schema")]
pub struct GenericProspectCreate {
    /// The source, in words.
    prospect_source: Option<String>,
    /// The secondary phone number.
    phone_2: Option<String>,
    /// The middle name.
    middle_name: Option<String>,
    /// The second address line.
    address_2: Option<String>,
    /// The country.
    country: Option<String>,
    /// How the prospect prefers to be reached.
    preferred_contact_method: Option<String>,
}

macro_rules! generic {
    ($($(#[$doc:meta])* $name:ident as $schema:ident;)+) => {$(
        $(#[$doc])*
        #[derive(ToSchema)]
        #[schema(as = $schema)]
        pub struct $name {}
    )+};
}

generic! {
    /// What to change on a prospect, whatever its vendor.
    GenericProspectUpdate as ProspectUpdate;
    /// An event, whatever the vendor.
    GenericEventCreate as EventCreate;
    /// A tour, whatever the vendor.
    GenericAppointmentCreate as AppointmentCreate;
    /// The question when tours are possible, whatever the vendor.
    GenericAvailabilityQuery as AppointmentAvailability;
    /// A listing, whatever the vendor.
    GenericListingCreate as ListingCreate;
}

/// What a write's query may say.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "the type stands for its documentation")]
pub struct WriteQuery {
    /// `true` drops unknown fields, and those that the vendor has no place for, instead of refusing them
    ignore_unknown_fields: Option<bool>,
}

/// What a write's head may say.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "the type stands for its documentation")]
pub struct WriteHeaders {
    /// Makes a repeat of this request safe: the same key and body replays the first answer. Kept
    /// for 48 hours. Quotes around it are not part of it: `"abc"` and `abc` are the same key
    #[param(
        rename = "Idempotency-Key",
        max_length = 255,
        min_length = 1,
        pattern = r#"^(?:[!#-~][!-~]*|"(?:[ !#-\[\]-~]|\\["\\])+")$"#
    )]
    idempotency_key: Option<String>,
    /// `wait=<seconds>` holds the answer until the outcome is final or the time is over (55 s at
    /// most). A key that may read neither such records nor writes is answered at once, without the
    /// outcome, and so is one that has 256 requests that wait so
    #[param(rename = "Prefer", example = "wait=10")]
    prefer: Option<String>,
}

/// What a log's query may say.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "the type stands for its documentation")]
pub struct LogParameters {
    /// Lines to skip
    #[param(minimum = 0)]
    offset: Option<i64>,
    /// Lines to answer
    #[param(minimum = 1, maximum = 100)]
    limit: Option<i64>,
    /// How far back: `hour`, `day`, `week` or `month`; all that is kept when absent
    #[param(required = false, value_type = String, pattern = "^(hour|day|week|month)$")]
    time_range: Option<String>,
    /// Of this integration
    #[param(required = false, value_type = String, min_length = 1, pattern = r"\S")]
    integration_id: Option<String>,
    /// With this status
    status: Option<WriteStatus>,
}

/// What a query for integrations may say.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "the type stands for its documentation")]
pub struct IntegrationParameters {
    /// Integrations to skip
    #[param(minimum = 0)]
    offset: Option<i64>,
    /// Integrations to answer
    #[param(minimum = 0, maximum = 250)]
    limit: Option<i64>,
    /// `true` answers those that are archived, `false` those that are not; `false` when absent
    #[param(required = false, value_type = String, pattern = "^(true|false)$")]
    archived: Option<String>,
}

/// What a query for a plain list may say.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "the type stands for its documentation")]
pub struct PageParameters {
    /// Rows to skip
    #[param(minimum = 0)]
    offset: Option<i64>,
    /// Rows to answer
    #[param(minimum = 0, maximum = 250)]
    limit: Option<i64>,
}

/// What a rotation's query may say.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "the type stands for its documentation")]
pub struct RotateParameters {
    /// How long the tokens it had are still taken, in seconds; a day when absent, 0 ends them at once
    #[param(minimum = 0, maximum = 2_592_000)]
    overlap_s: Option<i64>,
}

/// What a query for the audit log may say.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "the type stands for its documentation")]
pub struct AuditParameters {
    /// Entries to skip
    #[param(minimum = 0)]
    offset: Option<i64>,
    /// Entries to answer
    #[param(minimum = 0, maximum = 250)]
    limit: Option<i64>,
    /// Of this integration
    #[param(required = false, value_type = String, min_length = 1, pattern = r"\S")]
    integration_id: Option<String>,
    /// Made at this time or later
    #[param(required = false, value_type = String, format = DateTime)]
    created_at_gte: Option<String>,
}

/// What a query for diffs may say.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "the type stands for its documentation")]
pub struct DiffParameters {
    /// Diffs to skip
    #[param(minimum = 0)]
    offset: Option<i64>,
    /// Diffs to answer
    #[param(minimum = 0, maximum = 250)]
    limit: Option<i64>,
    /// Of records of this integration
    #[param(required = false, value_type = String, min_length = 1, pattern = r"\S")]
    integration_id: Option<String>,
    /// Of this record
    #[param(required = false, value_type = String, min_length = 1, pattern = r"\S")]
    record_id: Option<String>,
    /// Of records of this model, such as `crm_prospects`
    #[param(
        required = false,
        value_type = String,
        pattern = "^crm_(communities|attributions|agents|prospects|events|appointments|listings)$"
    )]
    model: Option<String>,
    /// Changed at this time or later
    #[param(required = false, value_type = String, format = DateTime)]
    created_at_gte: Option<String>,
}

/// How a write may be refused.
#[derive(IntoResponses)]
pub enum WriteProblems {
    /// Not valid: every problem is listed
    #[response(status = 400)]
    Invalid(ErrorBody),
    /// No valid API key
    #[response(status = 401)]
    Unauthorized(ErrorBody),
    /// The key may not write
    #[response(status = 403)]
    Forbidden(ErrorBody),
    /// The record in the path does not exist
    #[response(status = 404)]
    NotFound(ErrorBody),
    /// The vendor cannot do this
    #[response(status = 405)]
    NotAllowed(ErrorBody),
    /// The body did not arrive within 10 s, or came slower than 16 KiB in 4 s
    #[response(status = 408)]
    Late(ErrorBody),
    /// An earlier write about the same person has to end first
    #[response(status = 409)]
    Conflict(ErrorBody),
    /// `erased`: the Idempotency-Key was used for a write whose contents were removed since,
    /// because the person was forgotten; nothing was stored
    #[response(status = 410)]
    Erased(ErrorBody),
    /// The body is larger than 256 KiB
    #[response(status = 413)]
    TooLarge(ErrorBody),
    /// The body is not announced as JSON
    #[response(status = 415)]
    NotJson(ErrorBody),
    /// The Idempotency-Key was used with another request
    #[response(status = 422)]
    Mismatch(ErrorBody),
    /// A fault of Portico
    #[response(status = 500)]
    Internal(ErrorBody),
    /// Too busy, or stopping; nothing was stored
    #[response(status = 503)]
    Unavailable(ErrorBody),
}

/// How a question to the vendor may end without an answer.
#[derive(IntoResponses)]
pub enum QuestionProblems {
    /// Not valid: every problem is listed
    #[response(status = 400)]
    Invalid(ErrorBody),
    /// No valid API key
    #[response(status = 401)]
    Unauthorized(ErrorBody),
    /// The key may not read
    #[response(status = 403)]
    Forbidden(ErrorBody),
    /// The body did not arrive within 10 s, or came slower than 16 KiB in 4 s
    #[response(status = 408)]
    Late(ErrorBody),
    /// The body is larger than 256 KiB
    #[response(status = 413)]
    TooLarge(ErrorBody),
    /// The body is not announced as JSON
    #[response(status = 415)]
    NotJson(ErrorBody),
    /// A fault of Portico
    #[response(status = 500)]
    Internal(ErrorBody),
    /// The vendor is slow or failing: ask again after `Retry-After`
    #[response(status = 503)]
    Unavailable(ErrorBody),
}

/// How an administrator's change may be refused.
#[derive(IntoResponses)]
pub enum ChangeProblems {
    /// Not valid: every problem is listed
    #[response(status = 400)]
    Invalid(ErrorBody),
    /// No valid API key
    #[response(status = 401)]
    Unauthorized(ErrorBody),
    /// The key may not administer this
    #[response(status = 403)]
    Forbidden(ErrorBody),
    /// There is none
    #[response(status = 404)]
    NotFound(ErrorBody),
    /// The body did not arrive within 10 s, or came slower than 16 KiB in 4 s
    #[response(status = 408)]
    Late(ErrorBody),
    /// It does not fit how things stand
    #[response(status = 409)]
    Conflict(ErrorBody),
    /// The body is too large
    #[response(status = 413)]
    TooLarge(ErrorBody),
    /// The body is not announced as JSON
    #[response(status = 415)]
    NotJson(ErrorBody),
    /// A fault of Portico
    #[response(status = 500)]
    Internal(ErrorBody),
    /// Too busy, or stopping; nothing was stored
    #[response(status = 503)]
    Unavailable(ErrorBody),
}

/// How reading a record may fail.
#[derive(IntoResponses)]
pub enum GetProblems {
    /// No valid API key
    #[response(status = 401)]
    Unauthorized(ErrorBody),
    /// The key may not read
    #[response(status = 403)]
    Forbidden(ErrorBody),
    /// There is none
    #[response(status = 404)]
    NotFound(ErrorBody),
    /// The database is in trouble, or reading took longer than it may; `Retry-After` says when to try again
    #[response(status = 503)]
    Unavailable(ErrorBody),
}

/// How reading a list may fail.
#[derive(IntoResponses)]
pub enum ListProblems {
    /// A wrong parameter: every one is listed
    #[response(status = 400)]
    Invalid(ErrorBody),
    /// No valid API key
    #[response(status = 401)]
    Unauthorized(ErrorBody),
    /// The key may not read
    #[response(status = 403)]
    Forbidden(ErrorBody),
    /// The database is in trouble, or the read took longer than 5 s: ask for less at once, or go on by `cursor`. `Retry-After` says when to try again
    #[response(status = 503)]
    Unavailable(ErrorBody),
}

/// Lays over a generated document what is known only as data: the vocabulary in force, the fields that lists are filtered and sorted by, and of the
/// generic bodies, the fields of every vendor.
///
/// # Errors
/// In words, when the document cannot be written as JSON.
pub fn finish(document: &utoipa::openapi::OpenApi, registry: &Registry) -> Result<Value, String> {
    let mut document = serde_json::to_value(document).map_err(|why| why.to_string())?;
    let schemas = &mut document["components"]["schemas"];
    for vendor in Vendor::ALL {
        if let Some(connector) = registry.get(vendor) {
            for operation in BODIES {
                let properties = &mut schemas[schema_name(operation, Some(vendor))]["properties"];
                for field in connector.vocabulary().fields() {
                    if let Some(property) = properties.get_mut(field) {
                        let values: Vec<&str> = connector.vocabulary().values(field).collect();
                        offer(property, &values);
                    }
                }
            }
        }
        for operation in BODIES {
            let own = schemas[schema_name(operation, Some(vendor))].clone();
            generalise(&mut schemas[schema_name(operation, None)], &own);
        }
    }
    generalise_update(&mut document["components"]["schemas"]);
    crate::lists::describe(&mut document);
    crate::announced::describe(&mut document)?;
    limit(&mut document);
    Ok(document)
}

/// Says of every operation that takes a key that its key may have sent too much.
fn limit(document: &mut Value) {
    let operations = document["paths"]
        .as_object_mut()
        .into_iter()
        .flat_map(Map::values_mut)
        .filter_map(Value::as_object_mut)
        .flat_map(Map::values_mut);
    for operation in operations {
        if operation.get("security").is_some() {
            let body = json!({ "$ref": "#/components/schemas/ErrorBody" });
            operation["responses"]["429"] = json!({
                "description": "The key, or the address, has sent too many requests, or the key has as many under way of those that cost much or wait as it may have; Retry-After says when to go on",
                "content": { "application/json": { "schema": body } },
            });
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
    let create = schemas[schema_name(BodyKind::ProspectCreate, None)]["properties"].clone();
    let update = &mut schemas[schema_name(BodyKind::ProspectUpdate, None)]["properties"];
    for (name, property) in create.as_object().into_iter().flatten() {
        let names_a_vendors =
            ["integration_id", "community_id", "attribution_id"].contains(&name.as_str());
        if !names_a_vendors && update[name].is_null() {
            update[name] = property.clone();
        }
    }
}

/// What a body is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BodyKind {
    /// A prospect to be made.
    ProspectCreate,
    /// A prospect to be changed.
    ProspectUpdate,
    /// An event.
    EventCreate,
    /// A tour.
    AppointmentCreate,
    /// The question when tours are possible.
    AppointmentAvailability,
    /// A listing.
    ListingCreate,
}

const BODIES: [BodyKind; 6] = [
    BodyKind::ProspectCreate,
    BodyKind::ProspectUpdate,
    BodyKind::EventCreate,
    BodyKind::AppointmentCreate,
    BodyKind::AppointmentAvailability,
    BodyKind::ListingCreate,
];

impl From<Operation> for BodyKind {
    fn from(operation: Operation) -> Self {
        match operation {
            Operation::ProspectCreate => Self::ProspectCreate,
            Operation::ProspectUpdate => Self::ProspectUpdate,
            Operation::EventCreate => Self::EventCreate,
            Operation::AppointmentCreate => Self::AppointmentCreate,
            Operation::ListingCreate => Self::ListingCreate,
        }
    }
}

/// The name of a body's schema: a vendor's, or the generic one.
const fn schema_name(subject: BodyKind, vendor: Option<Vendor>) -> &'static str {
    match (vendor, subject) {
        (None, BodyKind::ProspectCreate) => "ProspectCreate",
        (None, BodyKind::ProspectUpdate) => "ProspectUpdate",
        (None, BodyKind::EventCreate) => "EventCreate",
        (None, BodyKind::AppointmentCreate) => "AppointmentCreate",
        (None, BodyKind::AppointmentAvailability) => "AppointmentAvailability",
        (None, BodyKind::ListingCreate) => "ListingCreate",
        (Some(Vendor::Knock), BodyKind::ProspectCreate) => "ProspectCreateKnock",
        (Some(Vendor::Knock), BodyKind::ProspectUpdate) => "ProspectUpdateKnock",
        (Some(Vendor::Knock), BodyKind::EventCreate) => "EventCreateKnock",
        (Some(Vendor::Knock), BodyKind::AppointmentCreate) => "AppointmentCreateKnock",
        (Some(Vendor::Knock), BodyKind::AppointmentAvailability) => "AppointmentAvailabilityKnock",
        (Some(Vendor::Knock), BodyKind::ListingCreate) => "ListingCreateKnock",
    }
}

/// A body's schema, compiled, and the names of its fields.
pub struct Schema {
    /// What checks a body.
    pub validator: Validator,
    /// Where it has text, which is absent when it is blank.
    pub shape: Shape,
    /// The fields that it has.
    pub fields: Vec<String>,
}

/// The bodies of administration, by the names of their schemas.
const ADMINISTRATION: [&str; 9] = [
    "IntegrationCreate",
    "IntegrationUpdate",
    "CommunityRegister",
    "AttributionRegister",
    "AgentRegister",
    "KeyCreate",
    "WebhookCreate",
    "WebhookUpdate",
    "WebhookReplay",
];

/// The compiled schemas of request bodies.
pub struct Schemas {
    writes: BTreeMap<(Option<Vendor>, BodyKind), Schema>,
    named: BTreeMap<&'static str, Schema>,
}

impl Schemas {
    /// Compiles them out of the document.
    ///
    /// # Errors
    /// In words, when the document's schemas are not valid.
    pub fn compile(document: &Value) -> Result<Self, String> {
        let one = |name: &str| -> Result<Schema, String> {
            let properties = &document["components"]["schemas"][name]["properties"];
            let fields = properties
                .as_object()
                .map(|fields| fields.keys().cloned().collect());
            Ok(Schema {
                validator: compile(document, name)?,
                shape: Shape::of(
                    &document["components"]["schemas"][name],
                    &document["components"],
                ),
                fields: fields.ok_or_else(|| format!("the schema {name} has no fields"))?,
            })
        };
        let mut writes = BTreeMap::new();
        for vendor in Vendor::ALL.map(Some).into_iter().chain([None]) {
            for subject in BODIES {
                writes.insert((vendor, subject), one(schema_name(subject, vendor))?);
            }
        }
        let mut named = BTreeMap::new();
        for name in ADMINISTRATION {
            named.insert(name, one(name)?);
        }
        Ok(Self { writes, named })
    }

    /// The schema of a write's body: a vendor's own, or without one the generic.
    pub fn get(&self, vendor: Option<Vendor>, subject: BodyKind) -> Option<&Schema> {
        self.writes.get(&(vendor, subject))
    }

    /// The schema of a body of administration.
    pub fn named(&self, name: &str) -> Option<&Schema> {
        self.named.get(name)
    }
}

fn compile(document: &Value, name: &str) -> Result<Validator, String> {
    let mut root = Map::new();
    root.insert(
        "$ref".to_owned(),
        json!(format!("#/components/schemas/{name}")),
    );
    let schemas = reachable(&document["components"]["schemas"], name);
    root.insert("components".to_owned(), json!({ "schemas": schemas }));
    jsonschema::draft202012::new(&Value::Object(root))
        .map_err(|why| format!("the schema {name} is not valid: {why}"))
}

/// The schema `name` and those that it refers to. A validator keeps all that it is given, and looks
/// through it for references: with every schema of the document, that takes most of a start.
fn reachable(schemas: &Value, name: &str) -> Map<String, Value> {
    let (mut found, mut names) = (Map::new(), vec![name]);
    while let Some(name) = names.pop() {
        if let (false, Some(schema)) = (found.contains_key(name), schemas.get(name)) {
            found.insert(name.to_owned(), schema.clone());
            references(schema, &mut names);
        }
    }
    found
}

/// Adds the names of the schemas that are referred to anywhere in `value`.
fn references<'a>(value: &'a Value, names: &mut Vec<&'a str>) {
    match value {
        Value::Object(members) => {
            let reference = members.get("$ref").and_then(Value::as_str);
            names.extend(reference.and_then(|path| path.strip_prefix("#/components/schemas/")));
            members.values().for_each(|value| references(value, names));
        }
        Value::Array(values) => values.iter().for_each(|value| references(value, names)),
        _ => {}
    }
}

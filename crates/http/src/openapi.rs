//! The OpenAPI document: generated from the handlers and types, and the very thing that bodies are validated against.
//!
//! Guarantee: the schema that is shown is the schema that is enforced: the validators are compiled from this document's components.

use connectors::Registry;
use jsonschema::Validator;
use model::{
    directory::Vendor,
    resources::prospect::ProspectCreate,
    write::{Outcome, WriteStatus},
};
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::{
    Modify, OpenApi, ToSchema,
    openapi::security::{Http, HttpAuthScheme, SecurityScheme},
};

/// The document's frame; the routes add themselves.
#[derive(OpenApi)]
#[openapi(
    info(title = "Portico", description = "The open, self-hosted front door to leasing CRMs. Every write is on stable storage before it is answered, is delivered to the vendor until its outcome is known, and can always say what became of it."),
    modifiers(&Bearer),
    tags(
        (name = "Prospects", description = "People who look for an apartment"),
        (name = "Writes", description = "What became of a write"),
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
    /// How many there are in all.
    pub total: u64,
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

/// Lays the vocabulary in force over a generated document.
///
/// # Errors
/// In words, when the document cannot be written as JSON.
pub fn finish(document: &utoipa::openapi::OpenApi, registry: &Registry) -> Result<Value, String> {
    let mut document = serde_json::to_value(document).map_err(|why| why.to_string())?;
    if let Some(connector) = registry.get(Vendor::Knock) {
        let properties =
            &mut document["components"]["schemas"]["ProspectCreateKnock"]["properties"];
        for field in ProspectCreate::VOCABULARY_FIELDS {
            let values: Vec<&str> = connector.vocabulary().values(field).collect();
            let property = &mut properties[field];
            if property.get("items").is_some() {
                property["items"]["enum"] = json!(values);
            } else {
                let mut values = json!(values);
                // An enum that forbids null would contradict the type, which allows it.
                values
                    .as_array_mut()
                    .map(|all| all.push(Value::Null))
                    .unwrap_or_default();
                property["enum"] = values;
            }
        }
    }
    Ok(document)
}

/// The compiled schemas of request bodies.
pub struct Schemas {
    /// The body of `prospect_create_knock`.
    pub prospect_create_knock: Validator,
}

impl Schemas {
    /// Compiles them out of the document.
    ///
    /// # Errors
    /// In words, when the document's schemas are not valid.
    pub fn compile(document: &Value) -> Result<Self, String> {
        Ok(Self {
            prospect_create_knock: compile(document, "ProspectCreateKnock")?,
        })
    }
}

fn compile(document: &Value, name: &str) -> Result<Validator, String> {
    let mut root = Map::new();
    root.insert(
        "$ref".to_owned(),
        json!(format!("#/components/schemas/{name}")),
    );
    root.insert("components".to_owned(), document["components"].clone());
    jsonschema::draft202012::new(&Value::Object(root))
        .map_err(|why| format!("the schema {name} is not valid: {why}"))
}

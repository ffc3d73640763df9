//! The answers that many operations share, as they are sent and as the document shows them.

use std::borrow::Cow;

use connectors::component::Schemas;
use model::{JobId, write::WriteStatus};
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        Ref, RefOr, Schema,
        schema::{ArrayBuilder, ObjectBuilder},
    },
};

/// The name of [`Accepted`] in the document, until each operation has its own.
pub(crate) const ACCEPTED: &str = "Accepted";

/// The name of [`AcceptedMeta`] in the document.
pub(crate) const ACCEPTED_META: &str = "AcceptedMeta";

/// The answer to an accepted write.
#[derive(Serialize, ToSchema)]
pub struct Accepted {
    /// About the write.
    pub meta: AcceptedMeta,
    /// The accepted body: every field, defaults filled in, absent ones null.
    #[schema(value_type = Object)]
    pub result: Box<RawValue>,
}

/// The answer to an accepted generic write.
#[derive(Serialize, ToSchema)]
pub struct GenericAccepted {
    /// The write's id, for write-status.
    pub job_id: String,
    /// Always empty.
    #[schema(value_type = Object)]
    pub data: Data,
    /// Where the write stands. Only with `Prefer: wait`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub meta: Option<AcceptedMeta>,
}

/// An object without members.
#[derive(Serialize)]
pub struct Data {}

/// About an accepted write.
#[derive(Serialize, ToSchema)]
pub struct AcceptedMeta {
    /// The write's id, for write-status.
    pub job_id: String,
    /// Where the write stands. Only with `Prefer: wait`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub write_status: Option<WriteStatus>,
    /// Why it has not ended well. Only with `Prefer: wait`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub errors: Option<Vec<String>>,
    /// The id of the record it made or met. Only with `Prefer: wait`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub created_record_id: Option<Option<String>>,
}

impl AcceptedMeta {
    /// About a write whose end nobody waited for.
    pub fn of(job_id: JobId) -> Self {
        Self {
            job_id: job_id.to_string(),
            write_status: None,
            errors: None,
            created_record_id: None,
        }
    }
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
#[schema(as = ListOrder)]
pub struct Order {
    /// The field.
    pub field: String,
    /// `asc` or `desc`.
    pub direction: String,
}

/// One record. The document calls it after the record: `ProspectAnswer`.
#[derive(Serialize)]
pub struct Answer<T> {
    /// About the answer.
    pub meta: ListMeta,
    /// The record.
    pub results: T,
}

/// A page of records. The document calls it after the record: `ProspectPage`.
#[derive(Serialize)]
pub struct Page<T> {
    /// About the page.
    pub meta: ListMeta,
    /// The records.
    pub results: Vec<T>,
}

/// One record of administration, in the envelope of one record and in that of an answer to a
/// change. The document calls it after the record: `WebhookFound`.
#[derive(Serialize)]
pub struct Found<T> {
    /// About the answer.
    pub meta: ListMeta,
    /// The record.
    pub results: T,
    /// The same.
    pub result: T,
}

/// An object whose `meta` is about a list, and whose `results` are these.
fn with_meta(description: &str, results: impl Into<RefOr<Schema>>) -> ObjectBuilder {
    ObjectBuilder::new()
        .description(Some(description))
        .property("meta", Ref::from_schema_name(ListMeta::name()))
        .required("meta")
        .property("results", results)
        .required("results")
}

/// Adds the schemas of [`with_meta`] over the record `T`.
fn collect<T: ToSchema>(all: &mut Schemas) {
    all.push((ListMeta::name().into_owned(), ListMeta::schema()));
    ListMeta::schemas(all);
    all.push((T::name().into_owned(), T::schema()));
    T::schemas(all);
}

impl<T: ToSchema> PartialSchema for Answer<T> {
    fn schema() -> RefOr<Schema> {
        with_meta("One record", Ref::from_schema_name(T::name())).into()
    }
}

impl<T: ToSchema> ToSchema for Answer<T> {
    fn name() -> Cow<'static, str> {
        format!("{}Answer", T::name()).into()
    }

    fn schemas(all: &mut Schemas) {
        collect::<T>(all);
    }
}

impl<T: ToSchema> PartialSchema for Found<T> {
    fn schema() -> RefOr<Schema> {
        let record = || Ref::from_schema_name(T::name());
        let words = "One record. `results` and `result` are the same";
        with_meta(words, record())
            .property("result", record())
            .required("result")
            .into()
    }
}

impl<T: ToSchema> ToSchema for Found<T> {
    fn name() -> Cow<'static, str> {
        format!("{}Found", T::name()).into()
    }

    fn schemas(all: &mut Schemas) {
        collect::<T>(all);
    }
}

impl<T: ToSchema> PartialSchema for Page<T> {
    fn schema() -> RefOr<Schema> {
        let results = ArrayBuilder::new().items(Ref::from_schema_name(T::name()));
        with_meta("A page of records", results).into()
    }
}

impl<T: ToSchema> ToSchema for Page<T> {
    fn name() -> Cow<'static, str> {
        format!("{}Page", T::name()).into()
    }

    fn schemas(all: &mut Schemas) {
        collect::<T>(all);
    }
}

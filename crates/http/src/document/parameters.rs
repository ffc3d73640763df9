//! The parameters that many operations share. The types stand for their documentation: queries are
//! read by [`crate::door::query`], headers by [`crate::door`].

/// Rows of a page unless the caller asks for another number.
pub const LIMIT_DEFAULT: u64 = 100;
/// Rows of a page at most.
pub const LIMIT_MAX: u64 = 250;

/// What a write's query may say.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "the type stands for its documentation")]
pub struct WriteQuery {
    /// `true` drops unknown fields, and those that the vendor has no place for, instead of refusing them
    ignore_unknown_fields: Option<bool>,
}

/// What a write's head may say.
#[derive(utoipa::IntoParams)]
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

/// What a query for a plain list may say.
#[derive(utoipa::IntoParams)]
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

/// What a query for any list of the contract may say.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "the type stands for its documentation")]
pub struct ListParameters {
    /// Rows to skip
    #[param(minimum = 0)]
    offset: Option<i64>,
    /// Rows to answer
    #[param(minimum = 0, maximum = 250)]
    limit: Option<i64>,
    /// `created_at:asc` (or `created_at`) or `created_at:desc`, which is meant when absent
    #[param(rename = "order-by", required = false, value_type = String, pattern = "^created_at(:asc|:desc)?$")]
    order_by: Option<String>,
    /// Changed at this time or later
    #[param(required = false, value_type = String, format = DateTime)]
    updated_at_gte: Option<String>,
    /// Changed at this time or before
    #[param(required = false, value_type = String, format = DateTime)]
    updated_at_lte: Option<String>,
    /// Seen at this time or later
    #[param(required = false, value_type = String, format = DateTime)]
    last_seen_gte: Option<String>,
    /// Seen at this time or before
    #[param(required = false, value_type = String, format = DateTime)]
    last_seen_lte: Option<String>,
}

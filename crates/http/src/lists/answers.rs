//! The answers to lists.

use axum::{
    Json,
    http::Uri,
    response::{IntoResponse, Response},
};
use model::record::SortField;
use serde::Serialize;

use crate::{
    document::answers::{Found, ListMeta, Order, Page},
    door::query::Parameters,
    error::Error,
};

/// Answers a page of something that is in the order of its creation, `asc` or `desc`.
pub fn page_answer<T: Serialize>(
    (offset, limit): (u64, u64),
    direction: &str,
    has_more: bool,
    (total, is_exact): (Option<u64>, bool),
    results: Vec<T>,
) -> Response {
    let meta = ListMeta {
        total_is_exact: inexact(is_exact),
        ..created_meta((offset, limit), direction, has_more, total)
    };
    Json(Page { meta, results }).into_response()
}

/// Answers a page, in the order of creation, of a list that is walked by cursor alone.
pub fn cursor_answer<T: Serialize>(
    limit: u64,
    direction: &str,
    has_more: bool,
    next_cursor: Option<String>,
    results: Vec<T>,
) -> Response {
    let meta = ListMeta {
        next_cursor,
        ..created_meta((0, limit), direction, has_more, None)
    };
    Json(Page { meta, results }).into_response()
}

fn created_meta(
    (offset, limit): (u64, u64),
    direction: &str,
    has_more: bool,
    total: Option<u64>,
) -> ListMeta {
    ListMeta {
        offset,
        limit,
        order_by: vec![Order {
            field: SortField::CreatedAt.word().to_owned(),
            direction: direction.to_owned(),
        }],
        has_more,
        total,
        total_is_exact: None,
        next_cursor: None,
    }
}

/// The word for a direction.
pub const fn direction(is_descending: bool) -> &'static str {
    if is_descending { "desc" } else { "asc" }
}

/// The `meta` of one record, which a list of records might have.
pub(super) fn single_meta() -> ListMeta {
    created_meta((0, 1), direction(true), false, Some(1))
}

/// Answers one record of administration.
pub fn found_answer<T: Serialize + Clone>(record: T) -> Response {
    let found = Found {
        meta: single_meta(),
        results: record.clone(),
        result: record,
    };
    Json(found).into_response()
}

/// How it is told whether a total is exact: only when it is not.
pub(super) fn inexact(is_exact: bool) -> Option<bool> {
    (!is_exact).then_some(false)
}

/// Answers a page of `all`, which is in the order of its creation.
pub fn plain_page<T, R: Serialize>(
    (offset, limit): (u64, u64),
    is_descending: bool,
    all: &[T],
    shown: impl Fn(&T) -> R,
) -> Response {
    let place = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
    let rest = all.get(place(offset)..).unwrap_or_default();
    let results: Vec<R> = rest.iter().take(place(limit)).map(shown).collect();
    let has_more = rest.len() > results.len();
    let total = Some(all.len() as u64);
    let direction = direction(is_descending);
    page_answer((offset, limit), direction, has_more, (total, true), results)
}

/// Answers the page of a list of `T` that has no rows, to a query as lists take it.
///
/// # Errors
/// 400 when a parameter is wrong.
pub fn empty_page<T: Serialize>(uri: &Uri) -> Result<Response, Error> {
    let mut given = Parameters::of(uri);
    let page = given.page();
    let is_descending = given.created_order();
    for time in [
        "updated_at_gte",
        "updated_at_lte",
        "last_seen_gte",
        "last_seen_lte",
    ] {
        given.instant(time);
    }
    given.finish()?;
    let rows: Vec<T> = Vec::new();
    Ok(page_answer(
        page,
        direction(is_descending),
        false,
        (Some(0), true),
        rows,
    ))
}

/// Answers a page that the store has found, in the order of its creation.
pub fn found_page<T, R: Serialize>(
    page: (u64, u64),
    is_descending: bool,
    found: &store::Page<T>,
    shown: impl Fn(&T) -> R,
) -> Response {
    let results: Vec<R> = found.rows.iter().map(shown).collect();
    let total = (found.total, found.total_is_exact);
    page_answer(
        page,
        direction(is_descending),
        found.has_more,
        total,
        results,
    )
}

//! What every list and every record by its id have in common.
//!
//! Guarantee: one shape for all resources; a parameter that is not understood is refused with those that are.
//! Source: the public contract, section 1, lists.

use axum::{
    Json,
    http::Uri,
    response::{IntoResponse, Response},
};
use model::{
    Scope,
    record::{Kind, Record},
};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    App,
    error::Error,
    openapi::{Answer, ListMeta, Order, PageAnswer},
};

/// Rows of a page unless the caller says otherwise, and at most.
const LIMIT_DEFAULT: u64 = 100;
const LIMIT_MAX: u64 = 250;

/// Which rows are asked for.
struct Asked {
    offset: u64,
    limit: u64,
}

impl Asked {
    fn of(uri: &Uri) -> Result<Self, Error> {
        let mut asked = Self {
            offset: 0,
            limit: LIMIT_DEFAULT,
        };
        let pairs = uri.query().unwrap_or_default().split('&');
        for pair in pairs.filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let number = |max: u64, rule: &str| {
                let rows = value.parse().ok().filter(|rows| *rows <= max);
                rows.ok_or_else(|| Error::invalid_parameter(name, format!("{name} is {rule}")))
            };
            match name {
                "offset" => asked.offset = number(i64::MAX as u64, "a whole number from 0")?,
                "limit" => {
                    let rule = format!("a whole number from 0 to {LIMIT_MAX}");
                    asked.limit = number(LIMIT_MAX, &rule)?;
                }
                other => {
                    return Err(Error::invalid_parameter(
                        &model::issue::cut(other),
                        "There is no such parameter here; there are offset and limit",
                    ));
                }
            }
        }
        Ok(asked)
    }
}

fn meta(asked: &Asked, has_more: bool, total: u64) -> ListMeta {
    ListMeta {
        offset: asked.offset,
        limit: asked.limit,
        order_by: vec![Order {
            field: "created_at".to_owned(),
            direction: "desc".to_owned(),
        }],
        has_more,
        total,
    }
}

fn read<T: DeserializeOwned>(record: Record) -> Result<T, Error> {
    let id = record.id.clone();
    record.read().map_err(|why| {
        // Not what it says: that may repeat a person's data.
        tracing::error!(%id, line = why.line(), "a stored record cannot be read");
        Error::internal()
    })
}

/// Answers a page of records of `kind`.
///
/// # Errors
/// On a wrong parameter, and as the store's.
pub async fn page<T: DeserializeOwned + Serialize>(
    app: &App,
    scope: &Scope,
    kind: Kind,
    uri: &Uri,
) -> Result<Response, Error> {
    let asked = Asked::of(uri)?;
    let page = app
        .store
        .records_list(scope, kind, asked.offset, asked.limit)
        .await?;
    let answer = PageAnswer::<T> {
        meta: meta(&asked, page.has_more, page.total),
        results: page.rows.into_iter().map(read).collect::<Result<_, _>>()?,
    };
    Ok(Json(answer).into_response())
}

/// Answers the record of `kind` with this id.
///
/// # Errors
/// When the caller may know of none, and as the store's.
pub async fn one<T: DeserializeOwned + Serialize>(
    app: &App,
    scope: &Scope,
    kind: Kind,
    id: &str,
) -> Result<Response, Error> {
    let found = app.store.record_find(scope, kind, id).await?;
    let record = found.ok_or_else(|| Error::not_found(kind.word()))?;
    let asked = Asked {
        offset: 0,
        limit: 1,
    };
    let answer = Answer::<T> {
        meta: meta(&asked, false, 1),
        results: read(record)?,
    };
    Ok(Json(answer).into_response())
}

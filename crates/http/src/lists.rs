//! What every list and every record by its id have in common.
//!
//! Guarantee: one shape for all resources; a parameter that is not understood is refused with those that are; the document's parameters of a list come from
//! the same table as the check of them.
//! Source: the public contract, section 1, lists.

use axum::{
    Json,
    http::Uri,
    response::{IntoResponse, Response},
};
use model::{
    IntegrationId, Scope,
    contact::DEFAULT_REGION,
    directory::{Directory, Vendor},
    record::{Filter, Form, Kind, Record, SortField},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use store::{
    Query,
    query::{Equal, From, Range, Row, Sort},
};

use crate::{
    App, cursor,
    error::Error,
    openapi::{Answer, ListMeta, Order, PageAnswer},
    parameters::Parameters,
};

/// Rows of a page unless the caller says otherwise.
pub const LIMIT_DEFAULT: u64 = 100;
/// Rows of a page at most.
pub const LIMIT_MAX: u64 = 250;

/// Fields of an order: more say nothing, since no two records share a time of creation.
const ORDER_MAX_FIELDS: usize = 8;

/// The handlers of a resource that can be listed and read by its id. Where it stands, `Answer` and `PageAnswer` are in scope: the document names generic types
/// by their last name.
macro_rules! reads {
    ($resource:ty, $kind:expr, $tag:literal, $get:ident, $get_words:literal, $one:literal, $list:ident, $list_words:literal, $many:literal, $needs:ident $permission:literal) => {
        #[doc = $get_words]
        #[utoipa::path(
            get,
            path = $one,
            operation_id = stringify!($get),
            tag = $tag,
            params(("id" = String, Path, description = "Its id")),
            responses(
                (status = 200, description = "The record", body = Answer<$resource>),
                crate::openapi::GetProblems
            ),
            security(("bearer" = [$permission]))
        )]
        pub async fn $get(
            axum::extract::State(app): axum::extract::State<crate::App>,
            caller: crate::caller::Caller<crate::caller::$needs>,
            axum::extract::Path(id): axum::extract::Path<String>,
        ) -> Result<axum::response::Response, crate::error::Error> {
            crate::lists::one::<$resource>(&app, &caller.scope, $kind, &id).await
        }

        #[doc = $list_words]
        #[utoipa::path(
            get,
            path = $many,
            operation_id = stringify!($list),
            tag = $tag,
            responses(
                (status = 200, description = "A page of records", body = PageAnswer<$resource>),
                crate::openapi::ListProblems
            ),
            security(("bearer" = [$permission]))
        )]
        pub async fn $list(
            axum::extract::State(app): axum::extract::State<crate::App>,
            caller: crate::caller::Caller<crate::caller::$needs>,
            uri: axum::http::Uri,
        ) -> Result<axum::response::Response, crate::error::Error> {
            crate::lists::page::<$resource>(&app, &caller.scope, $kind, &uri).await
        }
    };
}
pub(crate) use reads;

/// The lists, by the path that they are at.
const LISTS: [(&str, Kind); 7] = [
    ("/crm/v1/communities", Kind::Community),
    ("/crm/v1/attributions", Kind::Attribution),
    ("/crm/v1/agents", Kind::Agent),
    ("/crm/v1/prospects", Kind::Prospect),
    ("/crm/v1/events", Kind::Event),
    ("/crm/v1/appointments", Kind::Appointment),
    ("/crm/v1/listings", Kind::Listing),
];

/// The vendor's name for a filter by an id of ours, where there is one.
fn of_vendor(filter: &Filter) -> Option<String> {
    filter
        .names_a_record()
        .then(|| format!("x_{}", filter.name))
}

/// Adds the parameters of every list to the document.
pub fn describe(document: &mut Value) {
    for (path, kind) in LISTS {
        document["paths"][path]["get"]["parameters"] = parameters(kind);
    }
}

fn parameters(kind: Kind) -> Value {
    let fields: Vec<&str> = kind.sorts().iter().map(|sort| sort.word()).collect();
    let order = format!(
        "Fields to sort by, each with `:asc` or `:desc` behind it, separated by commas; a bare field means `:asc`. The fields are {}",
        fields.join(", ")
    );
    let sort = format!("(?:{})(?::(?:asc|desc))?", fields.join("|"));
    let mut all = vec![
        parameter(
            "offset",
            "Rows to skip",
            &json!({ "type": "integer", "format": "int64", "minimum": 0, "default": 0 }),
        ),
        parameter(
            "limit",
            "Rows to answer",
            &json!({ "type": "integer", "minimum": 0, "maximum": LIMIT_MAX, "default": LIMIT_DEFAULT }),
        ),
        parameter(
            "cursor",
            "The `nextCursor` of the page before: goes on behind it at the same cost for every page. With it, `total` is left out, and `offset` must be",
            &json!({ "type": "string", "maxLength": 2000 }),
        ),
        parameter(
            "order-by",
            &order,
            &json!({ "type": "string", "pattern": format!("^{sort}(?:,{sort}){{0,{}}}$", ORDER_MAX_FIELDS - 1), "default": "created_at:desc" }),
        ),
    ];
    for (name, words) in [
        ("updated_at_gte", "Changed here at this time or later"),
        ("updated_at_lte", "Changed here at this time or before"),
        ("last_seen_gte", "Seen at the vendor at this time or later"),
        ("last_seen_lte", "Seen at the vendor at this time or before"),
    ] {
        let words = format!("{words}. A date alone, and a time without offset, are UTC");
        all.push(parameter(
            name,
            &words,
            &json!({ "type": "string", "format": "date-time" }),
        ));
    }
    let text = json!({ "type": "string", "minLength": 1, "pattern": r"\S" });
    all.push(parameter("integration_id", "Of this integration", &text));
    let vendors: Vec<&str> = Vendor::ALL.iter().map(|vendor| vendor.name()).collect();
    all.push(parameter(
        "integration_vendor",
        "Of this vendor's integrations",
        &json!({ "type": "string", "enum": vendors }),
    ));
    all.push(parameter(
        "x_id",
        "Under this id of the vendor's; `integration_id` beside it",
        &text,
    ));
    for filter in kind.filters() {
        let words = match filter.form {
            Form::Text => format!("With this {}", filter.name),
            Form::Email => {
                "With this email address, whatever the case of its letters and the form of its domain"
                    .to_owned()
            }
            Form::Phone => "With this phone number, however it is written. One without a country code is read in the region of the communities asked for. An extension does not count"
                .to_owned(),
        };
        let words = if filter.is_of_vendor {
            format!("{words}; `integration_id` beside it")
        } else {
            words
        };
        all.push(parameter(filter.name, &words, &text));
        if let Some(theirs) = of_vendor(filter)
            && kind.filters().iter().all(|own| own.name != theirs)
        {
            let words = format!(
                "As {}, under the vendor's id; `integration_id` beside it",
                filter.name
            );
            all.push(parameter(&theirs, &words, &text));
        }
    }
    Value::Array(all)
}

fn parameter(name: &str, words: &str, schema: &Value) -> Value {
    json!({ "name": name, "in": "query", "description": words, "required": false, "schema": schema })
}

/// Reads a query as a list of `kind`.
async fn asked(app: &App, scope: &Scope, kind: Kind, uri: &Uri) -> Result<Query, Error> {
    let directory = app.live.get();
    let mut given = Parameters::of(uri);
    let mut query = Query::new(kind, LIMIT_DEFAULT);
    if let Some(limit) = given.number("limit", 0..=LIMIT_MAX) {
        query.limit = limit;
    }
    let offset = given.number("offset", 0..=i64::MAX as u64);
    if let Some(text) = given.text("order-by") {
        match order(kind, &text) {
            Ok(order) => query.order = order,
            Err(why) => given.refuse("order-by", why),
        }
    }
    for (field, least, most) in [
        (SortField::UpdatedAt, "updated_at_gte", "updated_at_lte"),
        (SortField::LastSeen, "last_seen_gte", "last_seen_lte"),
    ] {
        let (least, most) = (given.instant(least), given.instant(most));
        if least.is_some() || most.is_some() {
            query.ranges.push(Range { field, least, most });
        }
    }

    let integration = given.text("integration_id");
    // An id that is none is one that nothing has.
    let integration: Option<Option<IntegrationId>> = integration.map(|id| id.parse().ok());
    if let Some(id) = integration {
        query.integrations = Some(id.into_iter().collect());
    }
    if let Some(vendor) = given.parsed::<Vendor>("integration_vendor") {
        of_vendor_only(&mut query, &directory, vendor);
    }
    let within = |given: &mut Parameters, name: &str| match integration {
        Some(id) => id,
        None => {
            given.refuse(name, format!("{name} means something only within an integration. Give integration_id beside it"));
            None
        }
    };
    if let Some(x_id) = given.text("x_id") {
        query.x_id = within(&mut given, "x_id").map(|id| (id, x_id));
    }
    for filter in kind.filters() {
        if let Some(value) = given.text(filter.name) {
            // A plus that was not escaped reads as a blank, which no address has.
            let value = match filter.form {
                Form::Email => value.trim().replace(' ', "+"),
                Form::Phone => phone(filter, value),
                Form::Text => value,
            };
            let integration_id = if filter.is_of_vendor {
                within(&mut given, filter.name)
            } else {
                None
            };
            query.equal.push(Equal {
                filter: *filter,
                integration_id,
                value: match filter.form {
                    // Read below, when it is known of which communities.
                    Form::Phone => value,
                    Form::Text | Form::Email => filter.normal(&value),
                },
            });
        }
        let Some(theirs) =
            of_vendor(filter).filter(|theirs| kind.filters().iter().all(|own| own.name != theirs))
        else {
            continue;
        };
        if let Some(x_id) = given.text(&theirs) {
            let id = match within(&mut given, &theirs) {
                Some(integration) => {
                    resolve(app, scope, &directory, filter, integration, &x_id).await?
                }
                None => None,
            };
            query.equal.push(Equal {
                filter: *filter,
                integration_id: None,
                // Nothing has an empty id.
                value: id.unwrap_or_default(),
            });
        }
    }
    if query.equal.iter().any(|one| one.filter.form == Form::Phone) {
        let region = phone_region(&directory, scope, &query);
        let phones = query.equal.iter_mut();
        for one in phones.filter(|one| one.filter.form == Form::Phone) {
            one.value = one.filter.normal_in(&one.value, &region);
        }
    }
    if let Some(text) = given.text("cursor") {
        if offset.is_some() {
            given.refuse("offset", "Give a cursor or an offset, not both");
        }
        match cursor::read(&query, &text) {
            Ok(row) => query.from = From::Row(row),
            Err(why) => given.refuse("cursor", why),
        }
    } else if let Some(offset) = offset {
        query.from = From::Offset(offset);
    }
    given.finish()?;
    Ok(query)
}

/// The region in which a phone number without a country code is meant: the one of the community
/// asked for, or that of all communities asked for where they have the same; else the usual one.
fn phone_region(directory: &Directory, scope: &Scope, query: &Query) -> String {
    let asked_for = query
        .equal
        .iter()
        .find(|one| one.filter.name == "community_id");
    if let Some(asked_for) = asked_for {
        let community = directory.find_community(scope, &asked_for.value);
        let region = community.map(|one| one.phone_region());
        return region.unwrap_or(DEFAULT_REGION).to_owned();
    }
    let is_asked_for = |id| {
        let integrations = query.integrations.as_ref();
        scope.sees(id) && integrations.is_none_or(|asked| asked.contains(&id))
    };
    let mut regions = directory
        .integrations()
        .filter(|one| is_asked_for(one.id))
        .flat_map(|one| directory.communities(one.id))
        .map(|one| one.phone_region());
    match regions.next() {
        Some(first) if regions.all(|one| one == first) => first.to_owned(),
        _ => DEFAULT_REGION.to_owned(),
    }
}

/// A phone number as it was meant: a plus in front of it that was not escaped reads as a blank.
fn phone(filter: &Filter, value: String) -> String {
    let (lead, rest) = match value.split_once(':') {
        Some((scheme, rest)) if scheme.trim().eq_ignore_ascii_case("tel") => ("tel:", rest),
        _ => ("", value.as_str()),
    };
    let number = rest.trim_start();
    if number.len() == rest.len() || number.starts_with('+') {
        return value;
    }
    let international = format!("{lead}+{number}");
    let is_one = filter
        .normal(&international)
        .strip_prefix('+')
        .is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
    // A national number behind a blank is none.
    if is_one { international } else { value }
}

/// Our id for the vendor's, of what `filter` names.
async fn resolve(
    app: &App,
    scope: &Scope,
    directory: &Directory,
    filter: &Filter,
    integration: IntegrationId,
    x_id: &str,
) -> Result<Option<String>, Error> {
    let kind = match filter.name {
        "community_id" => Kind::Community,
        "attribution_id" => Kind::Attribution,
        "agent_id" => Kind::Agent,
        _ => Kind::Prospect,
    };
    if kind != Kind::Prospect {
        return Ok(directory.id_of(kind, integration, x_id));
    }
    let query = Query {
        x_id: Some((integration, x_id.to_owned())),
        ..Query::new(kind, 1)
    };
    let page = app.store.records_list(scope, &query).await?;
    Ok(page.rows.into_iter().next().map(|record| record.id))
}

/// Narrows a query to a vendor's integrations, unless there are no others.
fn of_vendor_only(query: &mut Query, directory: &Directory, vendor: Vendor) {
    if directory.integrations().all(|one| one.vendor == vendor) {
        return;
    }
    let own = directory
        .integrations()
        .filter(|one| one.vendor == vendor)
        .map(|one| one.id);
    query.integrations = Some(match query.integrations.take() {
        None => own.collect(),
        Some(asked) => own.filter(|id| asked.contains(id)).collect(),
    });
}

/// Reads an order.
///
/// # Errors
/// In words, with what would be right.
fn order(kind: Kind, text: &str) -> Result<Vec<Sort>, String> {
    let known: Vec<&str> = kind.sorts().iter().map(|sort| sort.word()).collect();
    let known = known.join(", ");
    let mut order: Vec<Sort> = Vec::new();
    for part in text.split(',') {
        let part = part.trim();
        let (name, direction) = part.split_once(':').unwrap_or((part, "asc"));
        let field = kind
            .sorts()
            .iter()
            .find(|sort| sort.word() == name)
            .ok_or_else(|| {
                let name = model::issue::cut(name);
                format!("`{name}` is not a field to sort by; the fields are {known}")
            })?;
        let is_descending = match direction {
            "asc" => false,
            "desc" => true,
            other => {
                let other = model::issue::cut(other);
                return Err(format!(
                    "`{other}` is not a direction; the directions are asc and desc, as in {name}:desc"
                ));
            }
        };
        order.push(Sort {
            field: *field,
            is_descending,
        });
    }
    if order.len() > ORDER_MAX_FIELDS {
        return Err(format!("order-by takes at most {ORDER_MAX_FIELDS} fields"));
    }
    Ok(order)
}

fn shown(order: &[Sort]) -> Vec<Order> {
    order
        .iter()
        .map(|sort| Order {
            field: sort.field.word().to_owned(),
            direction: if sort.is_descending { "desc" } else { "asc" }.to_owned(),
        })
        .collect()
}

/// A record as its resource.
///
/// # Errors
/// 500 when what is stored does not fit it.
pub fn read<T: DeserializeOwned>(record: Record) -> Result<T, Error> {
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
    let mut query = asked(app, scope, kind, uri).await?;
    let key = scope.key();
    query.from = app.walks.from(key, &query);
    let mut page = app.store.records_list(scope, &query).await;
    if let (Err(store::Error::Conflict(_)), From::Near { row, offset, .. }) = (&page, &query.from) {
        // The row where the page before ended is gone: it is counted from the beginning.
        app.walks.forget(key, row);
        query.from = From::Offset(*offset);
        page = app.store.records_list(scope, &query).await;
    }
    let page = page.map_err(|why| {
        match why {
            // The one thing in a list that can be gone is the row that its cursor names.
            store::Error::Conflict(_) => Error::invalid_parameter(
                "cursor",
                "The record that this cursor names is gone. Begin the list anew",
            ),
            why => why.into(),
        }
    })?;
    let next_cursor = page
        .rows
        .last()
        .filter(|_| page.has_more)
        .map(|last| cursor::write(&query, &Row::of(last, &query.order)));
    if let (Some(offset), Some(last)) = (query.from.offset(), page.rows.last()) {
        let end = offset + page.rows.len() as u64;
        app.walks
            .ended(key, &query, end, Row::of(last, &query.order));
    }
    let answer = PageAnswer::<T> {
        meta: ListMeta {
            offset: query.from.offset().unwrap_or(0),
            limit: query.limit,
            order_by: shown(&query.order),
            has_more: page.has_more,
            total: page.total,
            total_is_exact: inexact(page.total_is_exact),
            next_cursor,
        },
        results: page.rows.into_iter().map(read).collect::<Result<_, _>>()?,
    };
    Ok(Json(answer).into_response())
}

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
    Json(PageAnswer { meta, results }).into_response()
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
    Json(PageAnswer { meta, results }).into_response()
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

/// How it is told whether a total is exact: only when it is not.
fn inexact(is_exact: bool) -> Option<bool> {
    (!is_exact).then_some(false)
}

/// Answers a page of `all`, which is in the order of its creation.
pub fn plain_page<T, R: Serialize>(
    (offset, limit): (u64, u64),
    all: &[T],
    shown: impl Fn(&T) -> R,
) -> Response {
    let place = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
    let rest = all.get(place(offset)..).unwrap_or_default();
    let results: Vec<R> = rest.iter().take(place(limit)).map(shown).collect();
    let has_more = rest.len() > results.len();
    let total = Some(all.len() as u64);
    page_answer((offset, limit), "asc", has_more, (total, true), results)
}

/// Answers a page that the store has found, in the order of its creation.
pub fn found_page<T, R: Serialize>(
    page: (u64, u64),
    found: &store::Page<T>,
    shown: impl Fn(&T) -> R,
) -> Response {
    let results: Vec<R> = found.rows.iter().map(shown).collect();
    let total = (found.total, found.total_is_exact);
    page_answer(page, "asc", found.has_more, total, results)
}

/// The record of `kind` with this id, as its resource.
///
/// # Errors
/// When the caller may know of none, and as the store's.
pub async fn resource<T: DeserializeOwned>(
    app: &App,
    scope: &Scope,
    kind: Kind,
    id: &str,
) -> Result<T, Error> {
    let found = app.store.record_find(scope, kind, id).await?;
    read(found.ok_or_else(|| Error::not_found(kind.word()))?)
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
    let results = resource(app, scope, kind, id).await?;
    let answer = Answer::<T> {
        meta: ListMeta {
            offset: 0,
            limit: 1,
            order_by: shown(&Sort::newest_first()),
            has_more: false,
            total: Some(1),
            total_is_exact: None,
            next_cursor: None,
        },
        results,
    };
    Ok(Json(answer).into_response())
}

//! The query of a list, read.
//!
//! Guarantee: a parameter that is not understood is refused with those that are.
//! Source: the public contract, section 1, lists.

use axum::http::Uri;
use model::{
    IntegrationId, Scope, Vendor,
    contact::DEFAULT_REGION,
    directory::Directory,
    record::{Filter, Form, Kind, SortField},
};
use store::{
    Query,
    query::{Equal, From, Range, Sort},
};

use crate::{
    cursor,
    document::{
        lists::{ORDER_MAX_FIELDS, PROPERTY, names_a_community, of_vendor},
        parameters::{LIMIT_DEFAULT, LIMIT_MAX},
    },
    door::query::Parameters,
    error::Error,
    state::App,
};

/// Reads a query as a list of `kind`.
///
/// # Errors
/// 400 with all that is wrong in it, and as the store's.
pub(super) async fn asked(app: &App, scope: &Scope, kind: Kind, uri: &Uri) -> Result<Query, Error> {
    let directory = app.live.get();
    let mut given = Parameters::of(uri);
    let mut query = Query::new(kind, LIMIT_DEFAULT);
    if let Some(limit) = given.number("limit", 0..=LIMIT_MAX) {
        query.limit = limit;
    }
    let offset = given.number("offset", 0..=i64::MAX as u64);
    if let Some(text) = given.text("order-by") {
        match order(&text) {
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
    let vendor = vendor(&mut given, app);
    if let Some(vendor) = vendor {
        of_vendor_only(&mut query, &directory, vendor);
    }
    let within = |given: &mut Parameters, name: &str| match integration {
        Some(id) => id,
        None => {
            given.refuse(name, format!("{name} means something only within an integration. Give integration_id beside it"));
            None
        }
    };
    let of_itself: &[&str] = match kind {
        Kind::Community => &["x_id", PROPERTY],
        _ => &["x_id"],
    };
    for name in of_itself {
        if let Some(x_id) = given.text(name) {
            query.x_id = within(&mut given, name).map(|id| (id, x_id));
        }
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
        let mut names = vec![theirs.as_str()];
        if names_a_community(filter) {
            names.push(PROPERTY);
        }
        for name in names {
            let Some(x_id) = given.text(name) else {
                continue;
            };
            let id = match within(&mut given, name) {
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
        // A client that always sends its offset sends the one that skips nothing.
        if offset.is_some_and(|offset| offset > 0) {
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

/// The vendor that a list is narrowed to.
pub(crate) fn vendor(given: &mut Parameters, app: &App) -> Option<Vendor> {
    let directory = app.live.get();
    given.found("integration_vendor", |name| {
        let others = directory.integrations().map(|one| one.vendor);
        app.registry.find_filter(name, others)
    })
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
fn order(text: &str) -> Result<Vec<Sort>, String> {
    let known: Vec<&str> = SortField::ALL.iter().map(|sort| sort.word()).collect();
    let known = known.join(", ");
    let mut order: Vec<Sort> = Vec::new();
    for part in text.split(',') {
        let part = part.trim();
        let (name, direction) = part.split_once(':').unwrap_or((part, "asc"));
        let field = SortField::ALL
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

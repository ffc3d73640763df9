//! The parameters of the lists of records.
//!
//! Guarantee: they are made from the table of filters and orders by which lists are read.
//! Source: the public contract, section 1, lists.

use model::{
    Vendor,
    record::{Filter, Form, Kind, SortField},
};
use serde_json::{Value, json};

use crate::document::parameters::{LIMIT_DEFAULT, LIMIT_MAX};

/// Fields of an order: more say nothing, since no two records share a time of creation.
pub(crate) const ORDER_MAX_FIELDS: usize = 8;

/// The contract's name, section 8.1, for the community's id at the vendor.
pub(crate) const PROPERTY: &str = "x_property_id";

/// Whether a filter is by community, so that [`PROPERTY`] stands for the vendor's id of it.
pub(crate) fn names_a_community(filter: &Filter) -> bool {
    filter.name == "community_id"
}

/// The vendor's name for a filter by an id of ours, where there is one.
pub(crate) fn of_vendor(filter: &Filter) -> Option<String> {
    filter
        .names_a_record()
        .then(|| format!("x_{}", filter.name))
}

/// The query parameters of the lists of a kind, with the names of the vendors that there are.
pub(crate) fn parameters(kind: Kind, vendors: &[Vendor]) -> Value {
    let fields: Vec<&str> = SortField::ALL.iter().map(|sort| sort.word()).collect();
    let order = format!(
        "Fields to sort by, each with `:asc` or `:desc` behind it, separated by commas; a bare field means `:asc`. `created_at:desc` when absent. The fields are {}; `name` is the last name, then the first, of a person",
        fields.join(", ")
    );
    let sort = format!("(?:{})(?::(?:asc|desc))?", fields.join("|"));
    let mut all = page();
    all.extend([
        parameter(
            "cursor",
            "The `nextCursor` of the page before: goes on behind it at the same cost for every page. With it, `total` is left out, and `offset` must be too, or be 0",
            &json!({ "type": "string", "maxLength": 2000 }),
        ),
        parameter(
            "order-by",
            &order,
            &json!({ "type": "string", "pattern": format!("^{sort}(?:,{sort}){{0,{}}}$", ORDER_MAX_FIELDS - 1) }),
        ),
    ]);
    all.extend(times());
    let text = json!({ "type": "string", "minLength": 1, "pattern": r"\S" });
    all.push(parameter("integration_id", "Of this integration", &text));
    all.push(parameter(
        "integration_vendor",
        "Of this vendor's integrations. The page is empty when there are none",
        &json!({ "type": "string", "enum": vendors.iter().map(Vendor::name).collect::<Vec<_>>() }),
    ));
    all.push(parameter(
        "x_id",
        "Under this id of the vendor's; `integration_id` beside it",
        &text,
    ));
    let has_property = kind == Kind::Community || kind.filters().iter().any(names_a_community);
    if has_property {
        all.push(parameter(
            PROPERTY,
            "Of the community under this id of the vendor's, as `x_community_id`; `integration_id` beside it",
            &text,
        ));
    }
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

/// The parameters of every page.
pub(crate) fn page() -> Vec<Value> {
    vec![
        parameter(
            "offset",
            "Rows to skip; 0 when absent",
            &json!({ "type": "integer", "format": "int64", "minimum": 0 }),
        ),
        parameter(
            "limit",
            &format!("Rows to answer; {LIMIT_DEFAULT} when absent"),
            &json!({ "type": "integer", "minimum": 0, "maximum": LIMIT_MAX }),
        ),
    ]
}

/// The parameters that narrow a list to a time.
pub(crate) fn times() -> Vec<Value> {
    [
        ("updated_at_gte", "Changed here at this time or later"),
        ("updated_at_lte", "Changed here at this time or before"),
        ("last_seen_gte", "Seen at the vendor at this time or later"),
        ("last_seen_lte", "Seen at the vendor at this time or before"),
    ]
    .into_iter()
    .map(|(name, words)| {
        let words = format!("{words}. A date alone, and a time without offset, are UTC");
        let time = json!({ "type": "string", "format": "date-time" });
        parameter(name, &words, &time)
    })
    .collect()
}

fn parameter(name: &str, words: &str, schema: &Value) -> Value {
    json!({ "name": name, "in": "query", "description": words, "required": false, "schema": schema })
}

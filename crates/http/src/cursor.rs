//! A place in a list, as a text that callers hand back.
//!
//! Guarantee: it leads on in the list that it was given out for and in no other; it holds nothing that the page did not show. Whatever else is in it is
//! refused in words.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use store::{
    Query,
    query::{Row, RowValue},
};

/// Characters that a cursor may have: an id and three values take some two hundred.
const MAX_CHARS: usize = 2_000;

/// What is inside.
#[derive(Serialize, Deserialize)]
struct Inside {
    /// Which list.
    list: String,
    /// The row's id.
    id: String,
    /// The row's values in the order of the list.
    values: Vec<Value>,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Value {
    Time(i64),
    Text(String),
}

/// What tells one list from another: everything but where it begins and how long its pages are.
pub(crate) fn list_of(query: &Query) -> String {
    let Query {
        kind,
        integrations,
        x_id,
        is_at_vendor,
        equal,
        ranges,
        order,
        from: _,
        limit: _,
    } = query;
    let text = format!(
        "{kind:?} {integrations:?} {x_id:?} {is_at_vendor:?} {equal:?} {ranges:?} {order:?}"
    );
    let digest = Sha256::digest(text.as_bytes());
    model::hex::encode(&digest[..8])
}

/// The bytes of a value's text.
pub(crate) fn bytes_of(value: &RowValue) -> usize {
    match value {
        RowValue::Time(_) => size_of::<i64>(),
        RowValue::Text(text) => text.len(),
    }
}

/// The cursor behind `row` of the list that `query` reads.
pub(crate) fn write(query: &Query, row: &Row) -> String {
    let inside = Inside {
        list: list_of(query),
        id: row.id.clone(),
        values: row
            .values
            .iter()
            .map(|value| match value {
                RowValue::Time(micros) => Value::Time(*micros),
                RowValue::Text(text) => Value::Text(text.clone()),
            })
            .collect(),
    };
    model::hex::encode(&serde_json::to_vec(&inside).unwrap_or_default())
}

/// The row behind which the list of `query` goes on.
///
/// # Errors
/// In words for the caller.
pub(crate) fn read(query: &Query, text: &str) -> Result<Row, &'static str> {
    let wrong = "This is not a cursor. Give the nextCursor of the page before, as it was";
    if text.len() > MAX_CHARS {
        return Err(wrong);
    }
    let bytes = model::hex::decode(text).ok_or(wrong)?;
    let inside: Inside = serde_json::from_slice(&bytes).map_err(|_| wrong)?;
    if inside.list != list_of(query) {
        return Err(
            "This cursor is of another list. Give the same filters and the same order-by as for the page before",
        );
    }
    let values: Vec<RowValue> = inside
        .values
        .into_iter()
        .map(|value| match value {
            Value::Time(micros) => RowValue::Time(micros),
            Value::Text(text) => RowValue::Text(text),
        })
        .collect();
    if values.len() != query.order.len() {
        return Err(wrong);
    }
    Ok(Row {
        id: inside.id,
        values,
    })
}

#[cfg(test)]
mod tests {
    use model::record::{Kind, SortField};
    use store::query::Sort;

    use super::*;

    fn row() -> Row {
        Row {
            id: "pro_1".to_owned(),
            values: vec![RowValue::Time(5)],
        }
    }

    #[test]
    fn a_cursor_leads_on_in_its_own_list_only() {
        let query = Query::new(Kind::Prospect, 10);
        let text = write(&query, &row());
        assert_eq!(read(&query, &text), Ok(row()));
        let longer = Query {
            limit: 20,
            ..query.clone()
        };
        assert_eq!(
            read(&longer, &text),
            Ok(row()),
            "pages may differ in length"
        );
        assert!(
            read(&Query::new(Kind::Agent, 10), &text)
                .is_err_and(|why| why.contains("another list"))
        );
        let mut other = query.clone();
        other.order = vec![Sort {
            field: SortField::CreatedAt,
            is_descending: false,
        }];
        assert!(read(&other, &text).is_err_and(|why| why.contains("another list")));
    }

    #[test]
    fn what_is_no_cursor_is_refused() {
        let query = Query::new(Kind::Prospect, 10);
        let list = list_of(&query);
        let hex = |json: String| model::hex::encode(json.as_bytes());
        for text in [
            String::new(),
            "zz".to_owned(),
            "é".to_owned(),
            "abc".to_owned(),
            "7b".to_owned(),
            "0".repeat(MAX_CHARS + 2),
            hex(format!(r#"{{"list":"{list}","id":"pro_1","values":[]}}"#)),
            hex(format!(
                r#"{{"list":"{list}","id":"pro_1","values":[1,2]}}"#
            )),
            hex(format!(r#"{{"list":"{list}","id":7,"values":[1]}}"#)),
        ] {
            assert!(read(&query, &text).is_err(), "{text}");
        }
    }
}

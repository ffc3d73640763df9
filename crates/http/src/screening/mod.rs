//! A body against its schema: the first half of what is wrong with it, and what is left for the
//! rules.
//!
//! Guarantee: all problems of a body are found at once, those of the schema and those of the rules.

mod draft;
mod issues;

use std::collections::{BTreeSet, HashSet};

use axum::http::Uri;
use jsonschema::{ValidationError, error::ValidationErrorKind};
use model::{Issue, Vendor};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use utoipa::ToSchema;

pub use self::draft::{Draft, Target};
use self::issues::{causes, issue, path, unrecognized};
use crate::{
    document::schemas::{Schema, of_vendor},
    door::preferences,
    error::Error,
    problems::Problems,
    state::App,
};

/// The object in a body, without what the schema refuses, and why it was refused.
pub struct Screened {
    /// What is left, an object: every member in it keeps the schema.
    pub body: Value,
    /// What was wrong with the rest.
    problems: Problems,
    /// The top-level members that were refused, those of problems that are only counted too.
    broken: BTreeSet<String>,
}

impl Screened {
    /// Whether the schema has something to say on `field`.
    pub fn is_broken(&self, field: &str) -> bool {
        self.broken.contains(field)
    }

    /// Whether the schema has refused anything.
    pub fn is_refused(&self) -> bool {
        !self.problems.is_empty()
    }

    /// What is left, as the body that it is of.
    ///
    /// # Errors
    /// 500 when it keeps the schema and cannot be read all the same.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, Error> {
        T::deserialize(&self.body).map_err(|why| {
            let line = why.line();
            Error::internal(format_args!(
                "a body kept the schema and cannot be read, line {line}"
            ))
        })
    }

    /// What the rules made of the body, unless the schema or they found something.
    ///
    /// # Errors
    /// 400 with all that both found.
    pub fn settle<T>(self, checked: Result<T, Vec<Issue>>) -> Result<T, Error> {
        match checked {
            Ok(checked) if !self.is_refused() => Ok(checked),
            Ok(_) => Err(self.refused(Vec::new())),
            Err(issues) => Err(self.refused(issues)),
        }
    }

    /// 400 with what the schema found, and these.
    pub fn refused(self, issues: Vec<Issue>) -> Error {
        let mut problems = self.problems;
        problems.extend(issues);
        Error::of(problems)
    }
}

/// Checks the body of a request against the document's schema of the type `T`. The query says whether
/// members that the schema does not have are dropped.
///
/// # Errors
/// When the query is wrong, or the body is not an object at all.
pub fn screen_as<T: ToSchema>(app: &App, uri: &Uri, body: Value) -> Result<Screened, Error> {
    let ignore_unknown = preferences::ignores_unknown_fields(uri)?;
    screen(app.schemas.get(&T::name())?, body, ignore_unknown)
}

/// The same of a body that makes or changes an integration of `vendor`, if that is known.
///
/// # Errors
/// As [`screen_as`], and when this build does not have the vendor.
pub fn screen_integration(
    app: &App,
    uri: &Uri,
    body: Value,
    (name, vendor): (&str, Option<Vendor>),
) -> Result<Screened, Error> {
    let ignore_unknown = preferences::ignores_unknown_fields(uri)?;
    let schema = match vendor {
        Some(vendor) => {
            app.connector(vendor)?;
            app.schemas.get(&of_vendor(name, vendor))?
        }
        None => app.schemas.get(name)?,
    };
    screen(schema, body, ignore_unknown)
}

/// Checks `body` against `schema`. Free text is cleaned, blank text is absent. With `ignore_unknown`, members that the
/// schema does not have are dropped instead of refused.
///
/// # Errors
/// When the body is not an object at all.
pub fn screen(schema: &Schema, mut body: Value, ignore_unknown: bool) -> Result<Screened, Error> {
    schema.shape.clean(&mut body);
    let mut problems = Problems::default();
    let (mut unknown, mut broken) = (HashSet::new(), BTreeSet::new());
    let found_in_body: Vec<ValidationError<'_>> = schema.validator.iter_errors(&body).collect();
    for error in found_in_body.iter().flat_map(causes) {
        let found = match error.kind() {
            ValidationErrorKind::AdditionalProperties { unexpected }
                if error.instance_path().as_str().is_empty() =>
            {
                unknown.extend(unexpected.iter().cloned());
                if ignore_unknown {
                    continue;
                }
                unrecognized(unexpected)
            }
            kind => issue(kind, error.instance(), path(error.instance_path().as_str())),
        };
        broken.extend(found.field().map(str::to_owned));
        // Of a value of the wrong type, only that: what else it is not follows from it.
        let says_more = found.code == "invalid_type"
            || !problems
                .listed()
                .iter()
                .any(|known| known.code == "invalid_type" && known.path == found.path);
        if says_more {
            problems.add(found);
        }
    }
    let Value::Object(mut object) = body else {
        return Err(Error::of(problems));
    };
    object.retain(|name, _| !unknown.contains(name) && !broken.contains(name));
    Ok(Screened {
        body: Value::Object(object),
        problems,
        broken,
    })
}

/// Checks the body of a generic route against the schema of `vendor`, once it is known who that is. What the vendor has no place for is told apart from
/// what nobody has.
///
/// # Errors
/// When the body is not an object at all.
fn screen_generic(
    generic: &Schema,
    own: &Schema,
    vendor: Vendor,
    mut body: Value,
    ignore_unknown: bool,
) -> Result<Screened, Error> {
    // A blank that the vendor has no place for is absent too, not refused.
    generic.shape.clean(&mut body);
    let Value::Object(mut object) = body else {
        return screen(generic, body, ignore_unknown);
    };
    let is_own = |name: &str| own.fields.iter().any(|field| field == name);
    let names: Vec<String> = object.keys().cloned().collect();
    let (mut unknown, mut placeless) = (Map::new(), Vec::new());
    for name in names.into_iter().filter(|name| !is_own(name)) {
        match object.remove(&name) {
            // Of what the vendor has no place for, only that.
            Some(value) if generic.fields.contains(&name) => {
                placeless.extend((!value.is_null()).then_some(name));
            }
            value => drop(value.map(|value| unknown.insert(name, value))),
        }
    }
    let mut screened = screen(own, Value::Object(object), ignore_unknown)?;
    // What is dropped is not looked at.
    if !ignore_unknown {
        let others = screen(generic, Value::Object(unknown), false)?.problems;
        // What these lack is the vendor's to say.
        let of_others = others.without(|issue| issue.field().is_some_and(is_own));
        screened.problems.join(of_others);
        screened.problems.extend(placeless.iter().map(|name| {
            Issue::custom(
                name,
                format!("{vendor} has no place for {name}. Leave it out, or add ?ignore_unknown_fields=true to have it dropped"),
            )
        }));
    }
    Ok(screened)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::{issues::UNKNOWN_NAMED_MAX, *};
    use crate::document::shape::Shape;

    fn strict() -> Schema {
        let schema = json!({
            "type": "object",
            "properties": { "a": { "type": "string" } },
            "additionalProperties": false,
        });
        Schema {
            validator: jsonschema::draft202012::new(&schema).unwrap(),
            shape: Shape::default(),
            fields: vec!["a".to_owned()],
        }
    }

    #[test]
    fn members_that_the_schema_does_not_have_cost_as_much_as_there_are() {
        let mut body: Map<String, Value> = (0..60_000)
            .map(|n| (format!("member {n}"), Value::Null))
            .collect();
        body.insert("a".to_owned(), json!("x"));
        let body = Value::Object(body);
        let begun = std::time::Instant::now();
        let dropped = screen(&strict(), body.clone(), true).unwrap();
        assert!(dropped.problems.is_empty());
        assert_eq!(dropped.body, json!({ "a": "x" }));
        let refused = screen(&strict(), body, false).unwrap();
        // Comparing each with each takes minutes.
        let took = begun.elapsed();
        assert!(took < Duration::from_secs(10), "{took:?}");
        let [issue] = refused.problems.listed() else {
            panic!("{:?}", refused.problems);
        };
        let named = issue.more["keys"].as_array().map(Vec::len);
        assert_eq!(named, Some(UNKNOWN_NAMED_MAX));
        assert!(issue.message.ends_with("' and 59980 more"), "{issue:?}");
    }

    #[test]
    fn the_problems_that_rules_find_are_listed_up_to_a_bound() {
        let screened = screen(&strict(), json!({ "a": 1, "b": 2 }), false).unwrap();
        let more = (0..300).map(|n| Issue::custom("a", n.to_string()));
        let why = screened.settle::<()>(Err(more.collect())).unwrap_err();
        let told = "The request is not valid: 302 problems, the first 100 of them listed";
        assert!(why.message.starts_with(told), "{}", why.message);
        let issues = serde_json::to_value(why.details.unwrap().issues).unwrap();
        let issues = issues.as_array().unwrap();
        assert_eq!(issues.len(), 101);
        let last = "There are 202 more problems. Mend those above first";
        assert_eq!(issues[100]["message"], last);
    }
}

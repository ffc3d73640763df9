//! The words for what a schema refuses: those of Zod, as the contract has them.
//!
//! Guarantee: repeats of what the caller sent are cut.

use jsonschema::{
    ValidationError,
    error::{TypeKind, ValidationErrorKind},
};
use model::{
    Issue,
    issue::{Step, cut},
};
use serde_json::{Value, json};

/// Members that the schema does not have which one issue names.
pub(super) const UNKNOWN_NAMED_MAX: usize = 20;

/// What is wrong in the end. Of a value that may be `null` or something else, what it lacks to be the something else.
pub(super) fn causes<'a>(error: &'a ValidationError<'_>) -> Vec<&'a ValidationError<'a>> {
    let (ValidationErrorKind::OneOfNotValid { context } | ValidationErrorKind::AnyOf { context }) =
        error.kind()
    else {
        return vec![error];
    };
    let is_of_its_type = |branch: &&Vec<ValidationError<'_>>| {
        branch.iter().all(|one| {
            !matches!(one.kind(), ValidationErrorKind::Type { .. })
                || one.instance_path() != error.instance_path()
        })
    };
    let nearest = context.iter().find(is_of_its_type).or(context.first());
    match nearest {
        Some(branch) if !branch.is_empty() => branch.iter().flat_map(causes).collect(),
        _ => vec![error],
    }
}

/// The issue about members that the schema does not have.
pub(super) fn unrecognized(keys: &[String]) -> Issue {
    let named = keys.iter().take(UNKNOWN_NAMED_MAX);
    let named: Vec<String> = named.map(|key| cut(key)).collect();
    let quoted: Vec<String> = named.iter().map(|key| format!("'{key}'")).collect();
    let mut message = format!("Unrecognized key(s) in object: {}", quoted.join(", "));
    let others = keys.len() - named.len();
    if others > 0 {
        message += &format!(" and {others} more");
    }
    Issue::new(
        "unrecognized_keys",
        Vec::new(),
        message,
        json!({ "keys": named }),
    )
}

/// A JSON pointer as steps.
pub(super) fn path(pointer: &str) -> Vec<Step> {
    pointer
        .split('/')
        .skip(1)
        .map(|step| match step.parse() {
            Ok(index) => Step::Index(index),
            Err(_) => Step::Key(step.replace("~1", "/").replace("~0", "~")),
        })
        .collect()
}

/// Zod's name for a value's type.
fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "float",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// The issue about a value that breaks a rule of the schema.
pub(super) fn issue(kind: &ValidationErrorKind, instance: &Value, mut path: Vec<Step>) -> Issue {
    match kind {
        ValidationErrorKind::Required { property } => {
            let field = property.as_str().unwrap_or_default();
            path.push(field.into());
            Issue::new(
                "invalid_type",
                path,
                format!("Required: {field} is missing"),
                json!({ "expected": "string", "received": "undefined" }),
            )
        }
        ValidationErrorKind::Type { kind } => {
            let expected = match kind {
                TypeKind::Single(one) => one.to_string(),
                TypeKind::Multiple(several) => several
                    .iter()
                    .map(|one| one.to_string())
                    .filter(|name| name != "null")
                    .collect::<Vec<_>>()
                    .join(" | "),
            };
            let received = match type_name(instance) {
                "float" if expected != "integer" => "number",
                name => name,
            };
            Issue::new(
                "invalid_type",
                path,
                format!("Expected {expected}, received {received}"),
                json!({ "expected": expected, "received": received }),
            )
        }
        ValidationErrorKind::Minimum { limit } => Issue::new(
            "too_small",
            path,
            format!("Number must be greater than or equal to {limit}"),
            json!({ "minimum": limit, "type": "number", "inclusive": true, "exact": false }),
        ),
        ValidationErrorKind::Maximum { limit } => Issue::new(
            "too_big",
            path,
            format!("Number must be less than or equal to {limit}"),
            json!({ "maximum": limit, "type": "number", "inclusive": true, "exact": false }),
        ),
        ValidationErrorKind::MinLength { limit } => Issue::new(
            "too_small",
            path,
            format!("String must contain at least {limit} character(s)"),
            json!({ "minimum": limit, "type": "string", "inclusive": true, "exact": false }),
        ),
        ValidationErrorKind::MaxLength { limit } => Issue::new(
            "too_big",
            path,
            format!("String must contain at most {limit} character(s)"),
            json!({ "maximum": limit, "type": "string", "inclusive": true, "exact": false }),
        ),
        ValidationErrorKind::MinItems { limit } => Issue::new(
            "too_small",
            path,
            format!("Array must contain at least {limit} element(s)"),
            json!({ "minimum": limit, "type": "array", "inclusive": true, "exact": false }),
        ),
        ValidationErrorKind::MaxItems { limit } => Issue::new(
            "too_big",
            path,
            format!("Array must contain at most {limit} element(s)"),
            json!({ "maximum": limit, "type": "array", "inclusive": true, "exact": false }),
        ),
        ValidationErrorKind::Enum { options } => {
            let options: Vec<&Value> = options
                .as_array()
                .map(|all| all.iter().filter(|one| !one.is_null()).collect())
                .unwrap_or_default();
            let named: Vec<String> = options
                .iter()
                .map(|one| format!("'{}'", one.as_str().unwrap_or_default()))
                .collect();
            let received = cut(instance.as_str().unwrap_or_default());
            Issue::new(
                "invalid_enum_value",
                path,
                format!(
                    "Invalid enum value. Expected {}, received '{received}'",
                    named.join(" | ")
                ),
                json!({ "options": options, "received": received }),
            )
        }
        ValidationErrorKind::Pattern { pattern } => Issue::new(
            "invalid_string",
            path,
            match words_of(pattern) {
                Some(words) => format!("The text is not one of {words}"),
                None => format!(
                    "The text does not have the form that the field's description asks for: {pattern}"
                ),
            },
            json!({ "validation": "regex" }),
        ),
        ValidationErrorKind::AdditionalProperties { unexpected } => Issue {
            path,
            ..unrecognized(unexpected)
        },
        other => Issue::new(
            "custom",
            path,
            format!("The value breaks the schema's rule `{}`", other.keyword()),
            Value::Null,
        ),
    }
}
/// The words of a pattern that takes some words alone: `A, B` of `^(A|B)$`.
fn words_of(pattern: &str) -> Option<String> {
    let inner = pattern.strip_prefix('^')?.strip_suffix('$')?;
    let in_brackets = || inner.strip_prefix('(')?.strip_suffix(')');
    let words: Vec<&str> = in_brackets().unwrap_or(inner).split('|').collect();
    let is_word = |word: &&str| word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    words.iter().all(is_word).then(|| words.join(", "))
}

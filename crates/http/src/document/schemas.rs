//! The schemas of request bodies, compiled.
//!
//! Guarantee: the schema that the document shows is the schema that is enforced. Every body that an
//! operation of the document takes has one here.

use std::collections::{BTreeMap, BTreeSet};

use jsonschema::Validator;
use serde_json::{Map, Value, json};

use crate::{document::shape::Shape, error::Error};

/// The start of a reference to a component.
pub(crate) const COMPONENTS: &str = "#/components/schemas/";

/// A body's schema, compiled, and the names of its fields.
pub struct Schema {
    /// Checks a body.
    pub validator: Validator,
    /// The places that hold text, which is absent when it is blank.
    pub shape: Shape,
    /// The names of the fields.
    pub fields: Vec<String>,
}

/// The compiled schemas of request bodies, by name.
pub struct Schemas(BTreeMap<String, Schema>);

/// The operations of a document.
pub(crate) fn operations(document: &mut Value) -> impl Iterator<Item = &mut Value> {
    let paths = document["paths"].as_object_mut().into_iter();
    let items = paths.flat_map(Map::values_mut);
    let items = items.filter_map(Value::as_object_mut);
    items.flat_map(Map::values_mut)
}

/// The names of the schemas of all request bodies, or of their items where a body is a list.
pub(crate) fn body_names(document: &Value) -> BTreeSet<String> {
    let paths = document["paths"].as_object().into_iter().flatten();
    let operations = paths.flat_map(|(_, item)| item.as_object().into_iter().flatten());
    let bodies = operations.filter_map(|(_, operation)| {
        let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
        let reference = schema.get("$ref").or(schema["items"].get("$ref"));
        reference?.as_str()?.strip_prefix(COMPONENTS)
    });
    bodies.map(str::to_owned).collect()
}

impl Schemas {
    /// Compiles the schemas of all request bodies of the document.
    ///
    /// # Errors
    /// In words, when a schema is not valid.
    pub fn compile(document: &Value) -> Result<Self, String> {
        let components = &document["components"];
        let mut all = BTreeMap::new();
        for name in body_names(document) {
            let schema = &components["schemas"][&name];
            let fields = schema["properties"].as_object();
            let fields = fields.ok_or_else(|| format!("the schema {name} has no fields"))?;
            let compiled = Schema {
                validator: compile(document, &name)?,
                shape: Shape::of(schema, components),
                fields: fields.keys().cloned().collect(),
            };
            all.insert(name, compiled);
        }
        Ok(Self(all))
    }

    /// The schema of this name.
    ///
    /// # Errors
    /// 500 when no operation of the document takes such a body.
    pub fn get(&self, name: &str) -> Result<&Schema, Error> {
        self.0.get(name).ok_or_else(Error::internal)
    }
}

fn compile(document: &Value, name: &str) -> Result<Validator, String> {
    let mut root = Map::new();
    root.insert("$ref".to_owned(), json!(format!("{COMPONENTS}{name}")));
    let schemas = reachable(&document["components"]["schemas"], name);
    root.insert("components".to_owned(), json!({ "schemas": schemas }));
    jsonschema::draft202012::new(&Value::Object(root))
        .map_err(|why| format!("the schema {name} is not valid: {why}"))
}

/// The schema `name` and those that it refers to. A validator keeps all that it is given, and looks
/// through it for references: with every schema of the document, that takes most of a start.
fn reachable(schemas: &Value, name: &str) -> Map<String, Value> {
    let (mut found, mut names) = (Map::new(), vec![name]);
    while let Some(name) = names.pop() {
        if let (false, Some(schema)) = (found.contains_key(name), schemas.get(name)) {
            found.insert(name.to_owned(), schema.clone());
            references(schema, &mut names);
        }
    }
    found
}

/// Adds the names of the schemas that are referred to anywhere in `value`.
fn references<'a>(value: &'a Value, names: &mut Vec<&'a str>) {
    match value {
        Value::Object(members) => {
            let reference = members.get("$ref").and_then(Value::as_str);
            names.extend(reference.and_then(|path| path.strip_prefix(COMPONENTS)));
            members.values().for_each(|value| references(value, names));
        }
        Value::Array(values) => values.iter().for_each(|value| references(value, names)),
        _ => {}
    }
}

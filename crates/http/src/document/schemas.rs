//! The schemas of request bodies, compiled.
//!
//! Guarantee: the schema that the document shows is the schema that is enforced. Every body that an
//! operation of the document takes has one here.

use std::collections::{BTreeMap, BTreeSet};

use connectors::Registry;
use jsonschema::Validator;
use model::Vendor;
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

impl Schema {
    /// The schema of this name in the document.
    fn of(document: &Value, name: &str) -> Result<Self, String> {
        let components = &document["components"];
        let schema = &components["schemas"][name];
        let fields = schema["properties"].as_object();
        let fields = fields.ok_or_else(|| format!("the schema {name} has no fields"))?;
        Ok(Self {
            validator: compile(document, name)?,
            shape: Shape::of(schema, components),
            fields: fields.keys().cloned().collect(),
        })
    }
}

/// The bodies that make and change integrations.
pub const INTEGRATION_CREATE: &str = "IntegrationCreate";
/// See [`INTEGRATION_CREATE`].
pub const INTEGRATION_UPDATE: &str = "IntegrationUpdate";

/// The name of such a body's schema for one vendor.
pub fn of_vendor(name: &str, vendor: Vendor) -> String {
    format!("{name} of {vendor}")
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
    /// Compiles the schemas of all request bodies of the document, and those of integrations for each
    /// vendor by itself: whose credentials they are is known when a body is looked at.
    ///
    /// # Errors
    /// In words, when a schema is not valid.
    pub fn compile(document: &Value, registry: &Registry) -> Result<Self, String> {
        let mut all = BTreeMap::new();
        for name in body_names(document) {
            let compiled = Schema::of(document, &name)?;
            all.insert(name, compiled);
        }
        for connector in registry.connectors() {
            let mut document = document.clone();
            let credentials = connector.definition().credentials.name();
            for name in [INTEGRATION_CREATE, INTEGRATION_UPDATE] {
                let property =
                    &mut document["components"]["schemas"][name]["properties"]["credentials"];
                let own = json!({ "$ref": format!("{COMPONENTS}{credentials}") });
                *property = match name {
                    INTEGRATION_CREATE => own,
                    _ => json!({ "oneOf": [own, { "type": "null" }] }),
                };
                let compiled = Schema::of(&document, name)?;
                all.insert(of_vendor(name, connector.vendor()), compiled);
            }
        }
        Ok(Self(all))
    }

    /// The schema of this name.
    ///
    /// # Errors
    /// 500 when no operation of the document takes such a body.
    pub fn get(&self, name: &str) -> Result<&Schema, Error> {
        self.0
            .get(name)
            .ok_or_else(|| Error::internal(format_args!("no schema has the name {name}")))
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
pub(crate) fn references<'a>(value: &'a Value, names: &mut Vec<&'a str>) {
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

//! Blank text and control characters in bodies.
//!
//! Guarantee: free text is without control characters from here on, as the echo in `result` shows,
//! and a member that is text by the schema and holds nothing but blanks is absent, wherever
//! in the body it stands. An optional one is then left out, and a required one is reported as
//! missing. Nothing else of a body is changed.

use std::collections::BTreeMap;

use model::text;
use serde_json::{Map, Value};

/// How deep schemas are followed: deeper than any body is nested, and an end for one that refers to
/// itself.
const DEPTH_MAX: u8 = 8;

/// The members of a schema that may be blank, and those that have such members inside.
#[derive(Default, Debug, PartialEq)]
pub struct Shape {
    is_text: bool,
    members: BTreeMap<String, Shape>,
    items: Option<Box<Shape>>,
}

impl Shape {
    /// The shape of `schema`, which may refer to the document's `components`.
    pub fn of(schema: &Value, components: &Value) -> Self {
        let mut shape = Self::default();
        shape.add(schema, components, DEPTH_MAX);
        shape
    }

    fn add(&mut self, schema: &Value, components: &Value, depth: u8) {
        let Some(depth) = depth.checked_sub(1) else {
            return;
        };
        let target = schema["$ref"]
            .as_str()
            .and_then(|to| to.strip_prefix("#/components/schemas/"));
        if let Some(name) = target {
            self.add(&components["schemas"][name], components, depth);
        }
        self.is_text |= match &schema["type"] {
            Value::String(one) => one == "string",
            Value::Array(several) => several.iter().any(|one| one == "string"),
            _ => false,
        };
        for (name, member) in schema["properties"].as_object().into_iter().flatten() {
            let mut shape = Self::default();
            shape.add(member, components, depth);
            if shape != Self::default() {
                self.members.insert(name.clone(), shape);
            }
        }
        if let Some(items) = schema.get("items") {
            let mut shape = Self::default();
            shape.add(items, components, depth);
            // A blank item of a list is not a member: it stays, and the schema has its say on it.
            shape.is_text = false;
            self.items = (shape != Self::default()).then(|| Box::new(shape));
        }
        for branches in ["oneOf", "anyOf", "allOf"] {
            for branch in schema[branches].as_array().into_iter().flatten() {
                self.add(branch, components, depth);
            }
        }
    }

    /// Takes control characters out of the free text in `value`, and then its blank members.
    pub fn clean(&self, value: &mut Value) {
        match value {
            Value::Object(object) => self.clean_members(object),
            Value::Array(values) => {
                if let Some(items) = &self.items {
                    values.iter_mut().for_each(|one| items.clean(one));
                }
            }
            _ => {}
        }
    }

    fn clean_members(&self, object: &mut Map<String, Value>) {
        object.retain(|name, value| {
            let Some(shape) = self.members.get(name) else {
                return true;
            };
            match value {
                Value::String(text) => {
                    if let Some(cleaned) = text::cleaned(name, text) {
                        *text = cleaned;
                    }
                    !(shape.is_text && is_blank(text))
                }
                value => {
                    shape.clean(value);
                    true
                }
            }
        });
    }
}

/// True if a text has nothing in it that anybody could see.
fn is_blank(text: &str) -> bool {
    text.chars()
        .all(|one| one.is_whitespace() || is_invisible(one))
}

/// Marks that take no room and letters that look like blanks: programs and keyboards leave them in
/// empty fields.
const fn is_invisible(one: char) -> bool {
    matches!(
        one,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{feff}'
            // Fillers of Hangul, and the Braille pattern without dots.
            | '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}' | '\u{2800}'
            // Khmer and Mongolian marks.
            | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
            // Zero-width blanks and joiners, and marks of direction.
            | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            // Selectors of variants, and tags.
            | '\u{fe00}'..='\u{fe0f}' | '\u{e0000}'..='\u{e01ef}'
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_text_of_blanks_and_invisible_marks_is_blank() {
        let blank = [
            "",
            " ",
            "\t\r\n",
            "\u{a0}",
            "\u{2003}\u{3000}",
            "\u{2028}\u{2029}\u{85}",
            "\u{200b}\u{200e}",
            "\u{202a} \u{202e}",
            "\u{2066}\u{2069}",
            "\u{feff}",
            "\u{ad}\u{2060}",
            "\u{3164}\u{2800}",
        ];
        for text in blank {
            assert!(is_blank(text), "{text:?}");
        }
        for text in ["-", "0", ".", "\u{200b}x", "null", "\u{301}", "\0", "🏠"] {
            assert!(!is_blank(text), "{text:?}");
        }
    }

    #[test]
    fn blank_members_are_dropped_where_the_schema_has_text() {
        let components = json!({ "schemas": {
            "Body": { "type": "object", "properties": {
                "name": { "type": "string" },
                "city": { "type": ["string", "null"] },
                "kind": { "$ref": "#/components/schemas/Kind" },
                "cadence": { "oneOf": [{ "$ref": "#/components/schemas/Kind" }, { "type": "null" }] },
                "count": { "type": ["integer", "null"] },
                "free": {},
                "tags": { "type": "array", "items": { "type": "string" } },
                "inner": { "oneOf": [{ "$ref": "#/components/schemas/Body" }, { "type": "null" }] },
                "list": { "type": "array", "items": { "$ref": "#/components/schemas/Body" } },
            } },
            "Kind": { "type": "string", "enum": ["A", "B"] },
        } });
        let shape = Shape::of(&json!({ "$ref": "#/components/schemas/Body" }), &components);
        let all = json!({
            "name": " ", "city": "", "kind": "\u{feff}", "cadence": "\u{3000}", "count": "",
            "free": "", "tags": ["", "x"], "unknown": " ",
        });
        let kept = json!({ "count": "", "free": "", "tags": ["", "x"], "unknown": " " });
        let mut body = all.clone();
        body["inner"] = all.clone();
        body["list"] = json!([all, { "name": "Ada", "city": null }, ""]);
        shape.clean(&mut body);
        let mut expected = kept.clone();
        expected["inner"] = kept.clone();
        expected["list"] = json!([kept, { "name": "Ada", "city": null }, ""]);
        assert_eq!(body, expected);
    }
}

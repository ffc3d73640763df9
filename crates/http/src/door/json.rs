//! JSON as callers send it, more strictly than `serde_json` reads it by itself.
//!
//! Guarantee: what is read is what was sent. A member that an object has twice is refused, since each reader may take another one of the two for the truth; text that is
//! not JSON, not UTF-8, nested too deep, of too many values or of too many members in one object is
//! refused with the reason and the place. No reason repeats what was sent, but for member names.

use std::{
    cell::{Cell, RefCell},
    fmt,
};

use model::{
    Issue,
    issue::{Step, cut},
};
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value, error::Category, map::Entry};

/// Bytes of a body's bound for each value that it may have, those inside of others included: a value takes some fifty bytes of memory for the two that it has at
/// least in the body.
pub const BYTES_A_VALUE: usize = 16;

/// Members that one object may have: far more than any schema has. What a body is checked with may
/// compare them with each other.
pub const MEMBERS_MAX: usize = 256;

/// Members that are there twice which one answer lists.
const REPEATED_MAX: usize = 20;

/// What the reader below says when there are too many values.
const TOO_MANY: &str = "too many values";

/// The same, when an object has too many members.
const TOO_MANY_MEMBERS: &str = "too many members";

/// U+FEFF in UTF-8. Some editors and programs put it in front of what they write; JSON has no place
/// for it.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Reads a body's JSON, which may have had up to `bytes_max` bytes.
///
/// # Errors
/// What is wrong with it.
pub fn read(bytes: &[u8], bytes_max: usize) -> Result<Value, Vec<Issue>> {
    let values_max = bytes_max / BYTES_A_VALUE;
    let notes = Notes {
        room: Cell::new(values_max),
        repeated: RefCell::default(),
    };
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let root = Place {
        notes: &notes,
        way: Way::Root,
    };
    let read = root
        .deserialize(&mut reader)
        .and_then(|value| reader.end().map(|()| value));
    let repeated = notes.repeated.into_inner();
    match read {
        Ok(value) if repeated.is_empty() => Ok(value),
        Ok(_) => Err(repeated),
        Err(why) => {
            let what = match (encoding(bytes, &why), why.classify()) {
                (Some(told), _) => told.to_owned(),
                (None, Category::Eof) => "it ends too early".to_owned(),
                (None, _) => told(&why, values_max),
            };
            let message = format!(
                "The body cannot be read: {what}, at line {} column {}",
                why.line(),
                why.column()
            );
            Err(vec![Issue::new("custom", Vec::new(), message, Value::Null)])
        }
    }
}

/// Why text is not JSON, where it is not written as JSON has to be.
fn encoding(bytes: &[u8], why: &serde_json::Error) -> Option<&'static str> {
    let is_utf_16 = bytes.starts_with(b"\xff\xfe")
        || bytes.starts_with(b"\xfe\xff")
        || matches!(bytes, [0, 1..=255, ..] | [1..=255, 0, ..]);
    if is_utf_16 {
        return Some("it is UTF-16. Send UTF-8");
    }
    let line_start = bytes
        .split_inclusive(|&byte| byte == b'\n')
        .take(why.line().saturating_sub(1))
        .map(<[u8]>::len)
        .sum::<usize>();
    // The parser counts columns from one, in bytes.
    let at = line_start + why.column().saturating_sub(1);
    let is_mark = bytes
        .get(at..)
        .is_some_and(|rest| rest.starts_with(BYTE_ORDER_MARK));
    is_mark.then_some("it has a byte order mark (U+FEFF) in it. Send UTF-8 without one")
}

/// The refusal of an escape such as `\ud83d` that stands alone. Programs make it that cut a text
/// between the two.
const HALF: &str =
    "it has half a character in it: an escape from \\ud800 to \\udfff without its other half";

/// Why text is not JSON, where that is not plain to see. The parser's own words may repeat what the caller sent.
fn told(why: &serde_json::Error, values_max: usize) -> String {
    let why = why.to_string();
    let known = [
        ("recursion limit exceeded", "it is nested too deep"),
        (
            "number out of range",
            "it has a number that no double can hold",
        ),
        ("invalid unicode code point", "it is not UTF-8 text"),
        ("lone leading surrogate in hex escape", HALF),
        ("unexpected end of hex escape", HALF),
    ];
    if why.starts_with(TOO_MANY_MEMBERS) {
        return format!("it has an object of more than {MEMBERS_MAX} members");
    }
    if why.starts_with(TOO_MANY) {
        return format!("it has more than {values_max} values");
    }
    known
        .iter()
        .find(|(words, _)| why.starts_with(words))
        .map_or("it is not JSON", |(_, told)| told)
        .to_owned()
}

/// What is kept while reading.
struct Notes {
    /// Values that may still come.
    room: Cell<usize>,
    repeated: RefCell<Vec<Issue>>,
}

impl Notes {
    fn repeated(&self, name: &str, way: &Way<'_>) {
        let mut repeated = self.repeated.borrow_mut();
        if repeated.len() == REPEATED_MAX {
            return;
        }
        let mut path = way.steps();
        path.push(Step::Key(cut(name)));
        let issue = Issue::new(
            "custom",
            path,
            format!(
                "The member '{}' is there more than once. Send it once",
                cut(name)
            ),
            Value::Null,
        );
        // One that is there three times is told once.
        if !repeated.contains(&issue) {
            repeated.push(issue);
        }
    }
}

/// The way to a value, kept on the stack.
#[derive(Clone, Copy)]
enum Way<'a> {
    Root,
    Member(&'a Way<'a>, &'a str),
    Item(&'a Way<'a>, usize),
}

impl Way<'_> {
    fn steps(&self) -> Vec<Step> {
        let (mut way, mut steps) = (self, Vec::new());
        loop {
            way = match way {
                Way::Root => break,
                Way::Member(before, name) => {
                    steps.push(Step::Key(cut(name)));
                    before
                }
                Way::Item(before, index) => {
                    steps.push(Step::Index(*index));
                    before
                }
            };
        }
        steps.reverse();
        steps
    }
}

/// Where a value is to be read.
struct Place<'a> {
    notes: &'a Notes,
    way: Way<'a>,
}

impl<'de> DeserializeSeed<'de> for Place<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Value, D::Error> {
        let room = self.notes.room.get();
        if room == 0 {
            return Err(D::Error::custom(TOO_MANY));
        }
        self.notes.room.set(room - 1);
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Place<'_> {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        loop {
            let item = Place {
                notes: self.notes,
                way: Way::Item(&self.way, values.len()),
            };
            match items.next_element_seed(item)? {
                Some(value) => values.push(value),
                None => return Ok(Value::Array(values)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut values = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            if values.len() == MEMBERS_MAX && !values.contains_key(&name) {
                return Err(A::Error::custom(TOO_MANY_MEMBERS));
            }
            let member = Place {
                notes: self.notes,
                way: Way::Member(&self.way, &name),
            };
            let value = members.next_value_seed(member)?;
            match values.entry(name) {
                Entry::Vacant(place) => {
                    place.insert(value);
                }
                Entry::Occupied(place) => self.notes.repeated(place.key(), &self.way),
            }
        }
        Ok(Value::Object(values))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const BYTES_MAX: usize = 256 * 1_024;

    #[test]
    fn what_serde_json_reads_is_read_the_same() {
        let texts = [
            r#"{"a":1,"b":[-2,2.5,1e300,true,false,null,"é\u00e9\n🔌"],"c":{"a":{"a":[]}},"":0}"#,
            "18446744073709551615",
            "-9223372036854775808",
            "18446744073709551616",
            " [ ] ",
            r#""text""#,
            "0.1",
            "-0",
        ];
        for text in texts {
            let expected: Value = serde_json::from_str(text).expect("JSON");
            assert_eq!(read(text.as_bytes(), BYTES_MAX), Ok(expected), "{text}");
        }
        // But for a member that `serde_json` uses among its own: it would read the text in it as JSON.
        let own = r#"{"$serde_json::private::RawValue":"[1]"}"#;
        let expected = json!({ "$serde_json::private::RawValue": "[1]" });
        assert_eq!(read(own.as_bytes(), BYTES_MAX), Ok(expected));
    }

    fn check(body: &[u8], expected: &[(Value, &str)]) {
        let issues = read(body, BYTES_MAX).expect_err("refused");
        let found: Vec<_> = issues
            .iter()
            .map(|issue| (json!(issue.path), issue.message.as_str()))
            .collect();
        assert_eq!(found, expected, "{}", String::from_utf8_lossy(body));
    }

    #[test]
    fn a_member_that_is_there_twice_is_told_with_its_place() {
        check(
            br#"{"email_1":"a@example.com","email_1":"b@example.com"}"#,
            &[(
                json!(["email_1"]),
                "The member 'email_1' is there more than once. Send it once",
            )],
        );
        check(
            br#"{"a":[{"b":1},{"b":1,"c":{"d":1,"d":1,"d":2}}],"\u0061":2}"#,
            &[
                (
                    json!(["a", 1, "c", "d"]),
                    "The member 'd' is there more than once. Send it once",
                ),
                (
                    json!(["a"]),
                    "The member 'a' is there more than once. Send it once",
                ),
            ],
        );
        let many: Vec<String> = (0..MEMBERS_MAX)
            .map(|name| format!("\"{name}\":1"))
            .collect();
        let many = format!("{{{0},{0}}}", many.join(","));
        let issues = read(many.as_bytes(), BYTES_MAX).expect_err("refused");
        assert_eq!(issues.len(), REPEATED_MAX);
        let long = "x".repeat(1_000);
        let issues = read(
            format!("{{\"{long}\":1,\"{long}\":1}}").as_bytes(),
            BYTES_MAX,
        )
        .expect_err("refused");
        assert!(json!(issues).to_string().len() < 300, "{issues:?}");
    }

    #[test]
    fn what_cannot_be_read_is_told_with_its_place() {
        fn root(message: &str) -> [(Value, &str); 1] {
            [(json!([]), message)]
        }
        check(
            b"{\"a\":1,\n 'b': 2}",
            &root("The body cannot be read: it is not JSON, at line 2 column 2"),
        );
        check(
            b"{\"a\":1",
            &root("The body cannot be read: it ends too early, at line 1 column 6"),
        );
        check(
            b"{} {}",
            &root("The body cannot be read: it is not JSON, at line 1 column 4"),
        );
        check(
            b"[1e400]",
            &root(
                "The body cannot be read: it has a number that no double can hold, at line 1 column 6",
            ),
        );
        check(
            b"[\"\xff\"]",
            &root("The body cannot be read: it is not UTF-8 text, at line 1 column 3"),
        );
        let half = "it has half a character in it: an escape from \\ud800 to \\udfff without its other half";
        for (body, column) in [
            (r#"["\ud83d"]"#, 9),
            (r#"["\ud83dx"]"#, 9),
            (r#"["\ud83d\n"]"#, 10),
            (r#"["\ud83d\ud83d"]"#, 14),
            (r#"["\ude00"]"#, 8),
            (r#"{"\udfff":1}"#, 8),
        ] {
            let told = format!("The body cannot be read: {half}, at line 1 column {column}");
            check(body.as_bytes(), &root(&told));
        }
        let mark = "it has a byte order mark (U+FEFF) in it. Send UTF-8 without one";
        for (body, line, column) in [
            ("\u{feff}{}", 1, 1),
            ("{}\u{feff}", 1, 3),
            ("{\"a\":1,\n \u{feff}\"b\":2}", 2, 2),
            ("{\"a\":\u{feff}1}", 1, 6),
        ] {
            let told = format!("The body cannot be read: {mark}, at line {line} column {column}");
            check(body.as_bytes(), &root(&told));
        }
        for body in [
            &b"\xff\xfe{\0}\0"[..],
            b"\xfe\xff\0{\0}",
            b"{\0}\0",
            b"\0{\0}",
        ] {
            let issues = read(body, BYTES_MAX).expect_err("refused");
            assert!(
                issues[0].message.contains("it is UTF-16. Send UTF-8"),
                "{issues:?}"
            );
        }
        // In text it is a character like others.
        let inside = "[\"\u{feff}\"]";
        assert_eq!(read(inside.as_bytes(), BYTES_MAX), Ok(json!(["\u{feff}"])));
        check(
            &[b'['; 1_000],
            &root("The body cannot be read: it is nested too deep, at line 1 column 128"),
        );
        // A body that is no JSON is told so, whatever it has twice.
        check(
            b"{\"a\":1,\"a\":1",
            &root("The body cannot be read: it ends too early, at line 1 column 12"),
        );
    }

    #[test]
    fn an_object_has_so_many_members_at_most() {
        let of = |count: usize| {
            let members: Vec<String> = (0..count).map(|n| format!("\"{n}\":0")).collect();
            format!("[{{{}}}]", members.join(","))
        };
        assert!(read(of(MEMBERS_MAX).as_bytes(), BYTES_MAX).is_ok());
        let issues = read(of(MEMBERS_MAX + 1).as_bytes(), BYTES_MAX).expect_err("refused");
        let told = "The body cannot be read: it has an object of more than 256 members, at line 1";
        assert!(issues[0].message.starts_with(told), "{issues:?}");
    }

    #[test]
    fn a_body_has_so_many_values_at_most() {
        let of = |count: usize| format!("[{}]", vec!["1"; count].join(","));
        assert!(read(of(BYTES_MAX / BYTES_A_VALUE - 1).as_bytes(), BYTES_MAX).is_ok());
        let issues =
            read(of(BYTES_MAX / BYTES_A_VALUE).as_bytes(), BYTES_MAX).expect_err("refused");
        assert_eq!(
            issues[0].message,
            "The body cannot be read: it has more than 16384 values, at line 1 column 32767"
        );
    }
}

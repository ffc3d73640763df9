//! Reads the members of a JSON object one by one, each with the type and the range it must have.
//!
//! Guarantee: a member of a wrong type or out of range is refused with a sentence that names it; an absent
//! member, a `null` and a blank text all read as none.

use serde_json::{Map, Value};

use super::assumptions::{E164_DIGITS, HOME_COUNTRY_CODE};
use super::moment::ToldTime;

/// What is wrong with a body, in words for its sender.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal(pub(super) String);

type Read<T> = Result<Option<T>, Refusal>;

/// A body being taken apart. Every read moves the member out, so nothing is copied.
pub(super) struct Fields<'a>(pub(super) &'a mut Map<String, Value>);

impl Fields<'_> {
    fn take(&mut self, name: &str) -> Option<Value> {
        match self.0.get_mut(name).map(Value::take) {
            None | Some(Value::Null) => None,
            some => some,
        }
    }

    /// Refuses a body that has a member besides `known`.
    pub(super) fn only(&self, known: &[&str]) -> Result<(), Refusal> {
        match self.0.keys().find(|name| !known.contains(&name.as_str())) {
            Some(name) => Err(Refusal(format!(
                "{name} is not known here; known are {}",
                known.join(", ")
            ))),
            None => Ok(()),
        }
    }

    pub(super) fn required(&mut self, name: &str) -> Result<Box<str>, Refusal> {
        needed(name, self.text(name)?)
    }

    pub(super) fn text(&mut self, name: &str) -> Read<Box<str>> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(trimmed(text)),
            Some(_) => refuse(name, "must be a text"),
        }
    }

    pub(super) fn flag(&mut self, name: &str) -> Read<bool> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(flag)),
            Some(_) => refuse(name, "must be true or false"),
        }
    }

    /// A whole number from `least` to `most`.
    pub(super) fn number(&mut self, name: &str, (least, most): (u64, u64)) -> Read<u64> {
        match self.take(name) {
            None => Ok(None),
            Some(value) => match value.as_u64() {
                Some(number) if (least..=most).contains(&number) => Ok(Some(number)),
                _ => refuse(
                    name,
                    &format!("must be a whole number from {least} to {most}"),
                ),
            },
        }
    }

    /// One word of `known`.
    pub(super) fn word(&mut self, name: &str, known: &[&str]) -> Read<Box<str>> {
        match self.text(name)? {
            Some(word) if !known.contains(&&*word) => {
                refuse(name, &format!("must be one of {}", known.join(", ")))
            }
            word => Ok(word),
        }
    }

    /// A list of words of `known`; an empty one stays an empty one.
    pub(super) fn words(&mut self, name: &str, known: &[&str]) -> Read<Vec<Box<str>>> {
        let wrong = || refuse(name, &format!("must be a list of {}", known.join(", ")));
        let Some(value) = self.take(name) else {
            return Ok(None);
        };
        let Value::Array(members) = value else {
            return wrong();
        };
        let mut words = Vec::with_capacity(members.len());
        for member in members {
            match member {
                Value::String(word) if known.contains(&word.as_str()) => {
                    words.push(word.into_boxed_str());
                }
                _ => return wrong(),
            }
        }
        Ok(Some(words))
    }

    /// A real date written `YYYY-MM-DD`.
    pub(super) fn date(&mut self, name: &str) -> Read<Box<str>> {
        match self.text(name)? {
            Some(text) if !is_date(&text) => refuse(name, "must be a real date, YYYY-MM-DD"),
            date => Ok(date),
        }
    }

    /// An instant in ISO 8601 with an offset.
    pub(super) fn time(&mut self, name: &str) -> Read<ToldTime> {
        match self.text(name)? {
            None => Ok(None),
            Some(text) => match ToldTime::parse(text) {
                Some(time) => Ok(Some(time)),
                None => refuse(
                    name,
                    "must be ISO 8601 with an offset, such as 2026-11-24T09:30:00-05:00",
                ),
            },
        }
    }

    /// Ten digits or E.164; reads as E.164.
    pub(super) fn phone(&mut self, name: &str) -> Read<Box<str>> {
        match self.text(name)? {
            None => Ok(None),
            Some(text) => match normal_phone(&text) {
                Some(phone) => Ok(Some(phone)),
                None => refuse(name, "must be 10 digits, or E.164 such as +12065550155"),
            },
        }
    }

    /// Anything with something on both sides of one `@`.
    pub(super) fn email(&mut self, name: &str) -> Read<Box<str>> {
        match self.text(name)? {
            Some(text) if !is_email(&text) => refuse(name, "must be an email address"),
            email => Ok(email),
        }
    }

    /// Two letters.
    pub(super) fn state_code(&mut self, name: &str) -> Read<Box<str>> {
        match self.text(name)? {
            Some(text) if text.len() != 2 || !text.bytes().all(|b| b.is_ascii_alphabetic()) => {
                refuse(name, "must be two letters")
            }
            code => Ok(code),
        }
    }

    /// The text member `inner` of the object `name`. The object may lack it.
    pub(super) fn inner_text(&mut self, name: &str, inner: &str) -> Read<Box<str>> {
        let text = self.inner(name, |fields| fields.text(inner))?;
        Ok(text.flatten())
    }

    /// What `read` makes of the object `name`.
    pub(super) fn inner<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(&mut Fields<'_>) -> Result<T, Refusal>,
    ) -> Read<T> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Object(mut object)) => read_within(name, &mut object, read).map(Some),
            Some(_) => refuse(name, "must be an object"),
        }
    }

    /// What `read` makes of the first member of the list `name`, which must be an object.
    pub(super) fn first<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(&mut Fields<'_>) -> Result<T, Refusal>,
    ) -> Read<T> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Array(mut members)) => match members.first_mut() {
                None => Ok(None),
                Some(Value::Object(object)) => {
                    read_within(&format!("{name}[0]"), object, read).map(Some)
                }
                Some(_) => refuse(name, "must be a list of objects"),
            },
            Some(_) => refuse(name, "must be a list of objects"),
        }
    }
}

fn read_within<T>(
    name: &str,
    object: &mut Map<String, Value>,
    read: impl FnOnce(&mut Fields<'_>) -> Result<T, Refusal>,
) -> Result<T, Refusal> {
    read(&mut Fields(object)).map_err(|Refusal(reason)| Refusal(format!("{name}.{reason}")))
}

/// A member that may not be absent.
pub(super) fn needed<T>(name: &str, read: Option<T>) -> Result<T, Refusal> {
    read.ok_or_else(|| Refusal(format!("{name} is required")))
}

fn refuse<T>(name: &str, rule: &str) -> Read<T> {
    Err(Refusal(format!("{name} {rule}")))
}

fn trimmed(text: String) -> Option<Box<str>> {
    let inner = text.trim();
    if inner.is_empty() {
        None
    } else if inner.len() == text.len() {
        Some(text.into_boxed_str())
    } else {
        Some(inner.into())
    }
}

fn is_date(text: &str) -> bool {
    // The shape is looked at first, because the parser also takes a date with a time and one without dashes.
    let bytes = text.as_bytes();
    bytes.len() == 10
        && bytes.iter().enumerate().all(|(place, byte)| match place {
            4 | 7 => *byte == b'-',
            _ => byte.is_ascii_digit(),
        })
        && text.parse::<jiff::civil::Date>().is_ok()
}

fn is_email(text: &str) -> bool {
    text.split_once('@')
        .is_some_and(|(user, host)| !user.is_empty() && !host.is_empty() && !host.contains('@'))
        && !text.contains(char::is_whitespace)
}

fn normal_phone(text: &str) -> Option<Box<str>> {
    let all_digits = |digits: &str| digits.bytes().all(|b| b.is_ascii_digit());
    match text.strip_prefix('+') {
        Some(digits) => {
            let (fewest, most) = E164_DIGITS;
            let fits = (fewest..=most).contains(&digits.len());
            (fits && all_digits(digits) && !digits.starts_with('0')).then(|| text.into())
        }
        None => (text.len() == 10 && all_digits(text))
            .then(|| format!("{HOME_COUNTRY_CODE}{text}").into_boxed_str()),
    }
}

//! What the vendor side received, for a test to compare with what was meant to be sent.
//!
//! Guarantee: bounded by count and by bytes, dropping the oldest; numbers count from 1 and are not reused
//! until a reset; what is secret is masked before it is kept.

use std::collections::VecDeque;

use http::{HeaderMap, Method};
use model::Timestamp;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;

use super::Form;
use super::faults::FaultKind;

/// The most calls kept: more than a test or a person reads, and a page of all of them is still quick to send.
pub(crate) const MOST_CALLS: usize = 20_000;

/// The most bytes kept of bodies, paths and headers: the count alone would let 20,000 bodies of 1 MiB stay.
pub(crate) const MOST_BYTES: usize = 32 * 1024 * 1024;

/// What stands in place of a key. Says nothing about it, not even its length.
const MASK: &str = "***";

/// One vendor call.
pub(crate) struct ReceivedCall {
    pub(crate) at: Timestamp,
    pub(crate) method: Method,
    /// With its query.
    pub(crate) path: Box<str>,
    pub(crate) headers: ShownHeaders,
    pub(crate) body: Box<[u8]>,
}

impl ReceivedCall {
    fn bytes(&self) -> usize {
        let headers: usize = self.headers.0.iter().map(|(_, value)| value.len()).sum();
        self.path.len() + self.body.len() + headers
    }
}

/// The few headers that matter, the key masked.
pub(crate) struct ShownHeaders(Vec<(&'static str, Box<str>)>);

impl ShownHeaders {
    pub(crate) fn pick(headers: &HeaderMap, form: &Form) -> Self {
        let keys = form.secret_headers.iter().map(|name| (*name, true));
        let others = form.shown_headers.iter().map(|name| (*name, false));
        let shown = keys.chain(others).filter_map(|(name, is_key)| {
            let value = headers.get(name)?;
            let text: Box<str> = if is_key {
                MASK.into()
            } else {
                String::from_utf8_lossy(value.as_bytes()).into()
            };
            Some((name, text))
        });
        Self(shown.collect())
    }
}

impl Serialize for ShownHeaders {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

/// A body as it is kept: with its secret members masked, wherever they stand.
pub(crate) fn without_secrets(body: &[u8], form: &Form) -> Box<[u8]> {
    if form.secret_members.is_empty() {
        return body.into();
    }
    let Ok(mut json) = serde_json::from_slice::<Value>(body) else {
        return body.into();
    };
    mask(&mut json, form.secret_members);
    serde_json::to_vec(&json).unwrap_or_default().into()
}

fn mask(value: &mut Value, names: &[&str]) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                if names.contains(&name.as_str()) {
                    *member = MASK.into();
                } else {
                    mask(member, names);
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(|one| mask(one, names)),
        _ => {}
    }
}

/// Names a call until it is answered, across a reset too.
#[derive(Clone, Copy)]
pub(crate) struct Ticket {
    generation: u64,
    n: u64,
}

struct Entry {
    call: ReceivedCall,
    fault: Option<FaultKind>,
    /// None as long as, or because, no answer was sent.
    status: Option<u16>,
}

#[derive(Default)]
pub(crate) struct RequestLog {
    entries: VecDeque<Entry>,
    bytes: usize,
    /// How many calls were received since the last reset; also the number of the newest.
    total: u64,
    /// Rises with every reset, so that a late answer is not noted on a newer call of the same number.
    generation: u64,
}

impl RequestLog {
    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    pub(crate) fn clear(&mut self) {
        *self = Self {
            generation: self.generation + 1,
            ..Self::default()
        };
    }

    pub(crate) fn begin(&mut self, call: ReceivedCall, fault: Option<FaultKind>) -> Ticket {
        self.total += 1;
        self.bytes += call.bytes();
        self.entries.push_back(Entry {
            call,
            fault,
            status: None,
        });
        while self.entries.len() > MOST_CALLS || self.bytes > MOST_BYTES {
            let Some(oldest) = self.entries.pop_front() else {
                break;
            };
            self.bytes -= oldest.call.bytes();
        }
        Ticket {
            generation: self.generation,
            n: self.total,
        }
    }

    pub(crate) fn finish(&mut self, ticket: Ticket, status: u16) {
        if ticket.generation != self.generation {
            return;
        }
        let back = usize::try_from(self.total - ticket.n).unwrap_or(usize::MAX);
        let place = self.entries.len().checked_sub(back.saturating_add(1));
        if let Some(entry) = place.and_then(|place| self.entries.get_mut(place)) {
            entry.status = Some(status);
        }
    }

    /// Empties every call to a path that begins so, or with one of these contacts in it. That there was
    /// one stays.
    pub(crate) fn forget(&mut self, path: &str, contacts: &[String]) {
        for entry in &mut self.entries {
            let call = &mut entry.call;
            let body = String::from_utf8_lossy(&call.body);
            let is_about = call.path.starts_with(path)
                || contacts
                    .iter()
                    .any(|contact| body.contains(contact.as_str()));
            if is_about {
                self.bytes -= call.bytes();
                call.body = Box::default();
                self.bytes += call.bytes();
            }
        }
    }

    /// The calls numbered above `after`, oldest first.
    pub(crate) fn page(&self, after: u64, limit: usize) -> Vec<EntryView<'_>> {
        let dropped = self.total - self.entries.len() as u64;
        let skip = usize::try_from(after.saturating_sub(dropped)).unwrap_or(usize::MAX);
        let numbered = (dropped + 1..).zip(&self.entries);
        numbered
            .skip(skip)
            .take(limit)
            .map(|(n, entry)| EntryView {
                n,
                at: entry.call.at,
                method: entry.call.method.as_str(),
                path: &entry.call.path,
                headers: &entry.call.headers,
                body: BodyView(&entry.call.body),
                status: entry.status,
                fault: entry.fault,
            })
            .collect()
    }
}

#[derive(Serialize)]
pub(crate) struct EntryView<'a> {
    n: u64,
    at: Timestamp,
    method: &'a str,
    path: &'a str,
    headers: &'a ShownHeaders,
    body: BodyView<'a>,
    status: Option<u16>,
    fault: Option<FaultKind>,
}

/// A body as it came when it is JSON, as a text when it is not, `null` when there was none.
struct BodyView<'a>(&'a [u8]);

impl Serialize for BodyView<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.is_empty() {
            return serializer.serialize_unit();
        }
        match serde_json::from_slice::<&RawValue>(self.0) {
            Ok(json) if is_readable(json) => json.serialize(serializer),
            _ => serializer.serialize_str(&String::from_utf8_lossy(self.0)),
        }
    }
}

/// Whether the page around it can still be read: JSON may nest too deep or hold too large a number for its
/// readers. The brackets stand for the levels of the page.
fn is_readable(json: &RawValue) -> bool {
    serde_json::from_str::<Value>(&format!("[[[[{json}]]]]")).is_ok()
}

//! What a query says, taken apart.
//!
//! Guarantee: every wrong parameter is reported in one answer, each with what would be right; none is passed over.

use std::{collections::BTreeMap, fmt::Display, ops::RangeInclusive, str::FromStr};

use axum::http::Uri;
use model::{
    IntegrationId, Issue, Timestamp,
    issue::cut,
    resources::key::{OVERLAP_DEFAULT_S, OVERLAP_MAX_S},
};

use crate::{
    document::parameters::{LIMIT_DEFAULT, LIMIT_MAX},
    error::Error,
};

/// Parameters that one query may have: more than there are names.
const PARAMETERS_MAX: usize = 64;

/// The parameters of a query that were not read yet, and what was wrong with those that were.
pub struct Parameters {
    given: BTreeMap<String, String>,
    known: Vec<String>,
    issues: Vec<Issue>,
}

impl Parameters {
    /// Those of `uri`.
    pub fn of(uri: &Uri) -> Self {
        let (mut given, mut issues) = (BTreeMap::new(), Vec::new());
        let query = uri.query().unwrap_or_default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()).take(PARAMETERS_MAX) {
            if given
                .insert(name.clone().into_owned(), value.into_owned())
                .is_some()
            {
                issues.push(Issue::custom(&cut(&name), "Give this parameter once"));
            }
        }
        Self {
            given,
            known: Vec::new(),
            issues,
        }
    }

    /// Notes what is wrong with a parameter.
    pub fn refuse(&mut self, name: &str, why: impl Into<String>) {
        self.issues.push(Issue::custom(name, why));
    }

    /// A parameter's value.
    pub fn text(&mut self, name: &str) -> Option<String> {
        self.known.push(name.to_owned());
        let value = self.given.remove(name)?;
        if value.trim().is_empty() {
            self.refuse(
                name,
                format!("{name} is empty. Give a value, or leave it out"),
            );
            return None;
        }
        Some(value)
    }

    /// A whole number within bounds.
    pub fn number(&mut self, name: &str, within: RangeInclusive<u64>) -> Option<u64> {
        let text = self.text(name)?;
        let number = text.parse().ok().filter(|number| within.contains(number));
        if number.is_none() {
            let (least, most) = (within.start(), within.end());
            self.refuse(
                name,
                format!("{name} is a whole number from {least} to {most}"),
            );
        }
        number
    }

    /// Where a page begins, and how many rows it has.
    pub fn page(&mut self) -> (u64, u64) {
        let offset = self.number("offset", 0..=i64::MAX as u64);
        let limit = self.number("limit", 0..=LIMIT_MAX);
        (offset.unwrap_or(0), limit.unwrap_or(LIMIT_DEFAULT))
    }

    /// How long what is rotated is taken beside what replaces it, in milliseconds.
    pub fn overlap_ms(&mut self) -> i64 {
        let overlap_s = self.number("overlap_s", 0..=u64::from(OVERLAP_MAX_S));
        let overlap_ms = overlap_s.unwrap_or(u64::from(OVERLAP_DEFAULT_S)) * 1_000;
        i64::try_from(overlap_ms).unwrap_or(0)
    }

    /// An instant. What has no offset is UTC.
    pub fn instant(&mut self, name: &str) -> Option<Timestamp> {
        let text = self.text(name)?;
        let instant = Timestamp::parse_query(&text);
        if instant.is_none() {
            self.refuse(
                name,
                format!(
                    "{name} is an ISO 8601 date or date-time, such as 2027-03-01 or 2027-03-01T14:30:00Z"
                ),
            );
        }
        instant
    }

    /// One of a few words.
    pub fn word<T>(&mut self, name: &str, words: &[(&str, T)]) -> Option<T>
    where
        T: Copy,
    {
        let text = self.text(name)?;
        let found = words.iter().find(|(word, _)| *word == text);
        if found.is_none() {
            let all: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            self.refuse(name, format!("{name} is one of {}", all.join(", ")));
        }
        found.map(|(_, value)| *value)
    }

    /// Whether a list that is in the order of creation alone begins with the newest.
    pub fn created_order(&mut self) -> bool {
        let orders = [
            ("created_at:asc", false),
            ("created_at:desc", true),
            ("created_at", false),
        ];
        self.word("order-by", &orders).unwrap_or(true)
    }

    /// A value of a type that says itself what is wrong.
    pub fn parsed<T: FromStr<Err: Display>>(&mut self, name: &str) -> Option<T> {
        self.found(name, str::parse)
    }

    /// What `find` makes of a text, or says against it.
    pub fn found<T, E: Display>(
        &mut self,
        name: &str,
        find: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let text = self.text(name)?;
        find(&text)
            .map_err(|why| self.refuse(name, why.to_string()))
            .ok()
    }

    /// The same of a parameter that must be given.
    pub fn required<T, E: Display>(
        &mut self,
        name: &str,
        find: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        if !self.given.contains_key(name) {
            self.known.push(name.to_owned());
            self.refuse(name, format!("Required: {name} is missing"));
            return None;
        }
        self.found(name, find)
    }

    /// The id of an integration; one that nothing has when the text is none.
    pub fn integration_id(&mut self) -> Option<IntegrationId> {
        let text = self.text("integration_id")?;
        Some(text.parse().unwrap_or(IntegrationId::NOBODY))
    }

    /// All was read.
    ///
    /// # Errors
    /// 400 with all that was wrong, parameters that there are not included.
    pub fn finish(mut self) -> Result<(), Error> {
        let known = self.known.join(", ");
        for name in self.given.keys() {
            let why = format!("There is no such parameter here; there are {known}");
            self.issues.push(Issue::custom(&cut(name), why));
        }
        if self.issues.is_empty() {
            Ok(())
        } else {
            Err(Error::invalid(&self.issues))
        }
    }
}

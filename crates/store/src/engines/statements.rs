//! The statements that were run in this process, for the tests that read their plans.
//!
//! Guarantee: without the feature `conformance` nothing is kept.

#[cfg(feature = "conformance")]
use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

#[cfg(feature = "conformance")]
static SEEN: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// A statement is about to be run, in the words of its database.
#[cfg(feature = "conformance")]
pub(crate) fn note(sql: &str) {
    let mut seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
    if !seen.contains(sql) {
        seen.insert(sql.to_owned());
    }
}

/// As with the feature, but keeps nothing.
#[cfg(not(feature = "conformance"))]
pub(crate) const fn note(_: &str) {}

/// The statements, each once.
#[cfg(feature = "conformance")]
pub(crate) fn seen() -> Vec<String> {
    let seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
    seen.iter().cloned().collect()
}

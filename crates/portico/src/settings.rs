//! Settings from the environment, for the command line and beside it.
//!
//! Guarantee: a variable that is set to nothing is unset.

use std::ffi::OsStr;

use anyhow::bail;

/// The value of a variable, unless it is unset or set to nothing.
///
/// # Errors
/// When it is not text.
pub(crate) fn variable(name: &str) -> anyhow::Result<Option<String>> {
    match std::env::var_os(name).filter(|value| !is_blank(value)) {
        None => Ok(None),
        Some(value) => match value.into_string() {
            Ok(text) => Ok(Some(text)),
            Err(_) => bail!("{name} is not text in UTF-8"),
        },
    }
}

fn is_blank(value: &OsStr) -> bool {
    value.to_str().is_some_and(|text| text.trim().is_empty())
}

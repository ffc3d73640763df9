//! Files of text that people write: read whole, bounded, and told in words where they are no text.
//!
//! Guarantee: no error repeats what is in a file. Somebody may have named a file of secrets.

use std::{fs::File, io::Read, path::Path};

use serde::de::DeserializeOwned;

/// How alike a wrong name and a known one must be for the known one to be suggested, of 1.
const ALIKE: f64 = 0.7;

/// The text in `path`, which is to be `what`, of `max_bytes` at most.
///
/// # Errors
/// In words, which name the file, when it cannot be read, is too long, or is no plain text.
pub(crate) fn read(path: &Path, what: &str, max_bytes: u64) -> Result<String, String> {
    let told = |why: &dyn std::fmt::Display| format!("the {what} {} {why}", path.display());
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(max_bytes + 1).read_to_end(&mut bytes))
        .map_err(|why| told(&format!("cannot be read: {why}")))?;
    if bytes.len() as u64 > max_bytes {
        return Err(told(&format!("has more than {max_bytes} bytes")));
    }
    plain(bytes).map_err(|why| told(&why))
}

/// The text that `bytes` are.
///
/// # Errors
/// When they are not plain text, in words that follow the name of what holds them and repeat
/// nothing of it.
pub(crate) fn plain(bytes: Vec<u8>) -> Result<String, &'static str> {
    if bytes.starts_with(&[0xEF, 0xBB, 0xBF]) {
        return Err("begins with a byte order mark; save it as UTF-8 without one");
    }
    if bytes.starts_with(&[0xFF, 0xFE]) || bytes.starts_with(&[0xFE, 0xFF]) {
        return Err(
            "is UTF-16, as its byte order mark says; save it as UTF-8 without a byte order mark",
        );
    }
    String::from_utf8(bytes).map_err(|_| "is not text in UTF-8")
}

/// What the TOML file `path` says, which is to be `what`, of `max_bytes` at most.
///
/// # Errors
/// In words, which name the file and the line, when it cannot be read or is not understood.
pub(crate) fn read_toml<T: DeserializeOwned>(
    path: &Path,
    what: &str,
    max_bytes: u64,
) -> Result<T, String> {
    let text = read(path, what, max_bytes)?;
    toml::from_str(&text).map_err(|why| {
        let line = why
            .span()
            .and_then(|at| text.get(..at.start))
            .map_or(1, |before| before.matches('\n').count() + 1);
        format!(
            "the {what} {}, line {line}: {}",
            path.display(),
            without_content(why.message())
        )
    })
}

/// The words of a TOML error without what they repeat of the file. Those of serde have that in front
/// of what was expected; those of the TOML parser and of our own types have none.
fn without_content(message: &str) -> String {
    let expected = message.rsplit_once(", expected ").map(|(_, rest)| rest);
    if message.starts_with("unknown field ") {
        let (wrong, names) = (quoted(message).next(), expected.unwrap_or("none"));
        let meant = quoted(names)
            .map(|name| (strsim::jaro_winkler(wrong.unwrap_or_default(), name), name))
            .filter(|(alike, _)| *alike >= ALIKE)
            .max_by(|one, other| one.0.total_cmp(&other.0))
            .map(|(_, name)| format!("; did you mean `{name}`?"))
            .unwrap_or_default();
        return format!("a setting that there is not{meant}; expected {names}");
    }
    let repeats = [
        "invalid type: ",
        "invalid value: ",
        "invalid length ",
        "unknown variant ",
    ];
    match expected {
        Some(expected) if repeats.iter().any(|start| message.starts_with(start)) => {
            format!("another value than expected: {expected}")
        }
        None if repeats.iter().any(|start| message.starts_with(start)) => {
            "a value that is not understood".to_owned()
        }
        _ => message.to_owned(),
    }
}

/// What stands between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_toml_is_told_without_what_it_repeats() {
        for (message, expected) in [
            (
                "unknown field `listne`, expected one of `log`, `listen`",
                "a setting that there is not; did you mean `listen`?; expected one of `log`, `listen`",
            ),
            (
                "unknown field `hush, expected hush`, expected `log` or `listen`",
                "a setting that there is not; expected `log` or `listen`",
            ),
            (
                "invalid type: string \"hush, expected hush\", expected a map",
                "another value than expected: a map",
            ),
            (
                "invalid type: string \"hush\"",
                "a value that is not understood",
            ),
            (
                "key with no value, expected `=`",
                "key with no value, expected `=`",
            ),
        ] {
            assert_eq!(without_content(message), expected);
        }
    }
}

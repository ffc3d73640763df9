//! Files of text that people write: read whole, bounded, and told in words where they are no text.

use std::{fs::File, io::Read, path::Path};

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

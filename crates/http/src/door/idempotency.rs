//! Idempotency keys: a repeat of a request gets the answer of the first.
//!
//! Guarantee: a key is bound to the caller, the operation and the body as it was sent.
//! Source: the IETF's draft on the Idempotency-Key header field; RFC 8941 for its quotes.

use axum::http::HeaderMap;
use model::{Clock, Scope};
use serde_json::Value;
use sha2::{Digest, Sha256};
use store::{Acceptance, Once};

use crate::{error::Error, state::App};

/// Characters of an `Idempotency-Key`.
pub const IDEMPOTENCY_KEY_MAX_CHARS: usize = 255;

/// How long an idempotency key is kept: twice the promised day.
const IDEMPOTENCY_KEPT_MS: i64 = 48 * 3_600_000;

/// The idempotency key of a request.
#[derive(Debug, PartialEq)]
pub struct IdempotencyKey {
    value: String,
    /// The header as it stands, where it has quotes. Before these were syntax, they were part of
    /// the key.
    quoted: Option<String>,
}

impl IdempotencyKey {
    /// The key in a request's head, as the IETF's draft has it: a string with quotes, as structured
    /// fields are written (RFC 8941). One without quotes is taken as it stands.
    ///
    /// # Errors
    /// When the header is there twice, or is empty, too long or not plain text.
    pub fn of(headers: &HeaderMap) -> Result<Option<Self>, Error> {
        let refused = |why: String| Error::invalid_parameter("Idempotency-Key", why);
        let mut all = headers.get_all("idempotency-key").iter();
        let Some(header) = all.next() else {
            return Ok(None);
        };
        if all.next().is_some() {
            return Err(refused(
                "Idempotency-Key is there more than once. Send it once".to_owned(),
            ));
        }
        let header = header.to_str().unwrap_or_default();
        let (value, quoted) = if header.starts_with('"') {
            let value = unquoted(header).ok_or_else(|| {
                refused(
                    "Idempotency-Key has a quote in front and is not a string in quotes, such as \"8e03978e\". Inside, \\ and \" have a \\ in front of them, and nothing follows the last quote"
                        .to_owned(),
                )
            })?;
            (value, Some(header.to_owned()))
        } else {
            let is_plain = header.bytes().all(|byte| byte.is_ascii_graphic());
            (
                if is_plain {
                    header.to_owned()
                } else {
                    String::new()
                },
                None,
            )
        };
        if !(1..=IDEMPOTENCY_KEY_MAX_CHARS).contains(&value.len()) {
            return Err(refused(format!(
                "Idempotency-Key takes 1 to {IDEMPOTENCY_KEY_MAX_CHARS} visible ASCII characters, such as a UUID"
            )));
        }
        Ok(Some(Self { value, quoted }))
    }
}

/// The idempotency key of a request, bound to who sends it, to its operation and to its body as it
/// was sent; and what was accepted under it before.
///
/// # Errors
/// As [`IdempotencyKey::of`], and as the store's.
pub async fn once(
    app: &App,
    headers: &HeaderMap,
    scope: &Scope,
    operation: &str,
    body: &Value,
) -> Result<(Option<Once>, Option<Acceptance>), Error> {
    let Some(key) = IdempotencyKey::of(headers)? else {
        return Ok((None, None));
    };
    let clock = &*app.clock;
    if let Some(quoted) = &key.quoted {
        // A Portico that took the quotes for a part of the key may have stored it so, less than two
        // days ago.
        let before = bound(quoted, scope, operation, body, clock);
        if let Some(earlier) = app.store.replay_find(scope, &before).await? {
            return Ok((Some(before), Some(earlier)));
        }
    }
    let once = bound(&key.value, scope, operation, body, clock);
    let earlier = app.store.replay_find(scope, &once).await?;
    Ok((Some(once), earlier))
}

/// The text between quotes, with its escapes undone. `None` when it is not a string of
/// structured fields.
fn unquoted(header: &str) -> Option<String> {
    let inside = header.strip_prefix('"')?.strip_suffix('"')?;
    let mut value = String::with_capacity(inside.len());
    let mut letters = inside.chars();
    while let Some(letter) = letters.next() {
        value.push(match letter {
            '\\' => letters.next().filter(|next| matches!(next, '"' | '\\'))?,
            ' '..='~' if letter != '"' => letter,
            _ => return None,
        });
    }
    Some(value)
}

fn bound(key: &str, scope: &Scope, operation: &str, body: &Value, clock: &dyn Clock) -> Once {
    let owner = scope.key().map(|id| id.to_string()).unwrap_or_default();
    let key_hash = Sha256::new()
        .chain_update(owner)
        .chain_update([0])
        .chain_update(key)
        .finalize()
        .into();
    // The parsed body in serde_json's sorted order: white space and the order of members make no difference.
    let fingerprint = Sha256::new()
        .chain_update(operation)
        .chain_update([0])
        .chain_update(body.to_string())
        .finalize()
        .into();
    Once {
        key_hash,
        fingerprint,
        // A jump of the clock that nobody confirmed makes no key old.
        used_at: clock.settled(),
        expires_at: clock.now().plus_millis(IDEMPOTENCY_KEPT_MS),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(headers: &[&str]) -> Result<String, String> {
        let mut map = HeaderMap::new();
        for header in headers {
            map.append("idempotency-key", header.parse().expect("a value"));
        }
        match IdempotencyKey::of(&map) {
            Ok(Some(key)) => {
                assert_eq!(key.quoted.is_some(), headers[0].starts_with('"'));
                Ok(key.value)
            }
            Ok(None) => Ok(String::new()),
            Err(why) => Err(why.message),
        }
    }

    #[test]
    fn the_quotes_of_an_idempotency_key_are_syntax() {
        let longest = "x".repeat(IDEMPOTENCY_KEY_MAX_CHARS);
        let quoted_longest = format!("\"{longest}\"");
        for (headers, expected) in [
            (&[][..], ""),
            (&["abc"], "abc"),
            (&["\"abc\""], "abc"),
            (&[r#""a\"b\\c""#], r#"a"b\c"#),
            (&["\"a b\""], "a b"),
            (&["\"\\\"\""], "\""),
            (&["a\"b"], "a\"b"),
            (&["abc\""], "abc\""),
            (&["a,b;c"], "a,b;c"),
            (&["'abc'"], "'abc'"),
            (&[longest.as_str()], longest.as_str()),
            (&[quoted_longest.as_str()], longest.as_str()),
        ] {
            assert_eq!(key(headers).as_deref(), Ok(expected), "{headers:?}");
        }
        let too_long = format!("{longest}x");
        let quoted_too_long = format!("\"{longest}x\"");
        for (headers, expected) in [
            (&["abc", "abc"][..], "more than once"),
            (&["\"abc\"", "abc"], "more than once"),
            (&["\"abc"], "not a string in quotes"),
            (&["\""], "not a string in quotes"),
            (&["\"a\"b\""], "not a string in quotes"),
            (&["\"abc\\\""], "not a string in quotes"),
            (&[r#""a\b""#], "not a string in quotes"),
            (&["\"a\", \"b\""], "not a string in quotes"),
            (&["\"a\";b=1"], "not a string in quotes"),
            (&["\"a\tb\""], "not a string in quotes"),
            (&["\"\""], "1 to 255"),
            (&[""], "1 to 255"),
            (&["a b"], "1 to 255"),
            (&["a, b"], "1 to 255"),
            (&["\u{e9}"], "1 to 255"),
            (&[too_long.as_str()], "1 to 255"),
            (&[quoted_too_long.as_str()], "1 to 255"),
        ] {
            let why = key(headers).expect_err("refused");
            assert!(why.contains(expected), "{headers:?}: {why}");
        }
    }
}

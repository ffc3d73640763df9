//! What a caller asks for in headers and query: waiting, idempotency, leniency.

use axum::http::{HeaderMap, Uri};
use model::{
    Clock, JobId, Scope,
    write::{Write, WriteStatus},
};
use serde_json::Value;
use sha2::{Digest, Sha256};
use store::{Acceptance, Once};
use tokio::time::{Duration, Instant, timeout_at};

use crate::{
    App,
    error::Error,
    follow::{END_WAITS_MAX, Wait},
};

/// The longest that `Prefer: wait` holds an answer, in seconds: below the idle limits of usual proxies.
pub const WAIT_MAX_S: u64 = 55;

/// Characters of an `Idempotency-Key`.
pub const IDEMPOTENCY_KEY_MAX_CHARS: usize = 255;

/// How long an idempotency key is kept: twice the promised day.
const IDEMPOTENCY_KEPT_MS: i64 = 48 * 3_600_000;

/// How often a wait for events looks at the store, as a net under the signal: all who wait share
/// one look.
pub(crate) const WAIT_POLL: Duration = Duration::from_secs(1);

/// The same for a wait for the end of a write, which has a look of its own. What another node ends
/// is signalled too, and where a signal may be lost, all who wait are told to look.
const END_POLL: Duration = Duration::from_secs(15);

/// The seconds of `Prefer: wait=<seconds>` (RFC 7240), at most [`WAIT_MAX_S`]. What is not understood is ignored, as the RFC asks.
pub fn wait_s(headers: &HeaderMap) -> Option<u64> {
    headers
        .get_all("prefer")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split([',', ';']))
        .find_map(|preference| {
            let (name, seconds) = preference.split_once('=')?;
            let is_wait = name.trim().eq_ignore_ascii_case("wait");
            is_wait.then(|| seconds.trim().trim_matches('"').parse::<u64>().ok())?
        })
        .map(|seconds| seconds.min(WAIT_MAX_S))
}

/// A wait for the end of a write, among those that the caller's key may have.
pub struct EndWait {
    /// How long it takes at most, in seconds.
    pub seconds: u64,
    _waits: Option<Wait>,
}

impl EndWait {
    /// The wait that the head asks for. `None` when it asks for none, or the key has as many as it
    /// may have: then the request is answered at once, as without the header.
    pub fn of(app: &App, scope: &Scope, headers: &HeaderMap) -> Option<Self> {
        let seconds = wait_s(headers)?;
        let waits = (seconds > 0).then(|| app.end_waits.begin(scope.key(), END_WAITS_MAX));
        match waits {
            Some(None) => None,
            waits => Some(Self {
                seconds,
                _waits: waits.flatten(),
            }),
        }
    }
}

/// The write once it has ended, or as it stands when the wait is over or the server is told to
/// stop; `None` when there is none that the caller may see.
///
/// # Errors
/// 401 as soon as the caller's key is in force no more, and as the store's.
pub async fn await_end(
    app: &App,
    scope: &Scope,
    job_id: JobId,
    wait: Option<EndWait>,
) -> Result<Option<Write>, Error> {
    let seconds = wait.as_ref().map_or(0, |wait| wait.seconds);
    let deadline = Instant::now() + Duration::from_secs(seconds);
    let watch = app.store.signals().watch_end(job_id);
    let mut ousted = std::pin::pin!(app.ousted(scope));
    loop {
        let mut ended = std::pin::pin!(watch.ended());
        // Subscribed before looking: an end in between is not missed.
        ended.as_mut().enable();
        let write = app.store.write_find(scope, job_id).await?;
        app.admit(scope)?;
        let is_over = write
            .as_ref()
            .is_none_or(|write| write.status != WriteStatus::Pending);
        if is_over || app.stopping.is_told() || Instant::now() >= deadline {
            return Ok(write);
        }
        let again_at = deadline.min(Instant::now() + END_POLL);
        tokio::select! {
            _ = timeout_at(again_at, ended) => {}
            () = app.stopping.told() => {}
            () = &mut ousted => return Err(Error::unauthorized()),
        }
    }
}

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

/// Whether `?ignore_unknown_fields=true` stands in the query.
///
/// # Errors
/// When it has another value than `true` or `false`.
pub fn ignores_unknown_fields(uri: &Uri) -> Result<bool, Error> {
    let mut ignores = false;
    let query = uri.query().unwrap_or_default();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        if name == "ignore_unknown_fields" {
            ignores = match &*value {
                "true" => true,
                "false" => false,
                _ => {
                    return Err(Error::invalid_parameter(
                        "ignore_unknown_fields",
                        "ignore_unknown_fields is `true` or `false`",
                    ));
                }
            };
        }
    }
    Ok(ignores)
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

    #[test]
    fn the_name_of_a_parameter_is_decoded() {
        for (query, expected) in [
            ("ignore_unknown_fields=true", true),
            ("ignore%5Funknown%5ffields=%74rue", true),
            ("a=b&ignore_unknown_fields=false", false),
            ("ignore_unknown_field=true", false),
        ] {
            let uri = format!("/x?{query}").parse().expect("a uri");
            assert_eq!(ignores_unknown_fields(&uri).ok(), Some(expected), "{query}");
        }
        let uri = "/x?ignore_unknown_fields=yes".parse().expect("a uri");
        assert!(ignores_unknown_fields(&uri).is_err());
    }
}

//! One attempt to deliver one event: signed, sent, and judged.
//!
//! Guarantee: whatever the receiver answers, there is an attempt to record, bounded and in words; any 2xx is taken, and nothing else is.

use std::time::Instant;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use model::{
    EventId, Timestamp,
    webhook::{DeliveryAttempt, Webhook},
};
use url::Url;

use crate::{
    client::{Answer, Client},
    signing::{
        ID_HEADER, Key, PROPEXO_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER, propexo_signature,
        signature,
    },
};

/// An attempt that was made, and what it says beside.
pub struct Sent {
    /// The attempt.
    pub attempt: DeliveryAttempt,
    /// How long the receiver asks to be left alone, if it is busy.
    pub retry_after_ms: Option<u64>,
    /// The receiver's word on whether it is gone.
    pub gone: Gone,
}

/// True if a receiver says that it is gone for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gone {
    /// It does not.
    No,
    /// It answers 410 without a body, as a receiver does that means it.
    Yes,
    /// Somebody answers 410 with a body: perhaps a gateway with a page of its own.
    Perhaps,
}

impl Gone {
    const fn of(answer: &Answer) -> Self {
        match answer.status {
            410 if answer.body.is_empty() && !answer.body_is_cut => Self::Yes,
            410 => Self::Perhaps,
            _ => Self::No,
        }
    }
}

/// Makes attempt `number` to deliver `body`, which says what event `id` is, at `now`. A secret that
/// was replaced signs too until the settled time says that its overlap is over.
pub async fn send(
    client: &Client,
    webhook: &Webhook,
    id: EventId,
    body: Bytes,
    number: u32,
    (now, settled): (Timestamp, Timestamp),
) -> Sent {
    let started = Instant::now();
    let answer = match (
        Url::parse(&webhook.url),
        headers(webhook, id, &body, (now, settled)),
    ) {
        (Ok(url), Ok(headers)) => client
            .post(&url, headers, body, now)
            .await
            .map_err(|failure| failure.words),
        (Err(_), _) => Err("the subscription's url cannot be read".to_owned()),
        (_, Err(why)) => Err(why),
    };
    let duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    judge(answer, number, now, duration_ms)
}

/// The headers of a delivery: the subscription's own first, so that none of them takes the place of ours.
fn headers(
    webhook: &Webhook,
    id: EventId,
    body: &[u8],
    (now, settled): (Timestamp, Timestamp),
) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for (name, value) in &webhook.headers {
        let bad = || "a header of the subscription cannot be sent".to_owned();
        let name = HeaderName::try_from(name).map_err(|_| bad())?;
        let mut value = HeaderValue::try_from(value.expose()).map_err(|_| bad())?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    let keys: Vec<Key> = webhook.secrets(settled).into_iter().map(Key::new).collect();
    let (id, timestamp_s) = (id.to_string(), now.as_micros().div_euclid(1_000_000));
    let mut put = |name: &'static str, value: String| {
        let value = HeaderValue::try_from(value).map_err(|_| format!("{name} cannot be sent"))?;
        headers.insert(HeaderName::from_static(name), value);
        Ok::<(), String>(())
    };
    put(SIGNATURE_HEADER, signature(&keys, &id, timestamp_s, body))?;
    put(PROPEXO_HEADER, propexo_signature(&webhook.secret, body))?;
    put(ID_HEADER, id)?;
    put(TIMESTAMP_HEADER, timestamp_s.to_string())?;
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    Ok(headers)
}

fn judge(
    answer: Result<Answer, String>,
    number: u32,
    started_at: Timestamp,
    duration_ms: u64,
) -> Sent {
    let attempt = DeliveryAttempt {
        number,
        started_at,
        duration_ms: Some(duration_ms),
        is_taken: false,
        error: None,
        status: None,
        response: None,
        response_is_cut: false,
    };
    match answer {
        Err(why) => Sent {
            attempt: DeliveryAttempt {
                error: Some(why),
                ..attempt
            },
            retry_after_ms: None,
            gone: Gone::No,
        },
        Ok(answer) => {
            let status = answer.status;
            let is_taken = (200..300).contains(&status);
            let is_busy = matches!(status, 429 | 503);
            Sent {
                retry_after_ms: answer
                    .retry_after_s
                    .filter(|_| is_busy)
                    .map(|asked| asked.saturating_mul(1_000)),
                gone: Gone::of(&answer),
                attempt: DeliveryAttempt {
                    is_taken,
                    error: (!is_taken).then(|| refusal(status)),
                    status: Some(status),
                    response: Some(String::from_utf8_lossy(&answer.body).into_owned()),
                    response_is_cut: answer.body_is_cut,
                    ..attempt
                },
            }
        }
    }
}

fn refusal(status: u16) -> String {
    let hint = match status {
        300..=399 => ": redirects are not followed; give the address that it leads to",
        401 | 403 => {
            ": the receiver does not let it in; look at the subscription's headers and secret"
        }
        404 => ": there is nothing at this address",
        410 => ": the receiver says that it is no more",
        429 | 503 => ": the receiver is busy",
        _ => "",
    };
    format!("the receiver answered {status}{hint}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(status: u16, retry_after_s: Option<u64>, expected: (bool, Option<u64>, Gone)) {
        let answer = Answer {
            status,
            retry_after_s,
            body: b"said".to_vec(),
            body_is_cut: false,
        };
        let sent = judge(Ok(answer), 3, Timestamp::ZERO, 7);
        assert_eq!(
            (sent.attempt.is_taken, sent.retry_after_ms, sent.gone),
            expected,
            "{status}"
        );
        assert_eq!(sent.attempt.error.is_none(), expected.0, "{status}");
        assert_eq!(sent.attempt.response.as_deref(), Some("said"));
    }

    #[test]
    fn any_2xx_is_taken_and_nothing_else() {
        for status in [200, 201, 202, 204, 299] {
            check(status, Some(5), (true, None, Gone::No));
        }
        for status in [101, 301, 302, 307, 400, 401, 404, 500, 502] {
            check(status, Some(5), (false, None, Gone::No));
        }
        check(429, Some(5), (false, Some(5_000), Gone::No));
        check(503, None, (false, None, Gone::No));
        check(503, Some(u64::MAX), (false, Some(u64::MAX), Gone::No));
        check(410, None, (false, None, Gone::Perhaps));
    }

    #[test]
    fn only_a_410_without_a_body_is_meant_for_sure() {
        for (status, body, body_is_cut, expected) in [
            (410, "", false, Gone::Yes),
            (410, "", true, Gone::Perhaps),
            (410, " ", false, Gone::Perhaps),
            (410, "<html>Gone</html>", false, Gone::Perhaps),
            (404, "", false, Gone::No),
            (200, "", false, Gone::No),
        ] {
            let answer = Answer {
                status,
                retry_after_s: None,
                body: body.as_bytes().to_vec(),
                body_is_cut,
            };
            assert_eq!(Gone::of(&answer), expected, "{status} {body:?}");
        }
    }
}

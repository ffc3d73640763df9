//! A JSON body, read within bounds of size, time and memory.
//!
//! Guarantee: a caller that stops sending, or sends slowly, is refused in time, and holds no more
//! memory than what it has sent.

use std::time::Duration;

use axum::{
    body::Body,
    extract::{FromRequest, Request},
    http::header,
};
use http_body_util::BodyExt as _;
use listener::peer::ClientAddress;
use model::Issue;
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use crate::{
    door::{
        json,
        request::{Admitted, Asking},
    },
    error::Error,
    limits::bodies::Memory,
    state::App,
};

/// Bytes that a body may have.
pub const BODY_MAX_BYTES: usize = 256 * 1_024;

/// Bytes that a body with many things in it may have: a thousand of some hundreds each.
pub const BULK_MAX_BYTES: usize = 1_024 * 1_024;

/// How long a body may take to arrive. A caller that sends 256 KiB over a slow mobile line is done in half of it.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// KiB that must arrive within each such time, until all is there: a body that stops holds memory
/// that others wait for. A slow mobile line brings ten times as much.
const RATE_MIN_KIB: usize = 16;

const RATE_WINDOW: Duration = Duration::from_secs(4);

/// A parsed body: any JSON, each member of an object once, of so many bytes at most.
pub struct JsonBody<const MAX_BYTES: usize = BODY_MAX_BYTES>(pub Value);

impl<const MAX_BYTES: usize> FromRequest<App> for JsonBody<MAX_BYTES> {
    type Rejection = Error;

    async fn from_request(request: Request, app: &App) -> Result<Self, Error> {
        let is_json = request
            .headers()
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .is_some_and(|value| {
                let essence = value
                    .split(';')
                    .next()
                    .unwrap_or_default()
                    .trim()
                    .to_ascii_lowercase();
                essence == "application/json"
                    || (essence.starts_with("application/") && essence.ends_with("+json"))
            });
        if !is_json {
            return Err(Error::unsupported_media_type());
        }
        let is_encoded = request
            .headers()
            .get(header::CONTENT_ENCODING)
            .is_some_and(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity"));
        if is_encoded {
            return Err(Error::unsupported_encoding());
        }
        let announced = request
            .headers()
            .get(header::CONTENT_LENGTH)
            .and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
        if announced.is_some_and(|bytes| bytes > MAX_BYTES) {
            return Err(Error::payload_too_large(MAX_BYTES));
        }
        let admitted = request.extensions().get::<Admitted>().cloned();
        let key = request.extensions().get().and_then(|Asking(key)| *key);
        let address = ClientAddress::of(request.extensions()).0;
        let mut memory = app.limits.bodies.of(key, address);
        memory.announce(announced);
        let bytes = collect::<MAX_BYTES>(request.into_body(), &mut memory).await?;
        if let Some(admitted) = admitted {
            // The body may have taken a while.
            admitted.check(app)?;
        }
        if bytes.is_empty() {
            return Err(Error::invalid(&[problem("The body is empty. Send JSON")]));
        }
        json::read(&bytes, MAX_BYTES)
            .map(Self)
            .map_err(|issues| Error::invalid(&issues))
    }
}

/// Reads a body to its end. Memory is set aside as it arrives: who announces much and sends little
/// holds little.
async fn collect<const MAX_BYTES: usize>(
    mut body: Body,
    memory: &mut Memory<'_>,
) -> Result<Vec<u8>, Error> {
    let until = Instant::now() + BODY_TIMEOUT;
    let mut bytes: Vec<u8> = Vec::new();
    // When and with how many bytes the time began in which more must arrive.
    let (mut since, mut had) = (Instant::now(), 0);
    loop {
        let slow_at = since + RATE_WINDOW;
        let frame = match timeout_at(until.min(slow_at), body.frame()).await {
            Ok(frame) => frame,
            Err(_) if slow_at < until => {
                return Err(Error::slow_body(RATE_MIN_KIB, RATE_WINDOW.as_secs()));
            }
            Err(_) => return Err(Error::request_timeout(BODY_TIMEOUT.as_secs())),
        };
        let frame = match frame {
            None => return Ok(bytes),
            Some(Ok(frame)) => frame,
            Some(Err(_)) => {
                return Err(Error::invalid(&[problem(
                    "The body broke off before its end. Send the same request again",
                )]));
            }
        };
        // Trailers are nobody's.
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if bytes.len() + data.len() > MAX_BYTES {
            return Err(Error::payload_too_large(MAX_BYTES));
        }
        let lacking = ((bytes.len() + data.len()) / 1_024 + 1).saturating_sub(memory.kib());
        if lacking > 0 {
            let begun = Instant::now();
            timeout_at(until, memory.grow(lacking)).await.map_err(|_| {
                Error::unavailable(
                    "Too many requests are under way, or too many of this API key or from this address",
                )
                .to_repeat()
            })?;
            // That was not the caller's time.
            since += begun.elapsed();
        }
        bytes.extend_from_slice(&data);
        if bytes.len() - had >= RATE_MIN_KIB * 1_024 {
            (since, had) = (Instant::now(), bytes.len());
        }
    }
}

fn problem(message: impl Into<String>) -> Issue {
    Issue::new("custom", Vec::new(), message, Value::Null)
}

#[cfg(test)]
mod tests {
    use std::{
        convert::Infallible,
        net::IpAddr,
        pin::Pin,
        task::{Context, Poll},
    };

    use axum::body::Bytes;
    use hyper::body::{Body as HttpBody, Frame};
    use model::KeyId;
    use tokio::sync::mpsc;

    use super::*;
    use crate::{fixture, limits::bodies::Bodies};

    fn key(n: u8) -> Option<KeyId> {
        Some(fixture::key(n))
    }

    fn at(n: u8) -> IpAddr {
        [192, 0, 2, n].into()
    }

    /// A body as its parts arrive.
    struct Arriving(mpsc::Receiver<Bytes>);

    impl HttpBody for Arriving {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            let part = self.0.poll_recv(context);
            part.map(|part| part.map(|bytes| Ok(Frame::data(bytes))))
        }
    }

    /// A body of parts of so many bytes, each after so many seconds; it never ends.
    fn parts(parts: &'static [(u64, usize)]) -> Body {
        let (sender, receiver) = mpsc::channel(1);
        tokio::spawn(async move {
            for (after_s, bytes) in parts {
                tokio::time::sleep(Duration::from_secs(*after_s)).await;
                let _ = sender.send(Bytes::from(vec![b'x'; *bytes])).await;
            }
            sender.closed().await;
        });
        Body::new(Arriving(receiver))
    }

    /// When such a body is given up, in seconds, and in which words.
    async fn given_up(body: Body) -> (u64, String) {
        let (room, begun) = (Bodies::default(), Instant::now());
        let mut memory = room.of(key(1), at(1));
        let why = collect::<BODY_MAX_BYTES>(body, &mut memory)
            .await
            .expect_err("it has no end");
        assert_eq!(why.status.as_u16(), 408);
        (begun.elapsed().as_secs(), why.message)
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_slower_than_the_least_rate_is_ended() {
        const LEAST: usize = RATE_MIN_KIB * 1_024;
        let cases: [(&'static [(u64, usize)], u64); 5] = [
            (&[], 4),
            (&[(0, 250_000)], 4),
            (&[(3, 100)], 4),
            (&[(3, LEAST - 1), (2, LEAST)], 4),
            (&[(3, LEAST)], 7),
        ];
        for (some, after_s) in cases {
            let (ended_s, words) = given_up(parts(some)).await;
            assert_eq!(ended_s, after_s);
            assert!(words.contains("16 KiB in 4 s"), "{words}");
        }
        // It is fast enough at any time, and takes too long all the same.
        let body = parts(&[(3, LEAST), (3, LEAST), (3, LEAST), (3, LEAST)]);
        let (ended_s, words) = given_up(body).await;
        assert_eq!(ended_s, 10);
        assert!(words.contains("within 10 s"), "{words}");
    }
}

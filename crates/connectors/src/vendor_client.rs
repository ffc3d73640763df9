//! The one HTTP client that talks to vendors.
//!
//! Guarantee: every call ends within [`CALL_TIMEOUT`], no answer takes more than [`REPLY_MAX_BYTES`] of memory, nothing is followed (redirects),
//! nothing is taken from the environment (proxies), and no credential or body is logged.

use std::time::Duration;

use model::{
    Timestamp, header,
    write::{Call, Reply},
};
use reqwest::{
    Client, Method,
    header::{CONTENT_TYPE, DATE, HeaderMap, HeaderName, HeaderValue},
    redirect::Policy,
};
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use crate::{
    Target,
    dial::{Unanswered, Way},
    outgoing,
    reach::Reach,
};

/// How long a connection may take to stand.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the head of an answer may take, from the start of the call.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(15);

/// How long a whole call may take. Shorter than a worker's lease.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(20);

/// Bytes of an answer that are read: a vendor's id or error takes a few hundred.
pub const REPLY_MAX_BYTES: usize = 64 * 1_024;

/// Bytes of an answer that are kept with the attempt.
pub const REPLY_KEPT_BYTES: usize = 4 * 1_024;

/// Idle connections kept to one vendor.
const IDLE_PER_HOST: usize = 100;

/// What came back.
pub struct Got {
    /// The HTTP status.
    pub status: u16,
    /// The body as far as it was read.
    pub body: Vec<u8>,
    /// Whether the whole body arrived.
    pub is_whole: bool,
    /// The wait that `Retry-After` asks for.
    pub retry_after_s: Option<u64>,
    /// `Content-Type`, if it is text.
    pub content_type: Option<String>,
}

impl Got {
    /// What is kept of it with the attempt.
    pub fn reply(&self) -> Reply {
        let kept = &self.body[..self.body.len().min(REPLY_KEPT_BYTES)];
        Reply {
            status: Some(self.status),
            body: Some(String::from_utf8_lossy(kept).into_owned()),
            body_is_cut: kept.len() < self.body.len() || !self.is_whole,
        }
    }
}

/// Why nothing came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No call was made: with these settings or secrets there is none to make.
    NotMade(String),
    /// The call cannot have reached the vendor: no connection stood.
    NotSent(String),
    /// The call may have reached the vendor.
    Lost(String),
}

impl Failure {
    fn of(why: Unanswered) -> Self {
        match why {
            Unanswered::Network(why) if why.is_connect() || why.is_builder() => {
                Self::NotSent(outgoing::reason(&why))
            }
            Unanswered::Network(why) => Self::Lost(outgoing::reason(&why)),
            Unanswered::NotSent(why) => Self::NotSent(why),
            Unanswered::Lost(why) => Self::Lost(why),
        }
    }

    fn words(self) -> String {
        match self {
            Self::NotMade(words) | Self::NotSent(words) | Self::Lost(words) => words,
        }
    }

    /// What happened, to the vendor with this name.
    pub(crate) fn told(&self, title: &str) -> String {
        match self {
            Self::NotMade(why) => format!("No call to {title} was made: {why}"),
            Self::NotSent(why) => format!("{title} could not be reached: {why}"),
            Self::Lost(why) => format!("The connection to {title} ended without an answer: {why}"),
        }
    }
}

/// That a vendor answers.
pub struct Reached {
    /// What time it is there, if it said so.
    pub now: Option<Timestamp>,
}

/// The client.
#[derive(Clone)]
pub struct VendorClient {
    client: Client,
    way: Way,
    reach: Reach,
}

impl VendorClient {
    /// Makes it. It calls nobody outside of `reach`.
    ///
    /// # Errors
    /// In words, when TLS cannot be set up.
    pub fn new(reach: Reach) -> Result<Self, String> {
        // Another part of the process may have chosen ring before: it is the only provider compiled in.
        let _ = rustls::crypto::ring::default_provider().install_default();
        #[expect(
            clippy::disallowed_methods,
            reason = "this is the first of the two places"
        )]
        let client = Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(CALL_TIMEOUT)
            .redirect(Policy::none())
            .no_proxy()
            .tcp_nodelay(true)
            .pool_max_idle_per_host(IDLE_PER_HOST)
            .build()
            .map_err(|why| {
                format!(
                    "the vendor client cannot be made: {}",
                    outgoing::reason(&why)
                )
            })?;
        Ok(Self {
            client,
            way: Way::Network,
            reach,
        })
    }

    /// The same client, over another way than the network.
    #[must_use]
    pub fn over(self, way: Way) -> Self {
        Self { way, ..self }
    }

    /// Asks whether anybody answers at `base_url`, whatever the answer is. Nothing of an integration is sent.
    ///
    /// # Errors
    /// In words, when nobody does.
    pub async fn reach(&self, base_url: &str) -> Result<Reached, String> {
        let asked = self.way.send(self.client.head(base_url));
        let answer = tokio::time::timeout(HEAD_TIMEOUT, asked)
            .await
            .map_err(|_| format!("no answer within {} s", HEAD_TIMEOUT.as_secs()))?
            .map_err(|why| Failure::of(why).words())?;
        let now = answer
            .headers()
            .get(DATE)
            .and_then(|date| outgoing::date(date.to_str().ok()?));
        Ok(Reached { now })
    }

    /// Makes one call with this body, and with these headers beside those of the integration.
    ///
    /// # Errors
    /// When nothing usable came back; whether the vendor may have the call is in the kind.
    pub async fn call(
        &self,
        target: &Target,
        call: &Call,
        headers: HeaderMap,
        body: &Value,
    ) -> Result<Got, Failure> {
        let base_url = self
            .reach
            .allow(&target.settings.base_url)
            .map_err(Failure::NotMade)?;
        let url = format!("{base_url}{}", call.path);
        let method = Method::from_bytes(call.method.as_bytes())
            .map_err(|_| Failure::NotMade("the method is not one of HTTP's".to_owned()))?;
        let mut request = self
            .client
            .request(method, url)
            .headers(with_extra(headers, target, call)?);
        if !body.is_null() {
            request = request.json(body);
        }
        let started = Instant::now();
        let mut answer = match timeout_at(started + HEAD_TIMEOUT, self.way.send(request)).await {
            Err(_) => {
                return Err(Failure::Lost(format!(
                    "no answer within {} s",
                    HEAD_TIMEOUT.as_secs()
                )));
            }
            Ok(Err(why)) => return Err(Failure::of(why)),
            Ok(Ok(answer)) => answer,
        };
        let answered_at = answer
            .headers()
            .get(DATE)
            .and_then(|value| outgoing::date(value.to_str().ok()?));
        let retry_after_s = outgoing::retry_after_s(answer.headers(), answered_at);
        let content_type = answer
            .headers()
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok().map(str::to_owned));
        let mut got = Got {
            status: answer.status().as_u16(),
            body: Vec::new(),
            is_whole: false,
            retry_after_s,
            content_type,
        };
        loop {
            match timeout_at(started + CALL_TIMEOUT, answer.chunk()).await {
                Ok(Ok(Some(chunk))) => {
                    let room = REPLY_MAX_BYTES - got.body.len();
                    got.body.extend_from_slice(&chunk[..chunk.len().min(room)]);
                    if chunk.len() > room {
                        return Ok(got);
                    }
                }
                Ok(Ok(None)) => {
                    got.is_whole = true;
                    return Ok(got);
                }
                // The head is known, the rest is not: whoever classifies sees that it is not whole.
                Ok(Err(_)) | Err(_) => return Ok(got),
            }
        }
    }
}

/// These headers, and those that the integration has for every call.
fn with_extra(mut headers: HeaderMap, target: &Target, call: &Call) -> Result<HeaderMap, Failure> {
    let bad = |what: &str| {
        Failure::NotMade(format!(
            "{what} of the integration cannot be sent in an HTTP header"
        ))
    };
    let extra = target.settings.extra_headers.iter();
    for (name, value) in extra.filter(|(name, _)| !header::is_connections_own(name)) {
        let name = HeaderName::try_from(name).map_err(|_| bad("an extra header's name"))?;
        let value = value.replace("{community}", &call.x_community_id);
        headers.insert(
            name,
            HeaderValue::try_from(value).map_err(|_| bad("an extra header's value"))?,
        );
    }
    Ok(headers)
}

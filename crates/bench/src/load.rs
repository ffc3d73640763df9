//! The load: as many requests as a number of keep-alive connections can carry, one after the other
//! on each.
//!
//! Guarantee: every body is another person's, over the life of the process; every request is
//! bounded in time; every answer is counted.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::anyhow;
use hdrhistogram::Histogram;
use http_body_util::Full;
use hyper::{Method, StatusCode};
use serde_json::{Map, Value};
use tokio::task::JoinSet;

use crate::connection::Connection;
use crate::vendor::PROSPECTS;

/// Latencies are told apart up to this many microseconds, to three digits.
const LATENCY_MAX_US: u64 = 60_000_000;

/// The body when no file is given.
const BODY: &str = r#"{"first_name":"Ada","last_name":"Byron","move_in_date":"2027-05-01","number_of_occupants":2,"lease_term_in_months":12,"desired_num_bedrooms":[1,2],"notes":"Is there a place to park a bicycle?","first_contact_type":"INTERNET"}"#;

/// What a template's own value would refer to, or would make two bodies one person.
const REPLACED: [&str; 7] = [
    "integration_id",
    "community_id",
    "attribution_id",
    "agent_id",
    "email_1",
    "phone_1",
    "phone_1_extension",
];

/// The bodies to send, without ids and contacts.
pub(crate) struct Bodies {
    templates: Vec<Map<String, Value>>,
    next: Arc<AtomicU64>,
}

impl Bodies {
    /// Reads bodies, one a line; the built-in one without a text.
    ///
    /// # Errors
    /// When a line is not a JSON object.
    pub(crate) fn read(text: Option<&str>) -> anyhow::Result<Self> {
        let mut templates = Vec::new();
        for (place, line) in text.unwrap_or(BODY).lines().enumerate() {
            if line.trim().is_empty() {
                continue;
            }
            // Why is not told: it may repeat the line, and there may be a secret in it.
            let mut template: Map<String, Value> = serde_json::from_str(line)
                .map_err(|_| anyhow!("line {} of the bodies is no JSON object", place + 1))?;
            template.retain(|name, _| !REPLACED.contains(&name.as_str()));
            templates.push(template);
        }
        if templates.is_empty() {
            return Err(anyhow!("there is no body to send"));
        }
        Ok(Self {
            templates,
            next: Arc::default(),
        })
    }

    /// The bodies for these places, each in turn.
    pub(crate) fn for_targets(&self, targets: &[Target]) -> Filled {
        let tails = self.templates.iter().flat_map(|template| {
            targets.iter().map(|target| {
                let mut body = template.clone();
                for (member, id) in [
                    ("integration_id", &target.integration_id),
                    ("community_id", &target.community_id),
                    ("attribution_id", &target.attribution_id),
                ] {
                    body.insert(member.to_owned(), Value::from(id.as_str()));
                }
                // All but the opening brace: the contact comes before it.
                Value::Object(body).to_string().split_off(1)
            })
        });
        Filled {
            tails: tails.collect(),
            next: self.next.clone(),
        }
    }
}

/// What a body refers to.
pub(crate) struct Target {
    pub(crate) integration_id: String,
    pub(crate) community_id: String,
    pub(crate) attribution_id: String,
}

/// Bodies but for the contact, which is made for each request.
pub(crate) struct Filled {
    tails: Vec<String>,
    next: Arc<AtomicU64>,
}

impl Filled {
    /// The next body.
    pub(crate) fn next(&self) -> String {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let place = usize::try_from(number).unwrap_or(0) % self.tails.len();
        let tail = self.tails.get(place).map_or("}", String::as_str);
        format!("{{\"email_1\":\"bench{number}@example.com\",{tail}")
    }
}

/// Microseconds from request to whole answer.
pub(crate) struct Latencies(Histogram<u64>);

impl Latencies {
    pub(crate) fn new() -> anyhow::Result<Self> {
        Ok(Self(Histogram::new_with_bounds(1, LATENCY_MAX_US, 3)?))
    }

    /// Records what began then and ends now.
    pub(crate) fn record_since(&mut self, begun: Instant) {
        self.record(begun.elapsed());
    }

    /// Records what took so long.
    pub(crate) fn record(&mut self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.0.saturating_record(micros);
    }

    pub(crate) fn add(&mut self, other: &Self) -> anyhow::Result<()> {
        Ok(self.0.add(&other.0)?)
    }

    /// What this share of the answers stayed within, in milliseconds.
    pub(crate) fn within_ms(&self, share: f64) -> f64 {
        self.0.value_at_quantile(share) as f64 / 1_000.0
    }
}

/// What came back.
pub(crate) struct Tally {
    /// Answers with 200.
    pub(crate) accepted: u64,
    /// Other answers.
    pub(crate) non_200: u64,
    /// Requests without an answer: whether they were accepted is not known.
    pub(crate) broken: u64,
    /// What the first other answer said, or the first failure.
    pub(crate) first_trouble: Option<String>,
    /// Of the answers with 200.
    pub(crate) latencies: Latencies,
    /// From the first request to the last answer.
    pub(crate) took: Duration,
}

impl Tally {
    fn new() -> anyhow::Result<Self> {
        Ok(Self {
            accepted: 0,
            non_200: 0,
            broken: 0,
            first_trouble: None,
            latencies: Latencies::new()?,
            took: Duration::ZERO,
        })
    }

    fn add(&mut self, other: Self) -> anyhow::Result<()> {
        self.accepted += other.accepted;
        self.non_200 += other.non_200;
        self.broken += other.broken;
        self.first_trouble = self.first_trouble.take().or(other.first_trouble);
        self.latencies.add(&other.latencies)
    }

    /// Answers with 200 a second.
    pub(crate) fn per_s(&self) -> f64 {
        self.accepted as f64 / self.took.as_secs_f64().max(f64::EPSILON)
    }
}

/// How much is sent.
#[derive(Clone, Copy)]
pub(crate) enum Much {
    /// As much as there is time for.
    For(Duration),
    /// So many requests.
    Requests(u64),
}

/// What is left to be sent, by all who send.
struct Left {
    until: Option<Instant>,
    requests: AtomicU64,
}

impl Left {
    fn of(much: Much) -> Self {
        let (until, requests) = match much {
            Much::For(lasts) => (Some(Instant::now() + lasts), u64::MAX),
            Much::Requests(count) => (None, count),
        };
        Self {
            until,
            requests: AtomicU64::new(requests),
        }
    }

    /// Takes one of them, if there is one.
    fn take(&self) -> bool {
        let is_time = self.until.is_none_or(|until| Instant::now() < until);
        let less = |left: u64| left.checked_sub(1);
        let order = Ordering::Relaxed;
        is_time && self.requests.fetch_update(order, order, less).is_ok()
    }
}

/// Sends so much to the server that listens on `address`, under the key with `token`.
///
/// # Errors
/// When it cannot be connected to.
pub(crate) async fn run(
    address: SocketAddr,
    token: &str,
    filled: Filled,
    connections: usize,
    much: Much,
) -> anyhow::Result<Tally> {
    let filled = Arc::new(filled);
    let bearer = Arc::new(format!("Bearer {token}"));
    let mut open = Vec::with_capacity(connections);
    for _ in 0..connections {
        open.push(Connection::open(&address.to_string()).await?);
    }
    let begun = Instant::now();
    let left = Arc::new(Left::of(much));
    let mut tasks = JoinSet::new();
    for connection in open {
        tasks.spawn(drive(
            connection,
            filled.clone(),
            bearer.clone(),
            left.clone(),
        ));
    }
    let mut tally = Tally::new()?;
    while let Some(ended) = tasks.join_next().await {
        tally.add(ended??)?;
    }
    tally.took = begun.elapsed();
    Ok(tally)
}

async fn drive(
    mut connection: Connection,
    filled: Arc<Filled>,
    bearer: Arc<String>,
    left: Arc<Left>,
) -> anyhow::Result<Tally> {
    let mut tally = Tally::new()?;
    while left.take() {
        let request = connection
            .request(Method::POST, &PROSPECTS)
            .header("authorization", bearer.as_str())
            .header("content-type", "application/json")
            .body(Full::from(filled.next()))?;
        let begun = Instant::now();
        match connection.send(request).await {
            Ok((StatusCode::OK, _)) => {
                tally.accepted += 1;
                tally.latencies.record_since(begun);
            }
            Ok((status, body)) => {
                tally.non_200 += 1;
                tally.first_trouble.get_or_insert_with(|| {
                    let said: String = String::from_utf8_lossy(&body).chars().take(300).collect();
                    format!("{status}: {said}")
                });
            }
            Err(why) => {
                tally.broken += 1;
                tally
                    .first_trouble
                    .get_or_insert_with(|| format!("{why:#}"));
                connection = Connection::open(connection.authority()).await?;
            }
        }
    }
    Ok(tally)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::{Value, json};

    use super::{Bodies, Left, Much, Target};

    fn target(integration_id: &str) -> Target {
        Target {
            integration_id: integration_id.to_owned(),
            community_id: "c".to_owned(),
            attribution_id: "a".to_owned(),
        }
    }

    #[test]
    fn every_body_is_another_person_and_keeps_the_rest() {
        let bodies = Bodies::read(Some(
            "{\"email_1\":\"a@b.c\",\"phone_1\":\"1\",\"agent_id\":\"x\",\"city\":\"Seattle\"}\n\n{}\n",
        ))
        .expect("bodies");
        let target = || target("i");
        let first = bodies.for_targets(&[target()]);
        let second = bodies.for_targets(&[target()]);
        let read = |text: String| serde_json::from_str::<Value>(&text).expect("json");
        assert_eq!(
            read(first.next()),
            json!({ "email_1": "bench0@example.com", "integration_id": "i", "community_id": "c", "attribution_id": "a", "city": "Seattle" })
        );
        assert_eq!(
            read(second.next()),
            json!({ "email_1": "bench1@example.com", "integration_id": "i", "community_id": "c", "attribution_id": "a" })
        );
    }

    #[test]
    fn each_target_has_its_turn() {
        let bodies = Bodies::read(None).expect("bodies");
        let filled = bodies.for_targets(&[target("one"), target("two")]);
        let ids = [(); 4].map(|()| {
            let body: Value = serde_json::from_str(&filled.next()).expect("json");
            body["integration_id"].clone()
        });
        assert_eq!(ids, ["one", "two", "one", "two"]);
    }

    #[test]
    fn no_more_is_sent_than_was_to_be() {
        let left = Left::of(Much::Requests(2));
        assert_eq!([(); 3].map(|()| left.take()), [true, true, false]);
        assert!(!Left::of(Much::For(Duration::ZERO)).take());
        assert!(Left::of(Much::For(Duration::from_secs(60))).take());
    }

    #[test]
    fn a_file_without_bodies_is_refused() {
        assert!(Bodies::read(Some("\n")).is_err());
        assert!(Bodies::read(Some("[]")).is_err());
        assert!(Bodies::read(None).is_ok());
    }
}

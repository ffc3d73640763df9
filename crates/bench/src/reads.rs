//! How long reads take with many prospects stored, beside the same with few.
//!
//! Guarantee: both servers run at once and are asked in turn, so that whatever disturbs the machine
//! disturbs both alike; lists are read to their end by cursor before anything is measured, and
//! every answer, measured or not, must hold just the rows that were stored, in order.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow, bail};
use hyper::{Method, StatusCode};
use model::ProspectId;
use serde::{Deserialize, de::DeserializeOwned};
use tokio::task::JoinSet;

use crate::{
    connection::Connection,
    connections,
    fill::{self, Filled},
    load::Latencies,
    output,
    people::{self, People, mix},
    process::{Part, Portico, Process},
    report::{Latency, ReadRow, Reads, StoreRow},
    site::Site,
};

/// The list that is read.
const LIST: &str = "/crm/v1/prospects";

/// What puts it in the order of changes.
const LATEST_CHANGED: &str = "&order-by=updated_at:desc";

/// Rows of a page: as many as there can be.
const PAGE: usize = 250;

/// Requests before those that count, on each connection: they prepare statements and fill caches.
const WARM_UP: u64 = 3;

#[derive(clap::Args)]
pub(crate) struct Plan {
    /// Prospects of the store that is compared with.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000), value_name = "N")]
    small: u64,
    /// Prospects of the store that is measured.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000), value_name = "N")]
    large: u64,
    /// Requests of each kind to each of the two servers.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000), value_name = "N")]
    requests: u64,
    /// Connections to each server, which ask at once.
    #[arg(long, default_value = "1", value_parser = connections, value_name = "N")]
    connections: usize,
    /// Where the temporary data directories are made: the disk that is measured.
    #[arg(long, value_name = "DIR")]
    within: Option<PathBuf>,
    /// Prints JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// What is read.
#[derive(Clone, Copy)]
enum Read {
    FirstPage,
    LastPage,
    ById,
    Community,
    CommunityWithin,
    Email,
    MiddlePage,
}

impl Read {
    const ALL: [Self; 7] = [
        Self::FirstPage,
        Self::LastPage,
        Self::ById,
        Self::Community,
        Self::CommunityWithin,
        Self::Email,
        Self::MiddlePage,
    ];

    const fn words(self) -> &'static str {
        match self {
            Self::FirstPage => "first page",
            Self::LastPage => "last page, by cursor",
            Self::ById => "one by its id",
            Self::Community => "first page of a community",
            Self::CommunityWithin => "the same, within its integration",
            Self::Email => "one by its email address",
            Self::MiddlePage => "middle page by updated_at, by cursor",
        }
    }
}

impl Plan {
    /// Fills both stores, starts both servers, and asks them in turn.
    ///
    /// # Errors
    /// When a process or a store fails, and when an answer does not hold the rows that it must.
    pub(crate) async fn measure(&self, portico: &Portico) -> anyhow::Result<Reads> {
        let sandbox = portico.sandbox(0).await?;
        let small = Arc::new(self.side(portico, &sandbox, self.small).await?);
        let large = Arc::new(self.side(portico, &sandbox, self.large).await?);
        let mut reads = Vec::new();
        for read in Read::ALL {
            output::note(&format!("Reading: {}", read.words()));
            reads.push(self.compare(read, &small, &large).await?);
        }
        let mut stores = Vec::new();
        for side in [&small, &large] {
            stores.push(side.row()?);
        }
        Ok(Reads { stores, reads })
    }

    /// A server on a store with `count` prospects, its lists read to their end.
    async fn side(&self, portico: &Portico, sandbox: &Process, count: u64) -> anyhow::Result<Side> {
        output::note(&format!("Storing {count} prospects"));
        let site = Site::directory(portico, sandbox, self.within.as_deref()).await?;
        let people = People::of(&site.account)?;
        let filled = fill::fill(&site, &people, count).await?;

        let begun = Instant::now();
        // It has nothing to deliver, and no synchronisation is due.
        let server = portico
            .serve(&site.place, sandbox, Part::Everything)
            .await?;
        let ready_s = begun.elapsed().as_secs_f64();

        let community = people.community(0).to_owned();
        let newest: Vec<ProspectId> = filled.people.iter().rev().copied().collect();
        let numbers = (0..count).rev();
        let of_community = numbers
            .zip(&newest)
            .filter(|(number, _)| people.community(*number) == community)
            .map(|(_, id)| *id)
            .take(PAGE);
        let mut side = Side {
            of_community: of_community.collect(),
            community,
            integration: site.account.integration_id.clone(),
            authority: server.address().to_string(),
            bearer: format!("Bearer {}", site.token),
            server,
            _site: site,
            filled,
            ready_s,
            walked: Duration::ZERO,
            last: Question::default(),
            middle: Question::default(),
        };
        output::note(&format!("Walking through {count} prospects, in two orders"));
        let begun = Instant::now();
        let pages = side.walk("", &newest).await?;
        side.walked = begun.elapsed();
        side.last = pages.into_iter().next_back().context("no page")?;
        let mut pages = side
            .walk(LATEST_CHANGED, &side.filled.latest_changed)
            .await?;
        side.middle = pages.swap_remove(pages.len() / 2);
        Ok(side)
    }

    /// Asks both for the same, in turn, on every connection.
    async fn compare(
        &self,
        read: Read,
        small: &Arc<Side>,
        large: &Arc<Side>,
    ) -> anyhow::Result<ReadRow> {
        let mut tasks = JoinSet::new();
        let all = self.connections as u64;
        for number in 0..all {
            let share = self.requests / all + u64::from(number < self.requests % all);
            tasks.spawn(ask(
                read,
                [small.clone(), large.clone()],
                number << 32,
                share,
            ));
        }
        let mut latencies = [Latencies::new()?, Latencies::new()?];
        while let Some(ended) = tasks.join_next().await {
            for (sum, one) in latencies.iter_mut().zip(&ended??) {
                sum.add(one)?;
            }
        }
        let [small, large] = latencies.each_ref().map(Latency::of);
        Ok(ReadRow {
            read: read.words(),
            requests: self.requests,
            large_to_small: large.p50_ms / small.p50_ms.max(f64::EPSILON),
            small,
            large,
        })
    }
}

/// Asks each of `sides` so many times, in turn. Whom it asks for begins at `first`.
async fn ask(
    read: Read,
    sides: [Arc<Side>; 2],
    first: u64,
    requests: u64,
) -> anyhow::Result<[Latencies; 2]> {
    let mut latencies = [Latencies::new()?, Latencies::new()?];
    let mut open = Vec::new();
    for side in &sides {
        open.push(Connection::open(&side.authority).await?);
    }
    for turn in 0..requests + WARM_UP {
        for ((side, connection), latencies) in sides.iter().zip(&mut open).zip(&mut latencies) {
            let question = side.question(read, mix(first + turn))?;
            let begun = Instant::now();
            let body = side.send(connection, &question.path).await?;
            if turn >= WARM_UP {
                latencies.record_since(begun);
            }
            let found = match read {
                Read::ById => vec![answer::<Row>(&body)?.results.id],
                _ => ids(&answer(&body)?),
            };
            same(&found, &question.rows).with_context(|| question.path.clone())?;
        }
    }
    Ok(latencies)
}

/// A request and the rows of its answer.
#[derive(Default)]
struct Question {
    path: String,
    rows: Vec<ProspectId>,
}

/// A server on a filled store.
struct Side {
    server: Process,
    authority: String,
    bearer: String,
    // Its directory goes when all is measured.
    _site: Site,
    filled: Filled,
    community: String,
    integration: String,
    /// Of the community, the first page.
    of_community: Vec<ProspectId>,
    ready_s: f64,
    walked: Duration,
    last: Question,
    middle: Question,
}

impl Side {
    async fn send(&self, connection: &mut Connection, path: &str) -> anyhow::Result<bytes::Bytes> {
        let request = connection
            .request(Method::GET, path)
            .header("authorization", &self.bearer)
            .body(Default::default())?;
        let (status, body) = connection.send(request).await?;
        if status != StatusCode::OK {
            let said: String = String::from_utf8_lossy(&body).chars().take(300).collect();
            bail!("{path} answered {status}: {said}");
        }
        Ok(body)
    }

    /// Reads the whole list by cursor: its rows must be those of `expected`, in that order, and no
    /// more. Returns its pages.
    async fn walk(&self, order: &str, expected: &[ProspectId]) -> anyhow::Result<Vec<Question>> {
        let mut connection = Connection::open(&self.authority).await?;
        let (mut pages, mut behind) = (Vec::new(), 0);
        let mut cursor = Some(String::new());
        while let Some(from) = cursor {
            let path = format!("{LIST}?limit={PAGE}{order}{from}");
            let page: Answer<Vec<Row>> = answer(&self.send(&mut connection, &path).await?)?;
            if let Some(total) = page.meta.total
                && total != expected.len() as u64
            {
                bail!(
                    "{path} tells of {total} rows where {} are stored",
                    expected.len()
                );
            }
            let rows = ids(&page);
            let end = expected.len().min(behind + PAGE);
            same(&rows, expected.get(behind..end).unwrap_or_default())
                .with_context(|| format!("behind {behind} of {} rows, {path}", expected.len()))?;
            behind = end;
            cursor = page.meta.next_cursor.map(|next| format!("&cursor={next}"));
            pages.push(Question { path, rows });
        }
        if behind != expected.len() {
            bail!(
                "the list {LIST}?{order} ended behind {behind} of {} rows",
                expected.len()
            );
        }
        Ok(pages)
    }

    /// What to ask for; `chance` says whom.
    fn question(&self, read: Read, chance: u64) -> anyhow::Result<Question> {
        let people = &self.filled.people;
        let number = chance % (people.len() as u64).max(1);
        let whom = usize::try_from(number)
            .ok()
            .and_then(|place| people.get(place));
        let whom = *whom.context("nobody is stored")?;
        let (path, rows) = match read {
            Read::FirstPage => {
                let newest = people.iter().rev().take(PAGE).copied();
                (format!("{LIST}?limit={PAGE}"), newest.collect())
            }
            Read::LastPage => (self.last.path.clone(), self.last.rows.clone()),
            Read::MiddlePage => (self.middle.path.clone(), self.middle.rows.clone()),
            Read::ById => (format!("{LIST}/{whom}"), vec![whom]),
            Read::Community => (
                format!("{LIST}?community_id={}&limit={PAGE}", self.community),
                self.of_community.clone(),
            ),
            // As it is read for a key that may see this integration only.
            Read::CommunityWithin => (
                format!(
                    "{LIST}?community_id={}&integration_id={}&limit={PAGE}",
                    self.community, self.integration
                ),
                self.of_community.clone(),
            ),
            Read::Email => (
                format!("{LIST}?email_1={}", people::email(number)),
                vec![whom],
            ),
        };
        Ok(Question { path, rows })
    }

    fn row(&self) -> anyhow::Result<StoreRow> {
        Ok(StoreRow {
            prospects: self.filled.people.len() as u64,
            filled_s: self.filled.took.as_secs_f64(),
            database_mb: self.filled.bytes as f64 / 1_000_000.0,
            ready_s: self.ready_s,
            walked_s: self.walked.as_secs_f64(),
            rss_mb: self.server.peak_rss_mb()?,
        })
    }
}

#[derive(Deserialize)]
struct Answer<T> {
    meta: Meta,
    results: T,
}

#[derive(Deserialize)]
struct Meta {
    total: Option<u64>,
    #[serde(rename = "nextCursor")]
    next_cursor: Option<String>,
}

#[derive(Deserialize)]
struct Row {
    id: ProspectId,
}

fn answer<T: DeserializeOwned>(body: &[u8]) -> anyhow::Result<Answer<T>> {
    serde_json::from_slice(body).context("an answer is not of the shape that was asked for")
}

fn ids(page: &Answer<Vec<Row>>) -> Vec<ProspectId> {
    page.results.iter().map(|row| row.id).collect()
}

/// Whether an answer has the rows that it must.
fn same(found: &[ProspectId], expected: &[ProspectId]) -> anyhow::Result<()> {
    if found == expected {
        return Ok(());
    }
    let place = found
        .iter()
        .zip(expected)
        .take_while(|(one, other)| one == other)
        .count();
    let told = |rows: &[ProspectId]| {
        rows.get(place)
            .map_or_else(|| "nothing".to_owned(), ToString::to_string)
    };
    Err(anyhow!(
        "the rows are wrong: {} where {} are stored; at place {place} is {} where {} belongs",
        found.len(),
        expected.len(),
        told(found),
        told(expected)
    ))
}

#[cfg(test)]
mod tests {
    use model::{ProspectId, Timestamp};

    use super::same;
    use crate::system::SystemEntropy;

    #[test]
    fn a_row_that_is_skipped_repeated_or_out_of_place_is_told() {
        let [a, b, c] = [(); 3].map(|()| ProspectId::new(Timestamp::ZERO, &SystemEntropy));
        assert!(same(&[a, b, c], &[a, b, c]).is_ok());
        for found in [
            &[a, c][..],
            &[a, b],
            &[a, b, b, c],
            &[a, c, b],
            &[],
            &[a, b, c, a],
        ] {
            assert!(same(found, &[a, b, c]).is_err(), "{found:?}");
        }
    }
}

//! What becomes of what a node is asked while its database is in trouble: it is stored, or its asker hears that it is not; and it goes on by itself afterwards.

mod commits;
mod connections;
mod primaries;
mod waiting;

use std::{
    collections::HashSet,
    error::Error as StdError,
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use model::{
    Actor, CommunityId, Entropy, IntegrationId, JobId, Scope, Secret, Timestamp, Vendor,
    directory::{Community, Integration, Settings},
    key::System,
    record::Kind,
    write::{
        Attempt, AttemptKind, Call, Class, Confirmed, NewWrite, Operation, Reply, Write,
        WriteStatus,
    },
};
use store::{
    Acceptance, Ask, Claim, Error, Finish, Once, Registration, Sealer, Store, Unobserved, Verdict,
    postgres::{self, Patience, Place},
};
use testbed::{Options, Server};
use tokio::task::JoinSet;

type Outcome<T = ()> = Result<T, Box<dyn StdError + Send + Sync>>;

/// The database's name on each test's server.
const DATABASE: &str = "leads";

/// When every test begins.
const START: Timestamp = Timestamp::from_micros(1_790_000_000_000_000);

/// How long going on again may take when the trouble is over: some hundredths of a second, but for a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(20);

/// Times a tenth of what they are for operators, so that a test need not wait for them as long.
const HURRIED: Patience = Patience {
    idle: Duration::from_millis(500),
    lock: Duration::from_millis(1_500),
    statement: Duration::from_millis(2_000),
    answer: Duration::from_millis(2_500),
};

/// What a request may take at most: its own wait, that of the one before it, and up to three seconds for each connection that is tried, with room for a busy machine.
const BOUND: Duration = Duration::from_secs(12);

fn server(options: Options) -> io::Result<Option<Server>> {
    let server = Server::start(options)?;
    if let Some(server) = &server {
        server.database_create(DATABASE)?;
    }
    Ok(server)
}

/// Counts up: the same at every run. Can be told to stand still in the writing thread.
#[derive(Default)]
struct Counted {
    next: AtomicU64,
    stands_still: AtomicBool,
    /// Whether somebody does.
    is_still: AtomicBool,
}

impl Entropy for Counted {
    fn bytes(&self) -> [u8; 16] {
        let is_writer = std::thread::current().name() == Some("store-writer");
        while is_writer && self.stands_still.load(Ordering::Acquire) {
            self.is_still.store(true, Ordering::Release);
            std::thread::sleep(Duration::from_millis(5));
        }
        let next = self.next.fetch_add(1, Ordering::Relaxed);
        // Spread, since keys of writes are taken from it too.
        (u128::from(next + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)).to_be_bytes()
    }
}

/// A node.
struct Node {
    store: Arc<Store>,
    entropy: Arc<Counted>,
    by: Actor,
    integration_id: IntegrationId,
    community_id: CommunityId,
}

impl Node {
    /// Opens a node on the database at `url` and registers an integration with it. Every node of a test has another `number`.
    async fn open(url: &str, number: u64, tune: impl FnOnce(&mut Place)) -> Outcome<Self> {
        let entropy = Arc::new(Counted {
            next: AtomicU64::new(number << 32),
            ..Counted::default()
        });
        let mut place = Place::new(url)?;
        tune(&mut place);
        let sealer = Sealer::new(&Secret::new("5e".repeat(32)), entropy.clone())?;
        let store = tokio::task::block_in_place(|| {
            postgres::open(&place, sealer, Arc::new(Unobserved), START)
        })?;
        #[expect(clippy::disallowed_methods, reason = "a test may act as the operator")]
        let by = Actor::local(Scope::operator());
        let node = Self {
            integration_id: IntegrationId::new(START, &*entropy),
            community_id: CommunityId::new(START, &*entropy),
            store: Arc::new(store),
            entropy,
            by,
        };
        node.register().await?;
        Ok(node)
    }

    /// Registers the integration with a community that is new.
    async fn register(&self) -> Result<(), Error> {
        let integration = Integration::new(
            self.integration_id,
            "Acme".to_owned(),
            Vendor::named("KNOCK"),
            System::Sandbox,
            Settings::new("http://127.0.0.1:1"),
            Secret::new("a-credential"),
        );
        let id = CommunityId::new(START, &*self.entropy);
        let community = Community {
            id,
            integration_id: self.integration_id,
            x_id: id.to_string(),
            name: "a community".to_owned(),
            timezone: "America/New_York".to_owned(),
            phone_region: None,
            active: true,
        };
        let registration = Registration {
            integration,
            communities: vec![community],
            attributions: Vec::new(),
            agents: Vec::new(),
        };
        self.store
            .integration_register(&self.by, registration, START)
            .await
    }

    fn write(&self) -> NewWrite {
        let job_id = JobId::new(START, &*self.entropy);
        let number = self.entropy.bytes();
        NewWrite {
            job_id,
            accepted_at: START,
            integration_id: self.integration_id,
            community_id: self.community_id,
            operation: Operation::ProspectCreate,
            result: format!("{{\"job\":\"{job_id}\"}}"),
            call: Call {
                method: "POST".to_owned(),
                path: "/prospect".to_owned(),
                x_community_id: "1001".to_owned(),
                body: serde_json::json!({ "job": job_id.to_string() }),
            },
            confirmed: Confirmed {
                create: serde_json::json!({ "first_name": "Zoë" }),
                ..Confirmed::default()
            },
            order_keys: vec![i64::from_be_bytes([
                number[0], number[1], number[2], number[3], number[4], number[5], number[6],
                number[7],
            ])],
            blocked_by: Vec::new(),
            retry_of: None,
            consent: None,
            request_id: "a-request".to_owned(),
        }
    }

    async fn accept(&self, write: NewWrite) -> Result<Acceptance, Error> {
        self.store.write_accept(&self.by.scope, write, None).await
    }

    /// Accepts one write. Returns its id and how long it took.
    async fn accept_one(&self) -> (JobId, Result<Acceptance, Error>, Duration) {
        let write = self.write();
        let (job_id, begun) = (write.job_id, Instant::now());
        let answer = self.accept(write).await;
        (job_id, answer, begun.elapsed())
    }

    async fn find(&self, job_id: JobId) -> Result<Option<Write>, Error> {
        self.store.write_find(&self.by.scope, job_id).await
    }

    /// Whether a write is accepted again, and a read answered, within [`PATIENCE`]. What is refused meanwhile is refused as it should be.
    async fn goes_on(&self) -> Outcome<JobId> {
        let begun = Instant::now();
        let job_id = loop {
            match self.accept_one().await {
                (job_id, Ok(_), _) => break job_id,
                (_, Err(why), _) => assert_is_turned_away(&why),
            }
            if begun.elapsed() > PATIENCE {
                return Err("nothing is accepted any more".into());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        loop {
            match self.find(job_id).await {
                Ok(found) => {
                    assert!(found.is_some(), "an accepted write is found");
                    return Ok(job_id);
                }
                Err(why) => assert_is_turned_away(&why),
            }
            if begun.elapsed() > PATIENCE {
                return Err("nothing is read any more".into());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Claims one write that is due.
    async fn claim_one(&self, now: Timestamp) -> Result<Option<store::Ticket>, Error> {
        let claim = Claim {
            lanes: vec![ask(self.integration_id, 1)],
            now,
            lease_until: now.plus_millis(60_000),
        };
        let lanes = self.store.writes_claim(claim).await?;
        let writes = lanes.into_iter().flat_map(|lane| lane.writes);
        Ok(writes.map(|write| write.ticket).next())
    }

    /// What is recorded of an attempt that was confirmed under `x_id`.
    fn confirmed(&self, ticket: store::Ticket, x_id: &str, now: Timestamp) -> Finish {
        Finish {
            ticket,
            attempt: Attempt {
                number: ticket.attempt,
                started_at: now,
                duration_ms: Some(1),
                class: Class::Delivered,
                error: None,
                reply: Reply::default(),
                kind: AttemptKind::Write,
                x_id: None,
                request: None,
            },
            verdict: Verdict::Delivered {
                x_id: Some(x_id.to_owned()),
                record_id: Kind::Prospect.new_id(START, &*self.entropy),
                errors: Vec::new(),
            },
            pause_until: None,
            now,
        }
    }
}

/// Asks for so many writes of an integration.
const fn ask(integration_id: IntegrationId, limit: u32) -> Ask {
    Ask {
        integration_id,
        limit,
        concurrency: limit,
        gap_micros: None,
        as_of: None,
    }
}

/// What stands for 503 and nothing else.
fn assert_is_turned_away(why: &Error) {
    assert!(matches!(why, Error::Busy | Error::InDoubt), "{why:?}");
}

/// What stands for 503 and says that nothing was stored.
fn assert_is_busy<T>(answer: &Result<T, Error>) {
    let why = answer.as_ref().err();
    assert!(matches!(why, Some(Error::Busy)), "{why:?}");
}

fn one_value(rows: Vec<Vec<String>>) -> Outcome<String> {
    let value = rows.into_iter().flatten().next();
    Ok(value.ok_or("a row")?)
}

/// Ends all connections of nodes. Returns how many.
fn cut(url: &str) -> io::Result<usize> {
    let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'portico' AND pid <> pg_backend_pid()";
    Ok(testbed::client::query(url, sql)?.len())
}

/// What asks for as long as a test lets it.
struct Crowd {
    is_over: Arc<AtomicBool>,
    tasks: JoinSet<Outcome<Asked>>,
}

/// What a member of it was answered.
#[derive(Default)]
struct Asked {
    accepted: Vec<JobId>,
    turned_away: usize,
    longest: Duration,
}

impl Crowd {
    fn start(node: &Arc<Node>, size: usize) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let mut tasks = JoinSet::new();
        for _ in 0..size {
            let (node, is_over) = (node.clone(), is_over.clone());
            tasks.spawn(async move {
                let mut asked = Asked::default();
                while !is_over.load(Ordering::Relaxed) {
                    let (job_id, answer, took) = node.accept_one().await;
                    asked.longest = asked.longest.max(took);
                    match answer {
                        Ok(_) => asked.accepted.push(job_id),
                        Err(why) => {
                            assert_is_turned_away(&why);
                            asked.turned_away += 1;
                            tokio::time::sleep(Duration::from_millis(20)).await;
                        }
                    }
                }
                Ok(asked)
            });
        }
        Self { is_over, tasks }
    }

    async fn end(mut self) -> Outcome<Asked> {
        self.is_over.store(true, Ordering::Relaxed);
        let mut all = Asked::default();
        while let Some(one) = self.tasks.join_next().await {
            let one = one??;
            all.accepted.extend(one.accepted);
            all.turned_away += one.turned_away;
            all.longest = all.longest.max(one.longest);
        }
        Ok(all)
    }
}

impl Asked {
    /// Makes sure that all that was accepted is stored, and that nobody waited for longer than [`BOUND`].
    fn check(&self, url: &str) -> Outcome {
        assert!(
            self.longest < BOUND,
            "somebody waited for {:?}",
            self.longest
        );
        let stored = testbed::client::query(url, "SELECT job_id FROM writes")?;
        let stored: HashSet<String> = stored.into_iter().flatten().collect();
        for job_id in &self.accepted {
            assert!(stored.contains(&job_id.to_string()), "{job_id} is lost");
        }
        Ok(())
    }
}

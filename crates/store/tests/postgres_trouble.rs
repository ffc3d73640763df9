//! What becomes of what a node is asked while its database is in trouble: it is stored, or its asker hears that it is not; and it goes on by itself afterwards.

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
    Actor, CommunityId, Entropy, IntegrationId, JobId, Scope, Secret, Timestamp,
    directory::{Community, Integration, Settings, Vendor},
    key::System,
    record::Kind,
    write::{Attempt, Call, Class, Confirmed, NewWrite, Operation, Reply, Write, WriteStatus},
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
            Vendor::Knock,
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
            },
            verdict: Verdict::Delivered {
                x_id: Some(x_id.to_owned()),
                record_id: Kind::Prospect.new_id(START, &*self.entropy),
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_dies_takes_nothing_with_it_that_was_accepted() -> Outcome {
    // Its default would answer before the standby has it: a node asks for more.
    let Some(mut primary) = server(Options::throw_away())? else {
        return Ok(());
    };
    let standby = Server::standby_of(&primary, Options::throw_away())?;
    let url = primary.url_with(&standby, DATABASE);
    let node = Arc::new(Node::open(&url, 1, |_| {}).await?);

    let crowd = Crowd::start(&node, 64);
    tokio::time::sleep(Duration::from_millis(700)).await;
    tokio::task::block_in_place(|| primary.kill())?;
    // While there is none that takes changes, who asks hears so.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let (_, answer, took) = node.accept_one().await;
    assert_is_busy(&answer);
    assert!(took < BOUND, "{took:?}");
    let read = node.find(JobId::new(START, &*node.entropy)).await;
    assert_is_busy(&read);

    tokio::task::block_in_place(|| standby.promote())?;
    let last = node.goes_on().await?;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let mut asked = crowd.end().await?;
    asked.accepted.push(last);
    assert!(asked.turned_away > 0);
    asked.check(&standby.url(DATABASE))?;
    node.store.close().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_is_one_no_more_is_left_for_the_one_that_is() -> Outcome {
    let Some(primary) = server(Options::throw_away())? else {
        return Ok(());
    };
    let standby = Server::standby_of(&primary, Options::throw_away())?;
    let url = primary.url_with(&standby, DATABASE);
    let node = Node::open(&url, 1, |_| {}).await?;
    let first = node.goes_on().await?;

    // It goes on answering, as when an operator has demoted it without closing connections.
    primary.query("ALTER SYSTEM SET default_transaction_read_only = on")?;
    primary.query("SELECT pg_reload_conf()")?;
    let begun = Instant::now();
    while node.accept_one().await.1.is_ok() {
        assert!(begun.elapsed() < PATIENCE, "it is read only");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_is_busy(&node.accept_one().await.1);
    tokio::task::block_in_place(|| standby.promote())?;
    let second = node.goes_on().await?;
    // What is read comes from there too, not from where it was read before.
    let known = standby.url(DATABASE);
    let known = testbed::client::query(&known, "SELECT job_id FROM writes ORDER BY seq")?;
    let known: HashSet<String> = known.into_iter().flatten().collect();
    for job_id in [first, second] {
        assert!(known.contains(&job_id.to_string()));
        assert!(node.find(job_id).await?.is_some());
    }
    node.store.close().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_lost_its_standby_to_others_is_left_for_it() -> Outcome {
    let Some(primary) = server(Options::throw_away())? else {
        return Ok(());
    };
    let standby = Server::standby_of(&primary, Options::throw_away())?;
    let url = primary.url_with(&standby, DATABASE);
    let hurry = |place: &mut Place| place.writing = HURRIED;
    let node = Arc::new(Node::open(&url, 1, hurry).await?);
    let crowd = Crowd::start(&node, 16);
    tokio::time::sleep(Duration::from_millis(200)).await;
    // As when the network between them is cut: the one that was the primary still takes changes, and never has them confirmed.
    tokio::task::block_in_place(|| standby.promote())?;
    let url = standby.url(DATABASE);
    let begun = Instant::now();
    loop {
        let job_id = node.goes_on().await?;
        let sql = format!("SELECT 1 FROM writes WHERE job_id = '{job_id}'");
        if !testbed::client::query(&url, &sql)?.is_empty() {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "it is left");
    }
    let asked = crowd.end().await?;
    asked.check(&url)?;
    node.store.close().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_brings_a_write_hears_in_time_whether_it_may_be_stored() -> Outcome {
    let Some(server) = server(Options::throw_away())? else {
        return Ok(());
    };
    // More than a caller has.
    let patient = |place: &mut Place| {
        place.writing.statement = PATIENCE;
        place.writing.answer = PATIENCE;
    };
    let node = Arc::new(Node::open(&server.url(DATABASE), 1, patient).await?);
    node.goes_on().await?;
    server.freeze()?;
    let accept = || {
        let node = node.clone();
        tokio::spawn(async move { node.accept_one().await })
    };
    let begun = accept();
    tokio::time::sleep(Duration::from_millis(200)).await;
    let (queued, answer, took) = accept().await?;
    assert!(matches!(answer, Err(Error::Busy)), "{answer:?}");
    assert!(took < BOUND, "{took:?}");
    let (begun, answer, took) = begun.await?;
    assert!(matches!(answer, Err(Error::InDoubt)), "{answer:?}");
    assert!(took < BOUND, "{took:?}");
    server.thaw()?;
    node.goes_on().await?;
    assert!(node.find(begun).await?.is_some(), "it was being stored");
    assert!(node.find(queued).await?.is_none(), "nothing was stored");
    node.store.close().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stands_still_is_waited_for_so_long_and_no_longer() -> Outcome {
    let Some(server) = server(Options::throw_away())? else {
        return Ok(());
    };
    let url = server.url(DATABASE);
    let hurry = |place: &mut Place| (place.writing, place.reading) = (HURRIED, HURRIED);
    let hurried = format!("{url}?connect_timeout=1");
    let node = Arc::new(Node::open(&hurried, 1, hurry).await?);
    let known = node.goes_on().await?;

    let crowd = Crowd::start(&node, 32);
    tokio::time::sleep(Duration::from_millis(300)).await;
    server.freeze()?;
    let mut reads = JoinSet::new();
    for _ in 0..16 {
        let node = node.clone();
        reads.spawn(async move {
            let begun = Instant::now();
            (node.find(known).await, begun.elapsed())
        });
    }
    while let Some(read) = reads.join_next().await {
        let (read, took) = read?;
        assert_is_busy(&read);
        assert!(took < BOUND, "{took:?}");
    }
    let (_, answer, took) = node.accept_one().await;
    assert!(took < BOUND, "{took:?}");
    assert_is_busy(&answer);
    server.thaw()?;
    node.goes_on().await?;
    let asked = crowd.end().await?;
    assert!(asked.turned_away > 0);
    asked.check(&url)?;

    // Closing waits no longer either.
    server.freeze()?;
    let waiting = {
        let node = node.clone();
        tokio::spawn(async move { node.accept_one().await.1 })
    };
    tokio::time::sleep(Duration::from_millis(100)).await;
    let begun = Instant::now();
    node.store.close().await;
    assert!(begun.elapsed() < BOUND, "{:?}", begun.elapsed());
    assert_is_busy(&waiting.await?);
    assert!(matches!(node.find(known).await, Err(Error::Closed)));
    server.thaw()?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_stands_still_keeps_others_waiting_for_moments_only() -> Outcome {
    let Some(server) = server(Options::throw_away())? else {
        return Ok(());
    };
    let url = server.url(DATABASE);
    let hurry = |place: &mut Place| place.writing = HURRIED;
    let stuck = Arc::new(Node::open(&url, 1, hurry).await?);
    let other = Node::open(&url, 2, hurry).await?;

    // In the middle of its turn.
    stuck.entropy.stands_still.store(true, Ordering::Release);
    let change = {
        let stuck = stuck.clone();
        tokio::spawn(async move { stuck.register().await })
    };
    let begun = Instant::now();
    while !stuck.entropy.is_still.load(Ordering::Acquire) {
        assert!(begun.elapsed() < PATIENCE, "it stands still");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // The other does not even hear of it, since it waits for longer than a node may lie still.
    let (_, answer, took) = other.accept_one().await;
    assert_eq!(answer?, Acceptance::Accepted);
    assert!(took < PATIENCE, "{took:?}");
    stuck.entropy.stands_still.store(false, Ordering::Release);
    let change = change.await?;
    assert!(
        matches!(change, Err(Error::Busy | Error::InDoubt)),
        "its turn was over: {change:?}"
    );
    stuck.goes_on().await?;
    other.goes_on().await?;
    let defaults = Patience::WRITING;
    assert!(defaults.idle < defaults.lock, "as in this test");
    stuck.store.close().await;
    other.store.close().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_are_cut_lose_nothing_and_double_nothing() -> Outcome {
    const CUTS: usize = 60;
    const TASKS: u8 = 16;
    let Some(server) = server(Options::throw_away())? else {
        return Ok(());
    };
    let url = server.url(DATABASE);
    let node = Arc::new(Node::open(&url, 1, |_| {}).await?);
    let is_over = Arc::new(AtomicBool::new(false));

    // Callers who repeat what they are not told of, under a key of each write's own.
    let mut callers = JoinSet::new();
    for task in 0..TASKS {
        let (node, is_over) = (node.clone(), is_over.clone());
        callers.spawn(async move {
            let mut jobs = Vec::new();
            for number in 0_u64.. {
                if is_over.load(Ordering::Relaxed) {
                    break;
                }
                let mut key_hash = [task; 32];
                key_hash[..8].copy_from_slice(&number.to_be_bytes());
                let once = Once {
                    key_hash,
                    fingerprint: [7; 32],
                    used_at: START,
                    expires_at: START.plus_millis(1_000_000),
                };
                let job_id = loop {
                    // Each time a new write, as a server makes one of each request.
                    let write = node.write();
                    let fresh = write.job_id;
                    let answer = node
                        .store
                        .write_accept(&node.by.scope, write, Some(once.clone()))
                        .await;
                    match answer {
                        Ok(Acceptance::Accepted) => break fresh,
                        Ok(Acceptance::Replayed { job_id, .. }) => break job_id,
                        Ok(Acceptance::Mismatch) => panic!("it is the same request"),
                        Ok(Acceptance::Erased { .. }) => panic!("nobody was forgotten"),
                        Err(why) => assert_is_turned_away(&why),
                    }
                    tokio::time::sleep(Duration::from_millis(2)).await;
                };
                jobs.push(job_id);
            }
            jobs
        });
    }
    // A worker that records each outcome until it is recorded.
    let worker = {
        let (node, is_over) = (node.clone(), is_over.clone());
        tokio::spawn(async move {
            let mut ended = 0;
            while !is_over.load(Ordering::Relaxed) {
                let ticket = match node.claim_one(START).await {
                    Ok(Some(ticket)) => ticket,
                    Ok(None) => continue,
                    Err(why) => {
                        assert_is_turned_away(&why);
                        tokio::time::sleep(Duration::from_millis(2)).await;
                        continue;
                    }
                };
                let finish = node.confirmed(ticket, &format!("x{}", ticket.seq), START);
                loop {
                    match node.store.attempt_finish(&finish).await {
                        Ok(status) => {
                            assert_eq!(status, WriteStatus::Success);
                            break;
                        }
                        Err(why) => assert_is_turned_away(&why),
                    }
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                ended += 1;
            }
            ended
        })
    };
    // Where all are just coming back there is none to cut.
    let (begun, mut rounds, mut cuts) = (Instant::now(), 0, 0);
    while (rounds < CUTS || cuts < CUTS) && begun.elapsed() < PATIENCE {
        rounds += 1;
        cuts += tokio::task::block_in_place(|| cut(&url))?;
        tokio::time::sleep(Duration::from_millis(40)).await;
    }
    assert!(cuts >= CUTS, "only {cuts} connections were cut");
    node.goes_on().await?;
    is_over.store(true, Ordering::Relaxed);
    let mut told = HashSet::new();
    while let Some(jobs) = callers.join_next().await {
        for job_id in jobs? {
            assert!(told.insert(job_id.to_string()), "{job_id} was told twice");
        }
    }
    let ended = worker.await?;
    assert!(ended > 0);

    // Beside what the callers were told there is the one write of `goes_on`.
    let value = |sql: &str| one_value(testbed::client::query(&url, sql)?);
    let stored = testbed::client::query(&url, "SELECT job_id FROM writes")?;
    let stored: HashSet<String> = stored.into_iter().flatten().collect();
    assert!(told.is_subset(&stored), "one that was told is lost");
    assert!(stored.len() > told.len());
    let unkeyed = "SELECT count(*) FROM writes w WHERE NOT EXISTS (SELECT 1 FROM idempotency i WHERE i.job_id = w.job_id)";
    assert_eq!(value(unkeyed)?, (stored.len() - told.len()).to_string());
    // A write is stored as a whole, and ends once, as a whole.
    let ended = ended.to_string();
    assert_eq!(
        value("SELECT count(*) FROM writes WHERE status = 'SUCCESS'")?,
        ended
    );
    assert_eq!(
        value("SELECT count(*) FROM records WHERE kind = 'prospect'")?,
        ended
    );
    let announced = "SELECT count(DISTINCT subject), count(*) FROM events WHERE subject IN (SELECT job_id FROM writes)";
    let announced = testbed::client::query(&url, announced)?;
    assert_eq!(announced, [[ended.clone(), ended.clone()]]);
    assert_eq!(
        value("SELECT count(*) FROM events WHERE kind = 'prospect' AND subject LIKE 'pro_%'")?,
        ended
    );
    let open = "SELECT count(*) FROM writes w LEFT JOIN queue q ON q.seq = w.seq WHERE (w.status = 'PENDING') <> (q.seq IS NOT NULL)";
    assert_eq!(value(open)?, "0");
    let keyed =
        "SELECT count(*) FROM queue q LEFT JOIN queue_order o ON o.seq = q.seq WHERE o.seq IS NULL";
    assert_eq!(value(keyed)?, "0");
    node.store.close().await;
    Ok(())
}

/// The connection of a node that waits until a standby has its commit.
async fn waits_for_standby(url: &str) -> Outcome<String> {
    let sql = "SELECT pid FROM pg_stat_activity WHERE application_name = 'portico' AND wait_event = 'SyncRep'";
    let begun = Instant::now();
    loop {
        let rows = tokio::task::block_in_place(|| testbed::client::query(url, sql))?;
        if let Some(pid) = rows.into_iter().flatten().next() {
            return Ok(pid);
        }
        if begun.elapsed() > PATIENCE {
            return Err("no commit waits for a standby".into());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_was_not_answered_is_in_doubt_and_found_by_its_key() -> Outcome {
    let Some(server) = server(Options::throw_away())? else {
        return Ok(());
    };
    let url = server.url(DATABASE);
    let hurry = |place: &mut Place| place.writing = HURRIED;
    let node = Arc::new(Node::open(&url, 1, hurry).await?);
    let keyed = |key: u8| Once {
        key_hash: [key; 32],
        fingerprint: [7; 32],
        used_at: START,
        expires_at: START.plus_millis(1_000_000),
    };
    let accept = |key: u8| {
        let (node, write) = (node.clone(), node.write());
        let once = keyed(key);
        let job_id = write.job_id;
        let asked = tokio::spawn(async move {
            let store = node.store.clone();
            store.write_accept(&node.by.scope, write, Some(once)).await
        });
        (job_id, asked)
    };
    let wait_for = |standby: &str| -> io::Result<()> {
        let set = format!("ALTER SYSTEM SET synchronous_standby_names = '{standby}'");
        server.query(&set)?;
        server.query("SELECT pg_reload_conf()")?;
        // Whoever is told last.
        std::thread::sleep(Duration::from_millis(100));
        Ok(())
    };

    // Commits are stored here, and wait for a standby that there is not.
    wait_for("nobody")?;
    let mut jobs = Vec::new();
    // An operator cancels the wait: the server answers as if all were well. Or ends the connection.
    for (key, ends) in [(1, "pg_cancel_backend"), (2, "pg_terminate_backend")] {
        let (job_id, asked) = accept(key);
        let pid = waits_for_standby(&url).await?;
        server.query(&format!("SELECT {ends}({pid})"))?;
        let answer = asked.await?;
        assert!(matches!(answer, Err(Error::InDoubt)), "{ends}: {answer:?}");
        jobs.push(job_id);
    }
    // Nobody does anything.
    let (job_id, asked) = accept(3);
    let begun = Instant::now();
    let answer = asked.await?;
    assert!(matches!(answer, Err(Error::InDoubt)), "{answer:?}");
    assert!(begun.elapsed() < BOUND, "{:?}", begun.elapsed());
    jobs.push(job_id);
    // It goes on waiting in the server, in its turn: who comes now hears that nothing is stored.
    let (_, asked) = accept(4);
    assert_is_busy(&asked.await?);
    // What can be read already is on no standby: it is not answered as accepted.
    let found = node.store.replay_find(&node.by.scope, &keyed(1)).await;
    assert!(matches!(found, Err(Error::InDoubt)), "{found:?}");

    wait_for("")?;
    node.goes_on().await?;
    let found = node.store.replay_find(&node.by.scope, &keyed(1)).await?;
    assert!(
        matches!(found, Some(Acceptance::Replayed { .. })),
        "{found:?}"
    );
    for (key, first) in (1..).zip(jobs) {
        let (_, asked) = accept(key);
        match asked.await?? {
            Acceptance::Replayed { job_id, .. } => assert_eq!(job_id, first),
            other => panic!("{other:?}"),
        }
    }
    let (_, asked) = accept(4);
    assert_eq!(asked.await??, Acceptance::Accepted);
    let count = "SELECT count(*) FROM idempotency i JOIN writes w ON w.job_id = i.job_id";
    let count = one_value(testbed::client::query(&url, count)?)?;
    assert_eq!(count, "4", "each is stored once");
    node.store.close().await;
    Ok(())
}

/// What a statement that stores a write does when it is told to: raise an error, or take its time.
const TROUBLE: &str = "
    CREATE TABLE trouble (one BIGINT PRIMARY KEY, code TEXT NOT NULL, about TEXT NOT NULL);
    INSERT INTO trouble VALUES (1, '', '');
    CREATE FUNCTION trouble() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE told trouble;
    BEGIN
        SELECT * INTO told FROM trouble;
        IF told.code = 'slow' THEN
            PERFORM pg_sleep(20);
        ELSIF told.code <> '' AND to_jsonb(NEW)::TEXT LIKE '%' || told.about || '%' THEN
            RAISE EXCEPTION 'as told' USING ERRCODE = told.code;
        END IF;
        RETURN NEW;
    END
    $$;
    CREATE TRIGGER trouble BEFORE INSERT ON writes FOR EACH ROW EXECUTE FUNCTION trouble();
    CREATE TRIGGER trouble BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION trouble();
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_server_refuses_for_now_is_busy_and_what_it_refuses_for_good_is_not() -> Outcome {
    let Some(server) = server(Options::throw_away())? else {
        return Ok(());
    };
    let url = server.url(DATABASE);
    let hurry = |place: &mut Place| place.writing = HURRIED;
    let node = Arc::new(Node::open(&url, 1, hurry).await?);
    testbed::client::query(&url, TROUBLE)?;
    let tell = |code: &str, about: &str| {
        let set = format!("UPDATE trouble SET code = '{code}', about = '{about}'");
        testbed::client::query(&url, &set)
    };
    let count = || one_value(testbed::client::query(&url, "SELECT count(*) FROM writes")?);

    let for_now = [
        "40001", // serialization
        "40P01", // deadlock
        "53100", // no room on the disk
        "53200", // no memory
        "55P03", // a lock that was not to be had
        "57014", // cancelled
        "25006", // read only
        "26000", // a prepared statement that is not known
        "slow",
    ];
    let mut stored = 0;
    for code in for_now {
        tell(code, "")?;
        let (_, answer, took) = node.accept_one().await;
        assert!(matches!(answer, Err(Error::Busy)), "{code}: {answer:?}");
        assert!(took < BOUND, "{code}: {took:?}");
        tell("", "")?;
        let (job_id, answer, _) = node.accept_one().await;
        assert!(answer.is_ok(), "after {code}: {answer:?}");
        assert!(node.find(job_id).await?.is_some());
        stored += 1;
    }
    for code in ["23514", "22021", "54000", "XX000"] {
        tell(code, "")?;
        let (_, answer, _) = node.accept_one().await;
        assert!(
            matches!(&answer, Err(Error::Database(why)) if why.contains("as told") && why.contains(code)),
            "{code}: {answer:?}"
        );
    }
    tell("", "")?;
    assert_eq!(count()?, stored.to_string());

    // One among many is refused: it alone is.
    let mut asks = JoinSet::new();
    let poison = node.write();
    let poisoned = poison.job_id;
    tell("23514", &poisoned.to_string())?;
    let mut writes: Vec<NewWrite> = (0..63).map(|_| node.write()).collect();
    writes.insert(30, poison);
    for write in writes {
        let node = node.clone();
        asks.spawn(async move { (write.job_id, node.accept(write).await) });
    }
    while let Some(asked) = asks.join_next().await {
        let (job_id, answer) = asked?;
        if job_id == poisoned {
            assert!(matches!(answer, Err(Error::Database(_))), "{answer:?}");
        } else {
            assert_eq!(answer?, Acceptance::Accepted);
        }
    }
    assert_eq!(count()?, (stored + 63).to_string());

    // The same of what is announced with the end of a write.
    let mut finishes = Vec::new();
    let claim = Claim {
        lanes: vec![ask(node.integration_id, 20)],
        now: START,
        lease_until: START.plus_millis(60_000),
    };
    let lanes = node.store.writes_claim(claim).await?;
    for write in lanes.into_iter().flat_map(|lane| lane.writes) {
        let x_id = format!("x{}", write.ticket.seq);
        finishes.push((write.job_id, node.confirmed(write.ticket, &x_id, START)));
    }
    let poisoned = finishes[7].0;
    tell("23514", &poisoned.to_string())?;
    let mut asks = JoinSet::new();
    for (job_id, finish) in finishes {
        let store = node.store.clone();
        asks.spawn(async move { (job_id, store.attempt_finish(&finish).await, finish) });
    }
    let mut again = None;
    while let Some(asked) = asks.join_next().await {
        let (job_id, answer, finish) = asked?;
        if job_id == poisoned {
            assert!(matches!(answer, Err(Error::Database(_))), "{answer:?}");
            again = Some(finish);
        } else {
            assert_eq!(answer?, WriteStatus::Success);
        }
    }
    let records = || {
        let sql = "SELECT count(*) FROM records WHERE kind = 'prospect'";
        one_value(testbed::client::query(&url, sql)?)
    };
    assert_eq!(records()?, "19");
    tell("", "")?;
    let status = node
        .store
        .attempt_finish(&again.ok_or("it was asked")?)
        .await?;
    assert_eq!(status, WriteStatus::Success);
    assert_eq!(records()?, "20");
    node.store.close().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_a_free_connection_is_busy_until_it_has_one() -> Outcome {
    let Some(mut server) = server(Options::throw_away())? else {
        return Ok(());
    };
    let own = "CREATE ROLE portico LOGIN PASSWORD 'a-password'";
    server.query(own)?;
    server.query(&format!("ALTER DATABASE {DATABASE} OWNER TO portico"))?;
    let url = format!(
        "postgres://portico:a-password@127.0.0.1:{}/{DATABASE}",
        server.port()
    );
    let node = Node::open(&url, 1, |_| {}).await?;
    let known = node.goes_on().await?;

    server.query("ALTER ROLE portico CONNECTION LIMIT 0")?;
    assert!(cut(&server.url(DATABASE))? > 0);
    let begun = Instant::now();
    while node.find(known).await.is_ok() {
        assert!(begun.elapsed() < PATIENCE, "connections are cut");
    }
    for _ in 0..20 {
        let (_, answer, took) = node.accept_one().await;
        assert_is_busy(&answer);
        assert!(took < BOUND, "{took:?}");
        assert_is_busy(&node.find(known).await);
    }
    let refused = Node::open(&url, 2, |_| {}).await.err();
    let refused = refused.map(|why| why.to_string()).unwrap_or_default();
    assert!(refused.contains("too many connections"), "{refused}");
    assert!(!refused.contains("a-password"), "{refused}");

    server.query("ALTER ROLE portico CONNECTION LIMIT -1")?;
    node.goes_on().await?;
    assert!(node.find(known).await?.is_some());

    // A server that was restarted meanwhile is not noticed by the next callers, unless the node
    // itself looked while it was down, which a slow restart gives it the time for.
    let begun = Instant::now();
    loop {
        tokio::task::block_in_place(|| server.stop().and_then(|()| server.start_again()))?;
        let (_, answer, _) = node.accept_one().await;
        let mut is_unseen = answer.is_ok();
        for _ in 0..10 {
            is_unseen &= node.find(known).await.is_ok_and(|found| found.is_some());
        }
        if is_unseen {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "each restart is noticed");
        node.goes_on().await?;
    }
    node.store.close().await;
    Ok(())
}

/// Whether `listener` hears that `teller` has a write that is due, within [`PATIENCE`].
async fn hears(listener: &Node, teller: &Node) -> Outcome {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        let signal = listener.store.signals().due();
        if teller.accept_one().await.1.is_ok() {
            let _ = tokio::time::timeout(Duration::from_millis(500), signal).await;
        }
        let due = listener.store.signals().take_due();
        if due.contains(&teller.integration_id) {
            return Ok(());
        }
    }
    Err("what another node does is not heard of".into())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_listens_goes_on_and_looks_for_what_it_missed() -> Outcome {
    let Some(server) = server(Options::throw_away())? else {
        return Ok(());
    };
    let url = server.url(DATABASE);
    let (one, other) = (
        Node::open(&url, 1, |_| {}).await?,
        Node::open(&url, 2, |_| {}).await?,
    );
    hears(&one, &other).await?;
    hears(&other, &one).await?;
    // What nobody understands is nobody's.
    let odd = [
        "",
        "not json",
        "[]",
        "{\"from\":7}",
        "{\"from\":\"x\",\"due\":[\"no id\"]}",
        "{\"from\":\"x\",\"new\":[1]}",
    ];
    for payload in odd {
        testbed::client::query(&url, &format!("NOTIFY portico, '{payload}'"))?;
    }
    hears(&one, &other).await?;

    let signals = one.store.signals();
    signals.take_missed_due();
    signals.take_missed_deliveries();
    assert!(cut(&url)? > 0);
    let begun = Instant::now();
    while !(signals.take_missed_due() && signals.take_missed_deliveries()) {
        assert!(begun.elapsed() < PATIENCE, "what was missed is looked for");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    hears(&one, &other).await?;
    hears(&other, &one).await?;
    one.store.close().await;
    other.store.close().await;
    Ok(())
}

/// Asks for changes, reads and readiness at once. Returns how many of them were not answered.
async fn failures(node: &Arc<Node>) -> Outcome<usize> {
    let mut tasks = JoinSet::new();
    for _ in 0..8 {
        let node = node.clone();
        tasks.spawn(async move {
            let mut failed = Vec::new();
            for _ in 0..5 {
                let (job_id, accepted, _) = node.accept_one().await;
                let found = node.find(job_id).await;
                let is_found = match &found {
                    Ok(found) => accepted.is_err() || found.is_some(),
                    Err(_) => true,
                };
                assert!(is_found, "an accepted write is found");
                let ready = node.store.check().await;
                let all = [accepted.map(drop), found.map(drop), ready];
                failed.extend(all.into_iter().filter_map(Result::err));
            }
            failed
        });
    }
    let mut count = 0;
    while let Some(failed) = tasks.join_next().await {
        let failed = failed?;
        failed.iter().for_each(assert_is_turned_away);
        count += failed.len();
    }
    Ok(count)
}

/// A node wants six: one that changes, one that listens, four that read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_works_with_as_few_connections_as_it_is_given() -> Outcome {
    let Some(server) = server(Options::throw_away())? else {
        return Ok(());
    };
    for limit in 1..=6 {
        let name = format!("few_{limit}");
        server.query(&format!(
            "CREATE ROLE {name} LOGIN PASSWORD 's3cret' CONNECTION LIMIT {limit}"
        ))?;
        server.database_create(&name)?;
        server.query(&format!("ALTER DATABASE {name} OWNER TO {name}"))?;
        let port = server.port();
        let url = format!("postgres://{name}:s3cret@127.0.0.1:{port}/{name}");
        let node = Arc::new(Node::open(&url, limit, |_| {}).await?);
        assert_eq!(failures(&node).await?, 0, "of {limit} connections");

        // All come back at once, and the one that changes the database gets its place.
        cut(&server.url(&name))?;
        node.goes_on().await?;
        let begun = Instant::now();
        while failures(&node).await? > 0 {
            assert!(begun.elapsed() < PATIENCE, "of {limit} connections");
        }
        if limit == 1 {
            // It takes more when there are more.
            server.query(&format!("ALTER ROLE {name} CONNECTION LIMIT -1"))?;
            let connections = format!("SELECT 1 FROM pg_stat_activity WHERE usename = '{name}'");
            while server.query(&connections)?.len() < 2 {
                assert!(begun.elapsed() < 3 * PATIENCE, "it asks for more");
                assert_eq!(failures(&node).await?, 0);
            }
        }
        node.store.close().await;
    }
    Ok(())
}

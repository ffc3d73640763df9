//! The whole app in one test: the real store on disk, the real worker, the real connector over loopback, on a clock that the test moves.
//!
//! Guarantee: nothing is replaced but time, randomness and the socket in front of the router. A [`TestApp`] can be stopped and started on the same
//! data; every wait has an end.

pub mod clock;
pub mod customer;
pub mod operations;
pub mod place;
pub mod receiver;

use std::{
    fmt::Display,
    sync::Arc,
    time::{Duration, Instant},
};

use app::{App, Role};
use axum::{
    body::Body,
    http::{Request, StatusCode},
};
use connectors::{
    Registry, VENDORS,
    connector::Definition,
    knock::sandbox::{Options, Sandbox},
};
use http_body_util::BodyExt;
use model::{
    Actor, AttributionId, Clock, CommunityId, Entropy, IntegrationId, KeyId, Permission, Scope,
    Secret, Timestamp, Vendor, WebhookId,
    directory::{Attribution, Community, Integration, Settings},
    id::TriggerId,
    key::{self, Key, System},
    network::Network,
    webhook::{Subscribed, Trigger, Webhook},
};
use portico_http::{cache::depths::Depths, limits::rates::RATE_LIMIT_DEFAULT, metrics::Metrics};
use serde_json::{Value, json};
use store::{Registration, Sealer, Store, retention::Retention};
pub use testbed::{self as postgres, not_tested};
use tokio::task::JoinHandle;
use tower::ServiceExt;
use webhooks::{
    client::Client,
    guard::{Guard, Ports},
    resolver::SystemLookup,
};

use crate::{
    clock::{MockClock, Seeded},
    place::Place,
    receiver::TestReceiver,
};

/// Real time that a wait may take before it counts as lost.
const PATIENCE: Duration = Duration::from_secs(60);

/// What deliveries to every receiver are signed with.
pub const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// Longer than any lease, and a sweep.
const LEASES_MS: i64 = 60_000;

/// How long a wait pauses before it looks again: twice as long each time, since looking takes
/// processor time that the app needs.
const LOOK_FIRST: Duration = Duration::from_millis(5);
const LOOK_MAX: Duration = Duration::from_millis(40);

/// How long, in real time, a due write may wait to be claimed before the app's time goes on. A pace
/// or a breaker may hold it, so that nothing claims it until then.
const CLAIM_MAX: Duration = Duration::from_millis(200);

/// How long, in real time, the app's time waits for an attempt that is under way.
const UNDER_WAY_MAX: Duration = Duration::from_secs(5);

/// What a test returns.
pub type Outcome<T = ()> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// An error in words.
pub fn wrong(why: impl Display) -> Box<dyn std::error::Error + Send + Sync> {
    why.to_string().into()
}

/// The texts that are somewhere in `bytes`. One pass over the bytes: a search for each text takes an
/// unoptimised build most of a minute on a data directory.
pub fn found_in<'a, T: AsRef<[u8]>>(bytes: &[u8], texts: &'a [T]) -> Vec<&'a T> {
    let mut begins = [false; 256];
    for text in texts {
        if let Some(first) = text.as_ref().first() {
            begins[usize::from(*first)] = true;
        }
    }
    let mut is_found = vec![false; texts.len()];
    for (place, byte) in bytes.iter().enumerate() {
        if begins[usize::from(*byte)] {
            for (text, is_found) in texts.iter().zip(&mut is_found) {
                *is_found |= bytes[place..].starts_with(text.as_ref());
            }
        }
    }
    let all = texts.iter().zip(is_found);
    all.filter_map(|(text, is_found)| is_found.then_some(text))
        .collect()
}

/// Whoever works at the machine itself.
pub fn operator() -> Actor {
    #[expect(clippy::disallowed_methods, reason = "a test may act as the operator")]
    Actor::local(Scope::operator())
}

/// A customer of the vendor at `base_url`: an integration with one community and one attribution,
/// by the vendor's names of them.
pub fn customer(
    base_url: String,
    (x_id, source): (&str, &str),
    now: Timestamp,
    entropy: &dyn Entropy,
) -> Registration {
    let integration_id = IntegrationId::new(now, entropy);
    let community_id = CommunityId::new(now, entropy);
    Registration {
        integration: Integration::new(
            integration_id,
            "a vendor".to_owned(),
            Vendor::named("KNOCK"),
            System::Sandbox,
            Settings {
                max_job_concurrency: 8,
                ..Settings::new(base_url)
            },
            Secret::new("syndication-prospect-TEST-KEY"),
        ),
        communities: vec![Community {
            id: community_id,
            integration_id,
            x_id: x_id.to_owned(),
            name: "a community".to_owned(),
            timezone: "America/Los_Angeles".to_owned(),
            phone_region: None,
            active: true,
        }],
        attributions: vec![Attribution {
            id: AttributionId::new(now, entropy),
            integration_id,
            x_id: source.to_owned(),
            name: source.to_owned(),
            community_ids: vec![community_id],
            active: true,
        }],
        agents: Vec::new(),
    }
}

/// A call of a sandbox's control surface, `path` without its root. Returns what was answered.
///
/// # Errors
/// When it is not answered with 200.
pub async fn control(address: &str, method: &str, path: &str, body: &Value) -> Outcome<Value> {
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    let request = format!(
        "{method} /_sandbox{path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let address = address.to_owned();
    let answer = tokio::task::spawn_blocking(move || -> std::io::Result<String> {
        let mut stream = std::net::TcpStream::connect(address)?;
        std::io::Write::write_all(&mut stream, request.as_bytes())?;
        std::io::read_to_string(stream)
    });
    let answer = answer.await??;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    if head.starts_with("HTTP/1.1 200") {
        Ok(serde_json::from_str(body)?)
    } else {
        Err(wrong(answer))
    }
}

/// A vendor: an integration of its own, and the sandbox it writes to.
pub struct TestVendor {
    /// Told to fail, and looked into.
    pub sandbox: Sandbox,
    /// Its integration.
    pub integration_id: IntegrationId,
    community_id: CommunityId,
    attribution_id: AttributionId,
    address: String,
    serving: JoinHandle<std::io::Result<()>>,
}

impl TestVendor {
    /// A call of the sandbox's control surface, `path` without its root.
    ///
    /// # Errors
    /// When it is not answered with 200.
    pub async fn control(&self, method: &str, path: &str, body: Value) -> Outcome {
        control(&self.address, method, path, &body).await.map(drop)
    }

    /// The vendor's id of its community.
    ///
    /// # Errors
    /// When the sandbox has none.
    pub fn x_community_id(&self) -> Outcome<String> {
        let state = self.sandbox.state();
        let id = state["communities"][0]["id"].as_str();
        Ok(id.ok_or("the sandbox has a community")?.to_owned())
    }
}

/// Portico, whole.
pub struct TestApp {
    /// Its time.
    pub clock: Arc<MockClock>,
    /// Its vendors, an integration each.
    pub vendors: Vec<TestVendor>,
    entropy: Arc<Seeded>,
    token: Secret,
    definitions: &'static [&'static Definition],
    running: Option<App>,
    /// Dropped after what runs on it.
    place: Place,
}

impl TestApp {
    /// Starts it with `vendors` vendors on an empty store, where [`place`] says.
    ///
    /// # Errors
    /// When any part cannot be started.
    pub async fn start(vendors: usize) -> Outcome<Self> {
        let mut app = Self::empty(VENDORS).await?;
        let store = app.open().await?;
        for _ in 0..vendors {
            let vendor = app.vendor(&store).await?;
            app.vendors.push(vendor);
        }
        store.close().await;
        app.resume().await?;
        Ok(app)
    }

    /// One of a build with these vendors, which is not running yet.
    async fn empty(definitions: &'static [&'static Definition]) -> Outcome<Self> {
        let clock = Arc::new(MockClock::default());
        let entropy = Arc::new(Seeded::default());
        let (token, kept) = key::token_make(System::Sandbox, &*entropy, clock.now())?;
        let app = Self {
            clock,
            vendors: Vec::new(),
            entropy,
            token,
            definitions,
            running: None,
            place: Place::new()?,
        };
        let store = app.open().await?;
        let id = KeyId::new(app.clock.now(), &*app.entropy);
        let key = Key::new(id, "test", System::Sandbox, &Permission::ALL, None, kept);
        store.key_create(&operator(), key).await?;
        store.close().await;
        Ok(app)
    }

    /// Has the next start be that of a build with these vendors.
    pub fn rebuild(&mut self, definitions: &'static [&'static Definition]) {
        self.definitions = definitions;
    }

    /// Where it stores.
    pub fn place(&self) -> &Place {
        &self.place
    }

    async fn open(&self) -> Outcome<Arc<Store>> {
        let sealer = Sealer::new(&Secret::new("5e".repeat(32)), self.entropy.clone())?;
        let observer = Arc::new(Metrics::default());
        let store = self.place.open(sealer, observer, self.clock.now()).await?;
        store.signals().time().keep(self.clock.clone());
        Ok(store)
    }

    async fn vendor(&self, store: &Store) -> Outcome<TestVendor> {
        let sandbox = Sandbox::new(Options::new(self.clock.clone())).map_err(wrong)?;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        let base_url = format!("http://{address}");
        let serving = tokio::spawn(sandbox.clone().serve(listener, std::future::pending()));

        let seeded = sandbox.state();
        let x_id = seeded["communities"][0]["id"].clone();
        let source = seeded["sources"]
            .as_array()
            .and_then(|all| {
                all.iter().find(|one| {
                    one["communityIds"]
                        .as_array()
                        .is_some_and(|ids| ids.contains(&x_id))
                })
            })
            .and_then(|one| one["sourceTitle"].as_str())
            .ok_or("the sandbox has a source for its first community")?
            .to_owned();
        let now = self.clock.now();
        let x_id = x_id.as_str().unwrap_or_default();
        let registration = customer(base_url, (x_id, &source), now, &*self.entropy);
        let integration_id = registration.integration.id;
        let community_id = registration.communities[0].id;
        let attribution_id = registration.attributions[0].id;
        store
            .integration_register(&operator(), registration, now)
            .await?;
        Ok(TestVendor {
            sandbox,
            integration_id,
            community_id,
            attribution_id,
            address,
            serving,
        })
    }

    /// Starts it on the data it has, as after [`TestApp::stop`].
    ///
    /// # Errors
    /// When any part cannot be started.
    pub async fn resume(&mut self) -> Outcome {
        let registry = Registry::new(
            self.definitions,
            std::collections::BTreeMap::new(),
            &["http://127.0.0.1:*".to_owned()],
        )?;
        let receivers = Client::new(
            Guard::new(true, ["127.0.0.0/8".parse::<Network>()?], [Ports::ANY])?,
            Arc::new(SystemLookup::default()),
        )?;
        let app = App::start(app::Setup {
            store: self.open().await?,
            registry,
            metrics: Arc::new(Metrics::default()),
            timer: self.clock.clone(),
            entropy: self.entropy.clone(),
            rate_limit: RATE_LIMIT_DEFAULT,
            role: Role::All,
            retention: Retention::default(),
            receivers,
            delivery: delivery::Settings::default(),
            announcer: webhooks::announcer::Settings {
                // Receivers that hang do so for good.
                drain_ms: 200,
                ..webhooks::announcer::Settings::default()
            },
            // What was seen a moment ago is another time of the test's clock.
            depths: Depths::kept(Duration::ZERO),
            vendor_forgets: None,
        });
        self.running = Some(app.await?);
        Ok(())
    }

    /// Moves its time on until what it held at its last stop is held no more: where other processes may be at work on the store, that stays under its leases.
    ///
    /// # Errors
    /// When the app is stopped.
    pub fn leases_outlive(&self) -> Outcome {
        if self.store()?.is_shared() {
            self.clock.advance_ms(LEASES_MS);
        }
        Ok(())
    }

    /// Has several workers take the place of the one that it has, as in several processes, one with each of `settings`. A signal wakes one of them; the others find what is
    /// due at their next sweep.
    ///
    /// # Errors
    /// When the app is stopped.
    pub async fn work_in_parallel(&mut self, settings: &[delivery::Settings]) -> Outcome {
        let running = self.running.as_mut().ok_or("the app is stopped")?;
        for worker in std::mem::take(&mut running.workers) {
            worker.stop().await;
        }
        let (timer, entropy) = (self.clock.clone(), self.entropy.clone());
        let parts = &running.parts;
        let worker = |settings: &delivery::Settings| {
            delivery::start(delivery::Parts {
                store: parts.store.clone(),
                registry: parts.registry.clone(),
                tokens: parts.tokens.clone(),
                live: parts.live.clone(),
                timer: timer.clone(),
                entropy: entropy.clone(),
                observer: parts.metrics.clone(),
                settings: settings.clone(),
            })
        };
        running.workers = settings.iter().map(worker).collect();
        Ok(())
    }

    /// Stops it as a signal would; the data stays.
    pub async fn stop(&mut self) {
        if let Some(mut running) = self.running.take() {
            running.rest().await;
            running.stop().await;
        }
    }

    /// Stops delivering events until the next start, for a test that claims them itself.
    pub async fn silence(&mut self) {
        let announcer = self.running.as_mut().and_then(|one| one.announcer.take());
        if let Some(announcer) = announcer {
            announcer.stop().await;
        }
    }

    fn running(&self) -> Outcome<&App> {
        self.running
            .as_ref()
            .ok_or_else(|| wrong("the app is stopped"))
    }

    /// The store, as the app has it.
    ///
    /// # Errors
    /// When the app is stopped.
    pub fn store(&self) -> Outcome<&Store> {
        Ok(&*self.running()?.parts.store)
    }

    /// Sends a request with the app's key. Returns status and body.
    ///
    /// # Errors
    /// When the answer is not JSON.
    pub async fn send(
        &self,
        method: &str,
        path: &str,
        body: Option<Value>,
    ) -> Outcome<(u16, Value)> {
        self.send_with(method, path, &[], body).await
    }

    /// The same with these headers besides.
    ///
    /// # Errors
    /// When the answer is not JSON.
    pub async fn send_with(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Value>,
    ) -> Outcome<(u16, Value)> {
        self.send_as(self.token.expose(), method, path, headers, body)
            .await
    }

    /// The same with another key's token.
    ///
    /// # Errors
    /// When the answer is not JSON.
    pub async fn send_as(
        &self,
        token: &str,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Value>,
    ) -> Outcome<(u16, Value)> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "portico")
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request =
            request.body(body.map_or_else(Body::empty, |body| Body::from(body.to_string())))?;
        let answer = self.running()?.router().oneshot(request).await?;
        let status = answer.status().as_u16();
        let bytes = answer.into_body().collect().await?.to_bytes();
        Ok((status, serde_json::from_slice(&bytes)?))
    }

    /// Makes a key with these permissions, and further members of `more`. Returns its id and its
    /// token.
    ///
    /// # Errors
    /// When it is not made.
    pub async fn key(&self, permissions: &[&str], more: Value) -> Outcome<(String, String)> {
        let mut body = json!({ "name": "made", "system": "SANDBOX", "permissions": permissions });
        if let (Some(body), Value::Object(more)) = (body.as_object_mut(), more) {
            body.extend(more);
        }
        let (status, made) = self.send("POST", "/v1/admin/keys", Some(body)).await?;
        match (made["result"]["id"].as_str(), made["token"].as_str()) {
            (Some(id), Some(token)) if status == 200 => Ok((id.to_owned(), token.to_owned())),
            _ => Err(wrong(made)),
        }
    }

    /// True if the app takes `token`.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn takes(&self, token: &str) -> Outcome<bool> {
        let request = Request::builder()
            .uri("/crm/v1/prospects")
            .header("host", "portico")
            .header("authorization", format!("Bearer {token}"))
            .body(Body::empty())?;
        let answer = self.running()?.router().oneshot(request).await?;
        Ok(answer.status() != StatusCode::UNAUTHORIZED)
    }

    /// The text of the metrics.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn metrics(&self) -> Outcome<String> {
        let request = Request::builder()
            .uri("/metrics")
            .header("host", "portico")
            .body(Body::empty())?;
        let answer = self.running()?.router().oneshot(request).await?;
        let bytes = answer.into_body().collect().await?.to_bytes();
        Ok(String::from_utf8(bytes.to_vec())?)
    }

    /// Subscribes `receiver` to `triggers`, to begin at once. Returns the subscription's id.
    ///
    /// # Errors
    /// When it cannot be stored.
    pub async fn subscribe(
        &self,
        receiver: &TestReceiver,
        triggers: &[Trigger],
    ) -> Outcome<WebhookId> {
        let (now, entropy) = (self.clock.now(), &*self.entropy);
        let triggers = triggers.iter().map(|trigger| Subscribed {
            id: TriggerId::new(now, entropy),
            trigger: *trigger,
            kind: None,
        });
        let webhook = Webhook {
            id: WebhookId::new(now, entropy),
            url: receiver.url.clone(),
            headers: Vec::new(),
            triggers: triggers.collect(),
            active: true,
            system: System::Sandbox,
            object_style: Default::default(),
            integrations: None,
            secret: Secret::new(SECRET),
            previous: Vec::new(),
            failing_since: None,
            disabled: None,
            created_by: None,
            created_at: now,
            updated_at: now,
        };
        let id = webhook.id;
        self.store()?.webhook_create(&operator(), webhook).await?;
        Ok(id)
    }

    /// The body of a prospect for `vendor`, known by `email`.
    ///
    /// # Errors
    /// When there is no such vendor.
    pub fn prospect_body(&self, vendor: usize, email: &str) -> Outcome<Value> {
        let vendor = self.vendors.get(vendor).ok_or("no such vendor")?;
        Ok(json!({
            "integration_id": vendor.integration_id,
            "community_id": vendor.community_id,
            "attribution_id": vendor.attribution_id,
            "first_name": "Ada",
            "email_1": email,
        }))
    }

    /// Has a prospect accepted for `vendor`, known by `email`. Returns the job id.
    ///
    /// # Errors
    /// When it is not accepted.
    pub async fn prospect_create(&self, vendor: usize, email: &str) -> Outcome<String> {
        let body = self.prospect_body(vendor, email)?;
        let (status, answer) = self
            .send("POST", "/crm/v1/prospects/knock", Some(body))
            .await?;
        match answer["meta"]["job_id"].as_str() {
            Some(job_id) if status == 200 => Ok(job_id.to_owned()),
            _ => Err(wrong(answer)),
        }
    }

    /// How a write stands now.
    ///
    /// # Errors
    /// When it is not known.
    pub async fn write_status(&self, job_id: &str) -> Outcome<Value> {
        let path = format!("/v1/admin/write-status/{job_id}");
        match self.send("GET", &path, None).await? {
            (200, answer) => Ok(answer),
            (_, answer) => Err(wrong(answer)),
        }
    }

    /// Waits, in real time, until `look` finds something; the app's time stands still meanwhile.
    ///
    /// # Errors
    /// When it does not within a minute.
    pub async fn until<T>(
        &self,
        what: &str,
        mut look: impl AsyncFnMut() -> Outcome<Option<T>>,
    ) -> Outcome<T> {
        let found = tokio::time::timeout(PATIENCE, async {
            let mut pause = LOOK_FIRST;
            loop {
                if let Some(found) = look().await? {
                    return Ok(found);
                }
                tokio::time::sleep(pause).await;
                pause = (2 * pause).min(LOOK_MAX);
            }
        });
        found
            .await
            .map_err(|_| wrong(format!("waited in vain: {what}")))?
    }

    /// Waits until a write has ended; the app's time stands still meanwhile. Returns how it stands.
    ///
    /// # Errors
    /// As [`TestApp::until`].
    pub async fn ended(&self, job_id: &str) -> Outcome<Value> {
        self.until(job_id, async || {
            let write = self.write_status(job_id).await?;
            Ok((write["write_status"] != "PENDING").then_some(write))
        })
        .await
    }

    /// Moves the app's time on, a step at a time, until a write has ended; gives up after `steps`.
    /// The worker and its calls run in real time, so the app's time stands still while an attempt is
    /// under way: on a busy machine it would end the attempt's lease.
    ///
    /// # Errors
    /// When it has not ended by then.
    pub async fn ended_within(&self, job_id: &str, step_ms: i64, steps: u32) -> Outcome<Value> {
        for _ in 0..steps {
            let (begun, mut pause) = (Instant::now(), LOOK_FIRST);
            loop {
                let write = self.write_status(job_id).await?;
                if write["write_status"] != "PENDING" {
                    return Ok(write);
                }
                let patience = match write["next_attempt_at"].as_str() {
                    // Under a lease, or behind another write.
                    None => UNDER_WAY_MAX,
                    Some(at) if Timestamp::parse(at)? <= self.clock.now() => CLAIM_MAX,
                    Some(_) => Duration::ZERO,
                };
                if begun.elapsed() >= patience {
                    break;
                }
                tokio::time::sleep(pause).await;
                pause = (2 * pause).min(LOOK_MAX);
            }
            self.clock.advance_ms(step_ms);
        }
        self.ended(job_id).await
    }
}

impl Drop for TestVendor {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

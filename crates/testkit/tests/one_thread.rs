//! Goal: a simulation can run the real app on one thread, on a simulated network. Method: the app is
//! started with a store on its caller's thread, with connections that are pairs of pipes and with a
//! vendor that is a function. A prospect comes in over HTTP and is confirmed; no thread is made.

use std::{
    io,
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, Mutex},
    time::Duration,
};

use app::{App, Role, Setup};
use connectors::{
    Registry, VENDORS,
    dial::{Dial, Unanswered, Way},
};
use listener::serve::Listen;
use model::{
    Clock as _, KeyId, Permission, Secret,
    key::{Key, System, token_make},
};
use portico_http::{cache::depths::Depths, limits::rates::RATE_LIMIT_DEFAULT, metrics::Metrics};
use serde_json::{Value, json};
use store::{Sealer, Store, Unobserved, retention::Retention, sqlite};
use testkit::{
    Outcome,
    clock::{MockClock, Seeded},
    customer, operator, wrong,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex},
    sync::mpsc,
};
use webhooks::{client::Client, guard::Guard, resolver::SystemLookup};

/// Where the vendor is said to be: nothing is there.
const VENDOR: &str = "https://knock.example";

/// Bytes that a pipe holds.
const PIPE_BYTES: usize = 64 * 1_024;

/// Connections, as they are made.
struct Pipes(tokio::sync::Mutex<mpsc::Receiver<DuplexStream>>);

impl Listen for Pipes {
    type Stream = DuplexStream;

    async fn accept(&self) -> io::Result<(DuplexStream, IpAddr)> {
        match self.0.lock().await.recv().await {
            Some(pipe) => Ok((pipe, Ipv4Addr::LOCALHOST.into())),
            None => std::future::pending().await,
        }
    }
}

/// A vendor that confirms every guest card and has nothing else; it notes the paths it is called at.
#[derive(Default)]
struct Knock(Mutex<Vec<String>>);

#[async_trait::async_trait]
impl Dial for Knock {
    async fn dial(&self, request: reqwest::Request) -> Result<reqwest::Response, Unanswered> {
        let path = request.url().path().to_owned();
        let (status, body) = match request.method().as_str() {
            "POST" => (200, r#"{"id":"4711"}"#),
            _ => (404, r#"{"errorMessage":"there is none"}"#),
        };
        self.0
            .lock()
            .map_err(|why| Unanswered::Lost(why.to_string()))?
            .push(path);
        let answer = http::Response::builder()
            .status(status)
            .header("content-type", "application/json")
            .body(body)
            .map_err(|why| Unanswered::Lost(why.to_string()))?;
        Ok(answer.into())
    }
}

/// Threads of this process.
fn threads() -> io::Result<usize> {
    Ok(std::fs::read_dir("/proc/self/task")?.count())
}

/// Registers a customer of the vendor. Returns a body for a prospect of theirs.
async fn register(store: &Store, clock: &MockClock, entropy: &Seeded) -> Outcome<Value> {
    let now = clock.now();
    let registration = customer(VENDOR.to_owned(), ("harbor", "Zillow"), now, entropy);
    let body = json!({
        "integration_id": registration.integration.id,
        "community_id": registration.communities[0].id,
        "attribution_id": registration.attributions[0].id,
        "first_name": "Ada",
        "email_1": "ada@example.com",
    });
    store
        .integration_register(&operator(), registration, now)
        .await?;
    Ok(body)
}

/// Sends a request over a connection of its own, and reads the answer.
async fn ask(dialled: &mpsc::Sender<DuplexStream>, request: String) -> Outcome<String> {
    let (mut own, pipe) = duplex(PIPE_BYTES);
    dialled.send(pipe).await?;
    own.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    own.read_to_string(&mut answer).await?;
    Ok(answer)
}

#[tokio::test]
async fn the_whole_app_runs_on_its_callers_thread() -> Outcome {
    let before = threads()?;
    let (clock, entropy) = (Arc::new(MockClock::default()), Arc::new(Seeded::default()));
    let folder = tempfile::tempdir()?;
    let sealer = Sealer::new(&Secret::new("5e".repeat(32)), entropy.clone())?;
    let path = folder.path().join("portico.db");
    let store = sqlite::open_on_caller(&path, sealer, Arc::new(Unobserved), clock.now())?;
    store.signals().time().keep(clock.clone());
    let (token, kept) = token_make(System::Sandbox, &*entropy, clock.now())?;
    let id = KeyId::new(clock.now(), &*entropy);
    let key = Key::new(id, "one", System::Sandbox, &Permission::ALL, None, kept);
    store.key_create(&operator(), key).await?;
    let body = register(&store, &clock, &entropy).await?.to_string();

    let knock = Arc::new(Knock::default());
    let way = Way::Simulated(knock.clone());
    let guard = Guard::new(false, Vec::new(), Vec::new())?;
    let mut app = App::start(Setup {
        store: Arc::new(store),
        registry: Registry::over(way.clone(), VENDORS, [].into(), &[VENDOR.to_owned()])?,
        metrics: Arc::new(Metrics::default()),
        timer: clock.clone(),
        entropy,
        rate_limit: RATE_LIMIT_DEFAULT,
        role: Role::All,
        retention: Retention::default(),
        receivers: Client::new(guard, Arc::new(SystemLookup::default()))?.over(way),
        delivery: delivery::Settings::default(),
        announcer: webhooks::announcer::Settings::default(),
        depths: Depths::default(),
        vendor_forgets: None,
    })
    .await?;
    let (dialled, dials) = mpsc::channel(1);
    let asked = async {
        let request = format!(
            "POST /crm/v1/prospects/knock HTTP/1.1\r\nhost: portico\r\nconnection: close\r\n\
             authorization: Bearer {}\r\nprefer: wait=30\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            token.expose(),
            body.len()
        );
        ask(&dialled, request).await
    };
    let pipes = Pipes(tokio::sync::Mutex::new(dials));
    let settings = listener::serve::Settings::default();
    let served = app.serve(pipes, settings, std::future::pending(), Duration::ZERO);
    let answer = tokio::select! {
        answer = asked => answer?,
        ended = served => return Err(wrong(format!("{ended:?}"))),
    };
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains(r#""write_status":"SUCCESS""#), "{answer}");
    let called = knock.0.lock().map_err(wrong)?.clone();
    assert!(
        called.iter().any(|path| path.contains("prospect")),
        "{called:?}"
    );
    assert_eq!(threads()?, before, "a thread was made");
    app.rest().await;
    assert!(app.stop().await);
    assert_eq!(threads()?, before, "a thread was made at the end");
    Ok(())
}

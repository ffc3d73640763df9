//! The master key is replaced while the server is under load.
//!
//! Goal: with two thousand integrations not one request fails, a replacement that is killed goes on when it is run again, and afterwards the old key is
//! of no use. Method: the real server, sandbox and command line, on one data directory that was filled through the store.

use crate::support;

use std::{
    io::{BufRead, BufReader},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Child, Command, Output, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use model::{
    Entropy, IntegrationId, Secret, Timestamp, Vendor,
    directory::{Integration, Settings},
    key::System,
};
use serde_json::{Value, json};
use store::{Registration, Sealer, Store, Unobserved};
use support::{Caller, PATIENCE, Stage, text, with};

/// Integrations in the store.
const INTEGRATIONS: u64 = 2_000;

/// Registrations under way at once, so that they share commits.
const AT_ONCE: u64 = 500;

/// Callers that send and read without a pause.
const CALLERS: u64 = 2;

/// Writes that are accepted before the first replacement, and after the last.
const LOAD: u64 = 25;

/// How often a replacement is killed until one was caught in the middle.
const KILLS_MAX: u32 = 20;

/// Numbers in a row: for ids and nonces that differ.
struct Counted(AtomicU64);

impl Entropy for Counted {
    fn bytes(&self) -> [u8; 16] {
        let next = self.0.fetch_add(1, Ordering::Relaxed);
        u128::from(next)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
            .to_be_bytes()
    }
}

/// Opens the store in `data_dir` under the keys in `text`.
fn open(data_dir: &Path, text: &str) -> Result<Arc<Store>, store::Error> {
    let entropy = Arc::new(Counted(AtomicU64::new(1 << 40)));
    let sealer = Sealer::new(&Secret::new(text), entropy)?;
    let path = data_dir.join("portico.db");
    store::sqlite::open(&path, sealer, Arc::new(Unobserved), Timestamp::ZERO).map(Arc::new)
}

/// Fills the store up to [`INTEGRATIONS`]. They are not active: what they would read back from the vendor is not looked at here.
fn fill(data_dir: &Path, key: &str) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let store = Arc::new(open(data_dir, key).expect("the store opens"));
        let entropy = Arc::new(Counted(AtomicU64::new(1)));
        for begin in (1..INTEGRATIONS).step_by(usize::try_from(AT_ONCE).expect("few")) {
            let mut under_way = tokio::task::JoinSet::new();
            for _ in begin..(begin + AT_ONCE).min(INTEGRATIONS) {
                let (store, entropy) = (store.clone(), entropy.clone());
                under_way.spawn(async move {
                    let id = IntegrationId::new(Timestamp::ZERO, &*entropy);
                    let registration = Registration {
                        integration: Integration {
                            active: false,
                            ..Integration::new(
                                id,
                                "Filled".to_owned(),
                                Vendor::named("KNOCK"),
                                System::Sandbox,
                                Settings::new("http://127.0.0.1:1"),
                                Secret::new(format!("secret of {id}")),
                            )
                        },
                        communities: Vec::new(),
                        attributions: Vec::new(),
                        agents: Vec::new(),
                    };
                    store
                        .integration_register(&support::operator(), registration, Timestamp::ZERO)
                        .await
                });
            }
            while let Some(one) = under_way.join_next().await {
                one.expect("a task").expect("registered");
            }
        }
        store.close().await;
    });
}

/// Asserts that the keys in `text` open the store and every credential in it.
fn assert_opens(data_dir: &Path, text: &str) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let store = open(data_dir, text).expect("the store opens");
        let contents = store.directory_contents(0).await.expect("it is read");
        assert_eq!(contents.branches.len() as u64, INTEGRATIONS);
        for branch in &contents.branches[1..] {
            let one = &branch.integration;
            let is_whole = one.credential.expose() == format!("secret of {}", one.id);
            assert!(is_whole, "the credential of {}", one.id);
        }
        store.close().await;
    });
}

fn assert_refuses(data_dir: &Path, text: &str) {
    let refused = open(data_dir, text).err();
    assert!(
        matches!(refused, Some(store::Error::MasterKey(_))),
        "{refused:?}"
    );
}

fn portico(data_dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portico"));
    command
        .args(arguments)
        .arg("--data-dir")
        .arg(data_dir)
        .env("PORTICO_LOG", "error")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Replaces the master key and says what was done.
fn rotate(data_dir: &Path) -> Value {
    let output = portico(data_dir, &["keys", "rotate-master", "--json"])
        .output()
        .expect("portico runs");
    assert!(output.status.success(), "{}", said(&output));
    serde_json::from_slice(&output.stdout).expect("a line of JSON")
}

/// Begins to replace the master key, and kills that once some of the secrets are moved.
fn rotate_and_kill(data_dir: &Path) {
    let mut child: Child = portico(data_dir, &["keys", "rotate-master"])
        .spawn()
        .expect("portico runs");
    let mut progress = String::new();
    BufReader::new(child.stderr.take().expect("its stderr"))
        .read_line(&mut progress)
        .expect("a line");
    child.kill().expect("it can be killed");
    child.wait().expect("it ends");
}

/// What callers and the test share.
#[derive(Default)]
struct Load {
    accepted: AtomicU64,
    stop: AtomicBool,
}

impl Load {
    /// Waits until so many more writes were accepted.
    fn await_more(&self, count: u64) {
        let (begun, until) = (
            Instant::now(),
            self.accepted.load(Ordering::Relaxed) + count,
        );
        while self.accepted.load(Ordering::Relaxed) < until {
            assert!(begun.elapsed() < PATIENCE, "no load");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Sends and reads until told to stop. Returns the writes that were accepted.
fn call(caller: &Caller, references: &Value, number: u64, load: &Load) -> Vec<String> {
    let mut accepted = Vec::new();
    while !load.stop.load(Ordering::Relaxed) {
        let email = format!("rotation.{number}.{}@mail.example.com", accepted.len());
        let body = with(references, json!({ "email_1": email }));
        accepted.push(
            caller
                .send("POST", "/crm/v1/prospects/knock", &body)
                .job_id(),
        );
        load.accepted.fetch_add(1, Ordering::Relaxed);
        for path in [
            "/crm/v1/prospects?limit=5",
            "/crm/v1/communities",
            "/readyz",
        ] {
            let answer = caller.call("GET", path, &[], "").expect("an answer");
            assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        }
    }
    accepted
}

#[test]
fn a_master_key_is_replaced_under_load_and_no_request_fails() {
    let mut stage = Stage::set();
    let key_file = stage.dir.path().join("dev-master.key");
    let read = || std::fs::read_to_string(&key_file).expect("the key file");
    let first = read();
    stage.server.kill();
    fill(stage.dir.path(), &first);
    stage.restart_server();

    let (load, references) = (Load::default(), stage.references("Saguaro Flats"));
    let caller = stage.caller();
    let accepted: Vec<String> = std::thread::scope(|scope| {
        let callers: Vec<_> = (0..CALLERS)
            .map(|number| {
                let (caller, references, load) = (&caller, &references, &load);
                scope.spawn(move || call(caller, references, number, load))
            })
            .collect();
        let ended = std::panic::catch_unwind(|| {
            load.await_more(LOAD);
            let done = rotate(stage.dir.path());
            // The key of the audit log moves with the credentials.
            assert_eq!(done["moved"], INTEGRATIONS + 1, "{done}");
            assert_eq!(done["was_begun"], false, "{done}");
            assert!(!read().contains(&first) && read().split_whitespace().count() == 1);

            let kills = (1..=KILLS_MAX).find(|_| {
                rotate_and_kill(stage.dir.path());
                let keys = read();
                let mut alone = keys.split_whitespace();
                // In the middle, both keys are needed.
                alone.clone().count() == 2 && alone.all(|key| open(stage.dir.path(), key).is_err())
            });
            assert!(kills.is_some(), "no replacement was caught in the middle");
            // The running server, which reads its directory anew for this, learns of the new key.
            let output = portico(stage.dir.path(), &["keys", "create", "--name", "meanwhile"])
                .output()
                .expect("portico runs");
            assert!(output.status.success(), "{}", said(&output));
            let token = String::from_utf8(output.stdout).expect("a token");
            let meanwhile = caller.with_token(token.trim());
            let known = |_: &u32| {
                std::thread::sleep(Duration::from_millis(100));
                let answer = meanwhile.call("GET", "/crm/v1/communities", &[], "");
                answer.expect("an answer").status == 200
            };
            assert!((0..600).find(known).is_some(), "the key is not in force");

            let done = rotate(stage.dir.path());
            assert_eq!(done["was_begun"], true, "{done}");
            assert_eq!(done["replaced"].as_array().map(Vec::len), Some(1), "{done}");
            load.await_more(LOAD);
        });
        load.stop.store(true, Ordering::Relaxed);
        let accepted = callers
            .into_iter()
            .flat_map(|one| one.join().expect("no request failed"))
            .collect();
        if let Err(why) = ended {
            std::panic::resume_unwind(why);
        }
        accepted
    });
    for job_id in &accepted {
        assert_eq!(caller.end_of(job_id)["write_status"], "SUCCESS");
    }

    stage.server.kill();
    let last = read();
    assert_eq!(last.split_whitespace().count(), 1);
    assert_opens(stage.dir.path(), &last);
    assert_refuses(stage.dir.path(), &first);
    let old = stage.dir.path().join("old.key");
    std::fs::write(&old, &first).expect("written");
    std::fs::set_permissions(&old, PermissionsExt::from_mode(0o600)).expect("a mode");
    let old = text(&json!(old));
    let output = portico(
        stage.dir.path(),
        &[
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--master-key-file",
            &old,
        ],
    )
    .output()
    .expect("portico runs");
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    let why = said(&output);
    assert!(
        why.contains("are sealed under key") && why.contains("Start with that key"),
        "{why}"
    );

    stage.restart_server();
    let body = with(
        &references,
        json!({ "email_1": "after.rotation@mail.example.com" }),
    );
    stage
        .caller()
        .delivered("POST", "/crm/v1/prospects/knock", &body);
}

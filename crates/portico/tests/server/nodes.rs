//! Several nodes on one PostgreSQL database, and the command line beside them.
//!
//! Goal: any node takes any request and what is changed on one holds on all, a node does what its role says, and nobody ever sees the database's password. Method: the real
//! binary, a database of the test's own, and the sandbox.

use crate::support;

use std::{
    path::Path,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use support::{
    Answer, Caller, Node, PATIENCE, Process, portico, private, register, result, sandbox_state,
    text, with,
};
use testbed::Database;

/// How soon a change on one node is in force on the others.
const FOLLOWS_WITHIN: Duration = Duration::from_secs(1);

/// How often it is measured how soon: the machine may be busy with other tests for a moment.
const ROUNDS: usize = 5;

const MASTER_KEY: &str = "abababababababababababababababababababababababababababababababab";

/// A database, a sandbox, and a directory in which there is only the master key.
struct Place {
    database: Database,
    sandbox: Process,
    dir: tempfile::TempDir,
}

impl Place {
    /// Nothing where this machine has no PostgreSQL.
    fn make() -> Option<Self> {
        let database = Database::create().expect("a database")?;
        let dir = tempfile::tempdir().expect("a directory");
        private(&dir.path().join("master.key"), MASTER_KEY);
        Some(Self {
            database,
            sandbox: Process::sandbox(),
            dir,
        })
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn node(&self, role: &str) -> Node {
        Node::start(self.path(), self.database.url(), role)
    }

    /// A command that is to succeed; what it said on stdout.
    fn command(&self, arguments: &[&str]) -> String {
        let settings = [
            ("PORTICO_STORE", self.database.url()),
            ("PORTICO_MASTER_KEY_FILE", "master.key"),
        ];
        let (out, err, code) = portico(self.path(), &settings, arguments);
        assert_eq!(code, Some(0), "{arguments:?}: {err}");
        out.trim().to_owned()
    }

    /// The token of a new key that may do everything.
    fn token(&self) -> String {
        let all = "read,write,admin";
        self.command(&["keys", "create", "--name", "operator", "--permissions", all])
    }
}

fn ask(caller: &Caller, path: &str) -> Answer {
    caller.call("GET", path, &[], "").expect("an answer")
}

/// Whether the node takes the caller's key.
fn is_known(caller: &Caller) -> bool {
    ask(caller, "/v1/admin/integrations").status == 200
}

/// How long it takes from now until `holds`.
fn took(mut holds: impl FnMut() -> bool) -> Duration {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "it does not come to hold");
        std::thread::sleep(Duration::from_millis(5));
    }
    begun.elapsed()
}

/// Asserts that it takes no longer than it may, but for a round in which the machine was busy.
fn assert_follows(what: &str, mut rounds: Vec<Duration>) {
    rounds.sort_unstable();
    let median = rounds[rounds.len() / 2];
    assert!(median < FOLLOWS_WITHIN, "{what}: {rounds:?}");
}

#[test]
fn what_one_node_takes_another_delivers() {
    let Some(place) = Place::make() else { return };
    let (out, err, code) = portico(
        place.path(),
        &[("PORTICO_STORE", place.database.url())],
        &["keys", "list"],
    );
    assert_eq!((out.as_str(), code), ("", Some(1)));
    assert!(
        err.contains("there is no Portico data in PostgreSQL database"),
        "{err}"
    );

    let api = place.node("api");
    let token = place.token();
    let caller = api.caller(&token);
    took(|| is_known(&caller));
    let body = with(
        &register(&caller, &place.sandbox),
        json!({ "email_1": "ada@mail.example.com" }),
    );
    let job_id = caller
        .send("POST", "/crm/v1/prospects/knock", &body)
        .job_id();
    std::thread::sleep(Duration::from_millis(500));
    let status = |caller: &Caller| caller.get(&format!("/v1/admin/write-status/{job_id}"));
    assert_eq!(
        status(&caller)["write_status"],
        "PENDING",
        "nobody delivers"
    );
    assert_eq!(status(&caller)["attempts"], 0);
    assert_eq!(ask(&caller, "/readyz").status, 200);

    let mut worker = place.node("worker");
    assert_eq!(caller.end_of(&job_id)["write_status"], "SUCCESS");
    assert_eq!(
        sandbox_state(&place.sandbox)["prospects"]
            .as_array()
            .map(Vec::len),
        Some(1)
    );
    // Who waits for the end of a write is woken by the node that ended it.
    let body = with(&body, json!({ "email_1": "grace@mail.example.com" }));
    let answer = caller.call(
        "POST",
        "/crm/v1/prospects/knock",
        &[("prefer", "wait=20")],
        &body.to_string(),
    );
    let job_id = answer.expect("an answer").job_id();
    assert_eq!(
        caller.get(&format!("/v1/admin/write-status/{job_id}"))["write_status"],
        "SUCCESS"
    );

    let delivers = worker.caller(&token);
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(ask(&delivers, path).status, 200, "{path}");
    }
    for (method, path) in [
        ("POST", "/crm/v1/prospects/knock"),
        ("GET", "/v1/admin/keys/"),
        ("GET", "/openapi.json"),
        ("GET", "/docs"),
        ("GET", "/"),
    ] {
        let answer = delivers.send(method, path, &body);
        let told = answer.json();
        assert_eq!(
            (answer.status, &told["error"]["code"]),
            (404, &json!("not_found")),
            "{path}"
        );
        assert!(
            text(&told["error"]["message"]).contains("has the role `worker`"),
            "{told}"
        );
    }
    worker.kill();
    let body = with(&body, json!({ "email_1": "mary@mail.example.com" }));
    assert_eq!(
        caller.send("POST", "/crm/v1/prospects/knock", &body).status,
        200
    );

    let mut left: Vec<_> = std::fs::read_dir(place.path())
        .expect("a listing")
        .map(|one| one.expect("a file").file_name())
        .collect();
    left.retain(|name| name != "master.key");
    assert!(left.is_empty(), "no data directory is made: {left:?}");
}

#[test]
fn what_is_changed_on_one_node_is_in_force_on_another_within_a_second() {
    let Some(place) = Place::make() else { return };
    let (one, other) = (place.node("all"), place.node("api"));
    let token = place.token();
    let (here, there) = (one.caller(&token), other.caller(&token));
    took(|| is_known(&here) && is_known(&there));
    let references = register(&here, &place.sandbox);
    let path = format!(
        "/v1/admin/integrations/{}",
        text(&references["integration_id"])
    );

    let (mut made, mut revoked, mut changed) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let shown = place.command(&[
            "keys",
            "create",
            "--name",
            "shortly",
            "--permissions",
            "read",
            "--json",
        ]);
        let key: Value = serde_json::from_str(&shown).expect("JSON");
        let by_key = there.with_token(&text(&key["token"]));
        let here_too = here.with_token(&text(&key["token"]));
        made.push(took(|| is_known(&by_key) && is_known(&here_too)));
        let answer = here.send(
            "DELETE",
            &format!("/v1/admin/keys/{}", text(&key["id"])),
            &Value::Null,
        );
        assert_eq!(answer.status, 200, "{}", answer.body);
        revoked.push(took(|| {
            ask(&by_key, "/v1/admin/integrations").status == 401
        }));

        let name = format!("Harbor Homes {round}");
        result(&here, "PUT", &path, &json!({ "name": name }));
        changed.push(took(|| there.get(&path)["result"]["name"] == name.as_str()));
    }
    assert_follows("a key that was made", made);
    assert_follows("a key that was revoked", revoked);
    assert_follows("an integration that was changed", changed);

    result(&there, "PUT", &path, &json!({ "active": false }));
    let body = with(&references, json!({ "email_1": "ada@mail.example.com" }));
    took(|| here.send("POST", "/crm/v1/prospects/knock", &body).status == 400);
    let whole = place.command(&["audit", "verify"]);
    assert!(whole.starts_with("The audit log is whole"), "{whole}");
}

#[test]
fn a_role_is_for_who_shares_a_database() {
    let directory = tempfile::tempdir().expect("a directory");
    for role in ["api", "worker"] {
        let (_, err, code) = portico(directory.path(), &[], &["serve", "--role", role]);
        assert_eq!(code, Some(1));
        assert!(err.contains("a data directory has one server"), "{err}");
    }
    let named = [
        ("PORTICO_STORE", "postgres://me@db/leads"),
        ("PORTICO_DATA_DIR", "kept"),
    ];
    let (_, err, code) = portico(directory.path(), &named, &["serve"]);
    assert_eq!(code, Some(1));
    assert!(
        err.contains("named by PORTICO_DATA_DIR and PORTICO_STORE at once"),
        "{err}"
    );
    let named = [("PORTICO_STORE", "postgres://me@db/leads")];
    let (_, err, code) = portico(directory.path(), &named, &["serve"]);
    assert_eq!(code, Some(1));
    assert!(err.contains("no master key"), "{err}");
    let (_, err, code) = portico(directory.path(), &named, &["backup", "copy.db"]);
    assert_eq!(code, Some(1));
    assert!(err.contains("pg_dump"), "{err}");
    assert_eq!(std::fs::read_dir(&directory).expect("a listing").count(), 0);
}

#[test]
fn a_password_is_never_shown() {
    let Some(place) = Place::make() else { return };
    let good = place.database.url();
    let (_, rest) = good.split_once('@').expect("a user");
    let host = rest.split_once('/').expect("a database").0;
    let cases = [
        (
            format!("postgres://postgres:s3cret@{rest}"),
            "password authentication failed",
        ),
        (
            format!("postgres://postgres:s3cret@{rest}_gone"),
            "password authentication failed",
        ),
        (
            "postgres://postgres:s3cret@127.0.0.1:1/leads".to_owned(),
            "cannot be reached",
        ),
        (
            "postgres://postgres:s3cret@no-such-host.invalid/leads".to_owned(),
            "cannot be reached",
        ),
        (
            format!("postgres://postgres:s3cret@{host}"),
            "names no database",
        ),
        (
            format!("postgres://postgres:s3cret@{rest}?speed=9"),
            "cannot be read",
        ),
        (
            "postgres://postgres:s3cret@db:door/leads".to_owned(),
            "cannot be read",
        ),
        (
            format!("postgre://postgres:s3cret@{rest}"),
            "begins with postgres://",
        ),
        (
            "mysql://s3cret@db/leads".to_owned(),
            "begins with postgres://",
        ),
    ];
    let commands: [&[&str]; 6] = [
        &["serve", "--listen", "127.0.0.1:0"],
        &["keys", "list"],
        &["keys", "create", "--name", "operator"],
        &["audit", "verify"],
        &["store", "migrate"],
        &["doctor"],
    ];
    let key = ("PORTICO_MASTER_KEY", MASTER_KEY);
    let check = |settings: &[(&str, &str)], arguments: &[&str], part: &str| {
        let (out, err, code) = portico(place.path(), settings, arguments);
        assert_eq!(code, Some(1), "{arguments:?}: {out}{err}");
        assert!(
            format!("{out}{err}").contains(part),
            "{arguments:?}: {out}{err}"
        );
        assert!(
            !out.contains("s3cret") && !err.contains("s3cret"),
            "{arguments:?}: {out}{err}"
        );
    };
    for (url, part) in &cases {
        for command in commands {
            check(&[key, ("PORTICO_STORE", url)], command, part);
        }
        check(&[key], &["keys", "list", "--store", url], part);
        private(&place.path().join("store.url"), url);
        check(&[key], &["keys", "list", "--store-file", "store.url"], part);
    }
    // A slip that is easily made.
    for (url, _) in &cases {
        let command = ["keys", "list", "--store-file", url];
        check(&[key], &command, "is named by a URL");
    }
    std::fs::write(place.path().join("open.url"), &cases[0].0).expect("written");
    check(
        &[key],
        &["keys", "list", "--store-file", "open.url"],
        "is open to every user",
    );
    let settings = [key, ("PORTICO_STORE", cases[0].0.as_str())];
    for command in commands {
        let mut arguments = command.to_vec();
        arguments.push("--help");
        let (out, err, _) = portico(place.path(), &settings, &arguments);
        assert!(out.contains("PORTICO_STORE"), "{out}");
        assert!(
            !out.contains("s3cret") && !err.contains("s3cret"),
            "{out}{err}"
        );
        let (_, err, code) = portico(place.path(), &settings, &[command, &["--stor"]].concat());
        assert_eq!(code, Some(2));
        assert!(!err.contains("s3cret"), "{err}");
    }
}

#[test]
fn a_server_need_not_be_able_to_change_the_schema() {
    let Some(place) = Place::make() else { return };
    let database = &place.database;
    // A user like a server's: it uses the tables that another has made.
    let good = url(database);
    let user = good
        .path()
        .trim_start_matches('/')
        .replace("portico_test", "portico_user");
    let create = format!(
        "CREATE ROLE {user} LOGIN PASSWORD 's3cret'; REVOKE CREATE ON SCHEMA public FROM PUBLIC"
    );
    database.query(&create).expect("a user");
    let mut limited = good;
    limited.set_username(&user).expect("a user");
    limited.set_password(Some("s3cret")).expect("a password");
    let settings = [
        ("PORTICO_STORE", limited.as_str()),
        ("PORTICO_MASTER_KEY", MASTER_KEY),
    ];
    let (_, err, code) = portico(
        place.path(),
        &settings,
        &["serve", "--listen", "127.0.0.1:0"],
    );
    assert_eq!(code, Some(1));
    assert!(
        err.contains("steps behind") && err.contains("portico store migrate"),
        "{err}"
    );

    let applied =
        |shown: &str| serde_json::from_str::<Value>(shown).expect("JSON")["applied"].clone();
    let first = place.command(&["store", "migrate", "--json"]);
    assert_eq!(
        applied(&first)[0],
        json!({ "number": 1, "name": "initial" })
    );
    assert_eq!(
        applied(&place.command(&["store", "migrate", "--json"])),
        json!([])
    );
    let told = place.command(&["store", "migrate"]);
    assert!(
        told.ends_with("is up to date.") && !told.contains("applied"),
        "{told}"
    );

    let grant =
        format!("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {user}");
    database.query(&grant).expect("granted");
    let node = Node::start(place.path(), limited.as_str(), "all");
    let caller = node.caller(&place.token());
    took(|| is_known(&caller));
    let body = with(
        &register(&caller, &place.sandbox),
        json!({ "email_1": "ada@mail.example.com" }),
    );
    caller.delivered("POST", "/crm/v1/prospects/knock", &body);
    let tables = database.query(&format!(
        "SELECT tablename FROM pg_tables WHERE tableowner = '{user}'"
    ));
    assert_eq!(tables.expect("tables"), Vec::<Vec<String>>::new());
    drop(node);
    database
        .query(&format!("DROP OWNED BY {user}; DROP ROLE {user}"))
        .expect("dropped");
}

fn url(database: &Database) -> url::Url {
    url::Url::parse(database.url()).expect("a URL")
}

#[test]
fn the_master_key_of_all_nodes_is_replaced_once_all_have_the_new_one() {
    let Some(place) = Place::make() else { return };
    let (one, other) = (place.node("all"), place.node("all"));
    let token = place.token();
    let (here, there) = (one.caller(&token), other.caller(&token));
    took(|| is_known(&here) && is_known(&there));
    let references = register(&here, &place.sandbox);
    let settings = [
        ("PORTICO_STORE", place.database.url()),
        ("PORTICO_MASTER_KEY_FILE", "master.key"),
    ];
    let (_, err, code) = portico(place.path(), &settings, &["keys", "rotate-master"]);
    assert_eq!(code, Some(1));
    assert!(err.contains("in every running server"), "{err}");
    let new = "cd".repeat(32);
    let both = format!("{new}\n{MASTER_KEY}\n");
    let file = place.path().join("master.key");
    private(&file, &both);
    let told = place.command(&["keys", "rotate-master"]);
    assert!(told.contains("2 were moved under it"), "{told}");
    assert_eq!(
        std::fs::read_to_string(&file).expect("the file"),
        both,
        "it is the operator's"
    );
    private(&file, &new);
    for (caller, email) in [
        (&here, "ada@mail.example.com"),
        (&there, "grace@mail.example.com"),
    ] {
        let path = format!(
            "/v1/admin/integrations/{}/data-access",
            text(&references["integration_id"])
        );
        assert_eq!(
            result(caller, "POST", &path, &Value::Null)["credentials"],
            "ALLOWED"
        );
        caller.delivered(
            "POST",
            "/crm/v1/prospects/knock",
            &with(&references, json!({ "email_1": email })),
        );
    }
}

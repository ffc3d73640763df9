//! Goal: a test can rely on the servers it starts: they hold what was committed, fail over when told to, and are gone with all they had when the test is, also
//! when it is killed.

use std::{
    env, fs,
    io::{self, BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use testbed::{Database, Options, Server, client};

/// How long what has lost its test may stay: it is told at once, and gone when PostgreSQL has ended.
const GONE_WITHIN: Duration = Duration::from_secs(15);

/// Set for the process that `a_killed_test_leaves_nothing` starts, which is this program again.
const VICTIM: &str = "TESTBED_VICTIM";

fn until(what: &str, mut look: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !look() {
        assert!(begin.elapsed() < GONE_WITHIN, "waited in vain: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

fn setting(server: &Server, name: &str) -> io::Result<String> {
    Ok(server.query(&format!("SHOW {name}"))?[0][0].clone())
}

#[test]
fn a_server_answers_with_its_settings_and_refuses_who_has_no_password() -> io::Result<()> {
    let Some(server) = Server::start(Options::throw_away().with("max_connections", "40"))? else {
        return Ok(());
    };
    assert_eq!(setting(&server, "max_connections")?, "40");
    assert_eq!(setting(&server, "fsync")?, "off");
    assert_eq!(setting(&server, "listen_addresses")?, "127.0.0.1");
    assert_eq!(
        server.query("SELECT 1, NULL, 'x' UNION SELECT 2, NULL, 'y' ORDER BY 1")?,
        [["1", "", "x"], ["2", "", "y"]]
    );
    let error = server.query("SELECT nonsense").expect_err("no such column");
    assert!(error.to_string().contains("nonsense"), "{error}");

    let stranger = format!(
        "postgres://postgres:guessed@127.0.0.1:{}/postgres",
        server.port()
    );
    let error = client::query(&stranger, "SELECT 1").expect_err("a wrong password");
    assert!(error.to_string().contains("password"), "{error}");
    Ok(())
}

#[test]
fn a_durable_server_keeps_what_was_committed_through_a_kill_and_a_stop() -> io::Result<()> {
    let Some(mut server) = Server::start(Options::durable())? else {
        return Ok(());
    };
    assert_eq!(setting(&server, "fsync")?, "on");
    assert_eq!(setting(&server, "synchronous_commit")?, "on");
    let url = server.database_create("leads")?;
    client::query(&url, "CREATE TABLE t (n int); INSERT INTO t VALUES (1)")?;
    server.kill()?;
    assert!(client::query(&url, "SELECT 1").is_err(), "it is dead");
    server.start_again()?;
    assert_eq!(client::query(&url, "SELECT n FROM t")?, [["1"]]);
    server.stop()?;
    assert!(client::query(&url, "SELECT 1").is_err(), "it is stopped");
    assert!(server.kill().is_err(), "there is nothing to kill");
    server.start_again()?;
    assert_eq!(client::query(&url, "SELECT n FROM t")?, [["1"]]);
    Ok(())
}

#[test]
fn a_server_with_a_certificate_offers_tls() -> Result<(), Box<dyn std::error::Error>> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let Some(server) = Server::start(Options::throw_away().with_tls(&certificate, &key))? else {
        return Ok(());
    };
    // A request for TLS: its length, and what stands for the version of the protocol. The answer is one letter.
    let mut stream = TcpStream::connect(("127.0.0.1", server.port()))?;
    stream.write_all(&[0, 0, 0, 8, 4, 210, 22, 47])?;
    let mut answer = [0];
    stream.read_exact(&mut answer)?;
    assert_eq!(answer, *b"S");
    Ok(())
}

#[test]
fn a_frozen_server_answers_once_it_is_thawed() -> io::Result<()> {
    let Some(server) = Server::start(Options::throw_away())? else {
        return Ok(());
    };
    server.freeze()?;
    thread::scope(|scope| {
        let asked = scope.spawn(|| server.query("SELECT 1"));
        thread::sleep(Duration::from_millis(300));
        assert!(!asked.is_finished(), "frozen, it does not answer");
        server.thaw()?;
        let answer = asked.join().expect("no panic")?;
        assert_eq!(answer, [["1"]]);
        io::Result::Ok(())
    })?;
    // It can be removed while it is frozen.
    server.freeze()?;
    let begin = Instant::now();
    drop(server);
    assert!(begin.elapsed() < Duration::from_secs(4), "it ends at once");
    Ok(())
}

#[test]
fn a_standby_has_what_the_primary_committed_and_takes_over_when_it_is_killed() -> io::Result<()> {
    let Some(mut primary) = Server::start(Options::durable())? else {
        return Ok(());
    };
    let mut standby = Server::standby_of(&primary, Options::durable())?;
    primary.query("CREATE TABLE t (n int)")?;
    primary.query("INSERT INTO t SELECT generate_series(1, 1000)")?;
    let error = standby.query("INSERT INTO t VALUES (0)");
    assert!(error.is_err(), "a standby takes no writes");

    // A commit waits for the standby: without one it is not acknowledged.
    standby.stop()?;
    thread::scope(|scope| {
        let asked = scope.spawn(|| primary.query("INSERT INTO t VALUES (1001)"));
        thread::sleep(Duration::from_millis(300));
        assert!(!asked.is_finished(), "a commit waits for the standby");
        standby.start_again()?;
        asked.join().expect("no panic")
    })?;

    let both = primary.url_with(&standby, "postgres");
    client::query(&both, "INSERT INTO t VALUES (1002)")?;
    primary.kill()?;
    standby.promote()?;
    assert_eq!(
        standby.query("SELECT count(*), max(n) FROM t")?,
        [["1002", "1002"]]
    );
    client::query(&both, "INSERT INTO t VALUES (1003)")?;

    // What was a standby gets one of its own.
    let next = Server::standby_of(&standby, Options::durable())?;
    standby.query("INSERT INTO t VALUES (1004)")?;
    standby.kill()?;
    next.promote()?;
    assert_eq!(next.query("SELECT max(n) FROM t")?, [["1004"]]);
    Ok(())
}

#[test]
fn a_database_is_its_tests_alone_and_gone_after_it() -> io::Result<()> {
    let (Some(one), Some(other)) = (Database::create()?, Database::create()?) else {
        return Ok(());
    };
    one.query("CREATE TABLE t (n int)")?;
    assert!(other.query("SELECT * FROM t").is_err(), "it is not shared");
    let databases = "SELECT count(*) FROM pg_database WHERE datname = current_database()";
    assert_eq!(other.query(databases)?, [["1"]]);
    let name = one.url().rsplit('/').next().unwrap_or_default().to_owned();
    let named = format!("SELECT count(*) FROM pg_database WHERE datname = '{name}'");
    assert_eq!(other.query(&named)?, [["1"]]);
    drop(one);
    assert_eq!(other.query(&named)?, [["0"]]);
    Ok(())
}

#[test]
fn a_killed_test_leaves_nothing() -> io::Result<()> {
    if env::var_os(VICTIM).is_some() {
        return be_the_victim();
    }
    let mut victim = Command::new(env::current_exe()?);
    victim
        .args(["--exact", "a_killed_test_leaves_nothing", "--nocapture"])
        .env(VICTIM, "yes")
        // Its shared server is then its own.
        .env_remove("NEXTEST_RUN_ID")
        .env_remove("PORTICO_TEST_POSTGRES");
    let mut victim = victim.stdout(Stdio::piped()).spawn()?;
    let lines = BufReader::new(victim.stdout.take().expect("a pipe")).lines();
    let told = lines
        .map_while(Result::ok)
        .find(|line| line.contains("VICTIM"));
    let Some(told) = told else {
        // It has said that it was not tested.
        assert!(victim.wait()?.success());
        return Ok(());
    };
    victim.kill()?;
    victim.wait()?;
    let told: Vec<&str> = told
        .split_whitespace()
        .skip_while(|word| *word != "VICTIM")
        .collect();
    for port in &told[1..3] {
        let port: u16 = port.parse().expect("a port");
        until("nobody listens", || {
            TcpStream::connect(("127.0.0.1", port)).is_err()
        });
    }
    for folder in &told[3..5] {
        until("the folder is removed", || !Path::new(folder).exists());
    }
    let left = || {
        let entries = fs::read_dir(env::temp_dir()).expect("the folder of temporary files");
        let mut names = entries.flatten().map(|entry| entry.file_name());
        let id = victim.id().to_string();
        names.any(|name| name.to_string_lossy().contains(&format!("-{id}-")))
    };
    until("the file that names the shared server is removed", || {
        !left()
    });
    Ok(())
}

/// Starts a server of its own and a shared one, says their ports and folders, and waits for its end.
fn be_the_victim() -> io::Result<()> {
    let Some(server) = Server::start(Options::throw_away())? else {
        return Ok(());
    };
    let Some(database) = Database::create()? else {
        return Ok(());
    };
    let folder = |rows: Vec<Vec<String>>| rows[0][0].clone();
    let port = database.query("SHOW port")?;
    // On a line of its own: the test runner has begun one.
    let mut output = io::stdout();
    writeln!(
        output,
        "\nVICTIM {} {} {} {}",
        server.port(),
        folder(port),
        folder(server.query("SHOW data_directory")?),
        folder(database.query("SHOW data_directory")?),
    )?;
    output.flush()?;
    thread::sleep(Duration::from_secs(120));
    Ok(())
}

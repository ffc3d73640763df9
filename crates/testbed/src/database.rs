//! A database of a test's own, on a server that all tests of a run share.
//!
//! Guarantee: no other test sees it, and it is gone when the test has ended.

use std::{
    env, fs,
    io::{self, Read, Seek, Write},
    os::unix::{fs::OpenOptionsExt, process::parent_id},
    process,
    sync::Mutex,
};

use url::Url;

use crate::{
    client,
    programs::Programs,
    random,
    server::{Options, Server},
};

/// Names the maintenance database of a server to use, for who has one running.
const SERVER_VARIABLE: &str = "PORTICO_TEST_POSTGRES";

/// What nextest, which runs every test in a process of its own, calls the run that it is part of.
const RUN_VARIABLE: &str = "NEXTEST_RUN_ID";

/// Connections to the shared server: twelve tests at once, each with two nodes and their pools.
const CONNECTIONS: &str = "300";

/// An empty database, which is dropped with this.
pub struct Database {
    /// Where it was made.
    maintenance: String,
    name: String,
    url: String,
}

impl Database {
    /// Makes one. `None` where this machine has no PostgreSQL; it is then told that something is not tested.
    ///
    /// # Errors
    /// When there is one and it does not start, or the database cannot be made.
    ///
    /// # Panics
    /// In continuous integration, where there is none.
    pub fn create() -> io::Result<Option<Self>> {
        let Some(maintenance) = maintenance()? else {
            crate::not_tested(Programs::MISSING);
            return Ok(None);
        };
        let name = format!("portico_test_{}", random());
        let mut url = Url::parse(&maintenance)
            .map_err(|error| io::Error::other(format!("{SERVER_VARIABLE}: {error}")))?;
        url.set_path(&name);
        let sql = format!("CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C'");
        client::query(&maintenance, &sql)?;
        Ok(Some(Self {
            maintenance,
            name,
            url: url.into(),
        }))
    }

    /// Its address, with the password of who made it.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Runs SQL in it, as [`client::query`] does.
    ///
    /// # Errors
    /// As there.
    pub fn query(&self, sql: &str) -> io::Result<Vec<Vec<String>>> {
        client::query(&self.url, sql)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // Also while it is used: what the test has not closed is nobody's any more.
        let sql = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
        let _ = client::query(&self.maintenance, &sql);
    }
}

/// The maintenance database of the shared server, which is started when nobody has before.
fn maintenance() -> io::Result<Option<String>> {
    static FOUND: Mutex<Option<String>> = Mutex::new(None);
    let mut found = FOUND
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    if found.is_none() {
        *found = match (env::var(SERVER_VARIABLE), env::var(RUN_VARIABLE)) {
            (Ok(url), _) if !url.is_empty() => Some(url),
            (_, Ok(run)) => of_run(&run, parent_id())?,
            // Another run's file may have outlived it: processes' ids come again.
            _ => of_run(&format!("{}-{}", process::id(), random()), process::id())?,
        };
    }
    Ok(found.clone())
}

/// That of the tests of one run, which the process `pid` is in charge of. A file that carries the run's name says where it is.
fn of_run(run: &str, pid: u32) -> io::Result<Option<String>> {
    let path = env::temp_dir().join(format!("portico-postgres-{run}.url"));
    let mut options = fs::OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    let mut file = options.mode(0o600).open(&path)?;
    // Whoever comes first starts it, and the others wait for that. The lock ends with the file, or with the process.
    file.lock()?;
    let mut url = String::new();
    file.read_to_string(&mut url)?;
    if !url.is_empty() {
        return Ok(Some(url));
    }
    let options = Options::throw_away().with("max_connections", CONNECTIONS);
    let started = Server::start_for(pid, &path, options);
    if let Ok(Some(url)) = &started {
        file.rewind()?;
        file.write_all(url.as_bytes())?;
    } else {
        fs::remove_file(&path)?;
    }
    started
}

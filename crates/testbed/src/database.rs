//! A database of a test's own, on a server that all tests of a run share.
//!
//! Guarantee: no other test sees it, and it is gone when the test has ended.

use std::{
    env,
    error::Error,
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    io::{self, Read, Seek, Write},
    os::unix::{fs::OpenOptionsExt, process::parent_id},
    process,
    sync::Mutex,
    thread,
};

use url::Url;

use crate::{
    client,
    programs::Programs,
    random,
    server::{Addresses, Options, Server},
};

/// Names the maintenance database of a server to use, for who has one running.
const SERVER_VARIABLE: &str = "PORTICO_TEST_POSTGRES";

/// What nextest, which runs every test in a process of its own, calls the run that it is part of.
const RUN_VARIABLE: &str = "NEXTEST_RUN_ID";

/// Connections to the shared server: twelve tests at once, each with two nodes and their pools.
const CONNECTIONS: &str = "300";

/// What an empty database is made from.
const EMPTY: &str = "template0 ENCODING 'UTF8' LOCALE 'C'";

/// A database, which is dropped with this.
pub struct Database {
    /// Of the database that it was made from.
    maintenance: String,
    name: String,
    addresses: Addresses,
}

impl Database {
    /// Makes an empty one. `None` where this machine has no PostgreSQL; it is then told that something is not tested.
    ///
    /// # Errors
    /// When there is one and it does not start, or the database cannot be made.
    ///
    /// # Panics
    /// In continuous integration, where there is none.
    pub fn create() -> io::Result<Option<Self>> {
        let Some(server) = shared()? else {
            crate::not_tested(Programs::MISSING);
            return Ok(None);
        };
        Self::copy(&server, EMPTY).map(Some)
    }

    /// Makes one as [`Database::create`] does, with what `make` puts into an empty one whose address it is told: once a server for each `description`, then copied, which takes a
    /// third of the time that a schema takes. `description` has all that `make` depends on. What it opens it closes.
    ///
    /// # Errors
    /// As [`Database::create`], or when `make` fails.
    ///
    /// # Panics
    /// As [`Database::create`].
    pub fn create_from<T: Send, E: Into<Box<dyn Error + Send + Sync>> + Send>(
        description: &str,
        make: impl FnOnce(&str) -> Result<T, E> + Send,
    ) -> io::Result<Option<Self>> {
        let Some(server) = shared()? else {
            crate::not_tested(Programs::MISSING);
            return Ok(None);
        };
        let mut hasher = DefaultHasher::new();
        description.hash(&mut hasher);
        let template = format!("portico_template_{:016x}", hasher.finish());
        let copied = Self::copy(&server, &template);
        if !copied.as_ref().is_err_and(is_missing) {
            return copied.map(Some);
        }
        let made = Self::copy(&server, EMPTY)?;
        // On a thread of its own, since who calls may be in a runtime already, where nothing may block.
        let done = thread::scope(|scope| scope.spawn(|| make(made.socket_url())).join());
        done.map_err(|_| io::Error::other("what makes a database panicked"))?
            .map_err(io::Error::other)?;
        // Others who make it at the same time make the same: the first has named it, and they drop theirs.
        let name = format!("ALTER DATABASE {} RENAME TO {template}", made.name);
        let named = client::query(&server.socket_url, &name);
        let copied = Self::copy(&server, &template);
        if copied.as_ref().is_err_and(is_missing) {
            named?;
        }
        copied.map(Some)
    }

    /// Makes one from what follows `TEMPLATE`.
    fn copy(server: &Addresses, template: &str) -> io::Result<Self> {
        let name = format!("portico_test_{}", random());
        let address = |url: &str| -> io::Result<String> {
            let mut url = Url::parse(url)
                .map_err(|error| io::Error::other(format!("{SERVER_VARIABLE}: {error}")))?;
            url.set_path(&name);
            Ok(url.into())
        };
        let addresses = Addresses {
            url: address(&server.url)?,
            socket_url: address(&server.socket_url)?,
        };
        let maintenance = server.socket_url.clone();
        let sql = format!("CREATE DATABASE {name} TEMPLATE {template}");
        // Files are copied in two thirds of the time that their pages take one by one, through the log.
        let made = client::query(&maintenance, &format!("{sql} STRATEGY FILE_COPY"));
        if let Err(why) = made {
            // Before PostgreSQL 15 there is nothing to choose.
            if !why.to_string().contains("\"strategy\" not recognized") {
                return Err(why);
            }
            client::query(&maintenance, &sql)?;
        }
        Ok(Self {
            maintenance,
            name,
            addresses,
        })
    }

    /// Its address, with the password of who made it.
    pub fn url(&self) -> &str {
        &self.addresses.url
    }

    /// Its address by the quickest way, as [`Server::socket_url`].
    pub fn socket_url(&self) -> &str {
        &self.addresses.socket_url
    }

    /// Runs SQL in it, as [`client::query`] does.
    ///
    /// # Errors
    /// As there.
    pub fn query(&self, sql: &str) -> io::Result<Vec<Vec<String>>> {
        client::query(self.socket_url(), sql)
    }
}

/// Whether it says that there is no template.
fn is_missing(why: &io::Error) -> bool {
    why.to_string().contains("does not exist")
}

impl Drop for Database {
    fn drop(&mut self) {
        // Also while it is used: what the test has not closed is nobody's any more.
        let sql = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
        let _ = client::query(&self.maintenance, &sql);
    }
}

/// The maintenance database of the shared server, which is started when nobody has before.
fn shared() -> io::Result<Option<Addresses>> {
    static FOUND: Mutex<Option<Addresses>> = Mutex::new(None);
    let mut found = FOUND
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    if found.is_none() {
        *found = match (env::var(SERVER_VARIABLE), env::var(RUN_VARIABLE)) {
            (Ok(url), _) if !url.is_empty() => Some(Addresses {
                socket_url: url.clone(),
                url,
            }),
            (_, Ok(run)) => of_run(&run, parent_id())?,
            // Another run's file may have outlived it: processes' ids come again.
            _ => of_run(&format!("{}-{}", process::id(), random()), process::id())?,
        };
    }
    Ok(found.clone())
}

/// That of the tests of one run, which the process `pid` is in charge of. A file that carries the run's name says where it is, a line for each way.
fn of_run(run: &str, pid: u32) -> io::Result<Option<Addresses>> {
    let path = env::temp_dir().join(format!("portico-postgres-{run}.url"));
    let mut options = fs::OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    let mut file = options.mode(0o600).open(&path)?;
    // Whoever comes first starts it, and the others wait for that. The lock ends with the file, or with the process.
    file.lock()?;
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    if let Some((url, socket_url)) = text.split_once('\n') {
        return Ok(Some(Addresses {
            url: url.to_owned(),
            socket_url: socket_url.to_owned(),
        }));
    }
    let options = Options::throw_away().with("max_connections", CONNECTIONS);
    let started = Server::start_for(pid, &path, options);
    if let Ok(Some(addresses)) = &started {
        file.rewind()?;
        let text = format!("{}\n{}", addresses.url, addresses.socket_url);
        file.write_all(text.as_bytes())?;
    } else {
        fs::remove_file(&path)?;
    }
    started
}

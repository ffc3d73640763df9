//! A server that a test starts, ends and fails over as it likes.
//!
//! Guarantee: it listens on this machine alone and lets nobody in without its password, which is made anew for each, but through a socket in its folder, which is closed to other
//! users; it ends with the process that started it.

use std::{
    fs,
    io::{self, Write},
    net::{Ipv4Addr, TcpListener},
    os::unix::{
        fs::{OpenOptionsExt, PermissionsExt},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use crate::{
    client,
    keeper::{self, PID_FILE},
    programs::{Programs, run},
    random,
};

/// Who owns all of a server that is made here.
const SUPERUSER: &str = "postgres";

/// The database that every server has.
const MAINTENANCE: &str = "postgres";

/// How long a server may take to start or stop, and a standby to catch up: seconds at most, but for a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// Bytes free in memory's folder that a server needs: the databases and logs of a dozen tests at once, many times over.
const MEMORY_MIN: u64 = 2 << 30;

/// How often a wait looks.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// How many ports are tried. One is taken between the look and the start only if another process asks the system for one in that moment.
const PORTS: u32 = 5;

/// How much of a server's log an error tells, in lines: its last words.
const LAST_WORDS: usize = 15;

/// How long the path of a socket's folder may be, in bytes: systems take 104 with the socket's own name, `.s.PGSQL.65535`.
const SOCKET_FOLDER_MAX: usize = 88;

/// Notes its own id before it becomes the server. Without the folder, which whoever cleans up has removed, nothing starts.
const LAUNCH: &str = r#"echo $$ >"$1" || exit 1; shift; exec "$@""#;

/// How a server is set up.
#[derive(Clone, Debug, Default)]
pub struct Options {
    settings: Vec<(String, String)>,
    /// Certificate and key.
    tls: Option<(String, String)>,
    /// The folder in which it is made, unless in the system's for what is temporary.
    within: Option<PathBuf>,
}

impl Options {
    /// As an operator's: what it has committed is on disk.
    pub fn durable() -> Self {
        Self::default()
    }

    /// For data that nobody will miss: it waits for no disk, and has none where there is memory enough. It still survives a kill of its processes, since what they have
    /// written is the system's.
    pub fn throw_away() -> Self {
        let options = Self::default()
            .with("fsync", "off")
            .with("synchronous_commit", "off")
            .with("full_page_writes", "off")
            .with("shared_buffers", "64MB");
        match memory() {
            Some(folder) => options.within(folder),
            None => options,
        }
    }

    /// The same with this setting of `postgresql.conf`.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The same with TLS for who asks for it, by this certificate and its key, both as PEM.
    #[must_use]
    pub fn with_tls(mut self, certificate: &str, key: &str) -> Self {
        self.tls = Some((certificate.to_owned(), key.to_owned()));
        self.with("ssl", "on")
    }

    /// The same in this folder: on the disk that is to be measured.
    #[must_use]
    pub fn within(mut self, folder: &Path) -> Self {
        self.within = Some(folder.to_owned());
        self
    }
}

/// Linux's folder in memory, if it has room for a run's databases: a disk's file system takes half of the time in which databases, three hundred files each, are made
/// and dropped all the time. Containers often have 64 MB of it.
fn memory() -> Option<&'static Path> {
    let folder = Path::new("/dev/shm");
    let room = rustix::fs::statvfs(folder).ok()?;
    (room.f_bavail.saturating_mul(room.f_frsize) >= MEMORY_MIN).then_some(folder)
}

/// Where a database is.
#[derive(Clone)]
pub(crate) struct Addresses {
    /// Over TCP, as an operator's server has it.
    pub(crate) url: String,
    /// The quickest way.
    pub(crate) socket_url: String,
}

/// A PostgreSQL server, which ends and is removed when this is dropped.
pub struct Server {
    programs: Programs,
    /// Its folder: `data`, `log` and the id of its process.
    home: PathBuf,
    options: Options,
    password: String,
    port: u16,
    /// The postmaster, while it runs.
    process: Option<Child>,
    keeper: Child,
}

impl Server {
    /// Makes a server and starts it. `None` where this machine has no PostgreSQL; it is then told that something is not tested.
    ///
    /// # Errors
    /// When there is one and it does not start.
    ///
    /// # Panics
    /// In continuous integration, where there is none.
    pub fn start(options: Options) -> io::Result<Option<Self>> {
        let found = Self::start_if_there(options)?;
        if found.is_none() {
            crate::not_tested(Programs::MISSING);
        }
        Ok(found)
    }

    /// The same, for who measures rather than tests: without PostgreSQL it fails.
    ///
    /// # Errors
    /// When this machine has none, or it does not start.
    pub fn start_or_fail(options: Options) -> io::Result<Self> {
        let missing = || io::Error::new(io::ErrorKind::NotFound, Programs::MISSING);
        Self::start_if_there(options)?.ok_or_else(missing)
    }

    fn start_if_there(options: Options) -> io::Result<Option<Self>> {
        let make = |programs| Self::make(programs, options, Stdio::piped());
        Programs::find()?.map(make).transpose()
    }

    /// Makes a server that runs until the process `pid` has ended; `file` is removed with it. Returns the address of its maintenance database; `None`
    /// where this machine has no PostgreSQL.
    pub(crate) fn start_for(
        pid: u32,
        file: &Path,
        options: Options,
    ) -> io::Result<Option<Addresses>> {
        let Some(programs) = Programs::find()? else {
            return Ok(None);
        };
        let server = Self::make(programs, options, keeper::until_gone(pid, file)?)?;
        let addresses = Addresses {
            url: server.url(MAINTENANCE),
            socket_url: server.socket_url(MAINTENANCE),
        };
        // Its keeper ends it.
        std::mem::forget(server);
        Ok(Some(addresses))
    }

    fn make(programs: Programs, options: Options, keeper_input: Stdio) -> io::Result<Self> {
        let password = format!("{}{}", random(), random());
        let mut server = Self::prepare(programs, options, password, keeper_input)?;
        let password_file = server.private_file("password", &server.password)?;
        let mut initdb = server.programs.command("initdb", &server.home);
        // A locale that every machine has. What is written is synced by the server, if it is durable.
        initdb
            .arg("--pgdata=data")
            .arg(format!("--username={SUPERUSER}"))
            .arg("--pwfile=password")
            .args(["--auth-host=scram-sha-256", "--auth-local=trust"])
            .args(["--encoding=UTF8", "--locale=C"])
            .args(["--no-sync", "--no-instructions"]);
        run(&mut initdb)?;
        fs::remove_file(password_file)?;
        server.launch_on_any_port()?;
        Ok(server)
    }

    /// Makes a standby of `primary`, which streams from it, and has the primary's commits wait from now on until a standby has them on disk.
    ///
    /// # Errors
    /// When it does not start, or does not catch up within a minute.
    pub fn standby_of(primary: &Self, options: Options) -> io::Result<Self> {
        let programs = primary.programs.clone();
        let mut server =
            Self::prepare(programs, options, primary.password.clone(), Stdio::piped())?;
        let name = format!("standby_{}", random());
        let mut copy = server.programs.command("pg_basebackup", &server.home);
        copy.arg("--pgdata=data")
            .arg(format!(
                "--dbname={}?application_name={name}",
                primary.url("")
            ))
            .args(["--write-recovery-conf", "--create-slot"])
            .arg(format!("--slot={name}"))
            .args(["--wal-method=stream", "--checkpoint=fast", "--no-sync"]);
        run(&mut copy)?;
        // Once it is promoted it must not wait for standbys that were the primary's.
        let settings = server.home.join("data/postgresql.auto.conf");
        let mut settings = fs::OpenOptions::new().append(true).open(settings)?;
        settings.write_all(b"synchronous_standby_names = ''\n")?;
        server.launch_on_any_port()?;

        let state = |column: &str| -> io::Result<String> {
            let sql = format!(
                "SELECT {column} FROM pg_stat_replication WHERE application_name = '{name}'"
            );
            let rows = primary.query(&sql)?;
            Ok(rows.into_iter().flatten().next().unwrap_or_default())
        };
        until("the standby streams", || Ok(state("state")? == "streaming"))?;
        primary.query("ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 (*)'")?;
        primary.query("SELECT pg_reload_conf()")?;
        until("the primary waits for its standby", || {
            Ok(state("sync_state")? == "quorum")
        })?;
        Ok(server)
    }

    /// A folder, and who removes it.
    fn prepare(
        programs: Programs,
        options: Options,
        password: String,
        keeper_input: Stdio,
    ) -> io::Result<Self> {
        let mut folder = tempfile::Builder::new();
        folder
            .prefix("portico-postgres-")
            .permissions(fs::Permissions::from_mode(0o700));
        let home = match &options.within {
            Some(within) => folder.tempdir_in(within)?,
            None => folder.tempdir()?,
        };
        programs.own(home.path())?;
        let keeper = keeper::start(&programs, home.path(), keeper_input)?;
        Ok(Self {
            programs,
            home: home.keep(),
            options,
            password,
            port: 0,
            process: None,
            keeper,
        })
    }

    /// A file in its folder that only whoever PostgreSQL runs as can read.
    fn private_file(&self, name: &str, text: &str) -> io::Result<PathBuf> {
        let path = self.home.join(name);
        let mut options = fs::OpenOptions::new();
        let mut file = options
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&path)?;
        file.write_all(text.as_bytes())?;
        self.programs.own(&path)?;
        Ok(path)
    }

    fn launch_on_any_port(&mut self) -> io::Result<()> {
        if let Some((certificate, key)) = &self.options.tls {
            self.private_file("data/server.crt", certificate)?;
            self.private_file("data/server.key", key)?;
        }
        for _ in 1..PORTS {
            self.port = free_port()?;
            match self.launch() {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                result => return result,
            }
        }
        self.port = free_port()?;
        self.launch()
    }

    /// Starts the process and waits until it answers.
    fn launch(&mut self) -> io::Result<()> {
        let log = fs::File::create(self.home.join("log"))?;
        let mut command = self.programs.any(Path::new("sh"), &self.home);
        let postgres = self.programs.command("postgres", &self.home);
        command
            .args(["-c", LAUNCH, "sh", PID_FILE])
            .arg(postgres.get_program())
            .args(["-D", "data", "-c", "listen_addresses=127.0.0.1"])
            .args(["-c", &format!("port={}", self.port)])
            .args([
                "-c",
                &format!(
                    "unix_socket_directories={}",
                    self.socket_folder().unwrap_or_default()
                ),
            ])
            // Shared memory in files of its own folder: a server that is killed leaves none elsewhere.
            .args(["-c", "dynamic_shared_memory_type=mmap"])
            // A standby that has lost its primary looks for it five times a second, not every five seconds.
            .args(["-c", "wal_retrieve_retry_interval=200ms"]);
        for (name, value) in &self.options.settings {
            command.args(["-c", &format!("{name}={value}")]);
        }
        command
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        self.process = Some(command.spawn()?);
        let begin = Instant::now();
        loop {
            let answer = self.query("SELECT 1");
            let Err(error) = answer else {
                return Ok(());
            };
            let process = self.process.as_mut();
            if let Some(status) = process.map(Child::try_wait).transpose()?.flatten() {
                self.forget_process();
                return Err(self.not_started(&status.to_string()));
            }
            if begin.elapsed() > PATIENCE {
                return Err(self.not_started(&error.to_string()));
            }
            thread::sleep(LOOK_EVERY);
        }
    }

    fn not_started(&self, why: &str) -> io::Error {
        let log = fs::read_to_string(self.home.join("log")).unwrap_or_default();
        let kind = if log.contains("Address already in use") {
            io::ErrorKind::AddrInUse
        } else {
            io::ErrorKind::Other
        };
        let lines: Vec<&str> = log.lines().collect();
        let last = lines[lines.len().saturating_sub(LAST_WORDS)..].join("\n");
        io::Error::new(kind, format!("PostgreSQL has not started ({why}):\n{last}"))
    }

    /// The port that it listens to, on 127.0.0.1. It stays the same when it is started again.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The address of a database of it, with the password of its superuser.
    pub fn url(&self, database: &str) -> String {
        format!(
            "postgres://{SUPERUSER}:{}@127.0.0.1:{}/{database}",
            self.password, self.port
        )
    }

    /// The address of a database of it through a socket, where no password is asked for: to check one costs the server as much as all else that a connection takes.
    /// Over TCP where the folder for temporary files has a name too long for sockets.
    pub fn socket_url(&self, database: &str) -> String {
        match self.socket_folder() {
            Some(folder) => format!(
                "postgres://{SUPERUSER}@{}:{}/{database}",
                folder.replace('/', "%2F"),
                self.port
            ),
            None => self.url(database),
        }
    }

    /// Its own, closed to other users, unless sockets cannot be there.
    fn socket_folder(&self) -> Option<&str> {
        // Commas and quotes mean something in the setting, and percent signs in an address.
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-_.".contains(&byte);
        let folder = self.home.to_str()?;
        (folder.len() <= SOCKET_FOLDER_MAX && folder.bytes().all(is_plain)).then_some(folder)
    }

    /// The address of a database of it and of its standby: for who connects to whichever takes writes.
    pub fn url_with(&self, standby: &Self, database: &str) -> String {
        format!(
            "postgres://{SUPERUSER}:{}@127.0.0.1:{},127.0.0.1:{}/{database}?target_session_attrs=read-write",
            self.password, self.port, standby.port
        )
    }

    /// Runs SQL in its maintenance database, as [`client::query`] does.
    ///
    /// # Errors
    /// As there.
    pub fn query(&self, sql: &str) -> io::Result<Vec<Vec<String>>> {
        client::query(&self.url(MAINTENANCE), sql)
    }

    /// Makes an empty database. Returns its address.
    ///
    /// # Errors
    /// When it cannot be made, as when there is one of that name.
    pub fn database_create(&self, name: &str) -> io::Result<String> {
        self.query(&format!("CREATE DATABASE \"{name}\" TEMPLATE template0"))?;
        Ok(self.url(name))
    }

    /// Has this standby take writes from now on. Returns when it does.
    ///
    /// # Errors
    /// When it is none, or does not within a minute.
    pub fn promote(&self) -> io::Result<()> {
        self.query("SELECT pg_promote(false)")?;
        until("the standby is promoted", || {
            let rows = self.query("SELECT pg_is_in_recovery()")?;
            Ok(rows.into_iter().flatten().eq(["f"]))
        })
    }

    /// Kills all of its processes with SIGKILL, in the same moment as far as anybody could tell.
    ///
    /// # Errors
    /// When it is not running.
    pub fn kill(&mut self) -> io::Result<()> {
        let children = self.stop_all()?;
        let processes = children.iter().copied();
        for process in processes.chain([self.pid()?]) {
            // One that has ended meanwhile needs no killing.
            let _ = kill_process(process, Signal::KILL);
        }
        self.reap()?;
        // A server that is started again on the same data refuses to as long as any of them is there.
        let begin = Instant::now();
        while children.iter().copied().any(is_alive) && begin.elapsed() < Duration::from_secs(2) {
            thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Has all of its processes stand still: connections stay open, and nothing is answered.
    ///
    /// # Errors
    /// When it is not running.
    pub fn freeze(&self) -> io::Result<()> {
        self.stop_all().map(drop)
    }

    /// Returns those besides the first.
    fn stop_all(&self) -> io::Result<Vec<Pid>> {
        let first = self.pid()?;
        // First the one that starts the others, so that there are no new ones.
        kill_process(first, Signal::STOP)?;
        let children = children(first)?;
        for child in &children {
            let _ = kill_process(*child, Signal::STOP);
        }
        Ok(children)
    }

    /// Has it go on after [`Server::freeze`].
    ///
    /// # Errors
    /// When it is not running.
    pub fn thaw(&self) -> io::Result<()> {
        let first = self.pid()?;
        for child in children(first)? {
            let _ = kill_process(child, Signal::CONT);
        }
        Ok(kill_process(first, Signal::CONT)?)
    }

    /// Stops it in an orderly way, as an operator's `restart` does: connections are closed, open transactions rolled back.
    ///
    /// # Errors
    /// When it is not running, or goes on.
    pub fn stop(&mut self) -> io::Result<()> {
        kill_process(self.pid()?, Signal::INT)?;
        until("PostgreSQL stops", || {
            let process = self.process.as_mut();
            Ok(process
                .map(Child::try_wait)
                .transpose()?
                .flatten()
                .is_some())
        })?;
        self.reap()?;
        Ok(())
    }

    /// Starts it again after [`Server::stop`] or [`Server::kill`], on the data and the port that it had.
    ///
    /// # Errors
    /// When it is running, or does not start.
    pub fn start_again(&mut self) -> io::Result<()> {
        if self.process.is_some() {
            return Err(io::Error::other("PostgreSQL is running already"));
        }
        self.launch()
    }

    fn pid(&self) -> io::Result<Pid> {
        // A process that was not waited for keeps its id, so no other process is meant by it.
        let id = self.process.as_ref().map(Child::id);
        let pid = id.and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        pid.ok_or_else(|| io::Error::other("PostgreSQL is not running"))
    }

    fn reap(&mut self) -> io::Result<Option<ExitStatus>> {
        let status = self.process.as_mut().map(Child::wait).transpose()?;
        self.forget_process();
        Ok(status)
    }

    fn forget_process(&mut self) {
        let _ = fs::remove_file(self.home.join(PID_FILE));
        self.process = None;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A process that stands still ends only after the five seconds that PostgreSQL gives it.
        let _ = self.thaw();
        // Its keeper's input ends, so that it does what it would if this process were killed.
        if self.keeper.stdin.take().is_some() {
            let _ = self.keeper.wait();
        }
        if let Some(process) = self.process.as_mut() {
            let _ = process.kill();
            let _ = process.wait();
        }
        // Gone already, but where its keeper may not enter the folder that it is in.
        let _ = fs::remove_dir_all(&self.home);
    }
}

/// Waits until `look` says so.
fn until(what: &str, mut look: impl FnMut() -> io::Result<bool>) -> io::Result<()> {
    let begin = Instant::now();
    while !look()? {
        if begin.elapsed() > PATIENCE {
            let words = format!("waited in vain for {PATIENCE:?}: {what}");
            return Err(io::Error::new(io::ErrorKind::TimedOut, words));
        }
        thread::sleep(LOOK_EVERY);
    }
    Ok(())
}

fn free_port() -> io::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?.port())
}

/// Whether a process has not ended. One that nobody has waited for has, though its id is still taken.
fn is_alive(process: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", process.as_raw_nonzero()));
    test_kill_process(process).is_ok() && !stat.is_ok_and(|stat| stat.contains(") Z "))
}

/// The processes that `parent` has started.
fn children(parent: Pid) -> io::Result<Vec<Pid>> {
    let id = parent.as_raw_nonzero();
    let listed = fs::read_to_string(format!("/proc/{id}/task/{id}/children"));
    let listed = match listed {
        Ok(listed) => listed,
        // Where the system has no such file.
        Err(_) => {
            let output = run(Command::new("pgrep").args(["-P", &id.to_string()]))?;
            String::from_utf8_lossy(&output.stdout).into_owned()
        }
    };
    let ids = listed.split_whitespace().filter_map(|id| id.parse().ok());
    Ok(ids.filter_map(Pid::from_raw).collect())
}

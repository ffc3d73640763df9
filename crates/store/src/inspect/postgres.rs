//! A look at a database and its server, for who asks what is wrong with them.
//!
//! Guarantee: nothing is changed and nobody is kept waiting. What this server does not tell, or not to this user, is absent; the rest is told nevertheless.

use std::{net::IpAddr, time::Duration};

use model::Clock;

pub use crate::inspect::Data;
use crate::{
    Error,
    engines::{
        db::{Column, Db, values},
        postgres::{
            config::{Patience, Place},
            schema,
            session::Session,
        },
    },
    inspect::look,
    migrations,
};

/// How long a question may take. None takes long, but for a server in trouble.
const QUESTION: Patience = Patience {
    idle: Duration::from_secs(10),
    lock: Duration::from_secs(5),
    statement: Duration::from_secs(5),
    answer: Duration::from_secs(7),
};

/// Connections of a node besides those that read: one for changes, one that listens to other nodes.
const BESIDES_READERS: usize = 2;

/// What was seen.
pub struct Inspection {
    /// The server's version, as it tells it.
    pub version: String,
    /// The same as a number that rises: 130004 is 13.4.
    pub version_number: i64,
    /// The address and the port that it answers from; none over a socket of this machine.
    pub address: Option<(IpAddr, i64)>,
    /// The version of TLS that is spoken; none when it is not.
    pub tls: Option<String>,
    /// `fsync`.
    pub fsync: Option<String>,
    /// `full_page_writes`.
    pub full_page_writes: Option<String>,
    /// The encoding of the database.
    pub encoding: Option<String>,
    /// `synchronous_standby_names`.
    pub standbys_wanted: Option<String>,
    /// The standbys that are connected.
    pub standbys: Option<Vec<Standby>>,
    /// `autovacuum`.
    pub autovacuum: Option<String>,
    /// Its connections.
    pub connections: Option<Connections>,
    /// Milliseconds that its clock is ahead of ours, as far as the time that the answer took allows to tell; below zero when it is behind.
    pub clock_ahead_ms: i64,
    /// Steps of the schema that are missing; or why this program refuses the database, in words.
    pub schema: Result<usize, String>,
    /// Whether there is nothing of Portico's.
    pub is_empty: bool,
    /// Some of the tables that there are then, which are others'.
    pub others: Vec<String>,
    /// Some of the tables that this user may not read and change, as a server does.
    pub closed: Vec<String>,
    /// Whether this user may make tables.
    pub may_create: bool,
    /// What is in it. Nothing when the schema is not the one of this program.
    pub data: Option<Result<Data, Error>>,
}

/// A standby that is connected.
pub struct Standby {
    /// What it calls itself.
    pub name: String,
    /// Whether commits may wait for it; absent when this user may not know.
    pub is_synchronous: Option<bool>,
}

/// Connections of a server.
pub struct Connections {
    /// How many users like Portico's may have, all together.
    pub max: i64,
    /// How many there are.
    pub used: i64,
    /// How many a node takes that is set up as this one.
    pub taken: i64,
}

/// Looks at a database and at its server, and at up to `vendors_max` vendors and places of them. Blocks.
///
/// # Errors
/// When it cannot be reached, or does not answer in time.
pub fn inspect(place: &Place, vendors_max: u32, clock: &dyn Clock) -> Result<Inspection, Error> {
    let session = Session::connect(place)?;
    session.be(QUESTION)?;
    session.run("SET default_transaction_read_only = on")?;
    let db = Db::Postgres(&session);
    let (schema, is_empty, data) = match schema::applied(&db) {
        Ok(applied) => {
            let missing = migrations::pending(migrations::POSTGRES, &applied).map(<[_]>::len);
            let data = (missing == Ok(0)).then(|| data(&session, vendors_max, clock));
            (missing, applied.is_empty(), data)
        }
        // Not even that may be read by this user.
        Err(Error::Database(why)) => (Ok(0), false, Some(Err(Error::Database(why)))),
        Err(why) => return Err(why),
    };
    let others = if is_empty {
        schema::tables(&db)?
    } else {
        Vec::new()
    };
    Ok(Inspection {
        others,
        closed: closed(&db)?,
        may_create: told(
            &db,
            "SELECT has_schema_privilege(current_schema(), 'CREATE')",
        )?
        .unwrap_or(false),
        version: setting(&db, "server_version")?.unwrap_or_default(),
        version_number: number(&db, "server_version_num")?.unwrap_or(0),
        address: address(&db)?,
        tls: told(
            &db,
            "SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid() AND ssl",
        )?,
        fsync: setting(&db, "fsync")?,
        full_page_writes: setting(&db, "full_page_writes")?,
        encoding: setting(&db, "server_encoding")?,
        standbys_wanted: setting(&db, "synchronous_standby_names")?,
        standbys: standbys(&db)?,
        autovacuum: setting(&db, "autovacuum")?,
        connections: connections(&db, place)?,
        clock_ahead_ms: clock_ahead_ms(&db, clock)?,
        schema,
        is_empty,
        data,
    })
}

fn data(session: &Session, vendors_max: u32, clock: &dyn Clock) -> Result<Data, Error> {
    session.run("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")?;
    let seen = look(&Db::Postgres(session), vendors_max, clock.now());
    match session.run("ROLLBACK") {
        Ok(()) => seen,
        // Of two errors the first says more.
        Err(why) => Err(seen.err().unwrap_or(why)),
    }
}

/// Some of the tables that this user may not read and change.
fn closed(db: &Db<'_>) -> Result<Vec<String>, Error> {
    db.all(
        "SELECT CAST(relname AS TEXT) FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE n.nspname = current_schema() AND relkind = 'r'
         AND NOT (has_table_privilege(c.oid, 'SELECT') AND has_table_privilege(c.oid, 'INSERT') AND has_table_privilege(c.oid, 'UPDATE') AND has_table_privilege(c.oid, 'DELETE'))
         ORDER BY 1 LIMIT 5",
        &[],
        |row| row.get(0),
    )
}

/// What came of a question that not every server answers, and none to everybody.
fn if_told<T>(answer: Result<T, Error>) -> Result<Option<T>, Error> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(Error::Database(_)) => Ok(None),
        Err(why) => Err(why),
    }
}

/// The first value that a question brings.
fn told<T: Column>(db: &Db<'_>, sql: &str) -> Result<Option<T>, Error> {
    let answer = db.find(sql, &[], |row| row.get::<Option<T>>(0));
    Ok(if_told(answer)?.flatten().flatten())
}

fn setting(db: &Db<'_>, name: &str) -> Result<Option<String>, Error> {
    let answer = db.one("SELECT current_setting(?1, true)", values![name], |row| {
        row.get::<Option<String>>(0)
    });
    Ok(if_told(answer)?.flatten())
}

fn number(db: &Db<'_>, name: &str) -> Result<Option<i64>, Error> {
    Ok(setting(db, name)?.and_then(|text| text.parse().ok()))
}

fn address(db: &Db<'_>) -> Result<Option<(IpAddr, i64)>, Error> {
    let host: Option<String> = told(db, "SELECT host(inet_server_addr())")?;
    let port: Option<i64> = told(db, "SELECT inet_server_port()")?;
    Ok(host.and_then(|host| host.parse().ok()).zip(port))
}

fn standbys(db: &Db<'_>) -> Result<Option<Vec<Standby>>, Error> {
    let rows = db.all(
        "SELECT coalesce(application_name, ''), sync_state FROM pg_stat_replication ORDER BY 1",
        &[],
        |row| {
            let (name, state): (String, Option<String>) = (row.get(0)?, row.get(1)?);
            let is_synchronous = state.map(|state| matches!(state.as_str(), "sync" | "quorum"));
            Ok(Standby {
                name,
                is_synchronous,
            })
        },
    );
    if_told(rows)
}

fn connections(db: &Db<'_>, place: &Place) -> Result<Option<Connections>, Error> {
    let mut max = number(db, "max_connections")?;
    for reserved in ["superuser_reserved_connections", "reserved_connections"] {
        let reserved = number(db, reserved)?.unwrap_or(0);
        max = max.map(|max| max - reserved);
    }
    let used: Option<i64> = told(
        db,
        "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'",
    )?;
    let taken = i64::try_from(place.readers + BESIDES_READERS).unwrap_or(i64::MAX);
    Ok(max
        .zip(used)
        .map(|(max, used)| Connections { max, used, taken }))
}

fn clock_ahead_ms(db: &Db<'_>, clock: &dyn Clock) -> Result<i64, Error> {
    let before = clock.now().as_micros();
    let there: i64 = db.one(
        "SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT)",
        &[],
        |row| row.get(0),
    )?;
    let after = clock.now().as_micros();
    // It was asked at some moment in between.
    let ahead = if there > after {
        there - after
    } else {
        (there - before).min(0)
    };
    Ok(ahead / 1_000)
}

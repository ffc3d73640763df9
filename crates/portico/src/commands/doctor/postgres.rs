//! A PostgreSQL database and its server.

use std::net::IpAddr;

use store::{
    Error,
    postgres::{
        Place,
        inspect::{Connections, Data, Inspection, inspect},
    },
};

use super::{Check, vendors::VENDORS_MAX};
use crate::system::SystemClock;

/// The oldest version that is supported by who makes it, or was until a year ago: 13.
const VERSION_MIN: i64 = 130_000;

/// Milliseconds that the database's clock and ours may differ before it is told. Nodes take over what another does by the time, after 20 s.
const APART_FEW_MS: u64 = 1_000;

/// Milliseconds from which on one of the two clocks is wrong. Nodes go by the database's.
const APART_MAX_MS: u64 = 10_000;

/// All about the database but its content, which comes with it.
pub(super) fn look(place: &Place) -> (Vec<Check>, Option<Data>) {
    let told = place.told();
    let seen = match inspect(place, VENDORS_MAX, &SystemClock) {
        Ok(seen) => seen,
        Err(why) => {
            let why = match why {
                Error::Busy => format!("{told} does not answer as it should"),
                why => words(why),
            };
            let mend = "see whether it runs, lets this machine in (pg_hba.conf, firewall), and knows this user and password";
            return (vec![Check::fail("database", why, mend)], None);
        }
    };
    let is_here = seen.address.is_none_or(|(host, _)| host.is_loopback());
    let mut checks = vec![
        server(&told, &seen),
        encryption(seen.tls.as_deref(), is_here, place.demands_tls),
    ];
    checks.extend(durability(&seen));
    checks.extend(standbys(&seen));
    checks.extend(seen.connections.as_ref().map(connections));
    checks.extend(autovacuum(&seen));
    checks.push(clock(seen.clock_ahead_ms));
    let (schema, data) = schema(&told, seen);
    checks.push(schema);
    (checks, data)
}

/// An error as it is told where it is said already that it is of the database.
fn words(why: Error) -> String {
    match why {
        Error::Database(why) => why,
        why => why.to_string(),
    }
}

fn server(told: &str, seen: &Inspection) -> Check {
    const NAME: &str = "database";
    let version = &seen.version;
    if seen.version_number < VERSION_MIN {
        return Check::fail(
            NAME,
            format!("{told}: version {version} answers, which is too old"),
            format!("bring it to version {} or later", VERSION_MIN / 10_000),
        );
    }
    if let Some(encoding) = seen.encoding.as_deref().filter(|one| *one != "UTF8") {
        return Check::fail(
            NAME,
            format!("{told}: its encoding is {encoding}, which has no place for every name"),
            "make one with CREATE DATABASE … TEMPLATE template0 ENCODING 'UTF8'",
        );
    }
    let from = match seen.address {
        Some((IpAddr::V6(host), port)) => format!("from [{host}]:{port}"),
        Some((IpAddr::V4(host), port)) => format!("from {host}:{port}"),
        None => "on this machine".to_owned(),
    };
    Check::ok(NAME, format!("{told}: version {version} answers {from}"))
}

/// Whether TLS is spoken, in which version, and has to be.
fn encryption(tls: Option<&str>, is_here: bool, is_demanded: bool) -> Check {
    const NAME: &str = "encryption";
    match tls {
        Some(version) if !is_here && !is_demanded => Check::warn(
            NAME,
            format!(
                "{version}, and would do without: who is on the way to the database can prevent it, and read people's data"
            ),
            "add sslmode=verify-full to the URL",
        ),
        Some(version) => Check::ok(NAME, format!("{version}, and its certificate was verified")),
        None if is_here => Check::ok(NAME, "none, and none needed on this machine"),
        None => Check::warn(
            NAME,
            "none: who is on the way to the database reads people's data",
            "switch ssl on in PostgreSQL, and add sslmode=verify-full to the URL, with sslrootcert=FILE for a certificate authority of your own",
        ),
    }
}

/// Whether what it confirms is on its disk. `synchronous_commit` is not looked at, since each connection of Portico sets that.
fn durability(seen: &Inspection) -> Option<Check> {
    const NAME: &str = "durability";
    let settings = [
        ("fsync", &seen.fsync),
        ("full_page_writes", &seen.full_page_writes),
    ];
    let known = settings.iter().any(|(_, value)| value.is_some());
    let off: Vec<_> = settings
        .iter()
        .filter(|(_, value)| value.as_deref() == Some("off"))
        .map(|(name, _)| *name)
        .collect();
    if off.is_empty() {
        return known.then(|| Check::ok(NAME, "what it confirms is on its disk"));
    }
    let verb = if off.len() == 1 { "is" } else { "are" };
    Some(Check::fail(
        NAME,
        format!(
            "{} {verb} off: when its machine fails, accepted writes are lost, or all of the database is damaged",
            off.join(", ")
        ),
        "set them on in postgresql.conf, and see whether ALTER SYSTEM, ALTER DATABASE or ALTER ROLE says otherwise",
    ))
}

/// Whether what it confirms is on another machine too.
fn standbys(seen: &Inspection) -> Option<Check> {
    const NAME: &str = "standbys";
    const ONE_MACHINE: &str =
        "when this one machine fails for good, accepted writes are lost that no standby has yet";
    let wanted = seen.standbys_wanted.as_deref()?;
    if wanted.trim().is_empty() {
        return Some(Check::warn(
            NAME,
            format!("no commit waits for a standby: {ONE_MACHINE}"),
            "set synchronous_standby_names, such as ANY 1 (one, other); not needed where its disk is kept on more than one machine",
        ));
    }
    let count = standbys_needed(wanted);
    let all = seen.standbys.as_deref().unwrap_or_default();
    let names: Vec<_> = all
        .iter()
        .filter(|one| one.is_synchronous == Some(true))
        .map(|one| one.name.as_str())
        .collect();
    if names.len() >= count {
        return Some(Check::ok(
            NAME,
            format!(
                "each commit waits for {count} of {}: {}",
                names.len(),
                names.join(", ")
            ),
        ));
    }
    if seen.standbys.is_none() || all.iter().any(|one| one.is_synchronous.is_none()) {
        return Some(Check::warn(
            NAME,
            format!(
                "each commit waits for {count} of `{wanted}`; whether they are connected this user may not know"
            ),
            "GRANT pg_monitor TO the user that Portico connects as, or look into pg_stat_replication",
        ));
    }
    Some(Check::fail(
        NAME,
        format!(
            "each commit waits for {count} of `{wanted}`, of which {} are connected: nothing can be accepted",
            names.len()
        ),
        "start the standby, or take it out of synchronous_standby_names",
    ))
}

/// How many standbys a commit waits for: `ANY 2 (a, b, c)`, `FIRST 1 (a, b)`, `2 (a, b)` or, for one, `a, b`.
fn standbys_needed(names: &str) -> usize {
    let before = names.split_once('(').map_or("", |(before, _)| before);
    before
        .split_whitespace()
        .find_map(|word| word.parse().ok())
        .unwrap_or(1)
}

fn connections(seen: &Connections) -> Check {
    const NAME: &str = "connections";
    let Connections { max, used, taken } = seen;
    let found = format!("{used} of at most {max} are there; a node set up like this takes {taken}");
    let mend = "raise max_connections, or lower --store-readers";
    if taken > max {
        return Check::fail(NAME, found, mend);
    }
    if used + taken > *max {
        return Check::warn(NAME, format!("{found}, for which there is no room"), mend);
    }
    Check::ok(NAME, found)
}

fn autovacuum(seen: &Inspection) -> Option<Check> {
    const NAME: &str = "autovacuum";
    match seen.autovacuum.as_deref()? {
        "off" => Some(Check::fail(
            NAME,
            "it is off: rows that have ended stay, and everything grows slower",
            "set autovacuum = on",
        )),
        _ => Some(Check::ok(NAME, "it is on")),
    }
}

fn clock(ahead_ms: i64) -> Check {
    const NAME: &str = "database clock";
    const SET: &str = "set both, and keep them set, with chrony or systemd-timesyncd; the clocks of all nodes too";
    let apart_ms = ahead_ms.unsigned_abs();
    let way = if ahead_ms > 0 { "ahead of" } else { "behind" };
    let found = format!("it is {:.1} s {way} ours", apart_ms as f64 / 1_000.0);
    if apart_ms > APART_MAX_MS {
        return Check::fail(NAME, found, SET);
    }
    if apart_ms > APART_FEW_MS {
        return Check::warn(NAME, found, SET);
    }
    Check::ok(NAME, "it says the same as ours")
}

fn schema(told: &str, seen: Inspection) -> (Check, Option<Data>) {
    const NAME: &str = "schema";
    match (seen.schema, seen.data) {
        (Err(why), _) => (
            Check::fail(NAME, why, "start the Portico that wrote it"),
            None,
        ),
        (Ok(_), Some(Ok(data))) if !seen.closed.is_empty() => (
            Check::fail(
                NAME,
                format!(
                    "it is up to date, and this user may not read and change all of its tables ({}, …)",
                    seen.closed.join(", ")
                ),
                "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public, or name the user that servers have",
            ),
            Some(data),
        ),
        (Ok(_), Some(Ok(data))) => (Check::ok(NAME, "it is up to date"), Some(data)),
        (Ok(_), Some(Err(why))) => (
            Check::fail(
                NAME,
                format!("what is in {told} cannot be read: {}", words(why)),
                "see whether this user may read and change all of its tables",
            ),
            None,
        ),
        (Ok(_), None) if !seen.others.is_empty() => (
            Check::fail(
                NAME,
                format!(
                    "what it holds is not Portico's ({}, …)",
                    seen.others.join(", ")
                ),
                "name a database of Portico's own",
            ),
            None,
        ),
        (Ok(_), None) if seen.is_empty && !seen.may_create => (
            Check::warn(
                NAME,
                "there is no Portico data in it yet, and this user may make no tables in it",
                "run `portico store migrate` as a user who may, and see that search_path names a schema",
            ),
            None,
        ),
        (Ok(_), None) if seen.is_empty => (
            Check::warn(
                NAME,
                "there is no Portico data in it yet",
                "`portico serve` or `portico store migrate` makes it ready",
            ),
            None,
        ),
        (Ok(steps), None) => (
            Check::warn(
                NAME,
                format!("it is {steps} steps behind; what is in it was not looked at"),
                "`portico store migrate`, or the next start of `portico serve`, brings it up to date",
            ),
            None,
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_many_standbys_are_waited_for_is_read_as_postgresql_reads_it() {
        for (names, count) in [
            ("ANY 2 (a, b, c)", 2),
            ("FIRST 3 (a,b,c)", 3),
            ("any 1 (*)", 1),
            ("2 (a, b)", 2),
            ("*", 1),
            ("a, b", 1),
            ("\"2\"", 1),
        ] {
            assert_eq!(standbys_needed(names), count, "{names}");
        }
    }

    #[test]
    fn tls_that_may_be_left_away_is_warned_of_where_others_are_on_the_way() {
        for (tls, is_here, is_demanded, wanted) in [
            (Some("TLSv1.3"), false, true, "ok"),
            (Some("TLSv1.3"), false, false, "warn"),
            (Some("TLSv1.3"), true, false, "ok"),
            (None, false, false, "warn"),
            (None, true, false, "ok"),
        ] {
            let check = encryption(tls, is_here, is_demanded);
            let state = serde_json::to_value(&check).unwrap()["state"].clone();
            assert_eq!(state, wanted, "{tls:?} {is_here} {is_demanded}");
        }
    }
}

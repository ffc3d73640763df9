//! The database, the master key to it, and what both say of the clock and of who may come in.

use std::{path::Path, time::Duration};

use model::{Clock, Secret, Timestamp};
use store::{
    clock::{Dial, JUMP_MIN_MICROS},
    migrations::SQLITE,
    sealing::{KeySource, MasterKey},
    sqlite::inspect::{Data, Misread, Soundness, inspect},
};

use super::{Check, vendors::VENDORS_MAX};
use crate::{commands::dev, data_dir, master_key::Source, system::SystemClock};

/// How long the database is looked through: it may be tens of GB.
const INSPECT_WITHIN: Duration = Duration::from_secs(10);

/// What the clock cannot be before: 2026-11-01, when this was written.
const BUILT_AT: Timestamp = Timestamp::from_micros(1_793_491_200_000_000);

/// What the clock is hardly after: 2100.
const FAR_AT: Timestamp = Timestamp::from_micros(4_102_444_800_000_000);

/// Records with a wrong phone number that are named.
const MISREAD_SHOWN: usize = 10;

/// Milliseconds that the clock may be behind what is stored: records are stamped a little ahead of a clock that stands.
const BEHIND_MAX_MS: u64 = 1_000;

pub(super) fn database(path: &Path) -> (Check, Option<Data>) {
    const NAME: &str = "database";
    const BACKUP: &str = "stop the server, keep a copy of the data directory, and restore a backup";
    const RIGHTS: &str = "this says nothing of what is in it. Run this as the user who runs the server; if that is so, look at the rights of its files and at the disk";
    const LOSS: &str = "put the files back as they were; to go on without these commits, start once with `portico serve --accept-loss`";
    let shown = path.display();
    let unread = |why: &dyn std::fmt::Display| {
        Check::fail(NAME, format!("{shown} cannot be read: {why}"), RIGHTS)
    };
    let seen = match inspect(path, INSPECT_WITHIN, VENDORS_MAX, SystemClock.now()) {
        Ok(seen) => seen,
        Err(why) => return (unread(&why), None),
    };
    let found = match &seen.soundness {
        Soundness::Sound => "it is sound".to_owned(),
        Soundness::Unknown => format!(
            "it is sound as far as it was looked at in {} s",
            INSPECT_WITHIN.as_secs()
        ),
        Soundness::Damaged(damages) => {
            let found = format!("{shown} is damaged: {}", damages.join("; "));
            return (Check::fail(NAME, found, BACKUP), None);
        }
    };
    if seen.missing_commits > 0 {
        let found = format!(
            "{shown} lacks the last {} commits that the server has answered: its write-ahead log was cut or damaged, or an older copy is in its place",
            seen.missing_commits
        );
        return (Check::fail(NAME, found, LOSS), None);
    }
    match (seen.schema, seen.data) {
        (Err(why), _) => (
            Check::fail(NAME, why, "start the Portico that wrote it"),
            None,
        ),
        (Ok(_), Some(Ok(data))) => (
            Check::ok(NAME, format!("{found}, its schema is up to date")),
            Some(data),
        ),
        (Ok(_), Some(Err(why @ store::Error::Corrupt(_)))) => {
            let found = format!("{shown} holds what cannot be read: {why}");
            (Check::fail(NAME, found, BACKUP), None)
        }
        (Ok(_), Some(Err(why))) => (unread(&why), None),
        (Ok(steps), None) if steps == SQLITE.len() => (
            Check::warn(
                NAME,
                format!("{shown} is empty"),
                "the next start of `portico serve` makes a new store in it; if there was one before, restore a backup",
            ),
            None,
        ),
        (Ok(steps), None) => (
            Check::warn(
                NAME,
                format!(
                    "{found}, its schema is {steps} steps behind; what is in it was not looked at"
                ),
                "the next start of `portico serve` brings it up to date",
            ),
            None,
        ),
    }
}

/// The master key, the clock, and what else is told of what is stored, wherever that is.
pub(super) fn look(held: &Held, data: Option<&Data>, data_dir: Option<&Path>) -> Vec<Check> {
    let mut found = vec![master_key(held, data, data_dir), clock(data)];
    found.extend(data.map(keys));
    found.extend(data.map(webhooks));
    found.extend(data.and_then(|data| phone_numbers(&data.misread)));
    found
}

/// The master keys that a source holds.
pub(super) struct Held {
    source: anyhow::Result<Source>,
    keys: Result<Vec<Secret>, String>,
}

impl Held {
    pub(super) fn of(source: anyhow::Result<Source>) -> Self {
        let mut held = Self {
            source,
            keys: Ok(Vec::new()),
        };
        held.reads_the_same();
        held
    }

    /// Reads the keys again. `true` when they are those that were read before.
    pub(super) fn reads_the_same(&mut self) -> bool {
        let Ok(source) = &self.source else {
            return true;
        };
        let before = std::mem::replace(&mut self.keys, source.read());
        match (&before, &self.keys) {
            (Ok(before), Ok(now)) => before
                .iter()
                .map(Secret::expose)
                .eq(now.iter().map(Secret::expose)),
            (before, now) => before.is_err() == now.is_err(),
        }
    }
}

fn master_key(held: &Held, data: Option<&Data>, data_dir: Option<&Path>) -> Check {
    const NAME: &str = "master key";
    const NAME_IT: &str = "name it with --master-key-file, PORTICO_MASTER_KEY_FILE, PORTICO_MASTER_KEY or PORTICO_MASTER_KEY_COMMAND, as the server has it";
    let source = match &held.source {
        Ok(source) => source,
        Err(why) => {
            let found = match data.and_then(|data| data.master_key) {
                None => why.to_string(),
                Some(id) => format!(
                    "{}, and secrets in the database are sealed under key {id}",
                    why.to_string().split(':').next().unwrap_or_default()
                ),
            };
            return Check::fail(NAME, found, NAME_IT);
        }
    };
    let keys = match &held.keys {
        Ok(keys) => keys,
        Err(why) => return Check::fail(NAME, why, "mend its source, or name another"),
    };
    let told = source.told();
    let mut ids = Vec::with_capacity(keys.len());
    for key in keys {
        match MasterKey::parse(key) {
            Ok(key) => ids.push(key.id()),
            Err(_) => {
                return Check::fail(
                    NAME,
                    format!("what {told} has is not 64 hexadecimal digits"),
                    "write there what `openssl rand -hex 32` prints, for a store that has no key yet; else the key that it has",
                );
            }
        }
    }
    let Some(first) = ids.first() else {
        return Check::fail(NAME, format!("{told} has none"), NAME_IT);
    };
    let Some(data) = data else {
        return Check::ok(
            NAME,
            format!("{told} has key {first}; what it opens was not looked at"),
        );
    };
    let wanted = data.master_key.iter().chain(&data.sealed_under);
    if let Some(missing) = wanted.clone().find(|id| !ids.contains(id)) {
        let shown: Vec<_> = ids.iter().map(ToString::to_string).collect();
        return Check::fail(
            NAME,
            format!(
                "{told} has {}, and secrets in the database are sealed under key {missing}",
                shown.join(", ")
            ),
            "put that key back; the vendors' credentials cannot be read without it",
        );
    }
    let is_moving = wanted.clone().any(|id| id != first);
    if is_moving || ids.len() > 1 {
        return Check::warn(
            NAME,
            format!(
                "{told} has {} keys: a replacement has begun and is not done",
                ids.len()
            ),
            "end it with `portico keys rotate-master`",
        );
    }
    let made_by_dev = data_dir.map(|path| path.join(dev::MASTER_KEY));
    if made_by_dev.is_some() && source.file() == made_by_dev.as_deref() {
        return Check::ok(
            NAME,
            format!("{first}, which `portico dev` made; `portico serve` wants it named"),
        );
    }
    Check::ok(
        NAME,
        format!("{told} has key {first}, and it is the right one"),
    )
}

/// True if the clock is behind where it was when it was right, as far as the row of the database
/// knows. A jump ahead that the clock came back from is over.
fn is_behind(dial: &Dial, now: Timestamp, newest_at: Timestamp) -> bool {
    let now = now.as_micros();
    let behind = if dial.noted_at == Timestamp::ZERO {
        newest_at.as_micros().saturating_sub(now)
    } else {
        // No server may have noticed yet that the clock was set back.
        let back = dial.noted_at.as_micros().saturating_sub(now).max(0);
        back.saturating_sub(dial.ahead_micros)
    };
    behind > JUMP_MIN_MICROS
}

fn clock(data: Option<&Data>) -> Check {
    const NAME: &str = "clock";
    const SET: &str = "set it, and keep it set: install chrony or enable systemd-timesyncd";
    let now = SystemClock.now();
    if now < BUILT_AT || now > FAR_AT {
        return Check::fail(NAME, format!("it says {now}, which cannot be"), SET);
    }
    let newest = data.map(|data| (data, data.newest_at));
    let newest = newest.filter(|(_, at)| at.millis_since(now) > BEHIND_MAX_MS);
    if let Some((data, newest_at)) = newest {
        if is_behind(&data.clock, now, newest_at) {
            let found = format!("it says {now}, and {newest_at} is stored already: it is behind");
            return Check::fail(NAME, found, SET);
        }
        let found = format!(
            "it says {now}; it was ahead until it was set right, and {newest_at} is stored"
        );
        return Check::warn(
            NAME,
            found,
            "nothing needs doing: new records and events get times just after that one",
        );
    }
    // The server clears it when as much time has passed.
    if let Some(ahead_s) = data.map(|data| data.clock.ahead_micros / 1_000_000)
        && ahead_s > 0
    {
        return Check::warn(
            NAME,
            format!(
                "it says {now}; it was set ahead by {ahead_s} s, which nobody has confirmed: until then nothing is given up, removed, switched off or expires for it"
            ),
            "if the time is right, run `portico clock accept`; else set the clock back",
        );
    }
    Check::ok(NAME, format!("it says {now}"))
}

fn keys(data: &Data) -> Check {
    const NAME: &str = "API keys";
    match data.keys {
        0 => Check::warn(
            NAME,
            "there is none in force: nobody can send anything",
            "portico keys create --name NAME",
        ),
        some => Check::ok(NAME, format!("{some} in force")),
    }
}

/// Receivers that fail. Why is told without the receiver's address, which may hold a secret.
fn webhooks(data: &Data) -> Check {
    const NAME: &str = "webhooks";
    if data.failing.is_empty() {
        let found = match data.webhooks {
            0 => "there is none".to_owned(),
            some => format!("{some}, and none fails"),
        };
        return Check::ok(NAME, found);
    }
    let told: Vec<String> = data
        .failing
        .iter()
        .map(|(id, reason)| match reason {
            Some(reason) => format!("{id} was switched off: {}", reason.trim_end_matches('.')),
            None => format!("{id} fails"),
        })
        .collect();
    let is_by_key = |reason: &Option<String>| {
        let reason = reason.as_deref();
        reason.is_some_and(|reason| reason.starts_with("The API key that made it"))
    };
    let advice = if data.failing.iter().any(|(_, reason)| is_by_key(reason)) {
        "see whose URL it is before one is switched on whose key has ended: it then is yours, and ends with your key. DELETE /v1/webhooks/{id} removes it. Of the others GET /v1/webhooks/{id}/deliveries shows why; once the receiver is mended, switch it on with PUT /v1/webhooks/{id} {\"active\": true}"
    } else {
        "GET /v1/webhooks/{id}/deliveries shows why; once the receiver is mended, switch it on with PUT /v1/webhooks/{id} {\"active\": true}: what happened meanwhile is kept and sent"
    };
    Check::warn(
        NAME,
        format!("of {}, {}", data.webhooks, told.join("; ")),
        advice,
    )
}

/// Records whose phone number is not the one that was accepted. Nothing is told when there are none.
fn phone_numbers(misread: &Misread) -> Option<Check> {
    const NAME: &str = "phone numbers";
    let all = misread.ids.iter().map(String::as_str);
    let ids: Vec<&str> = all.take(MISREAD_SHOWN).collect();
    let more = match (misread.ids.len() - ids.len(), misread.is_whole) {
        (0, true) => String::new(),
        (0, false) => "; the newest writes were not looked at".to_owned(),
        (more, true) => format!(" and {more} more"),
        (more, false) => format!(" and at least {more} more"),
    };
    if ids.is_empty() {
        let found = "those of the oldest writes are as accepted; there was no time for the rest";
        return (!misread.is_whole).then(|| Check::ok(NAME, found));
    }
    Some(Check::warn(
        NAME,
        format!(
            "an earlier version stored another number than the one that was accepted: {}{more}",
            ids.join(", ")
        ),
        "for each, read the accepted phone_1 at GET /v1/admin/logs/writes/ and send it with PUT /crm/v1/prospects/{id}, or correct the guest card at the vendor; docs/operate/phone-numbers.md says how",
    ))
}

pub(super) fn server(data_dir: &Path) -> Check {
    const NAME: &str = "server";
    match data_dir::is_served(data_dir) {
        Ok(true) => Check::ok(NAME, "one runs on this data"),
        Ok(false) => Check::ok(NAME, "none runs on this data"),
        Err(why) => Check::warn(
            NAME,
            format!("whether one runs cannot be told: {why}"),
            "keep the data directory on a disk of this machine",
        ),
    }
}

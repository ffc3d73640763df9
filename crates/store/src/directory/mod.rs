//! Integrations and what belongs to them.
//!
//! Guarantee: a change and its entry in the audit log are one transaction; each change takes a number, so that what changed since can be read without the rest.

pub(crate) mod keys;
pub mod live;

use model::{
    Actor, Directory, IntegrationId, Secret, Timestamp, Vendor,
    directory::{Agent, Attribution, Branch, Community, Contents, Integration, Settings},
    key::System,
    record::Kind,
    resources::integration::{Change, IntegrationRecord, Member},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::{
    Error, Sealer, Store,
    audit::{self, Author, Deed},
    engines::{
        Transaction,
        db::{self, Db, corrupt, values},
    },
    listing,
    queue::pace,
    reading::Reading,
    records,
    sealing::Purpose,
    tokens,
};

/// An integration and what belongs to it, to be registered or changed as one.
pub struct Registration {
    /// The integration.
    pub integration: Integration,
    /// Its communities.
    pub communities: Vec<Community>,
    /// Its attributions.
    pub attributions: Vec<Attribution>,
    /// Its agents.
    pub agents: Vec<Agent>,
}

/// What became of a member that was registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registered {
    /// Its id.
    pub id: String,
    /// Whether it was not known before.
    pub is_new: bool,
}

/// An integration's body: what is neither a column nor a secret.
#[derive(Serialize, Deserialize)]
struct Body {
    name: String,
    system: System,
    settings: Settings,
}

pub(crate) fn revision(db: &Db<'_>) -> Result<i64, Error> {
    db.one(
        "SELECT revision FROM revisions WHERE what = 'directory'",
        &[],
        |row| row.get(0),
    )
}

/// Takes the number of a change.
pub(crate) fn changed(tx: &mut Transaction<'_>) -> Result<i64, Error> {
    tx.raised.directory = true;
    tx.one(
        "UPDATE revisions SET revision = revision + 1 WHERE what = 'directory' RETURNING revision",
        &[],
        |row| row.get(0),
    )
}

/// Something that belongs to an integration has changed.
pub(crate) fn branch_changed(tx: &mut Transaction<'_>, lane: i64) -> Result<(), Error> {
    let revision = changed(tx)?;
    tx.execute(
        "UPDATE integrations SET revision = ?2 WHERE n = ?1",
        values![lane, revision],
    )
    .map(drop)
}

/// What changed after a revision; 0 is before all.
pub(crate) fn contents(db: &Db<'_>, sealer: &Sealer, since: i64) -> Result<Contents, Error> {
    let revision = revision(db)?;
    if revision == since {
        return Ok(Contents {
            revision,
            ..Contents::default()
        });
    }
    let mut branches = Vec::new();
    for stored in stored(db, "revision > ?1 ORDER BY n", values![since])? {
        let integration = stored.open(sealer)?;
        branches.push(Branch {
            communities: bodies(db, stored.lane, Kind::Community)?,
            attributions: bodies(db, stored.lane, Kind::Attribution)?,
            agents: bodies(db, stored.lane, Kind::Agent)?,
            integration,
        });
    }
    Ok(Contents {
        revision,
        keys: keys::since(db, since)?,
        branches,
    })
}

/// An integration as it is stored, its credential sealed.
struct Stored {
    lane: i64,
    sealed: Vec<u8>,
    integration: Integration,
}

impl Stored {
    fn open(&self, sealer: &Sealer) -> Result<Integration, Error> {
        let id = self.integration.id.to_string();
        Ok(Integration {
            credential: sealer.open(&id, Purpose::Credential, &self.sealed)?,
            ..self.integration.clone()
        })
    }
}

/// The columns of a row, as they are read.
type Columns = (
    i64,
    String,
    String,
    bool,
    Vec<u8>,
    String,
    [Option<i64>; 4],
    Option<String>,
);

fn stored(db: &Db<'_>, condition: &str, values: &[db::Value<'_>]) -> Result<Vec<Stored>, Error> {
    let rows: Vec<Columns> = db.all(
        &format!(
            "SELECT n, id, vendor, active, credential, body, created_at, updated_at, paused_at, archived_at, access FROM integrations WHERE {condition}"
        ),
        values,
        |row| {
                let times = [row.get(6)?, row.get(7)?, row.get(8)?, row.get(9)?];
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?, times, row.get(10)?))
            },
    )?;
    rows.into_iter().map(read).collect()
}

fn read((lane, id, vendor, active, sealed, body, times, access): Columns) -> Result<Stored, Error> {
    let body: Body = serde_json::from_str(&body).map_err(corrupt("an integration"))?;
    let [created_at, updated_at, paused_at, archived_at] =
        times.map(|at| at.map(Timestamp::from_micros));
    let access = access
        .map(|access| serde_json::from_str(&access))
        .transpose()
        .map_err(corrupt("an integration's access"))?;
    let id = id
        .parse()
        .map_err(|_| Error::Corrupt("the id of an integration".to_owned()))?;
    let vendor = vendor.parse::<Vendor>().map_err(Error::Corrupt)?;
    let integration = Integration {
        active,
        paused_at,
        archived_at,
        access,
        created_at: created_at.unwrap_or_default(),
        updated_at: updated_at.unwrap_or_default(),
        ..Integration::new(
            id,
            body.name,
            vendor,
            body.system,
            body.settings,
            Secret::new(""),
        )
    };
    Ok(Stored {
        lane,
        sealed,
        integration,
    })
}

fn find(db: &Db<'_>, id: IntegrationId) -> Result<Option<Stored>, Error> {
    Ok(stored(db, "id = ?1", values![id.to_string()])?.pop())
}

fn bodies<T: DeserializeOwned>(db: &Db<'_>, lane: i64, kind: Kind) -> Result<Vec<T>, Error> {
    let rows: Vec<String> = db.all(
        "SELECT body FROM records WHERE lane = ?1 AND kind = ?2 ORDER BY seq",
        values![lane, kind.word()],
        |row| row.get(0),
    )?;
    rows.iter()
        .map(|body| serde_json::from_str(body).map_err(corrupt("a record of the directory")))
        .collect()
}

fn shown(integration: &Integration) -> Result<Value, Error> {
    serde_json::to_value(IntegrationRecord::from(integration)).map_err(corrupt("an integration"))
}

/// Writes an integration's row, new or not, and gives its place.
fn write(tx: &mut Transaction<'_>, one: &Integration, sealed: &[u8]) -> Result<i64, Error> {
    let revision = changed(tx)?;
    let body = Body {
        name: one.name.clone(),
        system: one.system,
        settings: one.settings.clone(),
    };
    let body = serde_json::to_string(&body).map_err(corrupt("an integration"))?;
    tx.one(
        "INSERT INTO integrations (id, vendor, active, credential, body, created_at, updated_at, revision, paused_at, archived_at, access)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
             ON CONFLICT (id) DO UPDATE SET vendor = ?2, active = ?3, credential = ?4, body = ?5, updated_at = ?7, revision = ?8, paused_at = ?9, archived_at = ?10, access = ?11
             RETURNING n",
        values![
            one.id.to_string(),
            one.vendor.name(),
            one.active,
            sealed,
            body,
            one.created_at.as_micros(),
            one.updated_at.as_micros(),
            revision,
            one.paused_at.map(Timestamp::as_micros),
            one.archived_at.map(Timestamp::as_micros),
            one.access.as_ref().map(Value::to_string),
        ],
        |row| row.get(0),
    )
}

/// Registers an integration with all that belongs to it, or replaces what is registered under the same ids.
pub(crate) fn register(
    tx: &mut Transaction<'_>,
    by: &Author,
    registration: &Registration,
    sealed: &[u8],
    now: Timestamp,
) -> Result<(), Error> {
    let before = find(tx, registration.integration.id)?.map(|stored| stored.integration);
    let after = Integration {
        created_at: before.as_ref().map_or(now, |before| before.created_at),
        updated_at: now,
        ..registration.integration.clone()
    };
    let lane = write(tx, &after, sealed)?;
    if before.is_some() {
        pace::begin_anew(tx, lane)?;
        tokens::forget(tx, &after.id.to_string())?;
    }
    let action = match &before {
        None => "integration_create",
        Some(_) => "integration_update",
    };
    let deed = Deed {
        action,
        integration: Some((lane, after.id)),
        subject: after.id.to_string(),
        before: before.as_ref().map(shown).transpose()?.unwrap_or_default(),
        after: shown(&after)?,
    };
    audit::record(tx, by, deed, now)?;
    let integration_id = after.id.to_string();
    let mut put = |kind: Kind, id: String, x_id: &str, body: Result<Value, _>| {
        let body = body.map_err(corrupt("a record of the directory"))?;
        let new = records::New {
            id: &id,
            kind,
            lane,
            integration_id: &integration_id,
            x_id: Some(x_id),
            body: &body,
        };
        put(tx, &new, now)
    };
    for one in &registration.communities {
        put(
            Kind::Community,
            one.id.to_string(),
            &one.x_id,
            serde_json::to_value(one),
        )?;
    }
    for one in &registration.attributions {
        put(
            Kind::Attribution,
            one.id.to_string(),
            &one.x_id,
            serde_json::to_value(one),
        )?;
    }
    for one in &registration.agents {
        put(
            Kind::Agent,
            one.id.to_string(),
            &one.x_id,
            serde_json::to_value(one),
        )?;
    }
    Ok(())
}

fn put(tx: &mut Transaction<'_>, new: &records::New<'_>, now: Timestamp) -> Result<(), Error> {
    let at = tx.next_stamp(now)?;
    match records::by_id(tx, new.id)? {
        Some(old) if old.lane == new.lane && old.kind == new.kind => {
            records::register(tx, Some(&old), new, at)
        }
        None => records::register(tx, None, new, at),
        Some(_) => Err(Error::Conflict(format!(
            "the {} {} belongs to another integration",
            new.kind.word(),
            new.id
        ))),
    }
}

/// Applies `change` to an integration as it is stored; `sealed` is its credential, should that be another. `None` when there is none that the caller may know of.
pub(crate) fn change(
    tx: &mut Transaction<'_>,
    by: &Author,
    (id, action): (IntegrationId, &str),
    (change, sealed): (&Change, Option<&[u8]>),
    now: Timestamp,
) -> Result<Option<Integration>, Error> {
    let Some(stored) = find(tx, id)?.filter(|_| by.scope.sees(id)) else {
        return Ok(None);
    };
    // Its credential stays sealed: nothing here needs it.
    let before = stored.integration;
    if before.archived_at.is_some() {
        if change.archived_at.is_some() {
            return Ok(Some(before));
        }
        return Err(Error::Conflict(
            "this integration is archived; make another one".to_owned(),
        ));
    }
    if change.archived_at.is_some() {
        nothing_is_open(tx, stored.lane)?;
    }
    let mut after = before.clone();
    change.apply(&mut after);
    after.updated_at = now;
    let sealed = sealed.unwrap_or(&stored.sealed);
    write(tx, &after, sealed)?;
    let leads_elsewhere =
        change.credential.is_some() || after.settings.base_url != before.settings.base_url;
    if leads_elsewhere || after.settings.call_gap_micros() != before.settings.call_gap_micros() {
        pace::begin_anew(tx, stored.lane)?;
    }
    if leads_elsewhere || change.archived_at.is_some() {
        tokens::forget(tx, &id.to_string())?;
    }
    let mut told = shown(&after)?;
    if change.credential.is_some() {
        told["credentials"] = json!("replaced");
    }
    let deed = Deed {
        action,
        integration: Some((stored.lane, id)),
        subject: id.to_string(),
        before: shown(&before)?,
        after: told,
    };
    audit::record(tx, by, deed, now)?;
    if after.calls() {
        // What waited while it was paused goes on.
        tx.raised.due.insert(id);
    }
    Ok(Some(after))
}

/// The open writes of an integration that are due or under a lease, as far as they are counted. The
/// others wait for one of them.
const OPEN: &str =
    "SELECT (SELECT count(*) FROM (SELECT 1 FROM queue q WHERE q.lane = ?1 AND q.state = 1 LIMIT ?2) AS due)
          + (SELECT count(*) FROM (SELECT 1 FROM queue q WHERE q.lane = ?1 AND q.state = 2 LIMIT ?2) AS leased)";

/// Open writes that are counted for a refusal.
const OPEN_COUNTED_MAX: i64 = 10_000;

fn nothing_is_open(db: &Db<'_>, lane: i64) -> Result<(), Error> {
    let open: i64 = db.one(OPEN, values![lane, OPEN_COUNTED_MAX], |row| row.get(0))?;
    let more = match open {
        0 => return Ok(()),
        OPEN_COUNTED_MAX.. => " or more",
        _ => "",
    };
    Err(Error::Conflict(format!(
        "writes to this integration have not ended: {open}{more}, and those that wait for them. Deactivate it, so that it takes no more, resume it if it is paused, and archive it when they have ended"
    )))
}

/// Registers members of an integration. Those that are known by the vendor's id of them keep their id and are changed. `None` when there is no such integration
/// that the caller may know of.
pub(crate) fn members(
    tx: &mut Transaction<'_>,
    by: &Author,
    (id, action): (IntegrationId, &str),
    members: &[Member],
    now: Timestamp,
) -> Result<Option<Vec<Registered>>, Error> {
    let Some(stored) = find(tx, id)?.filter(|_| by.scope.sees(id)) else {
        return Ok(None);
    };
    if stored.integration.archived_at.is_some() {
        return Err(Error::Conflict(
            "this integration is archived; make another one".to_owned(),
        ));
    }
    let integration_id = id.to_string();
    let mut registered = Vec::with_capacity(members.len());
    for member in members {
        let known = records::by_x_id(tx, stored.lane, member.kind, &member.x_id)?;
        let mut body = member.body.clone();
        let own_id = known.as_ref().map_or(&member.id, |known| &known.id);
        body["id"] = json!(own_id);
        if body["active"].is_null() {
            let stands = known
                .as_ref()
                .and_then(|known| known.body["active"].as_bool());
            body["active"] = json!(stands.unwrap_or(member.is_active_when_new));
        }
        let new = records::New {
            id: own_id,
            kind: member.kind,
            lane: stored.lane,
            integration_id: &integration_id,
            x_id: Some(&member.x_id),
            body: &body,
        };
        let at = tx.next_stamp(now)?;
        records::register(tx, known.as_ref(), &new, at)?;
        registered.push(Registered {
            id: own_id.clone(),
            is_new: known.is_none(),
        });
    }
    branch_changed(tx, stored.lane)?;
    let deed = Deed {
        action,
        integration: Some((stored.lane, id)),
        subject: integration_id,
        before: Value::Null,
        after: json!({
            "registered": registered.iter().zip(members).map(|(one, member)| {
                json!({ "id": one.id, "is_new": one.is_new, "x_id": member.x_id })
            }).collect::<Vec<_>>(),
        }),
    };
    audit::record(tx, by, deed, now)?;
    Ok(Some(registered))
}

/// Notes something that was asked of an integration and changes nothing of it.
pub(crate) fn note(
    db: &Db<'_>,
    by: &Author,
    id: IntegrationId,
    (action, subject): (&str, &str),
    now: Timestamp,
) -> Result<(), Error> {
    let lane = listing::lane(db, id)?;
    let deed = Deed {
        action,
        integration: lane.map(|lane| (lane, id)),
        subject: subject.to_owned(),
        before: Value::Null,
        after: Value::Null,
    };
    audit::record(db, by, deed, now)
}

impl Store {
    /// The directory as it is now.
    ///
    /// # Errors
    /// As [`Store::directory_contents`].
    pub async fn directory_load(&self) -> Result<Directory, Error> {
        Ok(Directory::new(self.directory_contents(0).await?))
    }

    /// A number that grows with each change of the directory.
    pub async fn directory_revision(&self) -> Result<i64, Error> {
        self.engine.read(Reading::OWN, revision).await
    }

    /// What changed in the [`Directory`](model::Directory) after `since`, credentials unsealed; all of it for 0.
    pub async fn directory_contents(&self, since: i64) -> Result<Contents, Error> {
        self.read_sealed(Reading::OWN, move |db, sealer| contents(db, sealer, since))
            .await
    }

    /// Registers an integration with all that belongs to it, or replaces what is registered under the same ids.
    pub async fn integration_register(
        &self,
        by: &Actor,
        registration: Registration,
        now: Timestamp,
    ) -> Result<(), Error> {
        let owner = registration.integration.id.to_string();
        let credential = registration.integration.credential.clone();
        let by = self.author(by).await?;
        let change = move |tx: &mut Transaction<'_>, sealed: &[u8]| {
            register(tx, &by, &registration, sealed, now)
        };
        self.write_sealed(&owner, Purpose::Credential, &credential, change)
            .await
    }

    /// Changes an integration; `action` is what the audit log calls that. `None` when there is none that the caller may know of.
    ///
    /// # Errors
    /// [`Error::Conflict`] when it is archived, or is to be while writes to it are open.
    pub async fn integration_change(
        &self,
        by: &Actor,
        id: IntegrationId,
        action: &'static str,
        change: Change,
        now: Timestamp,
    ) -> Result<Option<Integration>, Error> {
        let by = self.author(by).await?;
        let secret = match (&change.credential, change.archived_at) {
            (_, Some(_)) => Secret::new(""),
            (Some(credential), None) => credential.clone(),
            (None, None) => {
                return self
                    .engine
                    .write(move |tx| {
                        let what = (id, action);
                        self::change(tx, &by, what, (&change, None), now)
                    })
                    .await;
            }
        };
        let change = move |tx: &mut Transaction<'_>, sealed: &[u8]| {
            let (what, change) = ((id, action), (&change, Some(sealed)));
            self::change(tx, &by, what, change, now)
        };
        self.write_sealed(&id.to_string(), Purpose::Credential, &secret, change)
            .await
    }

    /// Registers communities, attributions or agents with an integration, all or none; each that is known by the vendor's id of it is changed instead.
    /// `None` when there is no such integration that the caller may know of.
    ///
    /// # Errors
    /// [`Error::Conflict`] when the integration is archived.
    pub async fn members_register(
        &self,
        by: &Actor,
        id: IntegrationId,
        action: &'static str,
        members: Vec<Member>,
        now: Timestamp,
    ) -> Result<Option<Vec<Registered>>, Error> {
        let by = self.author(by).await?;
        self.engine
            .write(move |tx| self::members(tx, &by, (id, action), &members, now))
            .await
    }
}

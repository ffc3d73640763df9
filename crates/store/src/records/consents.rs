//! What was said about automated messages to a person: one event for each write that has that.
//!
//! Guarantee: an event is stored in the transaction that accepts its write, and never changed or removed (the schema refuses it).

use model::{
    CommunityId, Consent, IntegrationId, JobId, KeyId, Scope, Timestamp, record::Kind,
    write::WriteStatus,
};

use crate::{
    Error, Page, Store,
    engines::db::{Db, Row, values},
    records,
};

/// Which consent events, newest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsentQuery {
    /// Of this prospect.
    pub prospect_id: String,
    /// Events to skip.
    pub offset: u64,
    /// Events at most.
    pub limit: u64,
}

/// What a write said about automated messages to its prospect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsentEvent {
    /// Its place among all.
    pub seq: i64,
    /// When the write was accepted.
    pub at: Timestamp,
    /// What it said.
    pub consent: Consent,
    /// The request that brought it.
    pub request_id: String,
    /// The key that it came with; `None` for the operator at the machine.
    pub key_id: Option<KeyId>,
    /// The write.
    pub job_id: JobId,
    /// The write that first said it, when this one is a retry.
    pub repeats_job_id: Option<JobId>,
    /// The integration that the write went to.
    pub integration_id: IntegrationId,
    /// The community that it concerned.
    pub community_id: CommunityId,
    /// How the write stands.
    pub write_status: WriteStatus,
}

/// A page of a prospect's events, newest first; `None` when there is no such prospect that the caller may know of.
pub(crate) fn list(
    db: &Db<'_>,
    scope: &Scope,
    query: &ConsentQuery,
) -> Result<Option<Page<ConsentEvent>>, Error> {
    let id = &query.prospect_id;
    if records::find(db, scope, Kind::Prospect, id)?.is_none() {
        return Ok(None);
    }
    let total: i64 = db.one(
        "SELECT count(*) FROM writes w CROSS JOIN consents c ON c.seq = w.seq WHERE w.record_id = ?1",
        values![id],
        |row| row.get(0),
    )?;
    let total = total.unsigned_abs();
    let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    let rows = db.all(
        "SELECT c.seq, c.at, c.value, c.is_stated, c.request_id, c.key_id, w.job_id, c.repeats_job_id, i.id, w.community_id, w.status
             FROM writes w CROSS JOIN consents c ON c.seq = w.seq JOIN integrations i ON i.n = w.lane
             WHERE w.record_id = ?1 ORDER BY w.seq DESC LIMIT ?2 OFFSET ?3",
        values![id, number(query.limit), number(query.offset)],
        read,
    )?;
    let has_more = query.offset.saturating_add(rows.len() as u64) < total;
    Ok(Some(Page {
        rows,
        total: Some(total),
        total_is_exact: true,
        has_more,
    }))
}

fn read(row: &Row<'_>) -> Result<ConsentEvent, Error> {
    let text = |place: usize| row.get::<String>(place);
    let maybe = |place: usize| row.get::<Option<String>>(place);
    let bad = |what: &str| Error::Corrupt(format!("{what} of a consent event"));
    let job = |text: String| text.parse::<JobId>().map_err(|_| bad("the job"));
    Ok(ConsentEvent {
        seq: row.get(0)?,
        at: row.get(1).map(Timestamp::from_micros)?,
        consent: Consent {
            value: row.get(2)?,
            is_stated: row.get(3)?,
        },
        request_id: text(4)?,
        key_id: maybe(5)?
            .map(|id| id.parse().map_err(|_| bad("the key")))
            .transpose()?,
        job_id: job(text(6)?)?,
        repeats_job_id: maybe(7)?.map(job).transpose()?,
        integration_id: text(8)?.parse().map_err(|_| bad("the integration"))?,
        community_id: text(9)?.parse().map_err(|_| bad("the community"))?,
        write_status: WriteStatus::of(&text(10)?).ok_or_else(|| bad("the write's status"))?,
    })
}

impl Store {
    /// What writes said about automated messages to a prospect, newest first; `None` when there is no such prospect that the caller may know of.
    pub async fn consents_list(
        &self,
        scope: &Scope,
        query: &ConsentQuery,
    ) -> Result<Option<Page<ConsentEvent>>, Error> {
        self.listed(scope, query, list).await
    }
}

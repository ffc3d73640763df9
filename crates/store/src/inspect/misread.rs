//! Records whose phone number is not the one that the body they were made of gives today.
//!
//! Earlier versions changed digits of international numbers. A record that was given another number
//! since is none of them.
//! Guarantee: nothing is changed, no number is told, and it ends in time.

use std::{
    collections::{BTreeSet, HashMap},
    time::{Duration, Instant},
};

use model::contact::{DEFAULT_REGION, Phone};
use serde_json::Value;

use crate::Error;
use crate::engines::db::{Db, values};

/// How long writes are looked through.
const WITHIN: Duration = Duration::from_secs(5);

/// Writes that one question looks at: a fraction of a second's work.
const PIECE_WRITES: i64 = 2_000;

/// Records after which it is not looked for more: who has that many mends them by a program.
const RECORDS_MAX: usize = 10_000;

/// Records whose number was misread.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Misread {
    /// Their ids.
    pub ids: BTreeSet<String>,
    /// True when all writes were looked at.
    pub is_whole: bool,
}

const PIECE: &str = "SELECT r.id, w.community_id, w.result, w.request, r.body
     FROM writes w JOIN records r ON r.id = w.record_id
     WHERE w.seq > ?1 AND w.seq <= ?2 AND w.kept > 0
     AND w.operation IN ('prospect_create', 'prospect_update', 'appointment_create')";

/// Looks for them.
pub(crate) fn look(db: &Db<'_>) -> Result<Misread, Error> {
    let begun = Instant::now();
    let regions = regions(db)?;
    let through: Option<i64> = db.one("SELECT max(seq) FROM writes", &[], |row| row.get(0))?;
    let (mut after, through) = (0, through.unwrap_or(0));
    let mut found = Misread::default();
    while after < through {
        if begun.elapsed() > WITHIN || found.ids.len() >= RECORDS_MAX {
            return Ok(found);
        }
        let last = (after + PIECE_WRITES).min(through);
        db.each(PIECE, values![after, last], |row| {
            let (result, request): (String, String) = (row.get(2)?, row.get(3)?);
            if may_be_misread(&request) {
                let (id, community_id): (String, String) = (row.get(0)?, row.get(1)?);
                let region = regions.get(&community_id).map_or(DEFAULT_REGION, |one| one);
                let body: String = row.get(4)?;
                if is_misread(&result, &request, &body, region) {
                    found.ids.insert(id);
                }
            }
            Ok(())
        })?;
        after = last;
    }
    found.is_whole = true;
    Ok(found)
}

/// True when a request names a number that is not of the North American plan. Those of the plan,
/// which are most, were never misread.
fn may_be_misread(request: &str) -> bool {
    let mut numbers = request.split(r#""phone_1":"+"#).skip(1);
    numbers.any(|number| !number.starts_with('1'))
}

/// True when a record still has the number that a write made of another. An unreadable row says
/// nothing.
fn is_misread(result: &str, request: &str, body: &str, region: &str) -> bool {
    let read = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_default();
    let (result, request, body) = (read(result), read(request), read(body));
    let made = &request["confirmed"]["create"]["phone_1"];
    let (Some(given), Some(made)) = (result["phone_1"].as_str(), made.as_str()) else {
        return false;
    };
    if body["phone_1"] != *made {
        return false;
    }
    match Phone::parse(given, region) {
        Ok(phone) => phone.as_str() != made,
        // It would be refused today; it may have been read as it was meant.
        Err(_) => !is_without_trunk_zero(given, made),
    }
}

/// True when `held` is `given` without a zero behind the country code, as in `+44 020 7946 0958`.
fn is_without_trunk_zero(given: &str, held: &str) -> bool {
    let digits: String = given.chars().filter(char::is_ascii_digit).collect();
    let held = held.trim_start_matches('+');
    (1..=3).any(|at| {
        let (code, rest) = digits.split_at(at.min(digits.len()));
        let rest = rest.strip_prefix('0');
        rest.is_some_and(|rest| held.strip_prefix(code) == Some(rest))
    })
}

/// The communities that read numbers in a region of their own.
fn regions(db: &Db<'_>) -> Result<HashMap<String, String>, Error> {
    let all: Vec<(String, Option<String>)> = db.all(
        "SELECT id, json_extract(body, '$.phone_region') FROM records WHERE kind = 'community'",
        &[],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    Ok(all
        .into_iter()
        .filter_map(|(id, region)| Some((id, region?)))
        .collect())
}

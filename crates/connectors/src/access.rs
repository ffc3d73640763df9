//! What an integration's credentials allow: tried by asking, never by writing.
//!
//! Guarantee: nothing changes at the vendor; what cannot be tried without changing something is said to be so.

use model::{
    resources::integration::{Access, AccessState},
    write::{Class, Operation},
};
use serde_json::Value;

use crate::{Connector, FetchFailure, Target};

/// The id of a prospect that no vendor has: to hear that there is none, one has to be allowed to ask.
const NOBODY: &str = "0";

/// The question for prospects, as it is named in what was found.
pub const READ_PROSPECTS: &str = "read prospects";

/// The same for attributions.
pub const READ_ATTRIBUTIONS: &str = "read the lead sources";

/// What changes something, and is therefore not tried, with the operation that it takes.
const NOT_TRIED: [(Operation, &str); 4] = [
    (Operation::ProspectCreate, "create and change prospects"),
    (Operation::EventCreate, "record events"),
    (Operation::AppointmentCreate, "book tours"),
    (Operation::ListingCreate, "make listings known"),
];

fn state(why: &FetchFailure, when_gone: AccessState) -> AccessState {
    match why.class {
        _ if why.is_gone => when_gone,
        Class::Unauthorized => AccessState::Denied,
        Class::Delivered | Class::Rejected | Class::Retry | Class::Unknown => AccessState::Unknown,
    }
}

fn access(what: &str, community: Option<&str>, state: AccessState, message: String) -> Access {
    Access {
        what: what.to_owned(),
        x_community_id: community.map(str::to_owned),
        state,
        message,
    }
}

/// Asks the vendor a question of each kind that it can be asked, for each of these communities.
pub async fn probe(
    connector: &Connector,
    target: &Target,
    x_community_ids: &[String],
) -> Vec<Access> {
    let vendor = connector.vendor();
    let definition = connector.definition();
    let asks = connector.connections();
    let mut found = Vec::new();
    let mut target = target.clone();
    if let Some(fetch) = &asks.token {
        let (answer, token) = fetch.token_fetch(&target, &fetch.token_call()).await;
        target.token = token.map(|token| token.secret);
        let (state, words) = match (&target.token, answer.class) {
            (Some(_), _) => (AccessState::Allowed, format!("{vendor} gave a token")),
            (None, Class::Unauthorized | Class::Rejected) => (AccessState::Denied, String::new()),
            (None, _) => (AccessState::Unknown, String::new()),
        };
        let words = answer.error.unwrap_or(words);
        found.push(access("be let in", None, state, words));
        if target.token.is_none() {
            return found;
        }
    }
    let target = &target;
    if let Some(prospect) = &asks.prospect {
        let what = READ_PROSPECTS;
        let first = x_community_ids.first().map_or("", String::as_str);
        let answer = prospect
            .prospect_fetch(target, first, NOBODY, &Value::Null)
            .await;
        let (state, words) = match answer {
            Ok(_) => (AccessState::Allowed, "It does".to_owned()),
            Err(why) => match state(&why, AccessState::Allowed) {
                AccessState::Allowed => (
                    AccessState::Allowed,
                    format!("{vendor} was asked for a prospect that there is not, and said so"),
                ),
                state => (state, why.error),
            },
        };
        found.push(access(what, None, state, words));
    }
    for id in x_community_ids {
        if let Some(attributions) = &asks.attributions {
            let answer = attributions.attributions_fetch(target, id).await;
            let told = answer.map(|titles| format!("{vendor} told {}", titles.len()));
            found.push(of_community(READ_ATTRIBUTIONS, id, told));
        }
        if let (Some(availability), Some(operation)) =
            (&asks.availability, &definition.availability)
        {
            let kind = operation.probe_kind;
            let answer = availability.availability_fetch(target, id, kind).await;
            let told = answer.map(|times| format!("{vendor} told {} times", times.len()));
            found.push(of_community("ask when tours are possible", id, told));
        }
    }
    for (operation, what) in NOT_TRIED {
        if connector.operation(operation).is_some() {
            let words = "Not tried: it would change something".to_owned();
            found.push(access(what, None, AccessState::Unknown, words));
        }
    }
    found
}

fn of_community(what: &str, x_id: &str, told: Result<String, FetchFailure>) -> Access {
    match told {
        Ok(words) => access(what, Some(x_id), AccessState::Allowed, words),
        Err(why) => access(
            what,
            Some(x_id),
            state(&why, AccessState::Denied),
            why.error,
        ),
    }
}

/// Whether the vendor takes the credentials at all.
pub fn credentials(accesses: &[Access]) -> AccessState {
    let any = |state| accesses.iter().any(|one| one.state == state);
    if any(AccessState::Allowed) {
        AccessState::Allowed
    } else if any(AccessState::Denied) {
        AccessState::Denied
    } else {
        AccessState::Unknown
    }
}

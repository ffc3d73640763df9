//! What an integration's credentials allow: tried by asking, never by writing.
//!
//! Guarantee: nothing changes at the vendor; what cannot be tried without changing something is said to be so.

use model::{
    resources::{
        appointment::AppointmentType,
        integration::{Access, AccessState},
    },
    write::Class,
};
use serde_json::Value;

use crate::{Connector, NotTold, Target};

/// The id of a prospect that no vendor has: to hear that there is none, one has to be allowed to ask.
const NOBODY: &str = "0";

/// What changes something, and is therefore not tried.
const NOT_TRIED: [&str; 4] = [
    "create and change prospects",
    "record events",
    "book tours",
    "make listings known",
];

fn state(why: &NotTold, when_gone: AccessState) -> AccessState {
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

/// Asks the vendor a question of each kind, for each of these communities.
pub async fn probe(
    connector: &dyn Connector,
    target: &Target,
    x_community_ids: &[String],
) -> Vec<Access> {
    let vendor = connector.vendor();
    let mut found = Vec::new();
    let first = x_community_ids.first().map_or("", String::as_str);
    let what = "read prospects";
    found.push(
        match connector
            .prospect_fetch(target, first, NOBODY, &Value::Null)
            .await
        {
            Ok(_) => access(what, None, AccessState::Allowed, "It does".to_owned()),
            Err(why) => {
                let state = state(&why, AccessState::Allowed);
                let words = if state == AccessState::Allowed {
                    format!("{vendor} was asked for a prospect that there is not, and said so")
                } else {
                    why.error
                };
                access(what, None, state, words)
            }
        },
    );
    for id in x_community_ids {
        let what = "read the lead sources";
        found.push(match connector.attributions_fetch(target, id).await {
            Ok(titles) => {
                let words = format!("{vendor} told {}", titles.len());
                access(what, Some(id), AccessState::Allowed, words)
            }
            Err(why) => access(what, Some(id), state(&why, AccessState::Denied), why.error),
        });
        let what = "ask when tours are possible";
        let kind = AppointmentType::Appointment;
        found.push(match connector.availability_fetch(target, id, kind).await {
            Ok(times) => {
                let words = format!("{vendor} told {} times", times.len());
                access(what, Some(id), AccessState::Allowed, words)
            }
            Err(why) => access(what, Some(id), state(&why, AccessState::Denied), why.error),
        });
    }
    for what in NOT_TRIED {
        let words = "Not tried: it would change something".to_owned();
        found.push(access(what, None, AccessState::Unknown, words));
    }
    found
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

//! How Knock finds a guest card, and what follows for changes.
//!
//! Knock has no change by id: it finds the card by a contact that it knows, within the community.
//! Guarantee: a change leaves Knock a contact by which it finds this card and no other; where that
//! is not certain, the change is refused.

use model::{
    Issue, Permission,
    permission::{Group, Level},
    resources::prospect::{CheckedChange, Contacts, Known, is_there},
};
use serde_json::Value;

use crate::write_operation::{Refused, WriteRequest};

/// What is wrong with the contacts of a change.
pub fn contact_issues(known: &Known, contacts: &Contacts) -> Vec<Issue> {
    if contacts.stay() {
        return Vec::new();
    }
    if !contacts.change() {
        return vec![Issue::new(
            "custom",
            Vec::new(),
            "This prospect has no contact by which the vendor could find its guest card. Change it at the vendor",
            Value::Null,
        )];
    }
    let why = match (&known.email, &known.phone) {
        (Some(_), Some(_)) => {
            "The vendor finds a guest card by its email or phone: when both change at once it would make a second card. Change one, and the other once write-status says SUCCESS"
        }
        (None, None) => {
            "This prospect has no contact by which the vendor could find its guest card, so a change would make a second card. Change it at the vendor"
        }
        _ => {
            "This is the only contact by which the vendor finds this guest card: with another one it would make a second card. Add the other kind of contact first, then change this one"
        }
    };
    [
        (contacts.email_changes, "email_1"),
        (contacts.phone_changes, "phone_1"),
    ]
    .into_iter()
    .filter(|(changes, _)| *changes)
    .map(|(_, field)| Issue::custom(field, why))
    .collect()
}

/// Why a change is refused that concerns another prospect, to who may not know of that one: neither
/// which it is, nor which contact it has.
fn in_doubt() -> String {
    "The vendor finds a guest card by its contacts, and could not tell for certain which one this change is for. Ask someone whose API key has `prospects:read`, who is told why".to_owned()
}

/// Leaves out the contacts by which Knock might find the card of another prospect.
///
/// # Errors
/// A conflict when a contact is to be changed to one that another prospect has, or when none is left
/// by which the card can be told from others.
pub async fn leave_no_doubt(
    request: &WriteRequest<'_>,
    change: &mut CheckedChange,
) -> Result<(), Refused> {
    let may_read = request
        .context
        .scope
        .may(Permission::of(Group::Prospects, Level::Read));
    let contacts = &change.contacts;
    let email = contacts
        .email
        .as_ref()
        .map(|email| ("email_1", email.as_str().to_owned(), contacts.email_changes));
    let phone = contacts
        .phone
        .as_ref()
        .map(|phone| ("phone_1", phone.as_str().to_owned(), contacts.phone_changes));
    let mut shared = Vec::new();
    for (name, value, changes) in email.into_iter().chain(phone) {
        let all = request
            .records
            .prospects_having(&change.community, (name, &value))
            .await?;
        let mut others = all.into_iter().filter(|row| is_there(&row.body));
        let Some(other) = others.find(|row| row.id != change.known.id) else {
            continue;
        };
        if changes {
            return Err(Refused::Conflict(if may_read {
                format!(
                    "Another prospect of this community has this {name}: {}. The vendor would find that one's guest card and change it. Change that prospect, or give another {name}",
                    other.id
                )
            } else {
                in_doubt()
            }));
        }
        shared.push((name, other.id));
    }
    for (name, _) in &shared {
        match *name {
            "email_1" => change.contacts.email = None,
            _ => change.contacts.phone = None,
        }
    }
    match shared.first() {
        Some(_) if !change.contacts.stay() && !may_read => Err(Refused::Conflict(in_doubt())),
        Some((name, other)) if !change.contacts.stay() => Err(Refused::Conflict(format!(
            "The vendor finds a guest card by its contacts, and another prospect of this community has the same {name}: {other}. It could not tell the two apart. Change it at the vendor"
        ))),
        _ => Ok(()),
    }
}

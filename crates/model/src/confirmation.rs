//! The changes of records that follow from a vendor's confirmation of a write.
//!
//! Guarantee: they follow from the write, the vendor's answer and the records that are passed in, and
//! from nothing else. A record of another community is never changed.

use serde_json::{Map, Value, json};

use crate::{
    Timestamp,
    issue::cut,
    record::{Kind, completed, difference},
    resources::prospect::is_there,
    write::{Confirmed, Operation, Outcome},
};

/// Bytes of a vendor's id at most. Ids have a tenth of that, and PostgreSQL's index takes some 2,700.
const X_ID_MAX_BYTES: usize = 1_024;

/// True if a text can be kept as a vendor's id: it fits into an index, and a person can name it.
pub fn is_x_id(text: &str) -> bool {
    (1..=X_ID_MAX_BYTES).contains(&text.len()) && !text.contains(char::is_control)
}

/// A write that its vendor has confirmed.
#[derive(Clone, Copy)]
pub struct Confirmation<'a> {
    /// The write's operation.
    pub operation: Operation,
    /// What the write makes.
    pub confirmed: &'a Confirmed,
    /// The vendor's id of the record, as the vendor gave it.
    pub x_id: Option<&'a str>,
    /// Our id of the record, should it be new.
    pub new_id: &'a str,
    /// When the confirmation is stored.
    pub at: Timestamp,
}

impl<'a> Confirmation<'a> {
    /// The vendor's id, if it can be kept.
    pub fn x_id(&self) -> Option<&'a str> {
        self.x_id.filter(|text| is_x_id(text))
    }
}

/// A record that is stored.
#[derive(Clone, Copy)]
pub struct Known<'a> {
    /// Its place in the store.
    pub seq: i64,
    /// Our id of it.
    pub id: &'a str,
    /// Its own members.
    pub body: &'a Value,
}

impl Known<'_> {
    fn text(&self, member: &str) -> Option<&str> {
        self.body[member].as_str()
    }

    /// True if the vendor was found not to have it any more.
    fn is_vanished(&self) -> bool {
        !self.body["vanished_at"].is_null()
    }

    /// True if the vendor has shown it as merged or deleted.
    fn is_deleted(&self) -> bool {
        self.body["is_deleted"] == true
    }

    /// The instant at which an appointment begins.
    fn starts_at(&self) -> Option<Timestamp> {
        Timestamp::parse(self.text("starts_at")?).ok()
    }
}

/// The stored records that a confirmation may concern.
#[derive(Clone, Default)]
pub struct Related<'a> {
    /// The record under the vendor's id.
    pub by_x_id: Option<Known<'a>>,
    /// Else the oldest record of its kind and community with [`Confirmed::identity`].
    pub by_identity: Option<Known<'a>>,
    /// The prospects of its community with one of the values by which
    /// [`Confirmed::prospect`] names one, in the order of these values.
    pub touched: Vec<Known<'a>>,
    /// The appointments of its community with one of the values of [`Confirmed::replaces`].
    pub replaced: Vec<Known<'a>>,
}

/// An update of a stored record.
#[derive(Clone, PartialEq)]
#[cfg_attr(test, derive(Debug))]
pub struct Update {
    /// The record's place in the store.
    pub seq: i64,
    /// The members to lay over it. They may change nothing.
    pub members: Map<String, Value>,
}

/// The changes that follow from a confirmation.
#[derive(Clone, PartialEq)]
#[cfg_attr(test, derive(Debug))]
pub struct Changes {
    /// Our id of the record that the write made or met.
    pub id: String,
    /// How the write ended.
    pub outcome: Outcome,
    /// What is missing, when the vendor did something else than was meant.
    pub errors: Vec<String>,
    /// The place of a record that gets the vendor's id.
    pub linked: Option<i64>,
    /// The updates of stored records, in order.
    pub updates: Vec<Update>,
    /// The body of a new record, under [`Changes::id`].
    pub created: Option<Value>,
}

/// Decides on a confirmation.
pub fn decide(confirmation: &Confirmation<'_>, related: &Related<'_>) -> Changes {
    let Confirmation {
        operation,
        confirmed,
        ..
    } = *confirmation;
    let (mut create, mut update) = (confirmed.create.clone(), confirmed.update.clone());
    let mut errors: Vec<String> = lost_x_id(confirmation).into_iter().collect();
    let mut updates = Vec::new();
    let known = related.by_x_id.or(related.by_identity);
    let linked = match related.by_x_id {
        None => related
            .by_identity
            .filter(|_| confirmation.x_id().is_some()),
        Some(_) => None,
    };
    // What is gone at the vendor, or merged there, is not what it met.
    let prospect = related.touched.iter().find(|one| is_there(one.body));
    if let (Some(touched), Some(prospect)) = (&confirmed.prospect, prospect) {
        updates.push(Update {
            seq: prospect.seq,
            members: as_object(&touched.update),
        });
        for record in [&mut create, &mut update] {
            record["prospect_id"] = json!(prospect.id);
        }
    }
    errors.extend(known.and_then(|known| oddity(operation, known, &create)));
    let (id, is_new, is_changed) = match known {
        Some(known) if is_elsewhere(known, &create) => (known.id, false, false),
        Some(known) => {
            let mut members = as_object(&update);
            if known.is_vanished() {
                members.insert("vanished_at".to_owned(), Value::Null);
            }
            let is_changed = changes(known.body, &members);
            let seq = known.seq;
            updates.push(Update { seq, members });
            (known.id, false, is_changed)
        }
        None => (confirmation.new_id, true, true),
    };
    let plain = if is_new {
        Outcome::Created
    } else {
        operation.kind().facts().again
    };
    let outcome = match operation {
        Operation::ProspectUpdate => match &confirmed.subject {
            Some(subject) if subject != id => {
                errors.push(format!(
                    "The vendor found another record by the contact and made the change there: {id}. Prospect {subject} was not changed. Look at both at the vendor"
                ));
                plain
            }
            _ => Outcome::Updated,
        },
        Operation::AppointmentCreate => {
            let replaced = replacements(confirmation, related, id, &create);
            let is_replaced = !replaced.is_empty() || (!is_new && is_changed);
            updates.extend(replaced);
            if is_replaced {
                Outcome::Replaced
            } else {
                plain
            }
        }
        _ => plain,
    };
    Changes {
        id: id.to_owned(),
        outcome,
        errors,
        linked: linked.map(|one| one.seq),
        updates,
        created: is_new.then_some(create),
    }
}

/// True if an update changes a record.
fn changes(body: &Value, members: &Map<String, Value>) -> bool {
    let more = completed(body, members);
    let (new, _) = difference(body, more.as_ref().unwrap_or(members));
    !new.is_empty()
}

/// The error about an id of the vendor's that cannot be kept.
fn lost_x_id(confirmation: &Confirmation<'_>) -> Option<String> {
    let given = confirmation.x_id.filter(|text| !is_x_id(text))?;
    Some(format!(
        "The vendor took it and answered with an id that cannot be kept, {}: it is empty, longer than {X_ID_MAX_BYTES} bytes, or more than one line. The record has no vendor's id; look it up at the vendor",
        cut(given)
    ))
}

/// True if a record is of another community than what was confirmed.
fn is_elsewhere(known: Known<'_>, confirmed: &Value) -> bool {
    let held = known.text("community_id");
    let sent = confirmed["community_id"].as_str();
    held.zip(sent).is_some_and(|(held, sent)| held != sent)
}

/// The error about a record that the vendor should not have answered with.
fn oddity(operation: Operation, known: Known<'_>, confirmed: &Value) -> Option<String> {
    let id = known.id;
    if is_elsewhere(known, confirmed) {
        return Some(format!(
            "The vendor answered with the id of a record of another community, {id}, which was left as it is. Look it up at the vendor"
        ));
    }
    (operation.kind() == Kind::Prospect && known.is_deleted()).then(|| {
        format!("The vendor put it on a record that it has shown as merged or deleted: {id}. Look it up at the vendor")
    })
}

/// The updates of upcoming appointments whose place appointment `id` takes.
fn replacements(
    confirmation: &Confirmation<'_>,
    related: &Related<'_>,
    id: &str,
    create: &Value,
) -> Vec<Update> {
    let mut updates: Vec<Update> = Vec::new();
    for earlier in &related.replaced {
        let is_upcoming = earlier.starts_at().is_some_and(|at| at > confirmation.at);
        // Two prospects that are known may share a contact; their tours are two.
        let theirs = earlier.text("prospect_id");
        let ours = create["prospect_id"].as_str();
        let is_anothers = theirs
            .zip(ours)
            .is_some_and(|(theirs, ours)| theirs != ours);
        let is_met = updates.iter().any(|one| one.seq == earlier.seq);
        if earlier.id != id
            && !is_met
            && is_upcoming
            && !is_anothers
            && earlier.text("status") == create["status"].as_str()
        {
            updates.push(Update {
                seq: earlier.seq,
                members: as_object(&json!({ "status": "REPLACED", "replaced_by": id })),
            });
        }
    }
    updates
}

fn as_object(value: &Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::write::Touched;

    const AT: Timestamp = Timestamp::from_micros(1_000_000_000_000_000);

    fn confirmed(create: Value, update: Value) -> Confirmed {
        Confirmed {
            create,
            update,
            subject: None,
            identity: None,
            replaces: Vec::new(),
            prospect: None,
        }
    }

    fn known<'a>(seq: i64, id: &'a str, body: &'a Value) -> Known<'a> {
        Known { seq, id, body }
    }

    fn decided(
        operation: Operation,
        confirmed: &Confirmed,
        x_id: Option<&str>,
        related: &Related<'_>,
    ) -> Changes {
        let confirmation = Confirmation {
            operation,
            confirmed,
            x_id,
            new_id: "new",
            at: AT,
        };
        decide(&confirmation, related)
    }

    fn members(value: &Value) -> Map<String, Value> {
        as_object(value)
    }

    #[test]
    fn a_record_that_is_not_known_is_created() {
        let body = json!({ "community_id": "com_1", "first_name": "Ada" });
        let write = confirmed(body.clone(), json!({ "first_name": "Ada" }));
        for operation in [
            Operation::ProspectCreate,
            Operation::EventCreate,
            Operation::ListingCreate,
            Operation::AppointmentCreate,
        ] {
            let changes = decided(operation, &write, Some("7"), &Related::default());
            let expected = Changes {
                id: "new".to_owned(),
                outcome: Outcome::Created,
                errors: Vec::new(),
                linked: None,
                updates: Vec::new(),
                created: Some(body.clone()),
            };
            assert_eq!(changes, expected, "{operation:?}");
        }
    }

    #[test]
    fn a_record_that_is_known_is_matched_and_updated() {
        let held = json!({ "community_id": "com_1", "vanished_at": "2026-01-01T00:00:00Z" });
        let write = confirmed(
            json!({ "community_id": "com_1" }),
            json!({ "source": "site" }),
        );
        let related = Related {
            by_x_id: Some(known(3, "pro_1", &held)),
            ..Related::default()
        };
        let changes = decided(Operation::ProspectCreate, &write, Some("7"), &related);
        assert_eq!(
            (changes.id.as_str(), changes.outcome),
            ("pro_1", Outcome::Matched)
        );
        // The vendor has it again.
        let update = members(&json!({ "source": "site", "vanished_at": null }));
        assert_eq!(
            changes.updates,
            [Update {
                seq: 3,
                members: update
            }]
        );
        assert_eq!((changes.linked, changes.created), (None, None));
        let changes = decided(Operation::ListingCreate, &write, Some("7"), &related);
        assert_eq!(changes.outcome, Outcome::Updated);
    }

    #[test]
    fn a_record_with_the_identity_gets_the_vendors_id() {
        let held = json!({ "community_id": "com_1" });
        let write = confirmed(held.clone(), json!({}));
        let related = Related {
            by_identity: Some(known(4, "lis_1", &held)),
            ..Related::default()
        };
        for (x_id, linked) in [(Some("7"), Some(4)), (None, None), (Some("a\nb"), None)] {
            let changes = decided(Operation::ListingCreate, &write, x_id, &related);
            assert_eq!(
                (changes.id.as_str(), changes.linked),
                ("lis_1", linked),
                "{x_id:?}"
            );
        }
    }

    #[test]
    fn an_id_that_cannot_be_kept_is_told() {
        let write = confirmed(json!({}), json!({}));
        let long = "x".repeat(1_025);
        for x_id in ["", "a\nb", long.as_str()] {
            let changes = decided(
                Operation::EventCreate,
                &write,
                Some(x_id),
                &Related::default(),
            );
            assert!(
                changes.errors[0].contains("cannot be kept"),
                "{:?}",
                changes.errors
            );
            assert_eq!(changes.outcome, Outcome::Created);
        }
    }

    #[test]
    fn a_record_of_another_community_is_left_alone() {
        let held = json!({ "community_id": "com_2", "first_name": "Eve" });
        let write = confirmed(
            json!({ "community_id": "com_1" }),
            json!({ "first_name": "Ada" }),
        );
        let related = Related {
            by_x_id: Some(known(3, "pro_1", &held)),
            ..Related::default()
        };
        let changes = decided(Operation::ProspectCreate, &write, Some("7"), &related);
        assert_eq!((changes.updates, changes.created), (Vec::new(), None));
        assert!(
            changes.errors[0].contains("another community"),
            "{:?}",
            changes.errors
        );
    }

    #[test]
    fn what_the_vendor_did_elsewhere_is_told() {
        let held = json!({ "community_id": "com_1", "is_deleted": true });
        let related = Related {
            by_x_id: Some(known(3, "pro_2", &held)),
            ..Related::default()
        };
        let write = Confirmed {
            subject: Some("pro_1".to_owned()),
            ..confirmed(json!({ "community_id": "com_1" }), json!({}))
        };
        let changes = decided(Operation::ProspectUpdate, &write, Some("7"), &related);
        assert_eq!(changes.outcome, Outcome::Matched);
        assert!(
            changes.errors[0].contains("merged or deleted"),
            "{:?}",
            changes.errors
        );
        assert!(
            changes.errors[1].contains("pro_1 was not changed"),
            "{:?}",
            changes.errors
        );
        let own = Confirmed {
            subject: Some("pro_2".to_owned()),
            ..write
        };
        let changes = decided(Operation::ProspectUpdate, &own, Some("7"), &related);
        assert_eq!(
            (changes.outcome, changes.errors.len()),
            (Outcome::Updated, 1)
        );
    }

    #[test]
    fn the_first_prospect_that_is_there_is_touched() {
        let (gone, here, later) = (
            json!({ "vanished_at": "2026-01-01T00:00:00Z" }),
            json!({ "first_name": "Ada" }),
            json!({}),
        );
        let write = Confirmed {
            prospect: Some(Touched {
                by: Vec::new(),
                update: json!({ "status": "toured" }),
            }),
            ..confirmed(json!({}), json!({}))
        };
        let related = Related {
            touched: vec![
                known(1, "pro_1", &gone),
                known(2, "pro_2", &here),
                known(3, "pro_3", &later),
            ],
            ..Related::default()
        };
        let changes = decided(Operation::EventCreate, &write, None, &related);
        let update = members(&json!({ "status": "toured" }));
        assert_eq!(
            changes.updates,
            [Update {
                seq: 2,
                members: update
            }]
        );
        assert_eq!(changes.created, Some(json!({ "prospect_id": "pro_2" })));
    }

    #[test]
    fn an_appointment_replaces_the_upcoming_ones_of_its_prospect() {
        let tour = |starts_at: &str, status: &str, prospect: Value| json!({ "starts_at": starts_at, "status": status, "prospect_id": prospect });
        let (later, earlier) = ("2030-01-01T00:00:00Z", "1999-01-01T00:00:00Z");
        let upcoming = tour(later, "SCHEDULED", json!("pro_1"));
        let past = tour(earlier, "SCHEDULED", json!("pro_1"));
        let cancelled = tour(later, "CANCELLED", json!("pro_1"));
        let anothers = tour(later, "SCHEDULED", json!("pro_2"));
        let nobodys = tour(later, "SCHEDULED", Value::Null);
        let write = confirmed(upcoming.clone(), json!({}));
        let related = Related {
            replaced: vec![
                known(1, "app_1", &upcoming),
                known(2, "app_2", &past),
                known(3, "app_3", &cancelled),
                known(4, "app_4", &anothers),
                known(5, "app_5", &nobodys),
                known(1, "app_1", &upcoming),
                known(6, "new", &upcoming),
            ],
            ..Related::default()
        };
        let changes = decided(Operation::AppointmentCreate, &write, None, &related);
        let places: Vec<i64> = changes.updates.iter().map(|one| one.seq).collect();
        assert_eq!((changes.outcome, places), (Outcome::Replaced, vec![1, 5]));
        let update = members(&json!({ "status": "REPLACED", "replaced_by": "new" }));
        assert_eq!(changes.updates[0].members, update);
    }

    #[test]
    fn an_appointment_that_is_met_is_replaced_when_it_changes() {
        let held = json!({ "status": "SCHEDULED", "starts_at": "2030-01-01T00:00:00Z" });
        let related = Related {
            by_x_id: Some(known(1, "app_1", &held)),
            ..Related::default()
        };
        for (update, expected) in [
            (
                json!({ "starts_at": "2030-01-01T00:00:00Z" }),
                Outcome::Matched,
            ),
            (
                json!({ "starts_at": "2030-01-02T00:00:00Z" }),
                Outcome::Replaced,
            ),
        ] {
            let write = confirmed(held.clone(), update);
            let changes = decided(Operation::AppointmentCreate, &write, Some("7"), &related);
            assert_eq!(changes.outcome, expected);
        }
    }
}

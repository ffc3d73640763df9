//! What is left of a record once the person in it is forgotten.
//!
//! Guarantee: a member that its resource does not keep ([`crate::record::Facts`]) is gone; so a new member of a resource is forgotten unless somebody decides otherwise.

use serde_json::{Map, Value, json};

use crate::{clock::Timestamp, record::Kind};

/// The body of a record of `kind` after the person in it was forgotten at `at`.
pub fn erased(kind: Kind, body: &Value, at: Timestamp) -> Value {
    let mut left: Map<String, Value> = kind
        .facts()
        .kept
        .iter()
        .filter_map(|name| Some(((*name).to_owned(), body.get(name)?.clone())))
        .collect();
    if kind == Kind::Prospect {
        left.insert("erased_at".to_owned(), json!(at));
    }
    Value::Object(left)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resources::{appointment::Appointment, event::Event, prospect::Prospect};

    fn check(kind: Kind, record: &Value, personal: &[&str]) {
        let members = record.as_object().unwrap();
        for name in kind.facts().kept {
            assert!(members.contains_key(*name), "{} has no {name}", kind.word());
        }
        let full: Map<String, Value> = members
            .keys()
            .map(|name| (name.clone(), json!("Ada")))
            .collect();
        let left = erased(kind, &Value::Object(full), Timestamp::ZERO);
        for name in personal {
            assert!(members.contains_key(*name), "{} has no {name}", kind.word());
            assert!(left[*name].is_null(), "{} keeps {name}", kind.word());
        }
    }

    #[test]
    fn what_is_kept_exists_and_is_not_the_persons() {
        let person = [
            "email_1",
            "phone_1",
            "phone_1_extension",
            "first_name",
            "last_name",
            "notes",
            "x_id",
        ];
        let prospect = serde_json::to_value(Prospect::default()).unwrap();
        check(Kind::Prospect, &prospect, &person);
        check(
            Kind::Prospect,
            &prospect,
            &["address_1", "city", "zip", "custom_data", "subscribe"],
        );
        let tour = serde_json::to_value(Appointment::default()).unwrap();
        check(Kind::Appointment, &tour, &person);
        let event = serde_json::to_value(Event::default()).unwrap();
        check(
            Kind::Event,
            &event,
            &[
                "notes",
                "email_subject",
                "email_body",
                "x_prospect_id",
                "x_id",
            ],
        );
    }

    #[test]
    fn an_erased_prospect_says_since_when() {
        let body = json!({ "community_id": "com_1", "email_1": "ada@example.com" });
        let left = erased(Kind::Prospect, &body, Timestamp::ZERO);
        assert_eq!(
            left,
            json!({ "community_id": "com_1", "erased_at": Timestamp::ZERO })
        );
    }
}

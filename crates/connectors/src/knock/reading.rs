//! What Knock shows, in our words.
//!
//! Guarantee: what is not of the form that Knock is known to have is not understood, rather than half read. A value of ours that says what Knock's says,
//! only finer, stays: Knock rounds budgets to dollars and keeps no repeats.
//! Assumed: that a guest card shows its status as `status` (no source lists the member); without it, nothing is said of it.

use model::{Timestamp, contact::Email, vocabulary::Vocabulary, write::Call};
use serde_json::{Map, Value, json};

use super::{
    bodies::availability::AppointmentType,
    mapping::profile::{BEDROOMS, dollars_down, dollars_up},
};
use crate::mapping::{segment, without_repeats};

/// Times that are read of one answer: two weeks of slots every quarter of an hour are fewer.
const TIMES_MAX: usize = 5_000;

/// Sources that are read of one answer: a community has some dozens.
const SOURCES_MAX: usize = 2_000;

/// Bytes of a text that is taken over from a card: a message of a thousand characters is shorter.
const TEXT_MAX_BYTES: usize = 4_096;

fn get(x_community_id: &str, path: String) -> Call {
    Call {
        method: "GET".to_owned(),
        path,
        x_community_id: x_community_id.to_owned(),
        body: Value::Null,
    }
}

/// The question when tours are possible.
pub fn availability(x_community_id: &str, kind: &str) -> Call {
    let self_guided = kind == AppointmentType::SelfGuidedTour.word();
    let path = format!(
        "/community/{}/available-times?forSelfGuided={self_guided}",
        segment(x_community_id)
    );
    get(x_community_id, path)
}

/// `{"acceptableTimes":["<ISO 8601 with offset>"]}`.
pub fn availability_read(body: &Value) -> Option<Vec<Timestamp>> {
    let times = body["acceptableTimes"].as_array()?.iter().take(TIMES_MAX);
    times
        .map(|time| Timestamp::parse(time.as_str()?).ok())
        .collect()
}

/// The question which lead sources a community has.
pub fn attributions(x_community_id: &str) -> Call {
    let path = format!("/community/{}/sources", segment(x_community_id));
    get(x_community_id, path)
}

/// `{"edges":[{"node":{"sourceTitle"}}]}`.
pub fn attributions_read(body: &Value) -> Option<Vec<String>> {
    let edges = body["edges"].as_array()?.iter().take(SOURCES_MAX);
    let titles: Option<Vec<String>> = edges
        .map(|edge| text(&edge["node"]["sourceTitle"]))
        .collect();
    titles.map(without_repeats)
}

/// The question how a prospect stands.
pub fn prospect(x_community_id: &str, x_id: &str) -> Call {
    get(x_community_id, format!("/prospect/{}", segment(x_id)))
}

fn text(value: &Value) -> Option<String> {
    let text = value.as_str()?;
    (text.len() <= TEXT_MAX_BYTES && !text.trim().is_empty()).then(|| text.to_owned())
}

/// The members of our record as the card of `x_id` has them; what the card does not tell is not in it.
pub fn prospect_read(
    card: &Value,
    x_id: &str,
    held: &Value,
    vocabulary: &Vocabulary,
) -> Option<Map<String, Value>> {
    let is_it = match &card["prospectId"] {
        Value::String(id) => id == x_id,
        Value::Number(id) => id.to_string() == x_id,
        _ => false,
    };
    if !is_it {
        return None;
    }
    let mut members = Map::new();
    let mut put = |name: &str, member: Option<&Value>, read: &dyn Fn(&Value) -> Option<Value>| {
        // Absent is not told; null, or what cannot be read, is nothing.
        if let Some(value) = member {
            members.insert(name.to_owned(), read(value).unwrap_or(Value::Null));
        }
    };
    let as_text = |value: &Value| text(value).map(Value::from);
    let as_flag = |value: &Value| value.as_bool().map(Value::from);
    let as_number = |value: &Value| value.as_i64().map(Value::from);
    let as_time = |value: &Value| {
        let at = Timestamp::parse(value.as_str()?).ok()?;
        Some(json!(at.to_string()))
    };
    for (name, member) in [
        ("phone_1", "phone"),
        ("first_name", "firstName"),
        ("last_name", "lastName"),
        ("address_1", "address"),
        ("city", "city"),
        ("state", "state"),
        ("zip", "zip"),
        ("move_in_date", "moveDate"),
        ("status", "status"),
    ] {
        put(name, card.get(member), &as_text);
    }
    put("email_1", card.get("email"), &|value| {
        let theirs = text(value)?;
        let same = held["email_1"].as_str().filter(|ours| {
            let matching = |text: &str| Email::stored(text).map(|email| email.matching());
            matching(ours).is_some_and(|ours| Some(ours) == matching(&theirs))
        });
        Some(json!(same.unwrap_or(&theirs)))
    });
    put("x_agent_id", card.pointer("/agent/username"), &as_text);
    put("number_of_occupants", card.get("occupants"), &as_number);
    put(
        "lease_term_in_months",
        card.get("leaseTermMonths"),
        &as_number,
    );
    for (name, member, round) in [
        (
            "rent_minimum_in_cents",
            "minBudget",
            dollars_down as fn(i64) -> i64,
        ),
        ("rent_maximum_in_cents", "maxBudget", dollars_up),
    ] {
        put(name, card.get(member), &|value| {
            let dollars = value.as_i64()?;
            let same = held[name].as_i64().filter(|ours| round(*ours) == dollars);
            Some(json!(same.unwrap_or(dollars.saturating_mul(100))))
        });
    }
    put("desired_num_bedrooms", card.get("bedrooms"), &|value| {
        let theirs: Option<Vec<i64>> = value
            .as_array()?
            .iter()
            .map(|word| {
                let place = BEDROOMS.iter().position(|known| word == known)?;
                i64::try_from(place).ok()
            })
            .collect();
        finer(&held["desired_num_bedrooms"], &json!(theirs?))
    });
    put("pets", card.get("pets"), &|value| {
        let theirs: Vec<String> = texts(value)?
            .iter()
            .filter_map(|word| vocabulary.ours("pets", word).map(str::to_owned))
            .collect();
        finer(&held["pets"], &json!(theirs))
    });
    // A word that is not ours has no place in `pets`, and is not hidden either.
    put("custom_data", card.get("pets"), &|value| {
        let theirs = texts(value)?;
        let is_ours = |word: &String| vocabulary.ours("pets", word).is_some();
        (!theirs.iter().all(is_ours)).then(|| json!({ "pets": theirs }))
    });
    put("is_deleted", card.get("isDeleted"), &as_flag);
    put("not_prospect", card.get("notProspect"), &as_flag);
    put("sms_consent", card.get("smsConsent"), &as_flag);
    put("x_created_at", card.get("createdAt"), &as_time);
    put("x_updated_at", card.get("updatedAt"), &as_time);
    Some(members)
}

/// The texts in a list of Knock's.
fn texts(value: &Value) -> Option<Vec<String>> {
    Some(value.as_array()?.iter().filter_map(text).collect())
}

/// Our list, if it says the same without its repeats; else theirs.
fn finer(ours: &Value, theirs: &Value) -> Option<Value> {
    let same = ours
        .as_array()
        .is_some_and(|ours| json!(without_repeats(ours.clone())) == *theirs);
    Some(if same { ours.clone() } else { theirs.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::knock::vocabulary;

    fn card() -> Value {
        json!({
            "prospectId": "123", "communityId": "c1", "email": "ada@example.com", "phone": "+12065550155", "agent": { "username": "sam" },
            "address": null, "unit": null, "city": "Seattle", "state": "WA", "zip": null, "source": { "title": "Zillow.com" },
            "firstName": "Ada", "lastName": "Lead", "moveDate": "2027-03-01", "bedrooms": ["1_BEDROOM", "3_OR_MORE_BEDROOMS"],
            "pets": ["CAT", "PARROT"], "occupants": 2, "leaseTermMonths": 12, "minBudget": 1800, "maxBudget": 2401, "smsConsent": null,
            "isDeleted": false, "notProspect": true, "status": "Open",
            "createdAt": "2026-11-24T09:00:00.000000+00:00", "updatedAt": "2026-11-24T04:00:00.500000-05:00"
        })
    }

    fn read(card: &Value, held: &Value) -> Option<Map<String, Value>> {
        prospect_read(card, "123", held, &vocabulary::table())
    }

    #[test]
    fn a_card_in_our_words() {
        let members = read(&card(), &json!({})).unwrap();
        insta::assert_json_snapshot!("a_card", members);
    }

    #[test]
    fn what_says_the_same_only_finer_stays() {
        let held = json!({
            "email_1": "Ada@Example.com", "rent_minimum_in_cents": 180_099, "rent_maximum_in_cents": 240_001,
            "desired_num_bedrooms": [1, 3, 1], "pets": ["CAT", "CAT"],
        });
        let members = read(&card(), &held).unwrap();
        for (name, value) in held.as_object().unwrap() {
            assert_eq!(members[name], *value, "{name}");
        }
        // A word that is not ours stands beside ours.
        assert_eq!(members["custom_data"], json!({ "pets": ["CAT", "PARROT"] }));
        let other = json!({ "email_1": "eve@example.com", "rent_minimum_in_cents": 180_100, "desired_num_bedrooms": [3, 1] });
        let members = read(&card(), &other).unwrap();
        assert_eq!(members["email_1"], "ada@example.com");
        assert_eq!(members["rent_minimum_in_cents"], 180_000);
        assert_eq!(members["desired_num_bedrooms"], json!([1, 3]));
    }

    #[test]
    fn what_is_not_told_is_not_said() {
        let members = read(
            &json!({ "prospectId": 123, "bedrooms": ["5"], "email": 7 }),
            &json!({}),
        );
        let members = Value::Object(members.unwrap());
        assert_eq!(
            members,
            json!({ "desired_num_bedrooms": null, "email_1": null })
        );
        assert_eq!(read(&json!({ "prospectId": "124" }), &json!({})), None);
        assert_eq!(read(&json!([]), &json!({})), None);
    }

    #[test]
    fn times_and_sources() {
        let times =
            json!({ "acceptableTimes": ["2027-03-14T09:00:00-04:00", "2027-03-14T13:30:00Z"] });
        let read: Vec<String> = availability_read(&times)
            .unwrap()
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            read,
            ["2027-03-14T13:00:00.000000Z", "2027-03-14T13:30:00.000000Z"]
        );
        assert_eq!(
            availability_read(&json!({ "acceptableTimes": ["noon"] })),
            None
        );
        assert_eq!(availability_read(&json!({})), None);
        let sources = json!({ "edges": [{ "node": { "sourceTitle": "A" } }, { "node": { "sourceTitle": "A" } }] });
        assert_eq!(attributions_read(&sources), Some(vec!["A".to_owned()]));
        assert_eq!(attributions_read(&json!({ "edges": [{}] })), None);
        let asked = attributions("a/b c");
        assert_eq!(
            (asked.method.as_str(), asked.path.as_str()),
            ("GET", "/community/a%2Fb%20c/sources")
        );
    }
}

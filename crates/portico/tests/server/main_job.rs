//! The main job on the real parts: the binary, sockets, the disk, the sandbox.
//!
//! Goal: every accepted prospect stands at Knock exactly once, as it was sent, whatever fails on the way. Method: send bodies of every kind,
//! break the vendor and kill the server meanwhile, and compare both sides afterwards.
#![expect(
    clippy::print_stderr,
    reason = "a test fails by panicking and shows what it saw"
)]

use crate::support;

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    time::Duration,
};

use serde_json::{Value, json};
use support::{Caller, Process, REST, Stage, in_parallel, leads};

const THREADS: usize = 16;

/// Leads that are sent while the vendor fails, and while the server is killed besides.
const LEADS_FAILED: usize = 200;
const LEADS_KILLED: usize = 200;

/// How often the server is killed.
const KILLS: u64 = 4;

/// The card that Knock should hold for `body`, member by member. Written from the mapping table, not from the mapping's code.
fn expected_card(server: &Process, body: &Value) -> BTreeMap<&'static str, Value> {
    let named = |list: &str, id: &Value, member: &str| -> Value {
        let all = server.ready[list].as_array().expect("a list");
        all.iter()
            .find(|one| one["id"] == *id)
            .map_or(Value::Null, |one| one[member].clone())
    };
    let text = |field: &str| match body[field].as_str().map(str::trim) {
        None | Some("") => Value::Null,
        Some(text) => json!(text),
    };
    let phone = body["phone_1"].as_str().map(|text| {
        let digits: String = text.chars().filter(char::is_ascii_digit).collect();
        format!("+1{}", &digits[digits.len() - 10..])
    });
    let dollars = |field: &str, up: bool| {
        body[field].as_i64().map(|cents| {
            let dollars = cents as f64 / 100.0;
            if up {
                dollars.ceil() as i64
            } else {
                dollars.floor() as i64
            }
        })
    };
    let distinct = |field: &str| -> Option<Vec<Value>> {
        let mut seen = Vec::new();
        for one in body[field].as_array()? {
            if !seen.contains(one) {
                seen.push(one.clone());
            }
        }
        Some(seen)
    };
    let bedrooms = distinct("desired_num_bedrooms").map(|numbers| {
        let words = ["STUDIO", "1_BEDROOM", "2_BEDROOMS", "3_OR_MORE_BEDROOMS"];
        numbers
            .iter()
            .map(|number| words[number.as_u64().expect("a number") as usize])
            .collect::<Vec<_>>()
    });
    BTreeMap::from([
        (
            "communityId",
            named("communities", &body["community_id"], "x_id"),
        ),
        (
            "source",
            json!({ "title": named("attributions", &body["attribution_id"], "name") }),
        ),
        ("email", text("email_1")),
        ("phone", json!(phone)),
        (
            "firstName",
            if text("first_name").is_null() {
                json!("New")
            } else {
                text("first_name")
            },
        ),
        (
            "lastName",
            if text("last_name").is_null() {
                json!("Lead")
            } else {
                text("last_name")
            },
        ),
        ("address", text("address_1")),
        ("city", text("city")),
        ("state", text("state")),
        ("zip", text("zip")),
        (
            "moveDate",
            json!(body["move_in_date"].as_str().map(|date| &date[..10])),
        ),
        ("occupants", body["number_of_occupants"].clone()),
        ("leaseTermMonths", body["lease_term_in_months"].clone()),
        ("minBudget", json!(dollars("rent_minimum_in_cents", false))),
        ("maxBudget", json!(dollars("rent_maximum_in_cents", true))),
        ("bedrooms", json!(bedrooms)),
        ("pets", json!(distinct("pets"))),
        (
            "autorespond",
            json!(body["subscribe"].as_bool().unwrap_or(true)),
        ),
        (
            "firstContactType",
            json!(body["first_contact_type"].as_str().map(str::to_lowercase)),
        ),
    ])
}

/// Posts a body under a key of its own and returns its job id if it was accepted; a refusal must be one that says why.
fn post_one(caller: &Caller, place: usize, body: &Value) -> Option<(String, Value)> {
    let answer = caller.post_until_answered(body, &format!("lead-{place}"));
    let json = answer.json();
    match answer.status {
        200 => Some((
            json["meta"]["job_id"]
                .as_str()
                .expect("a job id")
                .to_owned(),
            body.clone(),
        )),
        400 => {
            // Shown, so that a person can judge whether each is right.
            eprintln!("refused: {} for {body}", json["error"]["details"]["issues"]);
            None
        }
        other => panic!("{other}: {json}"),
    }
}

fn post_all(caller: &Caller, bodies: &[Value]) -> Vec<(String, Value)> {
    in_parallel(bodies, THREADS, |place, body| post_one(caller, place, body))
        .into_iter()
        .flatten()
        .collect()
}

/// Every accepted write is SUCCESS, its record can be read back, and at Knock there is exactly one card for it, as it was sent.
fn compare(stage: &Stage, accepted: &[(String, Value)]) {
    let caller = stage.caller();
    let ends = in_parallel(accepted, THREADS, |_, (job_id, _)| {
        caller.end_within(job_id, REST)
    });
    let cards: BTreeMap<String, Value> = stage
        .cards()
        .into_iter()
        .map(|card| (card["prospectId"].as_str().expect("an id").to_owned(), card))
        .collect();
    let mut ids = BTreeSet::new();
    for ((job_id, body), end) in accepted.iter().zip(&ends) {
        assert_eq!(end["write_status"], "SUCCESS", "{job_id}: {end}");
        let record = caller.get(&format!(
            "/crm/v1/prospects/{}",
            end["created_record_id"].as_str().expect("a record id")
        ));
        let x_id = record["results"]["x_id"]
            .as_str()
            .expect("the vendor's id")
            .to_owned();
        let card = &cards[&x_id];
        for (member, value) in expected_card(&stage.server, body) {
            assert_eq!(card[member], value, "{member} of {body}");
        }
        match body["notes"].as_str().map(str::trim) {
            // A repeated delivery appends the message again: Knock's doing, and the price of never losing one.
            Some(notes) if !notes.is_empty() => assert!(
                card["messages"]
                    .as_array()
                    .expect("messages")
                    .iter()
                    .all(|one| *one == notes),
                "{card}"
            ),
            _ => assert_eq!(card["messages"], json!([])),
        }
        ids.insert(x_id);
    }
    assert_eq!(
        ids.len(),
        accepted.len(),
        "each person has a card of their own"
    );
    assert_eq!(cards.len(), accepted.len(), "and there is no card besides");
    let mut contacts = HashSet::new();
    for card in cards.values() {
        for contact in ["email", "phone"] {
            let matching = card[contact].as_str().map(str::to_lowercase);
            assert!(
                matching.is_none_or(|one| contacts.insert((card["communityId"].to_string(), one))),
                "a second card for {card}"
            );
        }
    }
}

#[test]
fn four_hundred_leads_stand_at_knock_field_by_field() {
    let stage = Stage::set();
    let bodies = leads(&stage.server, 400);
    let accepted = post_all(&stage.caller(), &bodies);
    eprintln!("{} of {} accepted", accepted.len(), bodies.len());
    assert!(accepted.len() * 10 >= bodies.len() * 9, "most are accepted");
    compare(&stage, &accepted);
}

#[test]
fn a_vendor_that_fails_three_calls_in_ten_gets_every_lead_once() {
    let stage = Stage::set();
    stage.break_the_vendor();
    let accepted = post_all(&stage.caller(), &leads(&stage.server, LEADS_FAILED));
    compare(&stage, &accepted);
}

#[test]
fn kill_nine_again_and_again_loses_and_doubles_nothing() {
    let mut stage = Stage::set();
    let (caller, bodies) = (stage.caller(), leads(&stage.server, LEADS_KILLED));
    stage.break_the_vendor();
    let accepted = std::thread::scope(|scope| {
        let posting = scope.spawn(|| {
            // Spread over the kills, so that each falls into the middle of something.
            in_parallel(&bodies, THREADS, |place, body| {
                std::thread::sleep(Duration::from_millis(40 + (place as u64 * 37) % 120));
                post_one(&caller, place, body).map(|(job_id, _)| (place, job_id))
            })
        });
        stage.kill_amid_calls(KILLS, || posting.is_finished());
        posting.join().expect("the posting thread")
    });
    let accepted: Vec<(String, Value)> = accepted
        .into_iter()
        .flatten()
        .map(|(place, job_id)| (job_id, bodies[place].clone()))
        .collect();
    // What is left is left by kills and failures that are over: how long it takes is not up to luck.
    stage.clear_faults();
    compare(&stage, &accepted);
}

#[test]
fn a_thousand_twins_under_one_key_are_one_write() {
    let stage = Stage::set();
    let (caller, body) = (stage.caller(), leads(&stage.server, 1).remove(0));
    let twins = vec![body; 1_000];
    let answers = in_parallel(&twins, 1_000, |_, body| {
        caller.post_until_answered(body, "the-same")
    });
    assert!(
        answers
            .iter()
            .all(|answer| answer.status == 200 && answer.body == answers[0].body),
        "identical answers"
    );
    let firsts = answers
        .iter()
        .filter(|answer| !answer.head.contains("idempotency-replayed: true"))
        .count();
    assert_eq!(firsts, 1, "all but one are replays");
    let job_id = answers[0].json()["meta"]["job_id"]
        .as_str()
        .expect("a job id")
        .to_owned();
    assert_eq!(caller.end_of(&job_id)["write_status"], "SUCCESS");
    assert_eq!(stage.cards().len(), 1);
    assert_eq!(stage.cards()[0]["updates"], 0, "one call");
}

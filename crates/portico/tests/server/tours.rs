//! Tours, on the real parts.
//!
//! Goal: a tour begins at the same instant on both sides, whatever the clocks do; a person has one tour to come; a slow vendor harms nobody.
//! Method: book through the API and look at what the sandbox holds.

use crate::support;

use std::collections::BTreeMap;

use model::Timestamp;
use serde_json::{Value, json};
use support::{
    Caller, DAY_MS, HOUR_MS, Stage, date_and_time, in_parallel, instant, text, with, without,
};

const BOOK: &str = "/crm/v1/appointments/knock";
const ASK: &str = "/crm/v1/appointment-availability/knock";

/// Hours to add to the time of day in Phoenix to have it in UTC: its clocks never change.
const PHOENIX_H: i64 = 7;

fn tour(stage: &Stage, community: &str, at: Timestamp, email: &str) -> Value {
    let (date, time) = date_and_time(at);
    let more = json!({ "appointment_date": date, "appointment_time": time, "last_name": "Byron", "email_1": email });
    with(&without(&stage.references(community), "agent_id"), more)
}

/// Midnight in UTC of the day, counted from 1970.
fn midnight(day: i64) -> Timestamp {
    Timestamp::ZERO.plus_millis(day * DAY_MS)
}

/// The first Sunday of a month that begins on the day, and `weeks` later.
fn sunday(month_begins: &str, weeks: i64) -> i64 {
    let begins = instant(&json!(format!("{month_begins}T00:00:00Z")));
    let day = begins.as_micros() / 1_000 / DAY_MS;
    // 1970 began on a Thursday.
    day + (3 - day).rem_euclid(7) + 7 * weeks
}

/// The days on which New York's clocks change next, and how far behind UTC they are before and after.
fn changes(now: Timestamp) -> Vec<(i64, i64, i64)> {
    let year: i64 = now.to_string()[..4].parse().expect("a year");
    let mut changes = Vec::new();
    for year in [year, year + 1] {
        changes.push((sunday(&format!("{year}-03-01"), 1), 5, 4));
        changes.push((sunday(&format!("{year}-11-01"), 0), 4, 5));
    }
    // Within what the sandbox takes, a day to spare at either end.
    changes.retain(|(day, ..)| {
        midnight(*day) > now.plus_millis(3 * DAY_MS)
            && midnight(*day) < now.plus_millis(363 * DAY_MS)
    });
    changes
}

#[test]
fn the_sundays_are_right() {
    for (month, weeks, expect) in [
        ("2026-11-01", 0, "2026-11-01"),
        ("2027-03-01", 1, "2027-03-14"),
        ("2027-11-01", 0, "2027-11-07"),
        ("2028-03-01", 1, "2028-03-12"),
    ] {
        assert_eq!(date_and_time(midnight(sunday(month, weeks))).0, expect);
    }
}

#[test]
fn nine_in_the_morning_is_nine_on_both_sides_of_a_change_of_the_clocks() {
    let stage = Stage::set();
    let caller = stage.caller();
    let mut expected = BTreeMap::new();
    let changes = changes(stage.set_at());
    assert!(!changes.is_empty());
    for (change, before_h, after_h) in changes {
        for (day, new_york_h) in [
            (change - 1, before_h),
            (change, after_h),
            (change + 1, after_h),
        ] {
            for (community, behind_h) in
                [("Harbor Point", new_york_h), ("Saguaro Flats", PHOENIX_H)]
            {
                let at = midnight(day).plus_millis((9 + behind_h) * HOUR_MS);
                let email = format!("{day}@mail.example.com");
                let end = caller.delivered("POST", BOOK, &tour(&stage, community, at, &email));
                let path = format!("/crm/v1/appointments/{}", text(&end["created_record_id"]));
                let record = &caller.get(&path)["results"];
                assert_eq!(instant(&record["starts_at"]), at, "{record}");
                let local = format!("{}T09:00:00-0{behind_h}:00", date_and_time(midnight(day)).0);
                assert_eq!(record["starts_at_local"], json!(local), "{record}");
                expected.insert(text(&record["x_id"]), (at, local));
            }
        }
    }
    let held = stage.held("appointments");
    assert_eq!(held.len(), expected.len());
    for one in held {
        let (at, local) = &expected[&text(&one["id"])];
        assert_eq!(instant(&one["startTime"]), *at, "{one}");
        assert!(text(&one["startTime"]).starts_with(&local[..16]), "{one}");
    }
    for call in stage.received() {
        let told = text(&call["body"]["requestedTimes"][0]["startTime"]);
        assert_eq!(&told[10..19], "T09:00:00", "{told}");
    }
}

#[test]
fn a_time_that_cannot_be_is_refused_here_or_by_the_vendor() {
    let stage = Stage::set();
    let caller = stage.caller();
    let now = stage.set_at();
    let past = now.plus_millis(-HOUR_MS);
    let past = tour(&stage, "Saguaro Flats", past, "past@mail.example.com");
    for path in [BOOK, "/crm/v1/appointments"] {
        let issues = caller.send("POST", path, &past).issues();
        assert_eq!(issues.len(), 1, "{issues:?}");
        assert_eq!(issues[0]["path"], json!(["appointment_date"]));
    }
    for (date, time) in [
        ("9999-12-31", "14:00:00"),
        ("9999-12-30", "23:59:59"),
        ("2027-02-30", "14:00:00"),
    ] {
        let beyond = with(
            &past,
            json!({ "appointment_date": date, "appointment_time": time }),
        );
        let issues = caller.send("POST", BOOK, &beyond).issues();
        assert_eq!(issues.len(), 1, "{issues:?}");
        assert_eq!(issues[0]["path"], json!(["appointment_date"]));
    }
    let day = now.as_micros() / 1_000 / DAY_MS + 10;
    let at_night = midnight(day).plus_millis((3 + PHOENIX_H) * HOUR_MS);
    let at_night = tour(&stage, "Saguaro Flats", at_night, "night@mail.example.com");
    let end = caller.end_of_sent("POST", BOOK, &at_night);
    assert_eq!(end["write_status"], "FAILURE", "{end}");
    let why = text(&end["errors"][0]);
    let words = "Knock answered 400: the requested time is not available";
    assert!(why.starts_with(words), "{why}");
    assert_eq!(end["created_record_id"], Value::Null, "{end}");
    assert!(stage.held("appointments").is_empty());
}

fn confirmed(stage: &Stage) -> Vec<Value> {
    let mut held = stage.held("appointments");
    held.retain(|one| one["status"] == "CONFIRMED");
    held
}

#[test]
fn a_second_tour_takes_the_place_of_the_first() {
    let stage = Stage::set();
    let caller = stage.caller();
    let day = stage.set_at().as_micros() / 1_000 / DAY_MS + 10;
    let at = |hour: i64| {
        let at = midnight(day).plus_millis((hour + PHOENIX_H) * HOUR_MS);
        tour(&stage, "Saguaro Flats", at, "one@mail.example.com")
    };
    let read =
        |id: &Value| caller.get(&format!("/crm/v1/appointments/{}", text(id)))["results"].clone();
    let first = caller.delivered("POST", BOOK, &at(9));
    assert_eq!(first["outcome"], "CREATED", "{first}");
    let second = caller.delivered("POST", BOOK, &at(10));
    assert_eq!(second["outcome"], "REPLACED", "{second}");
    let (first, second) = (&first["created_record_id"], &second["created_record_id"]);
    assert_eq!(read(first)["status"], "REPLACED");
    assert_eq!(read(first)["replaced_by"], *second);
    assert_eq!(read(second)["status"], "CONFIRMED");
    assert_eq!(read(second)["replaced_by"], Value::Null);

    let again = caller.delivered("POST", BOOK, &at(10));
    let outcomes = [json!("MATCHED"), json!("REPLACED")];
    assert!(outcomes.contains(&again["outcome"]), "{again}");
    assert_eq!(read(&again["created_record_id"])["status"], "CONFIRMED");

    assert_eq!(stage.cards().len(), 1);
    let confirmed = confirmed(&stage);
    assert_eq!(confirmed.len(), 1, "{confirmed:?}");
    assert!(text(&confirmed[0]["startTime"]).contains("T10:00:00"));
    let page = caller.get("/crm/v1/appointments?status=CONFIRMED");
    assert_eq!(page["meta"]["total"], 1, "{page}");
}

fn question(stage: &Stage, community: &str, kind: &str) -> Value {
    let place = stage.references(community);
    let place = without(&without(&place, "agent_id"), "attribution_id");
    with(&place, json!({ "appointment_type": kind }))
}

/// How often the vendor was asked when tours are possible.
fn asked(stage: &Stage) -> usize {
    let received = stage.received();
    let is_question = |call: &&Value| text(&call["path"]).contains("/available-times");
    received.iter().filter(is_question).count()
}

#[test]
fn a_time_that_is_offered_can_be_booked() {
    let stage = Stage::set();
    let caller = stage.caller();
    let body = question(&stage, "Saguaro Flats", "APPOINTMENT");
    let answers = in_parallel(&[&body; 20], 20, |_, body| caller.send("POST", ASK, body));
    assert_eq!(asked(&stage), 1, "all of them by one call");
    for answer in &answers {
        let json = answer.json();
        assert_eq!(answer.status, 200, "{json}");
        assert_eq!(json["result"], answers[0].json()["result"]);
    }
    let calendar = answers[0].json()["result"][0].clone();
    assert_eq!(calendar["calendar_type"], "PROPERTY_CALENDAR");
    assert_eq!(calendar["timezone"], "America/Phoenix");
    let x_id = &stage.named("communities", "Saguaro Flats")["x_id"];
    assert_eq!(calendar["x_property_id"], *x_id);
    let days = calendar["calendar_days"].as_array().expect("days");
    assert!(days.len() >= 14, "{calendar}");
    let weekdays = [
        "THURSDAY",
        "FRIDAY",
        "SATURDAY",
        "SUNDAY",
        "MONDAY",
        "TUESDAY",
        "WEDNESDAY",
    ];
    for day in days {
        let begins = instant(&json!(format!("{}T00:00:00Z", text(&day["date"]))));
        let count = begins.as_micros() / 1_000 / DAY_MS;
        let place = usize::try_from(count.rem_euclid(7)).expect("a place");
        assert_eq!(day["day_of_week"], weekdays[place], "{day}");
        let slots = day["available_slots"].as_array().expect("slots");
        assert!(slots.iter().all(|slot| slot["end"].is_null()), "{day}");
        assert!(!slots.is_empty(), "{day}");
    }
    let day = &days[5];
    let slots = day["available_slots"].as_array().expect("slots");
    let slot = slots.last().expect("a slot");
    let told = format!("{}T{}-07:00", text(&day["date"]), text(&slot["start"]));
    let at = instant(&json!(told));
    let end = caller.end_of_sent(
        "POST",
        BOOK,
        &tour(&stage, "Saguaro Flats", at, "one@mail.example.com"),
    );
    assert_eq!(end["outcome"], "CREATED", "{end}");
    assert_eq!(instant(&confirmed(&stage)[0]["startTime"]), at);
    let other = caller.send(
        "POST",
        ASK,
        &question(&stage, "Saguaro Flats", "SELF_GUIDED_TOUR"),
    );
    assert_eq!(other.status, 200);
    assert_eq!(asked(&stage), 2, "another question is another call");
}

/// The question has no answer now. Returns why.
fn check_unavailable(caller: &Caller, body: &Value) -> String {
    let answer = caller.send("POST", ASK, body);
    let json = answer.json();
    assert_eq!(answer.status, 503, "{json}");
    assert_eq!(json["error"]["code"], "unavailable", "{json}");
    assert!(answer.head.contains("\r\nretry-after: "), "{}", answer.head);
    text(&json["error"]["message"])
}

#[test]
fn a_vendor_that_is_slow_to_tell_keeps_no_prospect_waiting() {
    let stage = Stage::set();
    let caller = stage.caller();
    // Longer than anybody waits: an answer before that is one within bounds.
    stage.add_fault(
        &json!({ "match": { "method": "GET" }, "kind": "latency", "latency_ms": 8_000 }),
    );
    let (slow, place) = (
        question(&stage, "Saguaro Flats", "APPOINTMENT"),
        stage.references("Saguaro Flats"),
    );
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            in_parallel(&[&slow; 20], 20, |_, body| check_unavailable(&caller, body));
        });
        for person in 0..20 {
            let email = format!("person.{person}@mail.example.com");
            caller.prospect(&with(&place, json!({ "email_1": email })));
        }
        asking.join().expect("every answer was a 503");
    });
    assert_eq!(stage.cards().len(), 20);
}

#[test]
fn a_vendor_that_fails_to_tell_is_to_be_asked_again() {
    let stage = Stage::set();
    let caller = stage.caller();
    let faults = [
        json!({ "kind": "status", "status": 500 }),
        json!({ "kind": "status", "status": 403 }),
        json!({ "kind": "reset_before_store" }),
        json!({ "kind": "malformed_body" }),
        json!({ "kind": "empty_body" }),
        json!({ "kind": "error_in_200" }),
    ];
    // Each by a question of its own: an answer is given again for a while, a failure too.
    let communities = ["Harbor Point", "Saguaro Flats", "Alameda Lofts"];
    let questions = communities.into_iter().flat_map(|community| {
        ["APPOINTMENT", "SELF_GUIDED_TOUR"].map(|kind| question(&stage, community, kind))
    });
    for (mut fault, question) in faults.into_iter().zip(questions) {
        fault["match"] = json!({ "method": "GET" });
        stage.add_fault(&fault);
        let answer = check_unavailable(&caller, &question);
        assert!(answer.contains("Ask again"), "{fault}: {answer}");
        stage.clear_faults();
    }
    assert_eq!(asked(&stage), 6);
}

/// A tour at Saguaro Flats in ten days, known by the contacts in `more`.
fn tour_by(stage: &Stage, hour: i64, more: Value) -> Value {
    let day = stage.set_at().as_micros() / 1_000 / DAY_MS + 10;
    let at = midnight(day).plus_millis((hour + PHOENIX_H) * HOUR_MS);
    with(
        &without(&tour(stage, "Saguaro Flats", at, ""), "email_1"),
        more,
    )
}

#[test]
fn a_tour_is_one_persons_by_whichever_contact() {
    let stage = Stage::set();
    let caller = stage.caller();
    let (email, phone) = (
        json!({ "email_1": "one@mail.example.com" }),
        json!({ "phone_1": "2065550144" }),
    );
    let place = stage.references("Saguaro Flats");
    let id = caller.prospect(&with(&with(&place, email.clone()), phone.clone()));
    let first = caller.delivered("POST", BOOK, &tour_by(&stage, 9, email.clone()));
    let second = caller.delivered("POST", BOOK, &tour_by(&stage, 10, phone.clone()));
    assert_eq!(
        (&first["outcome"], &second["outcome"]),
        (&json!("CREATED"), &json!("REPLACED"))
    );
    let read = |end: &Value| {
        let path = format!("/crm/v1/appointments/{}", text(&end["created_record_id"]));
        caller.get(&path)["results"].clone()
    };
    assert_eq!(read(&first)["status"], "REPLACED");
    assert_eq!(read(&first)["prospect_id"], json!(id));
    // In the order accepted, though the first of them has to be tried again.
    stage.add_fault(&json!({ "match": { "path": "/appointment/request" }, "kind": "status", "status": 503, "retry_after_s": 1, "times": 1 }));
    let jobs = [tour_by(&stage, 11, email), tour_by(&stage, 12, phone)]
        .map(|body| caller.send("POST", BOOK, &body).job_id());
    for job_id in jobs {
        assert_eq!(caller.end_of(&job_id)["outcome"], "REPLACED");
    }
    let confirmed = confirmed(&stage);
    assert_eq!(confirmed.len(), 1, "{confirmed:?}");
    assert!(
        text(&confirmed[0]["startTime"]).contains("T12:00:00"),
        "{confirmed:?}"
    );
    assert_eq!(
        caller.get("/crm/v1/appointments?status=CONFIRMED")["meta"]["total"],
        1
    );
    let of_person = caller.get(&format!("/crm/v1/appointments?prospect_id={id}"));
    assert_eq!(of_person["meta"]["total"], 4, "{of_person}");
}

#[test]
fn what_a_tour_changes_on_a_card_is_known_here() {
    let stage = Stage::set();
    let caller = stage.caller();
    let place = stage.references("Saguaro Flats");
    let known = json!({ "email_1": "one@mail.example.com", "phone_1": "2065550133" });
    let id = caller.prospect(&with(&place, known));
    let other_phone = json!({ "email_1": "one@mail.example.com", "phone_1": "2065550199" });
    caller.delivered("POST", BOOK, &tour_by(&stage, 9, other_phone));
    let record = &caller.get(&format!("/crm/v1/prospects/{id}"))["results"];
    assert_eq!(record["phone_1"], "+12065550199", "{record}");
    let change = json!({ "number_of_occupants": 2 });
    let end = caller.delivered("PUT", &format!("/crm/v1/prospects/knock/{id}"), &change);
    assert_eq!(end["outcome"], "UPDATED", "{end}");
    let card = &stage.cards()[0];
    assert_eq!(
        (&card["phone"], &card["occupants"]),
        (&json!("+12065550199"), &json!(2))
    );
}

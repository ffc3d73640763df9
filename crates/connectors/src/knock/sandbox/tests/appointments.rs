//! Tours: when they can be had, what a request does to the card, replacing, repeating and cancelling.

use jiff::civil::time;
use serde_json::{Value, json};

use super::{HOME, OTHER, Running, ann, start, start_with, tour};

/// The times that are offered at a community.
async fn offered(sandbox: &Running, community: &str) -> Vec<String> {
    let path = format!("/community/{community}/available-times?forSelfGuided=false");
    let answer = sandbox.vendor("GET", &path, "").await;
    assert_eq!(answer.status, 200);
    let body = answer.json();
    let times = body["acceptableTimes"].as_array().unwrap();
    times
        .iter()
        .map(|time| time.as_str().unwrap().to_owned())
        .collect()
}

fn at(community: &str, start: &str) -> Value {
    let mut body = tour(start);
    body["communityId"] = json!(community);
    body
}

/// The tour as the state shows it.
async fn shown(sandbox: &Running, id: &str) -> Value {
    let tours = sandbox.held("appointments").await;
    let tour = tours.into_iter().find(|tour| tour["id"] == id);
    tour.unwrap()
}

#[tokio::test]
async fn the_slots_of_two_weeks_are_offered() {
    let sandbox = start().await;
    // 04:00 in New York: the whole day is still to come, and of the last day nothing.
    let times = offered(&sandbox, HOME).await;
    assert_eq!(times.len(), 14 * 18);
    assert_eq!(times[0], "2026-11-24T09:00:00-05:00");
    assert_eq!(times[1], "2026-11-24T09:30:00-05:00");
    assert_eq!(times[17], "2026-11-24T17:30:00-05:00");
    assert_eq!(times[18], "2026-11-25T09:00:00-05:00");
    assert_eq!(times.last().unwrap(), "2026-12-07T17:30:00-05:00");
    let phoenix = offered(&sandbox, OTHER).await;
    assert_eq!(phoenix[0], "2026-11-24T09:00:00-07:00");
    // A slot that begins now is over; one that begins in exactly two weeks is offered.
    sandbox.clock.set("2026-11-24T12:30:00-05:00");
    let times = offered(&sandbox, HOME).await;
    assert_eq!(times[0], "2026-11-24T13:00:00-05:00");
    assert_eq!(times.last().unwrap(), "2026-12-08T12:30:00-05:00");
    // After the last slot of the day.
    sandbox.clock.set("2026-11-24T23:59:59-05:00");
    assert_eq!(
        offered(&sandbox, HOME).await[0],
        "2026-11-25T09:00:00-05:00"
    );
    for query in ["", "?forSelfGuided=true", "?forSelfGuided=maybe", "?x"] {
        let path = format!("/community/{HOME}/available-times{query}");
        let answer = sandbox.vendor("GET", &path, "").await;
        assert_eq!(answer.status, 200, "{query}");
    }
}

#[tokio::test]
async fn offered_times_follow_the_clocks_of_the_community() {
    let sandbox = start().await;
    let check = async |now: &str, community: &str, expected: [&str; 2]| {
        sandbox.clock.set(now);
        let times = offered(&sandbox, community).await;
        for time in expected {
            assert!(times.iter().any(|offered| offered == time), "{time}");
        }
        assert_eq!(times.len() % 18, 0, "whole days");
        assert!(times.is_sorted_by_key(|time| model::Timestamp::parse(time).unwrap()));
    };
    // Sunday, 14 March 2027, at 02:00: an hour forward; Arizona takes no part in it.
    let spring = "2027-03-10T00:00:00Z";
    let expected = ["2027-03-13T17:30:00-05:00", "2027-03-14T09:00:00-04:00"];
    check(spring, HOME, expected).await;
    let expected = ["2027-03-13T17:30:00-07:00", "2027-03-14T09:00:00-07:00"];
    check(spring, OTHER, expected).await;
    // Sunday, 7 November 2027, at 02:00: an hour back.
    let autumn = "2027-11-01T00:00:00Z";
    let expected = ["2027-11-06T17:30:00-04:00", "2027-11-07T09:00:00-05:00"];
    check(autumn, HOME, expected).await;
    let expected = ["2027-11-06T17:30:00-07:00", "2027-11-07T09:00:00-07:00"];
    check(autumn, OTHER, expected).await;
}

#[tokio::test]
async fn a_time_is_taken_by_the_clocks_of_the_community() {
    let sandbox = start().await;
    let check = async |community: &str, start: &str, expected: Option<&str>| {
        let body = at(community, start);
        match expected {
            Some(expected) => {
                let id = sandbox.book(&body).await;
                assert_eq!(shown(&sandbox, &id).await["startTime"], expected);
            }
            None => {
                let naming = "not available: tours begin every 30 minutes";
                sandbox
                    .check_refused("/appointment/request", &body, naming)
                    .await;
            }
        }
    };
    for (community, start, expected) in [
        (
            HOME,
            "2027-03-12T09:00:00-05:00",
            "2027-03-12T09:00:00-05:00",
        ),
        (
            HOME,
            "2027-03-15T09:00:00-04:00",
            "2027-03-15T09:00:00-04:00",
        ),
        (
            OTHER,
            "2027-03-12T09:00:00-07:00",
            "2027-03-12T09:00:00-07:00",
        ),
        (
            OTHER,
            "2027-03-15T09:00:00-07:00",
            "2027-03-15T09:00:00-07:00",
        ),
        // The instant counts, not how it is written.
        (HOME, "2027-03-15T13:00:00Z", "2027-03-15T09:00:00-04:00"),
        (
            HOME,
            "2027-03-15T09:00:00-05:00",
            "2027-03-15T10:00:00-04:00",
        ),
        (HOME, "2027-11-08T17:30-05:00", "2027-11-08T17:30:00-05:00"),
        (
            OTHER,
            "2027-03-15T16:00:00.000Z",
            "2027-03-15T09:00:00-07:00",
        ),
    ] {
        check(community, start, Some(expected)).await;
    }
    for (community, start) in [
        // The offset of the other half of the year: 08:00 and 18:30 there.
        (HOME, "2027-03-12T09:00:00-04:00"),
        (HOME, "2027-03-15T17:30:00-05:00"),
        (OTHER, "2027-03-15T09:00:00-06:00"),
        (HOME, "2027-03-15T08:30:00-04:00"),
        (HOME, "2027-03-15T18:00:00-04:00"),
        (HOME, "2027-03-15T09:15:00-04:00"),
        (HOME, "2027-03-15T09:00:01-04:00"),
        (HOME, "2027-03-15T09:00:00.000000001-04:00"),
    ] {
        check(community, start, None).await;
    }
    // The past, and too far ahead: 366 days after 09:00 UTC on 24 November 2026.
    let path = "/appointment/request";
    let past = "the requested time is in the past";
    let body = tour("2026-11-23T09:00:00-05:00");
    sandbox.check_refused(path, &body, past).await;
    sandbox.clock.set("2026-11-24T09:00:00-05:00");
    let body = tour("2026-11-24T09:00:00-05:00");
    sandbox.check_refused(path, &body, past).await;
    sandbox.book(&tour("2027-11-25T09:00:00-05:00")).await;
    let body = tour("2027-11-25T09:30:00-05:00");
    let far = "not available: it is more than 366 days ahead";
    sandbox.check_refused(path, &body, far).await;
}

#[tokio::test]
async fn hours_through_the_night_skip_and_repeat_no_slot() {
    let sandbox = start_with(|options| {
        let hours = &mut options.seed.communities[0].hours;
        hours.first = time(0, 30, 0, 0);
        hours.last = time(23, 30, 0, 0);
        hours.slot_minutes = 60;
    })
    .await;
    let path = "/appointment/request";
    sandbox.clock.set("2027-03-14T00:00:00-05:00");
    let times = offered(&sandbox, HOME).await;
    // 02:30 does not exist on that day.
    assert_eq!(times[1], "2027-03-14T01:30:00-05:00");
    assert_eq!(times[2], "2027-03-14T03:30:00-04:00");
    sandbox.clock.set("2027-11-07T00:00:00-04:00");
    let times = offered(&sandbox, HOME).await;
    // 01:30 is there twice, and its first time is meant.
    assert_eq!(times[1], "2027-11-07T01:30:00-04:00");
    assert_eq!(times[2], "2027-11-07T02:30:00-05:00");
    sandbox.book(&tour("2027-11-07T01:30:00-04:00")).await;
    let body = tour("2027-11-07T01:30:00-05:00");
    sandbox.check_refused(path, &body, "not available").await;
}

#[tokio::test]
async fn a_request_makes_a_card_or_finds_it() {
    let sandbox = start().await;
    let full = json!({
        "communityId": HOME, "sourceTitle": "Apartments.com",
        "requestedTimes": [{ "startTime": "2026-11-25T09:00:00-05:00" }, { "startTime": "x" }],
        "profile": {
            "firstName": "Ann", "lastName": "Lee", "email": "ann@example.com",
            "phone": "2065550155", "moveDate": "2027-01-01", "bedrooms": ["STUDIO"],
            "occupants": 2, "leaseTermMonths": 12, "minBudget": 1500, "maxBudget": 2100,
            "pets": ["CAT"],
        },
        "message": "May I see it?", "firstContactType": "internet", "tourType": "SELF_GUIDED",
        "smsConsent": true, "agent": { "username": "sam.okafor" }, "city": "Tacoma",
    });
    let id = sandbox.book(&full).await;
    let cards = sandbox.held("prospects").await;
    assert_eq!(cards.len(), 1);
    let card = &cards[0];
    for (name, value) in full["profile"].as_object().unwrap() {
        if name != "phone" {
            assert_eq!(&card[name], value, "{name}");
        }
    }
    for (name, value) in [
        ("phone", json!("+12065550155")),
        ("status", json!("Booked")),
        ("source", json!({ "title": "Apartments.com" })),
        ("agent", json!({ "username": "morgan.reyes" })),
        ("city", Value::Null),
        ("firstContactType", json!("internet")),
        ("smsConsent", json!(true)),
        ("messages", json!(["May I see it?"])),
        ("updates", json!(0)),
    ] {
        assert_eq!(card[name], value, "{name}");
    }
    assert_eq!(
        shown(&sandbox, &id).await,
        json!({
            "id": id, "communityId": HOME, "prospectId": card["prospectId"],
            "startTime": "2026-11-25T09:00:00-05:00", "status": "CONFIRMED",
            "tourType": "SELF_GUIDED", "message": "May I see it?",
            "sourceTitle": "Apartments.com",
            "createdAt": "2026-11-24T09:00:00.000000+00:00",
            "updatedAt": "2026-11-24T09:00:00.000000+00:00",
        })
    );
    // By email or phone, with what a repeat changes, and never in another community.
    let mut by_phone = tour("2026-11-26T09:00:00-05:00");
    by_phone["profile"] = json!({ "phone": "2065550155", "occupants": 3, "pets": [] });
    by_phone["message"] = json!("Another day");
    sandbox.book(&by_phone).await;
    let card = sandbox.held("prospects").await[0].take();
    assert_eq!(card["occupants"], 3);
    assert_eq!(card["pets"], json!(["CAT"]));
    assert_eq!(card["source"]["title"], "Apartments.com");
    assert_eq!(card["messages"], json!(["May I see it?", "Another day"]));
    assert_eq!(card["updates"], 1);
    let id = card["prospectId"].as_str().unwrap();
    assert_eq!(sandbox.post(&ann()).await.id(), id);
    assert_eq!(sandbox.card(id).await["status"], "Booked");
    sandbox.book(&at(OTHER, "2026-11-26T09:00:00-07:00")).await;
    let counts = sandbox.sandbox.counts();
    assert_eq!((counts.prospects, counts.appointments), (2, 3));
    assert_eq!(counts.updates, 2);
}

#[tokio::test]
async fn a_wrong_request_is_refused_and_changes_nothing() {
    let sandbox = start().await;
    let start = "2026-11-25T09:00:00-05:00";
    let check = async |change: Value, naming: &str| {
        let mut body = tour(start);
        for (name, value) in change.as_object().unwrap() {
            body[name] = value.clone();
        }
        sandbox
            .check_refused("/appointment/request", &body, naming)
            .await;
    };
    check(json!({ "communityId": "nope" }), "communityId").await;
    check(json!({ "communityId": null }), "communityId is required").await;
    check(json!({ "sourceTitle": null }), "sourceTitle is required").await;
    check(json!({ "sourceTitle": "Nope.com" }), "not a source").await;
    for profile in [json!(null), json!({}), json!({ "firstName": "Ann" })] {
        check(json!({ "profile": profile }), "email or a phone").await;
    }
    check(json!({ "profile": "Ann" }), "profile must be an object").await;
    for (member, value) in [
        ("email", json!("ann")),
        ("phone", json!("1")),
        ("moveDate", json!("2027-02-29")),
        ("bedrooms", json!(["3"])),
        ("occupants", json!(-1)),
        ("leaseTermMonths", json!(0)),
        ("minBudget", json!("1")),
        ("maxBudget", json!(1.5)),
        ("pets", json!(["HORSE"])),
        ("firstName", json!(1)),
        ("lastName", json!(1)),
    ] {
        let mut profile = json!({ "email": "ann@example.com" });
        profile[member] = value;
        let naming = format!("profile.{member} must be");
        check(json!({ "profile": profile }), &naming).await;
    }
    check(json!({ "message": 1 }), "message must be").await;
    check(json!({ "firstContactType": "x" }), "firstContactType").await;
    check(json!({ "smsConsent": "yes" }), "smsConsent must be").await;
    check(json!({ "tourType": "VIRTUAL" }), "IN_PERSON, SELF_GUIDED").await;
    for times in [json!(null), json!([])] {
        check(
            json!({ "requestedTimes": times }),
            "requestedTimes is required",
        )
        .await;
    }
    for times in [json!(start), json!([start]), json!({ "startTime": start })] {
        check(
            json!({ "requestedTimes": times }),
            "requestedTimes must be a list of objects",
        )
        .await;
    }
    let naming = "requestedTimes[0].startTime is required";
    check(json!({ "requestedTimes": [{}] }), naming).await;
    let naming = "requestedTimes[0].startTime must be ISO 8601";
    for time in [
        json!(1),
        json!("2026-11-25"),
        json!("2026-11-25T09:00:00"),
        json!("2026-11-25T09:00:00[America/New_York]"),
        json!("tomorrow"),
    ] {
        let naming = if time.is_number() {
            "startTime must be a text"
        } else {
            naming
        };
        check(json!({ "requestedTimes": [{ "startTime": time }] }), naming).await;
    }
    sandbox
        .check_refused("/appointment/request", &Value::Null, "JSON object")
        .await;
    let counts = sandbox.sandbox.counts();
    assert_eq!((counts.prospects, counts.appointments), (0, 0));
    let accept = json!({ "unknown_source": "accept" });
    sandbox.control("POST", "/settings", &accept).await;
    let mut body = tour(start);
    body["sourceTitle"] = json!("Nope.com");
    let id = sandbox.book(&body).await;
    assert_eq!(shown(&sandbox, &id).await["sourceTitle"], "Nope.com");
}

#[tokio::test]
async fn a_second_request_replaces_the_tour_to_come() {
    let sandbox = start().await;
    let first = sandbox.book(&tour("2026-11-25T09:00:00-05:00")).await;
    sandbox.clock.advance(1_000_000);
    let second = sandbox.book(&tour("2026-11-25T09:30:00-05:00")).await;
    assert_ne!(first, second);
    let replaced = shown(&sandbox, &first).await;
    assert_eq!(replaced["status"], "REPLACED");
    assert_eq!(replaced["updatedAt"], "2026-11-24T09:00:01.000000+00:00");
    // The same time, but another kind of tour.
    let mut alone = tour("2026-11-25T09:30:00-05:00");
    alone["tourType"] = json!("SELF_GUIDED");
    let third = sandbox.book(&alone).await;
    assert_eq!(shown(&sandbox, &second).await["status"], "REPLACED");
    // One that is over stays as it is.
    sandbox.clock.set("2026-11-25T09:30:00-05:00");
    let fourth = sandbox.book(&tour("2026-11-26T09:00:00-05:00")).await;
    assert_eq!(shown(&sandbox, &third).await["status"], "CONFIRMED");
    assert_eq!(shown(&sandbox, &fourth).await["status"], "CONFIRMED");
    // Cancelling one that was replaced does nothing to the card, which has another.
    let cancelled = sandbox.cancel(&first).await;
    assert_eq!(cancelled.status, 200);
    assert_eq!(shown(&sandbox, &first).await["status"], "CANCELLED");
    let card = sandbox.held("prospects").await[0].take();
    assert_eq!(
        (&card["status"], &card["updates"]),
        (&json!("Booked"), &json!(3))
    );
    // Somebody else's is not touched.
    let mut bob = tour("2026-11-26T09:00:00-05:00");
    bob["profile"]["email"] = json!("bob@x.org");
    sandbox.book(&bob).await;
    assert_eq!(shown(&sandbox, &fourth).await["status"], "CONFIRMED");
}

#[tokio::test]
async fn the_same_request_again_leads_to_the_same_tour() {
    let sandbox = start().await;
    let mut body = tour("2026-11-25T09:00:00-05:00");
    body["message"] = json!("Hi");
    let id = sandbox.book(&body).await;
    let before = shown(&sandbox, &id).await;
    sandbox.clock.advance(1_000_000);
    assert_eq!(sandbox.book(&body).await, id);
    // The instant counts, and the default of the kind.
    body["requestedTimes"][0]["startTime"] = json!("2026-11-25T14:00:00Z");
    body["tourType"] = json!("IN_PERSON");
    assert_eq!(sandbox.book(&body).await, id);
    assert_eq!(shown(&sandbox, &id).await, before);
    let card = sandbox.held("prospects").await[0].take();
    assert_eq!(card["messages"], json!(["Hi"]));
    assert_eq!(card["updates"], 2);
    // Other words are not lost.
    body["message"] = json!("Is there parking?");
    for _ in 0..2 {
        assert_eq!(sandbox.book(&body).await, id);
    }
    let card = sandbox.held("prospects").await[0].take();
    assert_eq!(card["messages"], json!(["Hi", "Is there parking?"]));
    assert_eq!(sandbox.sandbox.counts().appointments, 1);
    // One that was cancelled is not to come any more.
    sandbox.cancel(&id).await;
    assert_ne!(sandbox.book(&body).await, id);
    assert_eq!(shown(&sandbox, &id).await["status"], "CANCELLED");
}

#[tokio::test]
async fn a_tour_is_cancelled_once() {
    let sandbox = start().await;
    let id = sandbox.book(&tour("2026-11-25T09:00:00-05:00")).await;
    let expected = json!({ "appointment": { "id": id, "status": "CANCELLED" } });
    sandbox.clock.advance(1_000_000);
    let answer = sandbox.cancel(&id).await;
    assert_eq!((answer.status, answer.json()), (200, expected.clone()));
    let (tour, card) = (
        shown(&sandbox, &id).await,
        sandbox.held("prospects").await[0].take(),
    );
    assert_eq!(tour["status"], "CANCELLED");
    assert_eq!(tour["updatedAt"], "2026-11-24T09:00:01.000000+00:00");
    assert_eq!(card["status"], "Canceled (Renter)");
    assert_eq!(card["updatedAt"], tour["updatedAt"]);
    sandbox.clock.advance(1_000_000);
    let answer = sandbox.cancel(&id).await;
    assert_eq!((answer.status, answer.json()), (200, expected));
    assert_eq!(shown(&sandbox, &id).await, tour);
    assert_eq!(sandbox.held("prospects").await[0], card);
    for unknown in ["1", "x", "", "99999999999999999999999"] {
        let answer = sandbox.cancel(unknown).await;
        assert_eq!(answer.status, 404);
        assert_eq!(answer.json()["errorMessage"], "appointment not found");
    }
    // An id of something else is no tour's.
    let card = card["prospectId"].as_str().unwrap();
    assert_eq!(sandbox.cancel(card).await.status, 404);
}

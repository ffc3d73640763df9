//! The order of writes about one person, on the real parts.
//!
//! Goal: a change never overtakes what it depends on, changes arrive in the order accepted, and none makes a second card. Method: hold or break the vendor
//! meanwhile, and look at what it received.

use crate::support;

use serde_json::{Value, json};
use support::{Stage, in_parallel, text, with};

const CREATE: &str = "/crm/v1/prospects/knock";

fn update(id: &str) -> String {
    format!("/crm/v1/prospects/knock/{id}")
}

/// The vendor takes no card until the faults are cleared.
fn hold_the_vendor(stage: &Stage) {
    stage.add_fault(&json!({ "match": { "path": "/prospect" }, "kind": "status", "status": 503 }));
}

#[test]
fn a_change_waits_until_what_it_depends_on_has_ended() {
    let stage = Stage::set();
    let (caller, place) = (stage.caller(), stage.references("Harbor Point"));
    let known = with(&place, json!({ "email_1": "known@mail.example.com" }));
    let fresh = with(&place, json!({ "email_1": "fresh@mail.example.com" }));
    let known_id = caller.prospect(&known);
    let change = json!({ "last_name": "King", "number_of_occupants": 4 });

    hold_the_vendor(&stage);
    let creating = caller.send("POST", CREATE, &fresh).job_id();
    // Of somebody who does not exist yet, there is only the write that is to make them.
    for path in [update(&creating), format!("/crm/v1/prospects/{creating}")] {
        let why = caller.send("PUT", &path, &change).conflict();
        for words in [&*creating, "has not ended", "created_record_id"] {
            assert!(why.contains(words), "{why}");
        }
    }
    // Somebody who exists, and is about to be made or met again by the same contact.
    let again = caller.send("POST", CREATE, &known).job_id();
    let why = caller.send("PUT", &update(&known_id), &change).conflict();
    for words in [&*again, "has not ended", "Send it again"] {
        assert!(why.contains(words), "{why}");
    }

    stage.clear_faults();
    let ends = [creating, again].map(|job_id| (caller.end_of(&job_id), job_id));
    let [(created, creating), (matched, _)] = ends;
    assert_eq!(created["outcome"], "CREATED", "{created}");
    assert_eq!(matched["outcome"], "MATCHED", "{matched}");
    assert_eq!(matched["created_record_id"], json!(known_id));
    let fresh_id = text(&created["created_record_id"]);
    let why = caller.send("PUT", &update(&creating), &change).conflict();
    assert!(why.contains(&fresh_id), "{why}");
    for id in [&fresh_id, &known_id] {
        let end = caller.delivered("PUT", &update(id), &change);
        assert_eq!(end["outcome"], "UPDATED", "{end}");
        assert_eq!(end["created_record_id"], json!(id), "{end}");
        let record = &caller.get(&format!("/crm/v1/prospects/{id}"))["results"];
        assert_eq!(record["last_name"], "King", "{record}");
    }
    let cards = stage.cards();
    assert_eq!(cards.len(), 2, "{cards:?}");
    for card in cards {
        assert_eq!(card["lastName"], "King", "{card}");
        assert_eq!(card["occupants"], 4, "{card}");
    }
}

/// Sends `count` changes of each of `people` while the vendor fails, and looks at the order in which they arrived. Each has a number, and a name that
/// comes again and again.
fn check_order(people: usize, count: usize) {
    let stage = Stage::set();
    let (caller, place) = (stage.caller(), stage.references("Harbor Point"));
    let emails: Vec<String> = (0..people)
        .map(|person| format!("person.{person}@mail.example.com"))
        .collect();
    let ids: Vec<String> = emails
        .iter()
        .map(|email| caller.prospect(&with(&place, json!({ "email_1": email }))))
        .collect();
    let names = ["Ada", "Grace"];
    stage.break_the_vendor();
    in_parallel(&ids, people, |_, id| {
        let jobs: Vec<String> = (1..=count)
            .map(|number| {
                let change =
                    json!({ "number_of_occupants": number, "first_name": names[number % 2] });
                caller.send("PUT", &update(id), &change).job_id()
            })
            .collect();
        for job_id in jobs {
            let end = caller.end_of(&job_id);
            assert_eq!(end["write_status"], "SUCCESS", "{end}");
            assert_eq!(end["created_record_id"], json!(id), "{end}");
        }
    });
    let (cards, received) = (stage.cards(), stage.received());
    assert_eq!(cards.len(), people, "one card a person");
    for email in &emails {
        let card = cards.iter().find(|card| card["email"] == json!(email));
        let card = card.expect("a card");
        assert_eq!(card["occupants"], count, "{card}");
        assert_eq!(card["firstName"], names[count % 2], "{card}");
        let numbers: Vec<u64> = received
            .iter()
            .filter(|call| call["body"]["email"] == json!(email))
            .filter_map(|call| call["body"]["occupants"].as_u64())
            .collect();
        assert!(numbers.is_sorted(), "{email}: {numbers:?}");
        let mut distinct = numbers;
        distinct.dedup();
        assert_eq!(distinct.len(), count, "{email}: {distinct:?}");
    }
}

#[test]
fn two_changes_arrive_in_the_order_accepted() {
    check_order(1, 2);
}

#[test]
fn twenty_changes_of_three_people_arrive_in_the_order_accepted() {
    check_order(3, 20);
}

#[test]
fn a_contact_changes_alone_and_takes_nobody_elses() {
    let stage = Stage::set();
    let (caller, place) = (stage.caller(), stage.references("Harbor Point"));
    let person = |email: &str, phone: &str| {
        caller.prospect(&with(&place, json!({ "email_1": email, "phone_1": phone })))
    };
    let id = person("one@mail.example.com", "2065550111");
    let other = person("other@mail.example.com", "2065550122");
    // The same contacts in another community are another person's, and free here.
    let elsewhere = with(
        &stage.references("Saguaro Flats"),
        json!({ "email_1": "new@mail.example.com", "phone_1": "2065550133" }),
    );
    caller.prospect(&elsewhere);

    let both = json!({ "email_1": "new@mail.example.com", "phone_1": "2065550133" });
    for path in [update(&id), format!("/crm/v1/prospects/{id}")] {
        let issues = caller.send("PUT", &path, &both).issues();
        let paths: Vec<&Value> = issues.iter().map(|one| &one["path"]).collect();
        assert_eq!(paths, [&json!(["email_1"]), &json!(["phone_1"])]);
        // In whatever spelling.
        for taken in [
            json!({ "email_1": "Other@Mail.example.com" }),
            json!({ "phone_1": "(206) 555-0122" }),
        ] {
            let why = caller.send("PUT", &path, &taken).conflict();
            assert!(why.contains(&other), "{why}");
        }
    }
    for change in [
        json!({ "email_1": "new@mail.example.com" }),
        json!({ "phone_1": "2065550133" }),
        json!({ "email_1": "newer@mail.example.com", "phone_1": "+1 206 555 0133" }),
    ] {
        let end = caller.delivered("PUT", &update(&id), &change);
        assert_eq!(end["outcome"], "UPDATED", "{change}: {end}");
        assert_eq!(end["created_record_id"], json!(id), "{change}: {end}");
    }
    let cards = stage.cards();
    assert_eq!(cards.len(), 3, "{cards:?}");
    assert_eq!(cards[0]["email"], "newer@mail.example.com");
    assert_eq!(cards[0]["phone"], "+12065550133");
    assert_eq!(cards[1]["email"], "other@mail.example.com");
    let record = &caller.get(&format!("/crm/v1/prospects/{id}"))["results"];
    assert_eq!(record["email_1"], "newer@mail.example.com", "{record}");
    assert_eq!(record["phone_1"], "+12065550133", "{record}");
    // What was given up is free again.
    caller.delivered(
        "PUT",
        &update(&other),
        &json!({ "email_1": "one@mail.example.com" }),
    );
    assert_eq!(stage.cards().len(), 3);
}

#[test]
fn two_people_cannot_both_be_given_one_contact() {
    let stage = Stage::set();
    let (caller, place) = (stage.caller(), stage.references("Harbor Point"));
    let person = |email: &str, phone: &str| {
        caller.prospect(&with(&place, json!({ "email_1": email, "phone_1": phone })))
    };
    let one = person("one@mail.example.com", "2065550111");
    let two = person("two@mail.example.com", "2065550122");
    let wanted = json!({ "email_1": "wanted@mail.example.com" });
    hold_the_vendor(&stage);
    let first = caller.send("PUT", &update(&one), &wanted).job_id();
    let why = caller.send("PUT", &update(&two), &wanted).conflict();
    assert!(why.contains(&first), "{why}");
    stage.clear_faults();
    assert_eq!(caller.end_of(&first)["outcome"], "UPDATED");
    let why = caller.send("PUT", &update(&two), &wanted).conflict();
    assert!(why.contains(&one), "{why}");
    assert_eq!(stage.cards()[0]["phone"], "+12065550111");
}

#[test]
fn a_change_names_the_card_by_what_is_its_own() {
    let stage = Stage::set();
    let (caller, place) = (stage.caller(), stage.references("Harbor Point"));
    let one = caller.prospect(&with(
        &place,
        json!({ "email_1": "one@mail.example.com", "phone_1": "2065550111" }),
    ));
    let two = caller.prospect(&with(&place, json!({ "phone_1": "2065550122" })));
    // By its email it is the first, which now has the second's number too.
    let met = caller.prospect(&with(
        &place,
        json!({ "email_1": "one@mail.example.com", "phone_1": "2065550122" }),
    ));
    assert_eq!(met, one);
    let name = json!({ "last_name": "Bee" });
    let why = caller.send("PUT", &update(&two), &name).conflict();
    assert!(
        why.contains(&one) && why.contains("tell the two apart"),
        "{why}"
    );
    let end = caller.delivered("PUT", &update(&one), &name);
    assert_eq!(
        (&end["outcome"], &end["created_record_id"]),
        (&json!("UPDATED"), &json!(one))
    );
    let names: Vec<Value> = stage
        .cards()
        .iter()
        .map(|card| card["lastName"].clone())
        .collect();
    assert_eq!(names, ["Bee", "Lead"]);
}

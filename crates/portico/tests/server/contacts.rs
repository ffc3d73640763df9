//! Goal: a phone number or an email address reaches the vendor as the person meant it, is found
//! again by every spelling, and is refused in words when it cannot be one.
//!
//! Method: send tables of inputs to the real binary; compare what the sandbox holds, what is read
//! back, and what the filters of lists find.

use crate::support;

use serde_json::{Value, json};
use support::{Stage, portico, text, with};

const CREATE: &str = "/crm/v1/prospects/knock";
const BOOK: &str = "/crm/v1/appointments/knock";

/// A query's value, every byte escaped.
fn escaped(value: &str) -> String {
    value.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

fn found(caller: &support::Caller, kind: &str, filter: &str, value: &str) -> Vec<String> {
    let page = caller.get(&format!("/crm/v1/{kind}?{filter}={}", escaped(value)));
    let rows = page["results"].as_array().expect("rows");
    rows.iter().map(|row| text(&row["id"])).collect()
}

#[test]
fn phone_numbers_keep_their_digits_on_their_way_to_the_vendor() {
    let stage = Stage::set();
    let caller = stage.caller();
    let place = stage.references("Harbor Point");
    for (given, number, extension) in [
        ("+86 131 2345 6789", "+8613123456789", None),
        ("+49 172 1547608", "+491721547608", None),
        ("+880 1812-345678", "+8801812345678", None),
        ("+82 10-1234-5678", "+821012345678", None),
        ("+33 1 42 68 53 00", "+33142685300", None),
        ("+44 121 496 0000", "+441214960000", None),
        ("+55 11 91234-5678", "+5511912345678", None),
        ("+290 22158", "+29022158", None),
        ("+44 (0)20 7946 0958", "+442079460958", None),
        ("(+1) 206 555 0101", "+12065550101", None),
        ("++1 206 555 0102", "+12065550102", None),
        ("tel:+1-206-555-0103;ext=7", "+12065550103", Some("7")),
        ("[206] 555-0104", "+12065550104", None),
        (
            "\u{202a}206\u{2011}555\u{2011}0105\u{202c}",
            "+12065550105",
            None,
        ),
        ("\u{ff12}06 555 0106", "+12065550106", None),
        ("206-555-0107 x123", "+12065550107", Some("123")),
        ("206-555-0108 ext. 136", "+12065550108", Some("136")),
        ("206-555-0109;ext=136", "+12065550109", Some("136")),
        ("206-555-0110 #6", "+12065550110", Some("6")),
    ] {
        let body = with(&place, json!({ "phone_1": given, "notes": "Hello" }));
        let answer = caller.send("POST", CREATE, &body);
        let echo = &answer.json()["result"];
        assert_eq!(echo["phone_1"], given);
        assert_eq!(echo["phone_1_extension"], json!(extension), "{given}");
        let end = caller.end_of(&answer.job_id());
        assert_eq!(end["outcome"], "CREATED", "{given}: {end}");
        let id = text(&end["created_record_id"]);
        let record = &caller.get(&format!("/crm/v1/prospects/{id}"))["results"];
        assert_eq!(record["phone_1"], number, "{given}");
        assert_eq!(record["phone_1_extension"], json!(extension), "{given}");
        assert_eq!(record["notes"], "Hello");
        let cards = stage.cards();
        let card = cards.last().expect("a card");
        assert_eq!(card["phone"], number, "{given}");
        let message = match extension {
            None => "Hello".to_owned(),
            Some(extension) => format!("Hello\nPhone extension: {extension}"),
        };
        assert_eq!(card["messages"], json!([message]), "{given}");
        for spelling in [given, number, &format!("{number} x99")] {
            let ids = found(&caller, "prospects", "phone_1", spelling);
            assert_eq!(ids, [id.as_str()], "{spelling}");
        }
    }
    let calls = stage.received().len();
    for given in [
        "+44 020 7946 0958",
        "+1 555 0155",
        "+999 1234 5678",
        "+49 1234 5678 9012 345",
        "206-555-0155 ext. desk",
        "1-800-FLOWERS",
    ] {
        let body = with(&place, json!({ "phone_1": given }));
        let issues = caller.send("POST", CREATE, &body).issues();
        assert_eq!(issues.len(), 1, "{given}: {issues:?}");
        assert_eq!(issues[0]["path"], json!(["phone_1"]), "{given}");
    }
    assert_eq!(stage.received().len(), calls);
}

#[test]
fn an_extension_belongs_to_its_number_and_takes_no_part_in_matching() {
    let stage = Stage::set();
    let caller = stage.caller();
    let place = stage.references("Harbor Point");
    let lead = |more: Value| with(&place, more);
    let email = "ext@mail.example.com";
    let id = caller.prospect(&lead(
        json!({ "email_1": email, "phone_1": "2065550121 x4" }),
    ));
    let path = format!("/crm/v1/prospects/{id}");
    let extension = || caller.get(&path)["results"]["phone_1_extension"].clone();
    assert_eq!(extension(), "4");
    // Another extension of the same number is the same person.
    let body = lead(json!({ "phone_1": "2065550121", "phone_1_extension": "ext. 5" }));
    assert_eq!(
        caller.delivered("POST", CREATE, &body)["outcome"],
        "MATCHED"
    );
    assert_eq!(extension(), "5");
    // A number that is sent without one says nothing about it.
    caller.delivered("POST", CREATE, &lead(json!({ "phone_1": "206 555 0121" })));
    assert_eq!(extension(), "5");
    let change = format!("/crm/v1/prospects/knock/{id}");
    caller.delivered("PUT", &change, &json!({ "phone_1": "2065550121 x6" }));
    assert_eq!(extension(), "6");
    let messages = stage.cards()[0]["messages"].clone();
    let last = messages.as_array().and_then(|all| all.last()).cloned();
    assert_eq!(last, Some(json!("Phone extension: 6")), "{messages}");
    // It goes with its number.
    caller.delivered("PUT", &change, &json!({ "phone_1": "2065550122" }));
    assert_eq!(extension(), Value::Null);
    assert_eq!(stage.cards().len(), 1);

    // Notes of the greatest length leave room for it at the vendor, and stay whole here.
    let notes = "n".repeat(1_000);
    let body = lead(json!({ "phone_1": "2065550123 x01234567890123456789", "notes": notes }));
    let other = caller.prospect(&body);
    let record = &caller.get(&format!("/crm/v1/prospects/{other}"))["results"];
    assert_eq!(record["notes"], json!(notes));
    let sent = text(&stage.cards()[1]["messages"][0]);
    assert!(
        sent.ends_with("...\nPhone extension: 01234567890123456789"),
        "{sent}"
    );
    assert_eq!(sent.chars().count(), 1_000);

    for (more, field) in [
        (
            json!({ "email_1": email, "phone_1_extension": "5" }),
            "phone_1_extension",
        ),
        (
            json!({ "phone_1": "2065550121 x4", "phone_1_extension": "5" }),
            "phone_1_extension",
        ),
        (
            json!({ "phone_1": "2065550121", "phone_1_extension": "desk" }),
            "phone_1_extension",
        ),
    ] {
        let issues = caller.send("POST", CREATE, &lead(more.clone())).issues();
        assert_eq!(issues.len(), 1, "{more}: {issues:?}");
        assert_eq!(issues[0]["path"], json!([field]), "{more}");
    }

    // A tour takes numbers as people write them, too.
    let (date, time) = stage.tour();
    let mut tour = lead(json!({
        "appointment_date": date, "appointment_time": time, "last_name": "Byron",
        "phone_1": "(206) 555-0124 ext. 8", "notes": "By bicycle",
    }));
    tour.as_object_mut().expect("a body").remove("agent_id");
    let end = caller.delivered("POST", BOOK, &tour);
    let path = format!("/crm/v1/appointments/{}", text(&end["created_record_id"]));
    let record = &caller.get(&path)["results"];
    assert_eq!(record["phone_1"], "+12065550124");
    assert_eq!(record["phone_1_extension"], "8");
    let ids = found(&caller, "appointments", "phone_1", "+1 206 555 0124");
    assert_eq!(ids, [text(&record["id"])]);
    let sent = stage.received();
    let sent = sent.last().expect("a call");
    assert_eq!(sent["body"]["message"], "By bicycle\nPhone extension: 8");
}

#[test]
fn a_domain_in_any_script_is_sent_in_ascii_and_shown_as_given() {
    let stage = Stage::set();
    let caller = stage.caller();
    let place = stage.references("Harbor Point");
    let (given, sent) = ("Ada@Bücher.example", "Ada@xn--bcher-kva.example");
    let id = caller.prospect(&with(&place, json!({ "email_1": given })));
    let record = &caller.get(&format!("/crm/v1/prospects/{id}"))["results"];
    assert_eq!(record["email_1"], given);
    assert_eq!(stage.cards()[0]["email"], sent);
    for spelling in [
        given,
        sent,
        "ada@BÜCHER.example",
        "ADA@XN--BCHER-KVA.EXAMPLE",
    ] {
        let ids = found(&caller, "prospects", "email_1", spelling);
        assert_eq!(ids, [id.as_str()], "{spelling}");
        let body = with(&place, json!({ "email_1": spelling }));
        let end = caller.delivered("POST", CREATE, &body);
        assert_eq!(end["created_record_id"], json!(id), "{spelling}");
    }
    assert_eq!(stage.cards().len(), 1);
    for (given, said) in [
        ("ada@example.com?subject=x", "'?'"),
        ("ada@example.com/foo", "'/'"),
        ("ada@example.com#top", "'#'"),
        ("ada@1.2.3.4", "address of a machine"),
        ("ada@[1.2.3.4]", "address of a machine"),
        ("ada@example.123", "the number 123"),
        ("\"ada\"@example.com", "in quotes"),
    ] {
        let body = with(&place, json!({ "email_1": given }));
        let issues = caller.send("POST", CREATE, &body).issues();
        assert_eq!(issues.len(), 1, "{given}: {issues:?}");
        assert_eq!(issues[0]["path"], json!(["email_1"]), "{given}");
        let message = text(&issues[0]["message"]);
        assert!(message.contains(said), "{given}: {message}");
    }
}

#[test]
fn doctor_names_records_whose_number_is_not_the_one_that_was_accepted() {
    let stage = Stage::set();
    let caller = stage.caller();
    let integration = text(&stage.server.ready["integration_id"]);
    let community = stage.named("communities", "Harbor Point");
    let read_in = |region: &str| {
        let path = format!("/v1/admin/integrations/{integration}/communities");
        let body = json!({
            "x_id": community["x_id"], "name": community["name"], "timezone": "America/New_York",
            "phone_region": region,
        });
        let answer = caller.send("POST", &path, &body);
        assert_eq!(answer.status, 200, "{}", answer.body);
    };
    read_in("GB");
    let place = stage.references("Harbor Point");
    let id = caller.prospect(&with(&place, json!({ "phone_1": "020 7946 0958" })));
    caller.prospect(&with(&place, json!({ "phone_1": "+49 172 1547608" })));
    assert_eq!(
        found(&caller, "prospects", "phone_1", "+442079460958"),
        [id.as_str()]
    );
    let in_community = format!(
        "/crm/v1/prospects?phone_1={}&community_id={}",
        escaped("020 7946 0958"),
        text(&place["community_id"])
    );
    assert_eq!(caller.get(&in_community)["results"][0]["id"], json!(id));
    let doctor = || {
        let (out, _, _) = portico(
            stage.dir.path(),
            &[],
            &["doctor", "--data-dir", ".", "--json"],
        );
        let report: Value = serde_json::from_str(&out).expect("JSON");
        let checks = report["checks"].as_array().expect("checks").clone();
        checks
            .into_iter()
            .find(|one| one["name"] == "phone numbers")
    };
    assert_eq!(doctor(), None);
    // The accepted body gives another number now.
    read_in("FR");
    let found = doctor().expect("a finding");
    assert_eq!(found["state"], "warn", "{found}");
    let told = text(&found["found"]);
    assert!(told.ends_with(&format!(": {id}")), "{told}");
    assert!(
        text(&found["mend"]).contains("PUT /crm/v1/prospects/{id}"),
        "{found}"
    );
    assert!(!found.to_string().contains("7946"), "{found}");
}

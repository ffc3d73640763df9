//! What a guest card may hold, what is refused, and which card a repeat finds and changes.

use serde_json::{Value, json};

use super::{HOME, KEY, OTHER, Running, ann, lead, start};

fn full() -> Value {
    lead(json!({
        "agent": { "username": "sam.okafor" },
        "firstName": " Ann ", "lastName": "Lee",
        "email": "Ann@Example.com", "phone": "2065550155",
        "moveDate": "2028-02-29", "bedrooms": ["STUDIO", "1_BEDROOM"], "occupants": 2,
        "leaseTermMonths": 12, "minBudget": 1500, "maxBudget": 2100,
        "message": "Hello", "autorespond": true,
        "address": "1 Main St", "city": "Seattle", "state": "WA", "zip": "98101", "unit": "5B",
        "pets": ["CAT"], "firstContactType": "internet", "smsConsent": true,
        "smsConsentDisclaimer": "I agree", "smsConsentUrl": "https://example.com/c",
        "prospectIpAddress": "192.0.2.1", "notAMember": 1
    }))
}

#[tokio::test]
async fn a_card_is_echoed() {
    let sandbox = start().await;
    let id = sandbox.post(&full()).await.id();
    assert!(id.bytes().all(|b| b.is_ascii_digit()));
    assert_eq!(
        sandbox.card(&id).await,
        json!({
            "prospectId": id, "communityId": HOME,
            "email": "Ann@Example.com", "phone": "+12065550155",
            "agent": { "username": "sam.okafor" },
            "address": "1 Main St", "unit": "5B", "city": "Seattle", "state": "WA", "zip": "98101",
            "source": { "title": "Zillow.com" }, "firstName": "Ann", "lastName": "Lee",
            "moveDate": "2028-02-29", "bedrooms": ["STUDIO", "1_BEDROOM"], "pets": ["CAT"],
            "occupants": 2, "leaseTermMonths": 12, "minBudget": 1500, "maxBudget": 2100,
            "smsConsent": true, "isDeleted": false, "notProspect": false, "status": "New",
            "createdAt": "2026-11-24T09:00:00.000000+00:00",
            "updatedAt": "2026-11-24T09:00:00.000000+00:00",
        })
    );
}

#[tokio::test]
async fn what_was_not_sent_is_null_and_a_name_is_assumed() {
    let sandbox = start().await;
    let sent = lead(json!({ "phone": "+442071838750", "lastName": null, "city": " " }));
    let id = sandbox.post(&sent).await.id();
    let card = sandbox.card(&id).await;
    assert_eq!(card["firstName"], "New");
    assert_eq!(card["lastName"], "Lead");
    assert_eq!(card["agent"]["username"], "morgan.reyes");
    assert_eq!(card["phone"], "+442071838750");
    for absent in [
        "email",
        "city",
        "moveDate",
        "bedrooms",
        "pets",
        "occupants",
        "smsConsent",
    ] {
        assert_eq!(card.get(absent), Some(&Value::Null), "{absent}");
    }
}

#[tokio::test]
async fn a_card_matches_by_email_or_phone_in_its_community() {
    let sandbox = start().await;
    let id = sandbox.post(&ann()).await.id();
    let check = async |more: Value, is_same: bool| {
        let got = sandbox.post(&lead(more.clone())).await.id();
        assert_eq!(got == id, is_same, "{more}");
    };
    check(json!({ "email": "ANN@example.COM" }), true).await;
    check(json!({ "phone": "+12065550155" }), true).await;
    check(
        json!({ "phone": "2065550155", "email": "ann@example.com" }),
        true,
    )
    .await;
    check(json!({ "email": "bob@example.com" }), false).await;
    check(
        json!({ "email": "ann@example.com", "communityId": OTHER }),
        false,
    )
    .await;
    assert_eq!(sandbox.sandbox.counts().prospects, 3);
    assert_eq!(sandbox.sandbox.counts().updates, 3);
}

#[tokio::test]
async fn the_email_decides_and_contacts_move_with_their_card() {
    let sandbox = start().await;
    let by_email = |email: &str| lead(json!({ "email": email }));
    let by_phone = |phone: &str| lead(json!({ "phone": phone }));
    let a = sandbox
        .post(&lead(json!({ "email": "a@x.org", "phone": "2065550001" })))
        .await
        .id();
    let b = sandbox
        .post(&lead(json!({ "email": "b@x.org", "phone": "2065550002" })))
        .await
        .id();
    // Now the phone of B is also the phone of A, and the older card is meant by it.
    let both = lead(json!({ "email": "a@x.org", "phone": "2065550002" }));
    assert_eq!(sandbox.post(&both).await.id(), a);
    assert_eq!(sandbox.post(&by_phone("2065550002")).await.id(), a);
    // A moves on to a third phone: the second is B's alone again, and the first is nobody's.
    let third = lead(json!({ "email": "a@x.org", "phone": "2065550003" }));
    assert_eq!(sandbox.post(&third).await.id(), a);
    assert_eq!(sandbox.post(&by_phone("2065550002")).await.id(), b);
    let c = sandbox.post(&by_phone("2065550001")).await.id();
    assert!(c != a && c != b);
    // Matched by phone with a new email: the old email is nobody's.
    let renamed = lead(json!({ "email": "b2@x.org", "phone": "2065550002" }));
    assert_eq!(sandbox.post(&renamed).await.id(), b);
    assert_eq!(sandbox.post(&by_email("B2@x.org")).await.id(), b);
    let d = sandbox.post(&by_email("b@x.org")).await.id();
    assert!(![a, b, c].contains(&d));
}

#[tokio::test]
async fn a_repeat_changes_only_the_documented_fields() {
    let sandbox = start().await;
    let id = sandbox.post(&full()).await.id();
    let before = sandbox.card(&id).await;
    sandbox.clock.advance(1_500_000);
    let again = lead(json!({
        "sourceTitle": "Apartments.com", "agent": { "username": "morgan.reyes" },
        "firstName": "Anna", "lastName": "Li", "email": "ann@example.com", "phone": "2065550199",
        "moveDate": "2027-01-01", "bedrooms": ["2_BEDROOMS"], "occupants": 3,
        "leaseTermMonths": 6, "minBudget": 1, "maxBudget": 2,
        "message": "Again", "autorespond": false, "address": "2 Main St", "city": "Tacoma",
        "state": "OR", "zip": "1", "unit": "6", "pets": [], "firstContactType": "email",
        "smsConsent": false, "smsConsentDisclaimer": "x", "smsConsentUrl": "x",
        "prospectIpAddress": "x"
    }));
    assert_eq!(sandbox.post(&again).await.id(), id);
    let mut expected = before;
    for name in [
        "agent",
        "firstName",
        "lastName",
        "email",
        "moveDate",
        "bedrooms",
        "occupants",
        "leaseTermMonths",
        "minBudget",
        "maxBudget",
    ] {
        expected[name] = again[name].clone();
    }
    expected["phone"] = json!("+12065550199");
    expected["updatedAt"] = json!("2026-11-24T09:00:01.500000+00:00");
    assert_eq!(sandbox.card(&id).await, expected);

    let state = sandbox.control_get("/state").await;
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&state["prospects"][0][name], value, "{name}");
    }
    let hidden = json!({
        "autorespond": true, "firstContactType": "internet", "smsConsentDisclaimer": "I agree",
        "smsConsentUrl": "https://example.com/c", "prospectIpAddress": "192.0.2.1",
        "messages": ["Hello", "Again"], "updates": 1, "created_at": expected["createdAt"],
    });
    for (name, value) in hidden.as_object().unwrap() {
        assert_eq!(&state["prospects"][0][name], value, "{name}");
    }
    // A repeat that carries only the contact changes nothing but the counter and the time.
    sandbox
        .post(&lead(json!({ "email": "ann@example.com" })))
        .await
        .id();
    assert_eq!(sandbox.card(&id).await, expected);
}

#[tokio::test]
async fn a_wrong_card_is_refused_and_not_stored() {
    let sandbox = start().await;
    let check = async |change: Value, naming: &str| {
        let mut body = ann();
        for (name, value) in change.as_object().unwrap() {
            body[name] = value.clone();
        }
        check_refused(&sandbox, &body.to_string(), naming).await;
    };
    check(json!({ "communityId": "nope" }), "communityId").await;
    check(json!({ "communityId": null }), "communityId is required").await;
    check(json!({ "communityId": 5 }), "communityId must be a text").await;
    check(json!({ "sourceTitle": "Nope.com" }), "sourceTitle").await;
    check(
        json!({ "communityId": OTHER, "sourceTitle": "Drive By" }),
        "sourceTitle",
    )
    .await;
    check(json!({ "sourceTitle": null }), "sourceTitle is required").await;
    check(
        json!({ "agent": { "username": "nobody" } }),
        "agent.username",
    )
    .await;
    check(
        json!({ "agent": { "username": "dana.whitfield" } }),
        "agent.username",
    )
    .await;
    check(
        json!({ "agent": { "username": 1 } }),
        "agent.username must be a text",
    )
    .await;
    check(json!({ "agent": "sam.okafor" }), "agent must be").await;
    check(json!({ "email": null, "phone": null }), "email or a phone").await;
    check(json!({ "email": " ", "phone": "" }), "email or a phone").await;
    for email in ["ann", "@x.org", "ann@", "a@b@c", "a b@x.org"] {
        check(json!({ "email": email }), "email must be").await;
    }
    for phone in [
        json!("206555015"),
        json!("12065550155"),
        json!("+1206"),
        json!("+0206555015512"),
        json!("206-555-0155"),
        json!("+12065550155123456"),
        json!(2065550155_u64),
    ] {
        check(json!({ "phone": phone }), "phone must be").await;
    }
    for date in [
        "2027-02-29",
        "2027-2-1",
        "20270201",
        "2027-13-01",
        "01-02-2027",
        "2027-02-01T10:00:00",
    ] {
        check(json!({ "moveDate": date }), "moveDate must be").await;
    }
    for term in [json!(0), json!(-1), json!(1.5), json!("12")] {
        check(
            json!({ "leaseTermMonths": term }),
            "leaseTermMonths must be",
        )
        .await;
    }
    for name in ["occupants", "minBudget", "maxBudget"] {
        for number in [
            json!(-1),
            json!(1.5),
            json!("2"),
            json!(3_000_000_000_u64),
            json!([]),
        ] {
            check(json!({ name: number }), &format!("{name} must be")).await;
        }
    }
    for list in [
        json!(["3_BEDROOMS"]),
        json!("STUDIO"),
        json!([1]),
        json!(["studio"]),
    ] {
        check(json!({ "bedrooms": list }), "bedrooms must be").await;
    }
    check(json!({ "pets": ["HORSE"] }), "pets must be").await;
    check(
        json!({ "firstContactType": "INTERNET" }),
        "firstContactType must be",
    )
    .await;
    for state in ["W", "WAS", "W1", "Ö"] {
        check(json!({ "state": state }), "state must be").await;
    }
    check(json!({ "zip": 98101 }), "zip must be").await;
    for flag in ["autorespond", "smsConsent"] {
        check(json!({ flag: "yes" }), &format!("{flag} must be")).await;
    }
    for text in [
        "firstName",
        "lastName",
        "message",
        "address",
        "city",
        "unit",
        "smsConsentDisclaimer",
        "smsConsentUrl",
        "prospectIpAddress",
    ] {
        check(json!({ text: 1 }), &format!("{text} must be")).await;
    }
    for body in ["", "[]", "{", "\"x\"", "null"] {
        check_refused(&sandbox, body, "JSON object").await;
    }
    let deep = "[".repeat(100_000);
    check_refused(&sandbox, &deep, "JSON object").await;
    assert_eq!(sandbox.sandbox.counts().prospects, 0);
}

async fn check_refused(sandbox: &Running, body: &str, naming: &str) {
    let answer = sandbox.vendor("POST", "/prospect", body).await;
    assert_eq!(answer.status, 400, "{body}: {}", answer.body);
    let reason = answer.json()["errorMessage"].as_str().unwrap().to_owned();
    assert!(reason.contains(naming), "{reason} lacks {naming}");
}

#[tokio::test]
async fn the_key_is_needed_in_either_header() {
    let sandbox = start().await;
    let check = async |headers: &[(&str, &str)], status: u16| {
        for (method, path) in [("POST", "/prospect"), ("GET", "/prospect/1"), ("GET", "/x")] {
            let body = ann().to_string();
            let answer = sandbox.send(method, path, headers, &body).await.unwrap();
            if status == 403 {
                assert_eq!(answer.status, 403);
                assert_eq!(answer.json(), json!({ "message": "Forbidden" }));
            } else {
                assert_ne!(answer.status, 403);
            }
        }
    };
    check(&[], 403).await;
    check(&[("x-api-key", "wrong")], 403).await;
    check(&[("apikey", "")], 403).await;
    check(&[("authorization", KEY)], 403).await;
    assert_eq!(sandbox.sandbox.counts().prospects, 0);
    check(
        &[("apikey", KEY), ("company-id", "1"), ("property-id", HOME)],
        200,
    )
    .await;
    check(&[("X-Api-Key", KEY)], 200).await;
    assert_eq!(sandbox.sandbox.counts().prospects, 1);
}

#[tokio::test]
async fn sources_are_listed_and_other_paths_are_not_there() {
    let sandbox = start().await;
    let path = format!("/community/{OTHER}/sources");
    let sources = sandbox.vendor("GET", &path, "").await;
    assert_eq!(sources.status, 200);
    assert_eq!(
        sources.json(),
        json!({ "edges": [
            { "node": { "sourceTitle": "Zillow.com" } },
            { "node": { "sourceTitle": "Apartments.com" } },
            { "node": { "sourceTitle": "Community Website" } },
        ] })
    );
    for (method, path) in [
        ("GET", "/community/nope/sources"),
        ("GET", "/community//sources"),
        ("GET", "/prospect/12345"),
        ("GET", "/prospect/abc"),
        ("GET", "/prospect/"),
        ("GET", "/prospect/99999999999999999999999"),
        ("GET", "/prospect"),
        ("DELETE", "/prospect"),
        ("GET", "/appointment/request"),
        ("PUT", "/appointment/1/cancel"),
        ("PUT", "/appointment/x/cancel"),
        ("POST", "/prospect/1/fax"),
        ("POST", "/prospect/1/email/2"),
        ("POST", "/community/nope/listing"),
        ("GET", "/community/nope/available-times"),
        ("POST", "/prospect/1/email"),
        ("GET", "/"),
    ] {
        let answer = sandbox.vendor(method, path, "{}").await;
        assert_eq!(answer.status, 404, "{method} {path}");
        assert!(answer.json()["errorMessage"].is_string());
    }
}

#[tokio::test]
async fn ids_rise_and_go_on_after_a_reset() {
    let sandbox = start().await;
    let mut last = 0;
    for round in 0..3 {
        for person in 0..5 {
            let email = format!("{person}@x.org");
            let id: u64 = sandbox
                .post(&lead(json!({ "email": email })))
                .await
                .id()
                .parse()
                .unwrap();
            assert!(id > last, "round {round}");
            last = id;
        }
        sandbox.sandbox.reset();
    }
}

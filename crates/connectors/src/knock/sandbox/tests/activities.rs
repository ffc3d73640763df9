//! Activities: what each kind needs, what is refused, and how they are listed.

use serde_json::{Value, json};

use super::{OTHER, ann, lead, start};

const TIME: &str = "2026-11-24T08:30:00.250-05:00";

#[tokio::test]
async fn each_kind_is_kept_as_it_was_sent() {
    let sandbox = start().await;
    let id = sandbox.post(&ann()).await.id();
    let card = sandbox.card(&id).await;
    sandbox.clock.advance(1_000_000);
    let agent = json!({ "username": "sam.okafor" });
    let sent = [
        (
            "email",
            json!({ "agent": agent, "time": TIME, "subject": "Tour", "body": "Come by" }),
        ),
        (
            "call",
            json!({ "agent": agent, "startTime": TIME, "endTime": "2026-11-24T13:31Z",
                    "type": "outbound", "outcome": "missed_voicemail",
                    "sourceTitle": "Drive By" }),
        ),
        ("call", json!({ "startTime": TIME, "endTime": TIME })),
        (
            "sms",
            json!({ "agent": agent, "time": TIME, "message": "Hi" }),
        ),
        ("chat", json!({ "message": "Hi", "time": TIME })),
        ("activity", json!({ "message": "Walked in", "agent": null })),
        ("activity", json!({ "message": "Walked in", "agent": null })),
    ];
    let mut expected = Vec::new();
    for (kind, body) in sent {
        let mut with_more = body.clone();
        with_more["notAMember"] = json!(1);
        let path = format!("/prospect/{id}/{kind}");
        let activity = sandbox.post_to(&path, &with_more).await.id();
        let mut shown = body;
        shown["agent"] = shown["agent"].take();
        for (name, value) in [
            ("id", json!(activity)),
            ("prospectId", json!(id)),
            ("communityId", card["communityId"].clone()),
            ("kind", json!(kind)),
            ("createdAt", json!("2026-11-24T09:00:01.000000+00:00")),
        ] {
            shown[name] = value;
        }
        expected.push(shown);
    }
    assert_eq!(sandbox.held("activities").await, expected);
    assert_eq!(sandbox.sandbox.counts().activities, 7);
    // Nothing becomes of the card.
    assert_eq!(sandbox.card(&id).await, card);

    // And in pages.
    let (mut after, mut seen) = ("0".to_owned(), Vec::new());
    loop {
        let page = sandbox
            .control_get(&format!("/activities?after={after}&limit=3"))
            .await;
        let page = page["activities"].as_array().unwrap().clone();
        let Some(last) = page.last() else { break };
        after = last["id"].as_str().unwrap().to_owned();
        seen.extend(page);
    }
    assert_eq!(seen, expected);
    let wrong = sandbox
        .control("GET", "/activities?limit=0", &Value::Null)
        .await;
    assert_eq!(wrong.status, 400);
}

#[tokio::test]
async fn a_wrong_activity_is_refused() {
    let sandbox = start().await;
    let id = sandbox.post(&ann()).await.id();
    let check = async |kind: &str, body: Value, naming: &str| {
        let path = format!("/prospect/{id}/{kind}");
        sandbox.check_refused(&path, &body, naming).await;
    };
    for kind in ["sms", "chat", "activity"] {
        check(kind, json!({ "time": TIME }), "message is required").await;
        check(kind, json!({ "message": 1 }), "message must be").await;
        check(
            kind,
            json!({ "message": "Hi", "time": "2026-11-24T08:30:00" }),
            "time must be",
        )
        .await;
    }
    check("email", json!({ "subject": "Hi" }), "body is required").await;
    check("email", json!({ "body": "Hi" }), "subject is required").await;
    let email = json!({ "subject": "Hi", "body": "Hi", "time": 1 });
    check("email", email, "time must be").await;
    let call = |more: Value| {
        let mut body = json!({ "startTime": TIME, "endTime": TIME });
        let more = more.as_object().unwrap().clone();
        body.as_object_mut().unwrap().extend(more);
        body
    };
    for name in ["startTime", "endTime"] {
        let absent = call(json!({ name: null }));
        check("call", absent, &format!("{name} is required")).await;
        for time in [
            "2026-11-24",
            "2026-11-24 08:30:00-05:00",
            "2026-11-24T08:30:00",
            "2026-02-30T08:30:00Z",
            "2026-11-24T08:30:00-0500",
            "2026-11-24T08:30:00-05:00[America/New_York]",
            "20261124T083000Z",
            "now",
        ] {
            let wrong = call(json!({ name: time }));
            check("call", wrong, &format!("{name} must be ISO 8601")).await;
        }
    }
    check("call", call(json!({ "type": "in" })), "type must be").await;
    check(
        "call",
        call(json!({ "outcome": "busy" })),
        "outcome must be",
    )
    .await;
    for kind in ["email", "call", "sms", "chat", "activity"] {
        let body = |more: Value| {
            let mut body = call(more);
            for name in ["subject", "body", "message"] {
                body[name] = json!("Hi");
            }
            body
        };
        let agent = json!({ "agent": { "username": "dana.whitfield" } });
        check(kind, body(agent), "not an agent of this community").await;
        let source = json!({ "sourceTitle": "Nope.com" });
        check(kind, body(source), "not a source of this community").await;
        let path = format!("/prospect/{id}/{kind}");
        sandbox
            .check_refused(&path, &Value::Null, "JSON object")
            .await;
        for id in ["1", "x", ""] {
            let path = format!("/prospect/{id}/{kind}");
            let answer = sandbox.post_to(&path, &json!({})).await;
            assert_eq!(answer.status, 404);
            assert_eq!(answer.json()["errorMessage"], "prospect not found");
        }
    }
    assert_eq!(sandbox.sandbox.counts().activities, 0);
}

#[tokio::test]
async fn agent_and_source_are_those_of_the_cards_community() {
    let sandbox = start().await;
    let other = lead(json!({ "communityId": OTHER, "email": "a@x.org" }));
    let id = sandbox.post(&other).await.id();
    let path = format!("/prospect/{id}/sms");
    let sms = |username: &str, source: &str| json!({ "agent": { "username": username }, "message": "Hi", "sourceTitle": source });
    let dana = "dana.whitfield";
    sandbox.post_to(&path, &sms(dana, "Zillow.com")).await.id();
    let naming = "not an agent";
    let body = sms("sam.okafor", "Zillow.com");
    sandbox.check_refused(&path, &body, naming).await;
    let body = sms(dana, "Drive By");
    sandbox.check_refused(&path, &body, "not a source").await;
    let accept = json!({ "unknown_source": "accept" });
    sandbox.control("POST", "/settings", &accept).await;
    sandbox.post_to(&path, &body).await.id();
    assert_eq!(
        sandbox.held("activities").await[1]["sourceTitle"],
        "Drive By"
    );
}

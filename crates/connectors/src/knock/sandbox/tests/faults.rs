//! Every way to fail, whom it befalls, and how often.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{HOME, KEY, OTHER, Running, ann, lead, start, start_with, tour};
use crate::sandbox::{Fault, FaultKind};

async fn check_stored(sandbox: &Running, is_stored: bool) {
    assert_eq!(sandbox.sandbox.counts().prospects, u64::from(is_stored));
    // The remedy of the caller: the same body again leads to the same card.
    sandbox.sandbox.clear_faults();
    sandbox.post(&ann()).await.id();
    assert_eq!(sandbox.sandbox.counts().prospects, 1);
}

/// Status and fault of the first logged call.
async fn logged(sandbox: &Running) -> (Value, Value) {
    let call = sandbox.control_get("/requests").await["requests"][0].take();
    (call["status"].clone(), call["fault"].clone())
}

#[tokio::test]
async fn a_status_is_sent_with_and_without_retry_after() {
    let sandbox = start().await;
    let check = async |fault: Value, status: u16, retry_after: Option<&str>| {
        sandbox.arrange(fault).await;
        let answer = sandbox.post(&ann()).await;
        assert_eq!(answer.status, status);
        let header = answer
            .head
            .lines()
            .find_map(|line| line.strip_prefix("retry-after: "));
        assert_eq!(header, retry_after);
        answer.json()
    };
    let body = check(
        json!({ "kind": "status", "status": 429, "times": 1 }),
        429,
        None,
    )
    .await;
    assert!(body["errorMessage"].is_string());
    let fault = json!({ "kind": "status", "status": 429, "retry_after_s": 7, "times": 1 });
    check(fault, 429, Some("7")).await;
    for status in [400, 500, 502, 503, 599] {
        check(
            json!({ "kind": "status", "status": status, "times": 1 }),
            status,
            None,
        )
        .await;
    }
    let body = check(
        json!({ "kind": "status", "status": 403, "times": 1 }),
        403,
        None,
    )
    .await;
    assert_eq!(body, json!({ "message": "Forbidden" }));
    assert_eq!(logged(&sandbox).await, (json!(429), json!("status")));
    check_stored(&sandbox, false).await;
}

#[tokio::test]
async fn a_gateway_answers_with_a_page() {
    let sandbox = start().await;
    for status in [200, 302, 400, 404, 405, 410, 502] {
        sandbox
            .arrange(json!({ "kind": "gateway", "status": status, "times": 1 }))
            .await;
        let answer = sandbox.post(&ann()).await;
        assert_eq!(answer.status, status);
        let is_page = answer.head.contains("content-type: text/html");
        assert!(is_page && answer.body.starts_with("<html>"), "{status}");
    }
    check_stored(&sandbox, false).await;
}

#[tokio::test]
async fn latency_comes_after_the_work() {
    let sandbox = start().await;
    sandbox
        .arrange(json!({ "kind": "latency", "latency_ms": 200, "times": 1 }))
        .await;
    let began = Instant::now();
    sandbox.post(&ann()).await.id();
    assert!(began.elapsed() >= Duration::from_millis(200));
    assert_eq!(logged(&sandbox).await, (json!(200), json!("latency")));

    // A client that gives up during the wait has been stored, and no answer is noted.
    sandbox.sandbox.reset();
    sandbox
        .arrange(json!({ "kind": "latency", "latency_ms": 3_600_000, "times": 1 }))
        .await;
    let body = ann();
    let post = tokio::time::timeout(Duration::from_millis(200), sandbox.try_post(&body));
    assert!(post.await.is_err());
    assert_eq!(logged(&sandbox).await, (Value::Null, json!("latency")));
    check_stored(&sandbox, true).await;
}

#[tokio::test]
async fn base_latency_is_for_vendor_calls_only() {
    let sandbox = start_with(|options| options.latency_ms = 1_000).await;
    let began = Instant::now();
    sandbox.control_get("/counts").await;
    assert!(began.elapsed() < Duration::from_millis(1_000));
    sandbox.post(&ann()).await.id();
    assert!(began.elapsed() >= Duration::from_millis(1_000));
}

#[tokio::test]
async fn a_timeout_after_the_store_holds_the_connection() {
    let sandbox = start().await;
    sandbox
        .arrange(json!({ "kind": "timeout_after_store", "latency_ms": 200 }))
        .await;
    let began = Instant::now();
    let ended = sandbox.try_post(&ann()).await;
    assert_eq!(ended.unwrap_err(), ErrorKind::UnexpectedEof);
    assert!(began.elapsed() >= Duration::from_millis(200));
    assert_eq!(
        logged(&sandbox).await,
        (Value::Null, json!("timeout_after_store"))
    );
    check_stored(&sandbox, true).await;
}

#[tokio::test]
async fn resets_break_the_connection_before_and_after_the_store() {
    for (kind, is_stored) in [("reset_before_store", false), ("reset_after_store", true)] {
        let sandbox = start().await;
        sandbox.arrange(json!({ "kind": kind })).await;
        let ended = sandbox.try_post(&ann()).await;
        assert_eq!(ended.unwrap_err(), ErrorKind::ConnectionReset);
        assert_eq!(logged(&sandbox).await, (Value::Null, json!(kind)));
        check_stored(&sandbox, is_stored).await;
    }
}

#[tokio::test]
async fn bodies_are_broken_empty_or_an_error() {
    for (kind, is_stored) in [
        ("malformed_body", true),
        ("empty_body", true),
        ("error_in_200", false),
    ] {
        let sandbox = start().await;
        sandbox.arrange(json!({ "kind": kind })).await;
        let answer = sandbox.post(&ann()).await;
        assert_eq!(answer.status, 200);
        let parsed = serde_json::from_str::<Value>(&answer.body);
        match kind {
            "malformed_body" => assert!(parsed.is_err() && !answer.body.is_empty()),
            "empty_body" => assert_eq!(answer.body, ""),
            _ => assert!(parsed.unwrap()["errorMessage"].is_string()),
        }
        assert_eq!(logged(&sandbox).await, (json!(200), json!(kind)));
        check_stored(&sandbox, is_stored).await;
    }
}

#[tokio::test]
async fn a_refusal_is_answered_in_place_of_a_fault_that_stores() {
    let sandbox = start().await;
    let wrong = lead(json!({}));
    for kind in [
        "timeout_after_store",
        "reset_after_store",
        "malformed_body",
        "empty_body",
    ] {
        sandbox.arrange(json!({ "kind": kind, "times": 1 })).await;
        assert_eq!(sandbox.post(&wrong).await.status, 400);
        sandbox.arrange(json!({ "kind": kind, "times": 1 })).await;
        let unkeyed = sandbox
            .send("POST", "/prospect", &[], &ann().to_string())
            .await;
        assert_eq!(unkeyed.unwrap().status, 403);
    }
    check_stored(&sandbox, false).await;
}

#[tokio::test]
async fn times_count_firings_only() {
    let sandbox = start().await;
    let fault = json!({
        "match": { "method": "POST", "path": "/prospect", "community_id": HOME },
        "kind": "status", "status": 503, "times": 2
    });
    sandbox.arrange(fault).await;
    let away = lead(json!({ "email": "a@x.org", "communityId": OTHER }));
    assert_eq!(sandbox.post(&away).await.status, 200);
    assert_eq!(sandbox.vendor("GET", "/prospect/1", "").await.status, 404);
    assert_eq!(sandbox.post(&ann()).await.status, 503);
    let left = sandbox.control_get("/faults").await;
    assert_eq!(
        (&left["faults"][0]["times"], &left["faults"][0]["fired"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(sandbox.post(&ann()).await.status, 503);
    assert_eq!(sandbox.post(&ann()).await.status, 200);
    assert_eq!(
        sandbox.control_get("/faults").await,
        json!({ "faults": [] })
    );
}

#[tokio::test]
async fn a_match_is_by_path_and_by_the_community_of_path_or_card() {
    let sandbox = start().await;
    let id = sandbox.post(&ann()).await.id();
    let check = async |matches: Value, path: &str, is_hit: bool| {
        let id = sandbox
            .arrange(json!({ "match": matches, "kind": "status", "status": 500 }))
            .await;
        let status = sandbox.vendor("GET", path, "").await.status;
        assert_eq!(status == 500, is_hit, "{matches} {path}");
        let gone = sandbox
            .control("DELETE", &format!("/faults/{id}"), &Value::Null)
            .await;
        assert_eq!(gone.status, 200);
    };
    let card = format!("/prospect/{id}");
    let sources = format!("/community/{OTHER}/sources");
    check(json!({}), &card, true).await;
    check(json!({ "path": card }), &card, true).await;
    check(json!({ "path": card }), &format!("{card}?x=1"), true).await;
    check(json!({ "path": "/prospect" }), &card, false).await;
    check(json!({ "path": "/prospect/*" }), &card, true).await;
    check(json!({ "path": "/*" }), &sources, true).await;
    check(json!({ "community_id": HOME }), &card, true).await;
    check(json!({ "community_id": OTHER }), &card, false).await;
    check(json!({ "community_id": OTHER }), &sources, true).await;
    check(json!({ "community_id": HOME }), &sources, false).await;
    check(json!({ "method": "POST" }), &card, false).await;
}

#[tokio::test]
async fn the_first_fault_that_fires_wins() {
    let sandbox = start().await;
    let mut never = Fault::new(FaultKind::EmptyBody);
    never.probability = Some(0.0);
    sandbox.sandbox.add_fault(never);
    sandbox
        .arrange(json!({ "kind": "status", "status": 502, "times": 1 }))
        .await;
    sandbox
        .arrange(json!({ "kind": "status", "status": 503, "times": 1 }))
        .await;
    assert_eq!(sandbox.post(&ann()).await.status, 502);
    assert_eq!(sandbox.post(&ann()).await.status, 503);
    assert_eq!(sandbox.post(&ann()).await.status, 200);
}

#[tokio::test]
async fn probability_is_drawn_the_same_every_time() {
    let sandbox = start().await;
    let draws = async |fault: Value| {
        sandbox.sandbox.clear_faults();
        sandbox.arrange(fault).await;
        let mut fired = Vec::new();
        for _ in 0..200 {
            fired.push(sandbox.post(&ann()).await.status == 500);
        }
        fired
    };
    let fault = |more: Value| {
        let mut fault = json!({ "kind": "status", "status": 500, "probability": 0.25 });
        fault
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        fault
    };
    let first = draws(fault(json!({}))).await;
    let count = first.iter().filter(|fired| **fired).count();
    assert!((30..=70).contains(&count), "{count}");
    assert_eq!(draws(fault(json!({}))).await, first);
    assert_ne!(draws(fault(json!({ "seed": 7 }))).await, first);
    let limited = draws(fault(json!({ "times": 3 }))).await;
    assert_eq!(limited.iter().filter(|fired| **fired).count(), 3);
    let always = draws(fault(json!({ "probability": 1 }))).await;
    assert!(always.iter().all(|fired| *fired));
}

#[tokio::test]
async fn a_fault_given_directly_is_kept_in_range() {
    let sandbox = start().await;
    let mut fault = Fault::new(FaultKind::Status);
    fault.status = Some(200);
    fault.times = Some(0);
    sandbox.sandbox.add_fault(fault);
    assert_eq!(sandbox.post(&ann()).await.status, 400);
    assert_eq!(sandbox.post(&ann()).await.status, 200);
}

#[tokio::test]
async fn every_call_that_stores_can_fail_before_and_after() {
    let sandbox = start().await;
    let id = sandbox.post(&ann()).await.id();
    let start = "2026-11-25T09:00:00-05:00";
    let booked = sandbox.book(&tour(start)).await;
    let message = json!({ "message": "Hi" });
    let email = json!({ "subject": "Hi", "body": "There" });
    let call = json!({ "startTime": start, "endTime": start });
    let listing = |n: usize| {
        json!({ "title": "1A", "url": format!("https://x.org/{n}.html"), "isListed": true,
                "publishDate": start })
    };
    let held = || {
        let state = sandbox.sandbox.state();
        let names = ["prospects", "appointments", "activities", "listings"];
        names.map(|name| state[name].clone())
    };
    let to_card = |kind: &str| format!("/prospect/{id}/{kind}");
    let mut round = 0;
    for (kind, is_stored) in [
        ("reset_before_store", false),
        ("error_in_200", false),
        ("reset_after_store", true),
        ("timeout_after_store", true),
        ("malformed_body", true),
        ("empty_body", true),
    ] {
        round += 1;
        sandbox.clock.advance(1_000_000);
        // A tour is asked for at another time in every round, as the same one again would change nothing.
        let again = tour(&format!("2026-11-26T1{round}:00:00-05:00"));
        for (method, path, body) in [
            ("POST", to_card("sms"), message.clone()),
            ("POST", to_card("chat"), message.clone()),
            ("POST", to_card("activity"), message.clone()),
            ("POST", to_card("email"), email.clone()),
            ("POST", to_card("call"), call.clone()),
            ("POST", format!("/community/{HOME}/listing"), listing(round)),
            ("POST", "/appointment/request".to_owned(), again),
        ] {
            let before = held();
            let fault = json!({ "match": { "community_id": HOME, "path": path }, "kind": kind,
                                "latency_ms": 1, "times": 1 });
            sandbox.arrange(fault).await;
            let headers = [("x-api-key", KEY)];
            let answer = sandbox
                .send(method, &path, &headers, &body.to_string())
                .await;
            let is_broken = kind.starts_with("reset") || kind.starts_with("timeout");
            assert_eq!(answer.is_err(), is_broken, "{kind} {path}");
            assert_eq!(held() != before, is_stored, "{kind} {path}");
            assert_eq!(
                sandbox.control_get("/faults").await,
                json!({ "faults": [] })
            );
        }
    }
    let before = held();
    let path = format!("/appointment/{booked}/cancel");
    let headers = [("x-api-key", KEY)];
    for (kind, is_stored) in [("reset_before_store", false), ("reset_after_store", true)] {
        let fault = json!({ "match": { "community_id": HOME, "path": "/appointment/*" },
                            "kind": kind, "times": 1 });
        sandbox.arrange(fault).await;
        let ended = sandbox.send("PUT", &path, &headers, "").await;
        assert_eq!(ended.unwrap_err(), ErrorKind::ConnectionReset);
        assert_eq!(held() != before, is_stored, "{kind}");
    }
}

#[tokio::test]
async fn the_community_of_a_new_call_is_found() {
    let sandbox = start().await;
    let id = sandbox.post(&ann()).await.id();
    let start = "2026-11-25T09:00:00-05:00";
    let booked = sandbox.book(&tour(start)).await;
    let check = async |method: &str, path: &str, body: Value| {
        for (community, is_hit) in [(HOME, true), (OTHER, false)] {
            let fault = json!({ "match": { "community_id": community }, "kind": "status",
                                "status": 599 });
            sandbox.arrange(fault).await;
            let answer = sandbox.vendor(method, path, &body.to_string()).await;
            assert_eq!(answer.status == 599, is_hit, "{method} {path}");
            sandbox.sandbox.clear_faults();
        }
    };
    let sms = json!({ "message": "Hi" });
    check("POST", &format!("/prospect/{id}/sms"), sms).await;
    check("PUT", &format!("/appointment/{booked}/cancel"), Value::Null).await;
    check("POST", "/appointment/request", tour(start)).await;
    let path = format!("/community/{HOME}/listing");
    check("POST", &path, json!({})).await;
    let path = format!("/community/{HOME}/available-times?forSelfGuided=true");
    check("GET", &path, Value::Null).await;
}

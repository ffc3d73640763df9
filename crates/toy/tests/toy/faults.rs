//! What becomes of writes when Toy fails: nothing is lost, nothing stands there twice.

use connectors::sandbox::{Fault, FaultKind, FaultMatch};
use serde_json::{Value, json};
use testkit::{Outcome, TestApp, customer::Customer};

use super::VENDORS;

/// Seconds of the app's time that a write is given to end: more than the schedule of retries needs.
const STEPS: u32 = 2_000;

async fn started() -> Outcome<(TestApp, Customer)> {
    TestApp::start_for(VENDORS, &toy::DEFINITION).await
}

async fn fault(customer: &Customer, path: &str, kind: FaultKind, times: u64) -> Outcome {
    let fault = Fault {
        matches: FaultMatch {
            path: Some(path.to_owned()),
            ..FaultMatch::default()
        },
        status: (kind == FaultKind::Status).then_some(500),
        // A call that hangs does so in real time.
        latency_ms: (kind == FaultKind::TimeoutAfterStore).then_some(1),
        times: Some(times),
        ..Fault::new(kind)
    };
    let body = serde_json::to_value(&fault)?;
    customer.control("POST", "/faults", body).await.map(drop)
}

async fn create(app: &TestApp, customer: &Customer, notes: &str) -> Outcome<Value> {
    let body = customer.referring(json!({
        "integration_id": "", "community_id": "", "email_1": "ada@example.com",
        "first_name": "Ada", "notes": notes,
    }));
    let (status, answer) = app
        .send("POST", "/crm/v1/prospects/toy", Some(body))
        .await?;
    assert_eq!(status, 200, "{answer}");
    let job_id = answer["meta"]["job_id"].as_str().unwrap_or_default();
    let mut write = app.ended_within(job_id, 1_000, STEPS).await?;
    write["job_id"] = json!(job_id);
    Ok(write)
}

async fn kinds(app: &TestApp, write: &Value) -> Outcome<Vec<String>> {
    let job_id = write["job_id"].as_str().unwrap_or_default();
    let path = format!("/v1/admin/writes/{job_id}/attempts");
    let (_, answer) = app.send("GET", &path, None).await?;
    let rows = answer["results"].as_array().cloned().unwrap_or_default();
    let shown = |row: &Value| {
        let kind = row["kind"].as_str().unwrap_or("write");
        let outcome = row["outcome"].as_str().unwrap_or_default();
        let method = row["request"]["method"].as_str().unwrap_or_default();
        format!("{kind} {method} {outcome}")
    };
    Ok(rows.iter().map(shown).collect())
}

/// A create is looked up after an outcome that is not known, and repeated only if Toy lacks it.
#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_outcome_is_looked_up_before_the_create_is_repeated() -> Outcome {
    for (kind, is_stored) in [
        (FaultKind::ResetBeforeStore, false),
        (FaultKind::Status, false),
        (FaultKind::ResetAfterStore, true),
        (FaultKind::TimeoutAfterStore, true),
        (FaultKind::MalformedBody, true),
        (FaultKind::EmptyBody, true),
    ] {
        let (mut app, customer) = started().await?;
        fault(&customer, "/v1/leads", kind, 1).await?;
        let write = create(&app, &customer, "Hello").await?;
        assert_eq!(write["write_status"], "SUCCESS", "{kind:?} {write}");
        let calls = kinds(&app, &write).await?;
        let expected: &[&str] = if is_stored {
            &[
                "token POST delivered",
                "write POST unknown",
                "resolve GET delivered",
                "follow_up PUT delivered",
            ]
        } else {
            &[
                "token POST delivered",
                "write POST unknown",
                "resolve GET retry",
                "write POST delivered",
            ]
        };
        assert_eq!(calls, expected, "{kind:?}");
        let counts = customer.control("GET", "/counts", Value::Null).await?;
        assert_eq!(
            (&counts["prospects"], &counts["doubled"]),
            (&json!(1), &json!(0))
        );
        app.stop().await;
    }
    Ok(())
}

/// The look-up may fail too, as often as it does: nothing is repeated on a guess.
#[tokio::test(flavor = "multi_thread")]
async fn a_look_up_that_fails_is_repeated_and_the_create_is_not() -> Outcome {
    let (mut app, customer) = started().await?;
    fault(&customer, "/v1/leads", FaultKind::ResetAfterStore, 3).await?;
    let write = create(&app, &customer, "Hello").await?;
    assert_eq!(write["write_status"], "SUCCESS", "{write}");
    let calls = kinds(&app, &write).await?;
    let expected = [
        "token POST delivered",
        "write POST unknown",
        "resolve GET unknown",
        "resolve GET unknown",
        "resolve GET delivered",
        "follow_up PUT delivered",
    ];
    assert_eq!(calls, expected);
    app.stop().await;
    Ok(())
}

/// Only Toy's own word that it lacks a lead has the create repeated: not a gateway's, and none of a
/// vendor in trouble.
#[tokio::test(flavor = "multi_thread")]
async fn a_look_up_that_is_answered_by_something_else_says_nothing() -> Outcome {
    for (kind, status) in [
        ("gateway", 404),
        ("status", 503),
        ("status", 429),
        ("gateway", 200),
    ] {
        let (mut app, customer) = started().await?;
        fault(&customer, "/v1/leads", FaultKind::ResetAfterStore, 1).await?;
        let look_up = json!({
            "match": { "method": "GET", "path": "/v1/leads" }, "kind": kind, "status": status,
            "times": 2,
        });
        customer.control("POST", "/faults", look_up).await?;
        let write = create(&app, &customer, "Hello").await?;
        assert_eq!(write["write_status"], "SUCCESS", "{write}");
        let expected = [
            "token POST delivered",
            "write POST unknown",
            "resolve GET unknown",
            "resolve GET unknown",
            "resolve GET delivered",
            "follow_up PUT delivered",
        ];
        assert_eq!(kinds(&app, &write).await?, expected, "{kind} {status}");
        app.stop().await;
    }
    Ok(())
}

/// A match changes nothing at Toy: the follow-up does, and the id that comes later joins the record.
#[tokio::test(flavor = "multi_thread")]
async fn a_match_is_followed_up_and_the_id_joins_the_record() -> Outcome {
    let (mut app, customer) = started().await?;
    let first = create(&app, &customer, "First").await?;
    let id = first["created_record_id"].as_str().unwrap_or_default();
    let path = format!("/crm/v1/prospects/{id}");
    let (_, record) = app.send("GET", &path, None).await?;
    assert!(record["results"]["x_id"].is_null(), "{record}");
    // Until the id is there, the prospect cannot be named.
    let change = json!({ "last_name": "King" });
    let (status, refused) = app.send("PUT", &path, Some(change.clone())).await?;
    assert_eq!(status, 409, "{refused}");
    let second = create(&app, &customer, "Second").await?;
    assert_eq!(second["created_record_id"], first["created_record_id"]);
    assert_eq!(second["outcome"], "MATCHED", "{second}");
    let calls = kinds(&app, &second).await?;
    assert_eq!(calls, ["write POST delivered", "follow_up PUT delivered"]);
    let (_, record) = app.send("GET", &path, None).await?;
    assert_eq!(record["results"]["x_id"], "L-1", "{record}");
    let (status, taken) = app.send("PUT", &path, Some(change)).await?;
    assert_eq!(status, 200, "{taken}");
    let state = customer.control("GET", "/state", Value::Null).await?;
    assert_eq!(state["prospects"][0]["remarks"], json!(["First", "Second"]));
    app.stop().await;
    Ok(())
}

/// A follow-up that Toy refuses leaves what was matched: the write has ended in part.
#[tokio::test(flavor = "multi_thread")]
async fn a_follow_up_that_is_refused_is_a_partial_success() -> Outcome {
    let (mut app, customer) = started().await?;
    create(&app, &customer, "First").await?;
    let refusal = json!({ "match": { "path": "/v1/leads/*" }, "kind": "status", "status": 422 });
    customer.control("POST", "/faults", refusal).await?;
    let write = create(&app, &customer, "Second").await?;
    assert_eq!(write["write_status"], "PARTIAL_SUCCESS", "{write}");
    assert!(
        write["errors"][0]
            .as_str()
            .is_some_and(|why| why.contains("422")),
        "{write}"
    );
    app.stop().await;
    Ok(())
}

/// A message that may have gone out is not sent again.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_taken_back_is_never_repeated() -> Outcome {
    for kind in [FaultKind::ResetBeforeStore, FaultKind::ResetAfterStore] {
        let (mut app, customer) = started().await?;
        create(&app, &customer, "First").await?;
        let known = create(&app, &customer, "Second").await?;
        fault(&customer, "/v1/leads/L-1/messages", kind, 1).await?;
        let body = customer.referring(json!({
            "integration_id": "", "community_id": "", "prospect_id": known["created_record_id"],
            "event_name": "MESSAGE", "notes": "See you at ten",
        }));
        let (status, answer) = app.send("POST", "/crm/v1/events/toy", Some(body)).await?;
        assert_eq!(status, 200, "{answer}");
        let job_id = answer["meta"]["job_id"].as_str().unwrap_or_default();
        let write = app.ended_within(job_id, 1_000, STEPS).await?;
        assert_eq!(write["write_status"], "FAILURE", "{write}");
        assert!(
            write["errors"][0]
                .as_str()
                .is_some_and(|why| why.contains("the vendor may hold it")),
            "{write}"
        );
        let state = customer.control("GET", "/state", Value::Null).await?;
        let texts = state["prospects"][0]["texts"].as_array().map(Vec::len);
        let expected = usize::from(kind == FaultKind::ResetAfterStore);
        assert_eq!(texts, Some(expected), "{kind:?}");
        app.stop().await;
    }
    Ok(())
}

/// Writes about one person arrive in the order accepted, whatever befalls them on the way.
#[tokio::test(flavor = "multi_thread")]
async fn writes_of_one_person_arrive_in_the_order_accepted() -> Outcome {
    let (mut app, customer) = started().await?;
    for kind in [FaultKind::ResetAfterStore, FaultKind::ResetBeforeStore] {
        let fault = json!({ "match": { "path": "/v1/*" }, "kind": kind, "probability": 0.1 });
        customer.control("POST", "/faults", fault).await?;
    }
    let mut jobs = Vec::new();
    for number in 0..12 {
        for person in ["ada", "eve", "joy"] {
            let body = customer.referring(json!({
                "integration_id": "", "community_id": "",
                "email_1": format!("{person}@example.com"), "notes": format!("{number}"),
            }));
            let (status, answer) = app
                .send("POST", "/crm/v1/prospects/toy", Some(body))
                .await?;
            assert_eq!(status, 200, "{answer}");
            jobs.push(
                answer["meta"]["job_id"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned(),
            );
        }
    }
    for job in jobs {
        let write = app.ended_within(&job, 1_000, STEPS).await?;
        assert_eq!(write["write_status"], "SUCCESS", "{write}");
    }
    let state = customer.control("GET", "/state", Value::Null).await?;
    let leads = state["prospects"].as_array().cloned().unwrap_or_default();
    assert_eq!(leads.len(), 3, "{state}");
    for lead in leads {
        // A change that was repeated stands there twice in a row, and never behind a later one.
        let mut remarks: Vec<u64> = Vec::new();
        for remark in lead["remarks"].as_array().into_iter().flatten() {
            remarks.extend(remark.as_str().and_then(|text| text.parse::<u64>().ok()));
        }
        remarks.dedup();
        assert_eq!(remarks, (0..12).collect::<Vec<_>>(), "{lead}");
    }
    app.stop().await;
    Ok(())
}

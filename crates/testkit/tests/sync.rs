//! Goal: what changes at the vendor comes home, bounded and without harm to writes. Method: the real parts on a clock that the test moves; the sandbox plays
//! the people at the vendor.

use std::time::Duration;

use connectors::sandbox::{Fault, FaultKind, FaultMatch};
use serde_json::{Value, json};
use store::Registration;
use testkit::{Outcome, TestApp, wrong};

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;

/// The log of synchronisations, newest first.
async fn runs(app: &TestApp) -> Outcome<Vec<Value>> {
    let (status, answer) = app.send("GET", "/v1/admin/logs/jobs", None).await?;
    assert_eq!(status, 200, "{answer}");
    let logs = answer["results"]["logs"].as_array();
    Ok(logs.cloned().unwrap_or_default())
}

/// Waits until `count` runs have ended, and returns the newest.
async fn ended(app: &TestApp, count: usize) -> Outcome<Value> {
    app.until("a synchronisation", async || {
        let runs = runs(app).await?;
        let all = runs.len() == count && runs.iter().all(|run| run["status"] != "PENDING");
        Ok(all.then(|| runs[0].clone()))
    })
    .await
}

async fn ask_for_one(app: &TestApp) -> Outcome {
    let id = app.vendors[0].integration_id;
    let path = format!("/v1/admin/integrations/{id}/manual-sync");
    let (status, answer) = app.send("POST", &path, None).await?;
    assert_eq!(
        (status, answer),
        (200, json!({ "result": { "success": true } }))
    );
    Ok(())
}

async fn get(app: &TestApp, path: &str) -> Outcome<Value> {
    match app.send("GET", path, None).await? {
        (200, answer) => Ok(answer["results"].clone()),
        (_, answer) => Err(wrong(answer)),
    }
}

async fn prospect(app: &TestApp, email: &str) -> Outcome<Value> {
    let job_id = app.prospect_create(0, email).await?;
    let write = app.ended(&job_id).await?;
    let id = write["created_record_id"].as_str().unwrap_or_default();
    get(app, &format!("/crm/v1/prospects/{id}")).await
}

/// As a person at the vendor.
async fn at_the_vendor(app: &TestApp, method: &str, path: &str, body: Value) -> Outcome {
    app.vendors[0].control(method, path, body).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_changes_at_the_vendor_comes_home_with_its_diff() -> Outcome {
    let app = TestApp::start(1).await?;
    ended(&app, 1).await?;
    let (changed, same, gone) = (
        prospect(&app, "changed@example.com").await?,
        prospect(&app, "same@example.com").await?,
        prospect(&app, "gone@example.com").await?,
    );
    app.clock.advance_ms(MINUTE_MS);
    ask_for_one(&app).await?;
    let first = ended(&app, 2).await?;
    assert_eq!(first["status"], "SUCCESS", "{first}");
    let path = |one: &Value| {
        let x_id = one["x_id"].as_str().unwrap_or_default();
        format!("/prospects/{x_id}")
    };
    let edit = json!({ "status": "Visited", "isDeleted": true, "notProspect": true, "agent": { "username": "sam.okafor" } });
    at_the_vendor(&app, "POST", &path(&changed), edit).await?;
    at_the_vendor(&app, "DELETE", &path(&gone), Value::Null).await?;
    app.clock.advance_ms(MINUTE_MS);
    ask_for_one(&app).await?;
    let run = ended(&app, 3).await?;
    assert_eq!(
        (&run["status"], &run["name"]),
        (&json!("SUCCESS"), &json!("integration_sync"))
    );
    assert_eq!(run["parameters"]["changed"], 1, "{run}");
    assert_eq!(run["parameters"]["missing"], 1, "{run}");

    let now = |one: &Value| {
        format!(
            "/crm/v1/prospects/{}",
            one["id"].as_str().unwrap_or_default()
        )
    };
    let seen = get(&app, &now(&changed)).await?;
    assert_eq!(seen["status"], "Visited");
    assert_eq!(
        (&seen["is_deleted"], &seen["not_prospect"]),
        (&json!(true), &json!(true))
    );
    assert_eq!(seen["x_agent_id"], "sam.okafor");
    assert_eq!(seen["email_1"], "changed@example.com");
    let diffs = get(
        &app,
        &format!(
            "/v1/admin/data-diffs?record_id={}",
            seen["id"].as_str().unwrap_or_default()
        ),
    )
    .await?;
    assert_eq!(diffs[0]["diff"]["new"]["status"], "Visited", "{diffs}");
    assert_eq!(diffs[0]["diff"]["previous"]["status"], "New", "{diffs}");
    assert_eq!(
        (&diffs[0]["model"], &diffs[0]["job_id"]),
        (&json!("crm_prospects"), &run["job_id"])
    );

    let text = |one: &Value, member: &str| one[member].as_str().unwrap_or_default().to_owned();
    let unchanged = get(&app, &now(&same)).await?;
    let of_first = text(&first, "created_at");
    assert!(
        text(&unchanged, "last_seen") > text(&unchanged, "updated_at"),
        "seen, and not changed"
    );
    assert!(text(&unchanged, "last_seen") > of_first, "{unchanged}");
    let vanished = get(&app, &now(&gone)).await?;
    assert_eq!(
        vanished["email_1"], "gone@example.com",
        "nothing is deleted"
    );
    assert!(
        text(&vanished, "last_seen") < text(&run, "created_at"),
        "but it is seen no more"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_lead_source_can_be_used_as_soon_as_it_was_seen() -> Outcome {
    let app = TestApp::start(1).await?;
    ended(&app, 1).await?;
    let before = get(&app, "/crm/v1/attributions").await?;
    let community = app.vendors[0].x_community_id()?;
    let sources = json!({ "sources": ["Zillow.com", "Billboard on I-5"] });
    at_the_vendor(&app, "POST", &format!("/communities/{community}"), sources).await?;
    app.clock.advance_ms(12 * HOUR_MS + MINUTE_MS);
    let run = ended(&app, 2).await?;
    assert_eq!(run["parameters"]["created"], 1, "{run}");
    let found = get(&app, "/crm/v1/attributions").await?;
    let count = |list: &Value| list.as_array().map(Vec::len);
    assert_eq!(
        count(&found),
        count(&before).map(|count| count + 1),
        "none is taken away"
    );
    assert_eq!(found[0]["name"], "Billboard on I-5");
    let mut body = app.prospect_body(0, "drove@by.example.com")?;
    body["attribution_id"] = found[0]["id"].clone();
    let taken = app
        .until("the new source is known", async || {
            let (status, answer) = app
                .send("POST", "/crm/v1/prospects/knock", Some(body.clone()))
                .await?;
            Ok((status == 200).then_some(answer))
        })
        .await?;
    let job_id = taken["meta"]["job_id"].as_str().unwrap_or_default();
    assert_eq!(app.ended(job_id).await?["write_status"], "SUCCESS");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vendor_that_does_not_answer_is_asked_again_later() -> Outcome {
    let app = TestApp::start(1).await?;
    ended(&app, 1).await?;
    let down = Fault {
        matches: FaultMatch {
            method: Some("GET".to_owned()),
            ..FaultMatch::default()
        },
        status: Some(503),
        ..Fault::new(FaultKind::Status)
    };
    app.vendors[0].sandbox.add_fault(down);
    ask_for_one(&app).await?;
    for _ in 0..20 {
        app.clock.advance_ms(1_000);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let run = ended(&app, 2).await?;
    assert_eq!(run["status"], "FAILURE", "{run}");
    assert!(
        run["error"].as_str().is_some_and(|why| why.contains("503")),
        "{run}"
    );
    assert_eq!(run["parameters"]["calls"], 3, "{run}");
    app.vendors[0].sandbox.clear_faults();
    app.clock.advance_ms(14 * MINUTE_MS);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(runs(&app).await?.len(), 2);
    app.clock.advance_ms(2 * MINUTE_MS);
    assert_eq!(ended(&app, 3).await?["status"], "SUCCESS");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_does_not_wait_for_a_dead_vendor_for_ever() -> Outcome {
    let app = TestApp::start(1).await?;
    ended(&app, 1).await?;
    let dead = Fault {
        status: Some(404),
        ..Fault::new(FaultKind::Gateway)
    };
    app.vendors[0].sandbox.add_fault(dead);
    for n in 0..20 {
        app.prospect_create(0, &format!("p{n}@example.com")).await?;
    }
    app.until("the breaker to open", async || {
        app.clock.advance_ms(100);
        Ok((app.vendors[0].sandbox.counts().requests >= 20).then_some(()))
    })
    .await?;
    ask_for_one(&app).await?;
    let run = app
        .until("the run to end", async || {
            app.clock.advance_ms(5_000);
            let runs = runs(&app).await?;
            let is_over = runs.len() > 1 && runs[0]["status"] != "PENDING";
            Ok(is_over.then(|| runs[0].clone()))
        })
        .await?;
    assert_eq!(run["status"], "FAILURE", "{run}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_has_nothing_marks_nothing_as_gone() -> Outcome {
    let app = TestApp::start(1).await?;
    ended(&app, 1).await?;
    let known = prospect(&app, "known@example.com").await?;
    let mut count = 1;
    for status in [400, 404, 405, 410, 302, 200] {
        let page = Fault {
            status: Some(status),
            ..Fault::new(FaultKind::Gateway)
        };
        app.vendors[0].sandbox.add_fault(page);
        ask_for_one(&app).await?;
        let run = app
            .until("the run to end", async || {
                app.clock.advance_ms(1_000);
                let runs = runs(&app).await?;
                let is_over = runs.len() > count && runs[0]["status"] != "PENDING";
                Ok(is_over.then(|| runs[0].clone()))
            })
            .await?;
        count = runs(&app).await?.len();
        app.vendors[0].sandbox.clear_faults();
        assert_eq!(run["status"], "FAILURE", "{status}: {run}");
        let error = run["error"].as_str().unwrap_or_default();
        assert!(error.contains("text/html"), "{status}: {error}");
        let id = known["id"].as_str().unwrap_or_default();
        let now = get(&app, &format!("/crm/v1/prospects/{id}")).await?;
        assert_eq!(now["vanished_at"], Value::Null, "{status}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_does_not_wait_for_a_synchronisation_under_way() -> Outcome {
    let app = TestApp::start(1).await?;
    ended(&app, 1).await?;
    for n in 0..30 {
        prospect(&app, &format!("p{n}@example.com")).await?;
    }
    // A call a second, and one at a time: whatever synchronisation takes would be felt at once.
    let contents = app.store()?.directory_contents(0).await?;
    let mut integration = contents
        .branches
        .into_iter()
        .next()
        .ok_or("an integration")?
        .integration;
    integration.settings.max_request_frequency = Some(60);
    integration.settings.max_job_concurrency = 1;
    let registration = Registration {
        integration,
        communities: Vec::new(),
        attributions: Vec::new(),
        agents: Vec::new(),
    };
    app.store()?
        .integration_register(
            &testkit::operator(),
            registration,
            model::Clock::now(&*app.clock),
        )
        .await?;
    tokio::time::sleep(Duration::from_millis(600)).await;
    ask_for_one(&app).await?;
    let asked = app.vendors[0].sandbox.counts().requests;
    for n in 1..=10 {
        app.until("synchronisation goes on", async || {
            app.clock.advance_ms(100);
            let more = app.vendors[0].sandbox.counts().requests >= asked + n;
            Ok(more.then_some(()))
        })
        .await?;
        if n == 5 {
            // From here on the clock stands still: the write must go out on what is its own.
            let job_id = app.prospect_create(0, "first@example.com").await?;
            assert_eq!(app.ended(&job_id).await?["write_status"], "SUCCESS");
        }
    }
    assert_eq!(
        runs(&app).await?[0]["status"],
        "PENDING",
        "it is not done yet"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_was_broken_off_is_told_and_made_up_for() -> Outcome {
    let mut app = TestApp::start(1).await?;
    ended(&app, 1).await?;
    let slow = Fault {
        latency_ms: Some(30_000),
        ..Fault::new(FaultKind::Latency)
    };
    app.vendors[0].sandbox.add_fault(slow);
    ask_for_one(&app).await?;
    app.until("a run has begun", async || {
        Ok((runs(&app).await?.len() == 2).then_some(()))
    })
    .await?;
    app.stop().await;
    app.vendors[0].sandbox.clear_faults();
    app.resume().await?;
    app.leases_outlive()?;
    let run = ended(&app, 3).await?;
    assert_eq!(run["status"], "SUCCESS", "{run}");
    let broken = &runs(&app).await?[1];
    assert_eq!(broken["status"], "FAILURE");
    assert!(
        broken["error"]
            .as_str()
            .is_some_and(|why| why.contains("stopped")),
        "{broken}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_card_that_is_gone_takes_no_writes_and_stands_in_nobodys_way() -> Outcome {
    let app = TestApp::start(1).await?;
    ended(&app, 1).await?;
    let id = |one: &Value| one["id"].as_str().unwrap_or_default().to_owned();
    let path = |one: &Value| format!("/crm/v1/prospects/knock/{}", id(one));
    let change = || Some(json!({ "last_name": "King" }));
    let mut runs = 1;
    for (method, body, words) in [
        ("DELETE", Value::Null, "no longer has"),
        (
            "POST",
            json!({ "isDeleted": true, "email": "elsewhere@example.com" }),
            "merged or deleted",
        ),
    ] {
        let email = format!("{}@example.com", method.to_lowercase());
        let old = prospect(&app, &email).await?;
        let card = format!("/prospects/{}", old["x_id"].as_str().unwrap_or_default());
        at_the_vendor(&app, method, &card, body).await?;
        app.clock.advance_ms(MINUTE_MS);
        ask_for_one(&app).await?;
        runs += 1;
        ended(&app, runs).await?;
        let (status, answer) = app.send("PUT", &path(&old), change()).await?;
        assert_eq!(status, 409, "{answer}");
        assert!(
            answer["error"]["message"]
                .as_str()
                .is_some_and(|why| why.contains(words)),
            "{answer}"
        );
        // The person comes again: a new card, which can be changed.
        let new = prospect(&app, &email).await?;
        assert_ne!(id(&new), id(&old));
        let (status, answer) = app.send("PUT", &path(&new), change()).await?;
        assert_eq!(status, 200, "{answer}");
        let job_id = answer["meta"]["job_id"].as_str().unwrap_or_default();
        assert_eq!(app.ended(job_id).await?["outcome"], "UPDATED");
    }
    let deleted = get(&app, "/crm/v1/prospects?is_deleted=true").await?;
    assert_eq!(deleted.as_array().map(Vec::len), Some(1));
    Ok(())
}

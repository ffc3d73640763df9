//! Goal: the limits of an integration hold over all workers together. Method: two workers on one store, a vendor that counts its calls, and a clock that the test moves.

use std::time::Duration;

use connectors::sandbox::{Fault, FaultKind};
use delivery::Settings;
use serde_json::Value;
use store::Registration;
use testkit::{Outcome, TestApp};

/// A worker that can do less than the integration allows, so that it takes two to fill it.
fn small(in_flight_max: usize) -> Settings {
    Settings {
        in_flight_max,
        ..Settings::default()
    }
}

/// An app that has done its first synchronisation, with two such workers.
async fn two_workers(in_flight_max: usize) -> Outcome<TestApp> {
    let mut app = TestApp::start(1).await?;
    app.until("the first synchronisation", async || {
        let (_, answer) = app.send("GET", "/v1/admin/logs/jobs", None).await?;
        let has_ended = answer["results"]["logs"][0]["status"] == "SUCCESS";
        Ok(has_ended.then_some(()))
    })
    .await?;
    app.work_in_parallel(&[small(in_flight_max), small(in_flight_max)])
        .await?;
    Ok(app)
}

async fn accept(app: &TestApp, count: usize) -> Outcome<Vec<String>> {
    let mut jobs = Vec::with_capacity(count);
    for n in 0..count {
        jobs.push(app.prospect_create(0, &format!("p{n}@example.com")).await?);
    }
    Ok(jobs)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_together_make_as_many_calls_at_once_as_the_integration_allows() -> Outcome {
    let app = two_workers(5).await?;
    let sandbox = &app.vendors[0].sandbox;
    let before = sandbox.counts().requests;
    sandbox.add_fault(Fault {
        latency_ms: Some(8_000),
        ..Fault::new(FaultKind::Latency)
    });
    let jobs = accept(&app, 40).await?;
    let under_way = || sandbox.counts().requests - before;
    app.until("both are at work", async || {
        app.clock.advance_ms(1_000);
        tokio::time::sleep(Duration::from_millis(20)).await;
        Ok((under_way() >= 8).then_some(()))
    })
    .await?;
    // Nothing is answered yet, and each of them looks again and again.
    for _ in 0..20 {
        app.clock.advance_ms(1_000);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(under_way(), 8, "each could make 5, and the limit is 8");
    sandbox.clear_faults();
    for job_id in &jobs {
        let write = app.ended_within(job_id, 1_000, 1_000).await?;
        assert_eq!(write["write_status"], "SUCCESS", "{write}");
        assert_eq!(write["attempts"], 1, "no lease of a living worker lapses");
    }
    assert_eq!(sandbox.counts().prospects, 40);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_together_call_as_fast_as_the_integration_allows() -> Outcome {
    let app = two_workers(5).await?;
    let contents = app.store()?.directory_contents(0).await?;
    let branch = contents.branches.into_iter().next();
    let mut integration = branch.ok_or("an integration")?.integration;
    integration.settings.max_request_frequency = Some(60);
    let registration = Registration {
        integration,
        communities: Vec::new(),
        attributions: Vec::new(),
        agents: Vec::new(),
    };
    let now = model::Clock::now(&*app.clock);
    app.store()?
        .integration_register(&testkit::operator(), registration, now)
        .await?;
    // The directory is followed within a quarter of a second.
    tokio::time::sleep(Duration::from_millis(600)).await;
    let sandbox = &app.vendors[0].sandbox;
    let before = sandbox.counts().requests;
    accept(&app, 120).await?;
    for _ in 0..60 {
        app.clock.advance_ms(1_000);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let calls = sandbox.counts().requests - before;
    assert!(
        (20..=62).contains(&calls),
        "{calls} calls in a minute, and the limit is 60"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_stood_still_until_its_leases_lapsed_makes_no_call() -> Outcome {
    let mut app = two_workers(5).await?;
    let thawed = Settings {
        lease_ms: 0,
        ..Settings::default()
    };
    app.work_in_parallel(&[thawed]).await?;
    let before = app.vendors[0].sandbox.counts().requests;
    let jobs = accept(&app, 3).await?;
    let attempts = async |job_id: &str| -> Outcome<Value> {
        let path = format!("/v1/admin/writes/{job_id}/attempts");
        Ok(app.send("GET", &path, None).await?.1["results"].clone())
    };
    app.until("the leases have lapsed", async || {
        app.clock.advance_ms(1_000);
        tokio::time::sleep(Duration::from_millis(20)).await;
        Ok((attempts(&jobs[2]).await?[0] != Value::Null).then_some(()))
    })
    .await?;
    assert_eq!(app.vendors[0].sandbox.counts().requests, before);
    app.work_in_parallel(&[Settings::default()]).await?;
    for job_id in &jobs {
        let write = app.ended_within(job_id, 1_000, 1_000).await?;
        assert_eq!(write["write_status"], "SUCCESS", "{write}");
    }
    assert_eq!(app.vendors[0].sandbox.counts().prospects, 3);
    Ok(())
}

//! Goal: what delivery promises over hours and days holds for the whole app. Method: the real parts on a clock that the test moves.

use connectors::sandbox::{Fault, FaultKind};
use model::Clock as _;
use serde_json::{Value, json};
use store::{Ask, Claim};
use testkit::{Outcome, TestApp};

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;

/// Failures in a row that open a breaker.
const FAILURES_TO_OPEN: u64 = 15;

fn unavailable() -> Fault {
    Fault {
        status: Some(503),
        ..Fault::new(FaultKind::Status)
    }
}

#[track_caller]
fn check(write: &Value, status: &str, part_of_errors: &str) {
    assert_eq!(write["write_status"], status, "{write}");
    let errors = write["errors"].to_string();
    assert!(errors.contains(part_of_errors), "{errors}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_is_never_taken_ends_at_its_maximum_age_and_says_so() -> Outcome {
    let app = TestApp::start(1).await?;
    app.vendors[0].sandbox.add_fault(unavailable());
    let job_id = app.prospect_create(0, "never@example.com").await?;
    let write = app.ended_within(&job_id, HOUR_MS, 120).await?;
    check(
        &write,
        "FAILURE",
        "over 72 hours: the vendor did not take it",
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_still_unknown_at_its_maximum_age_says_that_the_vendor_may_hold_it() -> Outcome {
    let app = TestApp::start(1).await?;
    let sandbox = &app.vendors[0].sandbox;
    sandbox.add_fault(Fault::new(FaultKind::ResetAfterStore));
    let job_id = app.prospect_create(0, "unknown@example.com").await?;
    let write = app.ended_within(&job_id, HOUR_MS, 120).await?;
    check(&write, "FAILURE", "the vendor may hold it");
    assert_eq!(sandbox.counts().prospects, 1, "and holds it once");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_vendor_is_probed_not_flooded_and_loses_nothing() -> Outcome {
    let app = TestApp::start(1).await?;
    let sandbox = &app.vendors[0].sandbox;
    sandbox.add_fault(unavailable());
    let mut jobs = Vec::new();
    for n in 0..60 {
        jobs.push(app.prospect_create(0, &format!("p{n}@example.com")).await?);
    }
    // Attempts that are recorded, while none is under way.
    let attempts = async || -> Outcome<Option<u64>> {
        let sql = "SELECT CAST(count(*) AS TEXT) FROM attempts \
                   WHERE NOT EXISTS (SELECT 1 FROM queue WHERE state = 2)";
        let count: u64 = app.place().query(sql)?.concat().parse()?;
        Ok((count >= FAILURES_TO_OPEN).then_some(count))
    };
    let mut made = app
        .until("the breaker to open", async || attempts().await)
        .await?;
    for _ in 0..60 {
        // The breaker stays open for a minute at most.
        app.clock.advance_ms(MINUTE_MS);
        made = app
            .until("a probe", async || {
                Ok(attempts().await?.filter(|count| *count > made))
            })
            .await?;
    }
    // Fifteen failures open the breaker; then one probe a minute.
    let asked = sandbox.counts().requests;
    assert!(
        (60..=100).contains(&asked),
        "an hour of a dead vendor with 60 writes waiting made {asked} calls"
    );
    sandbox.clear_faults();
    for job_id in &jobs {
        let write = app.ended_within(job_id, MINUTE_MS, 2_000).await?;
        check(&write, "SUCCESS", "");
    }
    assert_eq!(sandbox.counts().prospects, 60);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_vendors_backlog_does_not_delay_another() -> Outcome {
    let app = TestApp::start(2).await?;
    // Each call of the first hangs: its share of the worker is taken for as long as the test lasts.
    app.vendors[0].sandbox.add_fault(Fault {
        latency_ms: Some(60_000),
        ..Fault::new(FaultKind::Latency)
    });
    let mut waiting = String::new();
    for n in 0..200 {
        waiting = app.prospect_create(0, &format!("p{n}@example.com")).await?;
    }
    for n in 0..20 {
        let job_id = app.prospect_create(1, &format!("p{n}@example.com")).await?;
        check(&app.ended(&job_id).await?, "SUCCESS", "");
    }
    assert_eq!(app.write_status(&waiting).await?["write_status"], "PENDING");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_accepted_is_delivered_after_a_restart() -> Outcome {
    let mut app = TestApp::start(1).await?;
    app.vendors[0].sandbox.add_fault(unavailable());
    let first = app.prospect_create(0, "same@example.com").await?;
    let second = app.prospect_create(0, "same@example.com").await?;
    app.stop().await;
    app.vendors[0].sandbox.clear_faults();
    app.resume().await?;
    let write = app.ended_within(&first, MINUTE_MS, 100).await?;
    assert_eq!(write["outcome"], "CREATED", "{write}");
    let write = app.ended_within(&second, MINUTE_MS, 100).await?;
    assert_eq!(
        write["outcome"], "MATCHED",
        "the second waited for the first: {write}"
    );
    assert_eq!(app.vendors[0].sandbox.counts().prospects, 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_whose_holder_is_gone_lapses_while_the_worker_runs() -> Outcome {
    let app = TestApp::start(1).await?;
    let sandbox = &app.vendors[0].sandbox;
    sandbox.add_fault(unavailable());
    let job_id = app.prospect_create(0, "held@example.com").await?;
    let tried = app
        .until("a first attempt", async || {
            let write = app.write_status(&job_id).await?;
            let again = !write["errors"].as_array().is_none_or(Vec::is_empty);
            Ok(again.then_some(()))
        })
        .await;
    tried?;
    // Another holder takes it, for a minute, and is never heard of again.
    let due = app.store()?.lanes_due().await?;
    let at = app.clock.now().plus_millis(HOUR_MS);
    let lanes = app
        .store()?
        .writes_claim(Claim {
            lanes: due
                .iter()
                .map(|(id, _)| Ask {
                    integration_id: *id,
                    limit: 1,
                    concurrency: 1,
                    gap_micros: None,
                    as_of: None,
                })
                .collect(),
            now: at,
            lease_until: app.clock.now().plus_millis(MINUTE_MS),
        })
        .await?;
    assert_eq!(lanes.iter().map(|lane| lane.writes.len()).sum::<usize>(), 1);
    sandbox.clear_faults();
    // It lapses after that minute, and is noticed by a sweep.
    app.clock.advance_ms(2 * MINUTE_MS);
    let write = app.ended_within(&job_id, MINUTE_MS / 4, 200).await?;
    check(&write, "SUCCESS", "");
    let (_, attempts) = app
        .send("GET", &format!("/v1/admin/writes/{job_id}/attempts"), None)
        .await?;
    assert_eq!(attempts["results"][1]["outcome"], "unknown", "{attempts}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_cannot_be_read_ends_and_stops_nothing_behind_it() -> Outcome {
    let mut app = TestApp::start(1).await?;
    app.vendors[0].sandbox.add_fault(unavailable());
    let broken = app.prospect_create(0, "same@example.com").await?;
    let behind = app.prospect_create(0, "same@example.com").await?;
    app.stop().await;
    let damage = format!(
        "UPDATE writes SET request = '{{\"call\":' WHERE job_id = '{broken}' RETURNING job_id"
    );
    assert_eq!(app.place().query(&damage)?, [broken.as_str()]);
    app.vendors[0].sandbox.clear_faults();
    app.resume().await?;
    let write = app.ended_within(&broken, MINUTE_MS, 100).await?;
    check(&write, "FAILURE", "Portico could not read the stored write");
    let (status, attempts) = app
        .send("GET", &format!("/v1/admin/writes/{broken}/attempts"), None)
        .await?;
    assert_eq!(status, 200);
    assert_eq!(attempts["results"][0]["request"], Value::Null);
    check(
        &app.ended_within(&behind, MINUTE_MS, 100).await?,
        "SUCCESS",
        "",
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_absurd_wait_that_the_vendor_asks_for_holds_up_one_write_and_not_all() -> Outcome {
    let app = TestApp::start(1).await?;
    app.vendors[0].sandbox.add_fault(Fault {
        status: Some(429),
        retry_after_s: Some(86_400),
        times: Some(1),
        matches: connectors::sandbox::FaultMatch {
            path: Some("/prospect".to_owned()),
            ..Default::default()
        },
        ..Fault::new(FaultKind::Status)
    });
    let first = app.prospect_create(0, "first@example.com").await?;
    app.until("the first was tried", async || {
        Ok((app.write_status(&first).await?["attempts"] == 1).then_some(()))
    })
    .await?;
    let others = app.prospect_create(0, "other@example.com").await?;
    check(
        &app.ended_within(&others, MINUTE_MS, 10).await?,
        "SUCCESS",
        "",
    );
    assert_eq!(app.write_status(&first).await?["write_status"], "PENDING");
    check(&app.ended_within(&first, HOUR_MS, 30).await?, "SUCCESS", "");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_count_of_attempts_that_is_none_keeps_no_write_back() -> Outcome {
    let mut app = TestApp::start(1).await?;
    app.vendors[0].sandbox.add_fault(unavailable());
    let mut jobs = Vec::new();
    for n in 0..3 {
        jobs.push(app.prospect_create(0, &format!("p{n}@example.com")).await?);
    }
    app.stop().await;
    for (job_id, attempt) in jobs.iter().zip([i64::MAX, i64::MIN]) {
        let sql = format!(
            "UPDATE queue SET attempt = {attempt} WHERE seq = (SELECT seq FROM writes WHERE job_id = '{job_id}') RETURNING CAST(attempt AS TEXT)"
        );
        assert_eq!(app.place().query(&sql)?, [attempt.to_string()]);
    }
    app.vendors[0].sandbox.clear_faults();
    app.resume().await?;
    for job_id in &jobs {
        let write = app.ended_within(job_id, HOUR_MS, 20).await?;
        assert_eq!(write["write_status"], "SUCCESS", "{write}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_that_is_raised_lets_at_once_go_what_waited_for_it() -> Outcome {
    let app = TestApp::start(1).await?;
    let path = format!("/v1/admin/integrations/{}", app.vendors[0].integration_id);
    let limit = async |per: u32, cadence: &str| -> Outcome {
        app.clock.advance_ms(1);
        let body = json!({ "max_request_frequency": per, "max_request_cadence": cadence });
        let (status, answer) = app.send("PUT", &path, Some(body)).await?;
        assert_eq!(status, 200, "{answer}");
        Ok(())
    };
    // The clock all but stands still: whoever waits for the next sweep waits for ever.
    for round in 0..3 {
        limit(2, "HOUR").await?;
        let mut jobs = Vec::new();
        for n in 0..5 {
            let email = format!("r{round}p{n}@example.com");
            jobs.push(app.prospect_create(0, &email).await?);
        }
        app.ended(&jobs[0]).await?;
        limit(1_000_000, "MINUTE").await?;
        for job_id in &jobs {
            let write = app.ended(job_id).await?;
            assert_eq!(write["write_status"], "SUCCESS", "{write}");
        }
    }
    Ok(())
}

//! The limit that Toy sets by itself: a change a minute, for each community.

use model::Clock as _;
use serde_json::{Value, json};
use testkit::{Outcome, TestApp, customer::Customer};

use super::VENDORS;

async fn create(app: &TestApp, customer: &Customer, notes: &str) -> Outcome<String> {
    let body = customer.referring(json!({
        "integration_id": "", "community_id": "", "email_1": "ada@example.com", "notes": notes,
    }));
    let (_, answer) = app
        .send("POST", "/crm/v1/prospects/toy", Some(body))
        .await?;
    let job_id = answer["meta"]["job_id"].as_str().unwrap_or_default();
    let write = app.ended_within(job_id, 1_000, 60).await?;
    assert_eq!(write["write_status"], "SUCCESS", "{write}");
    Ok(write["created_record_id"]
        .as_str()
        .unwrap_or_default()
        .to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_of_a_community_are_a_minute_apart_over_a_restart() -> Outcome {
    let (mut app, customer) = TestApp::start_for(VENDORS, &toy::DEFINITION).await?;
    create(&app, &customer, "First").await?;
    // The second time Toy tells the id.
    let id = create(&app, &customer, "Second").await?;
    let path = format!("/crm/v1/prospects/{id}");
    let mut jobs = Vec::new();
    for name in ["King", "Lovelace", "Byron"] {
        let body = json!({ "last_name": name });
        let (status, answer) = app.send("PUT", &path, Some(body)).await?;
        assert_eq!(status, 200, "{answer}");
        jobs.push(answer["job_id"].as_str().unwrap_or_default().to_owned());
    }
    let first = app.ended(&jobs[0]).await?;
    assert_eq!(first["write_status"], "SUCCESS", "{first}");
    app.stop().await;
    app.resume().await?;
    for job in &jobs[1..] {
        let write = app.ended_within(job, 1_000, 200).await?;
        let shown = (&write["write_status"], &write["attempts"]);
        assert_eq!(shown, (&json!("SUCCESS"), &json!(1)));
    }
    let requests = customer.control("GET", "/requests", Value::Null).await?;
    let mut times = Vec::new();
    for one in requests["requests"].as_array().into_iter().flatten() {
        let path = one["path"].as_str().unwrap_or_default();
        let at = one["at"].as_str().unwrap_or_default();
        // What follows a match is a create's.
        let is_change = one["method"] == "PUT" && one["body"]["property"].is_null();
        if is_change && path.starts_with("/v1/leads/") {
            times.push(model::Timestamp::parse(at)?);
        }
    }
    assert_eq!(times.len(), 3, "{requests}");
    for pair in times.windows(2) {
        assert!(pair[1].millis_since(pair[0]) >= 60_000, "{times:?}");
    }
    assert!(app.clock.now() >= times[2]);
    app.stop().await;
    Ok(())
}

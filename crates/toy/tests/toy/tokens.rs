//! The token that Toy gives: fetched, kept, renewed before it ends and once after it was refused.

use serde_json::{Value, json};
use testkit::{Outcome, TestApp, customer::Customer};

use super::VENDORS;

async fn create(app: &TestApp, customer: &Customer, number: usize) -> Outcome<Value> {
    let body = customer.referring(json!({
        "integration_id": "", "community_id": "", "email_1": format!("p{number}@example.com"),
    }));
    let (status, answer) = app
        .send("POST", "/crm/v1/prospects/toy", Some(body))
        .await?;
    assert_eq!(status, 200, "{answer}");
    let job_id = answer["meta"]["job_id"].as_str().unwrap_or_default();
    app.ended_within(job_id, 1_000, 60).await
}

async fn tokens(customer: &Customer) -> Outcome<u64> {
    let counts = customer.control("GET", "/counts", Value::Null).await?;
    Ok(counts["tokens"].as_u64().unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_kept_over_a_restart_and_renewed_before_it_ends() -> Outcome {
    let (mut app, customer) = TestApp::start_for(VENDORS, &toy::DEFINITION).await?;
    for number in 0..3 {
        let write = create(&app, &customer, number).await?;
        assert_eq!(write["write_status"], "SUCCESS", "{write}");
    }
    assert_eq!(tokens(&customer).await?, 1);
    app.stop().await;
    app.resume().await?;
    create(&app, &customer, 3).await?;
    assert_eq!(tokens(&customer).await?, 1, "it is kept");
    // It lasts five minutes, and is renewed a minute before.
    app.clock.advance_ms(245_000);
    let write = create(&app, &customer, 4).await?;
    assert_eq!(write["write_status"], "SUCCESS", "{write}");
    assert_eq!(tokens(&customer).await?, 2);
    app.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_refused_is_renewed_once() -> Outcome {
    let (mut app, customer) = TestApp::start_for(VENDORS, &toy::DEFINITION).await?;
    create(&app, &customer, 0).await?;
    customer.control("POST", "/tokens/end", json!({})).await?;
    let write = create(&app, &customer, 1).await?;
    assert_eq!(write["write_status"], "SUCCESS", "{write}");
    assert_eq!(tokens(&customer).await?, 2);
    // Refused whatever the token is: then it is the credentials, and the write waits.
    let refusal = json!({ "match": { "path": "/v1/leads" }, "kind": "status", "status": 401 });
    customer.control("POST", "/faults", refusal).await?;
    let body = customer.referring(json!({
        "integration_id": "", "community_id": "", "email_1": "last@example.com",
    }));
    let (_, answer) = app
        .send("POST", "/crm/v1/prospects/toy", Some(body))
        .await?;
    let job_id = answer["meta"]["job_id"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let path = format!("/v1/admin/writes/{job_id}/attempts");
    let outcomes = app
        .until("it is refused twice", async || {
            let (_, answer) = app.send("GET", &path, None).await?;
            let rows = answer["results"].as_array().cloned().unwrap_or_default();
            let outcomes: Vec<String> = rows
                .iter()
                .map(|row| row["outcome"].as_str().unwrap_or_default().to_owned())
                .collect();
            Ok((outcomes.len() >= 3).then_some(outcomes))
        })
        .await?;
    assert_eq!(outcomes, ["unauthorized", "delivered", "unauthorized"]);
    assert_eq!(tokens(&customer).await?, 3);
    app.stop().await;
    Ok(())
}

/// Many writes at once need a token: one is fetched.
#[tokio::test(flavor = "multi_thread")]
async fn writes_that_come_at_once_share_a_token() -> Outcome {
    let (mut app, customer) = TestApp::start_for(VENDORS, &toy::DEFINITION).await?;
    let mut jobs = Vec::new();
    for number in 0..20 {
        let body = customer.referring(json!({
            "integration_id": "", "community_id": "", "email_1": format!("p{number}@example.com"),
        }));
        let (_, answer) = app
            .send("POST", "/crm/v1/prospects/toy", Some(body))
            .await?;
        jobs.push(
            answer["meta"]["job_id"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
        );
    }
    for job in jobs {
        let write = app.ended_within(&job, 1_000, 60).await?;
        assert_eq!(write["write_status"], "SUCCESS", "{write}");
    }
    assert_eq!(tokens(&customer).await?, 1);
    app.stop().await;
    Ok(())
}

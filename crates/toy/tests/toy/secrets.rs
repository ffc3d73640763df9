//! Where credentials and tokens are: with the vendor alone.

use serde_json::{Value, json};
use testkit::{Outcome, TestApp};

use super::VENDORS;

/// What nobody is to find: both members of the credentials, and the tokens.
const SECRETS: [&str; 3] = [
    "toy-key-for-the-header",
    "toy-secret-for-the-body",
    "toy-token-number-",
];

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_in_a_file_an_answer_or_the_log_of_requests() -> Outcome {
    let (mut app, customer) = TestApp::start_for(VENDORS, &toy::DEFINITION).await?;
    let mut shown = Vec::new();
    for email in ["ada@example.com", "eve@example.com"] {
        let body = customer.referring(json!({
            "integration_id": "", "community_id": "", "email_1": email,
        }));
        let (_, answer) = app
            .send("POST", "/crm/v1/prospects/toy", Some(body))
            .await?;
        let job_id = answer["meta"]["job_id"].as_str().unwrap_or_default();
        let write = app.ended_within(job_id, 1_000, 60).await?;
        assert_eq!(write["write_status"], "SUCCESS", "{write}");
        let path = format!("/v1/admin/writes/{job_id}/attempts");
        shown.push(answer.to_string());
        shown.push(write.to_string());
        shown.push(app.send("GET", &path, None).await?.1.to_string());
    }
    for path in [
        "/v1/admin/integrations",
        "/v1/admin/audit",
        "/v1/admin/event-log",
    ] {
        shown.push(app.send("GET", path, None).await?.1.to_string());
    }
    shown.push(app.metrics().await?);
    let requests = customer.control("GET", "/requests", Value::Null).await?;
    shown.push(requests.to_string());
    for secret in SECRETS {
        for text in &shown {
            assert!(!text.contains(secret), "{secret} is in {text}");
        }
    }
    for (name, bytes) in app.place().contents()? {
        let found = testkit::found_in(&bytes, &SECRETS);
        assert!(found.is_empty(), "{found:?} in {name}");
    }
    app.stop().await;
    Ok(())
}

//! Goal: requests that wait cost little, however many a key sends. Method: a key has as many wait
//! for the end of a write as it may have, and sends one more.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use portico_http::limits::waits::END_WAITS_MAX;
use serde_json::json;
use testkit::{Outcome, TestApp};
use tokio::time::{sleep, timeout};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wait_for_an_end_too_many_is_answered_at_once() -> Outcome {
    let app = TestApp::start(1).await?;
    let integration = app.vendors[0].integration_id;
    let path = format!("/v1/admin/integrations/{integration}");
    let (status, _) = app.send("POST", &format!("{path}/pause"), None).await?;
    assert_eq!(status, 200);
    let job_id = app.prospect_create(0, "first@example.com").await?;
    let permissions = ["writes:read", "prospects:write"];
    let (_, many) = app.key(&permissions, json!({})).await?;
    let (_, other) = app.key(&permissions, json!({})).await?;
    let status_path = format!("/v1/admin/write-status/{job_id}");
    let ask = |token| app.send_as(token, "GET", &status_path, &[("prefer", "wait=50")], None);
    let waiting = join_all((0..END_WAITS_MAX).map(|_| ask(&many)));
    let probing = async {
        // All of them wait by then.
        sleep(Duration::from_secs(2)).await;
        let (status, answer) = ask(&many).await?;
        assert_eq!((status, &answer["write_status"]), (200, &json!("PENDING")));
        let body = app.prospect_body(0, "second@example.com")?;
        let sent = app.send_as(
            &many,
            "POST",
            "/crm/v1/prospects/knock",
            &[("prefer", "wait=50")],
            Some(body),
        );
        let (status, answer) = sent.await?;
        assert_eq!(status, 200, "{answer}");
        assert!(answer["meta"].get("write_status").is_none(), "{answer}");
        // Another key's waits are its own.
        let waits = timeout(Duration::from_secs(1), ask(&other)).await;
        assert!(waits.is_err(), "it waits");
        let (status, _) = app.send("POST", &format!("{path}/resume"), None).await?;
        assert_eq!(status, 200);
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
    };
    let begun = Instant::now();
    let (answers, probed) = tokio::join!(waiting, probing);
    probed?;
    // The signal ends them, long before the look.
    assert!(
        begun.elapsed() < Duration::from_secs(12),
        "{:?}",
        begun.elapsed()
    );
    for answer in answers {
        let (status, answer) = answer?;
        assert_eq!((status, &answer["write_status"]), (200, &json!("SUCCESS")));
    }
    Ok(())
}

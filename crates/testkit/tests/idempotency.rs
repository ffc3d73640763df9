//! Goal: a repeat is one across a change of Portico that reads keys otherwise, and after the person
//! was forgotten. Method: what is stored is made what an earlier Portico stored, which took the
//! quotes around a key for a part of it; and what was sent is sent again after an erasure.

use model::hex;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use testkit::{Outcome, TestApp, place::Place};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_was_stored_with_its_quotes_is_replayed() -> Outcome {
    let app = TestApp::start(1).await?;
    let body = app.prospect_body(0, "ada@example.com")?;
    let post = async |key: &str| -> Outcome<Value> {
        let headers = [("idempotency-key", key)];
        let path = "/crm/v1/prospects/knock";
        let (status, answer) = app
            .send_with("POST", path, &headers, Some(body.clone()))
            .await?;
        assert_eq!(status, 200, "{answer}");
        Ok(answer)
    };
    let quoted = "\"abc\"";
    let first = post(quoted).await?;
    let (_, keys) = app.send("GET", "/v1/admin/keys", None).await?;
    let owner = keys["results"][0]["id"].as_str().ok_or("a key")?.to_owned();
    let before = Sha256::new()
        .chain_update(owner)
        .chain_update([0])
        .chain_update(quoted)
        .finalize();
    let before = hex::encode(&before);
    let literal = match app.place() {
        Place::Disk(_) => format!("x'{before}'"),
        Place::Database(_) => format!("'\\x{before}'"),
    };
    let sql = format!("UPDATE idempotency SET key_hash = {literal} RETURNING job_id");
    assert_eq!(
        json!(app.place().query(&sql)?),
        json!([first["meta"]["job_id"]])
    );
    assert_eq!(post(quoted).await?, first);
    // Without quotes it was another key.
    assert_ne!(post("abc").await?, first);
    assert_eq!(post(quoted).await?, first);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeat_after_an_erasure_makes_nobody_anew() -> Outcome {
    const DAY_MS: i64 = 24 * 3_600_000;
    let app = TestApp::start(1).await?;
    let body = app.prospect_body(0, "ada@example.com")?;
    let other = app.prospect_body(0, "other@example.com")?;
    let post = async |body: &Value| {
        let headers = [("idempotency-key", "abc")];
        let path = "/crm/v1/prospects/knock";
        app.send_with("POST", path, &headers, Some(body.clone()))
            .await
    };
    let (status, first) = post(&body).await?;
    assert_eq!(status, 200, "{first}");
    let ended = app
        .ended(first["meta"]["job_id"].as_str().ok_or("a job")?)
        .await?;
    let id = ended["created_record_id"].as_str().ok_or("a prospect")?;
    let (status, erased) = app
        .send("POST", &format!("/v1/admin/prospects/{id}/erase"), None)
        .await?;
    assert_eq!(status, 200, "{erased}");
    // Whatever the body: a hash of what was sent would be a trace.
    for body in [&body, &other] {
        let (status, again) = post(body).await?;
        assert_eq!((status, &again["error"]["code"]), (410, &json!("erased")));
        let message = again["error"]["message"].as_str().ok_or("a message")?;
        let at = erased["result"]["erased_at"].as_str().ok_or("a time")?;
        assert!(message.contains(at), "{message}");
    }
    let (_, log) = app
        .send("GET", "/v1/admin/logs/writes?limit=10", None)
        .await?;
    let count = log["results"]["logs"].as_array().map(Vec::len);
    assert_eq!(count, Some(1), "nothing more was stored: {log}");
    // The key is kept for its time, and free afterwards.
    app.clock.advance_ms(DAY_MS);
    assert_eq!(post(&body).await?.0, 410);
    app.clock.advance_ms(DAY_MS);
    assert_eq!(post(&other).await?.0, 200);
    Ok(())
}

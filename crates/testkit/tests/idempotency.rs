//! Goal: a repeat is one across a change of Portico that reads keys otherwise. Method: what is
//! stored is made what an earlier Portico stored, which took the quotes around a key for a part of
//! it.

use model::key::hex;
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
    let before = hex(&before);
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

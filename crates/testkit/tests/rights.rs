//! Goal: a key learns only what it may, and only as long as it is in force. Method: keys of all
//! kinds ask the whole app, at the same time where that matters.

use model::{Clock as _, Timestamp};
use serde_json::{Value, json};
use testkit::{Outcome, TestApp, wrong};

const PROSPECTS: &str = "/crm/v1/prospects/knock";

/// How the key of somebody who waits ends.
#[derive(Clone, Copy, Debug)]
enum End {
    Revoked,
    Rotated,
    Expired,
}

/// Three wait with one key: for an event, for the end of a write, and for the end of the write that
/// they send.
async fn waits_end(end: End) -> Outcome {
    let app = TestApp::start(1).await?;
    let integration = app.vendors[0].integration_id;
    let (paused, _) = app
        .send(
            "POST",
            &format!("/v1/admin/integrations/{integration}/pause"),
            None,
        )
        .await?;
    assert_eq!(paused, 200);
    let first = app.prospect_create(0, "first@example.com").await?;
    let expires_at = app.clock.now().plus_millis(60_000).to_string();
    let (id, token) = app
        .key(
            &[
                "webhooks:read",
                "writes:read",
                "prospects:read",
                "prospects:write",
            ],
            json!({ "expires_at": expires_at }),
        )
        .await?;
    let wait = [("prefer", "wait=55")];
    let never = "/v1/admin/events?order-by=created_at:asc&trigger=SYNC_COMPLETE";
    let status = format!("/v1/admin/write-status/{first}");
    let body = app.prospect_body(0, "second@example.com")?;
    let end_it = async {
        // The write that waits is stored, so all three have asked.
        app.until("the second write", async || {
            let (_, log) = app
                .send("GET", "/v1/admin/logs/writes?limit=10", None)
                .await?;
            let count = log["results"]["logs"].as_array().map_or(0, Vec::len);
            Ok((count == 2).then_some(()))
        })
        .await?;
        let path = format!("/v1/admin/keys/{id}");
        let (status, answer) = match end {
            End::Revoked => app.send("DELETE", &path, None).await?,
            End::Rotated => {
                let path = format!("{path}/rotate?overlap_s=0");
                app.send("POST", &path, None).await?
            }
            End::Expired => {
                app.clock.advance_ms(60_000);
                (200, Value::Null)
            }
        };
        assert_eq!(status, 200, "{answer}");
        Ok(())
    };
    let (event, ended, written, done) = tokio::join!(
        app.send_as(&token, "GET", never, &wait, None),
        app.send_as(&token, "GET", &status, &wait, None),
        app.send_as(&token, "POST", PROSPECTS, &wait, Some(body)),
        end_it,
    );
    done.map_err(|why: Box<dyn std::error::Error + Send + Sync>| why)?;
    for (status, answer) in [event?, ended?] {
        assert_eq!(status, 401, "{end:?}: {answer}");
    }
    // It was stored while the key was in force: that is told, and no more.
    let (status, answer) = written?;
    assert_eq!(status, 200, "{end:?}: {answer}");
    let told = answer["meta"].as_object().ok_or("an object")?;
    assert_eq!(told.keys().collect::<Vec<_>>(), ["job_id"], "{end:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_with_a_key_that_is_revoked_is_told_nothing() -> Outcome {
    waits_end(End::Revoked).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_with_a_token_that_is_rotated_is_told_nothing() -> Outcome {
    waits_end(End::Rotated).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_with_a_key_that_expires_is_told_nothing() -> Outcome {
    waits_end(End::Expired).await
}

/// What each of the tokens hears when it asks for a change that is refused as a conflict.
async fn refusals(
    app: &TestApp,
    tokens: [&str; 2],
    path: &str,
    change: &Value,
) -> Outcome<Vec<String>> {
    let mut refused = Vec::new();
    for token in tokens {
        let sent = app.send_as(token, "PUT", path, &[], Some(change.clone()));
        let (status, answer) = sent.await?;
        assert_eq!(status, 409, "{answer}");
        refused.push(answer.to_string());
    }
    Ok(refused)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_only_write_learns_nothing_of_others() -> Outcome {
    let app = TestApp::start(1).await?;
    let (_, writes) = app.key(&["prospects:write"], json!({})).await?;
    let (_, reads) = app
        .key(&["prospects:write", "prospects:read"], json!({}))
        .await?;
    let (_, looks_up) = app
        .key(&["prospects:write", "writes:read"], json!({}))
        .await?;
    let wait = [("prefer", "wait=20")];

    // The outcome says whether the vendor has found somebody, and whom.
    let theirs = app.prospect_create(0, "theirs@example.com").await?;
    let theirs = app.ended(&theirs).await?;
    let theirs = theirs["created_record_id"].as_str().ok_or("a prospect")?;
    let body = app.prospect_body(0, "theirs@example.com")?;
    for (token, may_learn) in [(&writes, false), (&reads, true), (&looks_up, true)] {
        let sent = app.send_as(token, "POST", PROSPECTS, &wait, Some(body.clone()));
        let (status, answer) = sent.await?;
        assert_eq!(status, 200, "{answer}");
        let told = &answer["meta"]["created_record_id"];
        assert_eq!(told == theirs, may_learn, "{answer}");
        assert_eq!(answer["meta"]["write_status"].is_null(), !may_learn);
        let job_id = answer["meta"]["job_id"].as_str().ok_or("a job")?;
        app.ended(job_id).await?;
    }

    // A change that the vendor would make to somebody else's card is refused. Why is for who may
    // read.
    let mut body = app.prospect_body(0, "own@example.com")?;
    body["phone_1"] = json!("+12065550101");
    let (_, sent) = app.send("POST", PROSPECTS, Some(body)).await?;
    let own_job = sent["meta"]["job_id"].as_str().ok_or("a job")?;
    let own = app.ended(own_job).await?;
    let own = own["created_record_id"].as_str().ok_or("a prospect")?;
    let path = format!("{PROSPECTS}/{own}");
    let change = json!({ "email_1": "theirs@example.com", "first_name": "Ada" });
    let refused = refusals(&app, [&reads, &writes], &path, &change).await?;
    assert!(refused[0].contains(theirs), "{}", refused[0]);
    for secret in [theirs, "email_1", "nother"] {
        assert!(!refused[1].contains(secret), "{}", refused[1]);
    }

    // The id of a write leads only them to the prospect that it made.
    let path = format!("{PROSPECTS}/{own_job}");
    let change = json!({ "first_name": "Ada" });
    let refused = refusals(&app, [&reads, &writes], &path, &change).await?;
    assert!(refused[0].contains(own), "{}", refused[0]);
    assert!(!refused[1].contains(own), "{}", refused[1]);

    // Nor is an open write of somebody else named.
    let integration = app.vendors[0].integration_id;
    let pause = format!("/v1/admin/integrations/{integration}/pause");
    let (status, _) = app.send("POST", &pause, None).await?;
    assert_eq!(status, 200);
    let open = app.prospect_create(0, "own@example.com").await?;
    let path = format!("{PROSPECTS}/{own}");
    for (token, is_named) in [(&looks_up, true), (&writes, false)] {
        let change = json!({ "email_1": "later@example.com" });
        let sent = app.send_as(token, "PUT", &path, &[], Some(change));
        let (status, answer) = sent.await?;
        assert_eq!(status, 409, "{answer}");
        assert_eq!(answer.to_string().contains(&open), is_named, "{answer}");
    }
    match app
        .send("GET", "/crm/v1/prospects?email_1=own@example.com", None)
        .await?
    {
        (200, page) if page["meta"]["total"] == 1 => Ok(()),
        (_, page) => Err(wrong(page)),
    }
}

/// A key with two tokens: the one that was shown first, which ends in an hour, and the newest.
async fn rotated(app: &TestApp, permissions: &[&str]) -> Outcome<(String, String, String)> {
    let (id, old) = app.key(permissions, json!({})).await?;
    let path = format!("/v1/admin/keys/{id}/rotate?overlap_s=3600");
    let (status, answer) = app.send("POST", &path, None).await?;
    assert_eq!(status, 200, "{answer}");
    let new = answer["token"].as_str().ok_or("a token")?;
    Ok((id, old, new.to_owned()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_superseded_token_does_ends_with_it() -> Outcome {
    let app = TestApp::start(1).await?;
    let (own, old, new) = rotated(&app, &["keys:admin", "webhooks:admin"]).await?;
    let end = app.clock.now().plus_millis(3_600_000);
    let (endless, _) = app.key(&["keys:admin"], json!({})).await?;
    let in_half = app.clock.now().plus_millis(1_800_000).to_string();
    let (short, _) = app
        .key(&["keys:admin"], json!({ "expires_at": in_half }))
        .await?;

    // Whose key, and what the old token and the newest hear when they rotate it.
    for (id, by_old, by_new) in [(&short, 200, 200), (&endless, 403, 200), (&own, 403, 200)] {
        let path = format!("/v1/admin/keys/{id}");
        let rotate = format!("{path}/rotate?overlap_s=3600");
        for (token, expected) in [(&old, by_old), (&new, by_new)] {
            let (status, answer) = app.send_as(token, "POST", &rotate, &[], None).await?;
            assert_eq!(status, expected, "{id}: {answer}");
        }
        if by_old == 403 {
            let (status, answer) = app.send_as(&old, "DELETE", &path, &[], None).await?;
            assert_eq!(status, 403, "{id}: {answer}");
        }
    }
    // The last of these rotations superseded the newest too.
    let (_, listed) = app
        .send("GET", &format!("/v1/admin/keys/{own}"), None)
        .await?;
    assert_eq!(listed["result"]["tokens"].as_array().map(Vec::len), Some(3));
    let path = format!("/v1/admin/keys/{own}/rotate?overlap_s=0");
    let (status, answer) = app.send_as(&new, "POST", &path, &[], None).await?;
    let told = answer["error"]["message"].as_str().unwrap_or_default();
    assert_eq!(status, 403, "{answer}");
    assert!(told.contains("not the newest of this API key"), "{told}");

    // A key ends with the token that made it, and so does a webhook.
    let made = json!({ "name": "made", "system": "SANDBOX", "permissions": ["keys:admin"] });
    let sent = app.send_as(&old, "POST", "/v1/admin/keys", &[], Some(made.clone()));
    let (status, answer) = sent.await?;
    assert_eq!(status, 200, "{answer}");
    let ends = answer["result"]["expires_at"].as_str().ok_or("an end")?;
    assert!(Timestamp::parse(ends).is_ok_and(|at| at <= end), "{ends}");
    let mut longer = made;
    longer["expires_at"] = json!(end.plus_millis(60_000).to_string());
    let sent = app.send_as(&old, "POST", "/v1/admin/keys", &[], Some(longer));
    let (status, answer) = sent.await?;
    assert_eq!(status, 400, "{answer}");
    Ok(())
}

//! The log of events when rows of it are damaged. Goal: what cannot be read hides nothing else. Method: rows are damaged in the database while the app is stopped.

use serde_json::{Value, json};
use testkit::{Outcome, TestApp};

async fn events(app: &TestApp, query: &str) -> Outcome<Value> {
    let path = format!("/v1/admin/events?order-by=created_at:asc&{query}");
    let (status, page) = app.send("GET", &path, None).await?;
    assert_eq!(status, 200, "{query}: {page}");
    Ok(page)
}

fn subjects(page: &Value) -> Vec<&str> {
    let rows = page["results"].as_array().into_iter().flatten();
    rows.filter_map(|row| row["subject_id"].as_str()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_event_hides_no_other() -> Outcome {
    let mut app = TestApp::start(1).await?;
    let mut jobs = Vec::new();
    for place in 0..3 {
        let job = app
            .prospect_create(0, &format!("lead{place}@example.com"))
            .await?;
        app.ended(&job).await?;
        jobs.push(job);
    }
    let of_writes = "trigger=WRITE_OPERATION_SUCCESS";
    let before = events(&app, of_writes).await?;
    assert_eq!(subjects(&before), jobs);
    let new = events(&app, "trigger=DATA_NEW&model=crm_prospects").await?;
    let prospects = subjects(&new);
    app.stop().await;
    for (sql, whose) in [
        (
            "UPDATE events SET body = '{' WHERE subject = $1 RETURNING subject",
            prospects[0],
        ),
        (
            "UPDATE writes SET errors = '{' WHERE job_id = $1 RETURNING job_id",
            &jobs[1],
        ),
    ] {
        let sql = sql.replace("$1", &format!("'{whose}'"));
        assert_eq!(app.place().query(&sql)?, [whose]);
    }
    app.resume().await?;

    // What is damaged in what it says is shown without that.
    let damaged = events(&app, "trigger=DATA_NEW&model=crm_prospects").await?;
    assert_eq!(subjects(&damaged), prospects);
    assert_eq!(damaged["results"][0]["body"], Value::Null);
    assert_eq!(damaged["results"][1], new["results"][1]);

    // One of which nothing can be told is left out, be it in the middle of a page or where a page would end.
    let after = events(&app, of_writes).await?;
    assert_eq!(subjects(&after), [&jobs[0], &jobs[2]]);
    let first = events(&app, &format!("{of_writes}&limit=1")).await?;
    assert_eq!(
        (subjects(&first), &first["meta"]["hasMore"]),
        (vec![jobs[0].as_str()], &json!(true))
    );
    let cursor = first["meta"]["nextCursor"].as_str().unwrap_or_default();
    let second = events(&app, &format!("{of_writes}&limit=1&cursor={cursor}")).await?;
    assert_eq!(subjects(&second), [&jobs[2]]);
    let id = before["results"][1]["id"].as_str().unwrap_or_default();
    let (status, _) = app
        .send("GET", &format!("/v1/admin/events/{id}"), None)
        .await?;
    assert_eq!(status, 500);
    Ok(())
}

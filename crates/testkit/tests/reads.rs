//! Goal: every rule of lists holds for a caller, and what is wrong with a query is told at once. Method: two integrations with a few prospects each, asked in
//! every way.

use serde_json::{Value, json};
use testkit::{Outcome, TestApp, wrong};

const MINUTE_MS: i64 = 60_000;
const PROSPECTS: &str = "/crm/v1/prospects";

/// Two integrations: three prospects of the first, two of the second, a minute apart.
async fn filled() -> Outcome<TestApp> {
    let app = TestApp::start(2).await?;
    for (vendor, name) in [(0, "a"), (1, "b"), (0, "c"), (1, "d"), (0, "e")] {
        app.clock.advance_ms(MINUTE_MS);
        let job_id = app
            .prospect_create(vendor, &format!("{name}@example.com"))
            .await?;
        app.ended(&job_id).await?;
    }
    Ok(app)
}

async fn page(app: &TestApp, query: &str) -> Outcome<Value> {
    match app
        .send("GET", &format!("{PROSPECTS}?{query}"), None)
        .await?
    {
        (200, page) => Ok(page),
        (status, answer) => Err(wrong(format!("{status} {query}: {answer}"))),
    }
}

/// The first letters of the emails, in the order of the page.
fn letters(page: &Value) -> String {
    let rows = page["results"].as_array().into_iter().flatten();
    rows.filter_map(|row| row["email_1"].as_str()?.chars().next())
        .collect()
}

async fn check(app: &TestApp, query: &str, expect: &str) -> Outcome {
    let page = page(app, query).await?;
    assert_eq!(letters(&page), expect, "{query}: {page}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_rule_of_lists_holds() -> Outcome {
    let app = filled().await?;
    let all = page(&app, "").await?;
    assert_eq!(
        all["meta"],
        json!({ "offset": 0, "limit": 100, "orderBy": [{ "field": "created_at", "direction": "desc" }], "hasMore": false, "total": 5, "nextCursor": null })
    );
    let row = |letter: &str| {
        let email = format!("{letter}@example.com");
        let rows = all["results"].as_array().into_iter().flatten();
        rows.clone()
            .find(|row| row["email_1"] == email.as_str())
            .cloned()
            .unwrap_or_default()
    };
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (first, second) = (app.vendors[0].integration_id, app.vendors[1].integration_id);
    let community = text(&row("a")["community_id"]);
    let (c, b) = (row("c"), row("b"));
    let at = |one: &Value| text(&one["created_at"]);
    for (query, expect) in [
        (String::new(), "edcba"),
        ("limit=2".to_owned(), "ed"),
        ("limit=2&offset=3".to_owned(), "ba"),
        ("offset=9".to_owned(), ""),
        ("limit=0".to_owned(), ""),
        ("order-by=created_at".to_owned(), "abcde"),
        ("order-by=created_at:asc".to_owned(), "abcde"),
        ("order-by=last_seen:desc,created_at".to_owned(), "edcba"),
        ("order-by=updated_at,%20created_at:desc".to_owned(), "abcde"),
        (format!("integration_id={first}"), "eca"),
        (format!("integration_id={second}&order-by=created_at"), "bd"),
        ("integration_id=int_nothing".to_owned(), ""),
        ("integration_vendor=KNOCK".to_owned(), "edcba"),
        // A vendor of the contract that no integration has.
        ("integration_vendor=RENTCAFE".to_owned(), ""),
        (
            format!("integration_vendor=KNOCK&integration_id={second}"),
            "db",
        ),
        (format!("community_id={community}"), "eca"),
        (
            format!("community_id={community}&integration_id={second}"),
            "",
        ),
        ("community_id=com_nothing".to_owned(), ""),
        (
            format!("attribution_id={}", text(&b["attribution_id"])),
            "db",
        ),
        ("email_1=C@Example.COM".to_owned(), "c"),
        ("email_1=c%40example.com".to_owned(), "c"),
        ("email_1=x%27%20OR%201=1--".to_owned(), ""),
        (
            format!("integration_id={first}&x_id={}", text(&c["x_id"])),
            "c",
        ),
        (format!("integration_id={second}&x_id=nothing"), ""),
        (
            format!(
                "integration_id={first}&x_community_id={}",
                text(&c["x_community_id"])
            ),
            "eca",
        ),
        (format!("integration_id={first}&x_community_id=nothing"), ""),
        (
            format!(
                "integration_id={first}&x_property_id={}",
                text(&c["x_community_id"])
            ),
            "eca",
        ),
        (format!("integration_id={first}&x_property_id=nothing"), ""),
        (
            format!(
                "integration_id={first}&x_attribution_id={}",
                text(&c["x_attribution_id"])
            ),
            "eca",
        ),
        (format!("updated_at_gte={}", at(&c)), "edc"),
        (format!("updated_at_lte={}", at(&c)), "cba"),
        (
            format!("updated_at_gte={}&updated_at_lte={}", at(&b), at(&c)),
            "cb",
        ),
        (
            format!("last_seen_gte={}&order-by=last_seen", at(&c)),
            "cde",
        ),
        // A plus that was not escaped.
        (
            "updated_at_gte=2020-01-01T00:00:00+02:00".to_owned(),
            "edcba",
        ),
    ] {
        check(&app, &query, expect).await?;
    }
    let one = app
        .send("GET", &format!("{PROSPECTS}/{}", text(&c["id"])), None)
        .await?;
    assert_eq!((one.0, &one.1["results"]), (200, &c));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_is_walked_by_cursor_to_its_end() -> Outcome {
    let app = filled().await?;
    for (query, expect) in [
        ("order-by=created_at:desc", "edcba"),
        ("order-by=updated_at,created_at:desc", "abcde"),
        // The published example.
        ("order-by=id:asc,name:desc", "abcde"),
        ("order-by=name:desc", "edcba"),
        (
            &*format!("integration_id={}", app.vendors[0].integration_id),
            "eca",
        ),
    ] {
        let (mut walked, mut cursor) = (String::new(), String::new());
        loop {
            let page = page(&app, &format!("{query}&limit=2{cursor}")).await?;
            walked += &letters(&page);
            let Some(next) = page["meta"]["nextCursor"].as_str() else {
                assert_eq!(page["meta"]["hasMore"], false);
                break;
            };
            assert_eq!(page["meta"]["hasMore"], true);
            assert_eq!(page["meta"]["total"].is_null(), !cursor.is_empty());
            // A client may send the offset that skips nothing.
            cursor = format!("&cursor={next}&offset=0");
        }
        assert_eq!(walked, expect, "{query}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_with_a_query_is_told_at_once() -> Outcome {
    let app = filled().await?;
    let cursor = page(&app, "limit=1").await?["meta"]["nextCursor"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let mut shown = serde_json::Map::new();
    for (name, path) in [
        ("numbers", "/crm/v1/prospects?limit=251&offset=-1"),
        (
            "a field that is none",
            "/crm/v1/prospects?order-by=colour:desc",
        ),
        (
            "a direction that is none",
            "/crm/v1/prospects?order-by=created_at:up",
        ),
        (
            "a filter that is none",
            "/crm/v1/communities?colour=red&email_1=a",
        ),
        (
            "an id of the vendor's alone",
            "/crm/v1/prospects?x_id=1&x_agent_id=2&x_community_id=3",
        ),
        (
            "times",
            "/crm/v1/prospects?updated_at_gte=yesterday&last_seen_lte=2027-02-30",
        ),
        (
            "empty and twice",
            "/crm/v1/prospects?status=&limit=1&limit=2",
        ),
        (
            "a vendor that is none",
            "/crm/v1/agents?integration_vendor=ENTRATA",
        ),
        ("no cursor", "/crm/v1/prospects?cursor=zork&offset=1"),
        (
            "a log",
            "/v1/admin/logs/writes?limit=0&time_range=year&status=DONE&colour=red",
        ),
        ("diffs", "/v1/admin/data-diffs?model=prospects&limit=999"),
        (
            "a vocabulary",
            "/v1/admin/normalization/crm_prospects/colour",
        ),
        ("a model", "/v1/admin/normalization/prospects/pets"),
    ] {
        let (status, answer) = app.send("GET", path, None).await?;
        shown.insert(
            name.to_owned(),
            json!({ "status": status, "error": answer["error"] }),
        );
    }
    for (name, path) in [
        (
            "a cursor of another order",
            format!("/crm/v1/prospects?order-by=created_at&cursor={cursor}"),
        ),
        (
            "a cursor of another list",
            format!("/crm/v1/events?cursor={cursor}"),
        ),
    ] {
        let (status, answer) = app.send("GET", &path, None).await?;
        shown.insert(
            name.to_owned(),
            json!({ "status": status, "error": answer["error"] }),
        );
    }
    insta::assert_json_snapshot!("wrong_queries", shown);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_of_writes_and_the_vocabulary_are_shown() -> Outcome {
    let app = filled().await?;
    let (status, answer) = app
        .send(
            "GET",
            "/v1/admin/logs/writes?limit=2&time_range=hour&status=SUCCESS",
            None,
        )
        .await?;
    assert_eq!(status, 200, "{answer}");
    let logs = answer["results"]["logs"].as_array().ok_or("logs")?;
    assert_eq!(logs.len(), 2);
    let line = &logs[0];
    assert_eq!(line["parameters"]["email_1"], "e@example.com", "{line}");
    for (member, value) in [
        ("status", "SUCCESS"),
        ("job_type", "WRITE"),
        ("name", "prospect_create"),
        ("vendor", "KNOCK"),
    ] {
        assert_eq!(line[member], value, "{line}");
    }
    assert_eq!(line["id"], line["job_id"]);
    let path = "/v1/admin/normalization/crm_appointments/tour_type";
    let of_knock = format!("{path}?integration_vendor=KNOCK");
    let (status, answer) = app.send("GET", &of_knock, None).await?;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(
        answer["results"],
        json!({
            "is_custom_mapping": false, "default_value": null,
            "mappings": { "IN_PERSON": "IN_PERSON", "SELF_GUIDED": "SELF_GUIDED" },
        })
    );
    assert_eq!(app.send("GET", path, None).await?.0, 400, "of which vendor");
    Ok(())
}

//! Goal: what was agreed to is on record, a person can be forgotten without a trace, and what is old goes by itself. Method: the whole app lives through what can
//! happen to a person, and then every file of the data directory is read byte for byte, while the app runs; of a PostgreSQL database every table, since what its files keep of
//! removed rows goes with its vacuum.

use model::{
    Secret, WebhookId,
    id::TriggerId,
    key::System,
    webhook::{DeliveryAttempt, Subscribed, Trigger, Webhook},
};
use serde_json::{Value, json};
use store::{
    retention::Retention,
    webhooks::{
        ClaimedDelivery, DeliveryClaim, DeliveryFinish, DeliveryVerdict, EventQuery, Standing,
    },
};
use testkit::{Outcome, TestApp, clock::Seeded, found_in, operator, wrong};

const DAY_MS: i64 = 24 * 3_600_000;
const MINUTE_MS: i64 = 60_000;

/// What the person to be forgotten is found by, in any file. Nobody else has any of it.
const TRACES: [&str; 16] = [
    "zephyrine@example.com",
    "Zephyrine@Example.com",
    "zq-later@example.com",
    "zq-failed@example.com",
    "+12065550177",
    "2065550177",
    "(206) 555-0177",
    "206.555.0177",
    "Zephyrine",
    "Quillfeather",
    "Wobbleton",
    "harpsichord",
    "marmalade",
    "telescope",
    "zeppelin",
    "quicksilver",
];

fn with(mut body: Value, more: Value) -> Value {
    if let (Some(body), Value::Object(more)) = (body.as_object_mut(), more) {
        body.extend(more);
    }
    body
}

/// Sends a write. Returns its job id.
async fn send(app: &TestApp, method: &str, path: &str, body: Value) -> Outcome<String> {
    let (status, answer) = app.send(method, path, Some(body)).await?;
    match answer["meta"]["job_id"].as_str() {
        Some(job_id) if status == 200 => Ok(job_id.to_owned()),
        _ => Err(wrong(format!("{status} {path}: {answer}"))),
    }
}

/// Sends a write and waits for its end. Returns its job id and the id of its record.
async fn done(app: &TestApp, method: &str, path: &str, body: Value) -> Outcome<(String, String)> {
    let job_id = send(app, method, path, body).await?;
    let end = app.ended(&job_id).await?;
    let record_id = end["created_record_id"].as_str().unwrap_or_default();
    Ok((job_id, record_id.to_owned()))
}

async fn get(app: &TestApp, path: &str) -> Outcome<Value> {
    match app.send("GET", path, None).await? {
        (200, answer) => Ok(answer),
        (status, answer) => Err(wrong(format!("{status} {path}: {answer}"))),
    }
}

async fn erase(app: &TestApp, id: &str) -> Outcome<(u16, Value)> {
    let path = format!("/v1/admin/prospects/{id}/erase");
    app.send("POST", &path, None).await
}

/// Which traces are in which file of the data directory, or table of the database.
fn traces(app: &TestApp) -> Outcome<Vec<String>> {
    let contents = app.place().contents()?;
    assert!(
        contents.len() > 1,
        "the write-ahead log is among the files, or there are tables"
    );
    let mut found = Vec::new();
    for (name, bytes) in contents {
        let traces = found_in(&bytes, &TRACES).into_iter();
        found.extend(traces.map(|trace| format!("{trace} in {name}")));
    }
    Ok(found)
}

fn refuse_once() -> Value {
    json!({ "match": { "path": "/prospect" }, "kind": "status", "status": 400, "times": 1 })
}

/// The person, with all that can happen to one: changed, toured, written to, refused. Returns the prospect's id and the write that failed.
async fn lived_through(app: &TestApp) -> Outcome<(String, String)> {
    let first = app.prospect_body(0, "Zephyrine@Example.com")?;
    let body = with(
        first.clone(),
        json!({
            "phone_1": "(206) 555-0177", "first_name": "Zephyrine", "last_name": "Quillfeather", "address_1": "77 Wobbleton Lane",
            "notes": "Plays the harpsichord at night", "subscribe": false,
        }),
    );
    let (_, id) = done(app, "POST", "/crm/v1/prospects/knock", body).await?;
    let change = format!("/crm/v1/prospects/knock/{id}");
    for (more, vendor_refuses) in [
        (json!({ "email_1": "zq-later@example.com" }), false),
        (json!({ "last_name": "Quillfeather-Wobbleton" }), false),
        (
            json!({ "first_name": "Zephyrine Marmalade marmalade" }),
            true,
        ),
    ] {
        app.clock.advance_ms(MINUTE_MS);
        if vendor_refuses {
            app.vendors[0]
                .control("POST", "/faults", refuse_once())
                .await?;
        }
        done(app, "PUT", &change, more).await?;
    }
    // By the phone alone, which others may not have: it never became a record.
    app.vendors[0]
        .control("POST", "/faults", refuse_once())
        .await?;
    let failed = with(
        app.prospect_body(0, "zq-failed@example.com")?,
        json!({ "phone_1": "206.555.0177", "notes": "Has a telescope" }),
    );
    let (failed, _) = done(app, "POST", "/crm/v1/prospects/knock", failed).await?;
    assert_eq!(app.write_status(&failed).await?["write_status"], "FAILURE");
    let event = json!({
        "integration_id": first["integration_id"], "community_id": first["community_id"], "prospect_id": id,
        "event_name": "ACTIVITY", "event_datetime": "2026-01-15T10:00:00Z", "notes": "Arrived by zeppelin",
    });
    done(app, "POST", "/crm/v1/events/knock", event).await?;
    for date in ["2026-03-02", "2026-03-03"] {
        let tour = with(
            first.clone(),
            json!({
                "email_1": "zq-later@example.com", "phone_1": "+12065550177", "last_name": "Quillfeather",
                "appointment_date": date, "appointment_time": "18:00:00", "notes": "Spilled quicksilver",
            }),
        );
        done(app, "POST", "/crm/v1/appointments/knock", tour).await?;
    }
    Ok((id, failed))
}

/// Others, before and after: they share pages with whoever is between them.
async fn others(app: &TestApp, name: &str) -> Outcome {
    for n in 0..6 {
        let email = format!("{name}{n}@example.com");
        let body = with(
            app.prospect_body(0, &email)?,
            json!({ "notes": format!("{name} {n} ").repeat(40), "last_name": "Byron" }),
        );
        let (_, id) = done(app, "POST", "/crm/v1/prospects/knock", body).await?;
        let path = format!("/crm/v1/prospects/knock/{id}");
        done(app, "PUT", &path, json!({ "last_name": "Lovelace" })).await?;
    }
    Ok(())
}

/// What there is of others, to be compared: records, diffs and writes.
async fn of_others(app: &TestApp) -> Outcome<Vec<Value>> {
    let mut names: Vec<String> = Vec::new();
    let mut all = Vec::new();
    for path in [
        "/crm/v1/prospects",
        "/v1/admin/data-diffs",
        "/v1/admin/logs/writes",
    ] {
        let page = get(app, path).await?;
        let rows = page["results"]["logs"]
            .as_array()
            .or(page["results"].as_array());
        for row in rows.into_iter().flatten() {
            let text = row.to_string();
            let is_theirs = text.contains("before ") || text.contains("after ");
            if is_theirs || names.iter().any(|name| text.contains(name.as_str())) {
                names.extend(row["id"].as_str().map(str::to_owned));
                all.push(row.clone());
            }
        }
    }
    Ok(all)
}

/// Has somebody subscribe to all that happens.
async fn subscribe(app: &TestApp) -> Outcome<WebhookId> {
    let (now, entropy) = (model_now(app), Seeded::default());
    let webhook = Webhook {
        id: WebhookId::new(now, &entropy),
        url: "https://receiver.example/".to_owned(),
        headers: Vec::new(),
        triggers: Trigger::ALL
            .iter()
            .map(|trigger| Subscribed {
                id: TriggerId::new(now, &entropy),
                trigger: *trigger,
                kind: None,
            })
            .collect(),
        active: true,
        system: System::Sandbox,
        object_style: Default::default(),
        integrations: None,
        secret: Secret::new("signing-secret"),
        previous: Vec::new(),
        failing_since: None,
        disabled: None,
        created_by: None,
        created_at: now,
        updated_at: now,
    };
    let id = webhook.id;
    app.store()?.webhook_create(&operator(), webhook).await?;
    Ok(id)
}

/// Claims all that is due for a subscription.
async fn claim(app: &TestApp, webhook_id: WebhookId) -> Outcome<Vec<ClaimedDelivery>> {
    let now = model_now(app);
    let claim = DeliveryClaim {
        lanes: vec![(webhook_id, 1_000)],
        now,
        lease_until: now.plus_millis(DAY_MS),
    };
    let mut lanes = app.store()?.deliveries_claim(claim).await?;
    Ok(lanes.pop().ok_or("it is active")?.deliveries)
}

/// The receiver takes an event, and answers with all that it was told.
async fn answer(app: &TestApp, one: &ClaimedDelivery) -> Outcome {
    let (now, event) = (model_now(app), one.event.as_ref().map_err(wrong)?);
    let finish = DeliveryFinish {
        ticket: one.ticket,
        attempt: DeliveryAttempt {
            number: one.ticket.attempt,
            started_at: now,
            duration_ms: Some(1),
            is_taken: true,
            error: None,
            status: Some(200),
            response: Some(format!("Got {}", json!(event.body()?))),
            response_is_cut: false,
        },
        verdict: DeliveryVerdict::Delivered,
        standing: Standing::Well,
        now,
    };
    app.store()?.delivery_finish(&finish).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forgotten_person_is_in_no_file_of_the_data_directory() -> Outcome {
    let mut app = TestApp::start(1).await?;
    // The test is the receiver, and who claims for it.
    app.silence().await;
    let webhook = subscribe(&app).await?;
    others(&app, "before").await?;
    let (id, failed) = lived_through(&app).await?;
    others(&app, "after").await?;
    // The receiver repeats what it is told; of half of it, it has not said so yet when the person is forgotten.
    let told = claim(&app, webhook).await?;
    let (late, early): (Vec<_>, Vec<_>) = told.iter().partition(|one| one.ticket.event % 2 == 0);
    for one in early {
        answer(&app, one).await?;
    }
    let is_told = |one: &&ClaimedDelivery| {
        let body = one.event.as_ref().ok().and_then(|event| event.body().ok());
        body.is_some_and(|body| json!(body).to_string().contains("harpsichord"))
    };
    assert!(told.iter().any(|one| is_told(&one)), "it is told of them");
    let found = traces(&app)?;
    for trace in TRACES {
        let is_there = found.iter().any(|one| one.starts_with(trace));
        // The contact's normal form is what is kept of an address in capitals.
        let may_lack = trace == "zephyrine@example.com";
        assert!(
            is_there || may_lack,
            "{trace} is nowhere: the test shows nothing"
        );
    }
    let kept = of_others(&app).await?;
    assert_eq!(kept.len(), 36, "a record, a diff and a write each");

    app.clock.advance_ms(MINUTE_MS);
    let (status, answer) = erase(&app, &id).await?;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(traces(&app)?, Vec::<String>::new());
    for one in late {
        self::answer(&app, one).await?;
    }
    assert_eq!(traces(&app)?, Vec::<String>::new(), "nor does it come back");
    let last = claim(&app, webhook).await?;
    let told: Vec<Value> = last
        .iter()
        .filter_map(|one| Some(json!(one.event.as_ref().ok()?.body().ok()?)))
        .collect();
    assert_eq!(told.len(), 1, "who was told of them is told");
    assert_eq!(told[0]["data"]["event"], "DATA_UPDATE");
    assert_eq!(told[0]["data"]["record_id"], id.as_str());
    let erased_at = &told[0]["data"]["diff"]["new"]["erased_at"];
    assert_eq!(erased_at, &answer["result"]["erased_at"]);
    let query = EventQuery {
        limit: 1_000,
        ..EventQuery::default()
    };
    for event in app
        .store()?
        .events_list(&operator().scope, &query)
        .await?
        .rows
    {
        let body = json!(event.body()?).to_string();
        assert!(!TRACES.iter().any(|trace| body.contains(trace)), "{body}");
    }
    let result = &answer["result"];
    assert_eq!(
        (&result["id"], &result["writes"], &result["records"]),
        (&json!(id), &json!(8), &json!(4)),
        "{result}"
    );
    assert_eq!(result["attempts"], 8);
    assert!(result["diffs"].as_u64().is_some_and(|diffs| diffs >= 2));
    assert!(of_others(&app).await? == kept);

    // Erasing again says the same, and nothing is left to be retried or written to.
    app.clock.advance_ms(MINUTE_MS);
    assert_eq!(erase(&app, &id).await?, (200, answer.clone()));
    let record = &get(&app, &format!("/crm/v1/prospects/{id}")).await?["results"];
    assert_eq!(record["erased_at"], result["erased_at"]);
    for member in [
        "email_1",
        "phone_1",
        "first_name",
        "notes",
        "x_id",
        "subscribe",
    ] {
        assert_eq!(record[member], Value::Null, "{record}");
    }
    let write = app.write_status(&failed).await?;
    assert_eq!(
        (&write["write_status"], &write["attempts"]),
        (&json!("FAILURE"), &json!(1))
    );
    let attempts = get(&app, &format!("/v1/admin/writes/{failed}/attempts")).await?;
    assert_eq!(attempts, json!({ "results": [] }));
    let retry = format!("/v1/admin/retry-write/{failed}");
    assert_eq!(app.send("POST", &retry, None).await?.0, 409);
    let change = format!("/crm/v1/prospects/knock/{id}");
    let body = json!({ "last_name": "Byron" });
    assert_eq!(app.send("PUT", &change, Some(body)).await?.0, 409);
    let consents = get(&app, &format!("/v1/admin/prospects/{id}/consents")).await?;
    assert_eq!(consents["meta"]["total"], 1);
    assert_eq!(consents["results"][0]["subscribe"], false);

    // Who comes again is somebody new, though the vendor knows the card.
    let again = app.prospect_body(0, "zq-later@example.com")?;
    let (_, new_id) = done(&app, "POST", "/crm/v1/prospects/knock", again).await?;
    assert_ne!(new_id, id);
    let new = &get(&app, &format!("/crm/v1/prospects/{new_id}")).await?["results"];
    assert_eq!(new["erased_at"], Value::Null);
    assert!(new["x_id"].is_string());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_forgotten_while_a_write_about_them_is_open() -> Outcome {
    let app = TestApp::start(1).await?;
    let (id, _) = lived_through(&app).await?;
    let down = json!({ "match": {}, "kind": "status", "status": 503 });
    app.vendors[0].control("POST", "/faults", down).await?;
    let open = app.prospect_create(0, "zq-later@example.com").await?;
    let before = get(&app, &format!("/crm/v1/prospects/{id}")).await?;
    let (status, answer) = erase(&app, &id).await?;
    let message = answer["error"]["message"].as_str().unwrap_or_default();
    assert!(
        status == 409 && message.contains(&open),
        "{status} {answer}"
    );
    assert_eq!(get(&app, &format!("/crm/v1/prospects/{id}")).await?, before);
    app.vendors[0]
        .control("DELETE", "/faults", Value::Null)
        .await?;
    app.ended_within(&open, MINUTE_MS, 60).await?;
    assert_eq!(erase(&app, &id).await?.0, 200);
    assert_eq!(traces(&app)?, Vec::<String>::new());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn consent_is_on_record_stated_or_not_and_may_be_required() -> Outcome {
    let app = TestApp::start(1).await?;
    let body = app.prospect_body(0, "ada@example.com")?;
    let path = "/crm/v1/prospects/knock";
    let (first, id) = done(&app, "POST", path, body.clone()).await?;
    let (second, _) = done(
        &app,
        "POST",
        path,
        with(body.clone(), json!({ "subscribe": false })),
    )
    .await?;
    // A refused write says nothing of whom it is about; its retry repeats what it said.
    app.vendors[0]
        .control("POST", "/faults", refuse_once())
        .await?;
    let null = with(body.clone(), json!({ "subscribe": null }));
    let (refused, _) = done(&app, "POST", path, null.clone()).await?;
    let retry = format!("/v1/admin/retry-write/{refused}");
    let (status, retried) = app.send("POST", &retry, None).await?;
    assert_eq!(status, 200, "{retried}");
    let retried = retried["job_id"].as_str().unwrap_or_default().to_owned();
    app.ended(&retried).await?;
    let page = get(&app, &format!("/v1/admin/prospects/{id}/consents")).await?;
    let shown: Vec<Value> = page["results"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|one| {
            json!([
                one["job_id"],
                one["subscribe"],
                one["is_stated"],
                one["repeats_job_id"],
                one["write_status"]
            ])
        })
        .collect();
    assert_eq!(
        shown,
        [
            json!([retried, true, false, refused, "SUCCESS"]),
            json!([second, false, true, null, "SUCCESS"]),
            json!([first, true, false, null, "SUCCESS"]),
        ]
    );
    let one = &page["results"][0];
    assert!(
        one["key_id"]
            .as_str()
            .is_some_and(|id| id.starts_with("key_"))
    );
    assert!(one["request_id"].as_str().is_some_and(|id| id.len() == 32));
    let part = get(
        &app,
        &format!("/v1/admin/prospects/{id}/consents?limit=1&offset=1"),
    )
    .await?;
    assert_eq!(part["results"], json!([page["results"][1]]));
    assert_eq!(
        (&part["meta"]["hasMore"], &part["meta"]["total"]),
        (&json!(true), &json!(3))
    );
    let nobody = app
        .send("GET", "/v1/admin/prospects/pro_0/consents", None)
        .await?;
    assert_eq!(nobody.0, 404);

    // A write that failed when the default did, and may not be retried with it when consent must be stated.
    app.vendors[0]
        .control("POST", "/faults", refuse_once())
        .await?;
    let (unsaid, _) = done(&app, "POST", path, body.clone()).await?;
    let setting = format!("/v1/admin/integrations/{}", app.vendors[0].integration_id);
    let required = json!({ "require_explicit_consent": true });
    assert_eq!(app.send("PUT", &setting, Some(required)).await?.0, 200);
    for path in [path, "/crm/v1/prospects"] {
        for silent in [&body, &null] {
            let broken = with(silent.clone(), json!({ "phone_1": "12" }));
            let (status, answer) = app.send("POST", path, Some(broken)).await?;
            let issues = answer["error"]["details"]["issues"].to_string();
            assert_eq!(status, 400, "{answer}");
            assert!(
                issues.contains("[\"subscribe\"]") && issues.contains("[\"phone_1\"]"),
                "{issues}"
            );
        }
    }
    let retry = format!("/v1/admin/retry-write/{unsaid}");
    assert_eq!(app.send("POST", &retry, None).await?.0, 400);
    let stated = with(body, json!({ "subscribe": true }));
    done(&app, "POST", path, stated).await?;
    Ok(())
}

fn model_now(app: &TestApp) -> model::Timestamp {
    model::Clock::now(&*app.clock)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_old_goes_and_its_rows_stay() -> Outcome {
    let app = TestApp::start(1).await?;
    let body = with(
        app.prospect_body(0, "ada@example.com")?,
        json!({ "notes": "Plays the harpsichord" }),
    );
    let (old, id) = done(&app, "POST", "/crm/v1/prospects/knock", body).await?;
    app.clock.advance_ms(20 * DAY_MS);
    let (young, _) = {
        let body = app.prospect_body(0, "bob@example.com")?;
        done(&app, "POST", "/crm/v1/prospects/knock", body).await?
    };
    let down = json!({ "match": {}, "kind": "status", "status": 503 });
    app.vendors[0].control("POST", "/faults", down).await?;
    let open = app.prospect_create(0, "eve@example.com").await?;
    let retention = Retention {
        writes_days: Some(30),
        attempts_days: Some(10),
    };
    let sweep = async || {
        retention
            .sweep(app.store()?, &*app.clock)
            .await
            .map_err(wrong)
    };
    let attempts = async |job_id: &str| -> Outcome<usize> {
        let all = get(&app, &format!("/v1/admin/writes/{job_id}/attempts")).await?;
        Ok(all["results"].as_array().map_or(0, Vec::len))
    };
    assert_eq!((attempts(&old).await?, attempts(&young).await?), (1, 1));
    let before = app.write_status(&old).await?;

    assert_eq!(sweep().await?, 1);
    assert_eq!((attempts(&old).await?, attempts(&young).await?), (0, 1));
    let parameters = async |job_id: &str| -> Outcome<Value> {
        let log = get(&app, "/v1/admin/logs/writes").await?;
        let logs = log["results"]["logs"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let mut line = logs.into_iter().find(|line| line["job_id"] == job_id);
        Ok(line.as_mut().ok_or("a line")?["parameters"].take())
    };
    assert_eq!(parameters(&old).await?["notes"], "Plays the harpsichord");
    assert_eq!(sweep().await?, 0);

    app.clock.advance_ms(11 * DAY_MS);
    assert_eq!(
        sweep().await?,
        2,
        "the old one's contents, the young one's attempts"
    );
    assert_eq!(parameters(&old).await?, Value::Null);
    assert_eq!(app.write_status(&old).await?, before);
    assert_eq!(parameters(&young).await?["email_1"], "bob@example.com");
    assert_eq!(attempts(&young).await?, 0);
    assert_eq!(parameters(&open).await?["email_1"], "eve@example.com");
    // The record, and what was agreed to, are not the write's.
    let record = get(&app, &format!("/crm/v1/prospects/{id}")).await?;
    assert_eq!(record["results"]["notes"], "Plays the harpsichord");
    let consents = get(&app, &format!("/v1/admin/prospects/{id}/consents")).await?;
    assert_eq!(consents["results"][0]["job_id"], old.as_str());
    Ok(())
}

//! Goal: what happened is told to whoever subscribes, whatever their receivers do. Method: the real parts on a clock that the test moves; receivers are real, on loopback, and do
//! what the test says.

use model::{
    EventId, Secret, Timestamp, WebhookId,
    webhook::{Change, Delivery, DeliveryStatus, ObjectStyle, Trigger, Webhook},
};
use serde_json::{Value, json};
use store::webhooks::{DeliveryQuery, Replay};
use testkit::{
    Outcome, SECRET, TestApp, operator,
    receiver::{Deed, Delivery as Came, TestReceiver},
    wrong,
};
use webhooks::signing::{Key, propexo_signature, signature};

const SECOND_MS: i64 = 1_000;
const MINUTE_MS: i64 = 60 * SECOND_MS;
const HOUR_MS: i64 = 60 * MINUTE_MS;
const DAY_MS: i64 = 24 * HOUR_MS;

/// Both ends of a write.
const ENDS: &[Trigger] = &[Trigger::WriteSuccess, Trigger::WriteFailure];

async fn came(app: &TestApp, receiver: &TestReceiver, count: usize) -> Outcome<Vec<Came>> {
    app.until(&format!("{count} deliveries"), async || {
        let taken = receiver.taken();
        Ok((taken.len() >= count).then_some(taken))
    })
    .await
}

async fn deliveries(app: &TestApp, id: WebhookId) -> Outcome<Vec<Delivery>> {
    let query = DeliveryQuery {
        webhook_id: id,
        status: None,
        after: None,
        limit: 1_000,
    };
    let page = app
        .store()?
        .deliveries_list(&operator().scope, &query)
        .await?;
    Ok(page.ok_or("no such webhook")?.rows)
}

async fn webhook(app: &TestApp, id: WebhookId) -> Outcome<Webhook> {
    let all = app.store()?.webhooks_all().await?;
    let found = all.into_iter().find(|one| one.id == id);
    found.ok_or_else(|| wrong("no such webhook"))
}

/// Waits until every delivery stands so, and nothing is under way.
async fn all_stand(app: &TestApp, id: WebhookId, status: DeliveryStatus, count: usize) -> Outcome {
    app.until(&format!("{count} deliveries {status}"), async || {
        let all = deliveries(app, id).await?;
        let stand = all.len() == count && all.iter().all(|one| one.status == status);
        Ok(stand.then_some(()))
    })
    .await
}

/// Waits until the only delivery waits for its next attempt after `attempts`, and returns how long it waits.
async fn waits_ms(app: &TestApp, id: WebhookId, attempts: u32) -> Outcome<u64> {
    use model::Clock as _;
    app.until(&format!("attempt {attempts} to fail"), async || {
        let all = deliveries(app, id).await?;
        let [one] = &all[..] else { return Ok(None) };
        let next = one
            .next_attempt_at
            .filter(|_| one.attempts == attempts && one.error.is_some());
        Ok(next.map(|at| at.millis_since(app.clock.now())))
    })
    .await
}

async fn write(app: &TestApp, email: &str) -> Outcome<Value> {
    let job_id = app.prospect_create(0, email).await?;
    app.ended(&job_id).await
}

async fn switch_on(app: &TestApp, id: WebhookId) -> Outcome {
    use model::Clock as _;
    let change = Change {
        active: Some(true),
        ..Change::default()
    };
    let now = app.clock.now();
    let store = app.store()?;
    let changed = store
        .webhook_change(&operator(), id, "webhook_update", change, now)
        .await?;
    changed.map(drop).ok_or_else(|| wrong("no such webhook"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_happened_is_told_signed_and_in_the_words_of_the_contract() -> Outcome {
    let app = TestApp::start(1).await?;
    let receiver = TestReceiver::start().await?;
    let id = app.subscribe(&receiver, Trigger::ALL).await?;
    let write = write(&app, "told@example.com").await?;
    let path = format!(
        "/v1/admin/integrations/{}/manual-sync",
        app.vendors[0].integration_id
    );
    app.send("POST", &path, None).await?;
    // The record, the end of the write, and of the synchronisation.
    let all = app
        .until("what a write and a synchronisation bring", async || {
            let all = receiver.taken();
            let jobs = |trigger: &str| -> Vec<Value> {
                let of_trigger = all.iter().filter(|one| one.trigger() == trigger);
                of_trigger
                    .map(|one| one.json()["data"]["root_job_id"].clone())
                    .collect()
            };
            // A run that ends well is told as a job too, and that comes last. The first run may have
            // ended before or after the subscription.
            let well = jobs("JOB_SUCCESS");
            let runs = jobs("SYNC_COMPLETE");
            let is_whole = !jobs("WRITE_OPERATION_SUCCESS").is_empty()
                && !runs.is_empty()
                && runs.iter().all(|job| well.contains(job));
            Ok(is_whole.then_some(all))
        })
        .await?;
    for one in &all {
        let (event, time) = (one.header("webhook-id"), one.header("webhook-timestamp"));
        assert!(event.parse::<EventId>().is_ok(), "{event}");
        let secret = Secret::new(SECRET);
        let expected = signature(&[Key::new(&secret)], event, time.parse()?, &one.body);
        assert_eq!(one.header("webhook-signature"), expected);
        let expected = propexo_signature(&secret, &one.body);
        assert_eq!(one.header("propexo-signature"), expected);
        assert_eq!(one.header("content-type"), "application/json");
        assert_eq!(one.json()["meta"]["event_id"], event);
    }
    let told = |trigger: &str| {
        let one = all.iter().find(|one| {
            one.trigger() == trigger && one.json()["meta"]["object"] != "crm_attributions"
        });
        one.map(Came::json).unwrap_or_default()
    };
    let new = told("DATA_NEW");
    assert_eq!(new["data"]["payload"]["email_1"], "told@example.com");
    assert_eq!(new["data"]["record_id"], write["created_record_id"]);
    insta::with_settings!({ filters => vec![
        (r#""(int|com|att|agt|pro|job|evt)_[0-9a-z]{26}""#, r#""$1_...""#),
        (r#""\d{4}-\d\d-\d\dT[0-9:.]+Z""#, r#""<time>""#),
        (r#""x_id": "\d+""#, r#""x_id": "<x_id>""#),
        (r#""x_community_id": "[^"]+""#, r#""x_community_id": "<x_community_id>""#),
    ] }, {
        insta::assert_json_snapshot!("told", [new, told("WRITE_OPERATION_SUCCESS"), told("SYNC_COMPLETE")]);
    });
    // An event has its delivery since it was stored, also while that is still under way.
    let count = deliveries(&app, id).await?.len();
    all_stand(&app, id, DeliveryStatus::Delivered, count).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_model_of_a_record_is_written_as_the_receiver_wants_it() -> Outcome {
    let app = TestApp::start(1).await?;
    let receiver = TestReceiver::start().await?;
    let id = app.subscribe(&receiver, &[Trigger::DataNew]).await?;
    for (style, email, object) in [
        (ObjectStyle::Dash, "dash@example.com", "crm-prospects"),
        (
            ObjectStyle::Underscore,
            "underscore@example.com",
            "crm_prospects",
        ),
    ] {
        let path = format!("/v1/webhooks/{id}");
        let change = json!({ "object_style": style });
        let (status, answer) = app.send("PUT", &path, Some(change)).await?;
        assert_eq!(
            (status, &answer["result"]["object_style"]),
            (200, &json!(style))
        );
        write(&app, email).await?;
        let told = app
            .until("the event of the record", async || {
                let mut all = receiver.taken().into_iter().map(|one| one.json());
                Ok(all.find(|one| one["payload"]["email_1"] == email))
            })
            .await?;
        let places = [
            &told["object"],
            &told["data"]["object"],
            &told["meta"]["object"],
        ];
        assert_eq!(places, [object; 3], "{told}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_is_tried_on_schedule_under_one_id_until_it_is_given_up_and_can_be_replayed()
-> Outcome {
    let app = TestApp::start(1).await?;
    let receiver = TestReceiver::start().await?;
    let id = app.subscribe(&receiver, ENDS).await?;
    receiver.always(Deed::Says(500, "out of order".to_owned()));
    write(&app, "tried@example.com").await?;
    let waits = [
        5 * SECOND_MS,
        5 * MINUTE_MS,
        30 * MINUTE_MS,
        2 * HOUR_MS,
        5 * HOUR_MS,
        10 * HOUR_MS,
        14 * HOUR_MS,
        20 * HOUR_MS,
        24 * HOUR_MS,
    ];
    for (failed, about) in (1..).zip(waits) {
        let wait = i64::try_from(waits_ms(&app, id, failed).await?)?;
        assert!(
            (about..=about + about / 5).contains(&wait),
            "{wait} for {about}"
        );
        app.clock.advance_ms(wait);
    }
    all_stand(&app, id, DeliveryStatus::Failed, 1).await?;
    let tried = receiver.taken();
    assert_eq!(tried.len(), 10);
    let first = tried[0].header("webhook-id");
    let times: Vec<&str> = tried
        .iter()
        .map(|one| one.header("webhook-timestamp"))
        .collect();
    assert!(times.is_sorted_by(|a, b| a < b), "{times:?}");
    assert!(
        tried
            .iter()
            .all(|one| one.header("webhook-id") == first && one.body == tried[0].body)
    );
    let event: EventId = first.parse()?;
    let attempts = app
        .store()?
        .delivery_attempts_list(&operator().scope, id, event)
        .await?
        .ok_or("no such delivery")?;
    assert_eq!(attempts.len(), 10);
    assert_eq!(attempts[9].status, Some(500));
    assert_eq!(attempts[9].response.as_deref(), Some("out of order"));

    receiver.always(Deed::Status(200));
    replay(&app, id, Replay::Failed, 1).await?;
    all_stand(&app, id, DeliveryStatus::Delivered, 1).await?;
    replay(&app, id, Replay::Event(event), 1).await?;
    let all = came(&app, &receiver, 12).await?;
    assert!(all.iter().all(|one| one.header("webhook-id") == first));
    Ok(())
}

async fn replay(app: &TestApp, id: WebhookId, replay: Replay, count: u64) -> Outcome {
    use model::Clock as _;
    let store = app.store()?;
    let done = store
        .deliveries_replay(&operator(), id, replay, 0, 1_000, app.clock.now())
        .await?;
    assert_eq!(done.map(|done| done.count), Some(count));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_is_busy_is_left_alone_as_long_as_it_asks() -> Outcome {
    let app = TestApp::start(1).await?;
    let receiver = TestReceiver::start().await?;
    let id = app.subscribe(&receiver, ENDS).await?;
    receiver.next([Deed::Busy(503, 120)]);
    write(&app, "busy@example.com").await?;
    let wait = waits_ms(&app, id, 1).await?;
    assert!(wait >= 120_000, "{wait}");
    write(&app, "another@example.com").await?;
    app.clock.advance_ms(60 * SECOND_MS);
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    assert_eq!(receiver.taken().len(), 1, "nor is it sent anything else");
    app.clock.advance_ms(62 * SECOND_MS);
    all_stand(&app, id, DeliveryStatus::Delivered, 2).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_is_gone_is_switched_off_and_its_events_wait() -> Outcome {
    let app = TestApp::start(1).await?;
    let receiver = TestReceiver::start().await?;
    let id = app.subscribe(&receiver, ENDS).await?;
    receiver.next([Deed::Status(410)]);
    write(&app, "gone@example.com").await?;
    let disabled = app
        .until("it to be switched off", async || {
            Ok(webhook(&app, id).await?.disabled)
        })
        .await?;
    assert!(disabled.reason.contains("410"), "{}", disabled.reason);
    assert!(!webhook(&app, id).await?.active);
    write(&app, "meanwhile@example.com").await?;
    app.clock.advance_ms(DAY_MS);
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    assert_eq!(receiver.taken().len(), 1);
    switch_on(&app, id).await?;
    all_stand(&app, id, DeliveryStatus::Delivered, 2).await?;
    assert!(webhook(&app, id).await?.disabled.is_none());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_says_gone_for_a_receiver_is_believed_after_six_hours() -> Outcome {
    let app = TestApp::start(1).await?;
    let receiver = TestReceiver::start().await?;
    let id = app.subscribe(&receiver, ENDS).await?;
    receiver.always(Deed::Says(410, "<html><h1>Gone</h1></html>".to_owned()));
    write(&app, "gone@example.com").await?;
    // Some eight hours in all. Before the last of these attempts it has not said so for six.
    for attempts in 1..=5 {
        let wait = waits_ms(&app, id, attempts).await?;
        assert!(webhook(&app, id).await?.active, "{attempts}");
        app.clock.advance_ms(i64::try_from(wait)?);
    }
    let disabled = app
        .until("it to be switched off", async || {
            Ok(webhook(&app, id).await?.disabled)
        })
        .await?;
    assert!(disabled.reason.contains("410"), "{}", disabled.reason);
    assert_eq!(receiver.taken().len(), 6);
    receiver.always(Deed::Status(204));
    // While it is off nothing is claimed: what is under a lease is not replayed.
    replay(&app, id, Replay::Since(Timestamp::ZERO), 1).await?;
    switch_on(&app, id).await?;
    all_stand(&app, id, DeliveryStatus::Delivered, 1).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deploy_during_which_a_receiver_seems_gone_costs_nothing() -> Outcome {
    let app = TestApp::start(1).await?;
    let receiver = TestReceiver::start().await?;
    let id = app.subscribe(&receiver, ENDS).await?;
    let page = || Deed::Says(410, "<html><h1>Gone</h1></html>".to_owned());
    receiver.next([page(), page()]);
    write(&app, "deploy@example.com").await?;
    for attempts in 1..=2 {
        let wait = waits_ms(&app, id, attempts).await?;
        app.clock.advance_ms(i64::try_from(wait)?);
    }
    all_stand(&app, id, DeliveryStatus::Delivered, 1).await?;
    assert!(webhook(&app, id).await?.active);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_fails_for_five_days_is_switched_off_and_loses_nothing() -> Outcome {
    let app = TestApp::start(1).await?;
    let receiver = TestReceiver::start().await?;
    let id = app.subscribe(&receiver, ENDS).await?;
    receiver.always(Deed::Status(500));
    let mut count = 0;
    for day in 0..7 {
        if !webhook(&app, id).await?.active {
            break;
        }
        assert!(day < 6, "it is switched off by then");
        count += 1;
        write(&app, &format!("day{day}@example.com")).await?;
        let seen = receiver.taken().len();
        app.clock.advance_ms(DAY_MS);
        app.until("an attempt", async || {
            // What failed just before the day was over is due again a little later.
            app.clock.advance_ms(SECOND_MS);
            Ok((receiver.taken().len() > seen).then_some(()))
        })
        .await?;
        // What the attempt brings is recorded after it.
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let stopped = webhook(&app, id).await?;
    let reason = stopped.disabled.ok_or("it is switched off")?.reason;
    assert!(
        reason.contains("for 5 days") && reason.contains("500"),
        "{reason}"
    );
    count += 1;
    write(&app, "after@example.com").await?;
    receiver.always(Deed::Status(200));
    switch_on(&app, id).await?;
    // What was given up by then is replayed.
    let failed = deliveries(&app, id).await?;
    let failed = failed
        .iter()
        .filter(|one| one.status == DeliveryStatus::Failed)
        .count();
    replay(&app, id, Replay::Failed, u64::try_from(failed)?).await?;
    all_stand(&app, id, DeliveryStatus::Delivered, count).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_hangs_delays_no_other() -> Outcome {
    let app = TestApp::start(1).await?;
    let (slow, quick) = (TestReceiver::start().await?, TestReceiver::start().await?);
    slow.always(Deed::Hang);
    app.subscribe(&slow, ENDS).await?;
    let id = app.subscribe(&quick, ENDS).await?;
    for n in 0..50 {
        app.prospect_create(0, &format!("p{n}@example.com")).await?;
    }
    all_stand(&app, id, DeliveryStatus::Delivered, 50).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_under_way_at_a_stop_is_sent_again_under_the_same_id() -> Outcome {
    let mut app = TestApp::start(1).await?;
    let receiver = TestReceiver::start().await?;
    let id = app.subscribe(&receiver, ENDS).await?;
    receiver.next([Deed::Hang]);
    write(&app, "cut@example.com").await?;
    came(&app, &receiver, 1).await?;
    // It hangs for longer than the app waits for it.
    app.stop().await;
    app.resume().await?;
    app.leases_outlive()?;
    let all = came(&app, &receiver, 2).await?;
    assert_eq!(all[0].header("webhook-id"), all[1].header("webhook-id"));
    all_stand(&app, id, DeliveryStatus::Delivered, 1).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_one_secret_replaces_another_both_sign() -> Outcome {
    use model::Clock as _;
    let app = TestApp::start(1).await?;
    let receiver = TestReceiver::start().await?;
    let id = app.subscribe(&receiver, ENDS).await?;
    let (old, new) = (Secret::new(SECRET), Secret::new("a secret of their own"));
    let change = Change {
        secret: Some((new.clone(), app.clock.now().plus_millis(DAY_MS))),
        ..Change::default()
    };
    let now = app.clock.now();
    let store = app.store()?;
    store
        .webhook_change(&operator(), id, "webhook_update", change, now)
        .await?;
    let expected = |one: &Came, secrets: &[&Secret]| -> Outcome<String> {
        let keys: Vec<Key> = secrets.iter().map(|secret| Key::new(secret)).collect();
        let time = one.header("webhook-timestamp").parse()?;
        Ok(signature(&keys, one.header("webhook-id"), time, &one.body))
    };
    write(&app, "both@example.com").await?;
    let all = came(&app, &receiver, 1).await?;
    let both = expected(&all[0], &[&new, &old])?;
    assert_eq!(all[0].header("webhook-signature"), both);
    assert_eq!(
        all[0].header("propexo-signature"),
        propexo_signature(&new, &all[0].body)
    );
    app.clock.advance_ms(DAY_MS + SECOND_MS);
    write(&app, "new@example.com").await?;
    let all = came(&app, &receiver, 2).await?;
    let one = expected(&all[1], &[&new])?;
    assert_eq!(all[1].header("webhook-signature"), one);
    Ok(())
}

/// Makes a webhook over the API, as a key does.
async fn made_with(app: &TestApp, token: &str, receiver: &TestReceiver) -> Outcome<String> {
    let body = json!({
        "url": receiver.url, "active": true, "triggers": ["WRITE_OPERATION_SUCCESS"],
    });
    let (status, made) = app
        .send_as(token, "POST", "/v1/webhooks", &[], Some(body))
        .await?;
    match made["result"]["id"].as_str() {
        Some(id) if status == 200 => Ok(id.to_owned()),
        _ => Err(wrong(made)),
    }
}

async fn shown(app: &TestApp, id: &str) -> Outcome<Value> {
    let (status, found) = app.send("GET", &format!("/v1/webhooks/{id}"), None).await?;
    assert_eq!(status, 200, "{found}");
    Ok(found["result"].clone())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_ends_with_the_key_that_made_it() -> Outcome {
    use model::Clock as _;
    let app = TestApp::start(1).await?;
    let receiver = TestReceiver::start().await?;
    let (key, token) = app.key(&["webhooks:admin"], json!({})).await?;
    let until = app.clock.now().plus_millis(MINUTE_MS).to_string();
    let expires = json!({ "expires_at": until });
    let (short, short_token) = app.key(&["webhooks:admin"], expires).await?;
    let id = made_with(&app, &token, &receiver).await?;
    assert_eq!(shown(&app, &id).await?["created_by"], key);
    write(&app, "one@example.com").await?;
    came(&app, &receiver, 1).await?;

    let (status, revoked) = app
        .send("DELETE", &format!("/v1/admin/keys/{key}"), None)
        .await?;
    assert_eq!(status, 200, "{revoked}");
    assert_eq!(revoked["webhooks"], json!({ "disabled": [id], "kept": [] }));
    let off = shown(&app, &id).await?;
    assert_eq!(off["active"], false);
    let why = off["disabled_reason"].as_str().unwrap_or_default();
    assert!(why.contains(&key), "{why}");
    // What happens meanwhile waits, and comes when another key answers for it.
    write(&app, "two@example.com").await?;
    let waiting = deliveries(&app, id.parse()?).await?;
    assert_eq!(waiting[0].status, DeliveryStatus::Pending);
    assert_eq!((waiting[0].attempts, receiver.taken().len()), (0, 1));
    let path = format!("/v1/webhooks/{id}");
    let on = Some(json!({ "active": true }));
    let (status, adopted) = app.send_as(&short_token, "PUT", &path, &[], on).await?;
    assert_eq!(
        (status, &adopted["result"]["created_by"]),
        (200, &json!(short))
    );
    came(&app, &receiver, 2).await?;

    // That one expires.
    app.clock.advance_ms(MINUTE_MS);
    app.until("the webhook is off", async || {
        Ok((shown(&app, &id).await?["active"] == false).then_some(()))
    })
    .await?;
    let why = shown(&app, &id).await?["disabled_reason"].clone();
    assert!(
        why.as_str().unwrap_or_default().contains("expired"),
        "{why}"
    );
    write(&app, "three@example.com").await?;
    assert_eq!(deliveries(&app, id.parse()?).await?[0].attempts, 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_goes_on_where_that_is_said() -> Outcome {
    let app = TestApp::start(1).await?;
    let receiver = TestReceiver::start().await?;
    let (kept_key, token) = app.key(&["webhooks:admin"], json!({})).await?;
    let kept = made_with(&app, &token, &receiver).await?;
    let (adopted_key, token) = app.key(&["webhooks:admin"], json!({})).await?;
    let adopted = made_with(&app, &token, &receiver).await?;
    let adopt = Some(json!({ "adopt": true }));
    let (status, answer) = app
        .send("PUT", &format!("/v1/webhooks/{adopted}"), adopt)
        .await?;
    assert_eq!(status, 200, "{answer}");
    for (key, query, told) in [
        (
            &kept_key,
            "?keep_webhooks=true",
            json!({ "disabled": [], "kept": [kept] }),
        ),
        (&adopted_key, "", json!({ "disabled": [], "kept": [] })),
    ] {
        let path = format!("/v1/admin/keys/{key}{query}");
        let (status, revoked) = app.send("DELETE", &path, None).await?;
        assert_eq!((status, &revoked["webhooks"]), (200, &told), "{revoked}");
    }
    let (_, log) = app.send("GET", "/v1/admin/audit-log", None).await?;
    let entries = log["results"].as_array().ok_or("a list")?;
    let told = entries
        .iter()
        .find(|one| one["subject_id"] == kept_key.as_str());
    let told = told.ok_or("an entry")?;
    assert_eq!(told["after"]["kept_webhooks"], json!([kept]), "{told}");
    write(&app, "one@example.com").await?;
    came(&app, &receiver, 2).await?;
    Ok(())
}

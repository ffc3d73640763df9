//! Goal: whoever sets the clock, ahead or back, neither keeps a write waiting nor makes anything
//! old. Method: the whole app on a clock that the test moves and sets.

use std::time::Duration;

use connectors::sandbox::{Fault, FaultKind};
use futures_util::future::try_join_all;
use model::{
    Clock as _, Secret,
    webhook::{Change, DeliveryStatus, Trigger},
};
use serde_json::{Value, json};
use store::{Registration, webhooks::DeliveryQuery};
use testkit::{
    Outcome, SECRET, TestApp, operator,
    receiver::{Deed, TestReceiver},
    wrong,
};

const SECOND_MS: i64 = 1_000;
const MINUTE_MS: i64 = 60 * SECOND_MS;
const HOUR_MS: i64 = 60 * MINUTE_MS;
const DAY_MS: i64 = 24 * HOUR_MS;
const YEAR_MS: i64 = 365 * DAY_MS;

/// The clock is set by these, one after the other, before and after what is tried.
const JUMPS: [(&str, i64, i64); 7] = [
    ("back by five minutes", 0, -5 * MINUTE_MS),
    ("back by an hour", 0, -HOUR_MS),
    ("back from ten years ahead", 10 * YEAR_MS, -10 * YEAR_MS),
    ("ahead by a minute", 0, MINUTE_MS),
    ("ahead by a day", 0, DAY_MS),
    ("ahead by five days", 0, 5 * DAY_MS),
    ("ahead by ten years", 0, 10 * YEAR_MS),
];

/// Runs `case` for each of the [`JUMPS`], all at once: mostly they wait.
async fn at_each_jump(case: impl AsyncFn(&'static str, i64, i64) -> Outcome) -> Outcome {
    try_join_all(JUMPS.map(|(what, before, jump)| case(what, before, jump))).await?;
    Ok(())
}

fn unavailable() -> Fault {
    Fault {
        status: Some(503),
        ..Fault::new(FaultKind::Status)
    }
}

/// Waits until a write has been tried `attempts` times, and waits for the next.
async fn tried(app: &TestApp, job_id: &str, attempts: u64) -> Outcome<Value> {
    app.until(&format!("attempt {attempts} of {job_id}"), async || {
        let write = app.write_status(job_id).await?;
        let is_waiting = write["attempts"] == attempts
            && !write["next_attempt_at"].is_null()
            && !write["errors"].as_array().is_none_or(Vec::is_empty);
        Ok(is_waiting.then_some(write))
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_write_waits_longer_than_the_delay_that_was_drawn() -> Outcome {
    at_each_jump(async |what, before, jump| {
        let app = TestApp::start(1).await?;
        app.clock.set_by_ms(before);
        let sandbox = &app.vendors[0].sandbox;
        sandbox.add_fault(unavailable());
        let job_id = app.prospect_create(0, "waits@example.com").await?;
        let write = tried(&app, &job_id, 1).await?;
        let wait = |write: &Value| -> Outcome<i64> {
            let at = write["next_attempt_at"].as_str().ok_or("a time")?;
            let at = model::Timestamp::parse(at)?.as_micros();
            Ok(at - app.clock.now().as_micros())
        };
        let drawn = wait(&write)?;
        assert!((0..=SECOND_MS * 1_000).contains(&drawn), "{what}: {drawn}");
        app.clock.set_by_ms(jump);
        let shown = wait(&app.write_status(&job_id).await?)?;
        assert_eq!(shown, drawn, "{what}: the time that is shown moves along");
        // Nothing is due earlier or later for it.
        let asked = sandbox.counts().requests;
        tokio::time::sleep(Duration::from_millis(50)).await;
        if drawn > 0 {
            assert_eq!(sandbox.counts().requests, asked, "{what}");
        }
        sandbox.clear_faults();
        app.clock.advance_ms(drawn / 1_000 + 1);
        let write = app.ended(&job_id).await?;
        assert_eq!(write["write_status"], "SUCCESS", "{what}: {write}");
        // What is accepted now goes at once.
        let job_id = app.prospect_create(0, "new@example.com").await?;
        let write = app.ended(&job_id).await?;
        assert_eq!(write["write_status"], "SUCCESS", "{what}: {write}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pace_and_a_pause_last_as_long_as_they_would_have() -> Outcome {
    at_each_jump(async |what, before, jump| {
        let app = TestApp::start(1).await?;
        app.clock.set_by_ms(before);
        let contents = app.store()?.directory_contents(0).await?;
        let branch = contents.branches.into_iter().next();
        let mut integration = branch.ok_or("an integration")?.integration;
        integration.settings.max_request_frequency = Some(60);
        integration.updated_at = app.clock.now();
        let registration = Registration {
            integration,
            communities: Vec::new(),
            attributions: Vec::new(),
            agents: Vec::new(),
        };
        app.store()?
            .integration_register(&operator(), registration, app.clock.now())
            .await?;
        let mut jobs = Vec::new();
        for n in 0..10 {
            jobs.push(app.prospect_create(0, &format!("p{n}@example.com")).await?);
        }
        app.ended(&jobs[0]).await?;
        app.clock.set_by_ms(jump);
        // One a second, and the calls of synchronisation beside them.
        for job_id in &jobs {
            let write = app.ended_within(job_id, SECOND_MS, 60).await?;
            assert_eq!(write["write_status"], "SUCCESS", "{what}: {write}");
            assert_eq!(write["attempts"], 1, "{what}: {write}");
        }
        assert_eq!(app.vendors[0].sandbox.counts().prospects, 10, "{what}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_under_way_is_not_made_twice() -> Outcome {
    at_each_jump(async |what, before, jump| {
        let app = TestApp::start(1).await?;
        app.clock.set_by_ms(before);
        let sandbox = &app.vendors[0].sandbox;
        sandbox.add_fault(Fault {
            latency_ms: Some(1_000),
            ..Fault::new(FaultKind::Latency)
        });
        let job_id = app.prospect_create(0, "slow@example.com").await?;
        app.until("the call to be under way", async || {
            let write = app.write_status(&job_id).await?;
            Ok((write["attempts"] == 1).then_some(()))
        })
        .await?;
        app.clock.set_by_ms(jump);
        // A sweep looks at the leases meanwhile.
        app.clock.advance_ms(6 * SECOND_MS);
        let write = app.ended(&job_id).await?;
        assert_eq!(write["write_status"], "SUCCESS", "{what}: {write}");
        assert_eq!(write["attempts"], 1, "{what}: {write}");
        assert_eq!(sandbox.counts().prospects, 1, "{what}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delivery_and_a_run_of_synchronisation_come_when_they_were_due() -> Outcome {
    at_each_jump(async |what, before, jump| {
        let app = TestApp::start(1).await?;
        app.clock.set_by_ms(before);
        let runs = async || -> Outcome<usize> {
            let (_, answer) = app.send("GET", "/v1/admin/logs/jobs", None).await?;
            let logs = answer["results"]["logs"].as_array().cloned();
            let logs = logs.unwrap_or_default();
            Ok(logs.iter().filter(|one| one["status"] == "SUCCESS").count())
        };
        app.until("the first run", async || {
            Ok((runs().await? == 1).then_some(()))
        })
        .await?;
        let receiver = TestReceiver::start().await?;
        let id = app.subscribe(&receiver, &[Trigger::WriteSuccess]).await?;
        receiver.next([Deed::Status(500)]);
        let job_id = app.prospect_create(0, "told@example.com").await?;
        app.ended(&job_id).await?;
        let delivery = async || -> Outcome<model::webhook::Delivery> {
            let query = DeliveryQuery {
                webhook_id: id,
                status: None,
                after: None,
                limit: 10,
            };
            let page = app
                .store()?
                .deliveries_list(&operator().scope, &query)
                .await?;
            let one = page.and_then(|page| page.rows.into_iter().next());
            one.ok_or_else(|| wrong("a delivery"))
        };
        app.until("the first attempt to fail", async || {
            let one = delivery().await?;
            Ok((one.error.is_some() && one.next_attempt_at.is_some()).then_some(()))
        })
        .await?;
        app.clock.set_by_ms(jump);
        let next_at = delivery().await?.next_attempt_at.ok_or("a next attempt")?;
        let wait = next_at.millis_since(app.clock.now());
        assert!(wait <= 10 * MINUTE_MS.unsigned_abs(), "{what}: {wait}");
        app.clock.advance_ms(i64::try_from(wait)? + 1);
        app.until("the event to be taken", async || {
            let is_taken = delivery().await?.status == DeliveryStatus::Delivered;
            Ok(is_taken.then_some(()))
        })
        .await?;
        assert_eq!(runs().await?, 1, "{what}: no run before its time");
        app.clock.advance_ms(12 * HOUR_MS);
        app.until("the second run", async || {
            app.clock.advance_ms(MINUTE_MS);
            Ok((runs().await? >= 2).then_some(()))
        })
        .await?;
        Ok(())
    })
    .await
}

/// What a jump ahead could make old: an idempotency key, a pending event, a subscription whose
/// receiver fails, a write that the vendor does not take, and an API key.
struct Aging {
    app: TestApp,
    receiver: TestReceiver,
    webhook_id: model::WebhookId,
    body: Value,
    job_id: String,
}

impl Aging {
    async fn begin() -> Outcome<Self> {
        let app = TestApp::start(1).await?;
        let receiver = TestReceiver::start().await?;
        receiver.always(Deed::Status(500));
        let webhook_id = app.subscribe(&receiver, &[Trigger::WriteSuccess]).await?;
        let taken = app.prospect_create(0, "taken@example.com").await?;
        app.ended(&taken).await?;
        app.until("its event to be refused", async || {
            Ok((!receiver.taken().is_empty()).then_some(()))
        })
        .await?;
        app.vendors[0].sandbox.add_fault(unavailable());
        let body = app.prospect_body(0, "once@example.com")?;
        let mut this = Self {
            app,
            receiver,
            webhook_id,
            body,
            job_id: String::new(),
        };
        this.job_id = this.ask().await?;
        tried(&this.app, &this.job_id, 1).await?;
        Ok(this)
    }

    /// Sends the write under its key. Returns which write that is.
    async fn ask(&self) -> Outcome<String> {
        let headers = [("idempotency-key", "the-same")];
        let body = Some(self.body.clone());
        let path = "/crm/v1/prospects/knock";
        let (status, answer) = self.app.send_with("POST", path, &headers, body).await?;
        match answer["meta"]["job_id"].as_str() {
            Some(job_id) if status == 200 => Ok(job_id.to_owned()),
            _ => Err(wrong(answer)),
        }
    }

    /// Sweeps as a server does. Returns how many keys and events were removed.
    async fn sweep(&self) -> Outcome<(u64, u64)> {
        let (store, settled) = (self.app.store()?, self.app.clock.settled());
        let keys = store.idempotency_sweep(settled, 100).await?;
        let before = settled.plus_millis(-30 * DAY_MS);
        Ok((keys, store.events_sweep(before, 100).await?))
    }

    /// Has one more attempt of the write and of the delivery made. Returns how the write stands then.
    ///
    /// Time moves only while nothing is under way or due: else an attempt's lease could lapse before
    /// its call, and the attempt would end without one.
    async fn again(&self) -> Outcome<Value> {
        let (count, came) = (
            self.app.write_status(&self.job_id).await?["attempts"].clone(),
            self.receiver.taken().len(),
        );
        self.app
            .until("another attempt of each", async || {
                let write = self.app.write_status(&self.job_id).await?;
                let write_due = match write["next_attempt_at"].as_str() {
                    Some(at) => Some(model::Timestamp::parse(at)?),
                    None if write["write_status"] == "PENDING" => return Ok(None),
                    None => None,
                };
                let Some(delivery_due) = self.next_delivery_at().await? else {
                    return Ok(None);
                };
                let now = self.app.clock.now();
                let mut due = [write_due, delivery_due].into_iter().flatten();
                if due.any(|at| at <= now) {
                    return Ok(None);
                }
                let is_tried = write["attempts"] != count;
                let is_sent = self.receiver.taken().len() > came;
                let next_at = match (is_tried, is_sent) {
                    (true, true) => return Ok(Some(write)),
                    (false, _) => write_due,
                    (true, false) => delivery_due,
                };
                if let Some(next_at) = next_at {
                    let wait = next_at.millis_since(now);
                    self.app.clock.advance_ms(i64::try_from(wait)? + 1);
                }
                Ok(None)
            })
            .await
    }

    /// When the next delivery is due, if one is. Nothing while one is under way.
    async fn next_delivery_at(&self) -> Outcome<Option<Option<model::Timestamp>>> {
        // Those of a subscription that is not active are due at no time.
        let is_active = self.is_active().await?;
        let query = DeliveryQuery {
            webhook_id: self.webhook_id,
            status: Some(DeliveryStatus::Pending),
            after: None,
            limit: 10,
        };
        let page = self
            .app
            .store()?
            .deliveries_list(&operator().scope, &query)
            .await?;
        let rows = page.map(|page| page.rows).unwrap_or_default();
        let due: Vec<_> = rows.into_iter().map(|one| one.next_attempt_at).collect();
        let is_under_way = is_active && due.contains(&None);
        Ok((!is_under_way).then(|| due.into_iter().flatten().min()))
    }

    async fn is_active(&self) -> Outcome<bool> {
        let found = self
            .app
            .store()?
            .webhook_find(&operator().scope, self.webhook_id)
            .await?;
        Ok(found.ok_or("the subscription")?.active)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_jump_ahead_makes_nothing_old_until_it_is_confirmed() -> Outcome {
    let jumps = [MINUTE_MS, DAY_MS, 5 * DAY_MS, 40 * DAY_MS, 10 * YEAR_MS];
    let case = async |jump: i64| -> Outcome {
        let aging = Aging::begin().await?;
        let app = &aging.app;
        app.clock.set_by_ms(jump);
        assert_eq!(aging.sweep().await?, (0, 0), "{jump}");
        assert_eq!(aging.ask().await?, aging.job_id, "{jump}");
        let write = aging.again().await?;
        assert_eq!(write["write_status"], "PENDING", "{jump}: {write}");
        assert!(aging.is_active().await?, "{jump}");
        // Confirmed, it was rightly set: what is old enough by it is old.
        app.clock.accept();
        let is_old = |days: i64| jump >= days * DAY_MS;
        let write = aging.again().await?;
        let status = if is_old(3) { "FAILURE" } else { "PENDING" };
        assert_eq!(write["write_status"], status, "{jump}: {write}");
        app.until("the subscription to be as it should", async || {
            Ok((aging.is_active().await? != is_old(5)).then_some(()))
        })
        .await?;
        assert_eq!(aging.ask().await? != aging.job_id, is_old(2), "{jump}");
        let (_, events) = aging.sweep().await?;
        assert_eq!(events > 0, is_old(30), "{jump}");
        Ok(())
    };
    try_join_all(jumps.map(case)).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn as_much_steady_time_confirms_a_jump_ahead() -> Outcome {
    let aging = Aging::begin().await?;
    let app = &aging.app;
    app.clock.set_by_ms(2 * DAY_MS + HOUR_MS);
    assert_eq!(aging.ask().await?, aging.job_id);
    // Two days by both clocks are not yet two days by the jump.
    app.clock.advance_ms(DAY_MS);
    assert_eq!(aging.sweep().await?, (0, 0));
    assert_eq!(aging.ask().await?, aging.job_id);
    app.clock.advance_ms(DAY_MS + 2 * HOUR_MS);
    assert_eq!(aging.sweep().await?.0, 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_overlap_of_secrets_and_of_tokens_lasts_over_a_jump_ahead() -> Outcome {
    let app = TestApp::start(1).await?;
    let receiver = TestReceiver::start().await?;
    let id = app.subscribe(&receiver, &[Trigger::WriteSuccess]).await?;
    let now = app.clock.now();
    let change = Change {
        secret: Some((Secret::new("another secret"), now.plus_millis(DAY_MS))),
        ..Change::default()
    };
    let store = app.store()?;
    store
        .webhook_change(&operator(), id, "webhook_update", change, now)
        .await?;
    let (status, made) = app
        .send(
            "POST",
            "/v1/admin/keys",
            Some(json!({ "name": "k", "permissions": ["writes:admin"], "system": "SANDBOX" })),
        )
        .await?;
    assert_eq!(status, 200, "{made}");
    let key = made["result"]["id"].as_str().ok_or("an id")?;
    let path = format!("/v1/admin/keys/{key}/rotate?overlap_s=3600");
    let (status, rotated) = app.send("POST", &path, None).await?;
    assert_eq!(status, 200, "{rotated}");
    let takes = async |token: &Value| -> Outcome<bool> {
        app.takes(token.as_str().ok_or("a token")?).await
    };
    app.clock.set_by_ms(2 * DAY_MS);
    assert!(takes(&made["token"]).await?, "the old token still is taken");
    app.prospect_create(0, "signed@example.com").await?;
    let signatures = async |count: usize| -> Outcome<usize> {
        app.until("the event", async || {
            let taken = receiver.taken();
            let one = taken.get(count - 1);
            Ok(one.map(|one| one.header("webhook-signature").split(' ').count()))
        })
        .await
    };
    assert_eq!(
        signatures(1).await?,
        2,
        "the old secret {SECRET} still signs"
    );
    app.clock.accept();
    assert!(!takes(&made["token"]).await?);
    assert!(takes(&rotated["token"]).await?);
    app.prospect_create(0, "signed.again@example.com").await?;
    assert_eq!(signatures(2).await?, 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ages_in_the_metrics_go_on_and_stamps_stay_in_order() -> Outcome {
    at_each_jump(async |what, before, jump| {
        let app = TestApp::start(1).await?;
        app.clock.set_by_ms(before);
        for n in 0..3 {
            let job_id = app.prospect_create(0, &format!("a{n}@example.com")).await?;
            app.ended(&job_id).await?;
        }
        app.vendors[0].sandbox.add_fault(unavailable());
        app.prospect_create(0, "old@example.com").await?;
        app.clock.advance_ms(7 * MINUTE_MS);
        app.clock.set_by_ms(jump);
        app.clock.advance_ms(MINUTE_MS);
        let metrics = app.metrics().await?;
        let value = |name: &str| -> Option<f64> {
            let line = metrics.lines().find(|line| line.starts_with(name))?;
            line.split(' ').nth(1)?.parse().ok()
        };
        assert_eq!(value("portico_queue_age_seconds "), Some(480.0), "{what}");
        let unconfirmed = if jump > MINUTE_MS { jump / 1_000 } else { 0 };
        #[expect(clippy::cast_precision_loss, reason = "seconds of ten years")]
        let unconfirmed = Some(unconfirmed as f64);
        assert_eq!(
            value("portico_clock_unconfirmed_seconds "),
            unconfirmed,
            "{what}"
        );
        app.vendors[0].sandbox.clear_faults();
        for n in 0..3 {
            let job_id = app.prospect_create(0, &format!("b{n}@example.com")).await?;
            app.ended(&job_id).await?;
        }
        // Whoever reads from old to new, a page of one at a time, misses nothing.
        let mut names = Vec::new();
        let mut path = "/crm/v1/prospects?limit=1&order-by=created_at".to_owned();
        loop {
            let (status, page) = app.send("GET", &path, None).await?;
            assert_eq!(status, 200, "{page}");
            for one in page["results"].as_array().ok_or("results")? {
                names.push(one["email_1"].as_str().unwrap_or_default().to_owned());
            }
            match page["meta"]["nextCursor"].as_str() {
                Some(next) => {
                    path = format!("/crm/v1/prospects?limit=1&order-by=created_at&cursor={next}");
                }
                None => break,
            }
        }
        assert_eq!(
            &names[..3],
            ["a0@example.com", "a1@example.com", "a2@example.com"],
            "{what}"
        );
        assert!(
            names.ends_with(&["b2@example.com".to_owned()]),
            "{what}: {names:?}"
        );
        Ok(())
    })
    .await
}

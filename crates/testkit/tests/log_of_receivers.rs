//! Goal: the log says when a receiver begins to fail and when it works again, and nothing of each
//! attempt. Method: a subscriber counts what the announcer tells, while a receiver fails many
//! times.

use std::sync::{Arc, Mutex, PoisonError};

use model::webhook::{DeliveryStatus, Trigger};
use serde_json::Value;
use testkit::{
    Outcome, TestApp,
    receiver::{Deed, TestReceiver},
};
use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};

/// Events whose receiver fails.
const EVENTS: usize = 30;

/// The lines of the announcer's that an operator sees.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl Lines {
    fn all(&self) -> Vec<String> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("webhooks") && *metadata.level() <= Level::INFO
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut message = Message(String::new());
        event.record(&mut message);
        // Leases may lapse while the test moves time on: that is no news of a receiver.
        if message.0.contains("receiver") {
            let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            lines.push(message.0);
        }
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

async fn deliveries(app: &TestApp, id: &str, status: DeliveryStatus) -> Outcome<Vec<Value>> {
    let path = format!("/v1/webhooks/{id}/deliveries?limit=250&status={status}");
    let (_, page) = app.send("GET", &path, None).await?;
    Ok(page["results"].as_array().cloned().unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_fails_is_told_of_once() -> Outcome {
    let lines = Lines::default();
    tracing::subscriber::set_global_default(lines.clone())?;
    let app = TestApp::start(1).await?;
    let receiver = TestReceiver::start().await?;
    receiver.always(Deed::Status(500));
    let id = app.subscribe(&receiver, &[Trigger::WriteSuccess]).await?;
    let id = id.to_string();
    for n in 0..EVENTS {
        let job_id = app.prospect_create(0, &format!("p{n}@example.com")).await?;
        app.ended(&job_id).await?;
    }
    // A receiver that fails is left alone for a while: time goes on until each was tried.
    app.until("an attempt of each", async || {
        let all = deliveries(&app, &id, DeliveryStatus::Pending).await?;
        let tried = all.iter().filter(|one| one["attempts"] != 0).count();
        if tried < EVENTS {
            app.clock.advance_ms(1_000);
        }
        Ok((tried == EVENTS).then_some(()))
    })
    .await?;
    app.until("a line", async || {
        Ok((!lines.all().is_empty()).then_some(()))
    })
    .await?;
    let told = lines.all();
    assert!(told.len() == 1 && told[0].contains("fails"), "{told:?}");

    receiver.always(Deed::Status(204));
    app.until("all to be taken", async || {
        let taken = deliveries(&app, &id, DeliveryStatus::Delivered).await?;
        if taken.len() < EVENTS {
            app.clock.advance_ms(10_000);
        }
        Ok((taken.len() == EVENTS).then_some(()))
    })
    .await?;
    // An attempt that failed may be recorded behind one that went well: a few lines at most.
    let told = app
        .until("the last line", async || {
            app.clock.advance_ms(1_000);
            let told = lines.all();
            let is_told = told.last().is_some_and(|last| last.contains("works again"));
            Ok(is_told.then_some(told))
        })
        .await?;
    assert!(told.len() < EVENTS / 5, "{told:?}");
    Ok(())
}

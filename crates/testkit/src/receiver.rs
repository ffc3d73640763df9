//! A receiver of events that a test tells what to do.
//!
//! Guarantee: it takes note of every delivery before it does anything else with it, also of those that it then fails.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::{
    Router,
    body::Bytes,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use serde_json::Value;
use tokio::task::JoinHandle;

use crate::Outcome;

/// What a receiver does with a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deed {
    /// Answers with this status.
    Status(u16),
    /// Answers with this status, and asks to be left alone for so many seconds.
    Busy(u16, u64),
    /// Answers with this status and says something.
    Says(u16, String),
    /// Says nothing, ever.
    Hang,
}

/// A delivery that came.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, byte for byte.
    pub body: Bytes,
}

impl Delivery {
    /// A header's value; empty when there is none.
    pub fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.and_then(|value| value.to_str().ok()).unwrap_or("")
    }

    /// Its body as JSON; null when it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The kind of event.
    pub fn trigger(&self) -> String {
        self.json()["trigger"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }
}

#[derive(Default)]
struct State {
    taken: Vec<Delivery>,
    next: VecDeque<Deed>,
    otherwise: Option<Deed>,
}

/// A receiver on a port of its own.
pub struct TestReceiver {
    /// Where it is.
    pub url: String,
    state: Arc<Mutex<State>>,
    serving: JoinHandle<()>,
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl TestReceiver {
    /// Starts it. It answers 204 until it is told otherwise.
    ///
    /// # Errors
    /// When there is no port.
    pub async fn start() -> Outcome<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}/hook", listener.local_addr()?);
        let state = Arc::new(Mutex::new(State::default()));
        let own = state.clone();
        let router = Router::new().fallback(async move |headers: HeaderMap, body: Bytes| {
            let deed = {
                let mut state = lock(&own);
                state.taken.push(Delivery { headers, body });
                let next = state.next.pop_front();
                next.or_else(|| state.otherwise.clone())
            };
            answer(deed.unwrap_or(Deed::Status(204))).await
        });
        let serving = tokio::spawn(async move {
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self {
            url,
            state,
            serving,
        })
    }

    /// Has it do these, one a delivery, before it goes on as it did.
    pub fn next(&self, deeds: impl IntoIterator<Item = Deed>) {
        lock(&self.state).next.extend(deeds);
    }

    /// Has it do this with every delivery from now on.
    pub fn always(&self, deed: Deed) {
        lock(&self.state).otherwise = Some(deed);
    }

    /// What came, in order.
    pub fn taken(&self) -> Vec<Delivery> {
        lock(&self.state).taken.clone()
    }
}

async fn answer(deed: Deed) -> Response {
    let status = |code: u16| StatusCode::from_u16(code).unwrap_or(StatusCode::IM_A_TEAPOT);
    match deed {
        Deed::Status(code) => status(code).into_response(),
        Deed::Busy(code, seconds) => {
            (status(code), [("retry-after", seconds.to_string())]).into_response()
        }
        Deed::Says(code, text) => (status(code), text).into_response(),
        Deed::Hang => std::future::pending().await,
    }
}

impl Drop for TestReceiver {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

//! The way that calls to vendors and to receivers of webhooks take out of this process.
//!
//! Guarantee: over the network unless a simulation says otherwise; whoever takes another way than
//! the network opens no socket.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use reqwest::{Request, RequestBuilder, Response};

/// A network that is not the machine's own: a simulated one.
#[async_trait]
pub trait Dial: Send + Sync + 'static {
    /// Sends a request, and returns once the head of its answer is there.
    ///
    /// # Errors
    /// When no answer came.
    async fn dial(&self, request: Request) -> Result<Response, Unanswered>;
}

/// A call without an answer.
#[derive(Debug)]
pub enum Unanswered {
    /// Over the machine's network.
    Network(reqwest::Error),
    /// Over a simulated one: no connection stood, so nothing was sent.
    NotSent(String),
    /// Over a simulated one: the request may have arrived.
    Lost(String),
}

/// The way that calls take.
#[derive(Clone, Default)]
pub enum Way {
    /// The machine's network.
    #[default]
    Network,
    /// A simulated one.
    Simulated(Arc<dyn Dial>),
}

impl Way {
    /// Sends a request, and returns once the head of its answer is there.
    ///
    /// # Errors
    /// When no answer came, or the request could not be built.
    pub async fn send(&self, request: RequestBuilder) -> Result<Response, Unanswered> {
        match self {
            Self::Network => request.send().await.map_err(Unanswered::Network),
            Self::Simulated(dial) => {
                dial.dial(request.build().map_err(Unanswered::Network)?)
                    .await
            }
        }
    }
}

impl fmt::Debug for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Network => "Network",
            Self::Simulated(_) => "Simulated",
        })
    }
}

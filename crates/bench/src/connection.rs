//! HTTP to a process of our own on this machine: a sandbox, or a server that is measured.
//!
//! Guarantee: every request ends in time, and an answer is read up to a bound. Vendors are called
//! by `connectors` alone.

use std::time::Duration;

use anyhow::{Context, anyhow};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Method, Request, StatusCode, client::conn::http1, http::request::Builder};
use hyper_util::rt::TokioIo;
use tokio::time::timeout;

/// How long one request may take until it counts as broken.
const REQUEST_WITHIN: Duration = Duration::from_secs(30);

/// Bytes of an answer that are read: a sandbox's state lists every card it holds.
const ANSWER_MAX_BYTES: usize = 64 * 1_024 * 1_024;

/// One HTTP/1.1 connection.
pub(crate) struct Connection {
    authority: String,
    sender: http1::SendRequest<Full<Bytes>>,
}

impl Connection {
    /// Connects to `authority`, a host and a port.
    ///
    /// # Errors
    /// When nobody listens.
    pub(crate) async fn open(authority: &str) -> anyhow::Result<Self> {
        let opened = async {
            let stream = tokio::net::TcpStream::connect(authority).await?;
            stream.set_nodelay(true)?;
            let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
            // Ends when the sender goes.
            tokio::spawn(connection);
            anyhow::Ok(Self {
                authority: authority.to_owned(),
                sender,
            })
        };
        timeout(REQUEST_WITHIN, opened)
            .await
            .map_err(|_| anyhow!("no connection within {REQUEST_WITHIN:?}"))?
            .with_context(|| format!("{authority} cannot be connected to"))
    }

    /// Where it leads: a host and a port.
    pub(crate) fn authority(&self) -> &str {
        &self.authority
    }

    /// The beginning of a request on it.
    pub(crate) fn request(&self, method: Method, path: &str) -> Builder {
        Request::builder()
            .method(method)
            .uri(path)
            .header("host", &self.authority)
    }

    /// Sends a request and reads its answer to the end.
    ///
    /// # Errors
    /// When there is none in time.
    pub(crate) async fn send(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> anyhow::Result<(StatusCode, Bytes)> {
        let exchange = async {
            self.sender.ready().await?;
            let answer = self.sender.send_request(request).await?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), ANSWER_MAX_BYTES)
                .collect()
                .await
                .map_err(|why| anyhow!(why))?;
            Ok((status, body.to_bytes()))
        };
        timeout(REQUEST_WITHIN, exchange)
            .await
            .map_err(|_| anyhow!("no answer within {REQUEST_WITHIN:?}"))?
    }
}

//! Calls of a server's API, one after the other.

use anyhow::bail;
use http_body_util::Full;
use hyper::{Method, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{connection::Connection, process::Process};

/// A connection to a server, and the key that calls are made with.
pub(crate) struct Api {
    connection: Connection,
    bearer: String,
}

impl Api {
    /// Connects to `server`.
    ///
    /// # Errors
    /// When nobody listens.
    pub(crate) async fn of(server: &Process, token: &str) -> anyhow::Result<Self> {
        Ok(Self {
            connection: Connection::open(&server.address().to_string()).await?,
            bearer: format!("Bearer {token}"),
        })
    }

    /// The answer to a call, which must be a 200.
    ///
    /// # Errors
    /// When it is not.
    pub(crate) async fn call(
        &mut self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<Value> {
        self.read(method, path, body).await
    }

    /// The same, read as `T`.
    ///
    /// # Errors
    /// As [`Self::call`], and when the answer is no `T`.
    pub(crate) async fn read<T: DeserializeOwned>(
        &mut self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<T> {
        let request = self
            .connection
            .request(method, path)
            .header("authorization", &self.bearer)
            .header("content-type", "application/json")
            .body(Full::from(body.map(Value::to_string).unwrap_or_default()))?;
        let (status, answer) = self.connection.send(request).await?;
        if status != StatusCode::OK {
            let said: String = String::from_utf8_lossy(&answer).chars().take(300).collect();
            bail!("{path} answered {status}: {said}");
        }
        Ok(serde_json::from_slice(&answer)?)
    }
}

//! A store made ready for servers that are measured: a key with every right, and an account.

use std::path::Path;

use anyhow::Context as _;
use hyper::Method;

use crate::{
    account::{Account, Known},
    api::Api,
    place::{Named, Place},
    process::{Part, Portico, Process},
};

/// The name of the account at the sandbox.
const NAME: &str = "the sandbox";

/// A store that servers are started on, one after the other or several at once.
pub(crate) struct Site {
    /// Where it is.
    pub(crate) place: Place,
    /// The token of a key that may do everything, without a limit.
    pub(crate) token: String,
    /// The sandbox's integration.
    pub(crate) account: Account,
}

impl Site {
    /// Makes one in a data directory, in `within` if that is given.
    ///
    /// # Errors
    /// When a process fails.
    pub(crate) async fn directory(
        portico: &Portico,
        sandbox: &Process,
        within: Option<&Path>,
    ) -> anyhow::Result<Self> {
        Self::at(portico, sandbox, Place::directory(within)?).await
    }

    /// Makes one in a database. A PostgreSQL server of its own has room for a pool of so many
    /// connections.
    ///
    /// # Errors
    /// When there is no such database, or a process fails.
    pub(crate) async fn database(
        portico: &Portico,
        sandbox: &Process,
        named: &Named,
        pool: usize,
        within: Option<&Path>,
    ) -> anyhow::Result<Self> {
        let place = Place::database(named, pool, within).await?;
        Self::at(portico, sandbox, place).await
    }

    async fn at(portico: &Portico, sandbox: &Process, place: Place) -> anyhow::Result<Self> {
        let token = portico.key(&place).await?;
        let part = if place.is_shared() {
            Part::Requests
        } else {
            Part::Everything
        };
        let server = portico.serve(&place, sandbox, part).await?;
        let mut api = Api::of(&server, &token).await?;
        let known = Known::of(sandbox).await?;
        let account = Account::register(&mut api, sandbox, NAME, &known).await?;
        server.kill().await?;
        Ok(Self {
            place,
            token,
            account,
        })
    }

    /// Starts a server that stores what it accepts and delivers nothing.
    ///
    /// # Errors
    /// When it is not ready in time.
    pub(crate) async fn serve_without_delivery(
        &self,
        portico: &Portico,
        sandbox: &Process,
    ) -> anyhow::Result<Process> {
        if self.place.is_shared() {
            return portico.serve(&self.place, sandbox, Part::Requests).await;
        }
        // A data directory has one server, which would deliver: its integration is paused.
        let server = portico
            .serve(&self.place, sandbox, Part::Everything)
            .await?;
        self.tell(&server, "pause").await?;
        Ok(server)
    }

    /// Has `server` deliver what waits since the integration was paused.
    ///
    /// # Errors
    /// When it refuses.
    pub(crate) async fn resume(&self, server: &Process) -> anyhow::Result<()> {
        self.tell(server, "resume").await
    }

    async fn tell(&self, server: &Process, deed: &str) -> anyhow::Result<()> {
        let path = format!(
            "/v1/admin/integrations/{}/{deed}",
            self.account.integration_id
        );
        let mut api = Api::of(server, &self.token).await?;
        let told = api.call(Method::POST, &path, None).await;
        told.map(drop).context("The integration is as it was")
    }
}

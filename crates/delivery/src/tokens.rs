//! The tokens that vendors give, as calls need them.
//!
//! Guarantee: a token is renewed before it ends, by one process at a time, and the credentials that it
//! takes go to the vendor alone. Who needs a token while another fetches it waits for that.

use std::{sync::Arc, time::Duration};

use connectors::{
    FetchFailure, Target,
    connector::{Connections, FetchToken, Token},
};
use model::{Clock, IntegrationId, directory::Integration, write::Class};
use store::{Error, Store, VendorToken};

/// How long before its end a token is renewed, in milliseconds: longer than any call takes.
const RENEW_BEFORE_MS: i64 = 60_000;

/// Part of its life behind which a token is renewed where that is short.
const RENEW_PART: i64 = 4;

/// How long one process may take to fetch a token, in milliseconds: longer than a call takes.
const RENEWING_MS: i64 = 30_000;

/// How often it is looked whether another process has fetched one, and how many times.
const LOOK_EVERY: Duration = Duration::from_millis(100);
const LOOKS_MAX: u32 = 150;

/// What a call gets.
pub enum Given {
    /// A token.
    Token(VendorToken),
    /// The right to fetch one, which is to be given back by [`Tokens::keep`] or [`Tokens::end`].
    Right,
}

/// The tokens of integrations.
pub struct Tokens {
    store: Arc<Store>,
    clock: Arc<dyn Clock>,
}

impl Tokens {
    /// Those in a store.
    pub const fn new(store: Arc<Store>, clock: Arc<dyn Clock>) -> Self {
        Self { store, clock }
    }

    fn is_fresh(&self, token: &VendorToken) -> bool {
        self.clock.steady() < token.expires_at
    }

    /// The token of an integration, or the right to fetch one. The store is asked each time: another
    /// node may have renewed it, or the credentials may be others.
    ///
    /// # Errors
    /// When the store does not answer, or another process takes too long.
    pub async fn of(&self, id: IntegrationId) -> Result<Given, Error> {
        for _ in 0..LOOKS_MAX {
            let stored = self.store.token_find(id).await?;
            if let Some(token) = stored.filter(|token| self.is_fresh(token)) {
                return Ok(Given::Token(token));
            }
            let now = self.clock.steady();
            let until = now.plus_millis(RENEWING_MS);
            if self.store.token_begin(id, now, until).await? {
                return Ok(Given::Right);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Err(Error::Busy)
    }

    /// Keeps a token that was fetched.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn keep(&self, id: IntegrationId, token: &Token) -> Result<(), Error> {
        let lasts_ms = i64::try_from(token.lasts_ms).unwrap_or(i64::MAX);
        let before_ms = RENEW_BEFORE_MS.min(lasts_ms / RENEW_PART);
        let expires_at = self.clock.steady().plus_millis(lasts_ms - before_ms);
        self.store.token_put(id, &token.secret, expires_at).await
    }

    /// No token came.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn end(&self, id: IntegrationId) -> Result<(), Error> {
        self.store.token_end(id).await
    }

    /// The vendor does not take this token any more.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn expire(&self, id: IntegrationId, token: &VendorToken) -> Result<(), Error> {
        self.store.token_expire(id, token.revision).await
    }

    /// The target of a call that is none of a write's: with its token, fetched now if need be.
    ///
    /// # Errors
    /// When there is none to be had.
    pub async fn target(
        &self,
        integration: &Integration,
        connections: &Connections,
    ) -> Result<Target, FetchFailure> {
        let mut target = Target::of(integration);
        let Some(fetch) = &connections.token else {
            return Ok(target);
        };
        let trouble = |why: &Error| FetchFailure {
            class: Class::Retry,
            is_gone: false,
            error: format!("The token of the vendor could not be read or kept: {why}"),
            retry_after_ms: None,
        };
        match self.of(integration.id).await.map_err(|why| trouble(&why))? {
            Given::Token(token) => target.token = Some(token.secret),
            Given::Right => {
                let fetched = fetched(&**fetch, &target).await;
                let kept = match &fetched {
                    Ok(token) => self.keep(integration.id, token).await,
                    Err(_) => self.end(integration.id).await,
                };
                let token = fetched?;
                kept.map_err(|why| trouble(&why))?;
                target.token = Some(token.secret);
            }
        }
        Ok(target)
    }
}

/// Asks for a token once.
///
/// # Errors
/// When none came.
pub async fn fetched(fetch: &dyn FetchToken, target: &Target) -> Result<Token, FetchFailure> {
    let (answer, token) = fetch.token_fetch(target, &fetch.token_call()).await;
    token.ok_or_else(|| FetchFailure {
        class: answer.class,
        is_gone: false,
        error: answer.error.unwrap_or_default(),
        retry_after_ms: answer.retry_after_ms,
    })
}

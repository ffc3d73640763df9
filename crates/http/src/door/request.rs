//! The notes on a request that travel with it, as extensions.

use std::sync::{Arc, OnceLock};

use axum::{
    extract::{FromRequestParts as _, RawPathParams},
    http::{StatusCode, request::Parts},
};
use model::{KeyId, Scope};

use crate::{error::Error, state::App};

/// The id of a request, for what is kept about it: an extension of every request.
#[derive(Clone)]
pub struct RequestId(pub String);

/// The key that a request came with.
#[derive(Clone, Copy)]
pub(crate) struct Asking(pub(crate) Option<KeyId>);

/// The scope of a request: an extension of every request, filled in when it is authenticated. The
/// key may be revoked while the request is under way.
#[derive(Clone, Default)]
pub struct Admitted(Arc<OnceLock<Scope>>);

impl Admitted {
    /// Fills it in.
    pub(crate) fn note(&self, scope: Scope) {
        let _ = self.0.set(scope);
    }

    /// Refuses when the key is no longer in force. A request without a key passes.
    ///
    /// # Errors
    /// 401.
    pub fn check(&self, app: &App) -> Result<(), Error> {
        self.0.get().map_or(Ok(()), |scope| app.admit(scope))
    }
}

/// The value of a path's one parameter; `None` when the path has none. A handler asks for it once
/// its caller is known: before, an address is told nothing.
///
/// # Errors
/// 400 when it is not UTF-8.
pub(crate) async fn path_parameter(parts: &mut Parts) -> Result<Option<String>, Error> {
    let all = RawPathParams::from_request_parts(parts, &()).await;
    let all = all.map_err(|_| Error::foreign(StatusCode::BAD_REQUEST))?;
    Ok(all.iter().next().map(|(_, value)| value.to_owned()))
}

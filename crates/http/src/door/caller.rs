//! Who is asking.
//!
//! Guarantee: a handler can see a caller's scope only through [`Caller`], which names the permission it takes; so no handler can be written without choosing one.
//! A key that is revoked while its request is under way is noticed: before a body is acted on,
//! while something is waited for, and before what was read goes out.
//! A request is counted against its key's limit before anything else is looked at, and one without a valid key against its address.

use std::{marker::PhantomData, net::IpAddr};

use axum::{
    extract::FromRequestParts,
    http::{header, request::Parts},
};
use listener::peer::ClientAddress;
use model::{
    Actor, Permission, Scope,
    permission::{Group, Level},
};

use crate::{
    door::request::{Admitted, Asking, RequestId},
    error::Error,
    limits::rates::Noted,
    state::App,
};

/// A permission as a type.
pub trait Needs: Send + Sync + 'static {
    /// The permission.
    const PERMISSION: Permission;
}

macro_rules! needs {
    ($($name:ident = $group:ident $level:ident;)+) => {$(
        #[doc = concat!("Takes [`Level::", stringify!($level), "`] of [`Group::", stringify!($group), "`].")]
        pub struct $name;
        impl Needs for $name {
            const PERMISSION: Permission = Permission::of(Group::$group, Level::$level);
        }
    )+};
}

needs! {
    ProspectsRead = Prospects Read;
    ProspectsWrite = Prospects Write;
    ProspectsAdmin = Prospects Admin;
    EventsRead = Events Read;
    EventsWrite = Events Write;
    AppointmentsRead = Appointments Read;
    AppointmentsWrite = Appointments Write;
    ListingsRead = Listings Read;
    ListingsWrite = Listings Write;
    DirectoryRead = Directory Read;
    WritesRead = Writes Read;
    WritesAdmin = Writes Admin;
    IntegrationsRead = Integrations Read;
    IntegrationsAdmin = Integrations Admin;
    WebhooksRead = Webhooks Read;
    WebhooksWrite = Webhooks Write;
    WebhooksAdmin = Webhooks Admin;
    KeysAdmin = Keys Admin;
    AuditAdmin = Audit Admin;
}

/// An authenticated caller that may do `P`.
pub struct Caller<P> {
    /// What it may see.
    pub scope: Scope,
    address: IpAddr,
    request_id: Option<String>,
    needs: PhantomData<P>,
}

impl<P> Caller<P> {
    /// The same by now, for what makes something that lasts: while a body arrived, the key may have
    /// been rotated.
    ///
    /// # Errors
    /// 401 when the key, or the token, is in force no more.
    pub fn renewed(self, app: &App) -> Result<Self, Error> {
        let directory = app.live.get();
        let scope = directory.renewed(&self.scope, app.clock.settled());
        Ok(Self {
            scope: scope.ok_or_else(Error::unauthorized)?,
            ..self
        })
    }

    /// Who asks, as the audit log tells it.
    pub fn actor(&self) -> Actor {
        Actor {
            scope: self.scope.clone(),
            address: Some(self.address),
            request_id: self.request_id.clone(),
        }
    }
}

impl<P: Needs> FromRequestParts<App> for Caller<P> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Error> {
        Self::admit(parts, app, P::PERMISSION)
    }
}

/// A caller of an operation that names its permission as a value.
pub type AnyCaller = Caller<()>;

impl AnyCaller {
    /// The caller of a request, who may do what takes `permission`.
    ///
    /// # Errors
    /// 401 without a valid key, 403 without the permission, 429 when there were too many requests.
    pub fn of(parts: &mut Parts, app: &App, permission: Permission) -> Result<Self, Error> {
        Self::admit(parts, app, permission)
    }
}

impl<P> Caller<P> {
    fn admit(parts: &mut Parts, app: &App, permission: Permission) -> Result<Self, Error> {
        let mut given = parts.headers.get_all(header::AUTHORIZATION).iter();
        let token = match (given.next(), given.next()) {
            (Some(value), None) => value.to_str().ok().and_then(bearer),
            _ => None,
        };
        let address = ClientAddress::of(&parts.extensions).0;
        let now = app.clock.now();
        let settled = app.clock.settled();
        let scope = token.and_then(|token| app.live.get().authenticate(token, settled));
        let Some(scope) = scope else {
            return Err(match app.limits.rates.failed(address) {
                Ok(()) => Error::unauthorized(),
                Err(wait) => Error::too_many_failures(wait),
            });
        };
        if let Some(admitted) = parts.extensions.get::<Admitted>() {
            admitted.note(scope.clone());
        }
        if let Some(key) = scope.key() {
            app.key_uses.note(key, now);
            let standing = app.limits.rates.take(key, scope.rate_limit());
            if let Some(noted) = parts.extensions.get::<Noted>() {
                noted.note(standing);
            }
            if let Some(wait) = standing.wait {
                return Err(Error::rate_limited(standing.limit, wait));
            }
        }
        parts.extensions.insert(Asking(scope.key()));
        if !scope.may(permission) {
            return Err(Error::forbidden(permission));
        }
        let request_id = parts.extensions.get::<RequestId>();
        Ok(Self {
            scope,
            address,
            request_id: request_id.map(|id| id.0.clone()),
            needs: PhantomData,
        })
    }
}

/// The token of `Bearer <token>`; the scheme's name is case-insensitive (RFC 9110).
fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

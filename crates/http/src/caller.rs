//! Who is asking.
//!
//! Guarantee: a handler can see a caller's scope only through [`Caller`], which names the permission it takes; so no handler can be written without choosing one.

use std::marker::PhantomData;

use axum::{
    extract::FromRequestParts,
    http::{header, request::Parts},
};
use model::{Scope, key::Permission};

use crate::{App, error::Error};

/// A permission as a type.
pub trait Needs: Send + Sync + 'static {
    /// The permission.
    const PERMISSION: Permission;
}

macro_rules! needs {
    ($($(#[$doc:meta])* $name:ident;)+) => {$(
        $(#[$doc])*
        pub struct $name;
        impl Needs for $name {
            const PERMISSION: Permission = Permission::$name;
        }
    )+};
}

needs! {
    /// Takes [`Permission::Read`].
    Read;
    /// Takes [`Permission::Write`].
    Write;
    /// Takes [`Permission::Admin`].
    Admin;
}

/// An authenticated caller that may do `P`.
pub struct Caller<P> {
    /// What it may see.
    pub scope: Scope,
    needs: PhantomData<P>,
}

impl<P: Needs> FromRequestParts<App> for Caller<P> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Error> {
        let mut given = parts.headers.get_all(header::AUTHORIZATION).iter();
        let token = match (given.next(), given.next()) {
            (Some(value), None) => value.to_str().ok().and_then(bearer),
            _ => None,
        };
        let scope = token
            .and_then(|token| app.live.get().authenticate(token))
            .ok_or_else(Error::unauthorized)?;
        if !scope.may(P::PERMISSION) {
            return Err(Error::forbidden(P::PERMISSION));
        }
        Ok(Self {
            scope,
            needs: PhantomData,
        })
    }
}

/// The token of `Bearer <token>`; the scheme's name is case-insensitive (RFC 9110).
fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

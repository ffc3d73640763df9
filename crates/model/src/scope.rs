//! Who is asking: what a caller may see and do.
//!
//! Guarantee: a [`Scope`] is proof of a valid key. It has no public constructor but
//! [`crate::Directory::authenticate`] and, for the process's own command line, [`Scope::operator`]; whatever takes a
//! scope can therefore not be reached without one.

use std::sync::Arc;

use crate::{
    clock::Timestamp,
    id::{IntegrationId, KeyId},
    key::{Key, RateLimit},
    permission::Permission,
};

/// What an authenticated caller may see and do.
#[derive(Clone, Debug)]
pub struct Scope {
    key: Option<KeyId>,
    permissions: Arc<[Permission]>,
    integrations: Option<Arc<[IntegrationId]>>,
    rate_limit: Option<RateLimit>,
    /// When the key ends, or the token that was shown, whichever is earlier.
    expires_at: Option<Timestamp>,
    /// The hash of the token that was shown.
    token: Option<[u8; 32]>,
    is_superseded: bool,
}

impl Scope {
    pub(crate) fn of(key: &Key) -> Self {
        Self {
            key: Some(key.id),
            token: None,
            is_superseded: false,
            permissions: key.permissions.clone().into(),
            integrations: key.integrations.clone().map(Into::into),
            rate_limit: key.rate_limit,
            expires_at: key.expires_at,
        }
    }

    /// The operator at the machine itself: sees and may do everything.
    pub fn operator() -> Self {
        Self {
            key: None,
            permissions: Permission::ALL.into(),
            integrations: None,
            rate_limit: None,
            expires_at: None,
            token: None,
            is_superseded: false,
        }
    }

    /// The same, of who showed the token with this hash, which ends then. Only a rotation gives a
    /// token an end of its own.
    pub(crate) fn shown(&self, token: [u8; 32], end: Option<Timestamp>) -> Self {
        Self {
            token: Some(token),
            is_superseded: end.is_some(),
            expires_at: self.expires_at.into_iter().chain(end).min(),
            ..self.clone()
        }
    }

    /// The hash of the token that was shown.
    pub(crate) const fn token(&self) -> Option<[u8; 32]> {
        self.token
    }

    /// The key that was shown; `None` for the operator.
    pub const fn key(&self) -> Option<KeyId> {
        self.key
    }

    /// Whether this is the operator at the machine, whom no key limits.
    pub const fn is_operator(&self) -> bool {
        self.key.is_none()
    }

    /// Whether the caller may do what needs `permission`.
    pub fn may(&self, permission: Permission) -> bool {
        self.permissions.iter().any(|one| one.covers(permission))
    }

    /// How many requests the caller may send, if its key says so.
    pub const fn rate_limit(&self) -> Option<RateLimit> {
        self.rate_limit
    }

    /// True if the key was rotated since it got the token that was shown.
    pub const fn is_superseded(&self) -> bool {
        self.is_superseded
    }

    /// From when on the caller's key, or the token that was shown, is not taken any more.
    pub const fn expires_at(&self) -> Option<Timestamp> {
        self.expires_at
    }

    /// The integrations the caller is limited to; `None` when it sees all.
    pub fn integrations(&self) -> Option<&[IntegrationId]> {
        self.integrations.as_deref()
    }

    /// Whether the caller sees at least as much as what is limited to `integrations`, which sees all when they are absent.
    pub fn sees_as_much_as(&self, integrations: Option<&[IntegrationId]>) -> bool {
        match (self.integrations(), integrations) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(own), Some(theirs)) => theirs.iter().all(|id| own.contains(id)),
        }
    }

    /// Whether the caller may know of `integration`.
    pub fn sees(&self, integration: IntegrationId) -> bool {
        self.integrations
            .as_ref()
            .is_none_or(|list| list.contains(&integration))
    }
}

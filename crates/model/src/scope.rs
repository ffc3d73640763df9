//! Who is asking: what a caller may see and do.
//!
//! Guarantee: a [`Scope`] is proof of a valid key. It has no public constructor but
//! [`crate::Directory::authenticate`] and, for the process's own command line, [`Scope::operator`]; whatever takes a
//! scope can therefore not be reached without one.

use std::sync::Arc;

use crate::{
    id::{IntegrationId, KeyId},
    key::{Key, Permission},
};

/// What an authenticated caller may see and do.
#[derive(Clone, Debug)]
pub struct Scope {
    key: Option<KeyId>,
    permissions: Arc<[Permission]>,
    integrations: Option<Arc<[IntegrationId]>>,
}

impl Scope {
    pub(crate) fn of(key: &Key) -> Self {
        Self {
            key: Some(key.id),
            permissions: key.permissions.clone().into(),
            integrations: key.integrations.clone().map(Into::into),
        }
    }

    /// The operator at the machine itself: sees and may do everything.
    pub fn operator() -> Self {
        Self {
            key: None,
            permissions: Permission::ALL.into(),
            integrations: None,
        }
    }

    /// The key that was shown; `None` for the operator.
    pub const fn key(&self) -> Option<KeyId> {
        self.key
    }

    /// Whether the caller may do `permission`.
    pub fn may(&self, permission: Permission) -> bool {
        self.permissions.contains(&permission)
    }

    /// The integrations the caller is limited to; `None` when it sees all.
    pub fn integrations(&self) -> Option<&[IntegrationId]> {
        self.integrations.as_deref()
    }

    /// Whether the caller may know of `integration`.
    pub fn sees(&self, integration: IntegrationId) -> bool {
        self.integrations
            .as_ref()
            .is_none_or(|list| list.contains(&integration))
    }
}

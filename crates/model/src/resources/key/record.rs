//! How a key is shown: everything but its tokens.

use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    key::{Key, System},
    resources::key::RateLimitInput,
};

/// An API key.
#[derive(Clone, Serialize, ToSchema)]
#[schema(as = ApiKey)]
pub struct KeyRecord {
    /// Its id.
    #[schema(example = "key_01kaz6v2zrf0pt4jbqm3y8s5nd")]
    pub id: String,
    /// When it was made.
    #[schema(format = DateTime)]
    pub created_at: String,
    /// What it is called.
    pub name: String,
    /// Whether its token begins `ptk_live_` or `ptk_test_`.
    pub system: System,
    /// What it may do.
    pub permissions: Vec<String>,
    /// The integrations it is limited to; `null` when it sees all.
    pub integration_ids: Option<Vec<String>>,
    /// How many requests it may send; `null` when that is what the server has set for all.
    pub rate_limit: Option<RateLimitInput>,
    /// Its tokens, the newest last.
    pub tokens: Vec<TokenRecord>,
    /// From when on it is not taken any more.
    #[schema(format = DateTime)]
    pub expires_at: Option<String>,
    /// When it was revoked.
    #[schema(format = DateTime)]
    pub revoked_at: Option<String>,
    /// When a request was last made with it, within a minute.
    #[schema(format = DateTime)]
    pub last_used_at: Option<String>,
}

/// A token of a key, which itself is shown only once.
#[derive(Clone, Serialize, ToSchema)]
pub struct TokenRecord {
    /// Its last four characters.
    pub ends_with: String,
    /// When it was made.
    #[schema(format = DateTime)]
    pub created_at: String,
    /// From when on it is not taken any more.
    #[schema(format = DateTime)]
    pub expires_at: Option<String>,
}

impl From<&Key> for KeyRecord {
    fn from(key: &Key) -> Self {
        let tokens = key.tokens.iter().map(|token| TokenRecord {
            ends_with: token.end.clone(),
            created_at: token.created_at.to_string(),
            expires_at: token.expires_at.map(|at| at.to_string()),
        });
        Self {
            id: key.id.to_string(),
            created_at: key.created_at.to_string(),
            name: key.name.clone(),
            system: key.system,
            permissions: key.permissions.iter().map(ToString::to_string).collect(),
            integration_ids: key
                .integrations
                .as_ref()
                .map(|ids| ids.iter().map(ToString::to_string).collect()),
            rate_limit: key.rate_limit.map(|limit| RateLimitInput {
                requests_per_minute: limit.requests_per_minute,
                burst: Some(limit.burst),
            }),
            tokens: tokens.collect(),
            expires_at: key.expires_at.map(|at| at.to_string()),
            revoked_at: key.revoked_at.map(|at| at.to_string()),
            last_used_at: key.last_used_at.map(|at| at.to_string()),
        }
    }
}

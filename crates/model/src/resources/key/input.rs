//! What a key is made of.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{key::System, resources::integer};

/// How many requests a key may send.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RateLimitInput {
    /// Over any minute, on the long run.
    #[serde(default, deserialize_with = "integer::some_count")]
    #[schema(required, minimum = 1, maximum = 60_000_000)]
    pub requests_per_minute: u32,
    /// At once, after a pause; as many as `requests_per_minute` when absent.
    #[serde(default, deserialize_with = "integer::count")]
    #[schema(minimum = 1, maximum = 60_000_000)]
    pub burst: Option<u32>,
}

/// A key to be made.
#[derive(Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "name": "listing site", "permissions": ["prospects:write", "writes:read"] }))]
pub struct KeyCreate {
    /// What to call it.
    #[serde(default)]
    #[schema(required, min_length = 1, max_length = 100)]
    pub name: String,
    /// What it may do: `read`, `write` or `admin`, or one of these for a group, such as `prospects:write`. Nobody can give more than they have.
    #[serde(default)]
    #[schema(required, min_items = 1, max_items = 40)]
    pub permissions: Vec<String>,
    /// Whether its token begins `ptk_live_` or `ptk_test_`; `PRODUCTION` when absent.
    pub system: Option<System>,
    /// The integrations it is limited to; those of the key that asks when absent.
    #[schema(min_items = 1, max_items = 1_000)]
    pub integration_ids: Option<Vec<String>>,
    /// From when on it is not taken any more; never when absent.
    #[schema(format = DateTime)]
    pub expires_at: Option<String>,
    /// How many requests it may send; what the server has set for all when absent.
    pub rate_limit: Option<RateLimitInput>,
}

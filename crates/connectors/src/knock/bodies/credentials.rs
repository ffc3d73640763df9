//! What Knock lets itself be called with.

use serde::Deserialize;
use utoipa::ToSchema;

/// The members of the credentials.
pub const MEMBERS: &[&str] = &["apiKey"];

/// What Knock lets itself be asked with.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "the type stands for its schema")]
pub struct KnockCredentials {
    /// The key that Knock issued. It is sealed when it is stored, and never shown.
    #[serde(rename = "apiKey")]
    #[schema(required, min_length = 1, max_length = 512, pattern = "^[!-~]+$")]
    api_key: String,
}

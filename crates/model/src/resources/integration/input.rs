//! What an integration is made of and what can be changed about it.
//!
//! Source: the public contract, section 5.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    credentials::Credentials,
    directory::{Cadence, Settings},
    key::System,
    resources::integer,
    vendor::Vendor,
};

/// A header of every call to the vendor.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ExtraHeader {
    /// Its name.
    #[serde(default)]
    #[schema(
        required,
        min_length = 1,
        max_length = 100,
        pattern = "^[A-Za-z0-9-]+$",
        example = "property-id"
    )]
    pub header: String,
    /// Its value. `{community}` stands for the vendor's id of the community.
    #[serde(default)]
    #[schema(
        required,
        min_length = 1,
        max_length = 500,
        pattern = "^[!-~]([ -~]*[!-~])?$",
        example = "{community}"
    )]
    pub value: String,
}

/// What a vendor lets itself be called with. The document has the vendors' own schemas in its place.
#[derive(ToSchema)]
pub struct VendorCredentials {}

/// An integration to be made.
#[derive(Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct IntegrationCreate {
    /// The vendor.
    #[serde(default)]
    #[schema(required)]
    pub integration_vendor: String,
    /// What the vendor lets itself be asked with.
    #[serde(default)]
    #[schema(required, value_type = VendorCredentials)]
    pub credentials: Credentials,
    /// What to call it.
    #[serde(default)]
    #[schema(required, min_length = 1, max_length = 100)]
    pub name: String,
    /// Real prospects, or play. Decides the default of `base_url`.
    pub system: Option<System>,
    /// Synchronised every so many `sync_cadence`; 12 when absent.
    #[serde(default, deserialize_with = "integer::count")]
    #[schema(minimum = 1, maximum = 1000)]
    pub sync_frequency: Option<u32>,
    /// `HOUR` when absent.
    pub sync_cadence: Option<Cadence>,
    /// Calls to the vendor begun at most in each `max_request_cadence`; without a limit when absent.
    #[serde(default, deserialize_with = "integer::count")]
    #[schema(minimum = 1, maximum = 1_000_000)]
    pub max_request_frequency: Option<u32>,
    /// `MINUTE` when absent.
    pub max_request_cadence: Option<Cadence>,
    /// Calls to the vendor under way at once; 1 when absent.
    #[serde(default, deserialize_with = "integer::count")]
    #[schema(minimum = 1, maximum = 100)]
    pub max_job_concurrency: Option<u32>,
    /// Whether it takes writes; `false` when absent. To activate it tries the credentials: 409 when the vendor refuses them.
    pub active: Option<bool>,
    /// Whether communities that are registered without saying so take writes; `true` when absent.
    pub new_properties_are_enabled: Option<bool>,
    /// Where the vendor's API is. Only where the operator allows it; the vendor's own when absent.
    #[schema(min_length = 1, max_length = 500)]
    pub base_url: Option<String>,
    /// The header that carries the key; `x-api-key` when absent.
    #[schema(min_length = 1, max_length = 100, pattern = "^[A-Za-z0-9-]+$")]
    pub key_header_name: Option<String>,
    /// Further headers of every call.
    #[schema(max_items = 16)]
    pub extra_headers: Option<Vec<ExtraHeader>>,
    /// Whether a write must say itself whether the prospect subscribes; `false` when absent.
    pub require_explicit_consent: Option<bool>,
}

/// What to change about an integration. What is absent stays as it is.
#[derive(Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "active": true }))]
pub struct IntegrationUpdate {
    /// Other credentials. They are in force for the next call. With `active` beside them they are tried first.
    #[schema(value_type = Option<VendorCredentials>)]
    pub credentials: Option<Credentials>,
    /// What to call it.
    #[schema(min_length = 1, max_length = 100)]
    pub name: Option<String>,
    /// Synchronised every so many `sync_cadence`.
    #[serde(default, deserialize_with = "integer::count")]
    #[schema(minimum = 1, maximum = 1000)]
    pub sync_frequency: Option<u32>,
    /// What `sync_frequency` counts in.
    pub sync_cadence: Option<Cadence>,
    /// Calls to the vendor begun at most in each `max_request_cadence`; 0 takes the limit away.
    #[serde(default, deserialize_with = "integer::count")]
    #[schema(minimum = 0, maximum = 1_000_000)]
    pub max_request_frequency: Option<u32>,
    /// What `max_request_frequency` counts in.
    pub max_request_cadence: Option<Cadence>,
    /// Calls to the vendor under way at once.
    #[serde(default, deserialize_with = "integer::count")]
    #[schema(minimum = 1, maximum = 100)]
    pub max_job_concurrency: Option<u32>,
    /// Whether it takes writes. To activate it tries the credentials: 409 when the vendor refuses them. What was accepted before it was deactivated is still
    /// delivered; to hold that back, pause it.
    pub active: Option<bool>,
    /// Whether communities that are registered without saying so take writes.
    pub new_properties_are_enabled: Option<bool>,
    /// Where the vendor's API is. Only where the operator allows it.
    #[schema(min_length = 1, max_length = 500)]
    pub base_url: Option<String>,
    /// The header that carries the key.
    #[schema(min_length = 1, max_length = 100, pattern = "^[A-Za-z0-9-]+$")]
    pub key_header_name: Option<String>,
    /// Further headers of every call, in place of those before.
    #[schema(max_items = 16)]
    pub extra_headers: Option<Vec<ExtraHeader>>,
    /// Whether a write must say itself whether the prospect subscribes.
    pub require_explicit_consent: Option<bool>,
}

impl ExtraHeader {
    /// The headers that settings have.
    pub(super) fn all_of(settings: &Settings) -> Vec<Self> {
        let headers = settings.extra_headers.iter();
        headers
            .map(|(header, value)| Self {
                header: header.clone(),
                value: value.clone(),
            })
            .collect()
    }
}

impl IntegrationCreate {
    /// The vendor that it names, if there is such a one.
    pub fn vendor(&self) -> Option<Vendor> {
        self.integration_vendor.parse().ok()
    }
}

//! How an integration is shown: everything but its credentials.
//!
//! Source: the public contract, section 5.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    directory::{Cadence, Integration},
    key::System,
    resources::integration::ExtraHeader,
    words,
};

/// An integration.
#[derive(Clone, Serialize, ToSchema)]
#[schema(as = Integration)]
pub struct IntegrationRecord {
    /// Its id.
    #[schema(example = "int_01kaz6v2zrf0pt4jbqm3y8s5nd")]
    pub id: String,
    /// When it was made.
    #[schema(format = DateTime)]
    pub created_at: String,
    /// When it was last changed.
    #[schema(format = DateTime)]
    pub updated_at: String,
    /// The vendor behind it.
    pub integration_vendor: String,
    /// What it is called.
    pub name: String,
    /// Real prospects, or play.
    pub system: System,
    /// Synchronised every so many `sync_cadence`.
    pub sync_frequency: u32,
    /// What `sync_frequency` counts in.
    pub sync_cadence: Cadence,
    /// Calls to the vendor begun at most in each `max_request_cadence`; `null` when there is no limit.
    pub max_request_frequency: Option<u32>,
    /// What `max_request_frequency` counts in.
    pub max_request_cadence: Cadence,
    /// Calls to the vendor under way at once.
    pub max_job_concurrency: u32,
    /// Whether it takes writes.
    pub active: bool,
    /// Whether communities that are registered without saying so take writes.
    pub new_properties_are_enabled: bool,
    /// Where the vendor's API is.
    pub base_url: String,
    /// The header that carries the key.
    pub key_header_name: String,
    /// Further headers of every call.
    pub extra_headers: Vec<ExtraHeader>,
    /// Whether a write must say itself whether the prospect subscribes.
    pub require_explicit_consent: bool,
    /// Since when what it takes waits instead of being delivered; `null` when it does not.
    #[schema(format = DateTime)]
    pub paused_at: Option<String>,
    /// Since when it is put away for good.
    #[schema(format = DateTime)]
    pub archived_at: Option<String>,
}

impl From<&Integration> for IntegrationRecord {
    fn from(one: &Integration) -> Self {
        let settings = &one.settings;
        Self {
            id: one.id.to_string(),
            created_at: one.created_at.to_string(),
            updated_at: one.updated_at.to_string(),
            integration_vendor: one.vendor.to_string(),
            name: one.name.clone(),
            system: one.system,
            sync_frequency: settings.sync_frequency,
            sync_cadence: settings.sync_cadence,
            max_request_frequency: settings.max_request_frequency,
            max_request_cadence: settings.max_request_cadence,
            max_job_concurrency: settings.max_job_concurrency,
            active: one.active,
            new_properties_are_enabled: settings.new_properties_are_enabled,
            base_url: settings.base_url.clone(),
            key_header_name: settings.key_header_name.clone(),
            extra_headers: ExtraHeader::all_of(settings),
            require_explicit_consent: settings.require_explicit_consent,
            paused_at: one.paused_at.map(|at| at.to_string()),
            archived_at: one.archived_at.map(|at| at.to_string()),
        }
    }
}

words! {
    /// Whether the vendor lets something be done.
    AccessState {
        /// It does.
        Allowed = "ALLOWED",
        /// It does not.
        Denied = "DENIED",
        /// It did not say: it did not answer, or it cannot be asked without changing something.
        Unknown = "UNKNOWN",
    }
}

/// Whether the vendor lets one thing be done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = DataAccessEntry)]
pub struct Access {
    /// What, such as `read the lead sources`.
    pub what: String,
    /// The vendor's id of the community that was tried; `null` when it concerns all.
    pub x_community_id: Option<String>,
    /// Whether it does.
    pub state: AccessState,
    /// What the vendor said, or why it was not asked.
    pub message: String,
}

/// What an integration's credentials allow, as it was tried.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DataAccess {
    /// When it was tried.
    #[schema(format = DateTime)]
    pub checked_at: String,
    /// Whether the vendor takes the credentials at all.
    pub credentials: AccessState,
    /// In one sentence.
    pub summary: String,
    /// One by one.
    pub accesses: Vec<Access>,
}

//! Portico's words and rules.
//!
//! Guarantee: pure. Nothing here does I/O, waits, reads a clock or draws a random number; what it needs
//! of those comes in as a parameter (`clippy.toml` forbids the rest).

pub mod audit;
pub mod clock;
pub mod confirmation;
pub mod consent;
pub mod contact;
pub mod credentials;
pub mod directory;
pub mod erasure;
pub mod header;
pub mod hex;
pub mod id;
mod instant;
pub mod issue;
pub mod key;
pub mod network;
pub mod pace;
pub mod permission;
pub mod record;
pub mod resources;
pub mod retry;
pub mod scope;
pub mod secret;
pub mod text;
pub mod vendor;
pub mod vocabulary;
pub mod webhook;
pub mod write;

pub use audit::Actor;
pub use clock::{Clock, Entropy, Timestamp};
pub use consent::Consent;
pub use credentials::Credentials;
pub use directory::Directory;
pub use id::{
    AgentId, AttributionId, CommunityId, EventId, IntegrationId, JobId, KeyId, ProspectId,
    WebhookId,
};
pub use issue::Issue;
pub use permission::Permission;
pub use scope::Scope;
pub use secret::Secret;
pub use vendor::Vendor;

//! Integrations: what is registered of a vendor's account, how it is changed and shown.
//!
//! Source: the public contract, section 5.

mod input;
mod member;
mod record;
mod rules;

pub use input::{ExtraHeader, IntegrationCreate, IntegrationUpdate, VendorCredentials};
pub use member::{
    AgentRegister, AttributionRegister, CommunityRegister, Member, agent_check, attribution_check,
    community_check,
};
pub use record::{Access, AccessState, DataAccess, IntegrationRecord};
pub use rules::{Change, Checked, NAME_MAX_CHARS, Terms, check_create, check_update, one_line};

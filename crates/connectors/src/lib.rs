//! The vendors Portico writes to: a folder a vendor, and a line in the registry.
//!
//! [`connector`] is what a vendor is made of, [`write_operation`] a write that it takes, [`registry`]
//! has all of them. Guarantee: a connector makes one call and says how it ended. It never sleeps,
//! repeats, or logs a body; what to do next is `delivery`'s.

pub mod access;
pub mod component;
pub mod connector;
pub mod dial;
pub mod foreign;
pub mod http_vendor;
pub mod knock;
pub mod mapping;
mod masking;
pub mod matrix;
pub mod outgoing;
pub mod reach;
pub mod registry;
pub mod sandbox;
pub mod vendor_client;
pub mod write_operation;

pub use self::{
    connector::{Answer, Connector, FetchFailure, Fetched, Target},
    registry::{Registry, VENDORS},
    write_operation::Prepared,
};

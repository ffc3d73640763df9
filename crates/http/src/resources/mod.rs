//! The resources of the CRM, a folder each: the operations that write them, and how they are read.

pub mod agents;
pub mod appointments;
pub mod attributions;
pub mod communities;
pub mod events;
pub mod listings;
pub mod prospects;

//! Administration: the operations for those who run integrations, and see what became of writes.

pub mod audit;
pub mod data_diffs;
pub mod events;
pub mod integrations;
pub mod keys;
pub mod log;
pub mod normalization;
pub mod privacy;
pub mod users;
pub mod webhooks;
pub mod writes;

//! What callers send and read, a folder a resource: input, rules, record, examples.

pub mod agent;
pub mod attribution;
pub mod community;
pub mod integer;
pub mod prospect;

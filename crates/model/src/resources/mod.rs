//! What callers send and read, a folder a resource: input, rules, record, examples.

pub mod integer;
pub mod prospect;

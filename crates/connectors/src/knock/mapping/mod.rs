//! Our resources in Knock's words, a file a resource.

pub mod prospect;

//! Privacy: what prospects agreed to, and forgetting them.

pub mod consents;
pub mod erasure;

//! API keys: how one is made, rotated and shown.

mod input;
mod record;
mod rules;

pub use input::{KeyCreate, RateLimitInput};
pub use record::{KeyRecord, TokenRecord};
pub use rules::{Checked, OVERLAP_DEFAULT_S, OVERLAP_MAX_S, check_change, check_create};

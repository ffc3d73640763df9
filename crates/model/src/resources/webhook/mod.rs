//! Subscriptions to events: how one is made, changed and shown.

mod input;
mod record;
mod rules;

pub use input::{Header, Model, WebhookCreate, WebhookUpdate};
pub use record::{HeaderRecord, TriggerRecord, WebhookRecord};
pub use rules::{Checked, check_create, check_update};

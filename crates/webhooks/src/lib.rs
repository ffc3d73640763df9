//! Webhooks: what has happened, told to whoever subscribed.
//!
//! Guarantee: a subscriber chooses a url, never a place inside the operator's network: the rule is the same when a subscription is saved, tested and sent
//! to, and it is put to the very addresses that are connected to. Every delivery is signed.

pub mod addresses;
pub mod announcer;
pub mod client;
pub mod guard;
pub mod resolver;
pub mod sender;
pub mod signing;

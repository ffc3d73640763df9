//! Answers that are kept in memory for a moment.
//!
//! Guarantee: bounded; a cache that forgets costs time, and nothing else.

pub mod availability;
pub mod depths;
pub mod events;
pub mod walks;

/// All of them.
#[derive(Default)]
pub struct Cache {
    /// The newest events.
    pub events: events::Tail,
    /// The places where pages of lists ended.
    pub walks: walks::Walks,
    /// The times that vendors have offered for tours.
    pub availability: availability::Answers,
    /// The depths of the queues.
    pub depths: depths::Depths,
}

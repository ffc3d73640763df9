//! The times that vendors have offered for tours, for a few seconds.
//!
//! Guarantee: a vendor hears the same question once in [`KEPT_MS`], however many callers ask it;
//! bounded by the communities there are and the kinds of tours of the vendors' schemas, since nothing
//! else can be asked about.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use connectors::FetchFailure;
use model::{CommunityId, Timestamp, resources::appointment::Availability};

/// How long an answer is given again, in milliseconds: slots change when somebody books, and pages
/// that show them ask all at once.
pub const KEPT_MS: i64 = 10_000;

/// How long the vendor is left alone after it failed, in milliseconds.
pub const TROUBLE_KEPT_MS: i64 = 1_000;

/// A community, and how the tour would be made.
pub type Question = (CommunityId, String);

/// The last answer, and until when it is given again.
pub type Kept = Option<(Timestamp, Result<Availability, FetchFailure>)>;

/// The last answer to each question.
#[derive(Default)]
pub struct Answers(Mutex<HashMap<Question, Arc<tokio::sync::Mutex<Kept>>>>);

impl Answers {
    /// The last answer to a question. Its lock is held while the vendor is asked, so that callers
    /// who ask the same meanwhile wait for that answer.
    pub fn of(&self, question: Question) -> Arc<tokio::sync::Mutex<Kept>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.entry(question).or_default().clone()
    }
}

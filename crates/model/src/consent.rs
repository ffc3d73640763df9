//! What was said about automated messages to a person, and whether somebody said it.
//!
//! Guarantee: a default is never taken for a statement.

/// What `subscribe` was where the body of a write did not say, while writes did not keep consents.
pub const DEFAULT_OF_OLD_WRITES: bool = true;

/// The consent that came with a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Consent {
    /// Whether automated messages may go to the person.
    pub value: bool,
    /// Whether the caller said so; else the contract's default filled it in.
    pub is_stated: bool,
}

impl Consent {
    /// Of what a body says; `default` stands where it says nothing.
    pub fn of(stated: Option<bool>, default: bool) -> Self {
        Self {
            value: stated.unwrap_or(default),
            is_stated: stated.is_some(),
        }
    }
}

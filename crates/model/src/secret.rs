//! Values that must never be printed.
//!
//! Guarantee: [`Secret`] has no `Debug`, `Display` or `Serialize`, so neither a log line nor an answer can
//! show one by accident; its memory is wiped when it is dropped.

use secrecy::{ExposeSecret, SecretString};

/// A vendor credential, a webhook secret or a token.
#[derive(Clone)]
pub struct Secret(SecretString);

impl Secret {
    /// Takes a text into custody.
    pub fn new(text: impl Into<String>) -> Self {
        Self(SecretString::from(text.into()))
    }

    /// The text itself, for the one call that needs it.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

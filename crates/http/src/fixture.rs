//! Ids for tests.

use model::{Entropy, KeyId, Timestamp};

/// Entropy that is one byte again and again, so that equal numbers make equal ids.
pub(crate) struct Fixed(pub(crate) u8);

impl Entropy for Fixed {
    fn bytes(&self) -> [u8; 16] {
        [self.0; 16]
    }
}

/// The id of the key with a number.
pub(crate) fn key(number: u8) -> KeyId {
    KeyId::new(Timestamp::ZERO, &Fixed(number))
}

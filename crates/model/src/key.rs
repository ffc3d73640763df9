//! API keys and their tokens.
//!
//! A token is `ptk_live_` or `ptk_test_`, 43 base-62 characters (256 random bits) and 6 of a CRC-32 checksum: a secret
//! scanner can find one with a pattern and tell it from noise without asking us.
//! Guarantee: only the SHA-256 hash of a token is kept; a token with a wrong checksum is refused before any look-up.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    clock::{Entropy, Timestamp},
    id::{IntegrationId, KeyId},
    secret::Secret,
};

const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Base-62 digits that 256 bits take.
const RANDOM_DIGITS: usize = 43;

/// Base-62 digits that a CRC-32 takes.
const CHECK_DIGITS: usize = 6;

/// What a key may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Permission {
    /// See records and outcomes.
    Read,
    /// Send writes.
    Write,
    /// Administer: see attempts and retry writes.
    Admin,
}

impl Permission {
    /// Every permission.
    pub const ALL: [Self; 3] = [Self::Read, Self::Write, Self::Admin];

    /// Its name in requests and answers.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Permission {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|p| p.name() == text)
            .ok_or_else(|| "a permission is one of read, write, admin".to_owned())
    }
}

/// Whether a key or an integration concerns real people or play.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum System {
    /// Real prospects at a real vendor.
    Production,
    /// The sandbox.
    Sandbox,
}

impl System {
    const fn token_prefix(self) -> &'static str {
        match self {
            Self::Production => "ptk_live_",
            Self::Sandbox => "ptk_test_",
        }
    }
}

/// A stored key: everything about it but its token.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Key {
    /// Its id.
    pub id: KeyId,
    /// What its owner calls it.
    pub name: String,
    /// Whether its token begins `ptk_live_` or `ptk_test_`.
    pub system: System,
    /// What it may do.
    pub permissions: Vec<Permission>,
    /// The integrations it is limited to; all when absent.
    pub integrations: Option<Vec<IntegrationId>>,
    /// SHA-256 of the token, 64 hexadecimal digits.
    pub token_hash: String,
    /// The token's last four characters, to tell keys apart in a list.
    pub token_end: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was revoked, if it was.
    pub revoked_at: Option<Timestamp>,
}

fn base62(mut number: Vec<u8>, digits: usize) -> String {
    let mut text = vec![b'0'; digits];
    for place in text.iter_mut().rev() {
        let mut remainder: u32 = 0;
        for byte in &mut number {
            let value = remainder * 256 + u32::from(*byte);
            *byte = (value / 62) as u8;
            remainder = value % 62;
        }
        *place = BASE62[remainder as usize];
    }
    text.into_iter().map(char::from).collect()
}

fn checksum(body: &str) -> String {
    base62(
        crc32fast::hash(body.as_bytes()).to_be_bytes().to_vec(),
        CHECK_DIGITS,
    )
}

/// A new token for `system`. It is shown once and then known only by its hash.
pub fn token_new(system: System, entropy: &dyn Entropy) -> Secret {
    let random = [entropy.bytes(), entropy.bytes()].concat();
    let body = format!("{}{}", system.token_prefix(), base62(random, RANDOM_DIGITS));
    let check = checksum(&body);
    Secret::new(body + &check)
}

/// The hash under which a token is kept, or `None` when the text cannot be one of our tokens
/// (prefix, length or checksum wrong).
pub fn token_hash(text: &str) -> Option<[u8; 32]> {
    let prefixed = [System::Production, System::Sandbox]
        .iter()
        .any(|system| text.starts_with(system.token_prefix()));
    let length = System::Production.token_prefix().len() + RANDOM_DIGITS + CHECK_DIGITS;
    if !prefixed || text.len() != length || !text.is_ascii() {
        return None;
    }
    let (body, check) = text.split_at(length - CHECK_DIGITS);
    (checksum(body) == check).then(|| Sha256::digest(text.as_bytes()).into())
}

/// `bytes` in lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Counter(std::cell::Cell<u8>);
    // A test runs on one thread; the trait asks for Sync because production does not.
    struct Locked(std::sync::Mutex<Counter>);
    impl Entropy for Locked {
        fn bytes(&self) -> [u8; 16] {
            let counter = self.0.lock().unwrap();
            counter.0.set(counter.0.get().wrapping_add(1));
            [counter.0.get(); 16]
        }
    }

    #[test]
    fn a_token_is_recognised_and_a_changed_one_is_not() {
        let entropy = Locked(std::sync::Mutex::new(Counter(std::cell::Cell::new(0))));
        for system in [System::Production, System::Sandbox] {
            let token = token_new(system, &entropy);
            let text = token.expose().to_owned();
            assert_eq!(text.len(), 58);
            assert!(token_hash(&text).is_some());
            for place in 9..text.len() {
                let mut changed = text.clone().into_bytes();
                changed[place] = if changed[place] == b'a' { b'b' } else { b'a' };
                assert_eq!(token_hash(&String::from_utf8(changed).unwrap()), None);
            }
        }
        assert_eq!(token_hash(""), None);
        assert_eq!(token_hash(&"é".repeat(29)), None);
    }

    #[test]
    fn base_62_counts() {
        assert_eq!(base62(vec![0], 2), "00");
        assert_eq!(base62(vec![61], 2), "0z");
        assert_eq!(base62(vec![1, 0], 3), "048");
    }
}

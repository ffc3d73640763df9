//! API keys and their tokens.
//!
//! A token is `ptk_live_` or `ptk_test_`, 43 base-62 characters (256 random bits) and 6 of a CRC-32 checksum: a secret
//! scanner can find one with a pattern and tell it from noise without asking us.
//! Guarantee: only the SHA-256 hash of a token is kept; a token with a wrong checksum is refused before any look-up.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    clock::{Entropy, Timestamp},
    id::{IntegrationId, KeyId},
    permission::Permission,
    secret::Secret,
};

const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Base-62 digits that 256 bits take.
const RANDOM_DIGITS: usize = 43;

/// Base-62 digits that a CRC-32 takes.
const CHECK_DIGITS: usize = 6;

/// Characters of a token that are shown after it was made.
const TOKEN_END_CHARS: usize = 4;

/// Whether a key or an integration concerns real people or play.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "UPPERCASE")]
#[schema(as = SystemLabel)]
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

/// How many requests a key may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    /// Over any minute, on the long run: 1 to [`RateLimit::MAX`].
    pub requests_per_minute: u32,
    /// At once, after a pause: 1 to [`RateLimit::MAX`].
    pub burst: u32,
}

impl RateLimit {
    /// The most that either may be: a request a microsecond.
    pub const MAX: u32 = 60_000_000;

    /// No limit that anyone could reach.
    pub const NONE: Self = Self {
        requests_per_minute: Self::MAX,
        burst: Self::MAX,
    };
}

/// A token of a key as it is kept: it can be recognised, and not be shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// SHA-256 of it, 64 hexadecimal digits.
    pub hash: String,
    /// Its last four characters, to tell tokens apart in a list.
    pub end: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// From when on it is not taken any more, though its key may be: it was rotated.
    #[serde(default)]
    pub expires_at: Option<Timestamp>,
}

/// A stored key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Key {
    /// Its id.
    pub id: KeyId,
    /// What its owner calls it.
    pub name: String,
    /// Whether its tokens begin `ptk_live_` or `ptk_test_`: for people and for secret scanners; it limits nothing.
    pub system: System,
    /// What it may do.
    pub permissions: Vec<Permission>,
    /// The integrations it is limited to; all when absent.
    pub integrations: Option<Vec<IntegrationId>>,
    /// How many requests it may send; what the server has set for all when absent.
    #[serde(default)]
    pub rate_limit: Option<RateLimit>,
    /// Its tokens, the newest last: one, or more for a while after it was rotated.
    pub tokens: Vec<Token>,
    /// When it was made.
    pub created_at: Timestamp,
    /// From when on it is not taken any more.
    #[serde(default)]
    pub expires_at: Option<Timestamp>,
    /// When it was revoked, if it was.
    #[serde(default)]
    pub revoked_at: Option<Timestamp>,
    /// When a request was last made with it, within a minute.
    #[serde(default)]
    pub last_used_at: Option<Timestamp>,
}

impl Key {
    /// A key that does not expire, with its first token.
    pub fn new(
        id: KeyId,
        name: impl Into<String>,
        system: System,
        permissions: &[Permission],
        integrations: Option<Vec<IntegrationId>>,
        token: Token,
    ) -> Self {
        Self {
            id,
            name: name.into(),
            system,
            permissions: permissions.to_vec(),
            integrations,
            rate_limit: None,
            created_at: token.created_at,
            tokens: vec![token],
            expires_at: None,
            revoked_at: None,
            last_used_at: None,
        }
    }

    /// Whether the token whose hash this is opens anything at `now`.
    pub fn is_in_force(&self, token_hash: &str, now: Timestamp) -> bool {
        let not_over = |at: Option<Timestamp>| at.is_none_or(|at| at > now);
        not_over(self.revoked_at)
            && not_over(self.expires_at)
            && self
                .tokens
                .iter()
                .any(|token| token.hash == token_hash && not_over(token.expires_at))
    }

    /// Gives it a new token; those it had are taken until `old_until` at the latest. Tokens that are over by `now` are forgotten.
    pub fn rotate(&mut self, token: Token, old_until: Timestamp, now: Timestamp) {
        for old in &mut self.tokens {
            old.expires_at = Some(old.expires_at.map_or(old_until, |at| at.min(old_until)));
        }
        self.tokens
            .retain(|old| old.expires_at.is_none_or(|at| at > now));
        self.tokens.push(token);
    }
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

/// A new token for `system`, and what is kept of it.
///
/// # Errors
/// In words, when what was made is not a token: a fault of Portico.
pub fn token_make(
    system: System,
    entropy: &dyn Entropy,
    now: Timestamp,
) -> Result<(Secret, Token), String> {
    let secret = token_new(system, entropy);
    let hash = token_hash(secret.expose()).ok_or("the token just made is not one")?;
    let end = &secret.expose()[secret.expose().len() - TOKEN_END_CHARS..];
    let token = Token {
        hash: crate::hex::encode(&hash),
        end: end.to_owned(),
        created_at: now,
        expires_at: None,
    };
    Ok((secret, token))
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

//! Master keys and their names.
//!
//! Guarantee: a key has no text form but the one it was read from, and its id tells nothing of it.

use std::fmt;

use chacha20poly1305::{XChaCha20Poly1305, aead::KeyInit};
use model::{Secret, hex};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::audit_key::AuditKey;
use crate::Error;

/// Bytes of a master key.
pub const MASTER_KEY_BYTES: usize = 32;

/// Keys that a source may yield: the newest, the one it replaces, and some more for who keeps them.
pub const KEYS_MAX: usize = 8;

/// Bytes of a key's id.
pub(super) const KEY_ID_BYTES: usize = 8;

/// What a master key is called: a digest of it, so that a wrong key is recognised before anything is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MasterKeyId([u8; KEY_ID_BYTES]);

impl MasterKeyId {
    /// From its bytes, as they stand in a blob.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for MasterKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0))
    }
}

/// A master key.
#[derive(Clone)]
pub struct MasterKey {
    id: MasterKeyId,
    pub(super) cipher: XChaCha20Poly1305,
    audit: AuditKey,
}

/// The bytes that 64 hexadecimal digits are.
pub(super) fn digits(text: &str) -> Option<Zeroizing<[u8; MASTER_KEY_BYTES]>> {
    let mut bytes = Zeroizing::new([0_u8; MASTER_KEY_BYTES]);
    hex::decode_into(text, &mut bytes)?;
    Some(bytes)
}

impl MasterKey {
    /// The key written as 64 hexadecimal digits, as `openssl rand -hex 32` prints it.
    ///
    /// # Errors
    /// When the text is not such a key.
    pub fn parse(key: &Secret) -> Result<Self, Error> {
        let wrong = || Error::MasterKey("it must be 64 hexadecimal digits (32 bytes)".to_owned());
        let bytes = digits(key.expose().trim()).ok_or_else(wrong)?;
        let digest = Sha256::new()
            .chain_update(b"portico master key id")
            .chain_update(&bytes[..])
            .finalize();
        let id = MasterKeyId::from_bytes(&digest[..KEY_ID_BYTES]).ok_or_else(wrong)?;
        let cipher = XChaCha20Poly1305::new_from_slice(&bytes[..]).map_err(|_| wrong())?;
        let audit = AuditKey::derived(&bytes);
        Ok(Self { id, cipher, audit })
    }

    /// What it is called.
    pub const fn id(&self) -> MasterKeyId {
        self.id
    }

    /// The key of the audit log that follows from it.
    pub(crate) const fn audit(&self) -> &AuditKey {
        &self.audit
    }
}

/// The keys that a text has, separated by white space.
pub fn split(text: &Secret) -> Vec<Secret> {
    text.expose().split_whitespace().map(Secret::new).collect()
}

/// The keys of a source, the first of them first, each once.
pub(super) fn ring(texts: &[Secret]) -> Result<Vec<MasterKey>, Error> {
    if texts.is_empty() {
        return Err(Error::MasterKey("there is none in its source".to_owned()));
    }
    if texts.len() > KEYS_MAX {
        return Err(Error::MasterKey(format!(
            "its source has {} keys, which is more than {KEYS_MAX}; drop those that were replaced",
            texts.len()
        )));
    }
    let mut keys: Vec<MasterKey> = Vec::with_capacity(texts.len());
    for (place, text) in texts.iter().enumerate() {
        let key = MasterKey::parse(text).map_err(|why| match why {
            Error::MasterKey(why) if texts.len() > 1 => {
                Error::MasterKey(format!("number {} of its source: {why}", place + 1))
            }
            why => why,
        })?;
        if !keys.iter().any(|known| known.id == key.id) {
            keys.push(key);
        }
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_master_key_is_64_hexadecimal_digits() {
        let plus = format!("+{}", "a".repeat(63));
        for text in ["", "abc", &"g".repeat(64), &"é".repeat(32), &plus] {
            assert!(matches!(
                MasterKey::parse(&Secret::new(text)),
                Err(Error::MasterKey(_))
            ));
        }
        for text in ["a".repeat(64), format!(" {}\n", "A".repeat(64))] {
            let id = MasterKey::parse(&Secret::new(text)).map(|key| key.id().to_string());
            assert_eq!(id.unwrap_or_default(), "035858bf4c94de67");
        }
    }

    #[test]
    fn a_source_is_one_or_more_keys_between_white_space() {
        let (a, b) = ("a".repeat(64), "b".repeat(64));
        let read = |text: String| ring(&split(&Secret::new(text)));
        let check = |text: String, expected: &[&str]| {
            let expected: Vec<_> = expected
                .iter()
                .map(|text| MasterKey::parse(&Secret::new(*text)).unwrap().id())
                .collect();
            let found: Vec<_> = read(text).unwrap().iter().map(MasterKey::id).collect();
            assert_eq!(found, expected);
        };
        check(a.clone(), &[&a]);
        check(format!("\n {b}\r\n\t{a}\n\n"), &[&b, &a]);
        check(format!("{b} {a} {b}"), &[&b, &a]);

        let refuse = |text: String, part: &str| {
            let why = read(text).err().map(|why| why.to_string());
            assert!(
                why.as_deref().is_some_and(|why| why.contains(part)),
                "{why:?}"
            );
        };
        refuse(" \n".to_owned(), "there is none");
        refuse(format!("{a}\nabc"), "number 2");
        refuse([a.as_str()].repeat(KEYS_MAX + 1).join(" "), "more than 8");
    }
}

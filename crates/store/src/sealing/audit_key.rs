//! Keys that entries of the audit log are authenticated with.
//!
//! Guarantee: one follows from its master key alone, and nobody without that key can make it; it has no
//! text form but the one that is sealed.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use model::{Secret, audit::AUDIT_KEY_ID_BYTES, hex};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::key::digits;

/// Bytes of a key and of a MAC.
const BYTES: usize = 32;

/// Bytes of a block of SHA-256.
const BLOCK_BYTES: usize = 64;

/// What a key is derived for. Another use of the master key has another word.
const PURPOSE: &[u8] = b"portico audit log mac";

/// What such a key is called: a digest of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct AuditKeyId([u8; AUDIT_KEY_ID_BYTES]);

impl AuditKeyId {
    pub(crate) const fn bytes(self) -> [u8; AUDIT_KEY_ID_BYTES] {
        self.0
    }
}

impl fmt::Display for AuditKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0))
    }
}

/// A key of the audit log.
#[derive(Clone)]
pub(crate) struct AuditKey {
    id: AuditKeyId,
    bytes: Zeroizing<[u8; BYTES]>,
}

impl AuditKey {
    /// That of a master key.
    pub(super) fn derived(master: &[u8; BYTES]) -> Self {
        Self::new(Zeroizing::new(mac(master, PURPOSE)))
    }

    fn new(bytes: Zeroizing<[u8; BYTES]>) -> Self {
        let digest = Sha256::new()
            .chain_update(b"portico audit key id")
            .chain_update(&bytes[..])
            .finalize();
        let mut id = [0; AUDIT_KEY_ID_BYTES];
        id.copy_from_slice(&digest[..AUDIT_KEY_ID_BYTES]);
        Self {
            id: AuditKeyId(id),
            bytes,
        }
    }

    /// The key that was sealed as this text.
    pub(crate) fn of(text: &Secret) -> Option<Self> {
        digits(text.expose()).map(Self::new)
    }

    /// As the text that is sealed.
    pub(crate) fn secret(&self) -> Secret {
        Secret::new(hex::encode(&self.bytes[..]))
    }

    pub(crate) const fn id(&self) -> AuditKeyId {
        self.id
    }

    /// The MAC of an entry with this hash, which covers the entry and all before it.
    pub(crate) fn mac(&self, hash: &[u8]) -> [u8; BYTES] {
        mac(&self.bytes, hash)
    }
}

fn mac(key: &[u8; BYTES], of: &[u8]) -> [u8; BYTES] {
    // A key that is shorter than a block is one with zeros behind it.
    let mut block = Zeroizing::new([0; BLOCK_BYTES]);
    block[..BYTES].copy_from_slice(key);
    let mut mac = Hmac::<Sha256>::new((&*block).into());
    mac.update(of);
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_follows_from_its_master_key_and_survives_being_sealed() {
        let one = AuditKey::derived(&[1; BYTES]);
        assert_eq!(one.id(), AuditKey::derived(&[1; BYTES]).id());
        assert_ne!(one.id(), AuditKey::derived(&[2; BYTES]).id());
        // printf 'portico audit log mac' | openssl dgst -sha256 -mac HMAC -macopt hexkey:0101...01
        assert_eq!(
            one.secret().expose(),
            "75548d3621c03276ae3d52cabc0dd4f487ba74061bdc550e975f32db47972003"
        );
        let again = AuditKey::of(&one.secret()).expect("a key");
        assert_eq!(again.id(), one.id());
        assert_eq!(again.mac(b"hash"), one.mac(b"hash"));
        assert_ne!(one.mac(b"hash"), one.mac(b"other"));
        for text in ["", "0", &"g".repeat(64), &"a".repeat(63)] {
            assert!(AuditKey::of(&Secret::new(text)).is_none(), "{text}");
        }
    }
}

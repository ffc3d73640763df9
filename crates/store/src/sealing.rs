//! Secrets at rest.
//!
//! Guarantee: a sealed blob tells nothing without the master key, cannot be moved to another owner (the owner's id is authenticated
//! with it), and names the key that sealed it, so that a wrong key is recognised before anything is tried.
//!
//! Layout: version (1 byte, = 1), key id (8), nonce (24), ciphertext with tag. XChaCha20-Poly1305.

use std::sync::Arc;

use chacha20poly1305::{
    XChaCha20Poly1305, XNonce,
    aead::{Aead, KeyInit, Payload},
};
use model::{Entropy, Secret};
use sha2::{Digest, Sha256};

use crate::Error;

const VERSION: u8 = 1;
const KEY_ID_BYTES: usize = 8;
const NONCE_BYTES: usize = 24;

/// Bytes of a master key.
pub const MASTER_KEY_BYTES: usize = 32;

/// Seals and opens secrets under one master key.
#[derive(Clone)]
pub struct Sealer {
    cipher: XChaCha20Poly1305,
    key_id: [u8; KEY_ID_BYTES],
    entropy: Arc<dyn Entropy>,
}

impl Sealer {
    /// A sealer under the key written as 64 hexadecimal digits, as `openssl rand -hex 32` prints it.
    ///
    /// # Errors
    /// When the text is not such a key.
    pub fn new(key: &Secret, entropy: Arc<dyn Entropy>) -> Result<Self, Error> {
        let wrong = || Error::MasterKey("it must be 64 hexadecimal digits (32 bytes)".to_owned());
        let text = key.expose().trim();
        if text.len() != 2 * MASTER_KEY_BYTES || !text.is_ascii() {
            return Err(wrong());
        }
        let mut bytes = [0_u8; MASTER_KEY_BYTES];
        for (place, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * place..2 * place + 2], 16).map_err(|_| wrong())?;
        }
        let mut key_id = [0_u8; KEY_ID_BYTES];
        let digest = Sha256::new()
            .chain_update(b"portico master key id")
            .chain_update(bytes)
            .finalize();
        key_id.copy_from_slice(&digest[..KEY_ID_BYTES]);
        Ok(Self {
            cipher: XChaCha20Poly1305::new(&bytes.into()),
            key_id,
            entropy,
        })
    }

    /// Seals `secret` for `owner`.
    ///
    /// # Errors
    /// When it is too long to seal (gigabytes).
    pub fn seal(&self, owner: &str, secret: &Secret) -> Result<Vec<u8>, Error> {
        let mut nonce = [0_u8; NONCE_BYTES];
        let random = [self.entropy.bytes(), self.entropy.bytes()].concat();
        nonce.copy_from_slice(&random[..NONCE_BYTES]);
        let payload = Payload {
            msg: secret.expose().as_bytes(),
            aad: owner.as_bytes(),
        };
        let sealed = self
            .cipher
            .encrypt(&XNonce::from(nonce), payload)
            .map_err(|_| Error::MasterKey("the secret cannot be sealed".to_owned()))?;
        Ok([&[VERSION][..], &self.key_id, &nonce, &sealed].concat())
    }

    /// Opens what was sealed for `owner`.
    ///
    /// # Errors
    /// When it was sealed under another key, for another owner, or was changed.
    pub fn open(&self, owner: &str, blob: &[u8]) -> Result<Secret, Error> {
        let damaged = || Error::Corrupt(format!("the sealed secret of {owner} is damaged"));
        let (head, sealed) = blob
            .split_at_checked(1 + KEY_ID_BYTES + NONCE_BYTES)
            .ok_or_else(damaged)?;
        if head[0] != VERSION {
            return Err(damaged());
        }
        if head[1..=KEY_ID_BYTES] != self.key_id {
            return Err(Error::MasterKey(format!(
                "the secret of {owner} was sealed under key {}, this is key {}; start with the key it was sealed under",
                model::key::hex(&head[1..=KEY_ID_BYTES]),
                model::key::hex(&self.key_id)
            )));
        }
        let mut nonce = [0_u8; NONCE_BYTES];
        nonce.copy_from_slice(&head[1 + KEY_ID_BYTES..]);
        let payload = Payload {
            msg: sealed,
            aad: owner.as_bytes(),
        };
        let plain = self
            .cipher
            .decrypt(&XNonce::from(nonce), payload)
            .map_err(|_| damaged())?;
        String::from_utf8(plain)
            .map(Secret::new)
            .map_err(|_| damaged())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed;
    impl Entropy for Fixed {
        fn bytes(&self) -> [u8; 16] {
            [7; 16]
        }
    }

    fn sealer(digit: &str) -> Sealer {
        Sealer::new(&Secret::new(digit.repeat(64)), Arc::new(Fixed))
            .unwrap_or_else(|_| panic!("a key"))
    }

    #[test]
    fn opens_what_it_sealed_and_nothing_else() {
        let blob = sealer("a")
            .seal("int_1", &Secret::new("knock"))
            .unwrap_or_default();
        assert!(
            sealer("a")
                .open("int_1", &blob)
                .is_ok_and(|secret| secret.expose() == "knock")
        );
        assert!(sealer("a").open("int_2", &blob).is_err());
        assert!(matches!(
            sealer("b").open("int_1", &blob),
            Err(Error::MasterKey(_))
        ));
        for place in 0..blob.len() {
            let mut changed = blob.clone();
            changed[place] ^= 1;
            assert!(sealer("a").open("int_1", &changed).is_err(), "{place}");
        }
        assert!(sealer("a").open("int_1", &blob[..20]).is_err());
        assert!(!blob.windows(5).any(|part| part == b"knock"));
    }

    #[test]
    fn a_master_key_is_64_hexadecimal_digits() {
        for text in ["", "abc", &"g".repeat(64), &"é".repeat(32)] {
            assert!(matches!(
                Sealer::new(&Secret::new(text), Arc::new(Fixed)),
                Err(Error::MasterKey(_))
            ));
        }
    }
}

//! A sealed secret, as bytes.
//!
//! Version 2, an envelope: version (1 byte, = 2), master key id (8), nonce (24), data key sealed under the master key (32 + 16), nonce (24), secret sealed
//! under the data key (+ 16). Both seals authenticate version, layer, owner and purpose. Each secret has a data key of its own, so that another master key means
//! another wrapping of 32 bytes, and no secret is opened for it.
//!
//! Version 1, which is only read: version (1 byte, = 1), master key id (8), nonce (24), credential sealed under the master key (+ 16); the owner is authenticated.

use chacha20poly1305::{
    XChaCha20Poly1305, XNonce,
    aead::{Aead, KeyInit, Payload},
};
use model::{Entropy, Secret};
use zeroize::Zeroizing;

use super::{
    Purpose,
    key::{KEY_ID_BYTES, MasterKey, MasterKeyId},
};
use crate::Error;

/// The version that is written.
const VERSION: u8 = 2;

/// The version before there were envelopes.
const VERSION_DIRECT: u8 = 1;

const DATA_KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 24;
const TAG_BYTES: usize = 16;

/// Bytes that tell what a blob is sealed under: version and key id.
pub(crate) const PREFIX_BYTES: usize = 1 + KEY_ID_BYTES;

/// What a blob of the version written begins with under the key `id`.
pub(crate) fn prefix(id: MasterKeyId) -> Vec<u8> {
    [&[VERSION][..], id.as_bytes()].concat()
}

/// The key that a blob with this beginning is sealed under; nothing when no blob begins so.
pub(crate) fn prefix_key(prefix: &[u8]) -> Option<MasterKeyId> {
    let (version, id) = prefix.split_first()?;
    ([VERSION, VERSION_DIRECT].contains(version))
        .then(|| MasterKeyId::from_bytes(id.get(..KEY_ID_BYTES)?))
        .flatten()
}

/// What is sealed: whose and what for.
#[derive(Clone, Copy)]
pub(super) struct Of<'a> {
    pub(super) owner: &'a str,
    pub(super) purpose: Purpose,
}

/// Which of the two seals of an envelope.
#[derive(Clone, Copy)]
enum Layer {
    Key = 1,
    Secret = 2,
}

impl Of<'_> {
    /// What a seal authenticates beside what it hides. Of fixed order and with the owner's length, so that no two things read the same.
    fn bound(self, layer: Layer) -> Vec<u8> {
        let owner = self.owner.as_bytes();
        let head = [VERSION, layer as u8];
        let length = (owner.len() as u64).to_be_bytes();
        [&head[..], &length, owner, self.purpose.word().as_bytes()].concat()
    }

    fn damaged(self) -> Error {
        Error::Corrupt(format!(
            "the sealed {} of {} is damaged",
            self.purpose.word(),
            self.owner
        ))
    }
}

/// The parts of a version 2 blob.
struct Envelope<'a> {
    wrapped_nonce: &'a [u8],
    wrapped: &'a [u8],
    nonce: &'a [u8],
    sealed: &'a [u8],
}

impl<'a> Envelope<'a> {
    fn read(rest: &'a [u8]) -> Option<Self> {
        let (wrapped_nonce, rest) = rest.split_at_checked(NONCE_BYTES)?;
        let (wrapped, rest) = rest.split_at_checked(DATA_KEY_BYTES + TAG_BYTES)?;
        let (nonce, sealed) = rest.split_at_checked(NONCE_BYTES)?;
        Some(Self {
            wrapped_nonce,
            wrapped,
            nonce,
            sealed,
        })
    }

    fn data_key(&self, key: &MasterKey, of: Of<'_>) -> Result<Zeroizing<Vec<u8>>, Error> {
        decrypt(
            &key.cipher,
            self.wrapped_nonce,
            self.wrapped,
            &of.bound(Layer::Key),
        )
        .map(Zeroizing::new)
        .ok_or_else(|| of.damaged())
    }
}

fn decrypt(
    cipher: &XChaCha20Poly1305,
    nonce: &[u8],
    sealed: &[u8],
    bound: &[u8],
) -> Option<Vec<u8>> {
    let nonce: [u8; NONCE_BYTES] = nonce.try_into().ok()?;
    let payload = Payload {
        msg: sealed,
        aad: bound,
    };
    cipher.decrypt(&XNonce::from(nonce), payload).ok()
}

fn encrypt(
    cipher: &XChaCha20Poly1305,
    entropy: &dyn Entropy,
    plain: &[u8],
    bound: &[u8],
) -> Result<[Vec<u8>; 2], Error> {
    let mut nonce = [0_u8; NONCE_BYTES];
    let random = [entropy.bytes(), entropy.bytes()].concat();
    nonce.copy_from_slice(&random[..NONCE_BYTES]);
    let payload = Payload {
        msg: plain,
        aad: bound,
    };
    let sealed = cipher
        .encrypt(&XNonce::from(nonce), payload)
        .map_err(|_| Error::MasterKey("the secret cannot be sealed".to_owned()))?;
    Ok([nonce.to_vec(), sealed])
}

/// The key that sealed `blob`, and what follows its name.
fn head<'a>(blob: &'a [u8], of: Of<'_>) -> Result<(u8, MasterKeyId, &'a [u8]), Error> {
    let damaged = || of.damaged();
    let (prefix, rest) = blob.split_at_checked(PREFIX_BYTES).ok_or_else(damaged)?;
    let id = prefix_key(prefix).ok_or_else(damaged)?;
    Ok((prefix[0], id, rest))
}

pub(super) fn seal(
    key: &MasterKey,
    entropy: &dyn Entropy,
    of: Of<'_>,
    secret: &Secret,
) -> Result<Vec<u8>, Error> {
    let data_key = Zeroizing::new([entropy.bytes(), entropy.bytes()].concat());
    let cipher = XChaCha20Poly1305::new_from_slice(&data_key).map_err(|_| of.damaged())?;
    let wrapped = encrypt(&key.cipher, entropy, &data_key, &of.bound(Layer::Key))?.concat();
    let sealed = encrypt(
        &cipher,
        entropy,
        secret.expose().as_bytes(),
        &of.bound(Layer::Secret),
    )?
    .concat();
    Ok([prefix(key.id()), wrapped, sealed].concat())
}

/// `find` gives the key of an id, or why there is none.
pub(super) fn open<'k>(
    find: impl FnOnce(MasterKeyId) -> Result<&'k MasterKey, Error>,
    of: Of<'_>,
    blob: &[u8],
) -> Result<Secret, Error> {
    let (version, id, rest) = head(blob, of)?;
    let key = find(id)?;
    let damaged = || of.damaged();
    let plain = if version == VERSION_DIRECT {
        // Whatever was sealed so was a credential.
        if of.purpose != Purpose::Credential {
            return Err(damaged());
        }
        let (nonce, sealed) = rest.split_at_checked(NONCE_BYTES).ok_or_else(damaged)?;
        decrypt(&key.cipher, nonce, sealed, of.owner.as_bytes())
    } else {
        let envelope = Envelope::read(rest).ok_or_else(damaged)?;
        let data_key = envelope.data_key(key, of)?;
        let cipher = XChaCha20Poly1305::new_from_slice(&data_key).map_err(|_| damaged())?;
        decrypt(
            &cipher,
            envelope.nonce,
            envelope.sealed,
            &of.bound(Layer::Secret),
        )
    };
    plain
        .and_then(|plain| String::from_utf8(plain).ok())
        .map(Secret::new)
        .ok_or_else(damaged)
}

/// `blob` under `key`; nothing when it is already.
pub(super) fn rewrap<'k>(
    key: &MasterKey,
    find: impl Fn(MasterKeyId) -> Result<&'k MasterKey, Error>,
    entropy: &dyn Entropy,
    of: Of<'_>,
    blob: &[u8],
) -> Result<Option<Vec<u8>>, Error> {
    let (version, id, rest) = head(blob, of)?;
    if version == VERSION_DIRECT {
        let secret = open(find, of, blob)?;
        return seal(key, entropy, of, &secret).map(Some);
    }
    if id == key.id() {
        return Ok(None);
    }
    let envelope = Envelope::read(rest).ok_or_else(|| of.damaged())?;
    let data_key = envelope.data_key(find(id)?, of)?;
    let wrapped = encrypt(&key.cipher, entropy, &data_key, &of.bound(Layer::Key))?.concat();
    Ok(Some(
        [
            &prefix(key.id())[..],
            &wrapped,
            envelope.nonce,
            envelope.sealed,
        ]
        .concat(),
    ))
}

/// A blob as the first version wrote it.
#[cfg(test)]
pub(crate) fn seal_direct(
    key: &MasterKey,
    entropy: &dyn Entropy,
    owner: &str,
    secret: &str,
) -> Vec<u8> {
    let [nonce, sealed] =
        encrypt(&key.cipher, entropy, secret.as_bytes(), owner.as_bytes()).unwrap();
    [
        &[VERSION_DIRECT][..],
        key.id().as_bytes(),
        &nonce[..],
        &sealed,
    ]
    .concat()
}

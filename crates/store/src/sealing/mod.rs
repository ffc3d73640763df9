//! Secrets at rest.
//!
//! Guarantee: a sealed blob tells nothing without its master key, can be moved neither to another owner nor to another purpose (both are authenticated
//! with it), and names the key that sealed it, so that a wrong key is recognised before anything is tried. A [`Sealer`] learns of a new key while it is in
//! use, by reading its source again.

pub(crate) mod audit_key;
pub(crate) mod blob;
mod key;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use model::{Entropy, Secret};

pub use self::key::{KEYS_MAX, MASTER_KEY_BYTES, MasterKey, MasterKeyId, split};
use crate::Error;

/// How soon a source is read again at most: a command may be a call to a key server, and a key that is not there asks for it at every turn.
const READ_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// What a secret is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A vendor's credential of an integration.
    Credential,
    /// What a webhook's deliveries are signed with, and the values of its headers.
    WebhookSecret,
    /// What entries of the audit log are authenticated with.
    AuditKey,
    /// The token that a vendor has given for an integration.
    VendorToken,
}

impl Purpose {
    /// Its word, which every blob authenticates.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Credential => "credential",
            Self::WebhookSecret => "webhook_secret",
            Self::AuditKey => "audit_key",
            Self::VendorToken => "vendor_token",
        }
    }
}

/// Where master keys come from.
pub trait KeySource: Send + Sync + 'static {
    /// The keys there are now: the one that is to seal first, then those that only open. May block.
    ///
    /// # Errors
    /// Why they cannot be read, in words without anything of a key.
    fn read(&self) -> Result<Vec<Secret>, String>;
}

/// Keys that stay as they are.
struct Fixed(Vec<Secret>);

impl KeySource for Fixed {
    fn read(&self) -> Result<Vec<Secret>, String> {
        Ok(self.0.clone())
    }
}

/// Seals and opens secrets under the master keys of a source. Clones share what they learn.
#[derive(Clone)]
pub struct Sealer {
    source: Arc<dyn KeySource>,
    ring: Arc<Mutex<Ring>>,
    /// When the source was last read again. Held while it is read, so that who waits for it reads it once.
    read_again: Arc<Mutex<Option<Instant>>>,
    read_again_after: Duration,
    entropy: Arc<dyn Entropy>,
}

/// The keys that a source yielded. One that is clone of another compares equal to it, one that was read later does not.
#[derive(Clone)]
pub struct Ring(Arc<[MasterKey]>);

impl Ring {
    fn read(source: &dyn KeySource) -> Result<Self, Error> {
        let texts = source.read().map_err(Error::MasterKey)?;
        key::ring(&texts).map(|keys| Self(keys.into()))
    }

    /// The keys' ids, the one that is to seal first.
    pub fn ids(&self) -> Vec<MasterKeyId> {
        self.0.iter().map(MasterKey::id).collect()
    }

    pub(crate) fn get(&self, id: MasterKeyId) -> Option<&MasterKey> {
        self.0.iter().find(|key| key.id() == id)
    }

    pub(crate) fn find(&self, id: MasterKeyId) -> Result<&MasterKey, Error> {
        self.get(id).ok_or_else(|| {
            Error::MasterKey(format!(
                "a secret is sealed under key {id}, and the keys at hand are {}; add that key to where the master key comes from, behind the others",
                self.told()
            ))
        })
    }

    /// The ids in words.
    pub fn told(&self) -> String {
        let ids: Vec<_> = self.ids().iter().map(ToString::to_string).collect();
        ids.join(", ")
    }
}

impl Sealer {
    /// A sealer under the keys in `keys`, each written as 64 hexadecimal digits, as `openssl rand -hex 32` prints them.
    ///
    /// # Errors
    /// When the text is not one or more such keys.
    pub fn new(keys: &Secret, entropy: Arc<dyn Entropy>) -> Result<Self, Error> {
        Self::from_source(Arc::new(Fixed(split(keys))), entropy)
    }

    /// A sealer under the keys of `source`.
    ///
    /// # Errors
    /// When it cannot be read, or yields what is no key.
    pub fn from_source(
        source: Arc<dyn KeySource>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, Error> {
        let ring = Ring::read(&*source)?;
        Ok(Self {
            source,
            ring: Arc::new(Mutex::new(ring)),
            read_again: Arc::default(),
            read_again_after: READ_AGAIN_AFTER,
            entropy,
        })
    }

    /// The keys at hand.
    pub fn ring(&self) -> Ring {
        self.ring
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Whether the keys at hand are others than those of `seen`, which lacked one; the source is read again to find out, but not within
    /// a moment of the last time: then this waits. What cannot be read changes nothing. May block.
    pub fn read_again(&self, seen: &Ring) -> bool {
        let asked_at = Instant::now();
        let mut read_at = self
            .read_again
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let known = self.ring();
        if !Arc::ptr_eq(&known.0, &seen.0) {
            return true;
        }
        // Somebody read it after this was asked: what it yields now is known.
        if read_at.is_some_and(|at| at > asked_at) {
            return false;
        }
        // A key may be changed twice within a moment: who meets the second is let wait, not refused.
        if let Some(rest) = read_at.and_then(|at| self.read_again_after.checked_sub(at.elapsed())) {
            std::thread::sleep(rest);
        }
        let read = Ring::read(&*self.source);
        *read_at = Some(Instant::now());
        match read {
            Ok(read) if read.ids() == known.ids() => false,
            Ok(read) => {
                tracing::info!(keys = %read.told(), "the master keys have changed");
                *self.ring.lock().unwrap_or_else(PoisonError::into_inner) = read;
                true
            }
            Err(why) => {
                tracing::error!(%why, "the master keys could not be read again; those known stay in force");
                false
            }
        }
    }

    /// Whether the key `id` is at hand, if need be after reading the source again. May block.
    pub fn has(&self, id: MasterKeyId) -> bool {
        let ring = self.ring();
        ring.get(id).is_some() || (self.read_again(&ring) && self.ring().get(id).is_some())
    }

    /// Seals the secret that `owner` has for `purpose` under the key `under`.
    ///
    /// # Errors
    /// When that key is not at hand, or the secret is too long to seal (gigabytes).
    pub fn seal(
        &self,
        under: MasterKeyId,
        owner: &str,
        purpose: Purpose,
        secret: &Secret,
    ) -> Result<Vec<u8>, Error> {
        let ring = self.ring();
        let of = blob::Of { owner, purpose };
        blob::seal(ring.find(under)?, &*self.entropy, of, secret)
    }

    /// Where ids of what is stored come from.
    pub(crate) fn entropy(&self) -> Arc<dyn Entropy> {
        self.entropy.clone()
    }

    /// Opens what was sealed for `owner` and `purpose`.
    ///
    /// # Errors
    /// When it was sealed under a key that is not at hand, for something else, or was changed.
    pub fn open(&self, owner: &str, purpose: Purpose, blob: &[u8]) -> Result<Secret, Error> {
        let ring = self.ring();
        blob::open(|id| ring.find(id), blob::Of { owner, purpose }, blob)
    }

    /// The same blob under the key `under` and of the version that is written; nothing when it is so already. The secret itself stays sealed.
    ///
    /// # Errors
    /// As of [`Sealer::open`].
    pub fn rewrap(
        &self,
        under: MasterKeyId,
        owner: &str,
        purpose: Purpose,
        blob: &[u8],
    ) -> Result<Option<Vec<u8>>, Error> {
        let ring = self.ring();
        let of = blob::Of { owner, purpose };
        blob::rewrap(
            ring.find(under)?,
            |id| ring.find(id),
            &*self.entropy,
            of,
            blob,
        )
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

    use super::*;

    /// Never the same twice, as nonces must be.
    #[derive(Default)]
    struct Counted(AtomicU8);

    impl Entropy for Counted {
        fn bytes(&self) -> [u8; 16] {
            [self.0.fetch_add(1, Ordering::Relaxed); 16]
        }
    }

    fn digits(digit: &str) -> Secret {
        Secret::new(digit.repeat(64))
    }

    fn id(digit: &str) -> MasterKeyId {
        MasterKey::parse(&digits(digit)).unwrap().id()
    }

    /// A sealer under the keys of these digits.
    fn sealer(all: &[&str]) -> Sealer {
        let text: Vec<_> = all.iter().map(|digit| digit.repeat(64)).collect();
        Sealer::new(&Secret::new(text.join("\n")), Arc::new(Counted::default())).unwrap()
    }

    fn direct(digit: &str, owner: &str, secret: &str) -> Vec<u8> {
        let key = MasterKey::parse(&digits(digit)).unwrap();
        blob::seal_direct(&key, &Counted::default(), owner, secret)
    }

    /// Opens a blob under keys and says what came of it.
    fn opened(keys: &[&str], owner: &str, purpose: Purpose, blob: &[u8]) -> String {
        match sealer(keys).open(owner, purpose, blob) {
            Ok(secret) => secret.expose().to_owned(),
            Err(Error::MasterKey(_)) => "another key".to_owned(),
            Err(Error::Corrupt(why)) => {
                assert!(why.contains(owner) && why.contains(purpose.word()), "{why}");
                "damaged".to_owned()
            }
            Err(why) => why.to_string(),
        }
    }

    #[test]
    fn opens_what_it_sealed_and_nothing_else() {
        use Purpose::{Credential, WebhookSecret};
        let one = sealer(&["b", "a"]);
        let first = direct("a", "int_1", "knock");
        let under_a = one
            .seal(id("a"), "int_1", Credential, &Secret::new("knock"))
            .unwrap();
        let under_b = one
            .rewrap(id("b"), "int_1", Credential, &under_a)
            .unwrap()
            .unwrap();
        let hook = one
            .seal(id("a"), "int_1", WebhookSecret, &Secret::new("knock"))
            .unwrap();
        for (keys, owner, purpose, blob, expected) in [
            (&["a"][..], "int_1", Credential, &under_a, "knock"),
            (&["b", "a"], "int_1", Credential, &under_a, "knock"),
            (&["b"], "int_1", Credential, &under_a, "another key"),
            (&["a"], "int_2", Credential, &under_a, "damaged"),
            (&["a"], "int_1", WebhookSecret, &under_a, "damaged"),
            (&["b"], "int_1", Credential, &under_b, "knock"),
            (&["a"], "int_1", Credential, &under_b, "another key"),
            (&["b"], "int_2", Credential, &under_b, "damaged"),
            (&["b"], "int_1", WebhookSecret, &under_b, "damaged"),
            (&["a"], "int_1", WebhookSecret, &hook, "knock"),
            (&["a"], "int_1", Credential, &hook, "damaged"),
            (&["a"], "int_1", Credential, &first, "knock"),
            (&["b"], "int_1", Credential, &first, "another key"),
            (&["a"], "int_2", Credential, &first, "damaged"),
            (&["a"], "int_1", WebhookSecret, &first, "damaged"),
        ] {
            assert_eq!(opened(keys, owner, purpose, blob), expected);
        }
        for blob in [&under_a, &under_b, &first] {
            assert!(!blob.windows(5).any(|part| part == b"knock"));
            for place in 0..blob.len() {
                for bit in 0..8 {
                    let mut changed = blob.clone();
                    changed[place] ^= 1 << bit;
                    let found = opened(&["a", "b"], "int_1", Credential, &changed);
                    assert_ne!(found, "knock", "byte {place} bit {bit}");
                }
                let cut = opened(&["a", "b"], "int_1", Credential, &blob[..place]);
                assert_eq!(cut, "damaged", "the first {place} bytes");
            }
        }
    }

    #[test]
    fn each_secret_has_a_data_key_of_its_own_which_a_new_master_key_leaves() {
        let (one, secret) = (sealer(&["a", "b"]), Secret::new("same"));
        let seal = || {
            one.seal(id("a"), "int_1", Purpose::Credential, &secret)
                .unwrap()
        };
        let (first, second) = (seal(), seal());
        let parts = |blob: &[u8]| blob[9..].chunks(24).map(<[u8]>::to_vec).collect::<Vec<_>>();
        for (one, other) in parts(&first).iter().zip(parts(&second)) {
            assert_ne!(*one, other);
        }
        let moved = one
            .rewrap(id("b"), "int_1", Purpose::Credential, &first)
            .unwrap()
            .unwrap();
        let wrapping = 9 + 24 + 48;
        assert_ne!(moved[..wrapping], first[..wrapping]);
        assert_eq!(moved[wrapping..], first[wrapping..]);
    }

    #[test]
    fn a_blob_is_rewrapped_once() {
        let one = sealer(&["b", "a"]);
        let rewrap = |blob: &[u8]| {
            one.rewrap(id("b"), "int_1", Purpose::Credential, blob)
                .unwrap()
        };
        for old in [
            direct("a", "int_1", "knock"),
            direct("b", "int_1", "knock"),
            one.seal(id("a"), "int_1", Purpose::Credential, &Secret::new("knock"))
                .unwrap(),
        ] {
            let new = rewrap(&old).unwrap();
            assert_eq!(opened(&["b"], "int_1", Purpose::Credential, &new), "knock");
            assert!(rewrap(&new).is_none());
            let mut changed = old.clone();
            changed[40] ^= 1;
            let refused = one.rewrap(id("b"), "int_1", Purpose::Credential, &changed);
            assert!(matches!(refused, Err(Error::Corrupt(_))));
        }
        let only_b = sealer(&["b"]);
        let old = direct("a", "int_1", "knock");
        let refused = only_b.rewrap(id("b"), "int_1", Purpose::Credential, &old);
        assert!(matches!(refused, Err(Error::MasterKey(_))));
        let unknown = only_b.seal(id("a"), "int_1", Purpose::Credential, &digits("c"));
        assert!(matches!(unknown, Err(Error::MasterKey(_))));
    }

    #[derive(Default)]
    struct Changing {
        text: Mutex<Option<String>>,
        reads: AtomicUsize,
    }

    impl Changing {
        fn put(&self, text: Option<String>) {
            *self.text.lock().unwrap() = text;
        }
    }

    impl KeySource for Changing {
        fn read(&self) -> Result<Vec<Secret>, String> {
            self.reads.fetch_add(1, Ordering::Relaxed);
            let text = self.text.lock().unwrap().clone();
            let text = text.ok_or("it is away")?;
            Ok(split(&Secret::new(text)))
        }
    }

    #[test]
    fn a_new_key_is_learnt_from_the_source_and_a_bad_one_changes_nothing() {
        let source = Arc::new(Changing::default());
        source.put(Some("a".repeat(64)));
        let mut one = Sealer::from_source(source.clone(), Arc::new(Counted::default())).unwrap();
        one.read_again_after = Duration::ZERO;
        let other = one.clone();
        for bad in [None, Some(String::new()), Some("abc".to_owned())] {
            source.put(bad);
            assert!(!one.has(id("b")));
            assert_eq!(one.ring().ids(), [id("a")]);
        }
        source.put(Some("b".repeat(64)));
        assert!(one.has(id("a")), "what is known is not asked for");
        assert!(one.has(id("b")));
        assert_eq!(
            other.ring().ids(),
            [id("b")],
            "clones share what they learn"
        );
        let stale = sealer(&["a"]).ring();
        let reads = source.reads.load(Ordering::Relaxed);
        assert!(one.read_again(&stale), "another has learnt it meanwhile");
        assert_eq!(source.reads.load(Ordering::Relaxed), reads);
    }

    #[test]
    fn a_source_is_not_read_at_every_turn() {
        let source = Arc::new(Changing::default());
        source.put(Some("a".repeat(64)));
        let mut one = Sealer::from_source(source.clone(), Arc::new(Counted::default())).unwrap();
        one.read_again_after = Duration::from_millis(50);
        let begun = Instant::now();
        for _ in 0..3 {
            assert!(!one.has(id("b")));
        }
        assert!(begun.elapsed() >= 2 * one.read_again_after, "it waited");
        assert_eq!(source.reads.load(Ordering::Relaxed), 4);
        // Who meets another key within a moment of the last time is let wait for it.
        source.put(Some(format!("{} {}", "b".repeat(64), "a".repeat(64))));
        assert!(one.has(id("b")));
    }
}

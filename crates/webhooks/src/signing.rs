//! Signatures, by which a receiver knows that a delivery is ours, whole and new.
//!
//! Guarantee: what is signed is the body byte for byte as it is sent. [`signature`] is that of Standard Webhooks and covers the delivery's id and time,
//! so that it can be neither replayed later nor passed off as another. [`propexo_signature`] covers the body alone, for receivers that were written for it.

use base64::{
    Engine, alphabet,
    engine::{
        DecodePaddingMode,
        general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD},
    },
};
use hmac::{Hmac, KeyInit, Mac};
use model::Secret;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// The header with a delivery's id: the same for each try, so that a receiver can tell a repeat.
pub const ID_HEADER: &str = "webhook-id";

/// The header with the time of the try, in seconds since 1970.
pub const TIMESTAMP_HEADER: &str = "webhook-timestamp";

/// The header with the [`signature`].
pub const SIGNATURE_HEADER: &str = "webhook-signature";

/// The header with the [`propexo_signature`].
pub const PROPEXO_HEADER: &str = "propexo-signature";

/// How a secret begins whose rest is a key in base64.
const SECRET_PREFIX: &str = "whsec_";

/// Characters of a secret of our own: the prefix, and 32 bytes in base64.
const SECRET_CHARS: usize = SECRET_PREFIX.len() + 44;

/// The version of the signature: HMAC-SHA256.
const VERSION: &str = "v1";

/// Bytes of a block of SHA-256, which is what HMAC makes of every key.
const BLOCK_BYTES: usize = 64;

/// Secrets come from people too: base64 without its padding, or with bits to spare, is read as libraries read it.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// A key that signs. It is wiped when it is dropped, and cannot be printed.
#[derive(Clone)]
pub struct Key(Zeroizing<[u8; BLOCK_BYTES]>);

impl Key {
    /// The key of a webhook's secret: of `whsec_` and base64, the bytes that it stands for; of any other text, its own bytes. Whoever verifies with a
    /// library of Standard Webhooks gives it `whsec_` and the base64 of such a text.
    pub fn new(secret: &Secret) -> Self {
        let text = secret.expose();
        let decoded = text
            .strip_prefix(SECRET_PREFIX)
            .and_then(|rest| LENIENT.decode(rest).ok())
            .map(Zeroizing::new)
            // No library takes a key of no bytes.
            .filter(|key| !key.is_empty());
        Self::of_bytes(decoded.as_deref().map_or(text.as_bytes(), Vec::as_slice))
    }

    /// As HMAC has it: a key longer than a block is hashed, a shorter one filled up with zeros. Done here, since a key that is a block cannot be of a wrong length.
    fn of_bytes(key: &[u8]) -> Self {
        let mut block = Zeroizing::new([0; BLOCK_BYTES]);
        if key.len() > BLOCK_BYTES {
            let digest = Sha256::digest(key);
            block[..digest.len()].copy_from_slice(&digest);
        } else {
            block[..key.len()].copy_from_slice(key);
        }
        Self(block)
    }

    fn sign(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut mac = Hmac::<Sha256>::new((&*self.0).into());
        for part in parts {
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }
}

/// The value of `webhook-signature`: one signature a key, those of the newest first, so that a receiver accepts either secret while one replaces the other.
pub fn signature(keys: &[Key], id: &str, timestamp_s: i64, body: &[u8]) -> String {
    let timestamp = timestamp_s.to_string();
    let signed = [id.as_bytes(), b".", timestamp.as_bytes(), b".", body];
    keys.iter()
        .map(|key| format!("{VERSION},{}", STANDARD.encode(key.sign(&signed))))
        .collect::<Vec<_>>()
        .join(" ")
}

/// The value of `propexo-signature`: HMAC-SHA256 of the body in lower-case hex, its key the secret as it is written, `whsec_` and all.
pub fn propexo_signature(secret: &Secret, body: &[u8]) -> String {
    let key = Key::of_bytes(secret.expose().as_bytes());
    let signed = key.sign(&[body]);
    model::hex::encode(&signed)
}

/// Characters of a secret at least. Source: the public contract, sections 6 and 8.2.
const SECRET_MIN_CHARS: usize = 10;

/// Whether a secret can be signed with: any text of ten characters can.
///
/// # Errors
/// In words, without the secret.
pub fn secret_fits(secret: &str) -> Result<(), String> {
    if secret.chars().count() < SECRET_MIN_CHARS {
        return Err(format!(
            "A secret has {SECRET_MIN_CHARS} characters at least"
        ));
    }
    Ok(())
}

/// A new secret of 256 bits, made of two draws of [`model::Entropy`].
pub fn secret_new(draws: [[u8; 16]; 2]) -> Secret {
    let key = Zeroizing::new(draws);
    // As long as it will be, so that no shorter copy is left behind unwiped.
    let mut text = String::with_capacity(SECRET_CHARS);
    text.push_str(SECRET_PREFIX);
    STANDARD.encode_string(key.as_flattened(), &mut text);
    Secret::new(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(secret: &str) -> Key {
        Key::new(&Secret::new(secret))
    }

    /// The vector that the libraries of Standard Webhooks are tested with.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const TIMESTAMP_S: i64 = 1_614_265_330;
    const BODY: &[u8] = br#"{"test": 2432232314}"#;
    const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    #[test]
    fn a_secret_is_any_text_of_ten_characters() {
        for fit in [
            SECRET,
            "ten letters",
            "whsec_!!!!!!!!!!!!",
            "whsec_AAAA",
            "äöüäöüäöüä",
            secret_new([[1; 16], [2; 16]]).expose(),
        ] {
            assert_eq!(secret_fits(fit), Ok(()), "{fit}");
        }
        for unfit in ["whsec_", "short"] {
            let why = secret_fits(unfit).expect_err(unfit);
            assert!(!why.contains(unfit), "{why}");
        }
    }

    #[test]
    fn the_published_vector_comes_out() {
        assert_eq!(signature(&[key(SECRET)], ID, TIMESTAMP_S, BODY), SIGNATURE);
    }

    /// HMAC-SHA256 itself, with the vectors of RFC 4231: keys shorter than a block, as long as a hash, and longer than a block.
    #[test]
    fn keys_of_every_length_sign_as_hmac_says() {
        let check = |key: &[u8], message: &[u8], expected: &str| {
            assert_eq!(
                model::hex::encode(&Key::of_bytes(key).sign(&[message])),
                expected
            );
        };
        check(
            &[0x0b; 20],
            b"Hi There",
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
        );
        check(
            b"Jefe",
            b"what do ya want for nothing?",
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
        );
        check(
            &[0xaa; 131],
            b"Test Using Larger Than Block-Size Key - Hash Key First",
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
        );
        check(
            &[0xaa; 131],
            b"This is a test using a larger than block-size key and a larger than block-size data. The key needs to be hashed before being used by the HMAC algorithm.",
            "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2",
        );
    }

    #[test]
    fn a_secret_is_read_as_base64_only_where_it_says_so() {
        let same = |one: &str, other: &str| {
            let of = |secret| signature(&[key(secret)], ID, TIMESTAMP_S, BODY);
            of(one) == of(other)
        };
        // "my own secret" in base64, with its padding and without.
        assert!(same("my own secret", "whsec_bXkgb3duIHNlY3JldA=="));
        assert!(same("my own secret", "whsec_bXkgb3duIHNlY3JldA"));
        // Without the prefix it is a text, even if it could be read as base64.
        assert!(!same("my own secret", "bXkgb3duIHNlY3JldA=="));
        // What is not base64 is the text that it is, and so is what stands for nothing.
        assert!(same("whsec_not base64!", "whsec_d2hzZWNfbm90IGJhc2U2NCE="));
        assert!(same("whsec_", "whsec_d2hzZWNf"));
    }

    #[test]
    fn the_signature_for_existing_receivers_takes_the_secret_as_it_is_written() {
        // Made with: printf '{"test": 2432232314}' | openssl dgst -sha256 -hmac "$SECRET"
        assert_eq!(
            propexo_signature(&Secret::new(SECRET), BODY),
            "80ec8a89ce3cd22133a1066caecb4d04fea7467657c8514d717ec42c38a5c94c"
        );
    }

    #[test]
    fn while_a_secret_is_replaced_both_sign_the_newer_first() {
        let both = signature(&[key("the new one"), key(SECRET)], ID, TIMESTAMP_S, BODY);
        let new = signature(&[key("the new one")], ID, TIMESTAMP_S, BODY);
        assert_eq!(both, format!("{new} {SIGNATURE}"));
    }

    #[test]
    fn a_new_secret_is_32_bytes_and_all_of_both_draws() {
        let secret = secret_new([[1; 16], [2; 16]]);
        assert_eq!(
            secret.expose(),
            "whsec_AQEBAQEBAQEBAQEBAQEBAQICAgICAgICAgICAgICAgI="
        );
        assert_eq!(secret.expose().len(), SECRET_CHARS);
        let decoded = STANDARD.decode(&secret.expose()[SECRET_PREFIX.len()..]);
        let key = decoded.expect("base64");
        assert_eq!((&key[..16], &key[16..]), (&[1; 16][..], &[2; 16][..]));
    }

    proptest! {
        #[test]
        fn another_body_id_time_or_secret_is_another_signature(
            body in prop::collection::vec(any::<u8>(), 1..200),
            at in any::<prop::sample::Index>(),
            flipped in 1_u8..,
            id in "[a-z0-9_]{1,30}",
            other_id in "[a-z0-9_]{1,30}",
            timestamp_s in 0_i64..4_102_444_800,
            later_s in 1_i64..1_000_000,
            secret in "[ -~]{10,100}",
            other_secret in "[ -~]{10,100}",
        ) {
            let keys = [key(&secret)];
            let signed = signature(&keys, &id, timestamp_s, &body);
            prop_assert_eq!(&signed, &signature(&keys, &id, timestamp_s, &body));
            let propexo = propexo_signature(&Secret::new(&*secret), &body);

            let mut changed = body.clone();
            changed[at.index(body.len())] ^= flipped;
            prop_assert_ne!(&signed, &signature(&keys, &id, timestamp_s, &changed));
            prop_assert_ne!(&propexo, &propexo_signature(&Secret::new(&*secret), &changed));

            prop_assert_ne!(&signed, &signature(&keys, &id, timestamp_s + later_s, &body));
            if id != other_id {
                prop_assert_ne!(&signed, &signature(&keys, &other_id, timestamp_s, &body));
            }
            if secret != other_secret {
                prop_assert_ne!(&signed, &signature(&[key(&other_secret)], &id, timestamp_s, &body));
                prop_assert_ne!(&propexo, &propexo_signature(&Secret::new(&*other_secret), &body));
            }
        }
    }
}

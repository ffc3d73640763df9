//! Bytes as hexadecimal digits.

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};

/// `bytes` in lower-case digits.
pub fn encode(bytes: &[u8]) -> String {
    HEXLOWER.encode(bytes)
}

/// The bytes that digits of either case are; `None` when `text` is anything else.
pub fn decode(text: &str) -> Option<Vec<u8>> {
    HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok()
}

/// As [`decode`], into a place that a secret may be in. `None` when `text` has another length.
pub fn decode_into<const N: usize>(text: &str, bytes: &mut [u8; N]) -> Option<()> {
    if text.len() != 2 * N {
        return None;
    }
    let decoded = HEXLOWER_PERMISSIVE.decode_mut(text.as_bytes(), bytes);
    decoded.ok().map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_encoded_is_decoded() {
        assert_eq!(encode(&[0, 10, 255]), "000aff");
        assert_eq!(decode("000aFF"), Some(vec![0, 10, 255]));
        for text in ["0", "0g", " 00", "00 ", "\u{e9}\u{e9}"] {
            assert_eq!(decode(text), None, "{text:?}");
        }
        let mut bytes = [0; 2];
        assert_eq!(decode_into("0a0b", &mut bytes), Some(()));
        assert_eq!(bytes, [10, 11]);
        for text in ["0a", "0a0b0c", "0a0g"] {
            assert_eq!(decode_into(text, &mut [0; 2]), None, "{text:?}");
        }
    }
}

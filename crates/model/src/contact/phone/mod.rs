//! A phone number.
//!
//! Guarantee: one function reads every phone number, wherever it comes from. However people write
//! it, it is brought to E.164 without a change to the digits of an international number. A number
//! that cannot exist, or is a known filler, is refused.

mod plans;
mod writing;

pub(crate) use plans::has_region;

use self::{
    plans::{NANP, international, is_nanp, is_nanp_region, national},
    writing::Written,
};
use super::{Refusal, placeholder};

/// The region of a number written without a country code, unless the community says otherwise.
pub const DEFAULT_REGION: &str = "US";

/// Digits that a number has in E.164: the fewest in any plan, and the most.
const STORED_DIGITS: std::ops::RangeInclusive<usize> = 6..=15;

/// A checked phone number in E.164, for example `+12065550155`, and its extension.
#[derive(Clone)]
pub struct Phone {
    e164: String,
    extension: Option<String>,
}

impl Phone {
    /// Checks and normalises `text`. A number without a country code is read as one of `region`
    /// (ISO 3166, two letters; an unknown one reads as [`DEFAULT_REGION`]).
    ///
    /// # Errors
    /// When it cannot be a phone number, or is a filler.
    pub fn parse(text: &str, region: &str) -> Result<Self, Refusal> {
        if let Some(phone) = Self::plain_us(text.trim(), region) {
            return Ok(phone);
        }
        let written = Written::read(text).map_err(|why| invalid(&why))?;
        let digits = &*written.digits;
        let may_be_nanp = written.is_international || is_nanp_region(region, DEFAULT_REGION);
        if is_filler(digits, may_be_nanp) {
            return Err(filler());
        }
        let number = if written.is_international {
            international(digits, written.zero_at)
        } else {
            national(digits, written.zero_at, region, DEFAULT_REGION)
        };
        let number = number.map_err(|why| invalid(&why))?;
        if number.national.bytes().all(|digit| digit == b'0') {
            return Err(filler());
        }
        Ok(Self {
            e164: format!("+{}{}", number.code, number.national),
            extension: written.extension,
        })
    }

    /// A number that is stored already: as it is when that is E.164, also where it would not be
    /// taken today, since it is the one that the vendor knows.
    pub fn stored(text: &str) -> Option<Self> {
        let is_e164 = text.strip_prefix('+').is_some_and(|digits| {
            STORED_DIGITS.contains(&digits.len())
                && digits.bytes().all(|digit| digit.is_ascii_digit())
                && !is_filler(digits, true)
        });
        if is_e164 {
            return Some(Self {
                e164: text.to_owned(),
                extension: None,
            });
        }
        Self::parse(text, DEFAULT_REGION).ok()
    }

    /// The same number with the extension that is given beside it.
    ///
    /// # Errors
    /// When that is none, or is another than the one in the number.
    pub fn with_extension(mut self, text: &str) -> Result<Self, Refusal> {
        let given = writing::extension(text).map_err(|why| {
            Refusal::Invalid(format!(
                "Invalid extension: {why}. Give its digits, such as 136"
            ))
        })?;
        match (&self.extension, &given) {
            (Some(held), Some(given)) if held != given => Err(Refusal::Invalid(
                "phone_1 ends with another extension. Give the extension in one of the two"
                    .to_owned(),
            )),
            (_, None) => Ok(self),
            _ => {
                self.extension = given;
                Ok(self)
            }
        }
    }

    /// The common case, which needs no table and no regular expression: ten digits, or eleven that
    /// begin with 1, that the North American plan can hold. Gives what the long way gives.
    fn plain_us(text: &str, region: &str) -> Option<Self> {
        let (mut e164, mut count) = (*b"+1##########", 0_usize);
        let (text, has_plus) = match text.strip_prefix('+') {
            Some(text) => (text, true),
            None => (text, false),
        };
        let is_home = region == DEFAULT_REGION;
        let with_code = has_plus || (is_home && text.starts_with('1'));
        let skipped = usize::from(with_code);
        for byte in text.bytes() {
            match byte {
                b'0'..=b'9' => {
                    if count < skipped {
                        if byte != b'1' {
                            return None;
                        }
                    } else {
                        *e164.get_mut(2 + count - skipped)? = byte;
                    }
                    count += 1;
                }
                b' ' | b'(' | b')' | b'-' | b'.' | b'/' => {}
                _ => return None,
            }
        }
        if count != 10 + skipped || !(is_home || has_plus) {
            return None;
        }
        let e164 = std::str::from_utf8(&e164).ok()?;
        let national = e164.get(2..)?;
        (is_nanp(national) && !is_filler(national, true)).then(|| Self {
            e164: e164.to_owned(),
            extension: None,
        })
    }

    /// In E.164.
    pub fn as_str(&self) -> &str {
        &self.e164
    }

    /// The digits of the extension. It takes no part in matching.
    pub fn extension(&self) -> Option<&str> {
        self.extension.as_deref()
    }

    /// The ten digits of a number of the North American plan; `None` for any other.
    pub fn national_us(&self) -> Option<&str> {
        self.e164
            .strip_prefix('+')
            .and_then(|digits| digits.strip_prefix(NANP))
            .filter(|digits| digits.len() == 10)
    }
}

/// `may_be_nanp` says that a number of the North American plan may be meant.
fn is_filler(digits: &str, may_be_nanp: bool) -> bool {
    let is_one = |digits: &str| {
        placeholder::is_one_digit(digits) || (may_be_nanp && placeholder::is_run(digits))
    };
    is_one(digits) || digits.strip_prefix('1').is_some_and(is_one)
}

fn filler() -> Refusal {
    Refusal::Placeholder(
        "This is a filler, not a person's number: it would match other people's guest cards. Leave the field out when you have no number".to_owned(),
    )
}

fn invalid(why: &str) -> Refusal {
    Refusal::Invalid(format!(
        "Invalid phone number: {why}. Give ten digits for a US number, or + and the country code, such as +12065550155"
    ))
}

#[cfg(test)]
mod tests;

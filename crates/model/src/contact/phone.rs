//! A phone number.
//!
//! Guarantee: whatever people write is brought to E.164 by `libphonenumber`'s rules; what cannot be a number, or is a known filler, is refused.

use phonenumber::country;

use super::{Refusal, placeholder};

/// The region of a number written without a country code, unless the community says otherwise.
pub const DEFAULT_REGION: &str = "US";

/// Characters a phone number may take, with any formatting; E.164 itself has at most 16.
const MAX_CHARS: usize = 40;

/// A checked phone number in E.164, for example `+12065550155`.
#[derive(Clone, PartialEq, Eq)]
pub struct Phone(String);

impl Phone {
    /// Checks and normalises `text`, reading a number without a country code as one of `region` (ISO 3166, two letters; an unknown one reads as [`DEFAULT_REGION`]).
    ///
    /// # Errors
    /// When it cannot be a phone number, or is a filler.
    pub fn parse(text: &str, region: &str) -> Result<Self, Refusal> {
        let text = text.trim();
        let invalid = |why: &str| {
            Refusal::Invalid(format!(
                "Invalid phone number: {why}. Give ten digits for a US number, or + and the country code, such as +12065550155"
            ))
        };
        if text.is_empty() {
            return Err(invalid("it is empty"));
        }
        if text.chars().count() > MAX_CHARS {
            return Err(invalid("it is too long"));
        }
        if !text
            .chars()
            .all(|c| c.is_ascii_digit() || " ()+-./\u{a0}".contains(c))
            || text.rfind('+').is_some_and(|at| at > 0)
        {
            return Err(invalid(
                "only digits, spaces and the characters ( ) + - . / may stand in it, + only in front",
            ));
        }
        let digits: String = text.chars().filter(char::is_ascii_digit).collect();
        if placeholder::is_phone(&digits)
            || digits.strip_prefix('1').is_some_and(placeholder::is_phone)
        {
            return Err(Refusal::Placeholder(
                "This is a filler, not a person's number: it would match other people's guest cards. Leave the field out when you have no number".to_owned(),
            ));
        }
        if region == DEFAULT_REGION
            && let Some(phone) = Self::plain_us(text, &digits)
        {
            return Ok(phone);
        }
        let region: country::Id = region.parse().unwrap_or(country::US);
        let number = phonenumber::parse(Some(region), text)
            .map_err(|_| invalid("no country has such numbers"))?;
        let e164 = number.format().mode(phonenumber::Mode::E164).to_string();
        if number.is_valid() || is_plausible_nanp(&e164) {
            Ok(Self(e164))
        } else {
            Err(invalid("no country has such numbers"))
        }
    }

    /// The common case without the library's regular expressions, which take most of an accept's time: ten digits,
    /// or eleven that begin with 1, that the North American plan can hold. Gives what the library gives (a property test holds it to that).
    fn plain_us(text: &str, digits: &str) -> Option<Self> {
        let national = match (digits.len(), text.starts_with('+')) {
            (10, false) => digits,
            (11, _) => digits.strip_prefix('1')?,
            _ => return None,
        };
        let e164 = format!("+1{national}");
        is_plausible_nanp(&e164).then_some(Self(e164))
    }

    /// In E.164.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The ten digits of a number of the North American plan; `None` for any other.
    pub fn national_us(&self) -> Option<&str> {
        self.0
            .strip_prefix("+1")
            .filter(|digits| digits.len() == 10)
    }
}

/// Whether an E.164 number fits the North American plan's form (NXX NXX XXXX). The library's tables also know which area
/// codes are in service today and refuse the 555 exchange that Knock's own examples use; a lead is worth more than that.
fn is_plausible_nanp(e164: &str) -> bool {
    let Some(digits) = e164.strip_prefix("+1").map(str::as_bytes) else {
        return false;
    };
    digits.len() == 10 && (b'2'..=b'9').contains(&digits[0]) && (b'2'..=b'9').contains(&digits[3])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, expect: &str) {
        let got = match Phone::parse(text, DEFAULT_REGION) {
            Ok(phone) => phone.as_str().to_owned(),
            Err(Refusal::Invalid(_)) => "invalid".to_owned(),
            Err(Refusal::Placeholder(_)) => "placeholder".to_owned(),
        };
        assert_eq!(got, expect, "{text}");
    }

    #[test]
    fn numbers() {
        check("2067119384", "+12067119384");
        check(" 415 248 1889 ", "+14152481889");
        check("(512) 408-0271", "+15124080271");
        check("646.817.5160", "+16468175160");
        check("1-617-230-7601", "+16172307601");
        check("+1 (312) 751-7519", "+13127517519");
        check("+12065550155", "+12065550155");
        check("+44 20 7946 0958", "+442079460958");
        check("+52 55 1234 5678", "+525512345678");
        check("", "invalid");
        check("call me", "invalid");
        check("555-0155", "invalid");
        check("123456789012345678", "invalid");
        check("1067119384", "invalid");
        check("206+7119384", "invalid");
        check("0000000000", "placeholder");
        check("(555) 555-5555", "placeholder");
        check("1 111 111 1111", "placeholder");
        check("123-456-7890", "placeholder");
    }

    #[test]
    fn a_region_reads_its_own_numbers() {
        let phone = Phone::parse("020 7946 0958", "GB");
        assert!(phone.is_ok_and(|phone| phone.as_str() == "+442079460958"));
    }

    proptest! {
        #[test]
        fn the_common_case_agrees_with_the_library(area in "[2-9][0-9]{2}", exchange in "[2-9][0-9]{2}", line in "[0-9]{4}", one in any::<bool>()) {
            let prefix = if one { "1" } else { "" };
            let text = format!("{prefix}{area}{exchange}{line}");
            let number = phonenumber::parse(Some(country::US), &text).unwrap();
            let library = number.format().mode(phonenumber::Mode::E164).to_string();
            let ours = Phone::plain_us(&text, &text).unwrap();
            prop_assert_eq!(ours.as_str(), library);
        }
    }
}

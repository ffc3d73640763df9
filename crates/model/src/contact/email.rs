//! An email address.
//!
//! Guarantee: one mailbox of one domain of the internet, without a display name, a quoted local
//! part or an address of a machine, and no known filler. A refusal names the part that is wrong.

use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};

use super::{Refusal, invisible::is_invisible, placeholder};

/// Bytes of the part before the @ (RFC 5321, 4.5.3.1.1).
const LOCAL_MAX_BYTES: usize = 64;

/// Bytes of a domain as it is sent (RFC 1035, without the root's own).
const DOMAIN_MAX_BYTES: usize = 253;

/// Bytes of a part of a domain between dots (RFC 1035).
const LABEL_MAX_BYTES: usize = 63;

/// Bytes of a text that is looked at: more than any address has, also with marks in between.
const TEXT_MAX_BYTES: usize = 2_048;

/// The signs that may stand before the @ besides letters and digits (RFC 5322, atext).
const LOCAL_SIGNS: &str = "!#$%&'*+-/=?^_`{|}~";

/// A checked email address.
#[derive(Clone, PartialEq, Eq)]
pub struct Email {
    /// As given, trimmed, without invisible marks.
    given: String,
    /// The same with the domain in ASCII, when that is another.
    sent: Option<String>,
}

impl Email {
    /// Checks `text`.
    ///
    /// # Errors
    /// When it is not an address, or is a filler.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        let given = cleaned(text);
        let sent = checked(&given).map_err(|why| {
            Refusal::Invalid(format!(
                "Invalid email: {why}. Give an address such as name@example.com, or leave the field out"
            ))
        })?;
        let email = Self { given, sent };
        if placeholder::is_email(&email.matching()) {
            return Err(Refusal::Placeholder(
                "This is a filler, not a person's address: it would match other people's guest cards. Leave the field out when you have no address".to_owned(),
            ));
        }
        Ok(email)
    }

    /// An address that is stored already: as it is where it would not be taken today, since it is
    /// the one that the vendor knows. Fillers are none.
    pub fn stored(text: &str) -> Option<Self> {
        match Self::parse(text) {
            Ok(email) => Some(email),
            Err(Refusal::Placeholder(_)) => None,
            Err(Refusal::Invalid(_)) => text.trim().contains('@').then(|| Self {
                given: text.trim().to_owned(),
                sent: None,
            }),
        }
    }

    /// As given, trimmed.
    pub fn as_str(&self) -> &str {
        &self.given
    }

    /// As it is sent: the domain in ASCII (`xn--`).
    pub fn sent(&self) -> &str {
        self.sent.as_deref().unwrap_or(&self.given)
    }

    /// The form in which two spellings of one address are equal: lower case, the domain in ASCII.
    pub fn matching(&self) -> String {
        self.sent().to_lowercase()
    }
}

/// A text without what surrounds an address that was copied from somewhere: blanks, invisible
/// marks,
/// `mailto:`. Full-width letters and signs become those that they are the twins of.
fn cleaned(text: &str) -> String {
    let text = text.trim();
    if text.len() > TEXT_MAX_BYTES {
        return text.to_owned();
    }
    let mut cleaned = if text.is_ascii() {
        text.to_owned()
    } else {
        let plain = |c: char| match c {
            '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(c) - 0xfee0).unwrap_or(c),
            '\u{3000}' => ' ',
            c => c,
        };
        // Joiners are letters of some scripts, and marks among ASCII.
        let is_mark = |c: char| is_invisible(c) && !matches!(c, '\u{200c}' | '\u{200d}');
        let visible: String = text.chars().map(plain).filter(|c| !is_mark(*c)).collect();
        let ascii: String = visible.chars().filter(|c| !is_invisible(*c)).collect();
        let best = if ascii.is_ascii() { ascii } else { visible };
        best.trim().to_owned()
    };
    const SCHEME: &str = "mailto:";
    if cleaned
        .get(..SCHEME.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(SCHEME))
    {
        cleaned.drain(..SCHEME.len());
    }
    cleaned
}

/// The address as it is sent, when that is another than `address`.
fn checked(address: &str) -> Result<Option<String>, String> {
    if address.is_empty() {
        return Err("it is empty".to_owned());
    }
    if address.len() > TEXT_MAX_BYTES {
        return Err(format!("it has more than {TEXT_MAX_BYTES} bytes"));
    }
    if address.starts_with('"') {
        return Err("the part before the @ is in quotes, which the vendor refuses".to_owned());
    }
    if address.contains(['<', '>']) {
        return Err(
            "< and > do not belong in it: give the address alone, without a name".to_owned(),
        );
    }
    if address.contains([',', ';']) {
        return Err("it holds a , or a ;: give one address".to_owned());
    }
    let Some((local, domain)) = address.split_once('@') else {
        return Err("it has no @".to_owned());
    };
    if domain.contains('@') {
        return Err("it has more than one @".to_owned());
    }
    local_checked(local)?;
    if domain.is_ascii() && !has_punycode(domain) {
        domain_checked(domain)?;
        return Ok(None);
    }
    let ascii = Uts46::new()
        .to_ascii(
            domain.as_bytes(),
            AsciiDenyList::STD3,
            Hyphens::CheckFirstLast,
            DnsLength::Ignore,
        )
        .map_err(|_| {
            domain
                .chars()
                .find(|c| c.is_ascii() && !c.is_ascii_alphanumeric() && !"-.".contains(*c))
                .map_or_else(
                    || "the domain behind the @ is not an internationalised domain name".to_owned(),
                    sign_in_domain,
                )
        })?;
    domain_checked(&ascii)?;
    Ok((*ascii != *domain).then(|| format!("{local}@{ascii}")))
}

fn has_punycode(domain: &str) -> bool {
    domain.split('.').any(|label| {
        label
            .get(..4)
            .is_some_and(|start| start.eq_ignore_ascii_case("xn--"))
    })
}

fn local_checked(local: &str) -> Result<(), String> {
    if local.is_empty() {
        return Err("nothing stands before the @".to_owned());
    }
    if local.len() > LOCAL_MAX_BYTES {
        return Err(format!(
            "the part before the @ has {} bytes, and {LOCAL_MAX_BYTES} at most are allowed",
            local.len()
        ));
    }
    let is_taken = |c: char| c.is_alphanumeric() || c == '.' || LOCAL_SIGNS.contains(c);
    // Marks that sit on a letter are letters too.
    let is_mark = |c: char| !c.is_ascii() && !c.is_control() && !c.is_whitespace();
    if let Some(c) = local.chars().find(|c| !is_taken(*c) && !is_mark(*c)) {
        return Err(match c {
            ' ' => "a blank stands before the @".to_owned(),
            c => format!("{c:?} may not stand before the @"),
        });
    }
    if local.chars().any(is_invisible) {
        return Err("an invisible mark stands before the @".to_owned());
    }
    if local.starts_with('.') || local.ends_with('.') || local.contains("..") {
        return Err(
            "the part before the @ begins or ends with a dot, or has two in a row".to_owned(),
        );
    }
    Ok(())
}

fn sign_in_domain(c: char) -> String {
    match c {
        '[' | ']' => "the part behind the @ is the address of a machine: give a domain".to_owned(),
        ' ' => "a blank stands behind the @".to_owned(),
        c => format!(
            "{c:?} may not stand in the domain behind the @, which has letters, digits, hyphens and dots"
        ),
    }
}

/// Checks a domain in ASCII.
fn domain_checked(domain: &str) -> Result<(), String> {
    if domain.is_empty() {
        return Err("nothing stands behind the @".to_owned());
    }
    let is_taken = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
    if let Some(c) = domain.chars().find(|c| !is_taken(*c)) {
        return Err(sign_in_domain(c));
    }
    if domain.len() > DOMAIN_MAX_BYTES {
        return Err(format!(
            "the domain behind the @ has {} characters, and {DOMAIN_MAX_BYTES} at most are allowed",
            domain.len()
        ));
    }
    if !domain.contains('.') {
        return Err(format!(
            "the domain behind the @ ends without a dot and a part such as .com: {domain}"
        ));
    }
    for label in domain.split('.') {
        if label.is_empty() {
            return Err(
                "the domain behind the @ begins or ends with a dot, or has two in a row".to_owned(),
            );
        }
        if label.len() > LABEL_MAX_BYTES {
            return Err(format!(
                "a part of the domain behind the @ has {} characters, and {LABEL_MAX_BYTES} at most are allowed",
                label.len()
            ));
        }
        if label.starts_with('-') || label.ends_with('-') {
            return Err(format!(
                "a part of the domain behind the @ begins or ends with a hyphen: {label}"
            ));
        }
    }
    let last = domain.rsplit('.').next().unwrap_or_default();
    if last.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!(
            "the domain behind the @ ends with the number {last}: give a domain, not the address of a machine"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, expect: &str) {
        let got = match Email::parse(text) {
            Ok(email) => format!("ok {}", email.as_str()),
            Err(Refusal::Invalid(_)) => "invalid".to_owned(),
            Err(Refusal::Placeholder(_)) => "placeholder".to_owned(),
        };
        assert_eq!(got, expect, "{text}");
    }

    #[test]
    fn addresses() {
        check("ada@example.com", "ok ada@example.com");
        check(
            "  Ada.L+tours@Mail.Example.com ",
            "ok Ada.L+tours@Mail.Example.com",
        );
        check(
            "o'hara_1%x=y@sub.example.co.uk",
            "ok o'hara_1%x=y@sub.example.co.uk",
        );
        check("ada@r3---sn.example.com", "ok ada@r3---sn.example.com");
        check("ada@123.example.com", "ok ada@123.example.com");
        check("ada@3com.com", "ok ada@3com.com");
        check("josé@example.com", "ok josé@example.com");
        check("mailto:ada@example.com", "ok ada@example.com");
        check("MAILTO:ada@example.com", "ok ada@example.com");
        check(
            "\u{200b}ada@\u{2060}example.com\u{feff}",
            "ok ada@example.com",
        );
        check("\u{202a}ada@example.com\u{202c}", "ok ada@example.com");
        check("ada\u{200d}@example.com", "ok ada@example.com");
        check("ada\u{ff20}example.com", "ok ada@example.com");
        check("\u{3000}ada@example\u{ff0e}com", "ok ada@example.com");
        check("none@none.com", "placeholder");
        check("NoEmail@NoEmail.com", "placeholder");
        check("noemail@gmail.com", "placeholder");
        check("noreen@none-such.com", "ok noreen@none-such.com");
    }

    /// Texts that are refused, and the words that name the wrong part.
    #[test]
    fn a_refusal_names_the_wrong_part() {
        let long_local = format!("{}@example.com", "a".repeat(65));
        let long_label = format!("ada@{}.com", "a".repeat(64));
        let long_domain = format!("ada@{}com", "abcdefg.".repeat(32));
        for (text, said) in [
            ("", "it is empty"),
            (" \u{200b} ", "it is empty"),
            ("ada", "it has no @"),
            ("@example.com", "nothing stands before the @"),
            ("ada@", "nothing stands behind the @"),
            ("ada@localhost", "ends without a dot"),
            ("ada@@example.com", "more than one @"),
            ("ada@b@example.com", "more than one @"),
            ("a b@example.com", "a blank stands before the @"),
            ("ada@exam ple.com", "a blank stands behind the @"),
            ("ada@ example.com", "a blank stands behind the @"),
            ("Ada <ada@example.com>", "give the address alone"),
            ("ada@example.com, eve@example.com", "give one address"),
            ("ada@example.com;eve@example.com", "give one address"),
            ("\"ada\"@example.com", "in quotes"),
            ("a\"b\"@example.com", "'\"' may not stand before the @"),
            ("ada(home)@example.com", "'(' may not stand before the @"),
            ("ada\\@example.com", "may not stand before the @"),
            (".ada@example.com", "begins or ends with a dot"),
            ("ada.@example.com", "begins or ends with a dot"),
            ("a..da@example.com", "two in a row"),
            (
                "ada@example.com?subject=x",
                "'?' may not stand in the domain",
            ),
            (
                "mailto:ada@example.com?subject=x",
                "'?' may not stand in the domain",
            ),
            ("ada@example.com/foo", "'/' may not stand in the domain"),
            ("ada@example.com#top", "'#' may not stand in the domain"),
            ("ada@example.com:25", "':' may not stand in the domain"),
            ("ada@exa_mple.com", "'_' may not stand in the domain"),
            ("ada@example.com\\", "may not stand in the domain"),
            ("ada@bücher.de?subject=x", "'?' may not stand in the domain"),
            ("ada@1.2.3.4", "the address of a machine"),
            ("ada@[1.2.3.4]", "the address of a machine"),
            ("ada@[IPv6:::1]", "the address of a machine"),
            ("ada@example.123", "ends with the number 123"),
            ("ada@example.com.", "begins or ends with a dot"),
            ("ada@.example.com", "begins or ends with a dot"),
            ("ada@example..com", "two in a row"),
            ("ada@-example.com", "begins or ends with a hyphen"),
            ("ada@example-.com", "begins or ends with a hyphen"),
            ("ada@example.com-", "begins or ends with a hyphen"),
            ("ada@xn--a.com", "not an internationalised domain name"),
            ("ada@exa\u{0}mple.com", "may not stand in the domain"),
            (&long_local, "has 65 bytes"),
            (&long_label, "has 64 characters"),
            (&long_domain, "has 259 characters"),
        ] {
            match Email::parse(text) {
                Err(Refusal::Invalid(why)) => assert!(why.contains(said), "{text}: {why}"),
                _ => panic!("{text} is taken"),
            }
        }
    }

    #[test]
    fn an_international_domain_is_sent_in_ascii_and_shown_as_given() {
        for (text, sent) in [
            ("ada@bücher.de", "ada@xn--bcher-kva.de"),
            ("ada@BÜCHER.DE", "ada@xn--bcher-kva.de"),
            ("ada@bu\u{308}cher.de", "ada@xn--bcher-kva.de"),
            ("ada@xn--bcher-kva.de", "ada@xn--bcher-kva.de"),
            ("ada@straße.de", "ada@xn--strae-oqa.de"),
            ("ada@例え.テスト", "ada@xn--r8jz45g.xn--zckzah"),
            ("ada@例え。テスト", "ada@xn--r8jz45g.xn--zckzah"),
            ("ada@почта.рф", "ada@xn--80a1acny.xn--p1ai"),
        ] {
            let Ok(email) = Email::parse(text) else {
                panic!("{text} is refused")
            };
            assert_eq!(email.as_str(), text);
            assert_eq!(email.sent(), sent);
            assert_eq!(email.matching(), sent);
        }
        let plain = Email::parse("Ada@Example.com").ok();
        assert_eq!(plain.as_ref().map(Email::sent), Some("Ada@Example.com"));
        assert_eq!(
            plain.map(|email| email.matching()).as_deref(),
            Some("ada@example.com")
        );
    }

    #[test]
    fn a_stored_address_stays_the_one_that_the_vendor_knows() {
        let stored = |text: &str| Email::stored(text).map(|email| email.matching());
        let old = "Ada@example.com?subject=x";
        assert_eq!(stored(old).as_deref(), Some("ada@example.com?subject=x"));
        assert_eq!(stored("none@none.com"), None);
        assert_eq!(stored("n/a"), None);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,40}@\\PC{0,40}") {
            let _ = Email::parse(&text);
        }
    }
}

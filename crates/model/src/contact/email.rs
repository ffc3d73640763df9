//! An email address.
//!
//! Guarantee: RFC 5321 syntax by the `email_address` crate, with a dotted domain, no display name, no address literal, and no
//! known filler.

use email_address::{EmailAddress, Options};

use super::{Refusal, placeholder};

/// A checked email address, trimmed, otherwise as given.
#[derive(Clone, PartialEq, Eq)]
pub struct Email(String);

impl Email {
    /// Checks `text`.
    ///
    /// # Errors
    /// When it is not an address, or is a filler.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        let text = text.trim();
        let options = Options::default()
            .with_required_tld()
            .without_display_text()
            .without_domain_literal();
        EmailAddress::parse_with_options(text, options).map_err(|why| {
            let why = why.to_string();
            let why = why.trim_end_matches('.');
            Refusal::Invalid(format!("Invalid email: {why}. Give an address such as name@example.com, or leave the field out"))
        })?;
        let email = Self(text.to_owned());
        if placeholder::is_email(&email.matching()) {
            return Err(Refusal::Placeholder(
                "This is a filler, not a person's address: it would match other people's guest cards. Leave the field out when you have no address".to_owned(),
            ));
        }
        Ok(email)
    }

    /// As given, trimmed.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The form in which two spellings of one address are equal: lower case.
    pub fn matching(&self) -> String {
        self.0.to_lowercase()
    }
}

#[cfg(test)]
mod tests {
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
        check("", "invalid");
        check("ada", "invalid");
        check("ada@localhost", "invalid");
        check("ada@[127.0.0.1]", "invalid");
        check("Ada <ada@example.com>", "invalid");
        check("ada@@example.com", "invalid");
        check("a b@example.com", "invalid");
        check("none@none.com", "placeholder");
        check("NoEmail@NoEmail.com", "placeholder");
        check("noemail@gmail.com", "placeholder");
        check("noreen@none-such.com", "ok noreen@none-such.com");
    }
}

//! Fillers that people type when a form demands a contact they do not have.
//!
//! Guarantee: only values that cannot belong to a person are listed, so a real lead is never refused.
//! Source: Knock's help articles name `none@none.com` and all-zero phones as corrupting guest cards; the rest of the
//! table is the same habit in other spellings.

/// Local parts that say "there is none", whatever the domain.
const NO_ADDRESS: [&str; 9] = [
    "noemail",
    "no-email",
    "no_email",
    "no.email",
    "noemailaddress",
    "donothaveemail",
    "emailnotprovided",
    "noemailprovided",
    "notprovided",
];

/// Words that are fillers when they stand on both sides of the @ (`none@none.com`), or before a domain that means "email" (`none@email.com`).
const FILLERS: [&str; 11] = [
    "none", "no", "na", "n-a", "null", "nil", "unknown", "noone", "nobody", "x", "fake",
];

/// Domain names (without the top-level part) that people put behind a filler.
const FILLER_DOMAINS: [&str; 4] = ["email", "mail", "noemail", "none"];

/// Whether a lower-case address is a filler.
pub(super) fn is_email(address: &str) -> bool {
    let Some((local, domain)) = address.rsplit_once('@') else {
        return false;
    };
    let name = domain.split('.').next().unwrap_or(domain);
    let domain_is_short = domain.matches('.').count() == 1;
    NO_ADDRESS.contains(&local)
        || (FILLERS.contains(&local)
            && domain_is_short
            && (name == local || FILLER_DOMAINS.contains(&name)))
}

/// True when the digits of a number are a filler in every country: one digit repeated.
pub(super) fn is_one_digit(digits: &str) -> bool {
    let is_a_whole_number = digits.len() >= 7;
    let first = digits.bytes().next();
    is_a_whole_number && digits.bytes().all(|digit| Some(digit) == first)
}

/// True when the ten digits of a number of the North American plan are a run up or down the keypad.
/// Elsewhere people have such numbers: `01 23 45 67 89` is one in France.
pub(super) fn is_run(digits: &str) -> bool {
    ["1234567890", "0123456789", "9876543210", "0987654321"].contains(&digits)
}

//! Everything the sandbox guesses about Knock, because no public source says it.
//!
//! Guarantee: a guess about the vendor stands here, named, and the rest of the sandbox reads it from here.
//! When Knock turns out to behave otherwise, this is the file to change.
//!
//! Guesses that are rules rather than values, and where they are followed:
//!
//! | guess | followed in |
//! | --- | --- |
//! | `POST /prospect` matches by email **or** phone inside one community (documented for tours only) | `cards` |
//! | when email and phone point to different cards, the email decides | `cards` |
//! | when several cards share the deciding contact, the oldest of them is meant | `cards` |
//! | emails are compared without regard to letter case, and kept as they were sent | `cards` |
//! | a repeat changes the listed fields that it carries and nothing else; a repeated `message` is appended | `cards` |
//! | the agent that Knock assigns when none is sent is the community's first | `directory` |
//! | a `null` member and a blank text count as not sent; text is trimmed; unknown members are ignored | `fields`, `draft` |
//! | an email needs only something on both sides of one `@`; a filler contact is not refused | `draft` |
//! | the key is looked at before anything else, so a bad key gets 403 on unknown paths too | `routes` |
//! | the content type of a request is not looked at | `routes` |
//! | `company-id` and `property-id` of the gateway variant are accepted and not compared with the body | `routes` |

use http::StatusCode;

/// The headers a key may come in: the documented one, and the one of the newer gateway.
pub const KEY_HEADERS: [&str; 2] = ["x-api-key", "apikey"];

/// Other headers worth showing in the request log, because the gateway variant needs them.
pub const SHOWN_HEADERS: [&str; 3] = ["company-id", "property-id", "content-type"];

/// What a missing and what a wrong key get.
pub const BAD_KEY_STATUS: StatusCode = StatusCode::FORBIDDEN;

/// The body that goes with [`BAD_KEY_STATUS`]: the gateway's own, so it has `message`, not `errorMessage`.
pub const BAD_KEY_BODY: &str = r#"{"message":"Forbidden"}"#;

/// What anything wrong in a guest card gets, an unknown community, source or agent included.
pub const BAD_CARD_STATUS: StatusCode = StatusCode::BAD_REQUEST;

/// What a path gets that names a prospect or a community that does not exist.
pub const UNKNOWN_STATUS: StatusCode = StatusCode::NOT_FOUND;

/// The largest request body, in bytes. Gateways of this kind allow a few MiB; no guest card comes near one.
pub const MOST_BODY_BYTES: usize = 1024 * 1024;

/// The names on a card that was created without any (documented by example only).
pub const ABSENT_FIRST_NAME: &str = "New";

/// See [`ABSENT_FIRST_NAME`].
pub const ABSENT_LAST_NAME: &str = "Lead";

/// `bedrooms`: the four literals are documented; that any other is refused is not.
pub const BEDROOMS: [&str; 4] = ["STUDIO", "1_BEDROOM", "2_BEDROOMS", "3_OR_MORE_BEDROOMS"];

/// `pets`: no source shows the members.
pub const PETS: [&str; 3] = ["SMALL_DOG", "LARGE_DOG", "CAT"];

/// `firstContactType`: only `internet` has been seen.
pub const FIRST_CONTACT_TYPES: [&str; 7] =
    ["internet", "email", "call", "sms", "chat", "visit", "other"];

/// The shortest and the longest lease, in months.
pub const LEASE_TERM_MONTHS: (u64, u64) = (1, 18);

/// The most of `occupants`, and of a budget in whole dollars a month: what a 32-bit integer holds.
pub const MOST_AMOUNT: u64 = i32::MAX as u64;

/// The country code of a phone number sent as ten digits.
pub const HOME_COUNTRY_CODE: &str = "+1";

/// The fewest and the most digits of a number sent as E.164, country code included.
pub const E164_DIGITS: (usize, usize) = (8, 15);

/// What `isDeleted` and `notProspect` read on every card: no partner call sets either.
pub const NEVER_SET_FLAG: bool = false;

/// The message of a 200 whose body is an error.
pub const ERROR_IN_200_MESSAGE: &str = "An unexpected error occurred";

/// A body that stops in the middle, as a broken proxy leaves it.
pub const MALFORMED_BODY: &str = r#"{"id":"#;

/// Whether a source that the community does not have is refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnknownSource {
    /// 400 with `errorMessage`. The default.
    #[default]
    Refuse,
    /// The card is stored with the title as it was sent.
    Accept,
}

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
//! | `isDeleted`, `notProspect` and the status of a card do not matter for what it matches | `cards` |
//! | `GET /prospect/{id}` shows the status of a card, as member `status` | `cards` |
//! | a repeat changes the listed fields that it carries and nothing else; a repeated `message` is appended | `cards` |
//! | the agent that Knock assigns when none is sent is the community's first | `directory` |
//! | a `null` member and a blank text count as not sent; text is trimmed; unknown members are ignored | `fields`, `draft` |
//! | a time needs a `T`, at least minutes, and an offset as `Z` or with a colon | `moment` |
//! | a tour of a guest card is requested with a source, as a card is posted with one | `draft` |
//! | the request of a tour changes its guest card as `POST /prospect` does and makes it `STATUS_WHEN_BOOKED` | `state` |
//! | the first of `requestedTimes` counts, and one is needed | `appointments` |
//! | any number of people may tour at the same time, and times do not depend on `forSelfGuided` or `tourType` | `tour_times` |
//! | tours begin on a slot only; none begins at a time that the clocks skip, and one at the first of a time shown twice | `tour_times` |
//! | a tour that is replaced stays, as `REPLACED`, and the new one has an id of its own | `state` |
//! | asking again for the tour to come, same start and type, leads to it and changes only the guest card; a message that the card already has is not appended again | `state` |
//! | a tour that is over or was replaced can be cancelled; cancelling twice answers and changes nothing | `state` |
//! | cancelling makes the card `STATUS_WHEN_CANCELLED`, except for a tour that was replaced | `state` |
//! | an activity needs no agent; it changes nothing on the card; the same one sent again is one more | `handle`, `state` |
//! | `time` of an email, sms, chat or activity may be absent; a call may end before it starts | `activities` |
//! | all four members of a listing are needed, and its url means the same listing again | `listings` |
//! | an email needs only something on both sides of one `@`; a filler contact is not refused | `draft` |
//! | the key is looked at before anything else, so a bad key gets 403 on unknown paths too | `mod` |
//! | the content type of a request is not looked at | `mod` |
//! | `company-id` and `property-id` of the gateway variant are accepted and not compared with the body | `mod` |

use http::StatusCode;
use jiff::civil::Time;

use super::card_status::CardStatus;

/// The headers a key may come in: the documented one, and the one of the newer gateway.
pub const KEY_HEADERS: [&str; 2] = ["x-api-key", "apikey"];

/// Other headers worth showing in the request log, because the gateway variant needs them.
pub const SHOWN_HEADERS: [&str; 3] = ["company-id", "property-id", "content-type"];

/// What a missing and what a wrong key get.
pub const BAD_KEY_STATUS: StatusCode = StatusCode::FORBIDDEN;

/// The body that goes with [`BAD_KEY_STATUS`]: the gateway's own, so it has `message`, not `errorMessage`.
pub const BAD_KEY_BODY: &str = r#"{"message":"Forbidden"}"#;

/// What anything wrong in a body gets, an unknown community, source or agent included.
pub const BAD_BODY_STATUS: StatusCode = StatusCode::BAD_REQUEST;

/// What a path gets that names a prospect, a community or an appointment that does not exist.
pub const UNKNOWN_STATUS: StatusCode = StatusCode::NOT_FOUND;

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

/// The shortest and the longest lease, in months. Nobody has said what Knock refuses: the public
/// contract bounds the term of a create by 18 and that of a change by nothing.
pub const LEASE_TERM_MONTHS: (u64, u64) = (1, i32::MAX as u64);

/// The most of `occupants`, and of a budget in whole dollars a month: what a 32-bit integer holds.
pub const MOST_AMOUNT: u64 = i32::MAX as u64;

/// The country code of a phone number sent as ten digits.
pub const HOME_COUNTRY_CODE: &str = "+1";

/// The fewest and the most digits of a number sent as E.164, country code included.
pub const E164_DIGITS: (usize, usize) = (6, 15);

/// What `isDeleted` and `notProspect` read on a card until somebody at Knock sets them: no partner call does.
pub const FLAG_AT_FIRST: bool = false;

/// What the request of a tour makes of its guest card.
pub(super) const STATUS_WHEN_BOOKED: CardStatus = CardStatus::Booked;

/// What cancelling a tour makes of its guest card.
pub(super) const STATUS_WHEN_CANCELLED: CardStatus = CardStatus::CanceledByRenter;

/// When a community's first tour of a day begins, by its own clocks.
pub const FIRST_SLOT: Time = jiff::civil::time(9, 0, 0, 0);

/// When its last one begins.
pub const LAST_SLOT: Time = jiff::civil::time(17, 30, 0, 0);

/// From the beginning of one tour to that of the next, in minutes.
pub const SLOT_MINUTES: u32 = 30;

/// How far ahead times are offered, in days of 24 hours.
pub const OFFERED_DAYS: u32 = 14;

/// How far ahead a tour may be asked for, in days of 24 hours: beyond the next change of the clocks.
pub const MOST_DAYS_AHEAD: u32 = 366;

/// `tourType`: the literals are documented; that any other is refused is not.
pub const TOUR_TYPES: [&str; 2] = ["IN_PERSON", "SELF_GUIDED"];

/// `tourType` when it is absent.
pub const TOUR_TYPE_IF_ABSENT: &str = "IN_PERSON";

/// `type` of a call: who called whom.
pub const CALL_TYPES: [&str; 2] = ["inbound", "outbound"];

/// `outcome` of a call.
pub const CALL_OUTCOMES: [&str; 6] = [
    "answered",
    "missed_no_voicemail",
    "missed_voicemail",
    "hung_up",
    "failed",
    "terminated",
];

/// How the url of a listing may begin.
pub const LISTING_URL_STARTS: [&str; 2] = ["https://", "http://"];

/// How the url of a listing must end.
pub const LISTING_URL_END: &str = ".html";

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

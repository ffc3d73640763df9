//! Our enum members and Knock's literals for them: data, which an operator's file may extend or change.
//!
//! Assumption: the members of `pets`, and every literal of `firstContactType` but `internet`, which alone has been seen.

use model::vocabulary::Vocabulary;

/// The table as built in.
pub fn table() -> Vocabulary {
    Vocabulary::new(&[
        (
            "pets",
            &[
                ("SMALL_DOG", "SMALL_DOG"),
                ("LARGE_DOG", "LARGE_DOG"),
                ("CAT", "CAT"),
            ],
        ),
        (
            "first_contact_type",
            &[
                ("INTERNET", "internet"),
                ("EMAIL", "email"),
                ("CALL", "call"),
                ("SMS", "sms"),
                ("CHAT", "chat"),
                ("VISIT", "visit"),
                ("OTHER", "other"),
            ],
        ),
        (
            "call_status",
            &[
                ("ANSWERED", "answered"),
                ("MISSED_NO_VOICEMAIL", "missed_no_voicemail"),
                ("MISSED_VOICEMAIL", "missed_voicemail"),
                ("HUNG_UP", "hung_up"),
                ("FAILED", "failed"),
                ("TERMINATED", "terminated"),
            ],
        ),
        (
            "tour_type",
            &[("IN_PERSON", "IN_PERSON"), ("SELF_GUIDED", "SELF_GUIDED")],
        ),
    ])
}

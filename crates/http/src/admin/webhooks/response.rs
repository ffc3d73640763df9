//! The answer of a receiver, as it is shown to people.

/// What a receiver answered, as it is shown to people: it steers nothing.
pub(super) fn shown_response(text: &str) -> String {
    model::text::shown_as_sent(text).into_owned()
}

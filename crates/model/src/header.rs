//! Names of HTTP headers that no setting may take.
//!
//! Guarantee: one list for integrations and webhooks. It is asked when a setting is checked and again
//! when a request is made, so that a header that was stored before it was listed is not sent.

/// Whose a reserved header is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Of {
    /// The connection's: where a request goes, where it ends, and who it is for on the way.
    Connection,
    /// The body's: how it is written, and which answers can be read.
    Body,
    /// The signature's of a webhook.
    Signature,
    /// The caller's secret, which has a place of its own.
    Secret,
}

const RESERVED: [(&str, Of); 27] = [
    ("host", Of::Connection),
    ("connection", Of::Connection),
    ("proxy-connection", Of::Connection),
    ("keep-alive", Of::Connection),
    ("te", Of::Connection),
    ("trailer", Of::Connection),
    // Not a name of HTTP, but one that some servers take for it.
    ("trailers", Of::Connection),
    ("transfer-encoding", Of::Connection),
    ("content-length", Of::Connection),
    ("upgrade", Of::Connection),
    ("http2-settings", Of::Connection),
    ("expect", Of::Connection),
    ("max-forwards", Of::Connection),
    ("proxy-authenticate", Of::Connection),
    ("proxy-authentication-info", Of::Connection),
    ("proxy-authorization", Of::Connection),
    ("content-type", Of::Body),
    ("content-encoding", Of::Body),
    ("content-range", Of::Body),
    ("accept-encoding", Of::Body),
    ("range", Of::Body),
    ("webhook-id", Of::Signature),
    ("webhook-timestamp", Of::Signature),
    ("webhook-signature", Of::Signature),
    ("propexo-signature", Of::Signature),
    ("authorization", Of::Secret),
    ("cookie", Of::Secret),
];

fn of(name: &str) -> Option<Of> {
    RESERVED
        .iter()
        .find(|(reserved, _)| reserved.eq_ignore_ascii_case(name))
        .map(|(_, of)| *of)
}

/// Whether a header is the connection's own. No client sends one that came from a setting.
pub fn is_connections_own(name: &str) -> bool {
    of(name) == Some(Of::Connection)
}

/// Whether a header cannot carry the key of an integration.
pub fn is_barred_from_key(name: &str) -> bool {
    matches!(of(name), Some(Of::Connection | Of::Body)) || name.eq_ignore_ascii_case("cookie")
}

/// Whether a header cannot be a further one of the calls to a vendor.
pub fn is_barred_from_calls(name: &str) -> bool {
    matches!(of(name), Some(Of::Connection | Of::Body | Of::Secret))
}

/// Whether a header cannot be a further one of a webhook. Secrets can: its headers are sealed.
pub fn is_barred_from_webhooks(name: &str) -> bool {
    matches!(of(name), Some(Of::Connection | Of::Body | Of::Signature))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_setting_takes_a_header_of_the_connection() {
        for (name, own) in [
            ("Content-Encoding", false),
            ("Proxy-Connection", true),
            ("keep-alive", true),
            ("TRAILER", true),
            ("HTTP2-Settings", true),
            ("Transfer-Encoding", true),
        ] {
            assert_eq!(is_connections_own(name), own, "{name}");
            assert!(is_barred_from_key(name), "{name}");
            assert!(is_barred_from_calls(name), "{name}");
            assert!(is_barred_from_webhooks(name), "{name}");
        }
        for (name, key, calls, webhooks) in [
            ("Authorization", false, true, false),
            ("Cookie", true, true, false),
            ("Webhook-Signature", false, false, true),
            ("X-Api-Key", false, false, false),
            ("X-Connection", false, false, false),
        ] {
            assert!(!is_connections_own(name), "{name}");
            assert_eq!(is_barred_from_key(name), key, "{name}");
            assert_eq!(is_barred_from_calls(name), calls, "{name}");
            assert_eq!(is_barred_from_webhooks(name), webhooks, "{name}");
        }
    }
}

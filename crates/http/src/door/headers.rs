//! The headers that every answer has for whoever shows or keeps it.
//!
//! Guarantee: nothing between here and the caller keeps an answer of the API, a browser takes no answer for what it does not say it is, and a page runs and shows only
//! what this server gives, in no other site's frame. No header names the program or its version.

use axum::{
    extract::Request,
    http::{HeaderName, HeaderValue, header},
    middleware::Next,
    response::Response,
};

/// Where the pages are.
const PAGES: &str = "/docs";

/// What a page may load: its own scripts, styles and images, the images in its style sheet, and answers of the API. Nothing that stands in the page itself runs; the one
/// style that is named by its digest colours the logo.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'sha256-RL3ie0nH+Lzz2YNqQN83mnU0J1ot4QL7b99vMdIX99w='; \
    img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// On every answer.
const ALL: [(HeaderName, HeaderValue); 1] = [(
    header::X_CONTENT_TYPE_OPTIONS,
    HeaderValue::from_static("nosniff"),
)];

/// On pages and what they load.
const OF_PAGES: [(HeaderName, HeaderValue); 3] = [
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(PAGE_POLICY),
    ),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (
        header::REFERRER_POLICY,
        HeaderValue::from_static("no-referrer"),
    ),
];

/// On all else, unless it says otherwise itself: it may be a person's data.
const OF_THE_API: [(HeaderName, HeaderValue); 1] =
    [(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))];

/// Puts them on.
pub async fn put(request: Request, next: Next) -> Response {
    let rest = request.uri().path().strip_prefix(PAGES);
    let is_page = rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let mut response = next.run(request).await;
    let own: &[_] = if is_page { &OF_PAGES } else { &OF_THE_API };
    for (name, value) in ALL.iter().chain(own) {
        response
            .headers_mut()
            .entry(name)
            .or_insert_with(|| value.clone());
    }
    response
}

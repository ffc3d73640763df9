//! What pages and answers tell a browser. Method: the real binary; the page is read for what its policy would not let it do.

use crate::support;

use support::{Answer, Stage, request};

/// The value of a header that is there once.
fn header<'a>(answer: &'a Answer, name: &str) -> Option<&'a str> {
    let mut values = answer
        .head
        .lines()
        .filter_map(|line| line.split_once(": "))
        .filter(|(own, _)| *own == name)
        .map(|(_, value)| value);
    let value = values.next();
    assert_eq!(values.next(), None, "{name} twice");
    value
}

/// The values of an attribute wherever it stands in a page.
fn attributes<'a>(page: &'a str, name: &str) -> Vec<&'a str> {
    let opening = format!("{name}=\"");
    let parts = page.split(opening.as_str()).skip(1);
    parts
        .map(|rest| rest.split('"').next().unwrap_or_default())
        .collect()
}

fn check_of_page(answer: &Answer) {
    let policy = header(answer, "content-security-policy").expect("a policy");
    assert!(
        policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self' 'sha256-"),
        "{policy}"
    );
    assert!(policy.ends_with("frame-ancestors 'none'") && !policy.contains("unsafe"));
    assert_eq!(header(answer, "x-frame-options"), Some("deny"));
    assert_eq!(header(answer, "referrer-policy"), Some("no-referrer"));
    assert_eq!(header(answer, "cache-control"), None);
}

fn check_of_all(answer: &Answer) {
    assert_eq!(header(answer, "x-content-type-options"), Some("nosniff"));
    for name in ["server", "x-powered-by", "via"] {
        assert_eq!(header(answer, name), None);
    }
}

#[test]
fn answers_are_strict_with_browsers_and_the_page_can_do_with_that() {
    let stage = Stage::set();
    let address = stage.server.address("base_url");
    let get = |path: &str| {
        let answer = request(&address, "GET", path, &[], "").expect("an answer");
        check_of_all(&answer);
        answer
    };

    let page = get("/docs/");
    assert_eq!(page.status, 200);
    check_of_page(&page);
    // What the policy forbids, the page does not have: nothing runs, and nothing is styled, that stands in the page itself.
    let lower = page.body.to_ascii_lowercase();
    assert_eq!(
        lower.matches("<script").count(),
        lower.matches("<script src=\"./").count(),
        "{lower}"
    );
    for forbidden in [
        "<style",
        "style=",
        "javascript:",
        " onload=",
        " onclick=",
        "<base",
        "<iframe",
    ] {
        assert!(!lower.contains(forbidden), "{forbidden} in {lower}");
    }
    // What it loads is there, from here, and says what it is.
    let mut loaded = attributes(&page.body, "src");
    loaded.extend(attributes(&page.body, "href"));
    assert!(loaded.len() >= 5, "{loaded:?}");
    for path in loaded {
        assert!(!path.contains("//"), "{path}");
        let path = format!("/docs/{}", path.trim_start_matches("./"));
        if path.ends_with(".png") {
            continue;
        }
        let asset = get(&path);
        assert_eq!(asset.status, 200, "{path}");
        check_of_page(&asset);
        let kind = header(&asset, "content-type").expect("a type");
        assert!(
            kind.contains("javascript") || kind.contains("css"),
            "{kind}"
        );
        assert!(!asset.body.contains("@import"), "{path}");
    }
    assert!(
        get("/docs/swagger-initializer.js")
            .body
            .contains("\"validatorUrl\": \"none\"")
    );
    check_of_page(&get("/docs"));

    for (path, status) in [
        ("/", 200),
        ("/healthz", 200),
        ("/metrics", 200),
        ("/crm/v1/prospects", 401),
        ("/nowhere", 404),
        ("/docsier", 404),
    ] {
        let answer = get(path);
        assert_eq!(answer.status, status, "{path}");
        assert_eq!(header(&answer, "cache-control"), Some("no-store"), "{path}");
        assert_eq!(header(&answer, "content-security-policy"), None, "{path}");
    }
    // It holds nothing of anybody, and says itself whether it is new.
    let document = get("/openapi.json");
    assert_eq!(header(&document, "cache-control"), Some("no-cache"));
    assert_eq!(header(&document, "content-security-policy"), None);
    let prospects = stage.caller().call("GET", "/crm/v1/prospects", &[], "");
    let prospects = prospects.expect("an answer");
    assert_eq!(
        (prospects.status, header(&prospects, "cache-control")),
        (200, Some("no-store"))
    );
}

#[test]
fn an_address_that_asks_too_often_without_a_key_is_told_to_wait() {
    // Far more than a minute's worth, on any machine that serves some dozens in a second.
    const REQUESTS_MAX: usize = 20_000;
    let stage = Stage::set();
    let address = stage.server.address("base_url");
    let get = |path: &str| request(&address, "GET", path, &[], "").expect("an answer");
    let whole = get("/openapi.json");
    let tag = header(&whole, "etag").expect("a tag");
    let again = request(
        &address,
        "GET",
        "/openapi.json",
        &[("if-none-match", tag)],
        "",
    );
    let again = again.expect("an answer");
    assert_eq!((again.status, &*again.body), (304, ""));
    let refused = (0..REQUESTS_MAX)
        .map(|_| get("/metrics"))
        .find(|answer| answer.status != 200)
        .expect("it is told to wait");
    assert_eq!(refused.status, 429, "{}", refused.body);
    assert!(header(&refused, "retry-after").is_some());
    assert_eq!(get("/healthz").status, 200);
    // Who has a key is not held up by who has none.
    let prospects = stage.caller().call("GET", "/crm/v1/prospects", &[], "");
    assert_eq!(prospects.expect("an answer").status, 200);
}

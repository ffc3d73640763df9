//! Listings: what is needed, and that a url means the same one again.

use serde_json::{Value, json};

use super::{HOME, OTHER, start};

fn listing() -> Value {
    json!({ "title": "Unit 1A", "url": "https://example.com/units/1a.html",
            "publishDate": "2026-11-24T10:00:00-05:00", "isListed": true, "notAMember": 1 })
}

#[tokio::test]
async fn a_listing_is_kept_and_its_url_means_it_again() {
    let sandbox = start().await;
    let path = format!("/community/{HOME}/listing");
    let id = sandbox.post_to(&path, &listing()).await.id();
    assert!(id.bytes().all(|b| b.is_ascii_digit()));
    sandbox.clock.advance(1_000_000);
    let mut again = listing();
    again["title"] = json!("Unit 1A, renovated");
    again["isListed"] = json!(false);
    again["publishDate"] = json!("2026-12-01T00:00Z");
    assert_eq!(sandbox.post_to(&path, &again).await.id(), id);
    let mut elsewhere = listing();
    elsewhere["url"] = json!("http://example.com/units/1b.html");
    let second = sandbox.post_to(&path, &elsewhere).await.id();
    let other = format!("/community/{OTHER}/listing");
    let third = sandbox.post_to(&other, &listing()).await.id();
    assert!(second != id && third != id);
    let held = sandbox.held("listings").await;
    assert_eq!(held.len(), 3);
    assert_eq!(
        held[0],
        json!({
            "id": id, "communityId": HOME, "title": "Unit 1A, renovated",
            "url": "https://example.com/units/1a.html", "publishDate": "2026-12-01T00:00Z",
            "isListed": false, "createdAt": "2026-11-24T09:00:00.000000+00:00",
            "updatedAt": "2026-11-24T09:00:01.000000+00:00", "updates": 1,
        })
    );
    assert_eq!(sandbox.sandbox.counts().listings, 3);
}

#[tokio::test]
async fn a_wrong_listing_is_refused() {
    let sandbox = start().await;
    let path = format!("/community/{HOME}/listing");
    let check = async |name: &str, value: Value, naming: &str| {
        let mut body = listing();
        body[name] = value;
        sandbox.check_refused(&path, &body, naming).await;
    };
    for name in ["title", "url", "publishDate", "isListed"] {
        check(name, Value::Null, &format!("{name} is required")).await;
        check(name, json!(1), &format!("{name} must be")).await;
    }
    for url in [
        "example.com/1.html",
        "ftp://example.com/1.html",
        "https://example.com/1",
        "https://.html",
        "https://example.com/1 a.html",
        "https://example.com/1.html?x=1",
    ] {
        check("url", json!(url), "url must be").await;
    }
    check("publishDate", json!("2026-11-24"), "publishDate must be").await;
    check("isListed", json!("yes"), "isListed must be").await;
    sandbox
        .check_refused(&path, &json!([]), "JSON object")
        .await;
    let answer = sandbox.post_to("/community/nope/listing", &json!([])).await;
    assert_eq!(answer.status, 404);
    assert_eq!(sandbox.sandbox.counts().listings, 0);
}

//! Cards that outlive a restart, and a journal that is not as it should be.

use std::path::Path;
use std::sync::Arc;

use jiff::civil::time;
use serde_json::{Value, json};

use super::super::{Error, Options, Sandbox, Seed};
use super::{HOME, HandClock, ann, lead, start_journaled, tour};

#[tokio::test]
async fn cards_survive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cards.ndjson");
    let clock = HandClock::new();
    let first = start_journaled(path.clone(), clock.clone()).await;
    let id = first.post(&ann()).await.id();
    let other = first
        .post(&lead(json!({ "email": "b@x.org", "message": "Hi" })))
        .await
        .id();
    let moved = lead(json!({ "email": "ann2@example.com", "phone": "2065550155" }));
    assert_eq!(first.post(&moved).await.id(), id);
    let (state, counts) = (first.sandbox.state(), first.sandbox.counts());
    first.stop().await;

    // The clock has not moved, so only the journal keeps the ids apart.
    let second = start_journaled(path, clock).await;
    assert_eq!(second.sandbox.state(), state);
    assert_eq!(second.sandbox.counts().updates, counts.updates);
    assert_eq!(second.post(&moved).await.id(), id);
    assert_eq!(
        second.post(&lead(json!({ "email": "B@x.org" }))).await.id(),
        other
    );
    let third = second
        .post(&lead(json!({ "email": "ann@example.com" })))
        .await
        .id();
    assert!(third.parse::<u64>().unwrap() > other.parse().unwrap());
}

#[tokio::test]
async fn a_forgotten_card_is_in_no_line_of_the_journal() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cards.ndjson");
    let clock = HandClock::new();
    let first = start_journaled(path.clone(), clock.clone()).await;
    let id = first.post(&ann()).await.id();
    let other = lead(json!({ "email": "b@x.org", "message": "Hi" }));
    let other_id = first.post(&other).await.id();
    let written = std::fs::read_to_string(&path).unwrap();
    assert!(written.contains("ann@example.com"));
    first.sandbox.forget(&id).unwrap();
    let state = first.sandbox.state();
    for left in [std::fs::read_to_string(&path).unwrap(), state.to_string()] {
        assert!(!left.contains("ann@example.com") && left.contains("b@x.org"));
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    // What comes later is written behind the rest, and the id is not given again.
    let again = first.post(&ann()).await.id();
    assert!(again.parse::<u64>().unwrap() > other_id.parse().unwrap());
    let state = first.sandbox.state();
    first.stop().await;
    let second = start_journaled(path, clock).await;
    assert_eq!(second.sandbox.state(), state);
}

#[tokio::test]
async fn a_torn_last_line_is_ignored_and_written_over() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cards.ndjson");
    let clock = HandClock::new();
    let first = start_journaled(path.clone(), clock.clone()).await;
    let id = first.post(&ann()).await.id();
    first.stop().await;
    let whole = std::fs::read(&path).unwrap();
    for torn in [&whole[..whole.len() / 2], b"{", b"\0\0\0"] {
        std::fs::write(&path, [&whole, torn].concat()).unwrap();
        let again = start_journaled(path.clone(), clock.clone()).await;
        assert_eq!(again.sandbox.counts().prospects, 1);
        assert_eq!(again.post(&ann()).await.id(), id);
        again.stop().await;
        let last = load(&path, &clock).unwrap();
        assert_eq!(last.counts().updates, 1);
    }
    // A last line that lacks only its end is a card.
    std::fs::write(&path, &whole[..whole.len() - 1]).unwrap();
    assert_eq!(load(&path, &clock).unwrap().counts().prospects, 1);
    assert_eq!(std::fs::read(&path).unwrap(), whole);
}

#[tokio::test]
async fn any_other_broken_line_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cards.ndjson");
    let clock = HandClock::new();
    let first = start_journaled(path.clone(), clock.clone()).await;
    first.post(&ann()).await.id();
    first.stop().await;
    let whole = std::fs::read_to_string(&path).unwrap();
    let check = |text: String, at: u64| {
        std::fs::write(&path, text).unwrap();
        match load(&path, &clock) {
            Err(error @ Error::JournalLine { line, .. }) => {
                assert_eq!(line, at);
                assert!(error.to_string().contains(&format!("line {at} of")));
            }
            other => panic!("{other:?}"),
        }
    };
    check(format!("{whole}{{\n{whole}"), 2);
    check(format!("{whole}\n"), 2);
    check(format!("{whole}{whole}nonsense\n"), 3);
    check(whole.replace("b9XQN6eMvvrr07zg", "gone"), 1);
    check(
        format!("{whole}{}", whole.replace("b9XQN6eMvvrr07zg", super::OTHER)),
        2,
    );
    check("{\"vanished\":\"1\"}\n".to_owned(), 1);
    check(format!("{whole}{{\"listing\":{{\"id\":\"1\"}}}}\n"), 2);
    check("{\"nextId\":\"x\"}\n".to_owned(), 1);
    check("{\"nextId\":\"18446744073709551615\"}\n".to_owned(), 1);

    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    assert!(matches!(load(&path, &clock), Err(Error::Journal { .. })));
}

#[tokio::test]
async fn a_reset_empties_the_journal_but_not_the_count_of_ids() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cards.ndjson");
    let clock = HandClock::new();
    let first = start_journaled(path.clone(), clock.clone()).await;
    let before = first.post(&ann()).await.id();
    first.sandbox.reset();
    assert!(
        !std::fs::read_to_string(&path)
            .unwrap()
            .contains("prospectId")
    );
    first.stop().await;
    let second = start_journaled(path, clock).await;
    assert_eq!(second.sandbox.counts().prospects, 0);
    assert!(second.post(&ann()).await.id() > before);
}

#[tokio::test]
async fn all_that_is_held_survives_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cards.ndjson");
    let clock = HandClock::new();
    let first = start_journaled(path.clone(), clock.clone()).await;
    let early = "2026-11-25T09:00:00-05:00";
    let replaced = first.book(&tour(early)).await;
    let kept = first.book(&tour("2026-11-26T09:00:00-05:00")).await;
    let mut other = tour(early);
    other["profile"]["email"] = json!("bob@x.org");
    let cancelled = first.book(&other).await;
    assert_eq!(first.cancel(&cancelled).await.status, 200);
    let cards = first.held("prospects").await;
    let card = cards[0]["prospectId"].as_str().unwrap().to_owned();
    let call = json!({ "agent": { "username": "sam.okafor" }, "type": "inbound",
                       "startTime": early, "endTime": early });
    first
        .post_to(&format!("/prospect/{card}/call"), &call)
        .await;
    let sms = json!({ "message": "Hi" });
    first.post_to(&format!("/prospect/{card}/sms"), &sms).await;
    let listing = json!({ "title": "1A", "url": "https://x.org/1.html", "isListed": true,
                          "publishDate": early });
    let listings = format!("/community/{HOME}/listing");
    let listed = first.post_to(&listings, &listing).await.id();
    assert_eq!(first.post_to(&listings, &listing).await.id(), listed);
    let edit = json!({ "status": "No Show", "notProspect": true, "email": "bob2@x.org" });
    let bob = cards[1]["prospectId"].as_str().unwrap();
    let of_bob = format!("/prospects/{bob}");
    assert_eq!(first.control("POST", &of_bob, &edit).await.status, 200);
    let gone = first
        .post(&lead(json!({ "email": "gone@x.org" })))
        .await
        .id();
    let of_gone = format!("/prospects/{gone}");
    let answer = first.control("DELETE", &of_gone, &Value::Null).await;
    assert_eq!(answer.status, 200);
    let (state, mut counts) = (first.sandbox.state(), first.sandbox.counts());
    // Of a running process.
    (counts.requests, counts.changes_at_once_max) = (0, 0);
    first.stop().await;

    // The clock has not moved, so only the journal keeps the ids apart.
    let second = start_journaled(path.clone(), clock.clone()).await;
    assert_eq!(second.sandbox.state(), state);
    assert_eq!(second.sandbox.counts(), counts);
    let answer = second.vendor("GET", &format!("/prospect/{gone}"), "").await;
    assert_eq!(answer.status, 404);
    let again = second.post(&lead(json!({ "email": "bob2@x.org" }))).await;
    assert_eq!(again.id(), bob);
    assert_eq!(second.post_to(&listings, &listing).await.id(), listed);
    // The tour to come is still known as such, and no id is given again.
    assert_eq!(second.book(&tour("2026-11-26T09:00:00-05:00")).await, kept);
    let next = second.book(&tour(early)).await;
    let number = |id: &str| id.parse::<u64>().unwrap();
    for given in [&replaced, &kept, &cancelled, &listed, &gone, &card] {
        assert!(number(&next) > number(given));
    }
    let tours = second.held("appointments").await;
    let status = |id: &str| {
        let tour = tours.iter().find(|tour| tour["id"] == id);
        tour.unwrap()["status"].as_str().unwrap().to_owned()
    };
    assert_eq!(status(&replaced), "REPLACED");
    assert_eq!(status(&kept), "REPLACED");
    assert_eq!(status(&cancelled), "CANCELLED");
    assert_eq!(status(&next), "CONFIRMED");

    second.sandbox.reset();
    second.stop().await;
    let third = start_journaled(path, clock).await;
    assert_eq!(third.sandbox.counts(), super::super::Counts::default());
    assert!(number(&third.book(&tour(early)).await) > number(&next));
}

#[tokio::test]
async fn a_card_of_before_there_were_statuses_is_new() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cards.ndjson");
    let clock = HandClock::new();
    let first = start_journaled(path.clone(), clock.clone()).await;
    let id = first.post(&ann()).await.id();
    let card = first.card(&id).await;
    first.stop().await;
    let line = std::fs::read_to_string(&path).unwrap();
    let old = line.replace("\"status\":\"New\",", "");
    assert_ne!(old, line);
    std::fs::write(&path, old).unwrap();
    let second = start_journaled(path, clock).await;
    assert_eq!(second.card(&id).await, card);
    assert_eq!(second.post(&ann()).await.id(), id);
}

#[tokio::test]
async fn the_last_line_of_a_call_may_be_torn_like_any_other() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cards.ndjson");
    let clock = HandClock::new();
    let first = start_journaled(path.clone(), clock.clone()).await;
    let start = "2026-11-25T09:00:00-05:00";
    first.book(&tour(start)).await;
    first.stop().await;
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() - 5]).unwrap();
    // Who asks again, because no answer came, has the tour after all.
    let second = start_journaled(path, clock).await;
    let counts = second.sandbox.counts();
    assert_eq!((counts.prospects, counts.appointments), (1, 0));
    second.book(&tour(start)).await;
    let counts = second.sandbox.counts();
    assert_eq!((counts.prospects, counts.appointments), (1, 1));
}

#[test]
fn a_seed_that_contradicts_itself_is_refused() {
    let check = |change: fn(&mut Seed), naming: &str| {
        let mut options = Options::new(HandClock::new());
        change(&mut options.seed);
        let error = Sandbox::new(options).unwrap_err();
        assert!(error.to_string().contains(naming), "{error}");
    };
    check(|seed| seed.communities.clear(), "no community");
    check(|seed| seed.api_key = " ".to_owned(), "key");
    check(|seed| seed.communities[0].id.clear(), "blank id");
    check(
        |seed| seed.communities[1].id = seed.communities[0].id.clone(),
        "twice",
    );
    check(|seed| seed.communities[1].agents.clear(), "no agent");
    check(|seed| seed.communities[1].sources.clear(), "no source");
    check(
        |seed| seed.communities[1].sources.push("Zillow.com".to_owned()),
        "repeats a source",
    );
    check(
        |seed| seed.communities[1].sources.push(" ".to_owned()),
        "blank",
    );
    check(
        |seed| seed.communities[1].timezone = "America/Nowhere".to_owned(),
        "no IANA time zone",
    );
    check(
        |seed| seed.communities[1].hours.first = time(18, 0, 0, 0),
        "last slot before its first",
    );
    for minutes in [0, 1_441] {
        let mut options = Options::new(HandClock::new());
        options.seed.communities[1].hours.slot_minutes = minutes;
        let error = Sandbox::new(options).unwrap_err().to_string();
        assert!(error.contains("1 to 1440 minutes"), "{error}");
    }
    check(
        |seed| {
            let agent = seed.communities[0].agents[0].clone();
            seed.communities[0].agents.push(agent);
        },
        "repeats an agent",
    );
}

fn load(path: &Path, clock: &Arc<HandClock>) -> Result<Sandbox, Error> {
    let mut options = Options::new(clock.clone());
    options.journal = Some(path.to_owned());
    Sandbox::new(options)
}

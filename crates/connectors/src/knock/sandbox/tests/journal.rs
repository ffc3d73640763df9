//! Cards that outlive a restart, and a journal that is not as it should be.

use std::path::Path;
use std::sync::Arc;

use serde_json::json;

use super::super::{Error, Options, Sandbox, Seed};
use super::{HandClock, ann, lead, start_journaled};

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

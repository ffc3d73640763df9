//! Every kind of write at once, on the real parts, while the vendor fails and the server is killed.
//!
//! Goal: whatever is accepted stands at the vendor, in order, and can be read back. Method: scripts of writes about one person or listing each, sent as a
//! careful client does; then both sides are compared.

use crate::support;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use model::Timestamp;
use serde_json::{Value, json};
use support::{
    Caller, DAY_MS, HOUR_MS, PATIENCE, REST, Stage, date_and_time, in_parallel, instant, text,
    with, without,
};

const KILLS: u64 = 4;

const THREADS: usize = 16;
const PEOPLE: usize = 20;
const URLS: usize = 10;
const EVENTS: [&str; 5] = ["SMS", "CHAT", "CALL", "EMAIL", "ACTIVITY"];
const KINDS: [&str; 4] = ["prospects", "events", "appointments", "listings"];

/// A write, and the kind of record that it makes or meets.
struct Write {
    kind: &'static str,
    method: &'static str,
    path: String,
    body: Value,
}

impl Write {
    fn create(kind: &'static str, body: Value) -> Self {
        Self {
            kind,
            method: "POST",
            path: format!("/crm/v1/{kind}/knock"),
            body,
        }
    }

    fn update(id: &str, body: Value) -> Self {
        Self {
            kind: "prospects",
            method: "PUT",
            path: format!("/crm/v1/prospects/knock/{id}"),
            body,
        }
    }
}

/// Makes bodies.
struct Author {
    references: Value,
    /// A morning on which tours are possible.
    morning: Timestamp,
}

impl Author {
    fn of(stage: &Stage) -> Self {
        let day = stage.set_at().as_micros() / 1_000 / DAY_MS + 10;
        Self {
            references: stage.references("Saguaro Flats"),
            // Nine o'clock in Phoenix, where the clocks never change.
            morning: Timestamp::ZERO.plus_millis(day * DAY_MS + 16 * HOUR_MS),
        }
    }

    fn prospect(&self, email: &str) -> Value {
        let more = json!({ "email_1": email, "notes": "Is it still available?" });
        with(&self.references, more)
    }

    fn tour(&self, email: &str, hour: i64) -> Write {
        let (date, time) = date_and_time(self.morning.plus_millis(hour * HOUR_MS));
        let more = json!({ "appointment_date": date, "appointment_time": time, "last_name": "Byron", "email_1": email });
        Write::create(
            "appointments",
            with(&without(&self.references, "agent_id"), more),
        )
    }

    /// Recognised by its minute.
    fn event(&self, prospect: &str, minute: usize) -> Write {
        let at = moment(minute).to_string();
        let more = json!({
            "prospect_id": prospect, "event_name": EVENTS[minute % EVENTS.len()], "event_datetime": at, "notes": "Noted", "email_subject": "Your tour",
            "email_body": "We look forward to it.", "call_status": "ANSWERED", "time_from": at, "time_to": at,
        });
        Write::create("events", with(&self.references, more))
    }

    fn listing(&self, place: usize, title: &str) -> Write {
        let place_of = without(&without(&self.references, "agent_id"), "attribution_id");
        let url = format!("https://phoenix.craigslist.org/apa/d/{place}.html");
        let more = json!({ "title": title, "url": url, "publish_date": "2027-03-01T14:30:00Z", "is_listed": true });
        Write::create("listings", with(&place_of, more))
    }
}

fn moment(minute: usize) -> Timestamp {
    let minute = i64::try_from(minute).expect("a minute");
    instant(&json!("2026-01-01T00:00:00Z")).plus_millis(minute * 60_000)
}

fn known(person: usize) -> String {
    format!("known.{person}@mail.example.com")
}

fn newcomer(person: usize) -> String {
    format!("new.{person}@mail.example.com")
}

/// The minutes of a known person's events, in order.
fn minutes(person: usize) -> [usize; 4] {
    [0, 1, 2, 3].map(|place| person * 4 + place)
}

/// The writes, in scripts: those of one are sent one after the other.
fn scripts(author: &Author, ids: &[String]) -> Vec<Vec<Write>> {
    let of_known = ids.iter().enumerate().map(|(person, id)| {
        let (email, [first, second, third, last]) = (known(person), minutes(person));
        let occupants = |number: usize| json!({ "number_of_occupants": number });
        vec![
            author.event(id, first),
            Write::update(id, occupants(2)),
            author.event(id, second),
            author.tour(&email, 0),
            author.event(id, third),
            Write::update(id, occupants(3)),
            author.tour(&email, 1),
            author.event(id, last),
        ]
    });
    let of_newcomers = (0..PEOPLE).map(|person| {
        let email = newcomer(person);
        let create = || Write::create("prospects", author.prospect(&email));
        vec![create(), author.tour(&email, 2), create()]
    });
    let of_listings =
        (0..URLS).map(|place| vec![author.listing(place, "Old"), author.listing(place, "New")]);
    of_known.chain(of_newcomers).chain(of_listings).collect()
}

/// Sends a write until it is accepted: an update may have to wait for another write about the same person.
fn until_accepted(caller: &Caller, write: &Write, key: &str) -> String {
    let started = Instant::now();
    loop {
        let answer = caller.send_until_answered(write.method, &write.path, &write.body, key);
        if write.method == "POST" || answer.status != 409 {
            return answer.job_id();
        }
        assert!(started.elapsed() < PATIENCE, "{key}: {}", answer.body);
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Sends all while the server is killed, and returns the job ids of each script.
fn send_amid_kills(stage: &mut Stage, scripts: &[Vec<Write>]) -> Vec<Vec<String>> {
    let caller = stage.caller();
    std::thread::scope(|scope| {
        let sending = scope.spawn(|| {
            in_parallel(scripts, scripts.len(), |place, script| {
                // Spread over the kills, so that each falls into the middle of something.
                std::thread::sleep(Duration::from_millis((place as u64 * 97) % 1_500));
                let send = |(step, write): (usize, &Write)| {
                    std::thread::sleep(Duration::from_millis(200 + (place as u64 * 37) % 300));
                    until_accepted(&caller, write, &format!("write-{place}-{step}"))
                };
                script.iter().enumerate().map(send).collect()
            })
        });
        stage.kill_amid_calls(KILLS, || sending.is_finished());
        sending.join().expect("the sending threads")
    })
}

fn check_cards(stage: &Stage) {
    let cards = stage.cards();
    let emails: BTreeSet<String> = cards.iter().map(|card| text(&card["email"])).collect();
    let people: BTreeSet<String> = (0..PEOPLE)
        .flat_map(|person| [known(person), newcomer(person)])
        .collect();
    assert_eq!(emails, people);
    assert_eq!(cards.len(), people.len(), "one card a person");
    for card in cards
        .iter()
        .filter(|card| text(&card["email"]).starts_with("known"))
    {
        assert_eq!(card["occupants"], 3, "the last change stands: {card}");
    }
}

/// Of each person every event stands at the vendor, repeated or not, in the order accepted.
fn check_events(stage: &Stage) {
    let mut minutes_of: BTreeMap<String, Vec<Timestamp>> = BTreeMap::new();
    for activity in stage.held("activities") {
        let told = ["time", "startTime"].map(|name| &activity[name]);
        let told = told.into_iter().find(|one| !one.is_null());
        let at = instant(told.expect("when it happened"));
        let seen = minutes_of.entry(text(&activity["prospectId"])).or_default();
        if !seen.contains(&at) {
            seen.push(at);
        }
    }
    for card in stage.cards() {
        let email = text(&card["email"]);
        let expected: Vec<Timestamp> = (0..PEOPLE)
            .filter(|person| known(*person) == email)
            .flat_map(minutes)
            .map(moment)
            .collect();
        let seen = minutes_of
            .remove(&text(&card["prospectId"]))
            .unwrap_or_default();
        assert_eq!(seen, expected, "{email}");
    }
    assert!(minutes_of.is_empty(), "events of nobody: {minutes_of:?}");
}

fn check_tours(stage: &Stage, author: &Author) {
    let mut confirmed: BTreeMap<String, Timestamp> = BTreeMap::new();
    for one in stage.held("appointments") {
        if one["status"] == "CONFIRMED" {
            let earlier = confirmed.insert(text(&one["prospectId"]), instant(&one["startTime"]));
            assert_eq!(earlier, None, "a second tour: {one}");
        }
    }
    for card in stage.cards() {
        let is_known = text(&card["email"]).starts_with("known");
        let hour = if is_known { 1 } else { 2 };
        let at = author.morning.plus_millis(hour * HOUR_MS);
        assert_eq!(
            confirmed.get(&text(&card["prospectId"])),
            Some(&at),
            "{card}"
        );
    }
}

fn check_listings(stage: &Stage) {
    let listings = stage.held("listings");
    let urls: BTreeSet<String> = listings.iter().map(|one| text(&one["url"])).collect();
    assert_eq!((listings.len(), urls.len()), (URLS, URLS));
    for one in listings {
        assert_eq!(one["title"], "New", "the last one stands: {one}");
    }
}

/// Walks a list to its end and returns the ids, in the order of the list.
fn walk(caller: &Caller, kind: &str) -> Vec<String> {
    let (mut ids, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = caller.get(&format!("/crm/v1/{kind}?limit=7{cursor}"));
        let rows = page["results"].as_array().expect("rows");
        assert!(rows.len() <= 7, "{page}");
        ids.extend(rows.iter().map(|row| text(&row["id"])));
        match page["meta"]["nextCursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return ids,
        }
    }
}

/// The ids of the records of a kind that writes made or met.
fn ids_of<'a>(made: &'a [(&'static str, String)], kind: &str) -> BTreeSet<&'a str> {
    let of_kind = made.iter().filter(|(of, _)| *of == kind);
    of_kind.map(|(_, id)| id.as_str()).collect()
}

/// Every record can be read, and stands in its list once; no other does.
fn check_records(caller: &Caller, made: &[(&'static str, String)]) {
    for kind in KINDS {
        let ids = ids_of(made, kind);
        for id in &ids {
            let record = caller.get(&format!("/crm/v1/{kind}/{id}"));
            assert_eq!(record["results"]["id"], *id, "{record}");
        }
        let mut listed = walk(caller, kind);
        listed.sort_unstable();
        assert!(listed.iter().eq(ids.iter()), "{kind}: {listed:?}");
    }
    // A record a person, an event, a tour.
    for (kind, count) in [
        ("prospects", 2 * PEOPLE),
        ("events", 4 * PEOPLE),
        ("appointments", 3 * PEOPLE),
    ] {
        assert_eq!(ids_of(made, kind).len(), count, "{kind}");
    }
}

#[test]
fn kill_nine_amid_every_kind_of_write_loses_and_doubles_nothing() {
    let mut stage = Stage::set();
    let (caller, author) = (stage.caller(), Author::of(&stage));
    let people: Vec<usize> = (0..PEOPLE).collect();
    let ids = in_parallel(&people, THREADS, |_, person| {
        caller.prospect(&author.prospect(&known(*person)))
    });
    stage.break_the_vendor();
    let scripts = scripts(&author, &ids);
    let jobs = send_amid_kills(&mut stage, &scripts);

    // What is left is left by kills and failures that are over: how long it takes is not up to luck.
    stage.clear_faults();
    let sent: Vec<(&Write, &String)> = scripts
        .iter()
        .flatten()
        .zip(jobs.iter().flatten())
        .collect();
    let made = in_parallel(&sent, THREADS, |_, (write, job_id)| {
        let end = caller.end_within(job_id, REST);
        assert_eq!(end["write_status"], "SUCCESS", "{end} of {}", write.body);
        (write.kind, text(&end["created_record_id"]))
    });
    check_cards(&stage);
    check_events(&stage);
    check_tours(&stage, &author);
    check_listings(&stage);
    check_records(&caller, &made);
}

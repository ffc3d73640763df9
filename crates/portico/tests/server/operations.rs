//! Every operation that takes a body, on the real parts.
//!
//! Goal: no operation forgets a field, a rule or a path, and each sends the vendor what it should, by the vendor's own path and by the one that names none.
//! Method: a table gives valid bodies; the OpenAPI document that is served says what else can be wrong with them; the sandbox says what arrived.

use crate::support;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use support::{Answer, Caller, HOUR_MS, Stage, date_and_time, instant, text, with, without};

/// A body, and what it is of.
type Sample = (&'static str, Value);

/// An operation: its two paths, and bodies that it takes. Together they have every field; for each that is not required, one lacks it.
struct Row {
    knock: &'static str,
    generic: &'static str,
    samples: fn(&World) -> Vec<Sample>,
}

impl Row {
    fn routes(&self) -> [&'static str; 2] {
        [self.knock, self.generic]
    }

    /// Whether it is stored and delivered, rather than asked and answered.
    fn is_write(&self) -> bool {
        !self.knock.contains("availability")
    }
}

const ROWS: [Row; 6] = [
    Row {
        knock: "POST /crm/v1/prospects/knock",
        generic: "POST /crm/v1/prospects",
        samples: prospects,
    },
    Row {
        knock: "PUT /crm/v1/prospects/knock/{prospect_id}",
        generic: "PUT /crm/v1/prospects/{id}",
        samples: updates,
    },
    Row {
        knock: "POST /crm/v1/events/knock",
        generic: "POST /crm/v1/events",
        samples: events,
    },
    Row {
        knock: "POST /crm/v1/appointments/knock",
        generic: "POST /crm/v1/appointments",
        samples: tours,
    },
    Row {
        knock: "POST /crm/v1/appointment-availability/knock",
        generic: "POST /crm/v1/appointment-availability",
        samples: questions,
    },
    Row {
        knock: "POST /crm/v1/listings/knock",
        generic: "POST /crm/v1/listings",
        samples: listings,
    },
];

/// What each kind of event requires, as the contract tells it.
const EVENTS: [(&str, &[&str]); 5] = [
    ("SMS", &["agent_id", "event_datetime", "notes"]),
    ("CHAT", &["agent_id", "event_datetime", "notes"]),
    (
        "CALL",
        &[
            "attribution_id",
            "agent_id",
            "call_status",
            "time_from",
            "time_to",
        ],
    ),
    (
        "EMAIL",
        &["agent_id", "event_datetime", "email_subject", "email_body"],
    ),
    ("ACTIVITY", &["event_datetime", "notes"]),
];

fn prospects(world: &World) -> Vec<Sample> {
    let least = without(&world.references, "agent_id");
    let full = with(&world.references, profile());
    let more = json!({
        "email_1": "Full@Mail.example.com", "phone_1": "(206) 555-0155", "phone_1_extension": "12", "last_name": "Byron", "address_1": "12 St James Square", "city": "Seattle",
        "state": "WA", "zip": "98101", "notes": "Is the two bedroom still available?", "pets": ["CAT", "SMALL_DOG"], "subscribe": false,
        "first_contact_type": "CHAT",
    });
    vec![
        ("a prospect in full", with(&full, more)),
        (
            "a prospect with an email address",
            with(&least, json!({ "email_1": "least@mail.example.com" })),
        ),
        (
            "a prospect with a phone number",
            with(&least, json!({ "phone_1": "2065550177" })),
        ),
    ]
}

/// What a prospect, its change and a tour have in common.
fn profile() -> Value {
    json!({
        "first_name": " Ada ", "move_in_date": "2027-03-10T23:59:59-08:00", "number_of_occupants": 2, "lease_term_in_months": 12,
        "rent_minimum_in_cents": 180_099, "rent_maximum_in_cents": 240_001, "desired_num_bedrooms": [0, 3],
    })
}

fn updates(world: &World) -> Vec<Sample> {
    // The phone is the one that the prospect has, in another spelling: one contact stays.
    let more = json!({
        "agent_id": world.references["agent_id"], "email_1": "other@mail.example.com", "phone_1": "206-555-0142", "phone_1_extension": "34", "last_name": "King",
    });
    vec![
        ("a change of everything", with(&profile(), more)),
        ("a change of a name", json!({ "last_name": "Lovelace" })),
        (
            "a change of a number",
            json!({ "number_of_occupants": 3, "first_name": null }),
        ),
    ]
}

fn events(world: &World) -> Vec<Sample> {
    let all = with(
        &world.references,
        json!({
            "prospect_id": world.prospect, "event_datetime": "2026-03-01T09:30:00-05:00", "notes": "Asked for a floor plan",
            "email_subject": "Your tour", "email_body": "We look forward to it.", "call_status": "MISSED_VOICEMAIL",
            "time_from": "2026-03-01T14:30:00Z", "time_to": "2026-03-01T14:35:00Z",
        }),
    );
    let of_every_kind = ["integration_id", "prospect_id", "community_id"];
    let names = [
        ["a text message in full", "a text message"],
        ["a chat in full", "a chat"],
        ["a call in full", "a call"],
        ["an email in full", "an email"],
        ["an activity in full", "an activity"],
    ];
    let mut samples = Vec::new();
    for ((kind, required), [in_full, least]) in EVENTS.into_iter().zip(names) {
        let full = with(&all, json!({ "event_name": kind }));
        let kept: Map<String, Value> = full
            .as_object()
            .expect("an object")
            .iter()
            .filter(|(name, _)| {
                of_every_kind.contains(&name.as_str())
                    || *name == "event_name"
                    || required.contains(&name.as_str())
            })
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        samples.push((in_full, full));
        samples.push((least, Value::Object(kept)));
    }
    samples
}

fn tours(world: &World) -> Vec<Sample> {
    let (date, time) = &world.tour;
    let least = with(
        &without(&world.references, "agent_id"),
        json!({ "appointment_date": date, "appointment_time": time, "last_name": "Turing" }),
    );
    let more = json!({
        "email_1": "tour@mail.example.com", "phone_1": "+12065550188", "phone_1_extension": "56", "notes": "Comes by bicycle", "pets": ["LARGE_DOG"], "first_contact_type": "CALL",
        "tour_type": "SELF_GUIDED",
    });
    vec![
        ("a tour in full", with(&with(&least, profile()), more)),
        (
            "a tour with an email address",
            with(&least, json!({ "email_1": "tour.least@mail.example.com" })),
        ),
        (
            "a tour with a phone number",
            with(&least, json!({ "phone_1": "2065550199" })),
        ),
    ]
}

fn questions(world: &World) -> Vec<Sample> {
    let place = without(&without(&world.references, "agent_id"), "attribution_id");
    let of = |kind: &str| with(&place, json!({ "appointment_type": kind }));
    vec![
        ("times for a tour with an agent", of("APPOINTMENT")),
        ("times for a tour alone", of("SELF_GUIDED_TOUR")),
    ]
}

fn listings(world: &World) -> Vec<Sample> {
    let place = without(&without(&world.references, "agent_id"), "attribution_id");
    let more = json!({
        "title": " Two bedrooms by the harbor ", "url": "https://seattle.craigslist.org/see/apa/d/two-bedrooms/7812345678.html",
        "publish_date": "2027-03-01T09:30:00-05:00", "is_listed": false,
    });
    vec![("a listing", with(&place, more))]
}

/// A running stage, and what bodies refer to.
struct World {
    stage: Stage,
    caller: Caller,
    document: Value,
    references: Value,
    /// A prospect of the same community.
    prospect: String,
    /// When a tour is possible: in the afternoon there, whatever the clocks do.
    tour: (String, String),
}

impl World {
    fn set() -> Self {
        let stage = Stage::set();
        let (caller, references) = (stage.caller(), stage.references("Harbor Point"));
        let document = caller.get("/openapi.json");
        let person = json!({ "email_1": "known@mail.example.com", "phone_1": "2065550142" });
        let prospect = caller.prospect(&with(&references, person));
        Self {
            tour: stage.tour(),
            stage,
            caller,
            document,
            references,
            prospect,
        }
    }

    fn path<'a>(&self, operation: &'a str) -> (&'a str, String) {
        let (method, path) = operation.split_once(' ').expect("a method and a path");
        let path = path
            .replace("{prospect_id}", &self.prospect)
            .replace("{id}", &self.prospect);
        (method, path)
    }

    fn send(&self, operation: &str, query: &str, body: &Value) -> Answer {
        let (method, path) = self.path(operation);
        let headers = [("prefer", "wait=30")];
        self.caller
            .call(
                method,
                &format!("{path}{query}"),
                &headers,
                &body.to_string(),
            )
            .expect("an answer")
    }

    /// The body is taken, and if it is a write, delivered. Returns the answer.
    fn accepted(&self, row: &Row, operation: &str, query: &str, body: &Value) -> Value {
        let answer = self.send(operation, query, body);
        let json = answer.json();
        assert_eq!(answer.status, 200, "{operation} of {body}: {json}");
        if row.is_write() {
            let status = &json["meta"]["write_status"];
            assert_eq!(status, "SUCCESS", "{operation} of {body}: {json}");
        }
        json
    }

    /// The body is refused: with `code` at `path`, and with nothing on any other field.
    fn refused(&self, operation: &str, body: &Value, code: &str, path: &[Value]) -> Value {
        let issues = self.send(operation, "", body).issues();
        let context = || format!("{code} at {path:?} of {operation} with {body}: {issues:?}");
        let found = issues
            .iter()
            .find(|one| one["code"] == code && one["path"] == json!(path));
        let is_of_field = |one: &Value| one["path"].get(0) == path.first();
        assert!(issues.iter().all(is_of_field), "{}", context());
        found.unwrap_or_else(|| panic!("{}", context())).clone()
    }

    fn schema(&self, operation: &str) -> Value {
        let (method, path) = operation.split_once(' ').expect("a method and a path");
        let of = &self.document["paths"][path][method.to_lowercase()];
        self.resolved(&of["requestBody"]["content"]["application/json"]["schema"])
    }

    /// A schema with what it refers to in its place, and `null` among its types where it takes that.
    fn resolved(&self, schema: &Value) -> Value {
        if let Some([own, null]) = schema["anyOf"].as_array().map(Vec::as_slice)
            && *null == json!({ "type": "null" })
        {
            let mut own = self.resolved(own);
            own["type"] = json!([own["type"], "null"]);
            return own;
        }
        match schema["$ref"].as_str() {
            Some(place) => {
                let found = self.document.pointer(place.trim_start_matches('#'));
                found.expect("the schema that it refers to").clone()
            }
            None => schema.clone(),
        }
    }
}

fn properties(schema: &Value) -> &Map<String, Value> {
    schema["properties"].as_object().expect("properties")
}

fn required(schema: &Value) -> Vec<&str> {
    let names = schema["required"].as_array().into_iter().flatten();
    names.map(|one| one.as_str().expect("a name")).collect()
}

/// The first sample that has the field.
fn having(samples: &[Sample], field: &str) -> Value {
    let found = samples.iter().find(|(_, body)| !body[field].is_null());
    found
        .unwrap_or_else(|| panic!("no sample has {field}"))
        .1
        .clone()
}

/// The first sample that lacks the field.
fn lacking(samples: &[Sample], field: &str) -> Option<Value> {
    let found = samples.iter().find(|(_, body)| body[field].is_null())?;
    Some(found.1.clone())
}

#[test]
fn every_operation_with_a_body_has_a_row() {
    let world = World::set();
    let mut operations = BTreeSet::new();
    for (path, item) in world.document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("methods") {
            // Those of administration are tried in administration.rs, and no vendor here is told how a
            // tour ended.
            let is_taken = operation["operationId"] != "appointment_update";
            if path.starts_with("/crm/") && !operation["requestBody"].is_null() && is_taken {
                operations.insert(format!("{} {path}", method.to_uppercase()));
            }
        }
    }
    let rows: BTreeSet<String> = ROWS
        .iter()
        .flat_map(Row::routes)
        .map(str::to_owned)
        .collect();
    assert_eq!(operations, rows, "left: the document, right: this table");
    for row in &ROWS {
        let (schema, samples) = (world.schema(row.knock), (row.samples)(&world));
        for field in properties(&schema).keys() {
            assert!(!having(&samples, field).is_null(), "{field}");
            assert!(
                required(&schema).contains(&&**field) || lacking(&samples, field).is_some(),
                "{}: every sample has {field}",
                row.knock
            );
        }
    }
}

/// The contract's answer to a body: its echo by a vendor's path, nothing by a generic one.
fn check_answer(world: &World, row: &Row, operation: &str, body: &Value, answer: &Value) {
    if !row.is_write() {
        let calendar = &answer["result"][0];
        assert_eq!(calendar["calendar_type"], "PROPERTY_CALENDAR", "{answer}");
        return;
    }
    if operation == row.generic {
        assert_eq!(answer["data"], json!({}), "{answer}");
        assert!(answer["result"].is_null(), "{answer}");
        return;
    }
    let echo: Map<String, Value> = properties(&world.schema(operation))
        .iter()
        .map(|(field, _)| {
            // Where a body does not say, the person is assumed to agree.
            let told = match &body[field] {
                Value::Null if field == "subscribe" => json!(true),
                given => given.clone(),
            };
            (field.clone(), told)
        })
        .collect();
    assert_eq!(answer["result"], Value::Object(echo), "{operation}");
}

/// Sends every sample by one kind of path, on a stage of its own, and returns what arrived at the vendor, without what differs from run to run.
fn arrived(pick: fn(&Row) -> &'static str) -> Value {
    let world = World::set();
    let mut arrived = Map::new();
    for row in &ROWS {
        let (method, path) = world.path(pick(row));
        for (name, body) in (row.samples)(&world) {
            let before = world.stage.received().len();
            let answer = world.caller.send(method, &path, &body);
            check_answer(&world, row, pick(row), &body, &answer.json());
            if row.is_write() {
                let end = world.caller.end_of(&answer.job_id());
                assert_eq!(end["write_status"], "SUCCESS", "{name}: {end}");
                assert_eq!(end["attempts"], 1, "{name}: {end}");
                assert!(end["created_record_id"].is_string(), "{name}: {end}");
            }
            let calls = world.stage.received().split_off(before);
            assert_eq!(calls.len(), 1, "{name}: {calls:?}");
            let call = &calls[0];
            arrived.insert(
                name.to_owned(),
                json!({ "method": call["method"], "path": call["path"], "body": call["body"] }),
            );
        }
    }
    let prospect = world
        .caller
        .get(&format!("/crm/v1/prospects/{}", world.prospect));
    let mut words = Value::Object(arrived)
        .to_string()
        .replace(&text(&prospect["results"]["x_id"]), "{card}");
    let (date, time) = &world.tour;
    let tour = instant(&json!(format!("{date}T{time}Z")));
    for held in world.stage.held("appointments") {
        assert_eq!(instant(&held["startTime"]), tour, "{held}");
    }
    for (offset_h, offset) in [(-5, "-05:00"), (-4, "-04:00")] {
        let (date, time) = date_and_time(tour.plus_millis(offset_h * HOUR_MS));
        words = words.replace(&format!("{date}T{time}{offset}"), "{tour}");
    }
    serde_json::from_str(&words).expect("JSON")
}

#[test]
fn valid_bodies_arrive_at_the_vendor_the_same_by_either_path() {
    let arrived_by = [|row: &Row| row.knock, |row: &Row| row.generic].map(arrived);
    insta::assert_json_snapshot!("arrived", arrived_by[0]);
    let [knock, generic] = arrived_by;
    for (name, call) in knock.as_object().expect("calls") {
        assert_eq!(generic[name], *call, "{name}");
    }
}

/// A text that keeps its beginning and its end and has `count` characters.
fn lengthened(text: &str, count: usize) -> String {
    let (begin, end) = text.split_at(text.len().saturating_sub(5));
    format!(
        "{begin}{}{end}",
        "x".repeat(count.saturating_sub(text.len()))
    )
}

fn number(value: &Value) -> Option<usize> {
    value.as_u64()?.try_into().ok()
}

fn has_type(property: &Value, name: &str) -> bool {
    let kind = &property["type"];
    kind == name
        || kind
            .as_array()
            .is_some_and(|all| all.contains(&json!(name)))
}

/// What breaks each rule of a property that `good` keeps, and the code of the issue.
fn breaking(property: &Value, good: &Value) -> Vec<(Value, &'static str)> {
    let mut values = Vec::new();
    let mut add = |value: Value, code| values.push((value, code));
    if let Some(least) = property["minimum"].as_i64() {
        add(json!(least - 1), "too_small");
    }
    if let Some(most) = property["maximum"].as_i64() {
        add(json!(most + 1), "too_big");
    }
    if let Some(least) = number(&property["minLength"]) {
        // A blank text is an absent one.
        let code = if least == 1 {
            "invalid_type"
        } else {
            "too_small"
        };
        add(json!("x".repeat(least - 1)), code);
    }
    if let Some(most) = number(&property["maxLength"]) {
        let good = good.as_str().expect("a text");
        add(json!(lengthened(good, most + 1)), "too_big");
    }
    if property["enum"].is_array() {
        add(json!("NOPE"), "invalid_enum_value");
    }
    let is_formed = ["date-time", "email"].map(Value::from);
    if property["pattern"].is_string() || is_formed.contains(&property["format"]) {
        add(json!("?"), "invalid_string");
    }
    for (name, wrongs) in [
        ("string", vec![json!(7), json!(["a"])]),
        ("integer", vec![json!("7"), json!(1.5), json!({})]),
        ("boolean", vec![json!("true"), json!(1)]),
        ("array", vec![json!("x"), json!({ "0": 1 })]),
    ] {
        if has_type(property, name) {
            for wrong in wrongs {
                add(wrong, "invalid_type");
            }
        }
    }
    if !has_type(property, "null") {
        add(Value::Null, "invalid_type");
    }
    values
}

fn check_breaking(world: &World, operation: &str, schema: &Value, samples: &[Sample]) {
    for (field, property) in properties(schema) {
        let (property, body) = (world.resolved(property), having(samples, field));
        let refused = |value: Value, code: &str, path: &[Value], rule: &Value| {
            let issue = world.refused(operation, &with(&body, json!({ field: value })), code, path);
            if code == "invalid_enum_value" {
                let mut options = rule["enum"].as_array().expect("an enum").clone();
                options.retain(|one| !one.is_null());
                assert_eq!(issue["options"], json!(options), "{issue}");
            }
        };
        for (value, code) in breaking(&property, &body[field]) {
            refused(value, code, &[json!(field)], &property);
        }
        if has_type(&property, "array") {
            let items = world.resolved(&property["items"]);
            for (value, code) in breaking(&items, &body[field][0]) {
                refused(json!([value]), code, &[json!(field), json!(0)], &items);
            }
        }
    }
    for field in required(schema) {
        for (_, body) in samples {
            let issue = world.refused(
                operation,
                &without(body, field),
                "invalid_type",
                &[json!(field)],
            );
            assert_eq!(issue["received"], "undefined", "{issue}");
        }
    }
}

#[test]
fn what_breaks_the_schema_is_refused_at_its_path() {
    let world = World::set();
    for row in &ROWS {
        let (schema, samples) = (world.schema(row.knock), (row.samples)(&world));
        for operation in row.routes() {
            // What a vendor requires, its generic path requires too, once the vendor is known.
            check_breaking(&world, operation, &schema, &samples);
        }
    }
    assert_eq!(world.stage.received().len(), 1, "none reached the vendor");
}

#[test]
fn all_that_is_wrong_is_told_in_one_answer() {
    let world = World::set();
    for row in &ROWS {
        for operation in row.routes() {
            let mut body = json!({ "zork": 1, "zonk": 2 });
            let mut expected = BTreeSet::from([json!([]).to_string()]);
            for (field, property) in properties(&world.schema(operation)) {
                let property = world.resolved(property);
                body[field] = if has_type(&property, "string") {
                    json!(1)
                } else {
                    json!("x")
                };
                expected.insert(json!([field]).to_string());
            }
            let issues = world.send(operation, "", &body).issues();
            let told: BTreeSet<String> = issues.iter().map(|one| one["path"].to_string()).collect();
            assert_eq!(told, expected, "{operation}");
            let keys = issues.iter().find(|one| one["code"] == "unrecognized_keys");
            assert_eq!(
                keys.expect("an issue")["keys"],
                json!(["zonk", "zork"]),
                "{operation}"
            );
        }
    }
}

/// The values that a property just takes.
fn at_the_bounds(property: &Value, good: &Value) -> Vec<Value> {
    let mut values: Vec<Value> = ["minimum", "maximum"]
        .into_iter()
        .filter(|bound| !property[bound].is_null())
        .map(|bound| property[bound].clone())
        .collect();
    if let Some(least) = number(&property["minLength"]) {
        values.push(json!("x".repeat(least)));
    }
    if let Some(most) = number(&property["maxLength"]) {
        let good = good.as_str().expect("a text");
        values.push(json!(lengthened(good, most)));
    }
    let options = property["enum"].as_array().into_iter().flatten();
    values.extend(options.filter(|one| !one.is_null()).cloned());
    values
}

#[test]
fn what_just_keeps_the_schema_is_delivered() {
    let world = World::set();
    for row in &ROWS {
        let (schema, samples) = (world.schema(row.knock), (row.samples)(&world));
        for (field, property) in properties(&schema) {
            let (property, good) = (world.resolved(property), having(&samples, field));
            let mut values = at_the_bounds(&property, &good[field]);
            if has_type(&property, "array") {
                let items = world.resolved(&property["items"]);
                values.extend(
                    at_the_bounds(&items, &good[field][0])
                        .into_iter()
                        .map(|one| json!([one])),
                );
                values.push(json!([]));
            }
            // Alone, as far as possible: bounds of two fields may exclude each other. A kind of event has a sample of its own.
            let body = lacking(&samples, field).unwrap_or(good);
            for value in values.into_iter().filter(|_| field != "event_name") {
                let body = with(&body, json!({ field: value }));
                let answer = world.accepted(row, row.knock, "", &body);
                check_answer(&world, row, row.knock, &body, &answer);
            }
        }
    }
}

#[test]
fn null_is_absent_and_unknown_keys_can_be_dropped() {
    let world = World::set();
    for row in &ROWS {
        let (schema, samples) = (world.schema(row.knock), (row.samples)(&world));
        for operation in row.routes() {
            for field in properties(&schema).keys() {
                if let Some(body) = lacking(&samples, field) {
                    let body = with(&body, json!({ field: null }));
                    let answer = world.accepted(row, operation, "", &body);
                    check_answer(&world, row, operation, &body, &answer);
                }
            }
            let (_, body) = &samples[0];
            let odd = with(body, json!({ "zork": 1 }));
            let issues = world.send(operation, "", &odd).issues();
            assert_eq!(issues.len(), 1, "{issues:?}");
            assert_eq!(issues[0]["code"], "unrecognized_keys", "{issues:?}");
            assert_eq!(issues[0]["keys"], json!(["zork"]), "{issues:?}");
            let lenient = "?ignore_unknown_fields=true";
            let answer = world.accepted(row, operation, lenient, &odd);
            check_answer(&world, row, operation, body, &answer);
        }
    }
}

#[test]
fn what_a_vendor_has_no_place_for_is_refused_or_dropped() {
    let world = World::set();
    let mut placeless = BTreeMap::new();
    for row in &ROWS {
        let mut of_row = Vec::new();
        let (own, generic) = (world.schema(row.knock), world.schema(row.generic));
        let (_, body) = &(row.samples)(&world)[0];
        for field in properties(&generic).keys() {
            if properties(&own).contains_key(field) {
                continue;
            }
            of_row.push(field.clone());
            let body = with(body, json!({ field: "something" }));
            world.refused(row.generic, &body, "custom", &[json!(field)]);
            let plain = without(&body, field);
            world.accepted(row, row.generic, "", &plain);
            world.accepted(row, row.generic, "?ignore_unknown_fields=true", &body);
            let received = world.stage.received();
            let [.., without_it, with_it] = &received[..] else {
                panic!("two calls")
            };
            assert_eq!(without_it["body"], with_it["body"], "{field}");
        }
        placeless.insert(row.generic, of_row);
    }
    let of_the_contract = [
        "address_2",
        "country",
        "middle_name",
        "phone_2",
        "preferred_contact_method",
        "prospect_source",
    ];
    // Beside these, Knock changes no more of a card than it lists.
    let more_of_a_change = [
        "address_1",
        "city",
        "first_contact_type",
        "notes",
        "pets",
        "state",
        "subscribe",
        "zip",
    ];
    let mut of_a_change = [&of_the_contract[..], &more_of_a_change].concat();
    of_a_change.sort_unstable();
    for (operation, fields) in placeless {
        match operation {
            "POST /crm/v1/prospects" => assert_eq!(fields, of_the_contract),
            "PUT /crm/v1/prospects/{id}" => assert_eq!(fields, of_a_change),
            "POST /crm/v1/appointments" => assert_eq!(fields, ["phone_2", "prospect_id"]),
            "POST /crm/v1/events" => assert_eq!(fields, ["events"]),
            _ => assert!(fields.is_empty(), "{operation}: {fields:?}"),
        }
    }
}

#[test]
fn an_event_has_all_that_its_kind_requires() {
    let world = World::set();
    let samples = events(&world);
    for (place, (kind, required)) in EVENTS.into_iter().enumerate() {
        let (_, least) = &samples[2 * place + 1];
        assert_eq!(least["event_name"], kind);
        for field in required {
            for operation in ["POST /crm/v1/events/knock", "POST /crm/v1/events"] {
                let path = [json!(field)];
                world.refused(operation, &without(least, field), "invalid_type", &path);
                let blank = with(least, json!({ *field: "  " }));
                world.refused(operation, &blank, "invalid_type", &path);
            }
        }
    }
}

#[test]
fn rules_between_fields_hold() {
    let world = World::set();
    let check = |row: &Row, more: Value, paths: &[&str]| {
        for operation in row.routes() {
            let body = with(&(row.samples)(&world)[0].1, more.clone());
            let issues = world.send(operation, "", &body).issues();
            let told: Vec<&Value> = issues.iter().map(|one| &one["path"][0]).collect();
            assert_eq!(
                json!(told),
                json!(paths),
                "{operation} with {more}: {issues:?}"
            );
        }
    };
    let [prospects, updates, events, tours, _, listings] = &ROWS;
    for row in [prospects, tours] {
        let none = json!({ "email_1": null, "phone_1": null, "phone_1_extension": null });
        check(row, none, &["email_1", "phone_1"]);
        let no_number = json!({ "phone_1": null });
        check(row, no_number, &["phone_1_extension"]);
    }
    for row in [prospects, updates, tours] {
        let rents = json!({ "rent_minimum_in_cents": 200, "rent_maximum_in_cents": 199 });
        check(row, rents, &["rent_maximum_in_cents"]);
        check(
            row,
            json!({ "move_in_date": "2027-02-30" }),
            &["move_in_date"],
        );
        check(row, json!({ "email_1": "none@none.com" }), &["email_1"]);
        check(row, json!({ "phone_1": "0000000000" }), &["phone_1"]);
    }
    let call =
        json!({ "time_from": "2026-03-01T09:30:00-05:00", "time_to": "2026-03-01T14:29:59Z" });
    check(events, call, &["time_to"]);
    check(tours, json!({ "last_name": "  " }), &["last_name"]);
    check(
        tours,
        json!({ "appointment_date": "2027-02-30" }),
        &["appointment_date"],
    );
    check(listings, json!({ "title": "  " }), &["title"]);
    for operation in updates.routes() {
        for nothing in [json!({}), json!({ "first_name": null, "last_name": " " })] {
            let issues = world.send(operation, "", &nothing).issues();
            assert_eq!(issues.len(), 1, "{issues:?}");
            assert_eq!(issues[0]["path"], json!([]), "{issues:?}");
        }
    }
}

#[test]
fn nothing_is_taken_without_a_key() {
    let world = World::set();
    let strangers = ["", "ptk_test_nonsense"].map(|token| world.caller.with_token(token));
    for row in &ROWS {
        for operation in row.routes() {
            let (method, path) = world.path(operation);
            let (_, body) = &(row.samples)(&world)[0];
            for stranger in &strangers {
                let answer = stranger.send(method, &path, body);
                let code = &answer.json()["error"]["code"];
                assert_eq!((answer.status, code), (401, &json!("unauthorized")));
            }
        }
    }
    assert_eq!(
        world.stage.received().len(),
        1,
        "nothing reached the vendor"
    );
}

#[test]
fn what_a_body_refers_to_exists_and_belongs_together() {
    let world = World::set();
    let elsewhere = world.stage.references("Saguaro Flats");
    let theirs = with(
        &elsewhere,
        json!({ "email_1": "elsewhere@mail.example.com" }),
    );
    let theirs = world.caller.prospect(&theirs);
    let foreign = json!({
        "attribution_id": world.stage.named("attributions", "Rent.com")["id"],
        "agent_id": elsewhere["agent_id"],
        "prospect_id": theirs,
    });
    for row in &ROWS {
        let schema = world.schema(row.knock);
        for operation in row.routes() {
            let mut nowhere = json!({});
            for field in properties(&schema)
                .keys()
                .filter(|name| name.ends_with("_id"))
            {
                let path = [json!(field)];
                let body = having(&(row.samples)(&world), field);
                let unknown = [
                    "nowhere",
                    "com_01kaz6v2zsgy8d2x6wq4t9r3hb",
                    &world.prospect[..9],
                ];
                for unknown in unknown {
                    let body = with(&body, json!({ field: unknown }));
                    world.refused(operation, &body, "custom", &path);
                }
                if let Some(id) = foreign.get(field) {
                    let body = with(&body, json!({ field: id }));
                    world.refused(operation, &body, "custom", &path);
                }
                if field != "integration_id" {
                    nowhere[field] = json!("nowhere");
                }
            }
            // All at once, beside what the schema refuses.
            let (_, body) = &(row.samples)(&world)[0];
            let broken = with(&with(body, nowhere.clone()), json!({ "zork": 1 }));
            let issues = world.send(operation, "", &broken).issues();
            let told: BTreeSet<&str> = issues
                .iter()
                .filter_map(|one| one["path"][0].as_str())
                .collect();
            let expected: BTreeSet<&str> = nowhere
                .as_object()
                .expect("an object")
                .keys()
                .map(String::as_str)
                .collect();
            assert_eq!(told, expected, "{operation}");
            assert_eq!(issues.len(), expected.len() + 1, "{issues:?}");
        }
    }
    for path in ["/crm/v1/prospects/knock/pro_0", "/crm/v1/prospects/pro_0"] {
        let answer = world
            .caller
            .send("PUT", path, &json!({ "first_name": "Ada" }));
        let code = &answer.json()["error"]["code"];
        assert_eq!((answer.status, code), (404, &json!("not_found")));
    }
}

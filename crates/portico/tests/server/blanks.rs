//! Blank text in bodies, on the real binary.
//!
//! Goal: a member that is text and blank is answered as one that is not there, in every body of the
//! document. Method: the document says where bodies have text; each such member is sent blank, and
//! left out.

use crate::support;

use serde_json::{Map, Value, json};
use support::{Caller, Stage, text, with};

/// Texts that nobody can see.
const BLANKS: [&str; 4] = ["", "  ", "\u{a0}\t\u{3000}", "\u{200b}\u{202e}\u{feff}"];

/// What a schema is, behind its name.
fn behind<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    match schema["$ref"].as_str() {
        Some(name) => {
            let pointer = name.trim_start_matches('#');
            document.pointer(pointer).expect("a schema")
        }
        None => schema,
    }
}

fn is_text(document: &Value, schema: &Value) -> bool {
    let schema = behind(document, schema);
    let of_branches = schema["oneOf"].as_array().into_iter().flatten();
    schema["type"] == "string"
        || schema["type"]
            .as_array()
            .is_some_and(|types| types.contains(&json!("string")))
        || of_branches
            .into_iter()
            .any(|branch| is_text(document, branch))
}

/// The members of a body that are text.
fn texts(document: &Value, method: &str, path: &str) -> Vec<String> {
    let body = &document["paths"][path][method]["requestBody"];
    let schema = behind(document, &body["content"]["application/json"]["schema"]);
    let members = schema["properties"].as_object().expect("members");
    let all: Vec<String> = members
        .iter()
        .filter(|(_, schema)| is_text(document, schema))
        .map(|(name, _)| name.clone())
        .collect();
    assert!(!all.is_empty(), "{method} {path}");
    all
}

/// The status of a request, and what is wrong with it.
fn heard(caller: &Caller, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let answer = caller.send(&method.to_uppercase(), path, body);
    (
        answer.status,
        answer.json()["error"]["details"]["issues"].clone(),
    )
}

#[test]
fn a_blank_member_is_answered_as_one_that_is_not_there() {
    let stage = Stage::set();
    let caller = stage.caller();
    let document = caller.get("/openapi.json");
    let lead = with(
        &stage.references("Saguaro Flats"),
        json!({ "email_1": "ada@example.com" }),
    );
    let prospect = caller.prospect(&lead);
    let integration = text(&stage.server.ready["integration_id"]);
    let subscribed = json!({ "url": "http://127.0.0.1:9/hook", "triggers": ["DATA_NEW"] });
    let webhook = caller.send("POST", "/v1/webhooks", &subscribed).json()["result"]["id"].clone();
    let vendor = json!({ "integration_id": integration });
    let none = json!({});
    for (method, path, id, base) in [
        ("post", "/crm/v1/prospects/knock", None, &none),
        ("post", "/crm/v1/prospects", None, &vendor),
        (
            "put",
            "/crm/v1/prospects/knock/{prospect_id}",
            Some(&prospect),
            &none,
        ),
        (
            "put",
            "/crm/v1/prospects/{prospect_id}",
            Some(&prospect),
            &none,
        ),
        ("post", "/crm/v1/events/knock", None, &none),
        ("post", "/crm/v1/events", None, &vendor),
        ("post", "/crm/v1/appointments/knock", None, &none),
        ("post", "/crm/v1/appointments", None, &vendor),
        (
            "post",
            "/crm/v1/appointment-availability/knock",
            None,
            &none,
        ),
        ("post", "/crm/v1/appointment-availability", None, &vendor),
        ("post", "/crm/v1/listings/knock", None, &none),
        ("post", "/crm/v1/listings", None, &vendor),
        ("post", "/v1/admin/integrations", None, &none),
        (
            "put",
            "/v1/admin/integrations/{id}",
            Some(&integration),
            &none,
        ),
        (
            "post",
            "/v1/admin/integrations/{id}/communities",
            Some(&integration),
            &none,
        ),
        (
            "post",
            "/v1/admin/integrations/{id}/attributions",
            Some(&integration),
            &none,
        ),
        (
            "post",
            "/v1/admin/integrations/{id}/agents",
            Some(&integration),
            &none,
        ),
        ("post", "/v1/admin/keys", None, &none),
        ("post", "/v1/webhooks", None, &none),
        ("put", "/v1/webhooks/{id}", Some(&text(&webhook)), &none),
        (
            "post",
            "/v1/webhooks/{id}/replay",
            Some(&text(&webhook)),
            &none,
        ),
    ] {
        let documented = document["paths"].as_object().expect("paths");
        let listed = documented.keys().find(|known| {
            known.trim_end_matches('/').replace("{prospect_id}", "{id}")
                == path.replace("{prospect_id}", "{id}")
        });
        let listed = listed.unwrap_or_else(|| panic!("{path} is not documented"));
        let target = path
            .replace("{prospect_id}", id.map_or("", String::as_str))
            .replace("{id}", id.map_or("", String::as_str));
        for (place, member) in texts(&document, method, listed).iter().enumerate() {
            let mut body = base.clone();
            body.as_object_mut().expect("an object").remove(member);
            let absent = heard(&caller, method, &target, &body);
            body[member] = json!(BLANKS[place % BLANKS.len()]);
            let blank = heard(&caller, method, &target, &body);
            assert_eq!(blank, absent, "{method} {path}: {member}");
        }
    }
    // Inside of others too.
    let path = "/v1/admin/integrations";
    let vendor = json!({ "integration_vendor": "KNOCK", "name": "Inside" });
    let absent = heard(
        &caller,
        "post",
        path,
        &with(&vendor, json!({ "credentials": {} })),
    );
    let blank = json!({ "credentials": { "apiKey": "\u{200b}" } });
    let blank = heard(&caller, "post", path, &with(&vendor, blank));
    assert_eq!(blank, absent);
    assert_eq!(
        absent.1[0]["path"],
        json!(["credentials", "apiKey"]),
        "{absent:?}"
    );
}

#[test]
fn a_lead_with_every_optional_text_blank_is_taken() {
    let stage = Stage::set();
    let caller = stage.caller();
    let document = caller.get("/openapi.json");
    let lead = with(
        &stage.references("Saguaro Flats"),
        json!({ "email_1": "ada@example.com" }),
    );
    let blank: Map<String, Value> = texts(&document, "post", "/crm/v1/prospects/knock")
        .into_iter()
        .filter(|member| lead[member].is_null())
        .enumerate()
        .map(|(place, member)| (member, json!(BLANKS[place % BLANKS.len()])))
        .collect();
    assert!(blank.len() >= 9, "{blank:?}");
    let body = with(&lead, Value::Object(blank.clone()));
    let answer = caller.send("POST", "/crm/v1/prospects/knock", &body);
    assert_eq!(answer.status, 200, "{}", answer.body);
    for member in blank.keys() {
        assert_eq!(answer.json()["result"][member], Value::Null, "{member}");
    }
    assert_eq!(caller.end_of(&answer.job_id())["write_status"], "SUCCESS");
    // A vendor that has no place for a member has none for a blank one either, and does not say so.
    let generic = with(&lead, json!({ "phone_2": " ", "middle_name": "" }));
    assert_eq!(
        caller.send("POST", "/crm/v1/prospects", &generic).status,
        200
    );
    // A blank member that nobody knows is not known.
    let unknown = caller.send(
        "POST",
        "/crm/v1/prospects/knock",
        &with(&lead, json!({ "x": "" })),
    );
    assert_eq!(unknown.status, 400, "{}", unknown.body);
    // A repeat is the same body as it was sent.
    let key = [("idempotency-key", "blank")];
    let send = |body: &Value| {
        let path = "/crm/v1/prospects/knock";
        caller
            .call("POST", path, &key, &body.to_string())
            .expect("an answer")
            .status
    };
    let blank = with(&lead, json!({ "notes": " " }));
    assert_eq!([send(&blank), send(&blank), send(&lead)], [200, 200, 422]);
}

#[test]
fn free_text_loses_its_control_characters_and_the_echo_shows_it() {
    const STEERING: &str = "\u{1b}[2J\u{202e}a\u{0}\r\n\tb\u{2066}\u{9b}\u{2028}";
    let stage = Stage::set();
    let caller = stage.caller();
    let document = caller.get("/openapi.json");
    let lead = stage.references("Saguaro Flats");
    let place = json!({
        "integration_id": lead["integration_id"], "community_id": lead["community_id"],
    });
    let person = with(&lead, json!({ "email_1": "ada@example.com" }));
    let prospect = caller.prospect(&person);
    let at = "2026-01-01T00:00:00Z";
    let (date, time) = stage.tour();
    let agents = stage.server.ready["agents"].as_array().expect("agents");
    let agent = agents.iter().find(|one| {
        let of = one["community_ids"].as_array().expect("communities");
        of.contains(&lead["community_id"])
    });
    let email = json!({
        "prospect_id": prospect, "event_name": "EMAIL", "event_datetime": at,
        "agent_id": agent.expect("an agent")["id"],
    });
    let tour = json!({
        "attribution_id": lead["attribution_id"], "appointment_date": date, "appointment_time": time,
        "email_1": "bob@example.com",
    });
    let listing = json!({
        "url": "https://x.example/b.html", "publish_date": at, "is_listed": true,
    });
    for (kind, base) in [
        (
            "prospects",
            &with(&person, json!({ "first_contact_type": "INTERNET" })),
        ),
        ("events", &with(&place, email)),
        ("appointments", &with(&place, tour)),
        ("listings", &with(&place, listing)),
    ] {
        let path = format!("/crm/v1/{kind}/knock");
        let listed = document["paths"].as_object().expect("paths");
        let listed = listed
            .keys()
            .find(|known| known.trim_end_matches('/') == path);
        let listed = listed.expect("it is documented");
        let schema = &document["paths"][listed]["post"]["requestBody"]["content"]["application/json"]
            ["schema"];
        let members = &behind(&document, schema)["properties"];
        // Text that no other rule is about.
        let free = texts(&document, "post", listed).into_iter().filter(|name| {
            let member = &members[name];
            (member["maxLength"].is_u64() || name == "state")
                && member["pattern"].is_null()
                && member["format"].is_null()
        });
        let free: Vec<String> = free.collect();
        assert!(!free.is_empty(), "{kind}");
        let steering: Map<String, Value> = free
            .iter()
            .map(|name| {
                // The sandbox takes states of two letters alone.
                let text = if name == "state" {
                    "W\u{0}\u{202e}A\r\n"
                } else {
                    STEERING
                };
                (name.clone(), json!(text))
            })
            .collect();
        let body = with(base, Value::Object(steering));
        let answer = caller.send("POST", &path, &body);
        assert_eq!(answer.status, 200, "{kind}: {}", answer.body);
        for name in &free {
            let expected = match &**name {
                "state" => "WA",
                "notes" | "email_body" => "[2Ja\n\tb\n",
                _ => "[2Ja b",
            };
            assert_eq!(
                answer.json()["result"][name],
                json!(expected),
                "{kind}: {name}"
            );
        }
        let end = caller.end_of(&answer.job_id());
        assert_eq!(end["write_status"], "SUCCESS", "{kind}: {end}");
    }
    let cards = json!(stage.cards()).to_string();
    assert!(cards.contains("[2Ja b"), "{cards}");
    for hidden in ["\\u001b", "\\u0000", "\u{202e}", "\u{9b}", "\u{2028}"] {
        assert!(!cards.contains(hidden), "{hidden:?}: {cards}");
    }
    // What is no free text is refused, not changed.
    let wrong = with(&person, json!({ "email_1": "ada\u{0}@example.com" }));
    let (status, _) = heard(&caller, "post", "/crm/v1/prospects/knock", &wrong);
    assert_eq!(status, 400);
    for name in ["a\u{202e}b", "a\u{2028}b", "a\u{7}b"] {
        let key = json!({ "name": name, "permissions": ["prospects:read"] });
        assert_eq!(
            heard(&caller, "post", "/v1/admin/keys", &key).0,
            400,
            "{name:?}"
        );
    }
}

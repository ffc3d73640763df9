//! Who may do what: every operation, with every kind of key.
//!
//! Goal: no operation forgets its key, its permission, its body or the limits of a key, and none tells whether something exists that the key may not see.
//! Method: the operations and the permissions that they take come from the OpenAPI document that is served. Each is tried without a key, with keys that are
//! malformed, revoked, rotated and expired, with a key that has every permission but the one, with a key that is limited to another integration (whose answer must
//! be, byte for byte, that to an id which nobody has), and at last with a key that has just the one permission, which must be let in. What a path or a body
//! needs comes from two tables here; the test fails when they lack something.

use crate::support;

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Value, json};
use support::{Answer, Caller, Stage, leads, text};

/// Where webhooks of this test go: nobody listens there.
const RECEIVER: &str = "http://127.0.0.1:9/hook";

/// Every permission that there is.
fn permissions() -> Vec<String> {
    model::permission::Group::ALL
        .into_iter()
        .flat_map(|group| {
            model::permission::Level::ALL
                .into_iter()
                .map(move |level| model::Permission::of(group, level).to_string())
        })
        .collect()
}

/// An operation of the document.
#[derive(Clone)]
struct Operation {
    id: String,
    method: String,
    path: String,
    permission: Option<String>,
    takes_body: bool,
    /// Whether its list can be narrowed to an integration.
    filters_by_integration: bool,
}

fn operations(document: &Value) -> Vec<Operation> {
    let mut all = Vec::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, one) in item.as_object().expect("methods") {
            let permission = one["security"][0]["bearer"][0].as_str().map(str::to_owned);
            assert_eq!(
                one["security"] == json!([]),
                permission.is_none(),
                "{method} {path} says neither which permission it takes nor that it takes no key"
            );
            let parameters = one["parameters"].as_array().cloned().unwrap_or_default();
            all.push(Operation {
                id: text(&one["operationId"]),
                method: method.to_uppercase(),
                path: path.clone(),
                permission,
                takes_body: !one["requestBody"].is_null(),
                filters_by_integration: parameters
                    .iter()
                    .any(|one| one["name"] == "integration_id" && one["in"] == "query"),
            });
        }
    }
    // What takes something away comes last: the others need it.
    all.sort_by_key(|one| (takes_away(one), one.path.clone()));
    all
}

fn takes_away(one: &Operation) -> bool {
    one.method == "DELETE" || one.path.ends_with("/erase")
}

/// What an integration has, by what it is: ids that paths and bodies name.
type Ids = BTreeMap<&'static str, String>;

/// Ids of the same form that nobody has.
fn of_nobody(ids: &Ids) -> Ids {
    let mut other = ids.clone();
    for id in other.values_mut() {
        let last = if id.ends_with('0') { "1" } else { "0" };
        id.replace_range(id.len() - 1.., last);
    }
    other
}

/// The ids that a path names.
fn path_of(operation: &Operation, ids: &Ids) -> String {
    let mut path = operation.path.clone();
    let kinds = [
        ("/admin/events/", "happened"),
        ("/deliveries/", "happened"),
        ("/webhooks/", "webhook"),
        ("/prospects/", "prospect"),
        ("/events/", "event"),
        ("/appointments/", "appointment"),
        ("/listings/", "listing"),
        ("/communities/", "community"),
        ("/attributions/", "attribution"),
        ("/agents/", "agent"),
        ("/integrations/", "integration"),
        ("/keys/", "key"),
        ("/write-status/", "job"),
        ("/retry-write/", "job"),
        ("/writes/", "job"),
        // No vendor here has such a list, and there is no console to sign in to.
        ("/property-lists/", "integration"),
        ("/users/", "key"),
    ];
    while let Some(open) = path.find('{') {
        let close = open + path[open..].find('}').expect("a closed parameter");
        let value = match &path[open..=close] {
            "{model}" => "crm_prospects",
            "{field}" => "pets",
            _ => {
                let kind = kinds.iter().find(|(before, _)| {
                    path[..open].ends_with(before)
                        || path[..open].ends_with(&format!("{before}knock/"))
                });
                let (_, kind) = kind.unwrap_or_else(|| {
                    panic!("{path} has a parameter that this test's table lacks")
                });
                &ids[kind]
            }
        };
        path.replace_range(open..=close, value);
    }
    if operation.id == "normalization_get" {
        path += "?integration_vendor=KNOCK";
    }
    path
}

/// A body that an operation takes.
fn body_of(operation: &Operation, ids: &Ids) -> String {
    if !operation.takes_body {
        return String::new();
    }
    let references = json!({
        "integration_id": ids["integration"], "community_id": ids["community"], "attribution_id": ids["attribution"],
    });
    let of = |more: Value| support::with(&references, more);
    let body = match operation.id.trim_end_matches("_knock") {
        "prospect_create" => of(json!({ "email_1": "eve@example.com" })),
        "prospect_update" => json!({ "first_name": "Eve" }),
        "event_create" => support::without(
            &of(
                json!({ "prospect_id": ids["prospect"], "event_name": "ACTIVITY", "event_datetime": "2026-01-01T00:00:00Z", "notes": "n" }),
            ),
            "attribution_id",
        ),
        "appointment_create" => of(
            json!({ "appointment_date": "2027-03-01", "appointment_time": "18:00:00", "last_name": "E", "email_1": "eve@example.com" }),
        ),
        "appointment_update" => {
            json!({ "integration_id": ids["integration"], "status": "COMPLETE" })
        }
        "property_list_create" => json!({ "x_property_list_id": "x", "enabled": true }),
        "property_list_update" => json!({ "enabled": true }),
        "availability_query" => support::without(
            &of(json!({ "appointment_type": "APPOINTMENT" })),
            "attribution_id",
        ),
        "listing_create" => support::without(
            &of(
                json!({ "title": "t", "url": "https://x.example/a.html", "publish_date": "2026-01-01T00:00:00Z", "is_listed": true }),
            ),
            "attribution_id",
        ),
        "integration_create" => json!({
            "integration_vendor": "KNOCK", "name": "new", "credentials": { "apiKey": "k" },
        }),
        "integration_update" => json!({ "name": "renamed" }),
        "community_register" => json!({ "x_id": "x", "name": "n", "timezone": "UTC" }),
        "communities_register_bulk" => json!([{ "x_id": "y", "name": "n", "timezone": "UTC" }]),
        "attribution_register" => json!({ "x_id": "x", "community_ids": [ids["community"]] }),
        "attributions_register_bulk" => {
            json!([{ "x_id": "y", "community_ids": [ids["community"]] }])
        }
        "agent_register" => {
            json!({ "x_id": "x", "name": "n", "community_ids": [ids["community"]] })
        }
        "agents_register_bulk" => {
            json!([{ "x_id": "y", "name": "n", "community_ids": [ids["community"]] }])
        }
        "webhook_create" => json!({ "url": RECEIVER, "triggers": ["JOB_FAILURE"] }),
        "webhook_update" => json!({ "triggers": ["JOB_FAILURE"] }),
        "webhook_replay" => json!({ "failed": true }),
        "key_create" => {
            json!({ "name": "new", "permissions": ["keys:admin"], "integration_ids": [ids["integration"]] })
        }
        other => panic!("{other} takes a body that this test's table lacks"),
    };
    body.to_string()
}

/// Portico with two integrations, and keys of all kinds.
struct World {
    stage: Stage,
    admin: Caller,
    operations: Vec<Operation>,
    here: Ids,
    there: Ids,
}

impl World {
    fn set() -> Self {
        let stage = Stage::set();
        let admin = stage.caller();
        let operations = operations(&admin.get("/openapi.json"));
        let tour = stage.tour();
        let mut here = filled(&admin, &leads(&stage.server, 1).remove(0), &tour);
        here.insert("agent", text(&stage.server.ready["agents"][0]["id"]));
        let there = other_integration(&admin, &stage);
        let lead = json!({
            "integration_id": there["integration"], "community_id": there["community"], "attribution_id": there["attribution"],
            "email_1": "other@example.com", "first_name": "Theirs",
        });
        let there = filled(&admin, &lead, &tour)
            .into_iter()
            .chain(there)
            .collect();
        let mut world = Self {
            stage,
            admin,
            operations,
            here,
            there,
        };
        for place in [true, false] {
            let ids = if place { &world.here } else { &world.there };
            let (_, key) = world.key(
                &json!({ "permissions": ["keys:admin"], "integration_ids": [ids["integration"]] }),
            );
            let ids = if place {
                &mut world.here
            } else {
                &mut world.there
            };
            ids.insert("key", key);
        }
        for place in [true, false] {
            let ids = if place { &world.here } else { &world.there };
            let (webhook, happened) = world.subscribed(ids);
            let ids = if place {
                &mut world.here
            } else {
                &mut world.there
            };
            ids.insert("webhook", webhook);
            ids.insert("happened", happened);
        }
        world
    }

    /// A new key: a caller with it, and its id.
    fn key(&self, body: &Value) -> (Caller, String) {
        let body = support::with(&json!({ "name": "one", "system": "SANDBOX" }), body.clone());
        let made = self.admin.send("POST", "/v1/admin/keys", &body);
        let told = made.json();
        assert_eq!(made.status, 200, "{told}");
        (
            self.admin.with_token(&text(&told["token"])),
            text(&told["result"]["id"]),
        )
    }

    /// A webhook of a key that is limited to an integration, and an event of that which has a delivery to it.
    fn subscribed(&self, ids: &Ids) -> (String, String) {
        let (own, _) = self.key(&json!({
            "permissions": ["webhooks:read", "webhooks:write", "webhooks:admin"], "integration_ids": [ids["integration"]],
        }));
        let body = json!({ "url": RECEIVER, "triggers": ["WRITE_OPERATION_SUCCESS"] });
        let made = own.send("POST", "/v1/webhooks", &body).json();
        let webhook = text(&made["result"]["id"]);
        let since = json!({ "since": "2026-01-01T00:00:00Z" });
        let replayed = own.send("POST", &format!("/v1/webhooks/{webhook}/replay"), &since);
        assert_eq!(replayed.status, 200, "{}", replayed.body);
        let deliveries = own.get(&format!("/v1/webhooks/{webhook}/deliveries"));
        (webhook, text(&deliveries["results"][0]["event_id"]))
    }

    /// The time at the server: its newest key is made now.
    fn now(&self) -> model::Timestamp {
        let (_, id) = self.key(&json!({ "permissions": ["read"] }));
        let key = self.admin.get(&format!("/v1/admin/keys/{id}"));
        support::instant(&key["result"]["created_at"])
    }

    fn call(&self, caller: &Caller, operation: &Operation, ids: &Ids) -> Answer {
        caller
            .call(
                &operation.method,
                &path_of(operation, ids),
                &[],
                &body_of(operation, ids),
            )
            .expect("an answer")
    }

    fn keyed(&self) -> impl Iterator<Item = (&Operation, &str)> {
        self.operations
            .iter()
            .filter_map(|one| Some((one, one.permission.as_deref()?)))
    }
}

/// One record of each kind with the references of `lead`, delivered; their ids, and the id of the first write.
fn filled(admin: &Caller, lead: &Value, tour: &(String, String)) -> Ids {
    let sent = admin.send("POST", "/crm/v1/prospects/knock", lead).job_id();
    let prospect = text(&admin.end_of(&sent)["created_record_id"]);
    let of = |more: Value| {
        let references = json!({ "integration_id": lead["integration_id"], "community_id": lead["community_id"] });
        support::with(&references, more)
    };
    let made =
        |path: &str, body: Value| text(&admin.delivered("POST", path, &body)["created_record_id"]);
    let event = made(
        "/crm/v1/events/knock",
        of(
            json!({ "prospect_id": prospect, "event_name": "ACTIVITY", "event_datetime": "2026-01-01T00:00:00Z", "notes": "n" }),
        ),
    );
    let (date, time) = tour;
    let appointment = made(
        "/crm/v1/appointments/knock",
        of(json!({
            "attribution_id": lead["attribution_id"], "appointment_date": date, "appointment_time": time, "last_name": "L", "email_1": lead["email_1"],
        })),
    );
    let listing = made(
        "/crm/v1/listings/knock",
        of(
            json!({ "title": "t", "url": "https://x.example/b.html", "publish_date": "2026-01-01T00:00:00Z", "is_listed": true }),
        ),
    );
    BTreeMap::from([
        ("integration", text(&lead["integration_id"])),
        ("community", text(&lead["community_id"])),
        ("attribution", text(&lead["attribution_id"])),
        ("prospect", prospect),
        ("event", event),
        ("appointment", appointment),
        ("listing", listing),
        ("job", sent),
    ])
}

/// Another integration at the same sandbox, with a community, an attribution and an agent of its own, all made over the API.
fn other_integration(admin: &Caller, stage: &Stage) -> Ids {
    let created = admin.send(
        "POST",
        "/v1/admin/integrations/",
        &json!({
            "integration_vendor": "KNOCK", "name": "the other", "system": "SANDBOX", "credentials": { "apiKey": "syndication-prospect-TEST-KEY" },
            "base_url": stage.sandbox.text("sandbox_url"), "max_job_concurrency": 10, "active": true,
        }),
    );
    let told = created.json();
    assert_eq!(created.status, 200, "{told}");
    let integration = text(&told["result"]["id"]);
    let known = &stage.server.ready;
    let register = |kind: &str, body: Value| {
        let answer = admin.send(
            "POST",
            &format!("/v1/admin/integrations/{integration}/{kind}"),
            &body,
        );
        let told = answer.json();
        assert_eq!(answer.status, 200, "{told}");
        text(&told["result"]["id"])
    };
    let community = register(
        "communities",
        json!({ "x_id": known["communities"][0]["x_id"], "name": "Theirs", "timezone": "America/New_York" }),
    );
    let source = known["attributions"]
        .as_array()
        .expect("a list")
        .iter()
        .find(|one| {
            one["community_ids"]
                .as_array()
                .expect("a list")
                .contains(&known["communities"][0]["id"])
        })
        .expect("a source of the first community");
    let attribution = register(
        "attributions",
        json!({ "x_id": source["name"], "community_ids": [community] }),
    );
    let agent = register(
        "agents",
        json!({ "x_id": "theirs", "name": "Theirs", "community_ids": [community] }),
    );
    BTreeMap::from([
        ("integration", integration),
        ("community", community),
        ("attribution", attribution),
        ("agent", agent),
    ])
}

/// Status and body: what a caller can tell answers apart by.
fn told(answer: &Answer) -> (u16, Value) {
    (answer.status, answer.json())
}

fn check_refused(operation: &Operation, answer: &Answer, status: u16, code: &str) -> Value {
    let (found, body) = told(answer);
    assert_eq!(
        (found, &body["error"]["code"]),
        (status, &json!(code)),
        "{} {}: {body}",
        operation.method,
        operation.path
    );
    body
}

#[test]
fn every_operation_refuses_every_key_that_is_not_its_own() {
    let world = World::set();
    let everything = permissions();
    let nobody = of_nobody(&world.there);
    let (short, _) = world.key(&json!({
        "permissions": everything,
        "expires_at": world.now().plus_millis(2_000).to_string(),
    }));
    let (revoked, revoked_id) = world.key(&json!({ "permissions": everything }));
    assert_eq!(
        world
            .admin
            .send(
                "DELETE",
                &format!("/v1/admin/keys/{revoked_id}"),
                &Value::Null
            )
            .status,
        200
    );
    let (rotated, rotated_id) = world.key(&json!({ "permissions": everything }));
    assert_eq!(
        world
            .admin
            .send(
                "POST",
                &format!("/v1/admin/keys/{rotated_id}/rotate?overlap_s=0"),
                &Value::Null
            )
            .status,
        200
    );
    let (limited, _) = world
        .key(&json!({ "permissions": everything, "integration_ids": [world.here["integration"]] }));
    std::thread::sleep(Duration::from_millis(2_100));

    let without = world.admin.with_token("");
    let malformed = world.admin.with_token("ptk_test_nonsense");
    let mut refusals = Vec::new();
    for (operation, _) in world.keyed() {
        for caller in [&without, &malformed, &revoked, &rotated, &short] {
            for ids in [&world.there, &nobody] {
                let answer = world.call(caller, operation, ids);
                refusals.push(check_refused(operation, &answer, 401, "unauthorized"));
                assert!(
                    !answer.head.contains("x-ratelimit"),
                    "nobody's limit is told"
                );
                if caller.bearer() != malformed.bearer() {
                    break;
                }
            }
        }
    }
    refusals.dedup();
    assert_eq!(refusals.len(), 1, "every refusal is the same");

    // Each permission but the one, and then, the other integration's things and nobody's: the same answer.
    for (operation, permission) in world.keyed() {
        let others: Vec<&String> = everything.iter().filter(|one| *one != permission).collect();
        assert_eq!(others.len() + 1, everything.len(), "{permission} is one");
        let (wrong, _) = world.key(&json!({ "permissions": others }));
        let refused = check_refused(
            operation,
            &world.call(&wrong, operation, &world.there),
            403,
            "forbidden",
        );
        assert!(
            text(&refused["error"]["message"]).contains(&format!("`{permission}`")),
            "{refused}"
        );
        assert_eq!(told(&world.call(&wrong, operation, &nobody)).1, refused);

        let theirs = world.call(&limited, operation, &world.there);
        assert!(
            theirs.head.contains("x-ratelimit-limit: "),
            "{}",
            theirs.head
        );
        let (status, told_of_theirs) = told(&theirs);
        let names_something = operation.path.contains('{') && operation.id != "normalization_get"
            || operation.takes_body
                && !["integration_create", "webhook_create"].contains(&operation.id.as_str());
        if names_something {
            assert_eq!(
                (status, &told_of_theirs),
                (
                    told(&world.call(&limited, operation, &nobody)).0,
                    &told(&world.call(&limited, operation, &nobody)).1
                ),
                "{}",
                operation.id
            );
            assert!(
                [400, 404].contains(&status),
                "{}: {told_of_theirs}",
                operation.id
            );
        }
        if operation.method == "GET" && !operation.path.contains('{') {
            check_list(&world, &limited, operation);
        }
    }
    // At last: with just its permission it is let in, and does what it is for.
    for (operation, permission) in world.keyed() {
        let (own, _) = world.key(&json!({ "permissions": [permission] }));
        let answer = world.call(&own, operation, &world.there);
        let expected = match operation.id.as_str() {
            // There is no console, and so nobody who signs in to it.
            "user_get" => [404, 404],
            // No vendor here takes these.
            "appointment_update" | "property_list_create" | "property_list_update" => [405, 405],
            _ => [200, 409],
        };
        let is_let_in = expected.contains(&answer.status);
        assert!(is_let_in, "{}: {}", operation.id, answer.json());
    }
}

/// A list shows a limited key nothing of another integration, and counts none of it.
fn check_list(world: &World, limited: &Caller, operation: &Operation) {
    let answer = limited.get(&operation.path);
    for id in world.there.values() {
        assert!(
            !answer.to_string().contains(id.as_str()),
            "{}: {id}",
            operation.id
        );
    }
    if let Some(total) = answer["meta"]["total"].as_u64() {
        let shown = answer["results"].as_array().expect("a list").len() as u64;
        assert!(
            answer["meta"]["hasMore"] == true || total == shown,
            "{answer}"
        );
    }
    if operation.filters_by_integration {
        let of = |id: &str| limited.get(&format!("{}?integration_id={id}", operation.path));
        let nobody = of_nobody(&world.there);
        assert_eq!(
            of(&world.there["integration"]),
            of(&nobody["integration"]),
            "{}",
            operation.id
        );
    }
}

#[test]
fn nothing_outlives_the_key_that_made_it_or_waits_for_it() {
    let world = World::set();
    let (maker, id) = world.key(&json!({
        "permissions": ["webhooks:read", "webhooks:admin"], "integration_ids": [world.here["integration"]],
    }));
    let body = json!({ "url": RECEIVER, "triggers": ["JOB_FAILURE"], "active": true });
    let made = maker.send("POST", "/v1/webhooks", &body).json();
    let webhook = text(&made["result"]["id"]);
    assert_eq!(made["result"]["created_by"], id.as_str());
    // Who may not revoke the key does not switch off its webhooks either.
    let (weaker, _) = world.key(&json!({
        "permissions": ["keys:admin"], "integration_ids": [world.here["integration"]],
    }));
    let (blind, _) = world.key(&json!({
        "permissions": permissions(), "integration_ids": [world.there["integration"]],
    }));
    let path = format!("/v1/admin/keys/{id}");
    for (caller, status) in [(&weaker, 403), (&blind, 404)] {
        let refused = caller.send("DELETE", &path, &Value::Null);
        assert_eq!(refused.status, status, "{}", refused.body);
    }
    let shown = || world.admin.get(&format!("/v1/webhooks/{webhook}"))["result"].take();
    assert_eq!(shown()["active"], true);
    let revoked = std::thread::scope(|scope| {
        let waits = scope.spawn(|| {
            let never = "/v1/admin/events?order-by=created_at:asc&trigger=JOB_FAILURE";
            maker.call("GET", never, &[("prefer", "wait=55")], "")
        });
        // Should it not wait by then, it is refused all the same.
        std::thread::sleep(Duration::from_millis(500));
        let revoked = world.admin.send("DELETE", &path, &Value::Null).json();
        let waited = waits.join().expect("no panic").expect("an answer");
        assert_eq!(waited.status, 401, "{}", waited.body);
        revoked
    });
    assert_eq!(revoked["webhooks"]["disabled"], json!([webhook]));
    assert_eq!(shown()["active"], false);
}

#[test]
fn an_outcome_is_for_who_may_read_what_was_written() {
    const WRITES: [&str; 5] = [
        "prospect_create",
        "prospect_update",
        "event_create",
        "appointment_create",
        "listing_create",
    ];
    let world = World::set();
    let writes = world
        .keyed()
        .filter(|(operation, _)| WRITES.contains(&operation.id.trim_end_matches("_knock")));
    for (operation, write) in writes {
        let read = write.replace(":write", ":read");
        for (permissions, may_learn) in [
            (vec![write], false),
            (vec![write, &read], true),
            (vec![write, "writes:read"], true),
        ] {
            let (caller, _) = world.key(&json!({ "permissions": permissions }));
            let (path, body) = (
                path_of(operation, &world.here),
                body_of(operation, &world.here),
            );
            let answer = caller.call(&operation.method, &path, &[("prefer", "wait=30")], &body);
            let answer = answer.expect("an answer");
            world.admin.end_of(&answer.job_id());
            let told = answer.json();
            let learns = told["meta"].get("write_status").is_some();
            assert_eq!(learns, may_learn, "{}: {told}", operation.id);
            let waits = answer.head.contains("preference-applied");
            assert_eq!(waits, may_learn, "{}", answer.head);
        }
    }
}

/// The cursor behind the record `id` of the list that `cursor` is of: what is in it is no secret.
fn forged(cursor: &str, id: &str) -> String {
    let bytes = model::hex::decode(cursor).expect("hexadecimal digits");
    let mut inside: Value = serde_json::from_slice(&bytes).expect("JSON inside");
    inside["id"] = json!(id);
    model::hex::encode(inside.to_string().as_bytes())
}

#[test]
fn a_forged_cursor_tells_nothing_of_another_integration() {
    let world = World::set();
    let more = support::with(
        &leads(&world.stage.server, 1).remove(0),
        json!({ "email_1": "second@example.com", "phone_1": null }),
    );
    world.admin.prospect(&more);
    let (limited, _) = world.key(&json!({
        "permissions": permissions(), "integration_ids": [world.here["integration"]],
    }));
    let nobody = of_nobody(&world.there);
    let read = |list: &str, cursor: &str| {
        let path = format!("{list}?limit=1&cursor={cursor}");
        told(&limited.call("GET", &path, &[], "").expect("an answer"))
    };
    for (list, of) in [
        ("/crm/v1/prospects", "prospect"),
        ("/crm/v1/communities", "community"),
        ("/crm/v1/attributions", "attribution"),
    ] {
        let first = limited.get(&format!("{list}?limit=1"));
        let cursor = text(&first["meta"]["nextCursor"]);
        let own = read(list, &forged(&cursor, &text(&first["results"][0]["id"])));
        assert_eq!(own.0, 200, "{list}: the forgery is well made: {}", own.1);
        let theirs = read(list, &forged(&cursor, &world.there[of]));
        assert_eq!(theirs, read(list, &forged(&cursor, &nobody[of])), "{list}");
        assert_eq!(theirs.0, 400, "{list}: {}", theirs.1);
        // Nor of what this list is not of, which needs another permission.
        let other = if of == "prospect" {
            "community"
        } else {
            "prospect"
        };
        assert_eq!(read(list, &forged(&cursor, &world.here[other])), theirs);
    }
    for list in [
        "/v1/admin/events".to_owned(),
        format!("/v1/webhooks/{}/deliveries", world.here["webhook"]),
    ] {
        assert_eq!(read(&list, &world.here["happened"]).0, 200, "{list}");
        let theirs = read(&list, &world.there["happened"]);
        assert_eq!(theirs, read(&list, &nobody["happened"]), "{list}");
        assert_eq!(theirs.0, 400, "{list}: {}", theirs.1);
    }
}

/// The ways in which one key can be stronger than another, a bit each.
const STRENGTHS: [&str; 4] = [
    "has a permission more",
    "never expires",
    "sends more",
    "sees all",
];

/// The members of a key that is strong in each of [`STRENGTHS`] whose bit is set, and weak in the others.
fn strength(bits: usize, world: &World, end: &str) -> Value {
    let is_strong = |at: usize| bits & (1 << at) != 0;
    let mut key = json!({ "permissions": ["keys:admin"] });
    if is_strong(0) {
        key["permissions"] = json!(["keys:admin", "prospects:read"]);
    }
    if !is_strong(1) {
        key["expires_at"] = json!(end);
    }
    if !is_strong(2) {
        key["rate_limit"] = json!({ "requests_per_minute": 6_000 });
    }
    if !is_strong(3) {
        key["integration_ids"] = json!([world.here["integration"]]);
    }
    key
}

#[test]
fn no_key_rotates_revokes_or_makes_a_stronger_one() {
    let world = World::set();
    let end = world.now().plus_millis(3_600_000).to_string();
    let all = 0..1 << STRENGTHS.len();
    let keys: Vec<_> = all
        .clone()
        .map(|bits| world.key(&strength(bits, &world, &end)))
        .collect();
    for actor in all.clone() {
        for target in all.clone() {
            let (caller, id) = (&keys[actor].0, &keys[target].1);
            let missing: Vec<_> = (0..STRENGTHS.len())
                .filter(|at| target & !actor & (1 << at) != 0)
                .map(|at| STRENGTHS[at])
                .collect();
            let rotate = format!("/v1/admin/keys/{id}/rotate?overlap_s=3600");
            let made = strength(target, &world, &end);
            let made = support::with(&json!({ "name": "made", "system": "SANDBOX" }), made);
            let create = caller.send("POST", "/v1/admin/keys", &made);
            if missing.is_empty() {
                let first = caller.send("POST", &rotate, &Value::Null);
                // More than ten tokens at once are refused for another reason.
                assert!([200, 409].contains(&first.status), "{}", first.body);
                assert_eq!(create.status, 200, "{}", create.body);
                continue;
            }
            // What a key may not see does not exist for it.
            let hidden = missing.contains(&STRENGTHS[3]);
            let status = if hidden { 404 } else { 403 };
            let revoke = caller.send("DELETE", &format!("/v1/admin/keys/{id}"), &Value::Null);
            assert_eq!(
                revoke.status, status,
                "revoke, it {missing:?}: {}",
                revoke.body
            );
            let rotated = caller.send("POST", &rotate, &Value::Null);
            assert_eq!(
                rotated.status, status,
                "rotate, it {missing:?}: {}",
                rotated.body
            );
            check_no_stronger(&world, caller, actor, &create);
        }
    }
}

/// A key that was asked for with more than its maker has is refused, or is no stronger than its maker.
fn check_no_stronger(world: &World, maker: &Caller, actor: usize, made: &Answer) {
    if made.status == 400 {
        return;
    }
    let told = made.json();
    assert_eq!(made.status, 200, "{told}");
    let made = &told["result"];
    if actor & 2 == 0 {
        assert!(!made["expires_at"].is_null(), "{made}");
    }
    if actor & 4 == 0 {
        assert_eq!(made["rate_limit"]["requests_per_minute"], 6_000, "{made}");
    }
    if actor & 8 == 0 {
        assert_eq!(made["integration_ids"], json!([world.here["integration"]]));
    }
    let path = format!("/v1/admin/keys/{}", text(&made["id"]));
    assert_eq!(maker.send("DELETE", &path, &Value::Null).status, 200);
}

#[test]
fn the_default_limit_is_all_that_a_key_without_a_limit_may_give() {
    let world = World::set();
    let (keys_admin, _) = world.key(&json!({ "permissions": ["keys:admin"] }));
    let ask = |more: Value| {
        let body = json!({ "name": "made", "permissions": ["keys:admin"] });
        keys_admin.send("POST", "/v1/admin/keys", &support::with(&body, more))
    };
    for limit in [
        json!({ "requests_per_minute": 60_000_000 }),
        json!({ "requests_per_minute": 15_001 }),
        json!({ "requests_per_minute": 60, "burst": 15_001 }),
    ] {
        let refused = ask(json!({ "rate_limit": limit }));
        assert_eq!(refused.status, 400, "{limit}: {}", refused.body);
        assert!(refused.body.contains("15000"), "{}", refused.body);
    }
    let limit = json!({ "requests_per_minute": 15_000 });
    assert_eq!(ask(json!({ "rate_limit": limit })).status, 200);
}

#[test]
fn every_body_is_read_as_one() {
    let world = World::set();
    for (operation, _) in world.keyed().filter(|(one, _)| one.takes_body) {
        let path = path_of(operation, &world.here);
        for body in [
            "",
            "{\"a\":",
            "7",
            "\"text\"",
            "{\"zork\":1}",
            "[{\"zork\":1}]",
        ] {
            let answer = world
                .admin
                .call(&operation.method, &path, &[], body)
                .expect("an answer");
            check_refused(operation, &answer, 400, "invalid_request");
        }
        let plain = [
            ("authorization", world.admin.bearer()),
            ("content-type", "text/plain".to_owned()),
        ];
        let plain: Vec<(&str, &str)> = plain
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        let answer = support::request(&world.admin.address, &operation.method, &path, &plain, "{}")
            .expect("an answer");
        check_refused(operation, &answer, 415, "unsupported_media_type");
    }
}

/// A path whose parameters are not UTF-8.
fn garbled(path: &str) -> String {
    let (mut garbled, mut rest) = (String::new(), path);
    while let Some((before, behind)) = rest.split_once('{') {
        garbled = garbled + before + "%FF";
        rest = behind.split_once('}').expect("a closing brace").1;
    }
    garbled + rest
}

#[test]
fn without_a_key_no_path_is_looked_at() {
    let world = World::set();
    let nobody = world.admin.with_token("");
    let with_key = world
        .operations
        .iter()
        .filter(|one| one.permission.is_some());
    for operation in with_key.filter(|one| one.path.contains('{')) {
        let path = garbled(&operation.path);
        let answer = nobody
            .call(&operation.method, &path, &[], "{}")
            .expect("an answer");
        check_refused(operation, &answer, 401, "unauthorized");
    }
}

#[test]
fn what_takes_no_key_tells_nothing_of_anyone() {
    let world = World::set();
    let nobody = world.admin.with_token("");
    for operation in world
        .operations
        .iter()
        .filter(|one| one.permission.is_none())
    {
        let answer = world.call(&nobody, operation, &world.here);
        assert_eq!(answer.status, 200, "{}", operation.path);
        for id in world
            .here
            .values()
            .chain(world.there.values())
            .filter(|id| id.len() > 10)
        {
            assert!(
                !answer.body.contains(id.as_str()),
                "{}: {id}",
                operation.path
            );
        }
    }
}

#[test]
fn a_token_is_taken_in_one_form_only() {
    let world = World::set();
    let token = world.stage.server.text("token");
    let changed = format!(
        "{}{}",
        &token[..token.len() - 1],
        if token.ends_with('0') { '1' } else { '0' }
    );
    let call = |headers: &[(&str, &str)]| {
        support::request(
            &world.admin.address,
            "GET",
            "/crm/v1/prospects",
            headers,
            "",
        )
        .expect("an answer")
        .status
    };
    let good = format!("Bearer {token}");
    assert_eq!(call(&[("authorization", &good)]), 200);
    assert_eq!(
        call(&[("authorization", &format!("bearer {token}"))]),
        200,
        "the scheme's case is free"
    );
    for bad in [
        token.clone(),
        format!("Basic {token}"),
        format!("Bearer{token}"),
        format!("Bearer {changed}"),
        format!("Bearer {}", token.to_uppercase()),
        format!("Bearer {token}x"),
        format!("Bearer {}", token.replace("ptk_test_", "ptk_live_")),
        format!("Bearer {token}, Bearer {token}"),
        "Bearer é".to_owned(),
        "Bearer".to_owned(),
        String::new(),
    ] {
        assert_eq!(call(&[("authorization", &bad)]), 401, "{bad}");
    }
    assert_eq!(
        call(&[("authorization", &good), ("authorization", &good)]),
        401
    );
    assert_eq!(call(&[("x-api-key", &token)]), 401);
}

//! Portico's answers are held against the published contract.
//!
//! Goal: a client that was written for the published pages works here, administration and receivers
//! of webhooks included.
//! Method: `published.json` says, from the contract alone, what each operation takes and answers.
//! Each row is called with its body and its parameters, and the answer is validated. An operation of
//! the document that has neither a row nor a line in [`OURS`] fails, and so does a row that is not
//! called. [`GAPS`] names the rows that Portico does not satisfy yet: the list can only shrink.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use crate::support::{Answer, Caller, Stage, text};

/// Operations that the published contract does not have.
const OURS: &[&str] = &[
    "GET /crm/v1/appointments",
    "GET /crm/v1/appointments/{}",
    "GET /healthz",
    "GET /metrics",
    "GET /openapi.json",
    "GET /readyz",
    "GET /v1/admin/audit-log",
    "GET /v1/admin/events",
    "GET /v1/admin/events/{}",
    "GET /v1/admin/keys",
    "GET /v1/admin/keys/{}",
    "GET /v1/admin/prospects/{}/consents",
    "GET /v1/admin/writes/{}/attempts",
    "GET /v1/webhooks/{}/deliveries",
    "GET /v1/webhooks/{}/deliveries/{}",
    "GET /v1/webhooks/{}/deliveries/{}/attempts",
    "DELETE /v1/admin/keys/{}",
    "POST /v1/admin/integrations/{}/agents",
    "POST /v1/admin/integrations/{}/agents/bulk",
    "POST /v1/admin/integrations/{}/attributions",
    "POST /v1/admin/integrations/{}/attributions/bulk",
    "POST /v1/admin/integrations/{}/communities",
    "POST /v1/admin/integrations/{}/communities/bulk",
    "POST /v1/admin/integrations/{}/pause",
    "POST /v1/admin/integrations/{}/resume",
    "POST /v1/admin/keys",
    "POST /v1/admin/keys/{}/rotate",
    "POST /v1/admin/prospects/{}/erase",
    "POST /v1/webhooks/{}/deliveries/{}/replay",
    "POST /v1/webhooks/{}/replay",
    "POST /v1/webhooks/{}/rotate-secret",
    "POST /v1/webhooks/{}/test",
];

/// Rows that Portico does not satisfy yet.
const GAPS: &[&str] = &[
    "DELETE /v1/admin/integrations/{new_integration_id}/",
    "GET /v1/admin/integrations/",
    "GET /v1/admin/integrations/{integration_id}/",
    "GET /v1/admin/integrations/{integration_id}/job-schedules/",
    "GET /v1/admin/integrations/{integration_id}/job-schedules/{job_schedule_id}/",
    "GET /v1/admin/integrations/{integration_id}/properties",
    "GET /v1/admin/job-logs/{job_log_id}/",
    "GET /v1/admin/job-logs/{job_log_id}/data",
    "GET /v1/admin/logs/jobs/",
    "GET /v1/admin/logs/jobs/{logged_job_id}",
    "GET /v1/admin/logs/writes/",
    "GET /v1/webhooks/",
    "POST /v1/admin/integrations/",
    "POST /v1/admin/integrations/{integration_id}/back-sync",
    "PUT /v1/admin/integrations/{integration_id}/properties/batch",
    "PUT /v1/admin/integrations/{integration_id}/properties/{property_configuration_id}",
    "PUT /v1/admin/integrations/{new_integration_id}/",
];

/// The table.
fn table() -> Value {
    serde_json::from_str(include_str!("published.json")).expect("the table")
}

/// An operation with nothing in its braces, and without the slash at the end.
fn plain(operation: &str) -> String {
    let (mut out, mut is_in) = (String::new(), false);
    for letter in operation.trim_end_matches('/').chars() {
        is_in &= letter != '}';
        if !is_in {
            out.push(letter);
        }
        is_in |= letter == '{';
    }
    out
}

/// What stands against a row.
#[derive(Default)]
struct Faults(BTreeMap<String, Vec<String>>);

impl Faults {
    fn add(&mut self, operation: &str, what: String) {
        self.0.entry(operation.to_owned()).or_default().push(what);
    }
}

struct World {
    stage: Stage,
    caller: Caller,
    table: Value,
    values: BTreeMap<String, String>,
    faults: Faults,
}

impl World {
    fn set() -> Self {
        let stage = Stage::set();
        let caller = stage.caller();
        let ready = &stage.server.ready;
        let community = &ready["communities"][0];
        let of_community = |list: &str| {
            let all = ready[list].as_array().expect("a list");
            let own = all.iter().find(|one| {
                let ids = one["community_ids"].as_array().expect("communities");
                ids.contains(&community["id"])
            });
            text(&own.expect("one of the community")["id"])
        };
        let (date, time) = stage.tour();
        let values = BTreeMap::from([
            ("integration_id", text(&ready["integration_id"])),
            ("community_id", text(&community["id"])),
            ("x_property_id", text(&community["x_id"])),
            ("attribution_id", of_community("attributions")),
            ("agent_id", of_community("agents")),
            ("vendor_url", stage.sandbox.text("sandbox_url")),
            ("api_key", "syndication-prospect-TEST-KEY".to_owned()),
            ("receiver_url", "http://127.0.0.1:9/hook".to_owned()),
            ("user_id", "usr_00000000000000000000000000".to_owned()),
            ("model", "crm_prospects".to_owned()),
            ("field", "first_contact_type".to_owned()),
            ("slot_date", date),
            ("slot_time", time),
            (
                "appointment_id",
                "apt_00000000000000000000000000".to_owned(),
            ),
            ("property_list_configuration_id", "plc_1".to_owned()),
        ]);
        let values = values
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
        Self {
            stage,
            caller,
            table: table(),
            values,
            faults: Faults::default(),
        }
    }

    /// `value` with the values of the test in its braces; `None` when there is none for a name.
    fn filled(&self, value: &Value) -> Option<Value> {
        Some(match value {
            Value::String(words) => {
                let mut words = words.clone();
                for (name, value) in &self.values {
                    words = words.replace(&format!("{{{name}}}"), value);
                }
                if words.contains('{') {
                    return None;
                }
                json!(words)
            }
            Value::Array(all) => all
                .iter()
                .map(|one| self.filled(one))
                .collect::<Option<_>>()?,
            Value::Object(all) => {
                let filled: Option<Map<String, Value>> = all
                    .iter()
                    .map(|(name, value)| Some((name.clone(), self.filled(value)?)))
                    .collect();
                Value::Object(filled?)
            }
            other => other.clone(),
        })
    }

    fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let body = body.map(Value::to_string).unwrap_or_default();
        let answer = self.caller.call(method, path, &[], &body);
        answer.expect("an answer")
    }

    /// Holds an answer against its schema.
    fn check(&mut self, operation: &str, what: &str, expected: (u16, &Value), answer: &Answer) {
        let (status, schema) = expected;
        if answer.status != status {
            let why = format!("{what}: {} {}", answer.status, answer.body);
            self.faults.add(operation, why);
            return;
        }
        for why in self.problems(schema, &answer.json()) {
            self.faults.add(operation, format!("{what}: {why}"));
        }
    }

    fn problems(&self, schema: &Value, value: &Value) -> Vec<String> {
        let schema = json!({ "schemas": self.table["schemas"], "allOf": [schema] });
        let validator = jsonschema::draft202012::new(&schema).expect("a schema");
        let problems = validator.iter_errors(value);
        problems
            .map(|one| format!("{} at {}", one, one.instance_path()))
            .map(|why| why.chars().take(400).collect())
            .collect()
    }

    /// Calls a row as the contract has it.
    fn row(&mut self, row: &Value) {
        let operation = text(&row["operation"]);
        let (method, path) = operation.split_once(' ').expect("a method and a path");
        let (Some(path), Some(body)) = (self.filled(&json!(path)), self.filled(&row["body"]))
        else {
            self.faults
                .add(&operation, "no value for a name in it".to_owned());
            return;
        };
        let (path, body) = (text(&path), (!body.is_null()).then_some(body));
        let status = row["status"].as_u64().unwrap_or(200);
        let status = u16::try_from(status).expect("a status");
        if operation.starts_with("GET /v1/admin/write-status") {
            self.caller.end_of(&self.values["job_id"]);
        }
        // The one parameter that must be given.
        let first = match operation.starts_with("GET /v1/admin/normalization") {
            true => format!("{path}?integration_vendor=KNOCK"),
            false => path.clone(),
        };
        let answer = self.call(method, &first, body.as_ref());
        if operation == "GET /v1/admin/users/{user_id}" {
            // There is no console, and so nobody who signs in to it.
            self.check(&operation, "nobody", (404, &row["also"]["404"]), &answer);
            return;
        }
        self.check(&operation, "answer", (status, &row["answer"]), &answer);
        let keeps = operation != "GET /v1/admin/users/";
        for (name, pointer) in row["keep"]
            .as_object()
            .into_iter()
            .flatten()
            .filter(|_| keeps)
        {
            let value = answer.json().pointer(&text(pointer)).cloned();
            match value.filter(|_| answer.status == 200) {
                Some(Value::String(value)) => drop(self.values.insert(name.clone(), value)),
                _ => self.faults.add(&operation, format!("nothing at {pointer}")),
            }
        }
        if let Some(job_id) = answer.json()["meta"]["job_id"].as_str()
            && !path.contains("availability")
        {
            let end = self.caller.end_of(job_id);
            if end["write_status"] != "SUCCESS" {
                self.faults
                    .add(&operation, format!("the write ends as {end}"));
            }
        }
        let Some(query) = row.get("query") else {
            return;
        };
        match self.filled(query) {
            None => self
                .faults
                .add(&operation, "no value for a parameter".to_owned()),
            Some(query) => {
                let query = query.as_object().expect("parameters");
                let mut pairs = form_urlencoded::Serializer::new(String::new());
                for (name, value) in query {
                    let value = value
                        .as_str()
                        .map_or_else(|| value.to_string(), str::to_owned);
                    pairs.append_pair(name, &value);
                }
                let path = format!("{path}?{}", pairs.finish());
                let answer = self.call(method, &path, body.as_ref());
                let what = "with its parameters";
                self.check(&operation, what, (status, &row["answer"]), &answer);
            }
        }
    }

    /// Has a write refused by the vendor, for the row that repeats one.
    fn refuse_a_write(&mut self) {
        let fault = json!({ "match": { "path": "/prospect" }, "kind": "status", "status": 400, "times": 1 });
        self.stage.add_fault(&fault);
        let body = json!({
            "integration_id": self.values["integration_id"],
            "community_id": self.values["community_id"],
            "attribution_id": self.values["attribution_id"],
            "email_1": "refused@example.com",
        });
        let job_id = self
            .call("POST", "/crm/v1/prospects/knock", Some(&body))
            .job_id();
        let end = self.caller.end_of(&job_id);
        assert_eq!(end["write_status"], "FAILURE", "{end}");
        self.values.insert("failed_job_id".to_owned(), job_id);
    }
}

#[test]
fn every_operation_has_a_row() {
    let stage = Stage::set();
    let document = stage.caller().get("/openapi.json");
    let mut missing = Vec::new();
    let table = table();
    let rows: BTreeSet<String> = table["operations"]
        .as_array()
        .expect("rows")
        .iter()
        .map(|row| plain(&text(&row["operation"])))
        .collect();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for method in item.as_object().expect("methods").keys() {
            let operation = plain(&format!("{} {path}", method.to_uppercase()));
            if !rows.contains(&operation) && !OURS.contains(&&*operation) {
                missing.push(operation);
            }
        }
    }
    assert_eq!(missing, Vec::<String>::new());
}

#[test]
fn every_answer_is_what_the_published_contract_has() {
    let mut world = World::set();
    world.refuse_a_write();
    let rows = world.table["operations"].as_array().expect("rows").clone();
    for row in &rows {
        world.row(row);
    }
    // The log of events shows what receivers are sent.
    let log = world.caller.get("/v1/admin/events?limit=250");
    let mut told = BTreeSet::new();
    for event in log["results"].as_array().expect("events") {
        let trigger = text(&event["trigger"]);
        let schema = world.table["webhooks"][&trigger].clone();
        if !schema.is_null() {
            for why in world.problems(&schema, &event["body"]) {
                world.faults.add(&trigger, why);
            }
        }
        told.insert(trigger);
    }
    for trigger in [
        "DATA_NEW",
        "DATA_UPDATE",
        "FIRST_SYNC_COMPLETE",
        "JOB_SUCCESS",
    ] {
        assert!(told.contains(trigger), "{trigger} is among {told:?}");
    }
    let gaps: BTreeSet<&str> = GAPS.iter().copied().collect();
    let found: BTreeSet<&str> = world.faults.0.keys().map(String::as_str).collect();
    assert!(
        found == gaps,
        "left: what is wrong, right: the list of gaps\n{found:#?}\n{gaps:#?}\n{:#?}",
        world.faults.0
    );
}

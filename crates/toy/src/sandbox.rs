//! Toy's sandbox: leads that know their email address, tokens that end, and a journal of everything.
//!
//! Guarantee: a create that is repeated is counted, since Toy makes a second lead of it.

use std::{collections::BTreeMap, io, sync::Arc};

use connectors::sandbox::{
    CallCounts, Forgotten, Form, Imitation, Received, Sandbox, SandboxDefinition, Seeded,
    SeededCommunity,
    control::{Control, Wrong, ok, parse},
    reply::Reply,
};
use http::{Method, StatusCode, header::AUTHORIZATION};
use model::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

/// The key and the secret that it takes.
const KEY: &str = "toy-key-for-the-header";
const SECRET: &str = "toy-secret-for-the-body";

/// How long a token is taken, in seconds.
const TOKEN_S: i64 = 300;

/// The sandbox as a build has it.
pub(crate) const DEFINITION: SandboxDefinition = SandboxDefinition {
    open: |setup| {
        let held = Held::default();
        Ok(Arc::new(Sandbox::around(
            ToyImitation,
            held,
            setup.clock,
            setup.latency_ms,
        )))
    },
    credentials: r#"{"apiKey":"toy-key-for-the-header","secret":"toy-secret-for-the-body"}"#,
    first_prospect: r#"{"integration_id":"{integration}","community_id":"{community}","email_1":"ada@example.com","first_name":"Ada","last_name":"Byron"}"#,
};

/// Toy, imitated.
pub struct ToyImitation;

/// A call.
pub struct ToyCall {
    method: Method,
    path: String,
    query: String,
    key: Option<String>,
    token: Option<String>,
    body: Value,
}

/// A lead.
#[derive(Clone, Serialize)]
struct Lead {
    no: String,
    property: String,
    person: BTreeMap<String, Value>,
    remarks: Vec<Value>,
    texts: Vec<Value>,
}

/// What it holds.
#[derive(Default)]
pub struct Held {
    leads: Vec<Lead>,
    /// Creates as they came, to count those that came again.
    creates: Vec<Value>,
    doubled: u64,
    tokens: BTreeMap<String, Timestamp>,
    given: u64,
}

/// How much it holds.
#[derive(Serialize)]
pub struct ToyCounts {
    /// Leads.
    pub prospects: u64,
    /// Creates that were sent twice.
    pub doubled: u64,
    /// Tokens given.
    pub tokens: u64,
    /// Calls received.
    pub requests: u64,
}

fn problem(status: u16, words: &str) -> Reply {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
    ToyImitation::FORM.error(status, words)
}

fn text<'a>(value: &'a Value, member: &str) -> &'a str {
    value[member].as_str().unwrap_or_default()
}

impl Lead {
    fn change(&mut self, body: &Value) {
        for (name, value) in body["person"].as_object().into_iter().flatten() {
            self.person.insert(name.clone(), value.clone());
        }
        if let Some(remark) = body.get("remark") {
            self.remarks.push(remark.clone());
        }
    }
}

impl Held {
    fn find(&mut self, property: &str, mail: &str) -> Option<&mut Lead> {
        self.leads.iter_mut().find(|lead| {
            lead.property == property
                && lead.person.get("mail").and_then(Value::as_str) == Some(mail)
        })
    }

    fn create(&mut self, mut body: Value) -> Reply {
        if let Some(body) = body.as_object_mut() {
            body.remove("secret");
        }
        let (property, mail) = (text(&body, "property"), text(&body["person"], "mail"));
        if !(COMMUNITY.0 == property || OTHER.0 == property) {
            return problem(404, "no such property");
        }
        if mail.is_empty() {
            return problem(422, "a lead needs a mail");
        }
        if self.creates.contains(&body) {
            self.doubled += 1;
        }
        self.creates.push(body.clone());
        let (property, mail) = (property.to_owned(), mail.to_owned());
        if let Some(lead) = self.find(&property, &mail) {
            return Reply::json(StatusCode::OK, &json!({ "no": lead.no, "known": true }));
        }
        let mut lead = Lead {
            no: format!("L-{}", self.leads.len() + 1),
            property,
            person: BTreeMap::new(),
            remarks: Vec::new(),
            texts: Vec::new(),
        };
        lead.change(&body);
        self.leads.push(lead);
        Reply::json(StatusCode::ACCEPTED, &json!({}))
    }

    fn lead(&mut self, no: &str) -> Option<&mut Lead> {
        self.leads.iter_mut().find(|lead| lead.no == no)
    }
}

/// The communities that it has.
const COMMUNITY: (&str, &str) = ("P-1", "Toy Towers");
const OTHER: (&str, &str) = ("P-2", "Toy Terrace");

impl Imitation for ToyImitation {
    type State = Held;
    type Call = ToyCall;
    type Counts = ToyCounts;

    const FORM: Form = Form {
        secret_headers: &["x-toy-key", "authorization"],
        secret_members: &["secret", "token"],
        shown_headers: &["content-type"],
        error: |words| json!({ "problem": words }),
        bad_key: (StatusCode::UNAUTHORIZED, r#"{"problem":"who are you?"}"#),
        malformed_body: r#"{"no":"#,
    };

    const CONTROLS: &'static str = ". Of this sandbox alone: POST tokens/end";

    fn read(&self, received: &Received<'_>) -> ToyCall {
        let header = |name: &str| {
            let value = received.headers.get(name)?;
            value.to_str().ok().map(str::to_owned)
        };
        ToyCall {
            method: received.method.clone(),
            path: received.path.to_owned(),
            query: received.query.to_owned(),
            key: header("x-toy-key"),
            token: header(AUTHORIZATION.as_str())
                .and_then(|value| Some(value.strip_prefix("Bearer ")?.to_owned())),
            body: received
                .body
                .and_then(|body| serde_json::from_slice(body).ok())
                .unwrap_or_default(),
        }
    }

    fn answer(&self, held: &mut Held, call: ToyCall, now: Timestamp) -> Reply {
        let has_secret = call.method == Method::GET || text(&call.body, "secret") == SECRET;
        if call.key.as_deref() != Some(KEY) || !has_secret {
            return Self::FORM.bad_key();
        }
        let steps: Vec<&str> = call.path.split('/').skip(1).collect();
        if let ("POST", ["v1", "token"]) = (call.method.as_str(), steps.as_slice()) {
            held.given += 1;
            let token = format!("toy-token-number-{}", held.given);
            held.tokens
                .insert(token.clone(), now.plus_millis(TOKEN_S * 1_000));
            return Reply::json(
                StatusCode::OK,
                &json!({ "token": token, "lasts_s": TOKEN_S }),
            );
        }
        let until = call.token.as_ref().and_then(|token| held.tokens.get(token));
        if until.is_none_or(|until| *until <= now) {
            return problem(401, "the token is over");
        }
        match (call.method.as_str(), steps.as_slice()) {
            ("POST", ["v1", "leads"]) => held.create(call.body),
            ("GET", ["v1", "leads"]) => {
                let asked = |name: &str| {
                    let pairs = call.query.split('&');
                    let mut pairs = pairs.filter_map(|pair| pair.split_once('='));
                    let found = pairs.find(|(key, _)| *key == name);
                    found.map_or_else(String::new, |(_, value)| value.replace("%40", "@"))
                };
                match held.find(&asked("property"), &asked("mail")) {
                    Some(lead) => Reply::json(StatusCode::OK, &json!({ "lead": lead })),
                    None => problem(404, "no such lead"),
                }
            }
            ("GET", ["v1", "leads", no]) => match held.lead(no) {
                Some(lead) => Reply::json(StatusCode::OK, &json!({ "lead": lead })),
                None => problem(404, "no such lead"),
            },
            ("PUT", ["v1", "leads", no]) => match held.lead(no) {
                Some(lead) => {
                    lead.change(&call.body);
                    Reply::json(StatusCode::OK, &json!({ "no": lead.no }))
                }
                None => problem(404, "no such lead"),
            },
            ("POST", ["v1", "leads", no, "notes" | "messages"]) => match held.lead(no) {
                Some(lead) => {
                    lead.texts.push(call.body["text"].clone());
                    Reply::json(StatusCode::OK, &json!({}))
                }
                None => problem(404, "no such lead"),
            },
            _ => problem(404, "no such path"),
        }
    }

    fn community_of<'a>(&self, _held: &'a Held, call: &'a ToyCall) -> Option<&'a str> {
        call.body["property"].as_str()
    }

    fn shown(&self, held: &Held) -> Reply {
        Reply::json(StatusCode::OK, &json!({ "prospects": held.leads }))
    }

    fn counts(&self, held: &Held, calls: CallCounts) -> ToyCounts {
        ToyCounts {
            prospects: held.leads.len() as u64,
            doubled: held.doubled,
            tokens: held.given,
            requests: calls.requests,
        }
    }

    fn control(
        &self,
        held: &mut Held,
        control: &Control<'_>,
        _now: Timestamp,
    ) -> Option<Result<Reply, Wrong>> {
        match (control.method.as_str(), control.path) {
            ("POST", "/tokens/end") => {
                let all: Result<Value, Wrong> = parse(control.body);
                held.tokens.clear();
                Some(all.map(|_| ok(&json!({}))))
            }
            _ => None,
        }
    }

    fn reset(&self, held: &mut Held) -> io::Result<()> {
        *held = Held::default();
        Ok(())
    }

    fn forget(&self, held: &mut Held, x_id: &str) -> io::Result<Option<Forgotten>> {
        let place = held.leads.iter().position(|lead| lead.no == x_id);
        let forgotten = place.map(|place| held.leads.remove(place));
        Ok(forgotten.map(|lead| Forgotten {
            path: format!("/v1/leads/{}", lead.no),
            contacts: lead
                .person
                .get("mail")
                .and_then(Value::as_str)
                .map(str::to_owned)
                .into_iter()
                .collect(),
        }))
    }

    fn seeded(&self) -> Seeded {
        Seeded {
            communities: [COMMUNITY, OTHER]
                .map(|(x_id, name)| SeededCommunity {
                    x_id: x_id.to_owned(),
                    name: name.to_owned(),
                    timezone: "America/New_York".to_owned(),
                })
                .into(),
            ..Seeded::default()
        }
    }
}

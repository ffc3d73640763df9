//! Toy, a leasing CRM that there is not.
//!
//! It differs from Knock in what the next vendors differ in: it has words of its own, two secrets of
//! which one goes into the body, a token that ends, no way to tell a repeated create, ids that come
//! later than the answer, and neither tours nor listings. Tests run it through everything that a vendor
//! has to pass; nothing outside this crate knows it.

pub mod bodies;
mod mapping;
pub mod sandbox;

use std::sync::Arc;

use async_trait::async_trait;
use connectors::{
    Answer, Fetched, Target,
    component::Component,
    connector::{Connections, Definition, Deliver, FetchProspect, FetchToken, Token, VendorPace},
    foreign::{Form, Refusal},
    http_vendor::{Confirmation, HttpVendor, Place, Ways, any_id},
    vendor_client::{Got, VendorClient},
};
use model::{
    Secret, Vendor,
    directory::Cadence,
    key::System,
    resources::integration::Terms,
    vocabulary::Vocabulary,
    write::{AttemptKind, Call, Operation},
};
use serde_json::{Map, Value, json};

use self::bodies::ToyCredentials;

/// Its name.
pub const VENDOR: Vendor = Vendor::named("TOY");

/// The members of its credentials.
const CREDENTIALS: &[&str] = &["apiKey", "secret"];

/// Where it would be.
const BASE_URLS: [&str; 2] = ["https://crm.toy.example", "https://play.toy.example"];

/// How it differs from other vendors.
const WAYS: Ways = Ways {
    title: "Toy",
    credentials: CREDENTIALS,
    secrets: &[
        ("apiKey", Place::Header("x-toy-key")),
        ("secret", Place::Body("secret")),
    ],
    token: Some(Place::Bearer),
    words: &["problem"],
    refusal: Refusal {
        statuses: &[400, 404, 409, 422],
        form: Form::Words("problem"),
    },
    gone: &[404],
};

/// What it can do.
pub const DEFINITION: Definition = Definition {
    terms: Terms {
        vendor: VENDOR,
        credentials: CREDENTIALS,
        key_header_name: "x-toy-key",
        key_header_may_differ: false,
        base_url: |system| match system {
            System::Production => BASE_URLS[0],
            System::Sandbox => BASE_URLS[1],
        },
    },
    title: "Toy",
    base_urls: &BASE_URLS,
    credentials: Component::of::<ToyCredentials>(),
    credentials_example: r#"{"apiKey":"a-key","secret":"a-secret"}"#,
    vocabulary: || Vocabulary::new(&[("pets", &[("CAT", "feline"), ("SMALL_DOG", "canine")])]),
    operations: mapping::OPERATIONS,
    availability: None,
    paces: &[VendorPace {
        operations: &[Operation::ProspectUpdate],
        is_per_community: true,
        calls: 1,
        cadence: Cadence::Minute,
    }],
    connect: |client, vocabulary| {
        let toy = Arc::new(Toy::new(client, vocabulary));
        Connections {
            writes: toy.clone(),
            availability: None,
            attributions: None,
            prospect: Some(toy.clone()),
            token: Some(toy),
        }
    },
    sandbox: sandbox::DEFINITION,
};

/// What calls it.
struct Toy {
    http: HttpVendor,
}

impl Toy {
    fn new(client: VendorClient, _vocabulary: Arc<Vocabulary>) -> Self {
        Self {
            http: HttpVendor::new(client, &WAYS),
        }
    }
}

/// `{"lead":{"no":"L-1"}}`, `{"no":"L-1","known":true}`, or `{}` while the lead has no number yet.
fn confirmation(_call: &Call, _got: &Got, body: Option<&Value>) -> Confirmation {
    let Some(body) = body.filter(|body| body.is_object()) else {
        return Confirmation::Lacking("the answer is not Toy's");
    };
    if body.get("problem").is_some() {
        return Confirmation::Lacking("the answer is an error");
    }
    Confirmation::Given {
        x_id: any_id(&body["lead"], "no").or_else(|| any_id(body, "no")),
        is_match: body["known"] == true,
    }
}

#[async_trait]
impl Deliver for Toy {
    async fn call(&self, target: &Target, kind: AttemptKind, call: &Call) -> Answer {
        match kind {
            AttemptKind::Resolve => self.http.resolve(target, call, confirmation).await,
            _ => self.http.deliver(target, call, confirmation).await,
        }
    }
}

#[async_trait]
impl FetchProspect for Toy {
    async fn prospect_fetch(
        &self,
        target: &Target,
        x_community_id: &str,
        x_id: &str,
        _held: &Value,
    ) -> Fetched<Map<String, Value>> {
        let call = mapping::lead_get(x_community_id, x_id);
        let body = self.http.fetch(target, &call).await?;
        let person = &body["lead"]["person"];
        let mut members = Map::new();
        members.insert("first_name".to_owned(), person["given"].clone());
        members.insert("last_name".to_owned(), person["family"].clone());
        Ok(members)
    }
}

#[async_trait]
impl FetchToken for Toy {
    fn token_call(&self) -> Call {
        Call {
            method: "POST".to_owned(),
            path: "/v1/token".to_owned(),
            x_community_id: String::new(),
            body: json!({}),
        }
    }

    async fn token_fetch(&self, target: &Target, call: &Call) -> (Answer, Option<Token>) {
        let read = |body: &Value| {
            Some(Token {
                secret: Secret::new(body["token"].as_str()?),
                lasts_ms: body["lasts_s"].as_u64()?.saturating_mul(1_000),
            })
        };
        self.http.token_fetch(target, call, read).await
    }
}

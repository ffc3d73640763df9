//! Knock (knockrentals.com), the leasing CRM.
//!
//! [`bodies`] are what callers send, [`operations`] what becomes of it, [`mapping`] says what our
//! fields are in Knock's words, [`matching`] how Knock finds a guest card, [`reading`] what its words
//! are in ours, [`vocabulary`] what our enum members are, [`classification`] what its answers mean,
//! and [`sandbox`] imitates it. Guarantee: a field that the caller left out is left out; no value is
//! invented.

pub mod bodies;
pub mod classification;
pub mod mapping;
pub mod matching;
pub mod operations;
pub mod reading;
pub mod sandbox;
pub mod vocabulary;

use std::sync::Arc;

use async_trait::async_trait;
use model::{
    Timestamp, Vendor,
    key::System,
    resources::integration::Terms,
    vocabulary::Vocabulary,
    write::{AttemptKind, Call},
};
use serde_json::{Map, Value};

use self::bodies::{AppointmentAvailabilityKnock, KnockCredentials, availability, credentials};
use crate::{
    Answer, Fetched, Target,
    component::Component,
    connector::{
        AvailabilityOperation, Connections, Definition, Deliver, FetchAttributions,
        FetchAvailability, FetchProspect,
    },
    http_vendor::HttpVendor,
};

/// Its name.
pub const VENDOR: Vendor = Vendor::named("KNOCK");

/// Where Knock is: for production, and for play.
const BASE_URLS: [&str; 2] = [
    "https://syndication.knockrentals.com",
    "https://stage-syndication.knockrentals.com",
];

/// What it can do.
pub const DEFINITION: Definition = Definition {
    terms: Terms {
        vendor: VENDOR,
        credentials: credentials::MEMBERS,
        // Behind Knock's gateway it is `apikey`.
        key_header_name: "x-api-key",
        key_header_may_differ: true,
        base_url: |system| match system {
            System::Production => BASE_URLS[0],
            System::Sandbox => BASE_URLS[1],
        },
    },
    title: "Knock",
    base_urls: &BASE_URLS,
    credentials: Component::of::<KnockCredentials>(),
    credentials_example: r#"{"apiKey":"a-key-that-knock-issued"}"#,
    vocabulary: vocabulary::table,
    operations: operations::OPERATIONS,
    availability: Some(AvailabilityOperation {
        body: Component::of::<AppointmentAvailabilityKnock>(),
        description: "Asks Knock when tours are possible. Answers are given again for ten seconds. When Knock is slow or fails, the answer is 503 within five seconds.",
        probe_kind: availability::AppointmentType::Appointment.word(),
    }),
    paces: &[],
    connect: |client, vocabulary| {
        let http = HttpVendor::new(client, &classification::WAYS);
        let knock = Arc::new(Knock { http, vocabulary });
        Connections {
            writes: knock.clone(),
            availability: Some(knock.clone()),
            attributions: Some(knock.clone()),
            prospect: Some(knock),
            token: None,
        }
    },
    sandbox: sandbox::DEFINITION,
};

/// What calls Knock.
struct Knock {
    http: HttpVendor,
    vocabulary: Arc<Vocabulary>,
}

#[async_trait]
impl Deliver for Knock {
    async fn call(&self, target: &Target, _kind: AttemptKind, call: &Call) -> Answer {
        self.http
            .deliver(target, call, classification::confirmation)
            .await
    }
}

#[async_trait]
impl FetchAvailability for Knock {
    async fn availability_fetch(
        &self,
        target: &Target,
        x_community_id: &str,
        kind: &str,
    ) -> Fetched<Vec<Timestamp>> {
        let call = reading::availability(x_community_id, kind);
        let body = self.http.fetch(target, &call).await?;
        reading::availability_read(&body).ok_or_else(|| self.http.not_understood())
    }
}

#[async_trait]
impl FetchAttributions for Knock {
    async fn attributions_fetch(
        &self,
        target: &Target,
        x_community_id: &str,
    ) -> Fetched<Vec<String>> {
        let call = reading::attributions(x_community_id);
        let body = self.http.fetch(target, &call).await?;
        reading::attributions_read(&body).ok_or_else(|| self.http.not_understood())
    }
}

#[async_trait]
impl FetchProspect for Knock {
    async fn prospect_fetch(
        &self,
        target: &Target,
        x_community_id: &str,
        x_id: &str,
        held: &Value,
    ) -> Fetched<Map<String, Value>> {
        let call = reading::prospect(x_community_id, x_id);
        let body = self.http.fetch(target, &call).await?;
        reading::prospect_read(&body, x_id, held, &self.vocabulary)
            .ok_or_else(|| self.http.not_understood())
    }
}

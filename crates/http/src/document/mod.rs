//! The OpenAPI document, generated from routes and types.
//!
//! Guarantee: the document that is served is the one that bodies are validated against
//! ([`schemas`]), and the answers that it shows are the types that are sent ([`answers`]).

pub mod answers;
mod finish;
pub(crate) mod lists;
mod names;
pub mod operation;
pub mod parameters;
pub mod problems;
pub mod schemas;
pub mod served;
pub mod shape;
pub mod webhooks;

use utoipa::{
    Modify, OpenApi,
    openapi::{
        Contact, License, Server,
        security::{Http, HttpAuthScheme, SecurityScheme},
    },
};

pub use finish::{VendorBody, finish};

use crate::error::body::ErrorBody;

/// The document's frame; the routes add themselves.
#[derive(OpenApi)]
#[openapi(
    info(title = "Portico", description = "The open, self-hosted front door to leasing CRMs. Every write is on stable storage before it is answered, \
        is delivered to the vendor until its outcome is known, and can always say what became of it.\n\n\
        In every body, an optional field that is `null` is absent, and so is text that is empty or has only blanks in it, whatever its format: \
        an id, a date and a word of a list too. A required field that is blank is missing. \
        In a query, a date alone and a time without offset are UTC.\n\n\
        Every answer has the header `x-request-id`, and every answer to an API key `x-ratelimit-limit` and `x-ratelimit-remaining`."),
    modifiers(&Frame),
    components(schemas(ErrorBody)),
    tags(
        (name = "Prospects", description = "People who look for an apartment"),
        (name = "Events", description = "What happened between a prospect and a community: calls, messages, notes"),
        (name = "Appointments", description = "Tours"),
        (name = "Listings", description = "Advertisements"),
        (name = "Communities", description = "Properties that prospects are sent to"),
        (name = "Attributions", description = "Where a prospect heard of a community"),
        (name = "Agents", description = "People who let apartments"),
        (name = "Writes", description = "What became of a write"),
        (name = "Integrations", description = "Vendor accounts, and what is registered with them"),
        (name = "Webhooks", description = "What happened, told to whoever subscribes to it: subscriptions, deliveries, and the log of events"),
        (name = "Webhook events", description = "The requests that receivers of webhooks get. Each is sent until it is taken; it may come more than once, and not in order: `webhook-id` tells a repeat"),
        (name = "Keys", description = "API keys"),
        (name = "Administration", description = "Synchronisation, vocabulary, and what changed"),
        (name = "Privacy", description = "What prospects agreed to, and forgetting them"),
        (name = "Operations", description = "For those who run Portico"),
    )
)]
pub struct Document;

/// What routes do not say: how callers sign in, the licence, where the API is.
struct Frame;

impl Modify for Frame {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let components = document.components.get_or_insert_default();
        components.add_security_scheme(
            "bearer",
            SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)),
        );
        let mut licence = License::new("Apache-2.0");
        licence.identifier = Some("Apache-2.0".to_owned());
        document.info.license = Some(licence);
        let mut contact = Contact::new();
        contact.name = Some("The operator of this Portico".to_owned());
        document.info.contact = Some(contact);
        document.servers = Some(vec![Server::new("/")]);
    }
}

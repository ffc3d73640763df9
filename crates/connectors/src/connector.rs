//! A vendor as a table of what it can do.
//!
//! Guarantee: a connector makes one call and says how it ended. It never sleeps, repeats, or logs a
//! body; what to do next is `delivery`'s. What a vendor lacks is absent from its table.

use std::sync::Arc;

use async_trait::async_trait;
use model::{
    Secret, Timestamp, Vendor,
    directory::{Cadence, Integration},
    resources::integration::Terms,
    vocabulary::Vocabulary,
    write::{AttemptKind, Call, Class, Operation, Reply},
};
use serde_json::{Map, Value};

use crate::{
    component::Component, sandbox::SandboxDefinition, vendor_client::VendorClient,
    write_operation::WriteOperation,
};

/// A vendor, as it is registered.
pub struct Definition {
    /// Its name, its credentials' members, and where it is.
    pub terms: Terms,
    /// Its name as people write it.
    pub title: &'static str,
    /// Where it may be called, beside the addresses that the operator allows.
    pub base_urls: &'static [&'static str],
    /// The schema of its credentials.
    pub credentials: Component,
    /// Credentials as an example shows them: JSON.
    pub credentials_example: &'static str,
    /// Our words for its words.
    pub vocabulary: fn() -> Vocabulary,
    /// The writes that it takes.
    pub operations: &'static [WriteOperation],
    /// The question when tours are possible, where it can be asked that.
    pub availability: Option<AvailabilityOperation>,
    /// The limits that it sets by itself, beside those of an integration's settings.
    pub paces: &'static [VendorPace],
    /// Makes what calls it.
    pub connect: fn(VendorClient, Arc<Vocabulary>) -> Connections,
    /// Its sandbox.
    pub sandbox: SandboxDefinition,
}

/// The question when tours are possible, in a vendor's words.
pub struct AvailabilityOperation {
    /// The body's schema.
    pub body: Component,
    /// The document's words about it.
    pub description: &'static str,
    /// The kind of tour that is asked for where only an answer is wanted, whatever it is.
    pub probe_kind: &'static str,
}

/// A limit that a vendor sets by itself: so many calls in a time, evenly spread.
pub struct VendorPace {
    /// The kinds of write whose calls count together; every one when empty.
    pub operations: &'static [Operation],
    /// Whether it holds for each community by itself.
    pub is_per_community: bool,
    /// Calls in each cadence.
    pub calls: u32,
    /// The time that they are counted in.
    pub cadence: Cadence,
}

impl VendorPace {
    /// Whether calls of this kind count.
    pub fn counts(&self, operation: Operation) -> bool {
        self.operations.is_empty() || self.operations.contains(&operation)
    }

    /// From the beginning of one call to that of the next at least, in microseconds.
    pub fn gap_micros(&self) -> i64 {
        let micros = i64::from(self.cadence.seconds()) * 1_000_000;
        let calls = i64::from(self.calls.max(1));
        (micros + calls - 1) / calls
    }
}

/// What a body is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyOf {
    /// A write.
    Write(Operation),
    /// The question when tours are possible.
    Availability,
}

/// What calls a vendor: for each thing that it can be asked, who asks.
#[derive(Clone)]
pub struct Connections {
    /// Delivers writes.
    pub writes: Arc<dyn Deliver>,
    /// Asks when tours are possible.
    pub availability: Option<Arc<dyn FetchAvailability>>,
    /// Asks for lead sources.
    pub attributions: Option<Arc<dyn FetchAttributions>>,
    /// Asks how a prospect stands.
    pub prospect: Option<Arc<dyn FetchProspect>>,
    /// Asks for the token that calls take, where the vendor gives such.
    pub token: Option<Arc<dyn FetchToken>>,
}

/// A token that a vendor has given.
pub struct Token {
    /// The token.
    pub secret: Secret,
    /// How long the vendor takes it, in milliseconds.
    pub lasts_ms: u64,
}

/// Asks a vendor for a token.
#[async_trait]
pub trait FetchToken: Send + Sync + 'static {
    /// The call that asks for one, without its secrets.
    fn token_call(&self) -> Call;

    /// Makes that call once, says how it ended, and gives the token if it was delivered.
    async fn token_fetch(&self, target: &Target, call: &Call) -> (Answer, Option<Token>);
}

/// Delivers writes to a vendor.
#[async_trait]
pub trait Deliver: Send + Sync + 'static {
    /// Makes `call` once and says how it ended. Of a call that is to learn whether the vendor has a
    /// write, [`Class::Delivered`] says that it has, [`Class::Retry`] that it has not, and
    /// [`Class::Unknown`] that it did not say.
    async fn call(&self, target: &Target, kind: AttemptKind, call: &Call) -> Answer;
}

/// Asks a vendor when tours are possible.
#[async_trait]
pub trait FetchAvailability: Send + Sync + 'static {
    /// Asks once when tours of this kind are possible at a community.
    async fn availability_fetch(
        &self,
        target: &Target,
        x_community_id: &str,
        kind: &str,
    ) -> Fetched<Vec<Timestamp>>;
}

/// Asks a vendor for lead sources.
#[async_trait]
pub trait FetchAttributions: Send + Sync + 'static {
    /// Asks once for the titles of a community's lead sources.
    async fn attributions_fetch(
        &self,
        target: &Target,
        x_community_id: &str,
    ) -> Fetched<Vec<String>>;
}

/// Asks a vendor how a prospect stands.
#[async_trait]
pub trait FetchProspect: Send + Sync + 'static {
    /// Asks once, and gives the members of our record as the vendor has them. `held` is the record's
    /// body as we have it: what says the same as the vendor, only finer, stays.
    async fn prospect_fetch(
        &self,
        target: &Target,
        x_community_id: &str,
        x_id: &str,
        held: &Value,
    ) -> Fetched<Map<String, Value>>;
}

/// A vendor, ready to be called.
pub struct Connector {
    definition: &'static Definition,
    vocabulary: Arc<Vocabulary>,
    connections: Connections,
}

impl Connector {
    pub(crate) fn new(
        definition: &'static Definition,
        vocabulary: Vocabulary,
        client: VendorClient,
    ) -> Self {
        let vocabulary = Arc::new(vocabulary);
        Self {
            definition,
            connections: (definition.connect)(client, vocabulary.clone()),
            vocabulary,
        }
    }

    /// Which vendor it is.
    pub const fn vendor(&self) -> Vendor {
        self.definition.terms.vendor
    }

    /// How it is registered.
    pub const fn definition(&self) -> &'static Definition {
        self.definition
    }

    /// Our words for its words, as in force.
    pub fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    /// The write of this kind, if it takes such.
    pub fn operation(&self, operation: Operation) -> Option<&'static WriteOperation> {
        let mut all = self.definition.operations.iter();
        all.find(|one| one.operation == operation)
    }

    /// The schema of a body, if it takes such.
    pub fn body(&self, of: BodyOf) -> Option<Component> {
        match of {
            BodyOf::Write(operation) => Some(self.operation(operation)?.body),
            BodyOf::Availability => Some(self.definition.availability.as_ref()?.body),
        }
    }

    /// What calls it.
    pub const fn connections(&self) -> &Connections {
        &self.connections
    }
}

/// How one call ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// How, in one word.
    pub class: Class,
    /// The vendor's id of the record, when delivered.
    pub x_id: Option<String>,
    /// Whether it said that it held the record before: then a follow-up comes next, where the
    /// operation has one.
    pub is_match: bool,
    /// Why not, in the vendor's own words where it gave any.
    pub error: Option<String>,
    /// How long the vendor asked to be left alone, in milliseconds.
    pub retry_after_ms: Option<u64>,
    /// What the vendor said, bounded.
    pub reply: Reply,
}

/// Where a call goes.
#[derive(Clone)]
pub struct Target {
    /// The vendor's base url, key header and further headers.
    pub settings: model::directory::Settings,
    /// The credentials, as they are kept.
    pub credential: Secret,
    /// The token that the vendor has given, where it gives such.
    pub token: Option<Secret>,
}

impl Target {
    /// The target of an integration's calls.
    pub fn of(integration: &Integration) -> Self {
        Self {
            settings: integration.settings.clone(),
            credential: integration.credential.clone(),
            token: None,
        }
    }
}

/// Why something could not be fetched from the vendor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchFailure {
    /// How the call ended.
    pub class: Class,
    /// Whether the vendor has no such thing (any more).
    pub is_gone: bool,
    /// Why, in words.
    pub error: String,
    /// How long the vendor asked to be left alone, in milliseconds.
    pub retry_after_ms: Option<u64>,
}

/// What was fetched from the vendor.
pub type Fetched<T> = Result<T, FetchFailure>;

//! The vendors Portico writes to: one folder a vendor, one trait, one registry.
//!
//! Guarantee: a connector makes one call and says how it ended. It never sleeps, repeats, or logs a body; what to do next is `delivery`'s.

pub mod access;
pub mod dial;
pub mod foreign;
pub mod knock;
pub mod mappings;
pub mod outgoing;
pub mod reach;
pub mod vendor_client;

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use model::{
    Secret, Timestamp,
    directory::{Integration, Vendor},
    key::System,
    resources::appointment,
    vocabulary::{Overrides, Vocabulary},
    write::{Block, Call, Class, Confirmed, Reply},
};
use serde_json::{Map, Value};

pub use crate::mappings::Mappings;
use crate::{dial::Way, reach::Reach};

/// How one call ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// How, in one word.
    pub class: Class,
    /// The vendor's id of the record, when delivered.
    pub x_id: Option<String>,
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
    /// The credential.
    pub credential: Secret,
}

impl Target {
    /// The target of an integration's calls.
    pub fn of(integration: &Integration) -> Self {
        Self {
            settings: integration.settings.clone(),
            credential: integration.credential.clone(),
        }
    }
}

/// What a write becomes at a vendor: fixed at accept, so that every repeat is identical whatever changes in between.
pub struct Prepared {
    /// The call.
    pub call: Call,
    /// What its confirmation makes of our record.
    pub confirmed: Confirmed,
    /// What orders it: writes that share a key are delivered in the order accepted.
    pub order_keys: Vec<i64>,
    /// What keeps it out while it is open.
    pub blocked_by: Vec<Block>,
}

/// Why a question to the vendor brought nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotTold {
    /// How the call ended.
    pub class: Class,
    /// Whether the vendor has no such thing (any more).
    pub is_gone: bool,
    /// Why, in words.
    pub error: String,
    /// How long the vendor asked to be left alone, in milliseconds.
    pub retry_after_ms: Option<u64>,
}

/// What the vendor told when it was asked.
pub type Told<T> = Result<T, NotTold>;

/// One vendor.
#[async_trait]
pub trait Connector: Send + Sync + 'static {
    /// Which.
    fn vendor(&self) -> Vendor;

    /// Where it is, unless an integration says otherwise.
    fn base_url(&self, system: System) -> &'static str;

    /// Our words for its words, as in force.
    fn vocabulary(&self) -> &Vocabulary;

    /// The writes that it takes, with what each is in this vendor's words.
    fn mappings(&self) -> &Mappings;

    /// Makes `call` once and says how it ended.
    async fn call(&self, target: &Target, call: &Call) -> Answer;

    /// Asks once when tours of a community are possible.
    async fn availability_fetch(
        &self,
        target: &Target,
        x_community_id: &str,
        kind: appointment::AppointmentType,
    ) -> Told<Vec<Timestamp>>;

    /// Asks once for the titles of a community's lead sources.
    async fn attributions_fetch(&self, target: &Target, x_community_id: &str) -> Told<Vec<String>>;

    /// Asks once how a prospect stands, and gives the members of our record as the vendor has them. `held` is the record's body as we have it: what says
    /// the same as the vendor, only finer, stays.
    async fn prospect_fetch(
        &self,
        target: &Target,
        x_community_id: &str,
        x_id: &str,
        held: &Value,
    ) -> Told<Map<String, Value>>;
}

/// Every vendor there is.
#[derive(Clone)]
pub struct Registry {
    connectors: BTreeMap<Vendor, Arc<dyn Connector>>,
    reach: Reach,
}

impl Registry {
    /// Every vendor, with an operator's changes to the vocabularies, by vendor. They are called only within `reach`, or where they are known to be themselves.
    ///
    /// # Errors
    /// In words that do not repeat the overrides, when these name an unknown vendor or field, or the HTTP client cannot be made.
    pub fn new(overrides: BTreeMap<String, Overrides>, reach: &[String]) -> Result<Self, String> {
        Self::over(Way::Network, overrides, reach)
    }

    /// The same, called over another way than the network.
    ///
    /// # Errors
    /// As [`Registry::new`].
    pub fn over(
        way: Way,
        mut overrides: BTreeMap<String, Overrides>,
        reach: &[String],
    ) -> Result<Self, String> {
        let reach = Reach::new(reach)?.and(Reach::new(knock::BASE_URLS)?);
        let client = vendor_client::VendorClient::new(reach.clone())?.over(way);
        let knock = knock::Knock::new(client, overrides.remove("knock"))?;
        if !overrides.is_empty() {
            return Err(
                "the vocabulary file names an unknown vendor; the vendors are knock".to_owned(),
            );
        }
        let all: [Arc<dyn Connector>; 1] = [Arc::new(knock)];
        Ok(Self {
            connectors: all.into_iter().map(|one| (one.vendor(), one)).collect(),
            reach,
        })
    }

    /// Where vendors may be.
    pub const fn reach(&self) -> &Reach {
        &self.reach
    }

    /// The connector of `vendor`.
    pub fn get(&self, vendor: Vendor) -> Option<&Arc<dyn Connector>> {
        self.connectors.get(&vendor)
    }
}

//! The vendors Portico writes to: one folder a vendor, one trait, one registry.
//!
//! Guarantee: a connector makes one call and says how it ended. It never sleeps, repeats, or logs a body; what to do next is `delivery`'s.

pub mod knock;
pub mod vendor_client;

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use model::{
    Issue, Secret,
    directory::{Integration, Vendor},
    resources::prospect::Checked,
    vocabulary::{Overrides, Vocabulary},
    write::{Call, Class, Confirmed, Reply},
};

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
}

/// One vendor.
#[async_trait]
pub trait Connector: Send + Sync + 'static {
    /// Which.
    fn vendor(&self) -> Vendor;

    /// Our words for its words, as in force.
    fn vocabulary(&self) -> &Vocabulary;

    /// What creating `prospect` is in this vendor's words. Pure.
    ///
    /// # Errors
    /// When the vendor has no word for something in it.
    fn prospect_create(&self, prospect: &Checked) -> Result<Prepared, Vec<Issue>>;

    /// Makes `call` once and says how it ended.
    async fn call(&self, target: &Target, call: &Call) -> Answer;
}

/// Every vendor there is.
#[derive(Clone)]
pub struct Registry {
    connectors: BTreeMap<Vendor, Arc<dyn Connector>>,
}

impl Registry {
    /// Every vendor, with an operator's changes to the vocabularies: a TOML text with a table a vendor, `[knock.pets]`.
    ///
    /// # Errors
    /// In words, when the text is not TOML, names an unknown vendor or field, or the HTTP client cannot be made.
    pub fn new(overrides: Option<&str>) -> Result<Self, String> {
        let mut overrides: BTreeMap<String, Overrides> = match overrides {
            None => BTreeMap::new(),
            Some(text) => toml::from_str(text)
                .map_err(|why| format!("the vocabulary file is not readable: {why}"))?,
        };
        let client = vendor_client::VendorClient::new()?;
        let knock = knock::Knock::new(client, overrides.remove("knock"))?;
        if let Some(unknown) = overrides.keys().next() {
            return Err(format!(
                "the vocabulary file names a vendor `{unknown}`; the vendors are knock"
            ));
        }
        let all: [Arc<dyn Connector>; 1] = [Arc::new(knock)];
        Ok(Self {
            connectors: all.into_iter().map(|one| (one.vendor(), one)).collect(),
        })
    }

    /// The connector of `vendor`.
    pub fn get(&self, vendor: Vendor) -> Option<&Arc<dyn Connector>> {
        self.connectors.get(&vendor)
    }
}

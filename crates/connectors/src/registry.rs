//! Every vendor of a build, ready to be called.

use std::{collections::BTreeMap, sync::Arc};

use model::{Vendor, vocabulary::Overrides};

use crate::{
    connector::{Connector, Definition},
    dial::Way,
    reach::Reach,
    vendor_client::VendorClient,
};

/// The vendors of Portico: a line each.
pub const VENDORS: &[&Definition] = &[&crate::knock::DEFINITION];

/// The vendors of the public contract, section 8.1. Lists can be narrowed to each, whether this build
/// has it or not: the page of one that no integration has is empty.
const PUBLISHED: [Vendor; 4] = [
    Vendor::named("KNOCK"),
    Vendor::named("FUNNEL"),
    Vendor::named("RENTCAFE"),
    Vendor::named("ELISEAI"),
];

/// Every vendor there is.
#[derive(Clone)]
pub struct Registry {
    connectors: Arc<BTreeMap<Vendor, Connector>>,
    reach: Reach,
}

impl Registry {
    /// These vendors, with an operator's changes to the vocabularies, by vendor. They are called only
    /// within `reach`, or where they are known to be themselves.
    ///
    /// # Errors
    /// In words that do not repeat the overrides, when these name an unknown vendor or field, or the
    /// HTTP client cannot be made.
    pub fn new(
        vendors: &[&'static Definition],
        overrides: BTreeMap<String, Overrides>,
        reach: &[String],
    ) -> Result<Self, String> {
        Self::over(Way::Network, vendors, overrides, reach)
    }

    /// The same, called over another way than the network.
    ///
    /// # Errors
    /// As [`Registry::new`].
    pub fn over(
        way: Way,
        vendors: &[&'static Definition],
        mut overrides: BTreeMap<String, Overrides>,
        reach: &[String],
    ) -> Result<Self, String> {
        let known = vendors.iter().flat_map(|one| one.base_urls);
        let reach = Reach::new(reach)?.and(Reach::new(known)?);
        let client = VendorClient::new(reach.clone())?.over(way);
        let mut connectors = BTreeMap::new();
        for definition in vendors {
            let vendor = definition.terms.vendor;
            let vocabulary = (definition.vocabulary)();
            let vocabulary = match overrides.remove(&vendor.slug()) {
                Some(overrides) => vocabulary.with(overrides)?,
                None => vocabulary,
            };
            let connector = Connector::new(definition, vocabulary, client.clone());
            connectors.insert(vendor, connector);
        }
        let registry = Self {
            connectors: Arc::new(connectors),
            reach,
        };
        match overrides.is_empty() {
            true => Ok(registry),
            false => Err(format!(
                "the vocabulary file names an unknown vendor; the vendors are {}",
                registry.listed(|vendor| vendor.slug())
            )),
        }
    }

    /// Where vendors may be.
    pub const fn reach(&self) -> &Reach {
        &self.reach
    }

    /// The connector of `vendor`.
    pub fn get(&self, vendor: Vendor) -> Option<&Connector> {
        self.connectors.get(&vendor)
    }

    /// Every connector, by the names of the vendors.
    pub fn connectors(&self) -> impl Iterator<Item = &Connector> {
        self.connectors.values()
    }

    /// The vendor of this name.
    ///
    /// # Errors
    /// In words, with the names that there are.
    pub fn find(&self, name: &str) -> Result<Vendor, String> {
        let vendor = name.parse().ok();
        vendor
            .filter(|vendor| self.connectors.contains_key(vendor))
            .ok_or_else(|| {
                format!(
                    "a vendor is one of {}",
                    self.listed(|vendor| vendor.to_string())
                )
            })
    }

    /// The vendors that lists can be narrowed to: those of the contract and of this build.
    pub fn filters(&self) -> Vec<Vendor> {
        let mut all = PUBLISHED.to_vec();
        all.extend(
            self.connectors
                .keys()
                .filter(|own| !PUBLISHED.contains(own)),
        );
        all
    }

    /// The vendor of this name, if lists can be narrowed to it. An integration may have one of
    /// `others`.
    ///
    /// # Errors
    /// In words, with the names that there are.
    pub fn find_filter(
        &self,
        name: &str,
        others: impl Iterator<Item = Vendor>,
    ) -> Result<Vendor, String> {
        let mut all = self.filters();
        all.extend(others);
        let found = name.parse().ok().filter(|vendor| all.contains(vendor));
        found.ok_or_else(|| {
            let names: Vec<String> = self.filters().iter().map(Vendor::to_string).collect();
            format!("a vendor is one of {}", names.join(", "))
        })
    }

    fn listed(&self, name: impl Fn(Vendor) -> String) -> String {
        let names: Vec<String> = self.connectors.keys().copied().map(name).collect();
        names.join(", ")
    }
}

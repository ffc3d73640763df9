//! Knock (knockrentals.com), the leasing CRM.
//!
//! [`mapping`] says what our fields are in Knock's words, [`vocabulary`] what our enum members are, [`classification`] what its answers mean, and
//! [`sandbox`] imitates it. Guarantee: a field that the caller left out is left out; no value is invented.

pub mod classification;
pub mod mapping;
pub mod sandbox;
pub mod vocabulary;

use async_trait::async_trait;
use model::{
    Issue,
    directory::Vendor,
    resources::prospect::Checked,
    vocabulary::{Overrides, Vocabulary},
    write::Call,
};

use crate::{Answer, Connector, Prepared, Target, vendor_client::VendorClient};

/// The connector.
pub struct Knock {
    client: VendorClient,
    vocabulary: Vocabulary,
}

impl Knock {
    /// The connector, with an operator's changes to its vocabulary.
    ///
    /// # Errors
    /// In words, when the changes do not fit.
    pub fn new(client: VendorClient, overrides: Option<Overrides>) -> Result<Self, String> {
        let vocabulary = match overrides {
            None => vocabulary::table(),
            Some(overrides) => vocabulary::table().with(overrides)?,
        };
        Ok(Self { client, vocabulary })
    }
}

#[async_trait]
impl Connector for Knock {
    fn vendor(&self) -> Vendor {
        Vendor::Knock
    }

    fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    fn prospect_create(&self, prospect: &Checked) -> Result<Prepared, Vec<Issue>> {
        mapping::prospect::create(prospect, &self.vocabulary)
    }

    async fn call(&self, target: &Target, call: &Call) -> Answer {
        classification::classify(self.client.call(target, call).await)
    }
}

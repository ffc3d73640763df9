//! Knock (knockrentals.com), the leasing CRM.
//!
//! [`mapping`] says what our fields are in Knock's words, [`reading`] what its are in ours, [`vocabulary`] what our enum members are, [`classification`]
//! what its answers mean, and [`sandbox`] imitates it. Guarantee: a field that the caller left out is left out; no value is invented.

pub mod classification;
pub mod mapping;
pub mod reading;
pub mod sandbox;
pub mod vocabulary;

use async_trait::async_trait;
use model::{
    Timestamp,
    directory::Vendor,
    key::System,
    resources::appointment::AppointmentType,
    vocabulary::{Overrides, Vocabulary},
    write::Call,
};
use serde_json::{Map, Value};

use crate::{Answer, Connector, Mappings, Target, Told, vendor_client::VendorClient};

/// Where Knock is: for production, and for play.
pub const BASE_URLS: [&str; 2] = [
    "https://syndication.knockrentals.com",
    "https://stage-syndication.knockrentals.com",
];

/// The connector.
pub struct Knock {
    client: VendorClient,
    vocabulary: Vocabulary,
    mappings: Mappings,
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
        Ok(Self {
            client,
            vocabulary,
            mappings: mapping::all(),
        })
    }
}

#[async_trait]
impl Connector for Knock {
    fn vendor(&self) -> Vendor {
        Vendor::Knock
    }

    fn base_url(&self, system: System) -> &'static str {
        match system {
            System::Production => BASE_URLS[0],
            System::Sandbox => BASE_URLS[1],
        }
    }

    fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    fn mappings(&self) -> &Mappings {
        &self.mappings
    }

    async fn call(&self, target: &Target, call: &Call) -> Answer {
        classification::classify(call, self.client.call(target, call).await)
    }

    async fn availability_fetch(
        &self,
        target: &Target,
        x_community_id: &str,
        kind: AppointmentType,
    ) -> Told<Vec<Timestamp>> {
        let call = reading::availability(x_community_id, kind);
        let body = classification::told(self.client.call(target, &call).await)?;
        reading::availability_read(&body).ok_or_else(classification::not_understood)
    }

    async fn attributions_fetch(&self, target: &Target, x_community_id: &str) -> Told<Vec<String>> {
        let call = reading::attributions(x_community_id);
        let body = classification::told(self.client.call(target, &call).await)?;
        reading::attributions_read(&body).ok_or_else(classification::not_understood)
    }

    async fn prospect_fetch(
        &self,
        target: &Target,
        x_community_id: &str,
        x_id: &str,
        held: &Value,
    ) -> Told<Map<String, Value>> {
        let call = reading::prospect(x_community_id, x_id);
        let body = classification::told(self.client.call(target, &call).await)?;
        reading::prospect_read(&body, x_id, held, &self.vocabulary)
            .ok_or_else(classification::not_understood)
    }
}

//! What a subscription is made of and what can be changed about it.
//!
//! Source: the public contract, section 6.

use serde::Deserialize;
use utoipa::ToSchema;

use crate::{
    record::Kind,
    webhook::{ObjectStyle, Trigger},
    words,
};

words! {
    /// A kind of record, by its name in the contract.
    #[schema(as = WebhookModel)]
    Model {
        /// Prospects.
        Prospects = "crm_prospects",
        /// Communities.
        Communities = "crm_communities",
        /// Attributions.
        Attributions = "crm_attributions",
        /// Agents.
        Agents = "crm_agents",
        /// Events between prospects and communities.
        Events = "crm_events",
        /// Appointments.
        Appointments = "crm_appointments",
        /// Listings.
        Listings = "crm_listings",
    }
}

impl Model {
    /// The kind of record.
    pub const fn kind(self) -> Kind {
        match self {
            Self::Prospects => Kind::Prospect,
            Self::Communities => Kind::Community,
            Self::Attributions => Kind::Attribution,
            Self::Agents => Kind::Agent,
            Self::Events => Kind::Event,
            Self::Appointments => Kind::Appointment,
            Self::Listings => Kind::Listing,
        }
    }
}

/// A header of every delivery.
#[derive(Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = WebhookHeader)]
pub struct Header {
    /// Its name. Not one of the connection's own, such as `host`, `content-type` or `connection`, and not a signature's.
    #[serde(default)]
    #[schema(
        required,
        min_length = 1,
        max_length = 100,
        pattern = "^[A-Za-z0-9-]+$",
        example = "authorization"
    )]
    pub header: String,
    /// Its value. It is sealed when it is stored, since it may be a credential.
    #[serde(default)]
    #[schema(
        required,
        min_length = 1,
        max_length = 1000,
        pattern = "^[!-~]([ -~]*[!-~])?$",
        example = "Bearer of-the-receivers-own"
    )]
    pub value: String,
}

/// A subscription to be made.
#[derive(Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "url": "https://hooks.example.com/portico",
    "triggers": ["WRITE_OPERATION_SUCCESS", "WRITE_OPERATION_FAILURE"],
    "active": true
}))]
pub struct WebhookCreate {
    /// Where events are sent: a public address that begins with https://, unless the operator allows others.
    #[serde(default)]
    #[schema(required, min_length = 1, max_length = 2000)]
    pub url: String,
    /// What it is told of.
    #[serde(default)]
    #[schema(required, min_items = 1, max_items = 20)]
    pub triggers: Vec<Trigger>,
    /// Further headers of every delivery.
    #[schema(max_items = 16)]
    pub headers: Option<Vec<Header>>,
    /// Whether events are sent; `false` when absent. A test event is sent all the same.
    pub active: Option<bool>,
    /// What deliveries are signed with: `whsec_` and the base64 of 16 bytes or more, or any other text; one is made when absent.
    #[schema(min_length = 10, max_length = 200, pattern = r"^[^\x00-\x1f\x7f]+$")]
    pub secret: Option<String>,
    /// How deliveries write the model of a record: `crm_prospects`, the `underscore` that is meant
    /// when absent, or `crm-prospects`.
    pub object_style: Option<ObjectStyle>,
    /// The model whose records `DATA_NEW` and `DATA_UPDATE` are told of; all when absent.
    pub model: Option<Model>,
}

/// What to change about a subscription. What is absent stays as it is.
#[derive(Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "active": true }))]
pub struct WebhookUpdate {
    /// Where events are sent.
    #[schema(min_length = 1, max_length = 2000)]
    pub url: Option<String>,
    /// What it is told of, in place of all before. Without `model` beside it, of all models.
    #[schema(min_items = 1, max_items = 20)]
    pub triggers: Option<Vec<Trigger>>,
    /// Further headers of every delivery, in place of those before.
    #[schema(max_items = 16)]
    pub headers: Option<Vec<Header>>,
    /// Whether events are sent. One that was switched off because its receiver failed, or the API
    /// key that made it is no longer in force, gets what happened since as soon as it is switched
    /// on.
    pub active: Option<bool>,
    /// `true` makes the key that asks the one in `created_by`: the webhook ends with that key, no
    /// longer with the one before. Another `url` does the same, and so does to switch on a webhook
    /// whose key was revoked or has expired.
    pub adopt: Option<bool>,
    /// How deliveries write the model of a record.
    pub object_style: Option<ObjectStyle>,
    /// What deliveries are signed with. For a day they are signed with the one before as well.
    #[schema(min_length = 10, max_length = 200, pattern = r"^[^\x00-\x1f\x7f]+$")]
    pub secret: Option<String>,
    /// The model whose records `DATA_NEW` and `DATA_UPDATE` are told of. Without `triggers` beside it, those that there are are limited to it.
    pub model: Option<Model>,
}

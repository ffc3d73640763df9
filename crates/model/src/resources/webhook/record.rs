//! How a subscription is shown.

use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    key::System,
    webhook::{ObjectStyle, Webhook},
};

/// A subscription to events.
#[derive(Clone, Serialize, ToSchema)]
#[schema(as = Webhook)]
pub struct WebhookRecord {
    /// Its id.
    #[schema(example = "whk_01kaz6v2zrf0pt4jbqm3y8s5nd")]
    pub id: String,
    /// When it was made.
    #[schema(format = DateTime)]
    pub created_at: String,
    /// When it was last changed.
    #[schema(format = DateTime)]
    pub updated_at: String,
    /// The API key that made it, or that has adopted it since; `null` for the operator's, and where
    /// that is not known. When the key is revoked or expires, the webhook is switched off.
    pub created_by: Option<String>,
    /// Where events are sent.
    pub url: String,
    /// Further headers of every delivery.
    pub headers: Vec<HeaderRecord>,
    /// Whether events are sent.
    pub active: bool,
    /// What deliveries are signed with; `null` for a key without `webhooks:admin`.
    pub secret: Option<String>,
    /// Until when they are signed with a secret before as well; `null` when they are not.
    #[schema(format = DateTime)]
    pub previous_secret_expires_at: Option<String>,
    /// How deliveries write the model of a record.
    pub object_style: ObjectStyle,
    /// Production or sandbox, as of the key that made it.
    pub system: System,
    /// What it is told of.
    pub triggers: Vec<TriggerRecord>,
    /// The integrations whose events it gets: those of the key that made it; `null` for all.
    pub integration_ids: Option<Vec<String>>,
    /// Since when every attempt failed; `null` when the last one did not.
    #[schema(format = DateTime)]
    pub failing_since: Option<String>,
    /// When it was switched off because its receiver failed, or the key in `created_by` was revoked
    /// or has expired. What happens since is kept for it.
    #[schema(format = DateTime)]
    pub disabled_at: Option<String>,
    /// Why.
    pub disabled_reason: Option<String>,
}

/// A header of every delivery.
#[derive(Clone, Serialize, ToSchema)]
#[schema(as = WebhookHeaderRecord)]
pub struct HeaderRecord {
    /// Its name.
    pub header: String,
    /// Its value; `null` for a key without `webhooks:admin`.
    pub value: Option<String>,
}

/// One thing that a subscription is told of.
#[derive(Clone, Serialize, ToSchema)]
#[schema(as = WebhookTriggerRecord)]
pub struct TriggerRecord {
    /// Its id.
    pub id: String,
    /// What happens.
    #[schema(example = "DATA_NEW")]
    pub trigger: String,
    /// Of which model's records; `null` for all.
    #[schema(example = "crm_prospects")]
    pub model: Option<String>,
}

impl WebhookRecord {
    /// How `webhook` is shown; `with_secrets` to who may change it.
    pub fn of(webhook: &Webhook, with_secrets: bool) -> Self {
        let disabled = webhook.disabled.as_ref();
        Self {
            id: webhook.id.to_string(),
            created_at: webhook.created_at.to_string(),
            updated_at: webhook.updated_at.to_string(),
            created_by: webhook.created_by.map(|id| id.to_string()),
            url: webhook.url.clone(),
            headers: webhook
                .headers
                .iter()
                .map(|(header, value)| HeaderRecord {
                    header: header.clone(),
                    value: with_secrets.then(|| value.expose().to_owned()),
                })
                .collect(),
            active: webhook.active,
            secret: with_secrets.then(|| webhook.secret.expose().to_owned()),
            previous_secret_expires_at: webhook
                .previous
                .iter()
                .map(|previous| previous.until)
                .max()
                .map(|until| until.to_string()),
            object_style: webhook.object_style,
            system: webhook.system,
            triggers: webhook
                .triggers
                .iter()
                .map(|one| TriggerRecord {
                    id: one.id.to_string(),
                    trigger: one.trigger.word().to_owned(),
                    model: one.kind.map(|kind| kind.model().to_owned()),
                })
                .collect(),
            integration_ids: webhook
                .integrations
                .as_ref()
                .map(|ids| ids.iter().map(ToString::to_string).collect()),
            failing_since: webhook.failing_since.map(|at| at.to_string()),
            disabled_at: disabled.map(|disabled| disabled.at.to_string()),
            disabled_reason: disabled.map(|disabled| disabled.reason.clone()),
        }
    }
}

//! What a subscription must keep that its schema cannot say.
//!
//! Guarantee: nobody subscribes to events of an integration that their key may not see.

use serde_json::Value;

use crate::{
    clock::{Entropy, Timestamp},
    header,
    id::{TriggerId, WebhookId},
    issue::{Issue, Step},
    key::System,
    record::Kind,
    resources::key::OVERLAP_DEFAULT_S,
    resources::webhook::{Header, Model, WebhookCreate, WebhookUpdate},
    scope::Scope,
    secret::Secret,
    webhook::{Change, ObjectStyle, Subscribed, Trigger, Webhook},
};

/// Where events may be sent: the address as it is stored, or why it is not allowed.
type Allowed = Result<String, String>;

/// Whether a secret can be signed with, or why not.
type Fits<'a> = &'a dyn Fn(&str) -> Result<(), String>;

fn checked_secret(
    given: Option<String>,
    broken: &dyn Fn(&str) -> bool,
    fits: Fits<'_>,
    issues: &mut Vec<Issue>,
) -> Option<Secret> {
    let given = given.filter(|_| !broken("secret"))?;
    if let Err(why) = fits(&given) {
        issues.push(Issue::invalid_string("secret", "base64", why));
    }
    Some(Secret::new(given))
}

/// A subscription that may be made.
pub struct Checked {
    url: String,
    headers: Vec<(String, Secret)>,
    triggers: Vec<(Trigger, Option<Kind>)>,
    active: bool,
    object_style: Option<ObjectStyle>,
    secret: Option<Secret>,
}

impl Checked {
    /// The subscription under `id`, for what `scope` sees. `secret_new` makes a secret where none was given.
    pub fn webhook(
        self,
        id: WebhookId,
        (scope, system): (&Scope, System),
        secret_new: impl FnOnce() -> Secret,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> Webhook {
        Webhook {
            id,
            url: self.url,
            headers: self.headers,
            triggers: subscribed(&self.triggers, now, entropy),
            active: self.active,
            object_style: self.object_style.unwrap_or_default(),
            system,
            integrations: scope.integrations().map(<[_]>::to_vec),
            secret: self.secret.unwrap_or_else(secret_new),
            previous: Vec::new(),
            failing_since: None,
            disabled: None,
            created_by: scope.key(),
            created_at: now,
            updated_at: now,
        }
    }
}

fn subscribed(
    triggers: &[(Trigger, Option<Kind>)],
    now: Timestamp,
    entropy: &dyn Entropy,
) -> Vec<Subscribed> {
    triggers
        .iter()
        .map(|&(trigger, kind)| Subscribed {
            id: TriggerId::new(now, entropy),
            trigger,
            kind,
        })
        .collect()
}

/// Each trigger once, limited to `model` where it is by model.
fn paired(triggers: &[Trigger], model: Option<Model>) -> Vec<(Trigger, Option<Kind>)> {
    let mut paired: Vec<(Trigger, Option<Kind>)> = Vec::new();
    for trigger in triggers {
        let kind = model.map(Model::kind).filter(|_| trigger.is_by_model());
        if !paired.contains(&(*trigger, kind)) {
            paired.push((*trigger, kind));
        }
    }
    paired
}

fn checked_model(triggers: &[Trigger], model: Option<Model>, issues: &mut Vec<Issue>) {
    let is_of_use = triggers.iter().any(|one| one.is_by_model());
    if model.is_some() && !is_of_use && !triggers.is_empty() {
        issues.push(Issue::custom(
            "model",
            "A model goes with DATA_NEW or DATA_UPDATE, and none of the triggers is one of these",
        ));
    }
}

fn checked_headers(
    given: Option<Vec<Header>>,
    broken: &dyn Fn(&str) -> bool,
    issues: &mut Vec<Issue>,
) -> Option<Vec<(String, Secret)>> {
    let given = given.filter(|_| !broken("headers"))?;
    for (place, one) in given.iter().enumerate() {
        let is_twice = given[..place]
            .iter()
            .any(|before| before.header.eq_ignore_ascii_case(&one.header));
        let why = if header::is_barred_from_webhooks(&one.header) {
            "This header is the client's own, or carries the signature"
        } else if is_twice {
            "This header stands here twice"
        } else {
            continue;
        };
        let path = vec![
            Step::from("headers"),
            Step::Index(place),
            Step::from("header"),
        ];
        issues.push(Issue::new("custom", path, why, Value::Null));
    }
    let pairs = given.into_iter();
    Some(
        pairs
            .map(|one| (one.header, Secret::new(one.value)))
            .collect(),
    )
}

fn checked_url(allowed: Allowed, issues: &mut Vec<Issue>) -> Option<String> {
    allowed
        .map_err(|why| issues.push(Issue::custom("url", why)))
        .ok()
}

/// Checks a subscription to be made. `allowed` is what the guard says of its address, if that is not `broken`; `fits` says whether a secret can be signed with.
///
/// # Errors
/// Every broken rule.
pub fn check_create(
    input: WebhookCreate,
    broken: &dyn Fn(&str) -> bool,
    allowed: Option<Allowed>,
    fits: Fits<'_>,
) -> Result<Checked, Vec<Issue>> {
    let mut issues = Vec::new();
    let url = allowed.and_then(|allowed| checked_url(allowed, &mut issues));
    checked_model(&input.triggers, input.model, &mut issues);
    let headers = checked_headers(input.headers, broken, &mut issues);
    let secret = checked_secret(input.secret, broken, fits, &mut issues);
    if !issues.is_empty() {
        return Err(issues);
    }
    Ok(Checked {
        url: url.unwrap_or_default(),
        headers: headers.unwrap_or_default(),
        triggers: paired(&input.triggers, input.model),
        active: input.active.unwrap_or(false),
        object_style: input.object_style,
        secret,
    })
}

/// Checks what is to change about `webhook`; otherwise as [`check_create`].
///
/// # Errors
/// Every broken rule.
pub fn check_update(
    input: WebhookUpdate,
    webhook: &Webhook,
    broken: &dyn Fn(&str) -> bool,
    (allowed, fits): (Option<Allowed>, Fits<'_>),
    now: Timestamp,
    entropy: &dyn Entropy,
) -> Result<Change, Vec<Issue>> {
    let mut issues = Vec::new();
    let url = allowed.and_then(|allowed| checked_url(allowed, &mut issues));
    let standing: Vec<Trigger> = webhook.triggers.iter().map(|one| one.trigger).collect();
    let triggers = input.triggers.as_ref().unwrap_or(&standing);
    checked_model(triggers, input.model, &mut issues);
    let changes_triggers = input.triggers.is_some() || input.model.is_some();
    let triggers =
        changes_triggers.then(|| subscribed(&paired(triggers, input.model), now, entropy));
    let headers = checked_headers(input.headers, broken, &mut issues);
    let secret = checked_secret(input.secret, broken, fits, &mut issues);
    if !issues.is_empty() {
        return Err(issues);
    }
    let until = now.plus_millis(i64::from(OVERLAP_DEFAULT_S) * 1_000);
    Ok(Change {
        url,
        headers,
        triggers,
        active: input.active,
        object_style: input.object_style,
        secret: secret.map(|secret| (secret, until)),
        adopts: input.adopt == Some(true),
    })
}

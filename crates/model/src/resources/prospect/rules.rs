//! What a prospect's fields must keep besides their types.
//!
//! Guarantee: every broken rule is reported, each with its path; a [`Checked`] prospect keeps them
//! all and all it refers to exists, is active, and belongs together. What a vendor requires besides
//! is the connector's to check.

use std::sync::Arc;

use jiff::civil::Date;
use serde_json::Value;

use super::{NewProspect, ProspectChange};
use crate::{
    consent::Consent,
    contact::{Email, Phone},
    directory::{Agent, Attribution, Community, Integration},
    issue::Issue,
    record::Record,
    resources::checks::{Checks, Context},
};

/// A prospect that keeps every rule, with what it refers to.
pub struct Checked {
    /// What was asked for, defaults filled in.
    pub new: NewProspect,
    /// The integration it goes to.
    pub integration: Arc<Integration>,
    /// The community it concerns.
    pub community: Arc<Community>,
    /// Where the person came from, if that was given.
    pub attribution: Option<Arc<Attribution>>,
    /// The agent asked for.
    pub agent: Option<Arc<Agent>>,
    /// The email address.
    pub email: Option<Email>,
    /// The phone number.
    pub phone: Option<Phone>,
    /// The move-in date.
    pub move_in_date: Option<Date>,
    /// What was said about automated messages, where the vendor sends such.
    pub consent: Option<Consent>,
}

/// Checks `new` against the rules and, in the directory, what it refers to. `subscribe_default` is
/// what `subscribe` is at a vendor that sends automated messages, where the body does not say.
///
/// # Errors
/// Every problem found. When the schema found one too, the caller adds these to it.
pub fn check(
    mut new: NewProspect,
    subscribe_default: Option<bool>,
    context: Context<'_>,
) -> Result<Checked, Vec<Issue>> {
    let consent = subscribe_default.map(|default| Consent::of(new.subscribe, default));
    new.subscribe = consent.map(|consent| consent.value);
    let mut checks = Checks::new(context);
    let integration = checks.integration(&new.integration_id);
    let community = checks.community(&new.community_id, integration.as_ref());
    let attribution = checks.attribution(
        new.attribution_id.as_deref(),
        integration.as_ref(),
        community.as_ref(),
    );
    let agent = checks.agent(
        new.agent_id.as_deref(),
        integration.as_ref(),
        community.as_ref(),
    );
    checks.some_contact(new.email_1.as_deref(), new.phone_1.as_deref());
    let email = checks.email(new.email_1.as_deref());
    let phone = checks.phone(
        new.phone_1.as_deref(),
        new.phone_1_extension.as_deref(),
        community.as_ref(),
    );
    new.phone_1_extension = extension_of(phone.as_ref());
    let move_in_date = checks.date("move_in_date", new.move_in_date.as_deref());
    checks.rents(new.rent_minimum_in_cents, new.rent_maximum_in_cents);
    let must_be_stated = integration
        .as_ref()
        .is_some_and(|one| one.settings.require_explicit_consent);
    let is_missing = consent.is_some_and(|consent| !consent.is_stated);
    if must_be_stated && is_missing && !checks.is_broken("subscribe") {
        checks.refuse(
            "subscribe",
            "This integration requires that subscribe is stated: give true when the person agreed to automated messages, false when not",
        );
    }
    match (integration, community, checks.issues.is_empty()) {
        (Some(integration), Some(community), true) => Ok(Checked {
            new,
            integration,
            community,
            attribution,
            agent,
            email,
            phone,
            move_in_date,
            consent,
        }),
        _ => Err(checks.issues),
    }
}

/// The extension that the echo of a body and the record show.
pub fn extension_of(phone: Option<&Phone>) -> Option<String> {
    phone.and_then(Phone::extension).map(str::to_owned)
}

/// A prospect that the vendor has confirmed, as far as writes about it need it.
#[derive(Clone)]
pub struct Known {
    /// Its id.
    pub id: String,
    /// The vendor's id of it.
    pub x_id: String,
    /// Its integration.
    pub integration_id: String,
    /// Its community.
    pub community_id: String,
    /// The vendor's id of its attribution.
    pub x_attribution_id: Option<String>,
    /// The email address.
    pub email: Option<Email>,
    /// The phone number.
    pub phone: Option<Phone>,
}

/// Whether the vendor would find the card of a prospect whose record has this body: whether it was not seen to be gone, or merged into another, and
/// the person was not forgotten.
pub fn is_there(body: &Value) -> bool {
    body["vanished_at"].is_null() && body["is_deleted"] != true && body["erased_at"].is_null()
}

impl Known {
    /// Reads it off a stored record; `None` when that lacks what a write needs.
    pub fn of(record: &Record) -> Option<Self> {
        let text = |member: &str| record.body[member].as_str();
        Some(Self {
            id: record.id.clone(),
            x_id: record.x_id.clone()?,
            integration_id: record.integration_id.clone(),
            community_id: text("community_id")?.to_owned(),
            x_attribution_id: text("x_attribution_id").map(str::to_owned),
            // The vendor may show contacts that are none. Those that an earlier version has taken
            // are what the vendor knows the card by.
            email: text("email_1").and_then(Email::stored),
            phone: text("phone_1").and_then(Phone::stored),
        })
    }
}

/// The contacts that a change gives, beside those that are known.
pub struct Contacts {
    /// The email address that the vendor is to be told.
    pub email: Option<Email>,
    /// Whether that is another than before.
    pub email_changes: bool,
    /// The phone number that the vendor is to be told.
    pub phone: Option<Phone>,
    /// Whether that is another than before.
    pub phone_changes: bool,
}

impl Contacts {
    /// Another spelling of the same contact is no change: the vendor is told the one that it has.
    fn of(known: &Known, email: Option<Email>, phone: Option<&Phone>) -> Self {
        let differs = |given: Option<String>, held: Option<String>| {
            given.is_some_and(|given| Some(given) != held)
        };
        let matching = |email: Option<&Email>| email.map(Email::matching);
        let text = |phone: Option<&Phone>| phone.map(|phone| phone.as_str().to_owned());
        let email_changes = differs(matching(email.as_ref()), matching(known.email.as_ref()));
        let phone_changes = differs(text(phone), text(known.phone.as_ref()));
        Self {
            email: email
                .filter(|_| email_changes)
                .or_else(|| known.email.clone()),
            phone: phone
                .filter(|_| phone_changes)
                .or(known.phone.as_ref())
                .cloned(),
            email_changes,
            phone_changes,
        }
    }

    /// Whether one of them changes.
    pub const fn change(&self) -> bool {
        self.email_changes || self.phone_changes
    }

    /// Whether one stays that the vendor knows already.
    pub const fn stay(&self) -> bool {
        (self.email.is_some() && !self.email_changes)
            || (self.phone.is_some() && !self.phone_changes)
    }
}

/// A change of a prospect that keeps every rule, with what it refers to.
pub struct CheckedChange {
    /// What was asked for.
    pub change: ProspectChange,
    /// The prospect as it stands.
    pub known: Known,
    /// The integration it goes to.
    pub integration: Arc<Integration>,
    /// The community it concerns.
    pub community: Arc<Community>,
    /// The agent asked for.
    pub agent: Option<Arc<Agent>>,
    /// The contacts that the vendor is told.
    pub contacts: Contacts,
    /// The extension that is given, of a number that may be the same as before.
    pub phone_extension: Option<String>,
    /// The move-in date.
    pub move_in_date: Option<Date>,
}

/// Checks a change of `known`. `vendors_rules` finds what the vendor refuses of its contacts.
///
/// # Errors
/// Every problem found. When the schema found one too, the caller adds these to it.
pub fn check_change(
    mut change: ProspectChange,
    known: Known,
    vendors_rules: impl FnOnce(&Known, &Contacts) -> Vec<Issue>,
    context: Context<'_>,
) -> Result<CheckedChange, Vec<Issue>> {
    let mut checks = Checks::new(context);
    let integration = checks.integration(&known.integration_id);
    let community = checks.community(&known.community_id, integration.as_ref());
    let agent = checks.agent(
        change.agent_id.as_deref(),
        integration.as_ref(),
        community.as_ref(),
    );
    let email = checks.email(change.email_1.as_deref());
    let phone = checks.phone(
        change.phone_1.as_deref(),
        change.phone_1_extension.as_deref(),
        community.as_ref(),
    );
    let move_in_date = checks.date("move_in_date", change.move_in_date.as_deref());
    checks.rents(change.rent_minimum_in_cents, change.rent_maximum_in_cents);
    if says_nothing(&change, &checks) {
        checks.issues.push(Issue::new(
            "custom",
            Vec::new(),
            "Give at least one field to change that is not null or blank",
            Value::Null,
        ));
    }
    let contacts = Contacts::of(&known, email, phone.as_ref());
    checks.issues.extend(vendors_rules(&known, &contacts));
    let phone_extension = extension_of(phone.as_ref());
    change.phone_1_extension.clone_from(&phone_extension);
    match (integration, community, checks.issues.is_empty()) {
        (Some(integration), Some(community), true) => Ok(CheckedChange {
            change,
            known,
            integration,
            community,
            agent,
            contacts,
            phone_extension,
            move_in_date,
        }),
        _ => Err(checks.issues),
    }
}

/// Whether a body has nothing to change in it, and had nothing that the schema refused.
fn says_nothing(change: &ProspectChange, checks: &Checks<'_>) -> bool {
    let body = serde_json::to_value(change).unwrap_or_default();
    let mut members = body.as_object().into_iter().flatten();
    members.all(|(name, value)| {
        let is_blank = match value {
            Value::Null => true,
            Value::String(text) => text.trim().is_empty(),
            _ => false,
        };
        is_blank && !checks.is_broken(name)
    })
}

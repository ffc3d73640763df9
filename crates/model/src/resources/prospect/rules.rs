//! What a prospect's fields must keep besides their types.
//!
//! Guarantee: every broken rule is reported, each with its path; a [`Checked`] prospect keeps them all and all it refers to
//! exists, is active, and belongs together. A [`CheckedUpdate`] leaves the vendor a contact to find the card by.

use std::sync::Arc;

use jiff::civil::Date;
use serde_json::Value;

use super::{ProspectCreate, ProspectUpdate};
use crate::{
    consent::Consent,
    contact::{Email, Phone},
    directory::{Agent, Attribution, Community, Directory, Integration, Vendor},
    issue::Issue,
    record::Record,
    resources::checks::Checks,
    scope::Scope,
};

/// A prospect that keeps every rule, with what it refers to.
pub struct Checked {
    /// The body, defaults filled in.
    pub input: ProspectCreate,
    /// The integration it goes to.
    pub integration: Arc<Integration>,
    /// The community it concerns.
    pub community: Arc<Community>,
    /// Where the person came from.
    pub attribution: Arc<Attribution>,
    /// The agent asked for.
    pub agent: Option<Arc<Agent>>,
    /// The email address.
    pub email: Option<Email>,
    /// The phone number.
    pub phone: Option<Phone>,
    /// The move-in date.
    pub move_in_date: Option<Date>,
    /// What was said about automated messages.
    pub consent: Consent,
}

/// Checks `input` against the rules and, in `directory`, what it refers to. `broken` names the top-level fields that
/// the schema has already refused: nothing is said of them twice.
///
/// # Errors
/// Every problem found. When the schema found one too, the caller adds these to it.
pub fn check(
    mut input: ProspectCreate,
    vendor: Vendor,
    directory: &Directory,
    scope: &Scope,
    broken: &dyn Fn(&str) -> bool,
) -> Result<Checked, Vec<Issue>> {
    let consent = Consent::of(input.subscribe, ProspectCreate::SUBSCRIBE_DEFAULT);
    input.fill_defaults();
    let mut checks = Checks::new(directory, scope, broken);
    let integration = checks.integration(&input.integration_id, vendor);
    let community = checks.community(&input.community_id, integration.as_ref());
    let attribution = checks.attribution(
        &input.attribution_id,
        integration.as_ref(),
        community.as_ref(),
    );
    let agent = input
        .agent_id
        .as_deref()
        .and_then(|id| checks.agent(id, integration.as_ref(), community.as_ref()));
    checks.some_contact(input.email_1.as_deref(), input.phone_1.as_deref());
    let email = checks.email(input.email_1.as_deref());
    let phone = checks.phone(
        input.phone_1.as_deref(),
        input.phone_1_extension.as_deref(),
        community.as_ref(),
    );
    input.phone_1_extension = extension_of(phone.as_ref());
    let move_in_date = checks.date("move_in_date", input.move_in_date.as_deref());
    checks.rents(input.rent_minimum_in_cents, input.rent_maximum_in_cents);
    let must_be_stated = integration
        .as_ref()
        .is_some_and(|one| one.settings.require_explicit_consent);
    if must_be_stated && !consent.is_stated && !broken("subscribe") {
        checks.refuse(
            "subscribe",
            "This integration requires that subscribe is stated: give true when the person agreed to automated messages, false when not",
        );
    }

    match (
        integration,
        community,
        attribution,
        checks.issues.is_empty(),
    ) {
        (Some(integration), Some(community), Some(attribution), true) => Ok(Checked {
            input,
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

/// A change of a prospect that keeps every rule, with what it refers to.
pub struct CheckedUpdate {
    /// The body.
    pub input: ProspectUpdate,
    /// The prospect as it stands.
    pub known: Known,
    /// The integration it goes to.
    pub integration: Arc<Integration>,
    /// The community it concerns.
    pub community: Arc<Community>,
    /// The agent asked for.
    pub agent: Option<Arc<Agent>>,
    /// The email address that the vendor is told.
    pub email: Option<Email>,
    /// Whether that is another than before.
    pub email_changes: bool,
    /// The phone number that the vendor is told.
    pub phone: Option<Phone>,
    /// Whether that is another than before.
    pub phone_changes: bool,
    /// The extension that is given, of a number that may be the same as before.
    pub phone_extension: Option<String>,
    /// The move-in date.
    pub move_in_date: Option<Date>,
}

impl CheckedUpdate {
    /// Whether a contact changes.
    pub const fn changes_contact(&self) -> bool {
        self.email_changes || self.phone_changes
    }
}

/// Checks a change of `known`. `broken` as with [`check`].
///
/// # Errors
/// Every problem found. When the schema found one too, the caller adds these to it.
pub fn check_update(
    mut input: ProspectUpdate,
    known: Known,
    vendor: Vendor,
    directory: &Directory,
    scope: &Scope,
    broken: &dyn Fn(&str) -> bool,
) -> Result<CheckedUpdate, Vec<Issue>> {
    let mut checks = Checks::new(directory, scope, broken);
    let integration = checks.integration(&known.integration_id, vendor);
    let community = checks.community(&known.community_id, integration.as_ref());
    let agent = input
        .agent_id
        .as_deref()
        .and_then(|id| checks.agent(id, integration.as_ref(), community.as_ref()));
    let given_email = checks.email(input.email_1.as_deref());
    let given_phone = checks.phone(
        input.phone_1.as_deref(),
        input.phone_1_extension.as_deref(),
        community.as_ref(),
    );
    let move_in_date = checks.date("move_in_date", input.move_in_date.as_deref());
    checks.rents(input.rent_minimum_in_cents, input.rent_maximum_in_cents);
    let says_something = serde_json::to_value(&input).is_ok_and(|body| {
        body.as_object().is_some_and(|body| {
            body.values().any(|value| match value {
                Value::Null => false,
                Value::String(text) => !text.trim().is_empty(),
                _ => true,
            })
        })
    });
    let is_whole = serde_json::to_value(&input)
        .ok()
        .and_then(|body| {
            body.as_object()
                .map(|body| !body.keys().any(|name| broken(name)))
        })
        .unwrap_or(false);
    if !says_something && is_whole {
        checks.issues.push(Issue::new(
            "custom",
            Vec::new(),
            "Give at least one field to change that is not null or blank",
            Value::Null,
        ));
    }

    let differs = |given: Option<String>, held: Option<String>| {
        given.is_some_and(|given| Some(given) != held)
    };
    let email_changes = differs(
        given_email.as_ref().map(Email::matching),
        known.email.as_ref().map(Email::matching),
    );
    let phone_changes = differs(
        given_phone.as_ref().map(|phone| phone.as_str().to_owned()),
        known.phone.as_ref().map(|phone| phone.as_str().to_owned()),
    );
    let stays =
        (known.email.is_some() && !email_changes) || (known.phone.is_some() && !phone_changes);
    if !stays && (email_changes || phone_changes) {
        let why = match (&known.email, &known.phone) {
            (Some(_), Some(_)) => {
                "The vendor finds a guest card by its email or phone: when both change at once it would make a second card. Change one, and the other once write-status says SUCCESS"
            }
            (None, None) => {
                "This prospect has no contact by which the vendor could find its guest card, so a change would make a second card. Change it at the vendor"
            }
            _ => {
                "This is the only contact by which the vendor finds this guest card: with another one it would make a second card. Add the other kind of contact first, then change this one"
            }
        };
        for (changes, field) in [(email_changes, "email_1"), (phone_changes, "phone_1")] {
            if changes {
                checks.refuse(field, why);
            }
        }
    } else if !stays {
        checks.issues.push(Issue::new(
            "custom",
            Vec::new(),
            "This prospect has no contact by which the vendor could find its guest card. Change it at the vendor",
            Value::Null,
        ));
    }

    let phone_extension = extension_of(given_phone.as_ref());
    input.phone_1_extension.clone_from(&phone_extension);
    match (integration, community, checks.issues.is_empty()) {
        (Some(integration), Some(community), true) => Ok(CheckedUpdate {
            // Another spelling of the same is no change: the vendor is told the one that it has.
            email: given_email
                .filter(|_| email_changes)
                .or_else(|| known.email.clone()),
            phone: given_phone
                .filter(|_| phone_changes)
                .or_else(|| known.phone.clone()),
            email_changes,
            phone_changes,
            phone_extension,
            input,
            known,
            integration,
            community,
            agent,
            move_in_date,
        }),
        _ => Err(checks.issues),
    }
}

//! What is registered with an integration: communities, attributions and agents.
//!
//! Guarantee: each is known by the vendor's id of it: registering it again changes it.

use std::collections::BTreeSet;

use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::{
    clock::{Entropy, Timestamp},
    contact::has_region,
    directory::{Directory, Integration},
    id::{AgentId, AttributionId, CommunityId},
    issue::{Issue, Step},
    record::Kind,
    resources::integration::one_line,
};

/// A community of an integration.
#[derive(Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "x_id": "b9XQN6eMvvrr07zg", "name": "Harbor Point", "timezone": "America/New_York" }))]
pub struct CommunityRegister {
    /// The vendor's id of it.
    #[serde(default)]
    #[schema(required, min_length = 1, max_length = 200, pattern = "^[!-~]+$")]
    pub x_id: String,
    /// Its name.
    #[serde(default)]
    #[schema(required, min_length = 1, max_length = 100)]
    pub name: String,
    /// Its IANA time zone.
    #[serde(default)]
    #[schema(
        required,
        min_length = 1,
        max_length = 100,
        example = "America/New_York"
    )]
    pub timezone: String,
    /// The ISO 3166 region of phone numbers written without a country code; `US` when absent.
    #[schema(pattern = "^[A-Z]{2}$")]
    pub phone_region: Option<String>,
    /// Whether it takes writes; when absent, as it was, or what the integration says of new ones.
    pub active: Option<bool>,
    /// The first address line.
    #[schema(max_length = 200)]
    pub address_1: Option<String>,
    /// The second address line.
    #[schema(max_length = 200)]
    pub address_2: Option<String>,
    /// The city.
    #[schema(max_length = 200)]
    pub city: Option<String>,
    /// The state.
    #[schema(max_length = 200)]
    pub state: Option<String>,
    /// The zip code.
    #[schema(max_length = 50)]
    pub zip: Option<String>,
    /// The country.
    #[schema(max_length = 200)]
    pub country: Option<String>,
}

/// An attribution (lead source) of an integration.
#[derive(Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "x_id": "Website", "community_ids": ["com_01kaz6v2zsgy8d2x6wq4t9r3hb"] }))]
pub struct AttributionRegister {
    /// The vendor's title of it, letter for letter.
    #[serde(default)]
    #[schema(required, min_length = 1, max_length = 200)]
    pub x_id: String,
    /// Its name; the title when absent.
    #[schema(min_length = 1, max_length = 100)]
    pub name: Option<String>,
    /// The communities it is valid for.
    #[serde(default)]
    #[schema(required, min_items = 1, max_items = 1_000)]
    pub community_ids: Vec<String>,
    /// Whether it may be used; when absent, as it was, or `true`.
    pub active: Option<bool>,
}

/// A leasing agent of an integration.
#[derive(Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "x_id": "ann@harbor.example", "name": "Ann", "community_ids": ["com_01kaz6v2zsgy8d2x6wq4t9r3hb"] }))]
pub struct AgentRegister {
    /// The vendor's user name of the agent.
    #[serde(default)]
    #[schema(required, min_length = 1, max_length = 200)]
    pub x_id: String,
    /// The agent's name.
    #[serde(default)]
    #[schema(required, min_length = 1, max_length = 100)]
    pub name: String,
    /// The agent's email address.
    #[schema(max_length = 254)]
    pub email: Option<String>,
    /// The communities the agent works for.
    #[serde(default)]
    #[schema(required, min_items = 1, max_items = 1_000)]
    pub community_ids: Vec<String>,
    /// Whether the agent may be named in a write; when absent, as it was, or `true`.
    pub is_active: Option<bool>,
}

/// What is to be registered.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    /// What it is.
    pub kind: Kind,
    /// Its id, should it be new.
    pub id: String,
    /// The vendor's id of it.
    pub x_id: String,
    /// The record, but for its id. Where it does not say whether it is active, one that is known stays as it is.
    pub body: Value,
    /// Whether it is active, should it be new and not say.
    pub is_active_when_new: bool,
}

fn text(field: &str, value: &str, issues: &mut Vec<Issue>) -> String {
    let value = value.trim();
    if value.is_empty() || value.chars().any(char::is_control) {
        issues.push(Issue::custom(
            field,
            format!("{field} is not one line of text"),
        ));
    }
    value.to_owned()
}

fn name(value: &str, issues: &mut Vec<Issue>) -> String {
    one_line(value).unwrap_or_else(|why| {
        issues.push(Issue::custom("name", why));
        String::new()
    })
}

fn done(
    kind: Kind,
    id: String,
    x_id: String,
    body: Value,
    is_active_when_new: bool,
    issues: Vec<Issue>,
) -> Result<Member, Vec<Issue>> {
    if issues.is_empty() {
        Ok(Member {
            kind,
            id,
            x_id,
            body,
            is_active_when_new,
        })
    } else {
        Err(issues)
    }
}

/// Checks a community to be registered with `integration`. What the schema has refused is not looked at.
///
/// # Errors
/// Every broken rule.
pub fn community_check(
    input: &CommunityRegister,
    integration: &Integration,
    broken: &dyn Fn(&str) -> bool,
    now: Timestamp,
    entropy: &dyn Entropy,
) -> Result<Member, Vec<Issue>> {
    let mut issues = Vec::new();
    let id = CommunityId::new(now, entropy).to_string();
    if !broken("timezone") && TimeZone::get(&input.timezone).is_err() {
        issues.push(Issue::custom(
            "timezone",
            "There is no such time zone. Give its IANA name, such as America/New_York",
        ));
    }
    if !broken("phone_region")
        && input
            .phone_region
            .as_ref()
            .is_some_and(|region| !has_region(region))
    {
        issues.push(Issue::custom(
            "phone_region",
            "There is no such region. Give an ISO 3166 code, such as US",
        ));
    }
    let name = if broken("name") {
        String::new()
    } else {
        name(&input.name, &mut issues)
    };
    let body = json!({
        "integration_id": integration.id, "x_id": input.x_id, "name": name, "timezone": input.timezone, "phone_region": input.phone_region,
        "active": input.active,
        "address_1": input.address_1, "address_2": input.address_2, "city": input.city,
        "state": input.state, "zip": input.zip, "country": input.country,
    });
    let is_active = integration.settings.new_properties_are_enabled;
    done(
        Kind::Community,
        id,
        input.x_id.clone(),
        body,
        is_active,
        issues,
    )
}

/// The communities that are named, which have to be of `integration`.
fn communities(
    named: &[String],
    integration: &Integration,
    directory: &Directory,
    broken: &dyn Fn(&str) -> bool,
    issues: &mut Vec<Issue>,
) -> Vec<CommunityId> {
    if broken("community_ids") {
        return Vec::new();
    }
    let (mut found, mut seen) = (Vec::new(), BTreeSet::new());
    for (place, text) in named.iter().enumerate() {
        let known = text
            .parse()
            .ok()
            .and_then(|id| directory.community_of(integration.id, id));
        match known {
            Some(one) if seen.insert(one.id) => found.push(one.id),
            Some(_) => {}
            None => issues.push(Issue::new(
                "custom",
                vec![Step::from("community_ids"), Step::Index(place)],
                "No community of this integration has this id",
                Value::Null,
            )),
        }
    }
    found
}

/// Checks an attribution to be registered with `integration`.
///
/// # Errors
/// Every broken rule.
pub fn attribution_check(
    input: &AttributionRegister,
    integration: &Integration,
    directory: &Directory,
    broken: &dyn Fn(&str) -> bool,
    now: Timestamp,
    entropy: &dyn Entropy,
) -> Result<Member, Vec<Issue>> {
    let mut issues = Vec::new();
    let id = AttributionId::new(now, entropy).to_string();
    let x_id = if broken("x_id") {
        String::new()
    } else {
        text("x_id", &input.x_id, &mut issues)
    };
    let name = match &input.name {
        Some(given) if !broken("name") => name(given, &mut issues),
        _ => x_id.clone(),
    };
    let community_ids = communities(
        &input.community_ids,
        integration,
        directory,
        broken,
        &mut issues,
    );
    let body = json!({
        "integration_id": integration.id, "x_id": x_id, "name": name, "community_ids": community_ids, "active": input.active,
    });
    done(Kind::Attribution, id, x_id, body, true, issues)
}

/// Checks an agent to be registered with `integration`.
///
/// # Errors
/// Every broken rule.
pub fn agent_check(
    input: &AgentRegister,
    integration: &Integration,
    directory: &Directory,
    broken: &dyn Fn(&str) -> bool,
    now: Timestamp,
    entropy: &dyn Entropy,
) -> Result<Member, Vec<Issue>> {
    let mut issues = Vec::new();
    let id = AgentId::new(now, entropy).to_string();
    let x_id = if broken("x_id") {
        String::new()
    } else {
        text("x_id", &input.x_id, &mut issues)
    };
    let name = if broken("name") {
        String::new()
    } else {
        name(&input.name, &mut issues)
    };
    let community_ids = communities(
        &input.community_ids,
        integration,
        directory,
        broken,
        &mut issues,
    );
    let body = json!({
        "integration_id": integration.id, "x_id": x_id, "name": name, "email": input.email, "community_ids": community_ids,
        "active": input.is_active,
    });
    done(Kind::Agent, id, x_id, body, true, issues)
}

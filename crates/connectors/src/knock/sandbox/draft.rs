//! A guest card as it was sent to `POST /prospect`, checked.
//!
//! Guarantee: a draft names a seeded community and a seeded agent, has an email or a phone, and every member
//! has its type and range. Only the source may be unknown, because a setting decides about that one.

use serde_json::{Map, Value};

use super::assumptions::{BEDROOMS, FIRST_CONTACT_TYPES, LEASE_TERM_MONTHS, MOST_AMOUNT, PETS};
use super::directory::{CommunityIndex, Directory};
use super::fields::{Fields, Refusal};

type Text = Box<str>;

pub(super) struct Draft {
    pub(super) community: CommunityIndex,
    pub(super) community_id: Text,
    pub(super) source_title: Text,
    /// Whether the community has that source.
    pub(super) source_is_known: bool,
    pub(super) email: Option<Text>,
    /// E.164.
    pub(super) phone: Option<Text>,
    pub(super) agent: Option<Text>,
    pub(super) first_name: Option<Text>,
    pub(super) last_name: Option<Text>,
    pub(super) move_date: Option<Text>,
    pub(super) lease_term_months: Option<u64>,
    pub(super) bedrooms: Option<Vec<Text>>,
    pub(super) occupants: Option<u64>,
    pub(super) min_budget: Option<u64>,
    pub(super) max_budget: Option<u64>,
    pub(super) message: Option<Text>,
    pub(super) once: FirstOnly,
}

/// What is kept when a card is created and left alone when it is matched.
pub(super) struct FirstOnly {
    pub(super) address: Option<Text>,
    pub(super) unit: Option<Text>,
    pub(super) city: Option<Text>,
    pub(super) state: Option<Text>,
    pub(super) zip: Option<Text>,
    pub(super) pets: Option<Vec<Text>>,
    pub(super) first_contact_type: Option<Text>,
    pub(super) autorespond: Option<bool>,
    pub(super) sms_consent: Option<bool>,
    pub(super) sms_consent_disclaimer: Option<Text>,
    pub(super) sms_consent_url: Option<Text>,
    pub(super) prospect_ip_address: Option<Text>,
}

impl Draft {
    pub(super) fn read(
        members: &mut Map<String, Value>,
        directory: &Directory,
    ) -> Result<Self, Refusal> {
        let mut fields = Fields(members);
        let community_id = required(&mut fields, "communityId")?;
        let Some(community) = directory.find(&community_id) else {
            return Err(Refusal(format!("communityId {community_id} is not known")));
        };
        let source_title = required(&mut fields, "sourceTitle")?;
        let agent = fields.inner_text("agent", "username")?;
        if let Some(username) = &agent
            && !directory.has_agent(community, username)
        {
            return Err(Refusal(format!(
                "agent.username {username} is not an agent of this community"
            )));
        }
        let email = fields.email("email")?;
        let phone = fields.phone("phone")?;
        if email.is_none() && phone.is_none() {
            return Err(Refusal("an email or a phone is required".to_owned()));
        }
        Ok(Self {
            community,
            community_id,
            source_is_known: directory.has_source(community, &source_title),
            source_title,
            email,
            phone,
            agent,
            first_name: fields.text("firstName")?,
            last_name: fields.text("lastName")?,
            move_date: fields.date("moveDate")?,
            lease_term_months: fields.number("leaseTermMonths", LEASE_TERM_MONTHS)?,
            bedrooms: fields.words("bedrooms", &BEDROOMS)?,
            occupants: fields.number("occupants", (0, MOST_AMOUNT))?,
            min_budget: fields.number("minBudget", (0, MOST_AMOUNT))?,
            max_budget: fields.number("maxBudget", (0, MOST_AMOUNT))?,
            message: fields.text("message")?,
            once: FirstOnly {
                address: fields.text("address")?,
                unit: fields.text("unit")?,
                city: fields.text("city")?,
                state: fields.state_code("state")?,
                zip: fields.text("zip")?,
                pets: fields.words("pets", &PETS)?,
                first_contact_type: fields.word("firstContactType", &FIRST_CONTACT_TYPES)?,
                autorespond: fields.flag("autorespond")?,
                sms_consent: fields.flag("smsConsent")?,
                sms_consent_disclaimer: fields.text("smsConsentDisclaimer")?,
                sms_consent_url: fields.text("smsConsentUrl")?,
                prospect_ip_address: fields.text("prospectIpAddress")?,
            },
        })
    }
}

fn required(fields: &mut Fields<'_>, name: &str) -> Result<Text, Refusal> {
    fields
        .text(name)?
        .ok_or_else(|| Refusal(format!("{name} is required")))
}

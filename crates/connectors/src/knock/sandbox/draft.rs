//! A guest card as it was sent, checked: by `POST /prospect`, or along with the request of a tour.
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
    pub(super) agent: Option<Text>,
    pub(super) person: Person,
    pub(super) message: Option<Text>,
    pub(super) once: FirstOnly,
}

/// Who is interested, and in what.
pub(super) struct Person {
    pub(super) email: Option<Text>,
    /// E.164.
    pub(super) phone: Option<Text>,
    pub(super) first_name: Option<Text>,
    pub(super) last_name: Option<Text>,
    pub(super) move_date: Option<Text>,
    pub(super) lease_term_months: Option<u64>,
    pub(super) bedrooms: Option<Vec<Text>>,
    pub(super) occupants: Option<u64>,
    pub(super) min_budget: Option<u64>,
    pub(super) max_budget: Option<u64>,
    /// Kept and left alone like [`FirstOnly`].
    pub(super) pets: Option<Vec<Text>>,
}

/// What is kept when a card is created and left alone when it is matched.
#[derive(Default)]
pub(super) struct FirstOnly {
    pub(super) address: Option<Text>,
    pub(super) unit: Option<Text>,
    pub(super) city: Option<Text>,
    pub(super) state: Option<Text>,
    pub(super) zip: Option<Text>,
    pub(super) first_contact_type: Option<Text>,
    pub(super) autorespond: Option<bool>,
    pub(super) sms_consent: Option<bool>,
    pub(super) sms_consent_disclaimer: Option<Text>,
    pub(super) sms_consent_url: Option<Text>,
    pub(super) prospect_ip_address: Option<Text>,
}

impl Draft {
    /// The body of `POST /prospect`.
    pub(super) fn read(
        members: &mut Map<String, Value>,
        directory: &Directory,
    ) -> Result<Self, Refusal> {
        let mut fields = Fields(members);
        let (community, community_id) = read_community(&mut fields, directory)?;
        let source_title = fields.required("sourceTitle")?;
        let agent = fields.inner_text("agent", "username")?;
        if let Some(username) = &agent {
            directory.check_agent(community, username)?;
        }
        Ok(Self {
            community,
            community_id,
            source_title,
            agent,
            person: Person::read(&mut fields)?.with_contact()?,
            message: fields.text("message")?,
            once: FirstOnly {
                address: fields.text("address")?,
                unit: fields.text("unit")?,
                city: fields.text("city")?,
                state: fields.state_code("state")?,
                zip: fields.text("zip")?,
                first_contact_type: read_first_contact_type(&mut fields)?,
                autorespond: fields.flag("autorespond")?,
                sms_consent: fields.flag("smsConsent")?,
                sms_consent_disclaimer: fields.text("smsConsentDisclaimer")?,
                sms_consent_url: fields.text("smsConsentUrl")?,
                prospect_ip_address: fields.text("prospectIpAddress")?,
            },
        })
    }

    /// The part of the body of `POST /appointment/request` that is about the guest card.
    pub(super) fn read_of_tour(
        fields: &mut Fields<'_>,
        directory: &Directory,
    ) -> Result<Self, Refusal> {
        let (community, community_id) = read_community(fields, directory)?;
        let source_title = fields.required("sourceTitle")?;
        let profile = fields.inner("profile", Person::read)?;
        Ok(Self {
            community,
            community_id,
            source_title,
            agent: None,
            person: profile.ok_or_else(no_contact)?.with_contact()?,
            message: fields.text("message")?,
            once: FirstOnly {
                first_contact_type: read_first_contact_type(fields)?,
                sms_consent: fields.flag("smsConsent")?,
                ..FirstOnly::default()
            },
        })
    }
}

impl Person {
    fn read(fields: &mut Fields<'_>) -> Result<Self, Refusal> {
        Ok(Self {
            email: fields.email("email")?,
            phone: fields.phone("phone")?,
            first_name: fields.text("firstName")?,
            last_name: fields.text("lastName")?,
            move_date: fields.date("moveDate")?,
            lease_term_months: fields.number("leaseTermMonths", LEASE_TERM_MONTHS)?,
            bedrooms: fields.words("bedrooms", &BEDROOMS)?,
            occupants: fields.number("occupants", (0, MOST_AMOUNT))?,
            min_budget: fields.number("minBudget", (0, MOST_AMOUNT))?,
            max_budget: fields.number("maxBudget", (0, MOST_AMOUNT))?,
            pets: fields.words("pets", &PETS)?,
        })
    }

    fn with_contact(self) -> Result<Self, Refusal> {
        if self.email.is_none() && self.phone.is_none() {
            return Err(no_contact());
        }
        Ok(self)
    }
}

fn no_contact() -> Refusal {
    Refusal("an email or a phone is required".to_owned())
}

fn read_community(
    fields: &mut Fields<'_>,
    directory: &Directory,
) -> Result<(CommunityIndex, Text), Refusal> {
    let id = fields.required("communityId")?;
    match directory.find(&id) {
        Some(community) => Ok((community, id)),
        None => Err(Refusal(format!("communityId {id} is not known"))),
    }
}

fn read_first_contact_type(fields: &mut Fields<'_>) -> Result<Option<Text>, Refusal> {
    fields.word("firstContactType", &FIRST_CONTACT_TYPES)
}

//! A prospect as it is read back.
//!
//! Guarantee: it exists once the vendor has confirmed it, never before. One shape for all vendors.
//! Source: the public contract, section 4.

use serde_json::Value;

use super::{Checked, CheckedChange};
use crate::text::trimmed;

resource! {
    /// A prospect that the vendor has confirmed.
    Prospect, like "pro_01kaz6v3a1b2c3d4e5f6g7h8j9" {
        /// The vendor's id of its community.
        x_community_id: Option<String>,
        /// The vendor's id of its agent.
        x_agent_id: Option<String>,
        /// The vendor's id of its attribution.
        x_attribution_id: Option<String>,
        /// When the vendor made it.
        x_created_at: Option<String>,
        /// When the vendor last changed it.
        x_updated_at: Option<String>,
        /// Its community.
        community_id: Option<String>,
        /// Its attribution.
        attribution_id: Option<String>,
        /// Its agent.
        agent_id: Option<String>,
        /// The primary email address.
        email_1: Option<String>,
        /// The primary phone number, in E.164.
        phone_1: Option<String>,
        /// The digits of its extension. Lists are filtered by the number alone.
        phone_1_extension: Option<String>,
        /// The secondary phone number.
        phone_2: Option<String>,
        /// The first name.
        first_name: Option<String>,
        /// The middle name.
        middle_name: Option<String>,
        /// The last name.
        last_name: Option<String>,
        /// The first address line.
        address_1: Option<String>,
        /// The second address line.
        address_2: Option<String>,
        /// The city.
        city: Option<String>,
        /// The state.
        state: Option<String>,
        /// The zip code.
        zip: Option<String>,
        /// The country.
        country: Option<String>,
        /// The move-in date, `YYYY-MM-DD`.
        move_in_date: Option<String>,
        /// How many people will live in the unit.
        number_of_occupants: Option<i64>,
        /// The lease term, in months.
        lease_term_in_months: Option<i64>,
        /// The least rent a month, in cents.
        rent_minimum_in_cents: Option<i64>,
        /// The most rent a month, in cents.
        rent_maximum_in_cents: Option<i64>,
        /// Notes.
        notes: Option<String>,
        /// The numbers of bedrooms wanted.
        desired_num_bedrooms: Option<Vec<i64>>,
        /// The pets.
        pets: Option<Vec<String>>,
        /// Whether automated messages may go to the prospect.
        subscribe: Option<bool>,
        /// How the prospect first got in touch.
        first_contact_type: Option<String>,
        /// How the prospect prefers to be reached.
        preferred_contact_method: Option<String>,
        /// The lead source in words, where the vendor takes it so.
        prospect_source: Option<String>,
        /// Where it stands at the vendor; `null` until the vendor has said.
        status: Option<String>,
        /// Whether the vendor has deleted or merged it; `null` until the vendor has said.
        is_deleted: Option<bool>,
        /// When the vendor was first found not to have it any more; `null` while it has it.
        #[schema(format = DateTime)]
        vanished_at: Option<String>,
        /// When the person was forgotten here; `null` while they are not. Then what is personal is `null` too.
        #[schema(format = DateTime)]
        erased_at: Option<String>,
        /// Whether the vendor says it is no prospect; `null` until the vendor has said.
        not_prospect: Option<bool>,
        /// Whether the person agreed to text messages; `null` until the vendor has said.
        sms_consent: Option<bool>,
        /// What the vendor keeps besides.
        #[schema(value_type = Option<Object>)]
        custom_data: Option<Value>,
    }
}

impl Prospect {
    /// The prospect that a vendor makes of `prospect`, should it be new to us.
    pub fn created(prospect: &Checked) -> Self {
        let new = &prospect.new;
        unstored!(Self {
            x_community_id: Some(prospect.community.x_id.clone()),
            x_agent_id: prospect.agent.as_ref().map(|agent| agent.x_id.clone()),
            x_attribution_id: prospect.attribution.as_ref().map(|one| one.x_id.clone()),
            community_id: Some(prospect.community.id.to_string()),
            attribution_id: prospect.attribution.as_ref().map(|one| one.id.to_string()),
            agent_id: prospect.agent.as_ref().map(|agent| agent.id.to_string()),
            email_1: prospect
                .email
                .as_ref()
                .map(|email| email.as_str().to_owned()),
            phone_1: prospect
                .phone
                .as_ref()
                .map(|phone| phone.as_str().to_owned()),
            phone_1_extension: new.phone_1_extension.clone(),
            phone_2: new.phone_2.clone(),
            first_name: trimmed(new.first_name.as_deref()),
            middle_name: trimmed(new.middle_name.as_deref()),
            last_name: trimmed(new.last_name.as_deref()),
            address_1: trimmed(new.address_1.as_deref()),
            address_2: trimmed(new.address_2.as_deref()),
            city: trimmed(new.city.as_deref()),
            state: trimmed(new.state.as_deref()),
            zip: trimmed(new.zip.as_deref()),
            country: trimmed(new.country.as_deref()),
            move_in_date: prospect.move_in_date.map(|date| date.to_string()),
            number_of_occupants: new.number_of_occupants,
            lease_term_in_months: new.lease_term_in_months,
            rent_minimum_in_cents: new.rent_minimum_in_cents,
            rent_maximum_in_cents: new.rent_maximum_in_cents,
            notes: trimmed(new.notes.as_deref()),
            desired_num_bedrooms: new.desired_num_bedrooms.clone(),
            pets: new.pets.clone(),
            subscribe: new.subscribe,
            first_contact_type: new.first_contact_type.clone(),
            preferred_contact_method: new.preferred_contact_method.clone(),
            prospect_source: trimmed(new.prospect_source.as_deref()),
            // Only the vendor knows these.
            x_created_at: None,
            x_updated_at: None,
            status: None,
            is_deleted: None,
            vanished_at: None,
            erased_at: None,
            not_prospect: None,
            sms_consent: None,
            custom_data: None,
        })
    }

    /// The prospect that a vendor makes of `change`, should it answer with one that is new to us.
    pub fn changed(change: &CheckedChange) -> Self {
        let (asked, contacts) = (&change.change, &change.contacts);
        unstored!(Self {
            x_community_id: Some(change.community.x_id.clone()),
            x_agent_id: change.agent.as_ref().map(|agent| agent.x_id.clone()),
            x_attribution_id: change.known.x_attribution_id.clone(),
            community_id: Some(change.community.id.to_string()),
            agent_id: change.agent.as_ref().map(|agent| agent.id.to_string()),
            email_1: contacts
                .email
                .as_ref()
                .map(|email| email.as_str().to_owned()),
            phone_1: contacts
                .phone
                .as_ref()
                .map(|phone| phone.as_str().to_owned()),
            phone_1_extension: change.phone_extension.clone(),
            phone_2: None,
            first_name: trimmed(asked.first_name.as_deref()),
            middle_name: None,
            last_name: trimmed(asked.last_name.as_deref()),
            move_in_date: change.move_in_date.map(|date| date.to_string()),
            number_of_occupants: asked.number_of_occupants,
            lease_term_in_months: asked.lease_term_in_months,
            rent_minimum_in_cents: asked.rent_minimum_in_cents,
            rent_maximum_in_cents: asked.rent_maximum_in_cents,
            desired_num_bedrooms: asked.desired_num_bedrooms.clone(),
            // A change says nothing of these.
            x_created_at: None,
            x_updated_at: None,
            attribution_id: None,
            address_1: None,
            address_2: None,
            city: None,
            state: None,
            zip: None,
            country: None,
            notes: None,
            pets: None,
            subscribe: None,
            first_contact_type: None,
            preferred_contact_method: None,
            prospect_source: None,
            status: None,
            is_deleted: None,
            vanished_at: None,
            erased_at: None,
            not_prospect: None,
            sms_consent: None,
            custom_data: None,
        })
    }
}

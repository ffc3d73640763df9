//! A prospect as it is read back.
//!
//! Guarantee: it exists once the vendor has confirmed it, never before. One shape for all vendors.
//! Source: the public contract, section 4.

use serde_json::Value;

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
        /// The first name.
        first_name: Option<String>,
        /// The last name.
        last_name: Option<String>,
        /// The first address line.
        address_1: Option<String>,
        /// The city.
        city: Option<String>,
        /// The state.
        state: Option<String>,
        /// The zip code.
        zip: Option<String>,
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

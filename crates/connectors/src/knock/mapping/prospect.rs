//! A prospect as Knock's guest card.
//!
//! Guarantee: a field left out, or blank, is left out; rounding never narrows a budget.

use model::{
    Issue,
    contact::Phone,
    resources::prospect::{Checked, Prospect},
    vocabulary::Vocabulary,
    write::{Call, Confirmed},
};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::Prepared;

/// Knock's words for 0, 1, 2, and 3 or more bedrooms.
const BEDROOMS: [&str; 4] = ["STUDIO", "1_BEDROOM", "2_BEDROOMS", "3_OR_MORE_BEDROOMS"];

/// What a repeated POST changes on a card that Knock already holds; so that is what changes on our record. The rest stays as it was first sent.
const CHANGED_BY_A_REPEAT: [&str; 12] = [
    "agent_id",
    "x_agent_id",
    "first_name",
    "last_name",
    "phone_1",
    "email_1",
    "move_in_date",
    "lease_term_in_months",
    "number_of_occupants",
    "rent_minimum_in_cents",
    "rent_maximum_in_cents",
    "desired_num_bedrooms",
];

/// `POST /prospect` for `prospect`.
///
/// # Errors
/// When the vocabulary has no word for a value.
pub fn create(prospect: &Checked, vocabulary: &Vocabulary) -> Result<Prepared, Vec<Issue>> {
    let input = &prospect.input;
    let mut issues = Vec::new();
    let mut word = |field: &str, ours: &str| {
        let literal = vocabulary.literal(field, ours).map(str::to_owned);
        if literal.is_none() {
            issues.push(Issue::custom(
                field,
                format!("Knock has no word for {}", model::issue::cut(ours)),
            ));
        }
        literal
    };
    let pets = input
        .pets
        .as_ref()
        .map(|pets| without_repeats(pets.iter().filter_map(|pet| word("pets", pet))));
    let first_contact_type = input
        .first_contact_type
        .as_ref()
        .and_then(|kind| word("first_contact_type", kind));
    if !issues.is_empty() {
        return Err(issues);
    }
    let bedrooms = input.desired_num_bedrooms.as_ref().map(|numbers| {
        without_repeats(
            numbers
                .iter()
                .filter_map(|number| BEDROOMS.get(usize::try_from(*number).ok()?))
                .map(|&word| word.to_owned()),
        )
    });

    let mut body = Map::new();
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            body.insert(name.to_owned(), value);
        }
    };
    put("communityId", Some(json!(prospect.community.x_id)));
    put("sourceTitle", Some(json!(prospect.attribution.x_id)));
    put(
        "agent",
        prospect
            .agent
            .as_ref()
            .map(|agent| json!({ "username": agent.x_id })),
    );
    put("firstName", text(input.first_name.as_deref()));
    put("lastName", text(input.last_name.as_deref()));
    put(
        "email",
        prospect.email.as_ref().map(|email| json!(email.as_str())),
    );
    put(
        "phone",
        prospect
            .phone
            .as_ref()
            .map(|phone| json!(phone.national_us().unwrap_or(phone.as_str()))),
    );
    put("address", text(input.address_1.as_deref()));
    put("city", text(input.city.as_deref()));
    put("state", text(input.state.as_deref()));
    put("zip", text(input.zip.as_deref()));
    put(
        "moveDate",
        prospect.move_in_date.map(|date| json!(date.to_string())),
    );
    put("bedrooms", bedrooms.map(Value::from));
    put("occupants", input.number_of_occupants.map(Value::from));
    put(
        "leaseTermMonths",
        input.lease_term_in_months.map(Value::from),
    );
    put(
        "minBudget",
        input.rent_minimum_in_cents.map(|cents| json!(cents / 100)),
    );
    put(
        "maxBudget",
        input
            .rent_maximum_in_cents
            .map(|cents| json!(cents / 100 + i64::from(cents % 100 > 0))),
    );
    put("message", text(input.notes.as_deref()));
    put("pets", pets.map(Value::from));
    put("firstContactType", first_contact_type.map(Value::from));
    put("autorespond", input.subscribe.map(Value::from));

    Ok(Prepared {
        call: Call {
            method: "POST".to_owned(),
            path: "/prospect".to_owned(),
            x_community_id: prospect.community.x_id.clone(),
            body: Value::Object(body),
        },
        confirmed: confirmed(prospect),
        order_keys: order_keys(prospect),
    })
}

/// A text as given, trimmed; nothing when blank.
fn text(given: Option<&str>) -> Option<Value> {
    given
        .map(str::trim)
        .filter(|text| !text.is_empty())
        .map(Value::from)
}

fn without_repeats(words: impl Iterator<Item = String>) -> Vec<String> {
    let mut seen = Vec::new();
    for word in words {
        if !seen.contains(&word) {
            seen.push(word);
        }
    }
    seen
}

fn confirmed(prospect: &Checked) -> Confirmed {
    let input = &prospect.input;
    let record = Prospect {
        x_community_id: Some(prospect.community.x_id.clone()),
        x_attribution_id: Some(prospect.attribution.x_id.clone()),
        x_agent_id: prospect.agent.as_ref().map(|agent| agent.x_id.clone()),
        community_id: Some(prospect.community.id.to_string()),
        attribution_id: Some(prospect.attribution.id.to_string()),
        agent_id: prospect.agent.as_ref().map(|agent| agent.id.to_string()),
        email_1: prospect
            .email
            .as_ref()
            .map(|email| email.as_str().to_owned()),
        phone_1: prospect
            .phone
            .as_ref()
            .map(|phone| phone.as_str().to_owned()),
        first_name: input.first_name.clone(),
        last_name: input.last_name.clone(),
        address_1: input.address_1.clone(),
        city: input.city.clone(),
        state: input.state.clone(),
        zip: input.zip.clone(),
        move_in_date: prospect.move_in_date.map(|date| date.to_string()),
        number_of_occupants: input.number_of_occupants,
        lease_term_in_months: input.lease_term_in_months,
        rent_minimum_in_cents: input.rent_minimum_in_cents,
        rent_maximum_in_cents: input.rent_maximum_in_cents,
        notes: input.notes.clone(),
        desired_num_bedrooms: input.desired_num_bedrooms.clone(),
        pets: input.pets.clone(),
        subscribe: input.subscribe,
        first_contact_type: input.first_contact_type.clone(),
        ..Prospect::default()
    };
    let stated: Map<String, Value> = match serde_json::to_value(record) {
        // What is absent needs no place in the store: it reads back as null.
        Ok(Value::Object(all)) => all
            .into_iter()
            .filter(|(_, value)| !value.is_null() && value.as_str() != Some(""))
            .collect(),
        _ => Map::new(),
    };
    let update = stated
        .iter()
        .filter(|(name, _)| CHANGED_BY_A_REPEAT.contains(&name.as_str()))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    Confirmed {
        update: Value::Object(update),
        create: Value::Object(stated),
    }
}

/// Knock matches by email or phone within a community, so writes that share either must not race.
fn order_keys(prospect: &Checked) -> Vec<i64> {
    let key = |kind: &str, contact: &str| {
        let mut hash = Sha256::new();
        for part in [
            &*prospect.integration.id.to_string(),
            &*prospect.community.id.to_string(),
            kind,
            contact,
        ] {
            hash.update(part.as_bytes());
            hash.update([0]);
        }
        let digest: [u8; 32] = hash.finalize().into();
        let (head, _) = digest.split_at(8);
        head.iter()
            .fold(0_i64, |number, byte| (number << 8) | i64::from(*byte))
    };
    let email = prospect
        .email
        .as_ref()
        .map(|email| key("email", &email.matching()));
    let phone = prospect
        .phone
        .as_ref()
        .map(Phone::as_str)
        .map(|phone| key("phone", phone));
    email.into_iter().chain(phone).collect()
}

#[cfg(test)]
mod tests {
    use model::{
        AgentId, AttributionId, CommunityId, Directory, Entropy, IntegrationId, Scope, Secret,
        Timestamp,
        directory::{Agent, Attribution, Community, Contents, Integration, Settings, Vendor},
        key::{Key, Permission, System, hex, token_hash, token_new},
        resources::prospect::{ProspectCreate, rules},
    };
    use proptest::prelude::*;

    use super::*;
    use crate::knock::vocabulary;

    struct Fixed(u8);
    impl Entropy for Fixed {
        fn bytes(&self) -> [u8; 16] {
            [self.0; 16]
        }
    }

    /// A directory with one of everything, and a scope that sees it.
    fn world() -> (Directory, Scope, Value) {
        let now = Timestamp::ZERO;
        let integration_id = IntegrationId::new(now, &Fixed(1));
        let community_id = CommunityId::new(now, &Fixed(2));
        let token = token_new(System::Sandbox, &Fixed(3));
        let settings = Settings {
            base_url: "http://127.0.0.1:1".to_owned(),
            key_header_name: "x-api-key".to_owned(),
            extra_headers: Vec::new(),
            max_job_concurrency: 1,
            max_requests_per_minute: None,
        };
        let attribution = Attribution {
            id: AttributionId::new(now, &Fixed(4)),
            integration_id,
            x_id: "Zillow.com".to_owned(),
            name: "Zillow".to_owned(),
            community_ids: vec![community_id],
            active: true,
        };
        let agent = Agent {
            id: AgentId::new(now, &Fixed(5)),
            integration_id,
            x_id: "sam.okafor".to_owned(),
            name: "Sam".to_owned(),
            community_ids: vec![community_id],
            active: true,
        };
        let ids = json!({ "integration_id": integration_id, "community_id": community_id, "attribution_id": attribution.id, "agent_id": agent.id });
        let key = Key {
            id: model::KeyId::new(now, &Fixed(6)),
            name: "test".to_owned(),
            system: System::Sandbox,
            permissions: Permission::ALL.to_vec(),
            integrations: None,
            token_hash: hex(&token_hash(token.expose()).unwrap()),
            token_end: String::new(),
            created_at: now,
            revoked_at: None,
        };
        let contents = Contents {
            keys: vec![key],
            integrations: vec![Integration {
                id: integration_id,
                name: "one".to_owned(),
                vendor: Vendor::Knock,
                system: System::Sandbox,
                active: true,
                settings,
                credential: Secret::new("key"),
            }],
            communities: vec![Community {
                id: community_id,
                integration_id,
                x_id: "b9XQN6eMvvrr07zg".to_owned(),
                name: "Harbor Point".to_owned(),
                timezone: "America/New_York".to_owned(),
                phone_region: None,
                active: true,
            }],
            attributions: vec![attribution],
            agents: vec![agent],
        };
        let directory = Directory::new(contents, now);
        let scope = directory.authenticate(token.expose()).unwrap();
        (directory, scope, ids)
    }

    fn prepare(mut body: Value, with_agent: bool) -> Prepared {
        let (directory, scope, ids) = world();
        for (name, id) in ids.as_object().unwrap() {
            if with_agent || name != "agent_id" {
                body[name] = id.clone();
            }
        }
        let input: ProspectCreate = serde_json::from_value(body).unwrap();
        let checked = rules::check(input, Vendor::Knock, &directory, &scope, &|_| false)
            .unwrap_or_else(|issues| panic!("{issues:?}"));
        create(&checked, &vocabulary::table()).unwrap_or_else(|issues| panic!("{issues:?}"))
    }

    #[test]
    fn every_field_in_knocks_words() {
        let body = json!({
            "email_1": " Ada@Example.com ", "phone_1": "+1 (206) 555-0155", "first_name": " Ada ", "last_name": "Byron", "address_1": "12 St James Square",
            "city": "Seattle", "state": "WA", "zip": "98101", "move_in_date": "2027-03-10T23:59:59.000-08:00", "number_of_occupants": 2.0,
            "lease_term_in_months": 12, "rent_minimum_in_cents": 180_099, "rent_maximum_in_cents": 240_001, "notes": "Hello", "desired_num_bedrooms": [3, 0, 1, 2, 3],
            "pets": ["CAT", "SMALL_DOG", "CAT"], "subscribe": false, "first_contact_type": "CHAT",
        });
        let prepared = prepare(body, true);
        insta::assert_json_snapshot!("every_field", prepared.call.body);
        insta::assert_json_snapshot!("every_field_of_the_record", prepared.confirmed.create);
        assert_eq!(prepared.order_keys.len(), 2);
    }

    #[test]
    fn what_is_left_out_or_blank_is_left_out() {
        let body = json!({ "phone_1": "+44 20 7946 0958", "first_name": "  ", "notes": "", "agent_id": null, "subscribe": null });
        insta::assert_json_snapshot!("the_least", prepare(body, false).call.body);
    }

    #[test]
    fn spellings_of_one_contact_share_an_order_key() {
        let keys = |body: Value| prepare(body, false).order_keys;
        assert_eq!(
            keys(json!({ "email_1": "ada@example.com" })),
            keys(json!({ "email_1": "ADA@example.com " }))
        );
        assert_eq!(
            keys(json!({ "phone_1": "2065550155" })),
            keys(json!({ "phone_1": "+1 206.555.0155" }))
        );
        assert_ne!(
            keys(json!({ "phone_1": "2065550155" })),
            keys(json!({ "phone_1": "2065550156" }))
        );
    }

    proptest! {
        #[test]
        fn rounding_never_narrows_a_budget(least in 1..=2_147_483_647_i64, most in 1..=2_147_483_647_i64) {
            let (least, most) = (least.min(most), least.max(most));
            let body = prepare(json!({ "email_1": "a@example.com", "rent_minimum_in_cents": least, "rent_maximum_in_cents": most }), false).call.body;
            let dollars = |name: &str| body[name].as_i64().unwrap();
            prop_assert!(dollars("minBudget") * 100 <= least && least < dollars("minBudget") * 100 + 100);
            prop_assert!(dollars("maxBudget") * 100 >= most && most > dollars("maxBudget") * 100 - 100);
        }
    }
}

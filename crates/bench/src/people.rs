//! The people that a store is filled with: bodies as a confirmed prospect has them, of every
//! community of a server.
//!
//! Guarantee: a number always makes the same person; no two have an email address or a vendor's id
//! in common.

use anyhow::bail;
use serde_json::{Value, json};

use crate::account::{Account, Registered};

const FIRST_NAMES: [&str; 8] = ["Ada", "Ben", "Clara", "Dan", "Eva", "Finn", "Grace", "Hugo"];
const LAST_NAMES: [&str; 8] = [
    "Adams", "Byron", "Carter", "Diaz", "Evans", "Fisher", "Green", "Hall",
];
const FIRST_CONTACTS: [&str; 4] = ["INTERNET", "EMAIL", "CALL", "CHAT"];
const PETS: [&str; 3] = ["SMALL_DOG", "LARGE_DOG", "CAT"];

/// Where the vendor's ids begin: all have as many digits.
const X_ID_FIRST: u64 = 100_000_000;

/// Area codes from 201 on; behind each, ten thousand numbers of the exchange that is kept for
/// fiction.
const AREA_FIRST: u64 = 201;
const AREAS: u64 = 700;
const LINES: u64 = 10_000;

/// A number that says nothing about `number`, and is always the same: SplitMix64.
pub(crate) const fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// One of `all`, by `chance`.
fn pick<T>(all: &[T], chance: u64) -> Option<&T> {
    let place = chance.checked_rem(all.len() as u64)?;
    all.get(usize::try_from(place).unwrap_or(0))
}

/// An id of ours and the vendor's.
struct Both {
    id: String,
    x_id: String,
}

/// A community and who and what there is at it.
struct Place {
    community: Both,
    attributions: Vec<Both>,
    agents: Vec<Both>,
}

/// Everyone there could be at a server.
pub(crate) struct People {
    places: Vec<Place>,
}

impl People {
    /// The people of an account.
    ///
    /// # Errors
    /// When it has no community.
    pub(crate) fn of(account: &Account) -> anyhow::Result<Self> {
        let mut places = Vec::new();
        for community in &account.communities {
            let at = |all: &[Registered]| {
                let of_it = |one: &&Registered| one.community_ids.contains(&community.id);
                all.iter().filter(of_it).map(both).collect()
            };
            places.push(Place {
                community: both(community),
                attributions: at(&account.attributions),
                agents: at(&account.agents),
            });
        }
        if places.is_empty() {
            bail!("The sandbox has no community");
        }
        Ok(Self { places })
    }

    fn place(&self, number: u64) -> Option<&Place> {
        pick(&self.places, mix(number))
    }

    /// The id of the community that person `number` looks at.
    pub(crate) fn community(&self, number: u64) -> &str {
        self.place(number)
            .map(|place| place.community.id.as_str())
            .unwrap_or_default()
    }

    /// The record of person `number` as a confirmed write makes it.
    pub(crate) fn body(&self, number: u64) -> Value {
        let chance = mix(!number);
        let mut body = json!({
            "email_1": email(number),
            "phone_1": phone(number),
            "first_name": pick(&FIRST_NAMES, chance),
            "last_name": pick(&LAST_NAMES, chance >> 3),
            "move_in_date": format!("2027-{:02}-{:02}", 1 + (chance >> 6) % 12, 1 + (chance >> 10) % 28),
            "number_of_occupants": 1 + (chance >> 16) % 4,
            "lease_term_in_months": 6 + (chance >> 18) % 13,
            "rent_minimum_in_cents": 100_000 + (chance >> 22) % 100_000,
            "rent_maximum_in_cents": 200_000 + (chance >> 22) % 100_000,
            "desired_num_bedrooms": [(chance >> 40) % 3, (chance >> 40) % 3 + 1],
            "first_contact_type": pick(&FIRST_CONTACTS, chance >> 42),
            "notes": "Is there a place to park a bicycle?",
            "subscribe": chance >> 63 == 0,
        });
        if (chance >> 44).is_multiple_of(3) {
            body["pets"] = json!([pick(&PETS, chance >> 46)]);
        }
        if let Some(place) = self.place(number) {
            let attribution = pick(&place.attributions, chance >> 48);
            // Half of them have an agent.
            let agent =
                pick(&place.agents, chance >> 52).filter(|_| (chance >> 56).is_multiple_of(2));
            let ids = [
                ("community_id", "x_community_id", Some(&place.community)),
                ("attribution_id", "x_attribution_id", attribution),
                ("agent_id", "x_agent_id", agent),
            ];
            for (ours, theirs, one) in ids {
                if let Some(one) = one {
                    body[ours] = Value::from(one.id.as_str());
                    body[theirs] = Value::from(one.x_id.as_str());
                }
            }
        }
        body
    }
}

/// The email address of person `number`.
pub(crate) fn email(number: u64) -> String {
    format!("bench{number}@example.com")
}

fn phone(number: u64) -> String {
    let area = AREA_FIRST + number / LINES % AREAS;
    format!("+1{area}555{:04}", number % LINES)
}

/// The vendor's id of person `number`.
pub(crate) fn x_id(number: u64) -> String {
    (X_ID_FIRST + number).to_string()
}

fn both(one: &Registered) -> Both {
    Both {
        id: one.id.clone(),
        x_id: one.x_id.clone(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use model::resources::prospect::Prospect;
    use serde_json::json;

    use super::*;

    fn registered(id: &str, x_id: &str, at: &[&str]) -> Registered {
        Registered {
            id: id.to_owned(),
            x_id: x_id.to_owned(),
            community_ids: at.iter().map(|&id| id.to_owned()).collect(),
        }
    }

    fn account() -> Account {
        Account {
            integration_id: "int_1".to_owned(),
            communities: vec![registered("com_1", "1", &[]), registered("com_2", "2", &[])],
            attributions: vec![
                registered("att_1", "A", &["com_1"]),
                registered("att_2", "B", &["com_2"]),
            ],
            agents: vec![registered("agt_1", "sam", &["com_1"])],
        }
    }

    #[test]
    fn a_person_fits_the_resource_and_its_community() {
        let people = People::of(&account()).expect("people");
        let mut seen = HashSet::new();
        for number in 0..200 {
            let body = people.body(number);
            assert_eq!(body["community_id"], people.community(number));
            let its = if body["x_community_id"] == "1" {
                "att_1"
            } else {
                "att_2"
            };
            assert_eq!(body["attribution_id"], its);
            assert_eq!(body, people.body(number));
            let told: Prospect = serde_json::from_value({
                let mut whole = body.clone();
                for (member, value) in [
                    ("id", "pro_1"),
                    ("integration_id", "int_1"),
                    ("integration_vendor", "VENDOR"),
                ] {
                    whole[member] = json!(value);
                }
                for member in ["created_at", "updated_at", "last_seen"] {
                    whole[member] = json!("2027-01-01T00:00:00.000000Z");
                }
                whole
            })
            .expect("a prospect");
            assert!(seen.insert(told.email_1.expect("an address")));
            assert!(seen.insert(x_id(number)));
        }
    }

    #[test]
    fn an_account_without_communities_is_refused() {
        let mut account = account();
        account.communities.clear();
        assert!(People::of(&account).is_err());
    }
}

//! What orders writes: keys that those share of which one must not overtake the other.
//!
//! Knock matches by email or phone within a community, so writes that share either must not race. A prospect that is known has a key of its own,
//! whatever its contacts become.

use model::{
    CommunityId, IntegrationId,
    contact::{Email, Phone},
    write::{Block, Operation},
};

use crate::mapping;

/// Writes by which a guest card may come to be, or come to have other contacts.
const MAKES_CARDS: &[Operation] = &[Operation::ProspectCreate, Operation::AppointmentCreate];

/// What may change the contacts of a card that is known.
const CHANGES_CARDS: &[Operation] = &[Operation::ProspectUpdate];

/// Writes by which another card may come to have a contact, or has it.
const TAKES_CONTACTS: &[Operation] = &[
    Operation::ProspectCreate,
    Operation::AppointmentCreate,
    Operation::ProspectUpdate,
];

/// The keys of Knock's writes.
#[derive(Clone, Copy)]
pub(super) struct Order(mapping::Order);

impl Order {
    pub(super) const fn within(integration: IntegrationId, community: CommunityId) -> Self {
        Self(mapping::Order::within(integration, community))
    }

    fn key(&self, kind: &str, what: &str) -> i64 {
        self.0.key(kind, what)
    }

    /// Of a person's contacts.
    pub(super) fn contacts(&self, email: Option<&Email>, phone: Option<&Phone>) -> Vec<i64> {
        let email = email.map(|email| self.key("email", &email.matching()));
        let phone = phone.map(|phone| self.key("phone", phone.as_str()));
        email.into_iter().chain(phone).collect()
    }

    /// Of a prospect that is known.
    pub(super) fn prospect(&self, x_id: &str) -> i64 {
        self.key("prospect", x_id)
    }

    /// Of a change of that prospect's contacts.
    pub(super) fn contact_change(&self, x_id: &str) -> i64 {
        self.key("contact change", x_id)
    }

    /// Of a listing.
    pub(super) fn listing(&self, url: &str) -> i64 {
        self.key("listing", url)
    }

    /// What keeps a change of a known prospect out. It names the card by the contacts that are known now, so none may be open by which they could
    /// become others; and what it is to have anew, no other may be about to have.
    pub(super) fn blocks(&self, known: &[i64], anew: &[i64], x_id: &str) -> Vec<Block> {
        let block = |operations| {
            move |key: &i64| Block {
                key: *key,
                operations,
            }
        };
        let known = known.iter().map(block(MAKES_CARDS));
        let anew = anew.iter().map(block(TAKES_CONTACTS));
        let change = Block {
            key: self.contact_change(x_id),
            operations: CHANGES_CARDS,
        };
        known.chain(anew).chain([change]).collect()
    }
}

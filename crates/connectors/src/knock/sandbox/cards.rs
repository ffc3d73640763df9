//! The guest cards, and the rules by which a repeat finds and changes the card it belongs to.
//!
//! Guarantee: at most one card is created per call; within one community a contact that a card holds always
//! leads to a card that holds it; a card that vanished is nowhere any more.

use std::collections::BTreeMap;
use std::ops::Bound;

use model::Timestamp;
use serde::{Deserialize, Serialize};

use super::assumptions::{ABSENT_FIRST_NAME, ABSENT_LAST_NAME, FLAG_AT_FIRST};
use super::card_edit::CardEdit;
use super::card_status::CardStatus;
use super::directory::{CommunityIndex, Directory};
use super::draft::Draft;
use super::ids::{Id, Ids};
use super::moment::Moment;

type Text = Box<str>;

/// A guest card. Also the shape of a line of the journal.
#[derive(Serialize, Deserialize)]
pub(super) struct Card {
    #[serde(flatten)]
    pub(super) shown: Shown,
    #[serde(flatten)]
    pub(super) hidden: Hidden,
}

/// What `GET /prospect/{id}` shows.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Shown {
    pub(super) prospect_id: Id,
    pub(super) community_id: Text,
    email: Option<Text>,
    phone: Option<Text>,
    agent: Agent,
    address: Option<Text>,
    unit: Option<Text>,
    city: Option<Text>,
    state: Option<Text>,
    zip: Option<Text>,
    source: Source,
    first_name: Text,
    last_name: Text,
    move_date: Option<Text>,
    bedrooms: Option<Vec<Text>>,
    pets: Option<Vec<Text>>,
    occupants: Option<u64>,
    lease_term_months: Option<u64>,
    min_budget: Option<u64>,
    max_budget: Option<u64>,
    sms_consent: Option<bool>,
    is_deleted: bool,
    not_prospect: bool,
    /// A journal of before there were statuses has none.
    #[serde(default)]
    status: CardStatus,
    created_at: Moment,
    updated_at: Moment,
}

impl Shown {
    /// The contacts on the card.
    pub(super) fn contacts(&self) -> impl Iterator<Item = &str> {
        self.email.iter().chain(&self.phone).map(|text| &**text)
    }
}

/// What Knock keeps and no call shows.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Hidden {
    autorespond: Option<bool>,
    first_contact_type: Option<Text>,
    sms_consent_disclaimer: Option<Text>,
    sms_consent_url: Option<Text>,
    prospect_ip_address: Option<Text>,
    messages: Vec<Text>,
    /// How many repeats were matched to the card.
    updates: u64,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Agent {
    pub(super) username: Text,
}

#[derive(Serialize, Deserialize)]
struct Source {
    title: Text,
}

/// A card as the control surface shows it.
#[derive(Serialize)]
pub(super) struct CardView<'a> {
    #[serde(flatten)]
    card: &'a Card,
    created_at: Moment,
}

impl<'a> CardView<'a> {
    pub(super) fn new(card: &'a Card) -> Self {
        Self {
            card,
            created_at: card.shown.created_at,
        }
    }
}

/// The cards that hold one contact. Nearly always one, so that one costs no allocation.
struct Holders {
    one: u64,
    others: Vec<u64>,
}

/// Contact to holders, for one kind of contact in one community. A tree, because a hash table of a million
/// contacts holds up every call while it grows.
#[derive(Default)]
struct Index(BTreeMap<Text, Holders>);

impl Index {
    /// The oldest holder.
    fn find(&self, contact: &str) -> Option<u64> {
        let holders = self.0.get(contact)?;
        let others = holders.others.iter().copied();
        Some(others.fold(holders.one, u64::min))
    }

    fn add(&mut self, contact: Text, id: u64) {
        match self.0.get_mut(&*contact) {
            Some(holders) => holders.others.push(id),
            None => {
                let others = Vec::new();
                self.0.insert(contact, Holders { one: id, others });
            }
        }
    }

    fn remove(&mut self, contact: &str, id: u64) {
        let Some(holders) = self.0.get_mut(contact) else {
            return;
        };
        if holders.one != id {
            holders.others.retain(|&other| other != id);
        } else if let Some(other) = holders.others.pop() {
            holders.one = other;
        } else {
            self.0.remove(contact);
        }
    }
}

#[derive(Default)]
struct ContactIndex {
    by_email: Index,
    by_phone: Index,
}

/// Every card of the sandbox.
pub(super) struct Cards {
    by_id: BTreeMap<u64, Card>,
    /// By place of the community.
    contacts: Vec<ContactIndex>,
    /// Counts the repeats of vanished cards too.
    updates: u64,
}

impl Cards {
    pub(super) fn new(directory: &Directory) -> Self {
        let communities = directory.communities().iter();
        Self {
            by_id: BTreeMap::new(),
            contacts: communities.map(|_| ContactIndex::default()).collect(),
            updates: 0,
        }
    }

    pub(super) fn len(&self) -> u64 {
        self.by_id.len() as u64
    }

    pub(super) fn updates(&self) -> u64 {
        self.updates
    }

    pub(super) fn get(&self, id: Id) -> Option<&Card> {
        self.by_id.get(&id.0)
    }

    /// The cards with ids above `after`, oldest first.
    pub(super) fn after(&self, after: u64) -> impl Iterator<Item = &Card> {
        let from = (Bound::Excluded(after), Bound::Unbounded);
        self.by_id.range(from).map(|(_, card)| card)
    }

    /// Creates a card or changes the one that matches, and returns it. `first_agent` is asked only when a
    /// card is created without an agent.
    pub(super) fn put(
        &mut self,
        draft: Draft,
        ids: &mut Ids,
        first_agent: impl FnOnce() -> Text,
        now: Timestamp,
    ) -> Id {
        let community = draft.community;
        if let Some(id) = self.find_match(&draft)
            && let Some(card) = self.by_id.get_mut(&id.0)
            && let Some(contacts) = self.contacts.get_mut(community.get())
        {
            self.updates += 1;
            let (email, phone) = (&draft.person.email, &draft.person.phone);
            contacts.change(id.0, &card.shown, email.as_deref(), phone.as_deref());
            card.change(draft, now);
            return id;
        }
        let id = ids.give();
        self.insert(community, Card::new(id, draft, first_agent, now));
        id
    }

    /// Changes a card as somebody at Knock would. Does nothing when there is no such card.
    pub(super) fn edit(
        &mut self,
        id: Id,
        community: CommunityIndex,
        edit: CardEdit,
        now: Timestamp,
    ) {
        if let Some(card) = self.by_id.get_mut(&id.0)
            && let Some(contacts) = self.contacts.get_mut(community.get())
        {
            let (email, phone) = (edit.email.as_deref(), edit.phone.as_deref());
            contacts.change(id.0, &card.shown, email, phone);
            card.edit(edit, now);
        }
    }

    /// Does nothing when there is no such card.
    pub(super) fn set_status(&mut self, id: Id, status: CardStatus, now: Timestamp) {
        if let Some(card) = self.by_id.get_mut(&id.0) {
            card.shown.status = status;
            card.shown.updated_at = Moment(now);
        }
    }

    /// Makes a card vanish. Whether there was one.
    pub(super) fn remove(&mut self, id: Id, directory: &Directory) -> bool {
        let Some(card) = self.by_id.remove(&id.0) else {
            return false;
        };
        if let Some(community) = directory.find(&card.shown.community_id)
            && let Some(contacts) = self.contacts.get_mut(community.get())
        {
            contacts.remove(id.0, &card.shown);
        }
        true
    }

    /// Puts back a card from the journal, in place of an earlier version of it. False, and nothing changed,
    /// when the earlier version is of another community.
    #[must_use]
    pub(super) fn restore(&mut self, community: CommunityIndex, card: Card) -> bool {
        let id = card.shown.prospect_id.0;
        if let Some(earlier) = self.by_id.get(&id) {
            if earlier.shown.community_id != card.shown.community_id {
                return false;
            }
            self.updates = self.updates.saturating_sub(earlier.hidden.updates);
            if let Some(contacts) = self.contacts.get_mut(community.get()) {
                contacts.remove(id, &earlier.shown);
            }
        }
        self.updates = self.updates.saturating_add(card.hidden.updates);
        self.insert(community, card);
        true
    }

    fn insert(&mut self, community: CommunityIndex, card: Card) {
        let id = card.shown.prospect_id.0;
        if let Some(contacts) = self.contacts.get_mut(community.get()) {
            contacts.add(id, &card.shown);
        }
        self.by_id.insert(id, card);
    }

    /// The card that a draft belongs to.
    pub(super) fn find_match(&self, draft: &Draft) -> Option<Id> {
        let contacts = self.contacts.get(draft.community.get())?;
        let person = &draft.person;
        let by_email = || contacts.by_email.find(&email_key(person.email.as_deref()?));
        let by_phone = || contacts.by_phone.find(person.phone.as_deref()?);
        by_email().or_else(by_phone).map(Id)
    }
}

impl ContactIndex {
    fn add(&mut self, id: u64, card: &Shown) {
        if let Some(email) = &card.email {
            self.by_email.add(email_key(email), id);
        }
        if let Some(phone) = &card.phone {
            self.by_phone.add(phone.clone(), id);
        }
    }

    fn remove(&mut self, id: u64, card: &Shown) {
        if let Some(email) = &card.email {
            self.by_email.remove(&email_key(email), id);
        }
        if let Some(phone) = &card.phone {
            self.by_phone.remove(phone, id);
        }
    }

    /// Follows a card to its new contacts.
    fn change(&mut self, id: u64, card: &Shown, email: Option<&str>, phone: Option<&str>) {
        if let Some(new) = email.map(email_key) {
            let old = card.email.as_deref().map(email_key);
            if old.as_ref() != Some(&new) {
                if let Some(old) = old {
                    self.by_email.remove(&old, id);
                }
                self.by_email.add(new, id);
            }
        }
        if let Some(new) = phone
            && card.phone.as_deref() != Some(new)
        {
            if let Some(old) = &card.phone {
                self.by_phone.remove(old, id);
            }
            self.by_phone.add(new.into(), id);
        }
    }
}

impl Card {
    fn new(id: Id, draft: Draft, first_agent: impl FnOnce() -> Text, now: Timestamp) -> Self {
        let (person, once) = (draft.person, draft.once);
        Self {
            shown: Shown {
                prospect_id: id,
                community_id: draft.community_id,
                email: person.email,
                phone: person.phone,
                agent: Agent {
                    username: draft.agent.unwrap_or_else(first_agent),
                },
                address: once.address,
                unit: once.unit,
                city: once.city,
                state: once.state,
                zip: once.zip,
                source: Source {
                    title: draft.source_title,
                },
                first_name: person
                    .first_name
                    .unwrap_or_else(|| ABSENT_FIRST_NAME.into()),
                last_name: person.last_name.unwrap_or_else(|| ABSENT_LAST_NAME.into()),
                move_date: person.move_date,
                bedrooms: person.bedrooms,
                pets: person.pets,
                occupants: person.occupants,
                lease_term_months: person.lease_term_months,
                min_budget: person.min_budget,
                max_budget: person.max_budget,
                sms_consent: once.sms_consent,
                is_deleted: FLAG_AT_FIRST,
                not_prospect: FLAG_AT_FIRST,
                status: CardStatus::default(),
                created_at: Moment(now),
                updated_at: Moment(now),
            },
            hidden: Hidden {
                autorespond: once.autorespond,
                first_contact_type: once.first_contact_type,
                sms_consent_disclaimer: once.sms_consent_disclaimer,
                sms_consent_url: once.sms_consent_url,
                prospect_ip_address: once.prospect_ip_address,
                messages: draft.message.into_iter().collect(),
                updates: 0,
            },
        }
    }

    /// The documented list of what a repeat changes, and the appended message.
    fn change(&mut self, draft: Draft, now: Timestamp) {
        let (shown, person) = (&mut self.shown, draft.person);
        replace(&mut shown.agent.username, draft.agent);
        replace(&mut shown.first_name, person.first_name);
        replace(&mut shown.last_name, person.last_name);
        replace_some(&mut shown.phone, person.phone);
        replace_some(&mut shown.email, person.email);
        replace_some(&mut shown.move_date, person.move_date);
        replace_some(&mut shown.lease_term_months, person.lease_term_months);
        replace_some(&mut shown.bedrooms, person.bedrooms);
        replace_some(&mut shown.occupants, person.occupants);
        replace_some(&mut shown.min_budget, person.min_budget);
        replace_some(&mut shown.max_budget, person.max_budget);
        shown.updated_at = Moment(now);
        self.hidden.messages.extend(draft.message);
        self.hidden.updates += 1;
    }

    pub(super) fn has_message(&self, message: &str) -> bool {
        self.hidden.messages.iter().any(|held| **held == *message)
    }

    fn edit(&mut self, edit: CardEdit, now: Timestamp) {
        let shown = &mut self.shown;
        replace(&mut shown.status, edit.status);
        replace(&mut shown.is_deleted, edit.is_deleted);
        replace(&mut shown.not_prospect, edit.not_prospect);
        replace(&mut shown.agent.username, edit.agent);
        replace(&mut shown.first_name, edit.first_name);
        replace(&mut shown.last_name, edit.last_name);
        replace_some(&mut shown.email, edit.email);
        replace_some(&mut shown.phone, edit.phone);
        shown.updated_at = Moment(now);
    }
}

fn replace<T>(held: &mut T, sent: Option<T>) {
    if let Some(sent) = sent {
        *held = sent;
    }
}

fn replace_some<T>(held: &mut Option<T>, sent: Option<T>) {
    if sent.is_some() {
        *held = sent;
    }
}

fn email_key(email: &str) -> Text {
    email.to_lowercase().into_boxed_str()
}

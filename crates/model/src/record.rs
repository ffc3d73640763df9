//! Whatever has an id here and one at a vendor, as the store keeps it: columns that are searched, and a body for the rest.
//!
//! Guarantee: what a list can be filtered and sorted by is said here, once, for the door and for every back end.

use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

pub use crate::resources::Kind;
use crate::{
    clock::{Entropy, Timestamp},
    contact::{DEFAULT_REGION, Email, Phone},
    id,
    write::Outcome,
};

/// The facts about a kind of record, which its resource states.
pub struct Facts {
    /// Its word in the store and in messages.
    pub word: &'static str,
    /// Its name as a model of the contract, section 6.
    pub model: &'static str,
    /// The beginning of its ids, before the underscore.
    pub id_prefix: &'static str,
    /// The fields by whose value its lists can be filtered, beside `integration_id`,
    /// `integration_vendor` and `x_id`.
    pub filters: &'static [Filter],
    /// The members whose texts, one behind the other, are the name that its lists can be sorted by.
    pub name: &'static [&'static str],
    /// The fields that have a vocabulary.
    pub vocabulary: &'static [&'static str],
    /// The members that an erasure leaves, since they say nothing about a person: where the record
    /// belongs, where it stands, when something took place.
    pub kept: &'static [&'static str],
    /// What another create does to a record that is known.
    pub again: Outcome,
    /// The record in the shape that reading it has.
    pub shown: fn(Record) -> Result<Value, serde_json::Error>,
}

impl Kind {
    /// The kind that `word` names.
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.word() == word)
    }

    /// Its word in the store and in messages.
    pub const fn word(self) -> &'static str {
        self.facts().word
    }

    /// Its name as a model of the contract, section 6.
    pub const fn model(self) -> &'static str {
        self.facts().model
    }

    /// A new id for a record of this kind.
    pub fn new_id(self, now: Timestamp, entropy: &dyn Entropy) -> String {
        id::made(self.facts().id_prefix, now, entropy)
    }

    /// The fields by whose value its lists can be filtered, beside `integration_id`,
    /// `integration_vendor` and `x_id`.
    pub const fn filters(self) -> &'static [Filter] {
        self.facts().filters
    }

    /// The filter of this name.
    pub fn filter(self, name: &str) -> Option<&'static Filter> {
        self.filters().iter().find(|filter| filter.name == name)
    }

    /// The name that a record with this body is sorted by: the beginning of it, empty where the
    /// record has none.
    pub fn sorted_name(self, body: &Value) -> String {
        let members = self.facts().name.iter();
        let texts: Vec<&str> = members
            .map(|member| body[member].as_str().unwrap_or_default())
            .collect();
        texts.join(" ").chars().take(NAME_SORTED_CHARS).collect()
    }
}

/// Characters of a name that a list is sorted by. A cursor holds them.
pub const NAME_SORTED_CHARS: usize = 64;

/// How a filter's value is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As it is.
    Text,
    /// Without regard to letter case.
    Email,
    /// In E.164, however it is written.
    Phone,
}

/// A field by whose value a list can be filtered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filter {
    /// Its name in a query.
    pub name: &'static str,
    /// The member of a record's body that holds the value, or a list of values.
    pub member: &'static str,
    /// How values are compared.
    pub form: Form,
    /// Whether many records share a value, so that their number is kept rather than counted.
    pub is_wide: bool,
    /// Whether a value means something only within its integration.
    pub is_of_vendor: bool,
}

impl Filter {
    /// The integration that a record is of: every kind has it.
    pub const INTEGRATION: Self = Self::wide("integration_id");
    /// The community that a record is of.
    pub const COMMUNITY: Self = Self::wide("community_id");
    /// The communities that a record is of.
    pub const COMMUNITIES: Self = Self {
        member: "community_ids",
        ..Self::COMMUNITY
    };
    /// The attribution of a record.
    pub const ATTRIBUTION: Self = Self::wide("attribution_id");
    /// The agent of a record.
    pub const AGENT: Self = Self::wide("agent_id");
    /// The email address of a person.
    pub const EMAIL: Self = Self::narrow("email_1", Form::Email);
    /// The phone number of a person.
    pub const PHONE: Self = Self::narrow("phone_1", Form::Phone);
    /// The prospect that a record is about.
    pub const PROSPECT: Self = Self::narrow("prospect_id", Form::Text);
    /// Where a record stands.
    pub const STATUS: Self = Self::wide("status");

    /// A field whose values many records share, so that their number is kept.
    pub const fn wide(name: &'static str) -> Self {
        Self {
            name,
            member: name,
            form: Form::Text,
            is_wide: true,
            is_of_vendor: false,
        }
    }

    /// A field whose values mean something only within an integration.
    pub const fn of_vendor(name: &'static str) -> Self {
        Self {
            is_of_vendor: true,
            ..Self::wide(name)
        }
    }

    /// A field whose values few records share.
    pub const fn narrow(name: &'static str, form: Form) -> Self {
        Self {
            form,
            is_wide: false,
            ..Self::wide(name)
        }
    }

    /// Whether its values are ids of ours, of records that are of the same integration.
    pub fn names_a_record(&self) -> bool {
        self.name.ends_with("_id") && !self.is_of_vendor && self.name != Self::INTEGRATION.name
    }

    /// `value` in the form in which two spellings of it are equal.
    pub fn normal(&self, value: &str) -> String {
        self.normal_in(value, DEFAULT_REGION)
    }

    /// The same, with phone numbers without a country code read as ones of `region`.
    pub fn normal_in(&self, value: &str, region: &str) -> String {
        let value = value.trim();
        match self.form {
            Form::Text => value.to_owned(),
            Form::Email => {
                Email::parse(value).map_or_else(|_| value.to_lowercase(), |email| email.matching())
            }
            Form::Phone => Phone::parse(value, region)
                .map_or_else(|_| value.to_owned(), |phone| phone.as_str().to_owned()),
        }
    }

    /// The values that `body` has for it, in their normal form.
    pub fn values(&self, body: &Value) -> Vec<String> {
        let one = |value: &Value| match value {
            Value::String(text) => Some(self.normal(text)),
            Value::Bool(flag) => Some(flag.to_string()),
            _ => None,
        };
        match &body[self.member] {
            Value::Array(many) => many.iter().filter_map(one).collect(),
            value => one(value).into_iter().collect(),
        }
    }
}

/// The change of a record with what follows from it, when something does: an extension belongs to
/// its number, so it goes when the number becomes another and no extension is told with it.
pub fn completed(body: &Value, change: &Map<String, Value>) -> Option<Map<String, Value>> {
    const NUMBER: &str = "phone_1";
    const EXTENSION: &str = "phone_1_extension";
    let is_another = change
        .get(NUMBER)
        .is_some_and(|number| *number != body[NUMBER]);
    let goes = is_another && !body[EXTENSION].is_null() && !change.contains_key(EXTENSION);
    goes.then(|| {
        let mut change = change.clone();
        change.insert(EXTENSION.to_owned(), Value::Null);
        change
    })
}

/// The members of `new` that differ from `old`, as they are now and as they were.
pub fn difference(
    old: &Value,
    new: &Map<String, Value>,
) -> (Map<String, Value>, Map<String, Value>) {
    let (mut now, mut previous) = (Map::new(), Map::new());
    for (name, value) in new {
        if old[name] != *value {
            now.insert(name.clone(), value.clone());
            previous.insert(name.clone(), old[name].clone());
        }
    }
    (now, previous)
}

/// A field that a list can be sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SortField {
    /// When a record was first stored here. No two records have the same.
    CreatedAt,
    /// When it last changed here.
    UpdatedAt,
    /// When the vendor last showed it.
    LastSeen,
    /// Its id.
    Id,
    /// What it is called. No index keeps this order: of many records it costs what sorting costs.
    Name,
}

impl SortField {
    /// Every field.
    pub const ALL: &'static [Self] = &[
        Self::CreatedAt,
        Self::UpdatedAt,
        Self::LastSeen,
        Self::Id,
        Self::Name,
    ];

    /// Its name in a query and in answers.
    pub const fn word(self) -> &'static str {
        match self {
            Self::CreatedAt => "created_at",
            Self::UpdatedAt => "updated_at",
            Self::LastSeen => "last_seen",
            Self::Id => "id",
            Self::Name => "name",
        }
    }
}

/// A record. Every resource has these members beside its own.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Record {
    /// Its id.
    pub id: String,
    /// When it was first stored here.
    pub created_at: Timestamp,
    /// When it last changed here.
    pub updated_at: Timestamp,
    /// When the vendor last showed it, or it was last registered.
    pub last_seen: Timestamp,
    /// The integration it belongs to.
    pub integration_id: String,
    /// The vendor behind that integration.
    pub integration_vendor: String,
    /// The vendor's id of it, if the vendor gave one.
    pub x_id: Option<String>,
    /// The resource's own members: a JSON object.
    #[serde(skip)]
    pub body: Value,
}

impl Record {
    /// The record as its resource, the columns laid over the body.
    ///
    /// # Errors
    /// When the body does not fit the resource.
    pub fn read<T: DeserializeOwned>(self) -> Result<T, serde_json::Error> {
        let columns = serde_json::to_value(&self)?;
        let mut whole = self.body;
        if let (Some(whole), Value::Object(columns)) = (whole.as_object_mut(), columns) {
            whole.extend(columns);
        }
        serde_json::from_value(whole)
    }
}

/// The members of a record that say something. The others need no place in the store: they read back
/// as `null`.
pub fn stated(record: &impl Serialize) -> Map<String, Value> {
    match serde_json::to_value(record) {
        Ok(Value::Object(all)) => all
            .into_iter()
            .filter(|(_, value)| !value.is_null() && value.as_str() != Some(""))
            .collect(),
        _ => Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(kind: Kind, name: &str, body: &Value, expect: &[&str]) {
        let filter = kind.filter(name);
        assert_eq!(
            filter.map(|one| one.values(body)).unwrap_or_default(),
            expect
        );
    }

    #[test]
    fn a_filter_reads_values_in_their_normal_form() {
        let ada = json!({ "email_1": "Ada@Example.com", "phone_1": "(206) 555-0155", "community_id": "com_1" });
        check(Kind::Prospect, "email_1", &ada, &["ada@example.com"]);
        check(Kind::Prospect, "phone_1", &ada, &["+12065550155"]);
        let idn = json!({ "email_1": "Ada@B\u{fc}cher.DE" });
        check(Kind::Prospect, "email_1", &idn, &["ada@xn--bcher-kva.de"]);
        let extended = json!({ "phone_1": "+12065550155", "phone_1_extension": "136" });
        check(Kind::Prospect, "phone_1", &extended, &["+12065550155"]);
        check(Kind::Prospect, "community_id", &ada, &["com_1"]);
        check(Kind::Prospect, "agent_id", &ada, &[]);
        let agent = json!({ "community_ids": ["com_1", "com_2"] });
        check(Kind::Agent, "community_id", &agent, &["com_1", "com_2"]);
    }

    #[test]
    fn an_extension_goes_with_its_number() {
        let check = |body: Value, update: Value, expect: Value| {
            let Value::Object(update) = update else {
                panic!("{update}")
            };
            let update = completed(&body, &update).unwrap_or(update);
            assert_eq!(Value::Object(update), expect, "{body}");
        };
        let held = json!({ "phone_1": "+12065550155", "phone_1_extension": "136" });
        let (same, other) = ("+12065550155", "+12065550199");
        check(
            held.clone(),
            json!({ "city": "Seattle" }),
            json!({ "city": "Seattle" }),
        );
        check(
            held.clone(),
            json!({ "phone_1": same }),
            json!({ "phone_1": same }),
        );
        check(
            held.clone(),
            json!({ "phone_1": other }),
            json!({ "phone_1": other, "phone_1_extension": null }),
        );
        let new = json!({ "phone_1": other, "phone_1_extension": "4" });
        check(held, new.clone(), new);
        let bare = json!({ "phone_1": same });
        check(
            bare,
            json!({ "phone_1": other }),
            json!({ "phone_1": other }),
        );
    }

    #[test]
    fn a_word_names_its_kind() {
        for &kind in Kind::ALL {
            assert_eq!(Kind::of(kind.word()), Some(kind));
        }
        assert_eq!(Kind::of("zork"), None);
    }
}

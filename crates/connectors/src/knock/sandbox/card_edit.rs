//! What somebody at Knock may change on a guest card: the body of `POST /_sandbox/prospects/{id}`.
//!
//! Guarantee: changes at least one member, and each to what the card may hold. Only the agent may be
//! unknown, because the card's community decides about that one.

use serde_json::{Map, Value};

use super::card_status::CardStatus;
use super::fields::{Fields, Refusal};

type Text = Box<str>;

const MEMBERS: [&str; 8] = [
    "status",
    "isDeleted",
    "notProspect",
    "agent",
    "email",
    "phone",
    "firstName",
    "lastName",
];

#[derive(Default)]
pub(super) struct CardEdit {
    pub(super) status: Option<CardStatus>,
    pub(super) is_deleted: Option<bool>,
    pub(super) not_prospect: Option<bool>,
    pub(super) agent: Option<Text>,
    pub(super) email: Option<Text>,
    /// E.164.
    pub(super) phone: Option<Text>,
    pub(super) first_name: Option<Text>,
    pub(super) last_name: Option<Text>,
}

impl CardEdit {
    pub(super) fn read(members: &mut Map<String, Value>) -> Result<Self, Refusal> {
        let mut fields = Fields(members);
        fields.only(&MEMBERS)?;
        if fields.0.values().all(Value::is_null) {
            let reason = format!("at least one is needed of {}", MEMBERS.join(", "));
            return Err(Refusal(reason));
        }
        Ok(Self {
            status: match fields.text("status")? {
                Some(text) => Some(status(&text)?),
                None => None,
            },
            is_deleted: fields.flag("isDeleted")?,
            not_prospect: fields.flag("notProspect")?,
            agent: fields.inner("agent", |agent| {
                agent.only(&["username"])?;
                agent.required("username")
            })?,
            email: fields.email("email")?,
            phone: fields.phone("phone")?,
            first_name: fields.text("firstName")?,
            last_name: fields.text("lastName")?,
        })
    }
}

fn status(text: &str) -> Result<CardStatus, Refusal> {
    CardStatus::parse(text).map_err(|reason| Refusal(format!("status: {reason}")))
}

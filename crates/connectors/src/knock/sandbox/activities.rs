//! What was done about a prospect: emails, calls, messages and the rest, recorded and never sent anywhere.
//!
//! Guarantee: one activity a call that is accepted; what was sent is kept as it was sent.

use std::collections::BTreeMap;
use std::ops::Bound;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::assumptions::{CALL_OUTCOMES, CALL_TYPES};
use super::cards::Agent;
use super::fields::{Fields, Refusal, needed};
use super::ids::Id;
use super::moment::Moment;

type Text = Box<str>;

/// Also the last part of the path that records it.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum ActivityKind {
    Email,
    Call,
    Sms,
    Chat,
    Activity,
}

impl ActivityKind {
    pub(super) fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "email" => Self::Email,
            "call" => Self::Call,
            "sms" => Self::Sms,
            "chat" => Self::Chat,
            "activity" => Self::Activity,
            _ => return None,
        })
    }
}

/// An activity as it was sent, checked, but for its agent and its source: the card's community decides
/// about them.
pub(super) struct ActivityDraft {
    pub(super) kind: ActivityKind,
    pub(super) agent: Option<Text>,
    /// The members besides the agent, by name.
    pub(super) sent: BTreeMap<Text, Text>,
}

impl ActivityDraft {
    pub(super) fn read(
        kind: ActivityKind,
        members: &mut Map<String, Value>,
    ) -> Result<Self, Refusal> {
        let mut fields = Fields(members);
        let agent = fields.inner_text("agent", "username")?;
        let mut sent = BTreeMap::new();
        let mut keep = |name: &str, text: Option<Text>| {
            if let Some(text) = text {
                sent.insert(name.into(), text);
            }
        };
        match kind {
            ActivityKind::Call => {
                for name in ["startTime", "endTime"] {
                    keep(name, Some(needed(name, fields.time(name)?)?.text));
                }
                keep("type", fields.word("type", &CALL_TYPES)?);
                keep("outcome", fields.word("outcome", &CALL_OUTCOMES)?);
            }
            ActivityKind::Email => {
                keep("time", fields.time("time")?.map(|time| time.text));
                keep("subject", Some(fields.required("subject")?));
                keep("body", Some(fields.required("body")?));
            }
            ActivityKind::Sms | ActivityKind::Chat | ActivityKind::Activity => {
                keep("time", fields.time("time")?.map(|time| time.text));
                keep("message", Some(fields.required("message")?));
            }
        }
        keep("sourceTitle", fields.text("sourceTitle")?);
        Ok(Self { kind, agent, sent })
    }

    pub(super) fn source_title(&self) -> Option<&str> {
        self.sent.get("sourceTitle").map(|title| &**title)
    }
}

/// A recorded activity. Also the shape of its line of the journal.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Activity {
    pub(super) id: Id,
    pub(super) prospect_id: Id,
    pub(super) community_id: Text,
    pub(super) kind: ActivityKind,
    pub(super) agent: Option<Agent>,
    pub(super) created_at: Moment,
    #[serde(flatten)]
    pub(super) sent: BTreeMap<Text, Text>,
}

#[derive(Default)]
pub(super) struct Activities(BTreeMap<u64, Activity>);

impl Activities {
    pub(super) fn len(&self) -> u64 {
        self.0.len() as u64
    }

    /// Those with ids above `after`, oldest first.
    pub(super) fn after(&self, after: u64) -> impl Iterator<Item = &Activity> {
        let from = (Bound::Excluded(after), Bound::Unbounded);
        self.0.range(from).map(|(_, activity)| activity)
    }

    pub(super) fn get(&self, id: Id) -> Option<&Activity> {
        self.0.get(&id.0)
    }

    /// Forgets all that was done about a card.
    pub(super) fn forget(&mut self, card: Id) {
        self.0.retain(|_, activity| activity.prospect_id != card);
    }

    pub(super) fn put(&mut self, activity: Activity) {
        self.0.insert(activity.id.0, activity);
    }
}

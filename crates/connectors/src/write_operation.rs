//! A write that a vendor takes: its body, and what becomes of the body.
//!
//! Guarantee: `prepare` sends nothing. What it returns is sent as it is, at every repeat.

use std::{any::Any, future::Future, pin::Pin};

use async_trait::async_trait;
use model::{
    CommunityId, Consent, IntegrationId, Issue, Timestamp,
    directory::Community,
    record::Record,
    resources::{checks::Context, prospect::Known},
    vocabulary::Vocabulary,
    write::{Block, Call, Confirmed, Operation},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::component::Component;

/// A future that borrows what it was made with.
pub type Prepare<'a> = Pin<Box<dyn Future<Output = Result<PreparedWrite, Refused>> + Send + 'a>>;

/// A write that a vendor takes.
pub struct WriteOperation {
    /// The kind of write.
    pub operation: Operation,
    /// The body's schema, which the document shows and intake enforces.
    pub body: Component,
    /// The document's words about it.
    pub description: &'static str,
    /// What is done when it is not known whether the vendor has it.
    pub if_unknown: IfUnknown,
    /// The further call that the rest of a write takes when the vendor matched a record that it
    /// held, from the write's own call and the vendor's id of the record.
    pub follow_up: Option<fn(&Call, &str) -> Call>,
    /// Checks a body that keeps the schema, and makes of it what the vendor is sent.
    pub prepare: for<'a> fn(&'a WriteRequest<'a>) -> Prepare<'a>,
}

/// How an unknown outcome is cleared up.
#[derive(Clone, Copy)]
pub enum IfUnknown {
    /// The identical call is repeated: the vendor recognises it, and answers as it did.
    Repeat,
    /// The identical call is repeated, although the vendor may then hold it twice: it has no way to
    /// tell a repeat, and a lost one is worse.
    RepeatTwiceAtWorst,
    /// The vendor is asked by this call, which follows from the write's own, whether it has it, and
    /// under which id: a follow-up needs that. The write's own is repeated only if it says that it has
    /// not.
    Resolve(fn(&Call) -> Call),
    /// The write ends as FAILURE, which says that the vendor may have it: what it does cannot be
    /// taken back.
    NeverRepeat,
}

/// Records of prospects that the vendor has confirmed, as far as the caller's integrations go.
#[async_trait]
pub trait Records: Sync {
    /// The prospect with this id, which the vendor still has.
    ///
    /// # Errors
    /// A conflict when the vendor does not have it any more, and when records cannot be read.
    async fn prospect(&self, id: &str) -> Result<Option<Known>, Refused>;

    /// The prospects of a community that have this contact: `email_1` or `phone_1`, and its value.
    ///
    /// # Errors
    /// When records cannot be read.
    async fn prospects_having(
        &self,
        community: &Community,
        contact: (&str, &str),
    ) -> Result<Vec<Record>, Refused>;
}

/// A write that a caller asks for, as the vendor's operation sees it.
pub struct WriteRequest<'a> {
    /// The vendor, what the body may refer to, who asks, and what the schema has refused.
    pub context: Context<'a>,
    /// Our words for the vendor's, as in force.
    pub vocabulary: &'a Vocabulary,
    /// What time it is.
    pub now: Timestamp,
    /// The body, an object, without the members that the schema has refused.
    pub body: &'a Value,
    /// Whether the schema has refused anything.
    pub is_refused: bool,
    /// The prospect that the path names, of an operation that changes one.
    pub subject: Option<&'a Known>,
    /// What the vendor has confirmed before.
    pub records: &'a dyn Records,
}

impl WriteRequest<'_> {
    /// The body as a `T`.
    ///
    /// # Errors
    /// [`Refused::Internal`] when it keeps the schema and cannot be read all the same.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, Refused> {
        T::deserialize(self.body).map_err(|why| {
            tracing::error!(
                line = why.line(),
                "a body kept the schema and could not be read"
            );
            Refused::Internal
        })
    }

    /// What the rules made of the body.
    ///
    /// # Errors
    /// When they or the schema refused something.
    pub fn settle<T>(&self, checked: Result<T, Vec<Issue>>) -> Result<T, Refused> {
        match checked {
            Ok(checked) if !self.is_refused => Ok(checked),
            Ok(_) => Err(Refused::Invalid(Vec::new())),
            Err(issues) => Err(Refused::Invalid(issues)),
        }
    }
}

/// Why a write is not taken.
pub enum Refused {
    /// The body breaks these rules, or the schema.
    Invalid(Vec<Issue>),
    /// It does not fit what is stored.
    Conflict(String),
    /// What it was to be held against could not be read: an error of whoever keeps the records.
    Records(Box<dyn Any + Send>),
    /// A fault of Portico's.
    Internal,
}

impl From<Vec<Issue>> for Refused {
    fn from(issues: Vec<Issue>) -> Self {
        Self::Invalid(issues)
    }
}

/// What a write becomes at a vendor: fixed at accept, so that every repeat is identical whatever changes in between.
pub struct Prepared {
    /// The call.
    pub call: Call,
    /// What its confirmation makes of our record.
    pub confirmed: Confirmed,
    /// What orders it: writes that share a key are delivered in the order accepted.
    pub order_keys: Vec<i64>,
    /// What keeps it out while it is open.
    pub blocked_by: Vec<Block>,
}

/// A write that is checked and mapped.
pub struct PreparedWrite {
    /// The integration that it goes to.
    pub integration_id: IntegrationId,
    /// The community that it concerns.
    pub community_id: CommunityId,
    /// The body as accepted, as JSON.
    pub echo: String,
    /// The call to the vendor, and what follows from its success.
    pub prepared: Prepared,
    /// What it says of automated messages, where the operation has that.
    pub consent: Option<Consent>,
}

impl PreparedWrite {
    /// A write that says nothing of consent.
    ///
    /// # Errors
    /// [`Refused::Internal`] when the echo cannot be written.
    pub fn new(
        community: &Community,
        echo: &impl Serialize,
        prepared: Prepared,
    ) -> Result<Self, Refused> {
        Ok(Self {
            integration_id: community.integration_id,
            community_id: community.id,
            echo: serde_json::to_string(echo).map_err(|_| Refused::Internal)?,
            prepared,
            consent: None,
        })
    }
}

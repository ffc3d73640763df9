//! An operation that writes, as a value that a resource defines.

use std::pin::Pin;

use connectors::Prepared;
use model::{
    CommunityId, IntegrationId, Permission, Scope,
    consent::Consent,
    directory::{Community, Integration},
    write::Operation,
};
use serde::Serialize;
use utoipa::openapi::HttpMethod;

use super::answer::Answer;
use crate::{
    document::operation::{Component, Words},
    error::Error,
    screening::{Draft, Target},
    state::App,
};

/// A future that borrows what it was made with.
pub type Future<'a, T> = Pin<Box<dyn std::future::Future<Output = T> + Send + 'a>>;

/// How the body of an operation is checked and mapped.
pub type Prepare = for<'a> fn(&'a App, &'a Scope, Draft) -> Future<'a, Result<Ready, Error>>;

/// An operation that writes.
pub struct WriteOperation {
    /// The operation's id in the document.
    pub id: &'static str,
    /// The kind of write that it makes.
    pub operation: Operation,
    /// The HTTP method: POST for a new record, PUT for a change of the record that the path names.
    pub method: HttpMethod,
    /// The path, with its parameter in braces.
    pub path: &'static str,
    /// The document's section.
    pub tag: &'static str,
    /// The document's words about it.
    pub words: Words,
    /// The permission that it takes.
    pub permission: Permission,
    /// The vendor that it writes to.
    pub target: Target,
    /// The body in the document.
    pub body: Component,
    /// The name of the body's generic schema, from which those of vendors follow.
    pub schema: &'static str,
    /// How the body is checked and mapped.
    pub prepare: Prepare,
    /// The body of the answer.
    pub answer: Answer,
}

impl WriteOperation {
    /// The name that an idempotency key is bound to. Names are stored for as long as keys are, so
    /// they stay as they are.
    pub(super) fn named(&self, subject: Option<&str>, ignore_unknown: bool) -> String {
        let Self {
            operation, target, ..
        } = self;
        let subject = subject.unwrap_or_default();
        format!("{operation} {target:?} {ignore_unknown} {subject}")
    }
}

/// A write that is checked and mapped.
pub struct Ready {
    /// The integration that it goes to.
    pub integration_id: IntegrationId,
    /// The community that it concerns.
    pub community_id: CommunityId,
    /// The body as accepted, as JSON.
    pub echo: String,
    /// The call to the vendor, and what follows from its success.
    pub prepared: Prepared,
    /// What it says of automated messages, where it is about a new prospect.
    pub consent: Option<Consent>,
}

impl Ready {
    /// A write that says nothing of consent.
    ///
    /// # Errors
    /// 500 when the echo cannot be written.
    pub fn new(
        (integration, community): (&Integration, &Community),
        input: &impl Serialize,
        prepared: Prepared,
    ) -> Result<Self, Error> {
        Ok(Self {
            integration_id: integration.id,
            community_id: community.id,
            prepared,
            echo: serde_json::to_string(input).map_err(|_| Error::internal())?,
            consent: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::resources::prospects::{CREATE, CREATE_KNOCK, UPDATE_KNOCK};

    #[test]
    fn the_name_that_an_idempotency_key_is_bound_to_stays_as_it_is() {
        for (named, expected) in [
            (CREATE.named(None, false), "prospect_create Generic false "),
            (
                CREATE_KNOCK.named(None, true),
                "prospect_create Of(Knock) true ",
            ),
            (
                UPDATE_KNOCK.named(Some("pro_1"), false),
                "prospect_update Of(Knock) false pro_1",
            ),
        ] {
            assert_eq!(named, expected);
        }
    }
}

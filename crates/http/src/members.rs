//! Communities, attributions and agents, registered with an integration: one, or up to a thousand at once.
//!
//! Guarantee: all or none is registered; every problem is reported, with the index of the item that has it. One that is known by the vendor's id of it is changed
//! and keeps its id here, so registering is safe to repeat.
//! Source: the public contract, section 5.

use std::collections::HashMap;

use axum::{
    Json,
    extract::{Path, State},
    http::Uri,
    response::{IntoResponse, Response},
};
use model::{
    Actor, Issue, Scope,
    directory::Integration,
    issue::Step,
    record::Kind,
    resources::{
        agent::Agent,
        attribution::Attribution,
        community::Community,
        integration::{
            AgentRegister, AttributionRegister, CommunityRegister, Member, agent_check,
            attribution_check, community_check,
        },
    },
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use utoipa::ToSchema;

use crate::{
    App,
    body::{BULK_MAX_BYTES, JsonBody, Screened, screen},
    caller::{Caller, IntegrationsAdmin},
    error::Error,
    integrations, lists,
    openapi::{ChangeProblems, WriteQuery},
    preferences,
    problems::Problems,
};

/// Items that one call registers at most.
pub const BULK_MAX_ITEMS: usize = 1_000;

/// What was registered.
#[derive(Serialize, ToSchema)]
pub struct Registered<T> {
    /// The record.
    pub result: T,
}

/// What was registered at once.
#[derive(Serialize, ToSchema)]
pub struct RegisteredAll {
    /// In the order of the items.
    pub results: Vec<RegisteredOne>,
}

/// One of what was registered at once.
#[derive(Serialize, ToSchema)]
pub struct RegisteredOne {
    /// Its id.
    pub id: String,
    /// The vendor's id of it.
    pub x_id: String,
    /// Whether it was not known before.
    pub is_new: bool,
}

/// Items of a body: one, or many.
struct Asked<'a> {
    app: &'a App,
    by: Actor,
    integration_id: String,
    uri: Uri,
    kind: Kind,
}

impl Asked<'_> {
    fn scope(&self) -> &Scope {
        &self.by.scope
    }

    fn schema(&self) -> &'static str {
        match self.kind {
            Kind::Community => "CommunityRegister",
            Kind::Attribution => "AttributionRegister",
            _ => "AgentRegister",
        }
    }

    /// One item, screened and checked.
    fn item(
        &self,
        integration: &Integration,
        body: Value,
        ignore_unknown: bool,
    ) -> Result<Member, Error> {
        let schema = self.app.schemas.named(self.schema());
        let screened = screen(schema.ok_or_else(Error::internal)?, body, ignore_unknown)?;
        let checked = self.checked(integration, &screened)?;
        screened.settle(checked)
    }

    fn checked(
        &self,
        integration: &Integration,
        screened: &Screened,
    ) -> Result<Result<Member, Vec<Issue>>, Error> {
        let broken = |field: &str| screened.is_broken(field);
        let (now, entropy) = (self.app.clock.now(), &*self.app.entropy);
        let directory = self.app.live.get();
        Ok(match self.kind {
            Kind::Community => {
                let input: CommunityRegister = screened.read()?;
                community_check(&input, integration, &broken, now, entropy)
            }
            Kind::Attribution => {
                let input: AttributionRegister = screened.read()?;
                attribution_check(&input, integration, &directory, &broken, now, entropy)
            }
            _ => {
                let input: AgentRegister = screened.read()?;
                agent_check(&input, integration, &directory, &broken, now, entropy)
            }
        })
    }

    async fn store(
        &self,
        integration: &Integration,
        action: &'static str,
        members: Vec<Member>,
    ) -> Result<Vec<store::Registered>, Error> {
        let now = self.app.clock.now();
        let stored = self
            .app
            .store
            .members_register(&self.by, integration.id, action, members, now)
            .await?
            .ok_or_else(|| Error::not_found("integration"))?;
        self.app.follow().await?;
        Ok(stored)
    }

    /// Registers one, and gives its record.
    async fn one<T: Serialize + DeserializeOwned>(
        self,
        action: &'static str,
        body: Value,
    ) -> Result<Response, Error> {
        let ignore_unknown = preferences::ignores_unknown_fields(&self.uri)?;
        let integration = integrations::find(self.app, self.scope(), &self.integration_id)?;
        let member = self.item(&integration, body, ignore_unknown)?;
        let stored = self.store(&integration, action, vec![member]).await?;
        let id = stored.first().map_or("", |one| &one.id);
        let result: T = lists::resource(self.app, self.scope(), self.kind, id).await?;
        Ok(Json(Registered { result }).into_response())
    }

    /// Registers many, all or none.
    async fn many(self, action: &'static str, body: Value) -> Result<Response, Error> {
        let ignore_unknown = preferences::ignores_unknown_fields(&self.uri)?;
        let integration = integrations::find(self.app, self.scope(), &self.integration_id)?;
        let whole =
            |why: String| Error::invalid(&[Issue::new("custom", Vec::new(), why, Value::Null)]);
        let Value::Array(items) = body else {
            return Err(whole("Expected an array of items to register".to_owned()));
        };
        if items.is_empty() || items.len() > BULK_MAX_ITEMS {
            return Err(whole(format!(
                "Register 1 to {BULK_MAX_ITEMS} items at once; these are {}",
                items.len()
            )));
        }
        let (mut members, mut problems) = (Vec::with_capacity(items.len()), Problems::default());
        let mut places: HashMap<String, usize> = HashMap::new();
        for (index, item) in items.into_iter().enumerate() {
            let x_id = item["x_id"].as_str().unwrap_or_default().trim().to_owned();
            if !x_id.is_empty()
                && let Some(first) = places.insert(x_id, index)
            {
                let path = vec![Step::Index(index), Step::from("x_id")];
                let why = format!("The item with index {first} has this x_id too");
                problems.add(Issue::new("custom", path, why, Value::Null));
            }
            match self.item(&integration, item, ignore_unknown) {
                Ok(member) => members.push(member),
                Err(why) => problems.join(why.at(index)?),
            }
        }
        if !problems.is_empty() {
            return Err(Error::of(problems));
        }
        let x_ids: Vec<String> = members.iter().map(|one| one.x_id.clone()).collect();
        let stored = self.store(&integration, action, members).await?;
        let results = stored
            .into_iter()
            .zip(x_ids)
            .map(|(one, x_id)| RegisteredOne {
                id: one.id,
                x_id,
                is_new: one.is_new,
            })
            .collect();
        Ok(Json(RegisteredAll { results }).into_response())
    }
}

/// The two handlers of a kind of member.
macro_rules! members {
    ($kind:expr, $input:ty, $record:ty, $path:literal, $bulk:literal, $one:ident, $one_words:literal, $many:ident, $many_words:literal) => {
        #[doc = $one_words]
        ///
        /// One that is known by its `x_id` is changed, and keeps its id.
        #[utoipa::path(
            post,
            path = $path,
            operation_id = stringify!($one),
            tag = "Integrations",
            params(("id" = String, Path, description = "The integration's id"), WriteQuery),
            request_body = $input,
            responses((status = 200, description = "It is registered", body = Registered<$record>), ChangeProblems),
            security(("bearer" = ["integrations:admin"]))
        )]
        pub async fn $one(
            State(app): State<App>,
            caller: Caller<IntegrationsAdmin>,
            Path(id): Path<String>,
            uri: Uri,
            JsonBody(body): JsonBody,
        ) -> Result<Response, Error> {
            let asked = Asked { app: &app, by: caller.actor(), integration_id: id, uri, kind: $kind };
            asked.one::<$record>(stringify!($one), body).await
        }

        #[doc = $many_words]
        ///
        /// Up to 1,000 at once, all or none; every problem is reported, with the index of its item. Those that are known by their `x_id` are changed, and keep their ids.
        #[utoipa::path(
            post,
            path = $bulk,
            operation_id = stringify!($many),
            tag = "Integrations",
            params(("id" = String, Path, description = "The integration's id"), WriteQuery),
            request_body = Vec<$input>,
            responses((status = 200, description = "They are registered", body = RegisteredAll), ChangeProblems),
            security(("bearer" = ["integrations:admin"]))
        )]
        pub async fn $many(
            State(app): State<App>,
            caller: Caller<IntegrationsAdmin>,
            Path(id): Path<String>,
            uri: Uri,
            JsonBody(body): JsonBody<BULK_MAX_BYTES>,
        ) -> Result<Response, Error> {
            let asked = Asked { app: &app, by: caller.actor(), integration_id: id, uri, kind: $kind };
            asked.many(stringify!($many), body).await
        }
    };
}

members!(
    Kind::Community,
    CommunityRegister,
    Community,
    "/v1/admin/integrations/{id}/communities",
    "/v1/admin/integrations/{id}/communities/bulk",
    community_register,
    "Register a community",
    communities_register,
    "Register communities"
);
members!(
    Kind::Attribution,
    AttributionRegister,
    Attribution,
    "/v1/admin/integrations/{id}/attributions",
    "/v1/admin/integrations/{id}/attributions/bulk",
    attribution_register,
    "Register an attribution",
    attributions_register,
    "Register attributions"
);
members!(
    Kind::Agent,
    AgentRegister,
    Agent,
    "/v1/admin/integrations/{id}/agents",
    "/v1/admin/integrations/{id}/agents/bulk",
    agent_register,
    "Register an agent",
    agents_register,
    "Register agents"
);

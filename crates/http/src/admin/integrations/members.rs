//! Communities, attributions and agents, registered with an integration: one, or up to a thousand
//! at once.
//!
//! Guarantee: all or none is registered; every problem is reported, with the index of the item that
//! has it. A member that is known by the vendor's id is changed and keeps its id here, so
//! registering is safe to repeat.

use std::{borrow::Cow, collections::HashMap, sync::Arc};

use axum::{
    Json,
    extract::{FromRequest as _, Request, State},
    response::{IntoResponse, Response},
};
use connectors::component::{Component, Schemas};
use model::{
    Actor, Issue, Permission,
    clock::{Entropy, Timestamp},
    directory::{Directory, Integration},
    issue::Step,
    permission::{Group, Level},
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
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{HttpMethod, Ref, RefOr, Schema, schema::ObjectBuilder},
};
use utoipa_axum::router::UtoipaMethodRouter;

use super::stored;
use crate::{
    document::{
        operation::{self as documented, RequestBody},
        parameters::WriteQuery,
        problems::ChangeProblems,
    },
    door::{
        body::{BODY_MAX_BYTES, BULK_MAX_BYTES, JsonBody},
        caller::AnyCaller,
        preferences,
        request::path_parameter,
    },
    error::Error,
    lists,
    problems::Problems,
    screening::screen,
    state::App,
};

/// The permission that registering takes.
const PERMISSION: Permission = Permission::of(Group::Integrations, Level::Admin);

/// Items that one call registers at most.
pub const BULK_MAX_ITEMS: usize = 1_000;

/// What was registered. The document calls it after the record: `AgentRegistered`.
#[derive(Serialize)]
pub struct Registered<T> {
    /// The record.
    pub result: T,
}

impl<T: ToSchema> PartialSchema for Registered<T> {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .description(Some("What was registered"))
            .property("result", Ref::from_schema_name(T::name()))
            .required("result")
            .into()
    }
}

impl<T: ToSchema> ToSchema for Registered<T> {
    fn name() -> Cow<'static, str> {
        format!("{}Registered", T::name()).into()
    }

    fn schemas(all: &mut Schemas) {
        all.push((T::name().into_owned(), T::schema()));
        T::schemas(all);
    }
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

/// An operation that registers members.
pub struct Registration {
    id: &'static str,
    path: &'static str,
    summary: &'static str,
    description: &'static str,
}

/// The facts that an item is checked against.
pub struct Against<'a> {
    integration: &'a Integration,
    directory: &'a Directory,
    now: Timestamp,
    entropy: &'a dyn Entropy,
}

/// A body that registers a member.
pub trait Register: DeserializeOwned + ToSchema + 'static {
    /// The member's record.
    type Record: DeserializeOwned + Serialize + ToSchema;

    /// The record's kind.
    const KIND: Kind;
    /// Registers one.
    const ONE: Registration;
    /// Registers many.
    const MANY: Registration;

    /// Checks it against the rules. `broken` names the fields that the schema has refused.
    ///
    /// # Errors
    /// Every broken rule.
    fn check(
        &self,
        against: &Against<'_>,
        broken: &dyn Fn(&str) -> bool,
    ) -> Result<Member, Vec<Issue>>;
}

const ONE_IS_CHANGED: &str = " One that is known by its `x_id` is changed, and keeps its id.";

const MANY_ARE_CHANGED: &str = " Up to 1,000 at once, all or none; every problem is reported, with the index of its item. Those that are known by their `x_id` are changed, and keep their ids.";

impl Register for CommunityRegister {
    type Record = Community;

    const KIND: Kind = Kind::Community;
    const ONE: Registration = Registration {
        id: "community_register",
        path: "/v1/admin/integrations/{id}/communities",
        summary: "Register a community",
        description: ONE_IS_CHANGED,
    };
    const MANY: Registration = Registration {
        id: "communities_register_bulk",
        path: "/v1/admin/integrations/{id}/communities/bulk",
        summary: "Register communities",
        description: MANY_ARE_CHANGED,
    };

    fn check(
        &self,
        against: &Against<'_>,
        broken: &dyn Fn(&str) -> bool,
    ) -> Result<Member, Vec<Issue>> {
        let Against {
            integration,
            now,
            entropy,
            ..
        } = *against;
        community_check(self, integration, broken, now, entropy)
    }
}

impl Register for AttributionRegister {
    type Record = Attribution;

    const KIND: Kind = Kind::Attribution;
    const ONE: Registration = Registration {
        id: "attribution_register",
        path: "/v1/admin/integrations/{id}/attributions",
        summary: "Register an attribution",
        description: ONE_IS_CHANGED,
    };
    const MANY: Registration = Registration {
        id: "attributions_register_bulk",
        path: "/v1/admin/integrations/{id}/attributions/bulk",
        summary: "Register attributions",
        description: MANY_ARE_CHANGED,
    };

    fn check(
        &self,
        against: &Against<'_>,
        broken: &dyn Fn(&str) -> bool,
    ) -> Result<Member, Vec<Issue>> {
        let Against {
            integration,
            directory,
            now,
            entropy,
        } = *against;
        attribution_check(self, integration, directory, broken, now, entropy)
    }
}

impl Register for AgentRegister {
    type Record = Agent;

    const KIND: Kind = Kind::Agent;
    const ONE: Registration = Registration {
        id: "agent_register",
        path: "/v1/admin/integrations/{id}/agents",
        summary: "Register an agent",
        description: ONE_IS_CHANGED,
    };
    const MANY: Registration = Registration {
        id: "agents_register_bulk",
        path: "/v1/admin/integrations/{id}/agents/bulk",
        summary: "Register agents",
        description: MANY_ARE_CHANGED,
    };

    fn check(
        &self,
        against: &Against<'_>,
        broken: &dyn Fn(&str) -> bool,
    ) -> Result<Member, Vec<Issue>> {
        let Against {
            integration,
            directory,
            now,
            entropy,
        } = *against;
        agent_check(self, integration, directory, broken, now, entropy)
    }
}

/// The operation of a registration, as the document shows it.
fn described(
    of: &Registration,
    body: RequestBody,
    answer: (&'static str, Component),
) -> documented::Operation {
    documented::Operation {
        id: of.id.to_owned(),
        method: HttpMethod::Post,
        path: of.path.to_owned(),
        path_parameter: "The integration's id",
        tag: "Integrations",
        summary: of.summary.to_owned(),
        description: of.description,
        permission: PERMISSION,
        parameters: documented::query::<WriteQuery>(),
        body: Some(body),
        answer,
        problems: documented::problems::<ChangeProblems>(),
    }
}

/// The route that registers one member.
pub fn register_one<T: Register>() -> UtoipaMethodRouter<App> {
    let body = RequestBody::One(Component::of::<T>());
    let answer = Component::of::<Registered<T::Record>>();
    described(&T::ONE, body, ("It is registered", answer)).route(
        async |State(app): State<App>, request: Request| {
            let (asked, body) = asked::<BODY_MAX_BYTES>(&app, request).await?;
            one::<T>(&app, &asked, body).await
        },
    )
}

/// The route that registers many members.
pub fn register_many<T: Register>() -> UtoipaMethodRouter<App> {
    let body = RequestBody::Many(Component::of::<T>());
    let answer = ("They are registered", Component::of::<RegisteredAll>());
    described(&T::MANY, body, answer).route(async |State(app): State<App>, request: Request| {
        let (asked, body) = asked::<BULK_MAX_BYTES>(&app, request).await?;
        many::<T>(&app, &asked, body).await
    })
}

/// A registration as a caller asks for it.
struct Asked {
    by: Actor,
    integration_id: String,
    ignore_unknown: bool,
}

impl Asked {
    fn integration(&self, app: &App) -> Result<Arc<Integration>, Error> {
        stored::find(app, &self.by.scope, &self.integration_id)
    }
}

/// Reads a request: its caller, its query, its body.
async fn asked<const BYTES_MAX: usize>(
    app: &App,
    request: Request,
) -> Result<(Asked, Value), Error> {
    let (mut parts, body) = request.into_parts();
    let caller = AnyCaller::of(&mut parts, app, PERMISSION)?;
    let integration_id = path_parameter(&mut parts).await?.unwrap_or_default();
    let uri = parts.uri.clone();
    let request = Request::from_parts(parts, body);
    let JsonBody(body) = JsonBody::<BYTES_MAX>::from_request(request, app).await?;
    let asked = Asked {
        by: caller.actor(),
        integration_id,
        ignore_unknown: preferences::ignores_unknown_fields(&uri)?,
    };
    Ok((asked, body))
}

/// One item, screened and checked.
fn item<T: Register>(
    app: &App,
    integration: &Integration,
    body: Value,
    ignore_unknown: bool,
) -> Result<Member, Error> {
    let screened = screen(app.schemas.get(&T::name())?, body, ignore_unknown)?;
    let input: T = screened.read()?;
    let against = Against {
        integration,
        directory: &app.live.get(),
        now: app.clock.now(),
        entropy: &*app.entropy,
    };
    let checked = input.check(&against, &|field| screened.is_broken(field));
    screened.settle(checked)
}

/// Registers members, all or none.
async fn store(
    app: &App,
    by: &Actor,
    integration: &Integration,
    action: &'static str,
    members: Vec<Member>,
) -> Result<Vec<store::Registered>, Error> {
    let now = app.clock.now();
    let stored = app
        .store
        .members_register(by, integration.id, action, members, now)
        .await?
        .ok_or_else(stored::none)?;
    app.follow().await?;
    Ok(stored)
}

/// Registers one member, and answers with its record.
async fn one<T: Register>(app: &App, asked: &Asked, body: Value) -> Result<Response, Error> {
    let integration = asked.integration(app)?;
    let member = item::<T>(app, &integration, body, asked.ignore_unknown)?;
    let stored = store(app, &asked.by, &integration, T::ONE.id, vec![member]).await?;
    let id = stored.first().map_or("", |one| &one.id);
    let result: T::Record = lists::resource(app, &asked.by.scope, T::KIND, id).await?;
    Ok(Json(Registered { result }).into_response())
}

/// A problem of the whole body.
fn whole(why: impl Into<String>) -> Error {
    Error::invalid(&[Issue::new("custom", Vec::new(), why, Value::Null)])
}

/// Registers many members, all or none.
async fn many<T: Register>(app: &App, asked: &Asked, body: Value) -> Result<Response, Error> {
    let integration = asked.integration(app)?;
    let Value::Array(items) = body else {
        return Err(whole("Expected an array of items to register"));
    };
    if items.is_empty() || items.len() > BULK_MAX_ITEMS {
        return Err(whole(format!(
            "Register 1 to {BULK_MAX_ITEMS} items at once; these are {}",
            items.len()
        )));
    }
    let (mut members, mut problems) = (Vec::with_capacity(items.len()), Problems::default());
    let mut places: HashMap<String, usize> = HashMap::new();
    for (index, body) in items.into_iter().enumerate() {
        let x_id = body["x_id"].as_str().unwrap_or_default().trim().to_owned();
        if !x_id.is_empty()
            && let Some(first) = places.insert(x_id, index)
        {
            let path = vec![Step::Index(index), Step::from("x_id")];
            let why = format!("The item with index {first} has this x_id too");
            problems.add(Issue::new("custom", path, why, Value::Null));
        }
        match item::<T>(app, &integration, body, asked.ignore_unknown) {
            Ok(member) => members.push(member),
            Err(why) => problems.join(why.at(index)?),
        }
    }
    if !problems.is_empty() {
        return Err(Error::of(problems));
    }
    let x_ids: Vec<String> = members.iter().map(|one| one.x_id.clone()).collect();
    let stored = store(app, &asked.by, &integration, T::MANY.id, members).await?;
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

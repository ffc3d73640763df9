//! When tours are possible: a question that is put to a vendor while a caller waits.
//!
//! Guarantee: bounded in time ([`ASK_TIMEOUT`]), in number ([`crate::limits::vendor_calls`]), and in
//! how often a vendor hears the same question ([`crate::cache::availability`]); it touches neither
//! the store nor the worker, so it never harms a write.

use std::time::Duration;

use axum::{
    Json,
    extract::{FromRequest as _, Request, State},
    response::{IntoResponse, Response},
};
use connectors::{Connector, FetchFailure, component::Component, connector::BodyOf};
use model::{
    JobId, Permission, Vendor,
    permission::{Group, Level},
    resources::{
        appointment::{
            Availability,
            availability::{AvailabilityRequest, Checked, check},
        },
        checks::Context,
    },
};
use serde::Serialize;
use tokio::time::timeout;
use utoipa::{ToSchema, openapi::HttpMethod};
use utoipa_axum::router::UtoipaMethodRouter;

use crate::{
    cache::availability::{KEPT_MS, TROUBLE_KEPT_MS},
    document::{
        operation::{self as documented, RequestBody},
        parameters::WriteQuery,
        problems::QuestionProblems,
    },
    door::{body::JsonBody, caller::AnyCaller, preferences},
    error::Error,
    screening::{Draft, Target},
    state::App,
};

/// How long a caller waits for the vendor at most.
pub const ASK_TIMEOUT: Duration = Duration::from_secs(5);

/// The longest `Retry-After` that is passed on from the vendor, in seconds.
const RETRY_AFTER_MAX_S: u32 = 60;

/// The answer to a question when tours are possible.
#[derive(Serialize, ToSchema)]
pub struct AvailabilityAnswer {
    /// About the question.
    pub meta: QuestionMeta,
    /// The calendars: one.
    pub result: Vec<Availability>,
}

/// About a question to the vendor.
#[derive(Serialize, ToSchema)]
pub struct QuestionMeta {
    /// What names the question in the log. Nothing of it is kept.
    pub job_id: String,
}

/// The question when tours are possible, whatever the vendor.
#[derive(ToSchema)]
#[schema(as = AppointmentAvailability)]
pub struct GenericAvailabilityQuery {}

/// The permission that the question takes.
const PERMISSION: Permission = Permission::of(Group::Appointments, Level::Read);

/// The path that finds the vendor.
const PATH: &str = "/crm/v1/appointment-availability";

/// The document's heading.
const SUMMARY: &str = "Query Realtime Appointment Availability";

/// The question whoever the vendor is.
pub const BODY: Component = Component::of::<GenericAvailabilityQuery>();

/// The route that finds the vendor.
pub fn generic_route() -> UtoipaMethodRouter<App> {
    let described = described(None, SUMMARY.to_owned(), BODY);
    route(described, Target::Generic)
}

/// The route of a vendor that can be asked.
pub fn vendor_route(connector: &Connector) -> Option<UtoipaMethodRouter<App>> {
    let definition = connector.definition();
    let own = definition.availability.as_ref()?;
    let vendor = connector.vendor();
    let summary = format!("{SUMMARY}: {}", definition.title);
    let described = documented::Operation {
        description: own.description,
        ..described(Some(vendor), summary, own.body)
    };
    Some(route(described, Target::Of(vendor)))
}

/// The path of a vendor, whether it can be asked or not.
pub fn vendor_path(vendor: Vendor) -> String {
    format!("{PATH}/{}", vendor.slug())
}

/// The operation, of a vendor or of whichever it is.
fn described(vendor: Option<Vendor>, summary: String, body: Component) -> documented::Operation {
    let id = "availability_query";
    documented::Operation {
        id: vendor.map_or(id.to_owned(), |vendor| format!("{id}_{}", vendor.slug())),
        method: HttpMethod::Post,
        path: vendor.map_or(PATH.to_owned(), vendor_path),
        path_parameter: "",
        tag: "Appointments",
        summary,
        description: "Finds the vendor from the integration and asks it.",
        permission: PERMISSION,
        parameters: documented::query::<WriteQuery>(),
        body: Some(RequestBody::One(body)),
        answer: (
            "When tours are possible",
            Component::of::<AvailabilityAnswer>(),
        ),
        problems: documented::problems::<QuestionProblems>(),
    }
}

fn route(described: documented::Operation, target: Target) -> UtoipaMethodRouter<App> {
    described.route(async move |State(app): State<App>, request: Request| {
        answer(&app, target, request).await
    })
}

async fn answer(app: &App, target: Target, request: Request) -> Result<Response, Error> {
    let (mut parts, body) = request.into_parts();
    let caller = AnyCaller::of(&mut parts, app, PERMISSION)?;
    let uri = parts.uri.clone();
    let request = Request::from_parts(parts, body);
    let JsonBody(body) = <JsonBody>::from_request(request, app).await?;
    let ignore_unknown = preferences::ignores_unknown_fields(&uri)?;
    let draft = Draft {
        generic: BODY,
        of: BodyOf::Availability,
        target,
        body,
        ignore_unknown,
    };
    let scope = &caller.scope;
    let (vendor, screened) = draft.screened(app, scope)?;
    let input: AvailabilityRequest = screened.read()?;
    let checked = check(
        input,
        Context {
            vendor,
            directory: &app.live.get(),
            scope,
            broken: &|field| screened.is_broken(field),
        },
    );
    let question = screened.settle(checked)?;
    let job_id = JobId::new(app.clock.now(), &*app.entropy);
    tracing::debug!(%job_id, "the vendor is asked when tours are possible");
    let availability = timeout(ASK_TIMEOUT, told(app, vendor, &question))
        .await
        .map_err(|_| {
            Error::unavailable(format!(
                "{vendor} did not answer within {} s. Ask again in a moment",
                ASK_TIMEOUT.as_secs()
            ))
        })??;
    // The vendor may have taken a while.
    app.admit(scope)?;
    let answer = AvailabilityAnswer {
        meta: QuestionMeta {
            job_id: job_id.to_string(),
        },
        result: vec![availability],
    };
    Ok(Json(answer).into_response())
}

/// What is kept, or else what the vendor says now. Who asks the same meanwhile waits for that answer.
async fn told(app: &App, vendor: Vendor, question: &Checked) -> Result<Availability, Error> {
    let kind = question
        .request
        .appointment_type
        .clone()
        .unwrap_or_default();
    let key = (question.community.id, kind.clone());
    let answer = app.cache.availability.of(key);
    let mut kept = answer.lock().await;
    if let Some((until, answer)) = &*kept
        && *until > app.clock.steady()
    {
        return answer.clone().map_err(|why| trouble(&why));
    }
    let _slot = app.limits.vendor_calls.slot(question.integration.id)?;
    let (asked_at, begun) = (app.clock.now(), app.clock.steady());
    // Should the caller lose patience in the middle, who asks next is not to wait as long for the same.
    let late = FetchFailure {
        class: model::write::Class::Retry,
        is_gone: false,
        error: format!("{vendor} did not answer in time"),
        retry_after_ms: None,
    };
    let patience = i64::try_from(ASK_TIMEOUT.as_millis()).unwrap_or(i64::MAX);
    *kept = Some((begun.plus_millis(patience + TROUBLE_KEPT_MS), Err(late)));
    let availability = app.connector(vendor)?.connections().availability.as_ref();
    let availability = availability.ok_or_else(|| Error::not_taken(vendor))?;
    let connections = app.connector(vendor)?.connections();
    let answer = match app.tokens.target(&question.integration, connections).await {
        Ok(target) => availability
            .availability_fetch(&target, &question.community.x_id, &kind)
            .await
            .map(|times| Availability::of(times, &question.community, asked_at)),
        Err(why) => Err(why),
    };
    let kept_ms = match &answer {
        Ok(_) => KEPT_MS,
        Err(why) => i64::from(retry_after_s(why)) * 1_000,
    };
    *kept = Some((app.clock.steady().plus_millis(kept_ms), answer.clone()));
    answer.map_err(|why| trouble(&why))
}

/// When the vendor may be asked again: when it said so, within bounds.
fn retry_after_s(why: &FetchFailure) -> u32 {
    let asked_ms = why.retry_after_ms.unwrap_or(0).max(TROUBLE_KEPT_MS as u64);
    u32::try_from(asked_ms.div_ceil(1_000)).map_or(RETRY_AFTER_MAX_S, |seconds| {
        seconds.clamp(1, RETRY_AFTER_MAX_S)
    })
}

fn trouble(why: &FetchFailure) -> Error {
    Error {
        retry_after_s: Some(retry_after_s(why)),
        ..Error::unavailable(format!("{}. Ask again in a moment", why.error))
    }
}

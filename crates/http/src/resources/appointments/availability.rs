//! When tours are possible: a question that is put to a vendor while a caller waits.
//!
//! Guarantee: bounded in time ([`ASK_TIMEOUT`]), in number ([`crate::limits::vendor_calls`]), and in
//! how often a vendor hears the same question ([`crate::cache::availability`]); it touches neither
//! the store nor the worker, so it never harms a write.

use std::time::Duration;

use axum::{
    Json,
    extract::State,
    http::Uri,
    response::{IntoResponse, Response},
};
use connectors::{NotTold, Target as Account};
use model::{
    JobId, Scope,
    directory::Vendor,
    resources::appointment::{
        Availability, AvailabilityQuery,
        availability::{Checked, check},
    },
};
use serde::Serialize;
use serde_json::Value;
use tokio::time::timeout;
use utoipa::ToSchema;

use crate::{
    cache::availability::{KEPT_MS, TROUBLE_KEPT_MS},
    document::{parameters::WriteQuery, problems::QuestionProblems},
    door::{
        body::JsonBody,
        caller::{AppointmentsRead, Caller},
        preferences,
    },
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

/// Query Realtime Appointment Availability: Knock
///
/// Asks Knock when tours are possible. Answers are given again for ten seconds. When Knock is slow or fails, the answer is 503 within five seconds.
#[utoipa::path(
    post,
    path = "/crm/v1/appointment-availability/knock",
    operation_id = "availability_get_knock",
    tag = "Appointments",
    params(WriteQuery),
    request_body = AvailabilityQuery,
    responses((status = 200, description = "When tours are possible", body = AvailabilityAnswer), QuestionProblems),
    security(("bearer" = ["appointments:read"]))
)]
pub async fn availability_get_knock(
    State(app): State<App>,
    caller: Caller<AppointmentsRead>,
    uri: Uri,
    JsonBody(body): JsonBody,
) -> Result<Response, Error> {
    answer(&app, &caller.scope, &uri, Target::Of(Vendor::Knock), body).await
}

/// Query Realtime Appointment Availability
///
/// Finds the vendor from the integration and asks it.
#[utoipa::path(
    post,
    path = "/crm/v1/appointment-availability",
    operation_id = "availability_get",
    tag = "Appointments",
    params(WriteQuery),
    request_body = GenericAvailabilityQuery,
    responses((status = 200, description = "When tours are possible", body = AvailabilityAnswer), QuestionProblems),
    security(("bearer" = ["appointments:read"]))
)]
pub async fn availability_get(
    State(app): State<App>,
    caller: Caller<AppointmentsRead>,
    uri: Uri,
    JsonBody(body): JsonBody,
) -> Result<Response, Error> {
    answer(&app, &caller.scope, &uri, Target::Generic, body).await
}

async fn answer(
    app: &App,
    scope: &Scope,
    uri: &Uri,
    target: Target,
    body: Value,
) -> Result<Response, Error> {
    let ignore_unknown = preferences::ignores_unknown_fields(uri)?;
    let draft = Draft {
        schema: "AppointmentAvailability",
        target,
        subject: None,
        body,
        ignore_unknown,
    };
    let (vendor, screened) = draft.screened(app, scope)?;
    let input: AvailabilityQuery = screened.read()?;
    let broken = |field: &str| screened.is_broken(field);
    let checked = check(&input, vendor, &app.live.get(), scope, &broken);
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
    let key = (question.community.id, question.appointment_type);
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
    let late = NotTold {
        class: model::write::Class::Retry,
        is_gone: false,
        error: format!("{vendor} did not answer in time"),
        retry_after_ms: None,
    };
    let patience = i64::try_from(ASK_TIMEOUT.as_millis()).unwrap_or(i64::MAX);
    *kept = Some((begun.plus_millis(patience + TROUBLE_KEPT_MS), Err(late)));
    let connector = app.connector(vendor)?;
    let target = Account::of(&question.integration);
    let answer = connector
        .availability_fetch(&target, &question.community.x_id, question.appointment_type)
        .await
        .map(|times| Availability::of(times, &question.community, asked_at));
    let kept_ms = match &answer {
        Ok(_) => KEPT_MS,
        Err(why) => i64::from(retry_after_s(why)) * 1_000,
    };
    *kept = Some((app.clock.steady().plus_millis(kept_ms), answer.clone()));
    answer.map_err(|why| trouble(&why))
}

/// When the vendor may be asked again: when it said so, within bounds.
fn retry_after_s(why: &NotTold) -> u32 {
    let asked_ms = why.retry_after_ms.unwrap_or(0).max(TROUBLE_KEPT_MS as u64);
    u32::try_from(asked_ms.div_ceil(1_000)).map_or(RETRY_AFTER_MAX_S, |seconds| {
        seconds.clamp(1, RETRY_AFTER_MAX_S)
    })
}

fn trouble(why: &NotTold) -> Error {
    Error {
        retry_after_s: Some(retry_after_s(why)),
        ..Error::unavailable(format!("{}. Ask again in a moment", why.error))
    }
}

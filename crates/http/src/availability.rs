//! When tours are possible: the one question that is put to a vendor while a caller waits.
//!
//! Guarantee: bounded in time ([`ASK_TIMEOUT`]), in number ([`ASKS_MAX`]), and in how often a vendor hears the same question ([`KEPT_MS`]); it touches neither
//! the store nor the worker, so it never harms a write.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    Json,
    extract::State,
    http::Uri,
    response::{IntoResponse, Response},
};
use connectors::{NotTold, Target};
use model::{
    CommunityId, IntegrationId, JobId, Scope, Timestamp,
    directory::Vendor,
    resources::appointment::{
        AppointmentType, Availability, AvailabilityQuery,
        availability::{Checked, check},
    },
};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::{
    App,
    body::JsonBody,
    caller::{AppointmentsRead, Caller},
    error::Error,
    intake::{self, Route},
    openapi::{
        AvailabilityAnswer, BodyKind, GenericAvailabilityQuery, QuestionProblems, WriteQuery,
    },
    preferences,
    tally::Tally,
};

/// How long a caller waits for the vendor at most.
pub const ASK_TIMEOUT: Duration = Duration::from_secs(5);

/// How long an answer is given again, in milliseconds: slots change when somebody books, and pages that show them ask all at once.
pub const KEPT_MS: i64 = 10_000;

/// How long the vendor is left alone after it failed, in milliseconds.
pub const TROUBLE_KEPT_MS: i64 = 1_000;

/// Questions under way at once, over all integrations: each holds a connection.
pub const ASKS_MAX: usize = 64;

/// Questions of one integration under way at once, so that a vendor that hangs leaves places to the
/// others.
pub const ASKS_OF_ONE_MAX: usize = ASKS_MAX / 4;

/// The longest `Retry-After` that is passed on from the vendor, in seconds.
const RETRY_AFTER_MAX_S: u32 = 60;

/// What is asked: a community, and how the tour would be made.
type Question = (CommunityId, AppointmentType);

/// What was answered, and until when that is given again.
type Kept = Option<(Timestamp, Result<Availability, NotTold>)>;

/// The questions and what was answered last. Bounded by the communities there are: only what exists can be asked about.
#[derive(Default)]
pub struct Desk {
    kept: Mutex<HashMap<Question, Arc<tokio::sync::Mutex<Kept>>>>,
    /// Questions under way of each integration that has any.
    under_way: Mutex<Tally<IntegrationId>>,
}

impl Desk {
    /// A place for one question to the vendor of an integration.
    ///
    /// # Errors
    /// 503 when too many are under way.
    pub fn place(&self, integration: IntegrationId) -> Result<Place<'_>, Error> {
        let mut under_way = lock(&self.under_way);
        if under_way.of(&integration) >= ASKS_OF_ONE_MAX {
            return Err(Error::unavailable(
                "Too many questions to the vendor of this integration are under way",
            ));
        }
        if under_way.total() >= ASKS_MAX {
            return Err(Error::unavailable(
                "Too many questions to vendors are under way",
            ));
        }
        under_way.add(integration, 1);
        Ok(Place {
            desk: self,
            integration,
        })
    }
}

/// The place of a question, given back when dropped.
pub struct Place<'a> {
    desk: &'a Desk,
    integration: IntegrationId,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        lock(&self.desk.under_way).take_back(&self.integration, 1);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

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
    answer(&app, &caller.scope, &uri, Route::Of(Vendor::Knock), body).await
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
    answer(&app, &caller.scope, &uri, Route::Generic, body).await
}

async fn answer(
    app: &App,
    scope: &Scope,
    uri: &Uri,
    route: Route,
    body: Value,
) -> Result<Response, Error> {
    let ignore_unknown = preferences::ignores_unknown_fields(uri)?;
    let subject = BodyKind::AppointmentAvailability;
    let (vendor, screened) = intake::screened_as(app, scope, route, subject, body, ignore_unknown)?;
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
    Ok(Json(json!({ "meta": { "job_id": job_id }, "result": [availability] })).into_response())
}

/// What is kept, or else what the vendor says now. Who asks the same meanwhile waits for that answer.
async fn told(app: &App, vendor: Vendor, question: &Checked) -> Result<Availability, Error> {
    let key = (question.community.id, question.appointment_type);
    let slot = lock(&app.desk.kept).entry(key).or_default().clone();
    let mut kept = slot.lock().await;
    if let Some((until, answer)) = &*kept
        && *until > app.clock.steady()
    {
        return answer.clone().map_err(|why| trouble(&why));
    }
    let _place = app.desk.place(question.integration.id)?;
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
    let connector = intake::connector(app, vendor)?;
    let target = Target::of(&question.integration);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::Fixed;

    fn integration(number: u8) -> IntegrationId {
        IntegrationId::new(Timestamp::ZERO, &Fixed(number))
    }

    #[test]
    fn an_integration_that_hangs_leaves_places_to_the_others() {
        let desk = Desk::default();
        let mut held = Vec::new();
        for one in 0..4 {
            for _ in 0..ASKS_OF_ONE_MAX {
                held.push(desk.place(integration(one)).ok());
            }
            assert!(desk.place(integration(one)).is_err(), "{one}");
        }
        assert!(held.iter().all(Option::is_some));
        assert!(desk.place(integration(4)).is_err(), "all are taken");
        held.pop();
        assert!(desk.place(integration(4)).is_ok());
        assert!(desk.place(integration(3)).is_ok());
        held.clear();
        assert!(lock(&desk.under_way).is_empty());
    }
}

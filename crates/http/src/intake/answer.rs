//! The answer to a write.
//!
//! Guarantee: a replay is answered as the first request was, byte for byte in what it echoes; how
//! the write ended is told only to callers who may read that.

use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::Response,
};
use connectors::component::Component;
use model::{
    JobId, Permission, Scope,
    permission::{Group, Level},
};
use serde_json::value::RawValue;
use store::Acceptance;

use super::WriteRoute;
use crate::{
    document::answers::{Accepted, AcceptedMeta, Data, GenericAccepted},
    door::waiting::{EndWait, await_end},
    error::Error,
    state::App,
};

/// A request for a write, as far as its answer depends on it.
pub(super) struct Asked<'a> {
    pub(super) route: &'a WriteRoute,
    pub(super) scope: &'a Scope,
    pub(super) headers: &'a HeaderMap,
}

/// A write that is on stable storage.
pub struct Stored {
    /// Its id.
    pub job_id: JobId,
    /// Its body as it was accepted, as JSON.
    pub echo: String,
    /// True if it was stored before, under the same idempotency key.
    pub is_replay: bool,
}

impl Stored {
    /// The write that the store tells of. `fresh` is the id and the echo of one that was given to it
    /// now.
    ///
    /// # Errors
    /// When the idempotency key stands for another request, or for a write whose contents are gone.
    pub fn of(acceptance: Acceptance, fresh: Option<(JobId, String)>) -> Result<Self, Error> {
        let (job_id, echo, is_replay) = match (acceptance, fresh) {
            (Acceptance::Accepted, Some((job_id, echo))) => (job_id, echo, false),
            (Acceptance::Replayed { job_id, result }, _) => (job_id, result, true),
            (Acceptance::Mismatch, _) => return Err(Error::idempotency_mismatch()),
            (Acceptance::Erased { at }, _) => return Err(Error::erased(at)),
            (Acceptance::Accepted, None) => {
                return Err(Error::internal(
                    "the store took a write that was not given to it",
                ));
            }
        };
        Ok(Self {
            job_id,
            echo,
            is_replay,
        })
    }

    /// Tells in `headers` that it was stored before, if it was.
    pub fn tell(&self, headers: &mut HeaderMap) {
        if self.is_replay {
            headers.insert("idempotency-replayed", HeaderValue::from_static("true"));
        }
    }
}

/// The body of the answer to a write.
#[derive(Clone, Copy)]
pub struct Answer {
    component: Component,
    write: fn(AcceptedMeta, String) -> serde_json::Result<String>,
}

impl Answer {
    /// The type in the document.
    pub const fn component(self) -> Component {
        self.component
    }
}

/// The accepted body comes back, as the paths of a vendor answer.
pub(super) const fn echo() -> Answer {
    Answer {
        component: Component::of::<Accepted>(),
        write: |meta, echo| {
            let result = RawValue::from_string(echo)?;
            serde_json::to_string(&Accepted { meta, result })
        },
    }
}

/// The write's id comes back, as the generic paths answer.
pub(super) const fn job() -> Answer {
    Answer {
        component: Component::of::<GenericAccepted>(),
        write: |meta, _| {
            serde_json::to_string(&GenericAccepted {
                job_id: meta.job_id.clone(),
                data: Data {},
                meta: meta.write_status.is_some().then_some(meta),
            })
        },
    }
}

/// Whether the caller may learn how a write ended: an outcome and the id of a record may be
/// somebody else's, whom the vendor has found by a contact. So it takes the permission to read what
/// the operation makes, or what became of writes.
fn may_learn_end(scope: &Scope, takes: Permission) -> bool {
    [takes.group, Some(Group::Writes)]
        .into_iter()
        .flatten()
        .any(|group| scope.may(Permission::of(group, Level::Read)))
}

/// Answers a write that is stored.
///
/// # Errors
/// 500 when the answer cannot be written.
pub(super) async fn answer(
    app: &App,
    asked: &Asked<'_>,
    stored: Stored,
) -> Result<Response, Error> {
    let job_id = stored.job_id;
    // A caller who may not learn the end does not learn either how long it took.
    let wait = if may_learn_end(asked.scope, asked.route.operation.permission) {
        EndWait::of(app, asked.scope, asked.headers)
    } else {
        None
    };
    let wait_s = wait.as_ref().map(|wait| wait.seconds);
    let ended = match wait {
        Some(wait) => await_end(app, asked.scope, job_id, Some(wait)).await,
        None => Ok(None),
    };
    // The write is stored, whatever becomes of the wait: an error would have it sent again.
    let ended = ended.unwrap_or_else(|why| {
        if why.status != StatusCode::UNAUTHORIZED {
            tracing::warn!(why = why.message, %job_id, "how a write stands could not be read for who waits; it is answered without");
        }
        None
    });
    let mut meta = AcceptedMeta::of(job_id);
    if let Some(write) = ended {
        meta.write_status = Some(write.status);
        meta.errors = Some(write.errors);
        meta.created_record_id = Some(write.record_id);
    }
    let mut response = Response::default();
    let headers = response.headers_mut();
    stored.tell(headers);
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    if let Some(wait_s) = wait_s
        && let Ok(applied) = HeaderValue::try_from(format!("wait={wait_s}"))
    {
        headers.insert("preference-applied", applied);
    }
    let body = (asked.route.answer.write)(meta, stored.echo).map_err(Error::internal)?;
    *response.body_mut() = Body::from(body);
    Ok(response)
}

//! Forgetting a prospect.

use axum::{
    Json,
    extract::{Path, State},
    response::{IntoResponse, Response},
};
use model::record::Kind;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    document::problems::PlainChangeProblems,
    door::caller::{Caller, ProspectsAdmin},
    error::Error,
    state::App,
};

/// The answer to an erasure.
#[derive(Serialize, ToSchema)]
pub struct ErasureAnswer {
    /// What was forgotten.
    pub result: ErasureResult,
}

/// What was forgotten of a prospect.
#[derive(Serialize, ToSchema)]
pub struct ErasureResult {
    /// The prospect.
    pub id: String,
    /// When.
    #[schema(format = DateTime)]
    pub erased_at: String,
    /// Writes whose body, request and errors are gone. Their ids, status, outcome and times stay.
    #[schema(minimum = 0)]
    pub writes: u64,
    /// Attempts that are gone, with what the vendor answered.
    #[schema(minimum = 0)]
    pub attempts: u64,
    /// Records in which nothing personal is left: the prospect's own, and its events and appointments.
    #[schema(minimum = 0)]
    pub records: u64,
    /// Data diffs that are gone.
    #[schema(minimum = 0)]
    pub diffs: u64,
}

/// Forget a prospect
///
/// Removes what Portico holds of the person: from the record, its events and appointments, every write that made or concerned them, whether it
/// succeeded or failed, the attempts, and the data diffs. What accounting needs stays: ids, operation, status, outcome, numbers, times, and consent
/// events. A 200 means that it is done: nothing of it is left in the data directory. Erasing again answers the same.
///
/// It forgets what is here. The vendor has its own copy, and Knock has no call to remove it: ask there. It is of one prospect: who is one in several
/// communities is forgotten in each.
#[utoipa::path(
    post,
    path = "/v1/admin/prospects/{id}/erase",
    operation_id = "prospect_erase",
    tag = "Privacy",
    params(("id" = String, Path, description = "The prospect's id")),
    responses(
        (status = 200, description = "The person is forgotten", body = ErasureAnswer),
        PlainChangeProblems
    ),
    security(("bearer" = ["prospects:admin"]))
)]
pub async fn prospect_erase(
    State(app): State<App>,
    caller: Caller<ProspectsAdmin>,
    Path(id): Path<String>,
) -> Result<Response, Error> {
    let none = || Error::not_found("prospect");
    let before = app
        .store
        .record_find(&caller.scope, Kind::Prospect, &id)
        .await?
        .ok_or_else(none)?;
    let erased = app
        .store
        .prospect_erase(&caller.actor(), &id, app.clock.now())
        .await;
    let is_gone = matches!(erased, Ok(Some(_)) | Err(store::Error::Unfinished(_)));
    if let (true, Some(forget), Some(x_id)) = (is_gone, &app.vendor_forgets, before.x_id) {
        let forget = forget.clone();
        let forgot = tokio::task::spawn_blocking(move || forget(&x_id)).await;
        if let Ok(Err(why)) = forgot {
            tracing::error!(%why, "the vendor that is played here could not forget a card");
        }
    }
    let erasure = erased?.ok_or_else(none)?;
    let counts = erasure.counts;
    let result = ErasureResult {
        id: erasure.id,
        erased_at: erasure.erased_at.to_string(),
        writes: counts.writes,
        attempts: counts.attempts,
        records: counts.records,
        diffs: counts.diffs,
    };
    Ok(Json(ErasureAnswer { result }).into_response())
}

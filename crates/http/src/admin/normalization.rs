//! The vocabulary in force: our values, and the vendors' words for them.
//!
//! Source: the public contract, section 5.

use axum::{
    Json,
    extract::{Path, State},
    response::{IntoResponse, Response},
};
use model::record::Kind;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    document::problems::GetProblems,
    door::caller::{Caller, DirectoryRead},
    error::Error,
    state::App,
};

/// The vocabulary of a field.
#[derive(Serialize, ToSchema)]
pub struct NormalizationAnswer {
    /// Our values, with what each vendor calls them.
    pub results: Vec<Normalization>,
}

/// One value.
#[derive(Serialize, ToSchema)]
pub struct Normalization {
    /// The vendor.
    pub integration_vendor: String,
    /// The value that bodies take.
    #[schema(example = "CAT")]
    pub value: String,
    /// What the vendor is sent for it.
    #[schema(example = "CAT")]
    pub vendor_value: String,
}

/// Get a field's vocabulary
///
/// The values of a field, as in force, and the vendor's words for them.
#[utoipa::path(
    get,
    path = "/v1/admin/normalization/{model}/{field}",
    operation_id = "normalization_get",
    tag = "Administration",
    params(
        ("model" = String, Path, description = "Such as `crm_prospects`"),
        ("field" = String, Path, description = "Such as `pets`"),
    ),
    responses((status = 200, description = "The vocabulary", body = NormalizationAnswer), GetProblems),
    security(("bearer" = ["directory:read"]))
)]
pub async fn normalization_get(
    State(app): State<App>,
    _caller: Caller<DirectoryRead>,
    Path((model, field)): Path<(String, String)>,
) -> Result<Response, Error> {
    let with_fields = || {
        Kind::ALL
            .iter()
            .copied()
            .filter(|kind| !kind.facts().vocabulary.is_empty())
    };
    let Some(kind) = with_fields().find(|kind| kind.model() == model) else {
        let models: Vec<&str> = with_fields().map(Kind::model).collect();
        return Err(Error::not_found_among("model with a vocabulary", &models));
    };
    if !kind.facts().vocabulary.contains(&field.as_str()) {
        return Err(Error::not_found_among(
            "field with a vocabulary in this model",
            kind.facts().vocabulary,
        ));
    }
    let mut results = Vec::new();
    for connector in app.registry.connectors() {
        let vendor = connector.vendor();
        let vocabulary = connector.vocabulary();
        results.extend(vocabulary.values(&field).map(|value| {
            Normalization {
                integration_vendor: vendor.name().to_owned(),
                value: value.to_owned(),
                vendor_value: vocabulary
                    .literal(&field, value)
                    .unwrap_or_default()
                    .to_owned(),
            }
        }));
    }
    Ok(Json(NormalizationAnswer { results }).into_response())
}

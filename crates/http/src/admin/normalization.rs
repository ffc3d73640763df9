//! The vocabulary in force: our values, and a vendor's words for them.
//!
//! Source: the public contract, sections 5 and 8.3.

use std::collections::BTreeMap;

use axum::{
    Json,
    extract::{Path, State},
    http::Uri,
    response::{IntoResponse, Response},
};
use model::record::Kind;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    document::problems::InnerListProblems,
    door::{
        caller::{Caller, DirectoryRead},
        query::Parameters,
    },
    error::Error,
    state::App,
};

/// The vocabulary of a field.
#[derive(Serialize, ToSchema)]
pub struct NormalizationAnswer {
    /// The vocabulary.
    pub results: Normalization,
}

/// Our values for a field, and a vendor's words for them.
#[derive(Serialize, ToSchema)]
pub struct Normalization {
    /// Whether the operator has changed the vocabulary that is built in.
    pub is_custom_mapping: bool,
    /// The vendor's word for each value that bodies take.
    #[schema(example = json!({ "CAT": "CAT" }))]
    pub mappings: BTreeMap<String, String>,
    /// The value that stands where a body says nothing; `null` when there is none.
    pub default_value: Option<String>,
}

/// What a query for a vocabulary may say.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "the type stands for its documentation")]
pub struct NormalizationParameters {
    /// Of this vendor
    integration_vendor: String,
    /// As it is in force for this integration: the same for all of a vendor
    #[param(required = false, value_type = String, min_length = 1, pattern = r"\S")]
    integration_id: Option<String>,
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
        NormalizationParameters,
    ),
    responses((status = 200, description = "The vocabulary", body = NormalizationAnswer), InnerListProblems),
    security(("bearer" = ["directory:read"]))
)]
pub async fn normalization_get(
    State(app): State<App>,
    caller: Caller<DirectoryRead>,
    Path((model, field)): Path<(String, String)>,
    uri: Uri,
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
    let mut given = Parameters::of(&uri);
    let vendor = given.required("integration_vendor", |name| app.registry.find(name));
    let directory = app.live.get();
    let integration = given.found("integration_id", |id| {
        let found = directory.find_integration(&caller.scope, id);
        found.ok_or("There is no integration with this id, or your key may not see it")
    });
    if let (Some(vendor), Some(integration)) = (vendor, integration)
        && integration.vendor != vendor
    {
        given.refuse(
            "integration_id",
            "This integration is one of another vendor",
        );
    }
    given.finish()?;
    let vendor = vendor.ok_or_else(|| Error::internal("a required parameter was passed over"))?;
    let connector = app.connector(vendor)?;
    let (vocabulary, built_in) = (
        connector.vocabulary(),
        (connector.definition().vocabulary)(),
    );
    let mappings = |vocabulary: &model::vocabulary::Vocabulary| -> BTreeMap<String, String> {
        let words = vocabulary.values(&field).map(|value| {
            let word = vocabulary.literal(&field, value).unwrap_or_default();
            (value.to_owned(), word.to_owned())
        });
        words.collect()
    };
    let results = Normalization {
        is_custom_mapping: mappings(vocabulary) != mappings(&built_in),
        mappings: mappings(vocabulary),
        default_value: None,
    };
    Ok(Json(NormalizationAnswer { results }).into_response())
}

//! People: who signs in to the console.
//!
//! There is no console yet, so there are none. The published contract has the operations, and its
//! clients get the answers that they know.
//! Source: the public contract, section 8.3.

use axum::{extract::Path, http::Uri, response::Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    document::{
        answers::{Answer, Page},
        parameters::ListParameters,
        problems::{GetProblems, ListProblems},
    },
    door::caller::{Caller, KeysAdmin},
    error::Error,
    lists::answers::empty_page,
};

/// A person.
#[derive(Serialize, ToSchema)]
pub struct User {
    /// The person's id.
    pub id: String,
    /// The first name.
    pub first_name: String,
    /// The last name.
    pub last_name: String,
    /// The email address.
    pub email: String,
    /// `ADMIN`, `DEVELOPER`, `SUPPORT`, `READ_ONLY`.
    pub roles: Vec<String>,
}

/// A page of people.
type UserPage = Page<User>;

/// One person.
type UserAnswer = Answer<User>;

/// List users
///
/// The people who sign in to the console. There are none without a console.
#[utoipa::path(
    get,
    path = "/v1/admin/users",
    operation_id = "users_list",
    tag = "Administration",
    params(ListParameters),
    responses((status = 200, description = "A page of users", body = UserPage), ListProblems),
    security(("bearer" = ["keys:admin"]))
)]
pub async fn users_list(_caller: Caller<KeysAdmin>, uri: Uri) -> Result<Response, Error> {
    empty_page::<User>(&uri)
}

/// Get a user
#[utoipa::path(
    get,
    path = "/v1/admin/users/{id}",
    operation_id = "user_get",
    tag = "Administration",
    params(("id" = String, Path, description = "The user's id")),
    responses((status = 200, description = "The user", body = UserAnswer), GetProblems),
    security(("bearer" = ["keys:admin"]))
)]
pub async fn user_get(
    _caller: Caller<KeysAdmin>,
    Path(_id): Path<String>,
) -> Result<Response, Error> {
    Err(Error::not_found("user"))
}

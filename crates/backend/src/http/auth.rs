//! `/api/v1/auth`: log in, see who one is, manage API keys; and the public keys of tokens.

mod body;

use std::sync::Arc;

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use chrono::Utc;
use http::{HeaderValue, StatusCode, header};
use sutazai_auth::{
    http::Authenticated,
    keys::{Issuer, KeySet},
};
use uuid::Uuid;

use self::body::{CreatedKey, KeyItem, LoggedIn, Login, Me, NewKey};
use super::{
    input::{json::Json, path::Id},
    page::Page,
    problem::Failure,
};
use crate::accounts::Accounts;

/// Limit of these bodies in bytes.
const MAX_BODY: usize = 16 * 1024;
/// How long a key set may be kept by others: a withdrawn key is refused here at once anyway.
const JWKS_CACHE: &str = "public, max-age=60";

/// Logs in with a name and a password; the token holds for five minutes.
#[utoipa::path(
    post,
    path = "/api/v1/auth/login",
    operation_id = "login",
    tag = "auth",
    request_body = Login,
    responses(
        (status = 200, description = "A token", body = LoggedIn),
        (status = 401, description = "Name and password do not belong together"),
        (status = 429, description = "Too many logins are being checked"),
    ),
)]
pub(super) async fn login(
    State(accounts): State<Accounts>,
    Json(login): Json<Login, MAX_BODY>,
) -> Result<axum::Json<LoggedIn>, Failure> {
    let (name, password) = login.read()?;
    let issued = accounts.login(&name, &password).await?;
    Ok(axum::Json(LoggedIn::of(issued, Utc::now())))
}

/// Says on whose behalf the credential acts and what it allows.
#[utoipa::path(
    get,
    path = "/api/v1/auth/me",
    operation_id = "get_me",
    tag = "auth",
    responses((status = 200, description = "The principal of the credential", body = Me)),
)]
pub(super) async fn me(Authenticated(principal): Authenticated) -> axum::Json<Me> {
    axum::Json(Me::of(&principal))
}

/// Makes an API key. This answer is the only one that ever holds it.
#[utoipa::path(
    post,
    path = "/api/v1/auth/keys",
    operation_id = "create_key",
    tag = "auth",
    request_body = NewKey,
    responses((
        status = 201,
        description = "The key, shown this once",
        body = CreatedKey,
        headers(("Location" = String, description = "Where the key can be revoked")),
    )),
)]
pub(super) async fn create_key(
    State(accounts): State<Accounts>,
    Authenticated(principal): Authenticated,
    Json(body): Json<NewKey, MAX_BODY>,
) -> Result<Response, Failure> {
    let grant = body.read(&principal)?;
    let (key, stored) = accounts.create_key(&principal, &grant).await?;
    let location = HeaderValue::try_from(format!("/api/v1/auth/keys/{}", stored.id)).ok();
    let body = axum::Json(CreatedKey::of(&key, stored));
    let mut response = (StatusCode::CREATED, body).into_response();
    if let Some(location) = location {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

/// Lists the caller's API keys, newest first; the keys themselves are nowhere.
#[utoipa::path(
    get,
    path = "/api/v1/auth/keys",
    operation_id = "list_keys",
    tag = "auth",
    responses((status = 200, description = "The keys", body = Page<KeyItem>)),
)]
pub(super) async fn list_keys(
    State(accounts): State<Accounts>,
    Authenticated(principal): Authenticated,
) -> Result<axum::Json<Page<KeyItem>>, Failure> {
    let keys = accounts.keys(&principal).await?;
    let items = keys.into_iter().map(KeyItem::from).collect();
    Ok(axum::Json(Page {
        items,
        next_cursor: None,
    }))
}

/// Revokes an API key; it is refused from now on.
#[utoipa::path(
    delete,
    path = "/api/v1/auth/keys/{id}",
    operation_id = "revoke_key",
    tag = "auth",
    params(("id" = String, Path, description = "Id of the key")),
    responses(
        (status = 204, description = "It is revoked"),
        (status = 404, description = "The caller has no such key that could be revoked"),
    ),
)]
pub(super) async fn revoke_key(
    State(accounts): State<Accounts>,
    Authenticated(principal): Authenticated,
    Id(id): Id<Uuid>,
) -> Result<StatusCode, Failure> {
    accounts.revoke_key(&principal, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Returns the public keys that sign users' tokens (RFC 7517).
#[utoipa::path(
    get,
    path = "/api/v1/auth/jwks",
    operation_id = "get_jwks",
    tag = "auth",
    responses((status = 200, description = "The key set", body = serde_json::Value)),
)]
pub(super) async fn jwks(State(keys): State<Arc<KeySet>>) -> Response {
    let document = keys.jwks(Issuer::Platform);
    ([(header::CACHE_CONTROL, JWKS_CACHE)], axum::Json(document)).into_response()
}

/// Returns the public keys that sign users' tokens, where OAuth clients look for them.
#[utoipa::path(
    get,
    path = "/.well-known/jwks.json",
    operation_id = "get_well_known_jwks",
    tag = "auth",
    responses((status = 200, description = "The key set", body = serde_json::Value)),
)]
pub(super) async fn well_known_jwks(keys: State<Arc<KeySet>>) -> Response {
    jwks(keys).await
}

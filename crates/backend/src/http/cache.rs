//! `/api/v1/cache`: what the cache holds and did, and an operator's hand on it.
//!
//! All services share the level in Redis and hear each other's invalidations; the local level that is
//! shown is the one of the process that answers.

mod body;

use axum::{
    Json as Answer,
    extract::State,
    response::{IntoResponse, Response},
};
use http::StatusCode;
use sutazai_persistence::Cache;

use self::body::{CacheEntry, CacheStats, Forgotten, InvalidateBody, Target};
use super::{
    input::{
        json::Json,
        path::{EntryName, Id},
    },
    problem::Failure,
};
use crate::error::Error;

/// Shows hits and sizes by level and by namespace.
#[utoipa::path(
    get,
    path = "/api/v1/cache",
    operation_id = "get_cache_stats",
    tag = "cache",
    responses((status = 200, description = "What the cache did", body = CacheStats)),
)]
pub(super) async fn stats(State(cache): State<Cache>) -> Answer<CacheStats> {
    Answer(cache.stats().await.into())
}

/// Forgets every entry, in all replicas.
#[utoipa::path(
    delete,
    path = "/api/v1/cache",
    operation_id = "clear_cache",
    tag = "cache",
    responses(
        (status = 204, description = "Nothing is cached any more"),
        (status = 503, description = "Forgotten here; Redis will forget it when it is back"),
    ),
)]
pub(super) async fn clear(State(cache): State<Cache>) -> Result<Response, Failure> {
    cache.clear().await.map_err(Error::from)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Forgets the entries of a tag, of a namespace, or whose name fits a pattern, in all replicas.
#[utoipa::path(
    post,
    path = "/api/v1/cache/invalidate",
    operation_id = "invalidate_cache",
    tag = "cache",
    request_body = InvalidateBody,
    responses(
        (status = 200, description = "They are forgotten", body = Forgotten),
        (status = 503, description = "Forgotten here; Redis will forget them when it is back"),
    ),
)]
pub(super) async fn invalidate(
    State(cache): State<Cache>,
    Json(body): Json<InvalidateBody>,
) -> Result<Answer<Forgotten>, Failure> {
    let deleted = match body.read()? {
        Target::Tag(tag) => cache.invalidate_tag(&tag).await.map(|()| None),
        Target::Namespace(name) => cache.invalidate_namespace(&name).await.map(|()| None),
        Target::Pattern(pattern) => cache.delete_matching(&pattern).await.map(Some),
    };
    let deleted = deleted.map_err(Error::from)?;
    Ok(Answer(Forgotten { deleted }))
}

/// Returns what is known about one entry, without its value.
#[utoipa::path(
    get,
    path = "/api/v1/cache/entries/{id}",
    operation_id = "get_cache_entry",
    tag = "cache",
    params(("id" = String, Path, description = "Namespace and key, for example `models:all`")),
    responses(
        (status = 200, description = "The entry", body = CacheEntry),
        (status = 404, description = "No level has such an entry"),
    ),
)]
pub(super) async fn get(
    State(cache): State<Cache>,
    Id(name): Id<EntryName>,
) -> Result<Answer<CacheEntry>, Failure> {
    Ok(Answer(find(&cache, &name).await?))
}

/// Forgets one entry, in all replicas.
#[utoipa::path(
    delete,
    path = "/api/v1/cache/entries/{id}",
    operation_id = "delete_cache_entry",
    tag = "cache",
    params(("id" = String, Path, description = "Namespace and key, for example `models:all`")),
    responses(
        (status = 204, description = "It is forgotten"),
        (status = 404, description = "No level had such an entry"),
    ),
)]
pub(super) async fn delete(
    State(cache): State<Cache>,
    Id(name): Id<EntryName>,
) -> Result<Response, Failure> {
    find(&cache, &name).await?;
    let (namespace, key) = name.parts();
    cache.delete(namespace, key).await.map_err(Error::from)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn find(cache: &Cache, name: &EntryName) -> Result<CacheEntry, Error> {
    let (namespace, key) = name.parts();
    let local = cache.local_bytes(namespace, key);
    let shared = cache.describe(namespace, key).await?;
    CacheEntry::of(local, shared).ok_or(Error::CacheEntryNotFound)
}

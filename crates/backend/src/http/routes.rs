//! All routes on one screen, each with what it takes to pass.

use std::sync::Arc;

use axum::{Router, middleware::from_fn};
use http::StatusCode;
use sutazai_auth::{Permission, http::Authenticator, keys::KeySet};
use sutazai_persistence::Cache;
use tokio_util::sync::CancellationToken;
use utoipa_axum::{
    router::{OpenApiRouter, UtoipaMethodRouterExt},
    routes,
};

use super::{
    agents, auth, cache, chat, circuit_breaker, conversations, docs,
    door::Door,
    limit::Limits,
    models, openapi,
    security::{self, AllowedOrigins},
    system,
    tasks::{self, dead_letters},
};
use crate::{
    accounts::Accounts, chat::Chat, circuit_breakers::CircuitBreakers, cursor::Cursors,
    peers::Peers, store::Conversations, system::System,
};

/// What the families are made of.
pub(crate) struct Parts {
    pub(crate) accounts: Accounts,
    pub(crate) authenticator: Authenticator,
    pub(crate) cache: Cache,
    pub(crate) chat: Chat,
    pub(crate) conversations: Conversations,
    pub(crate) cursors: Cursors,
    pub(crate) facts: system::Facts,
    pub(crate) keys: Arc<KeySet>,
    pub(crate) limits: Limits,
    pub(crate) origins: AllowedOrigins,
    pub(crate) peers: Peers,
    pub(crate) system: System,
    /// Cancelled when the process begins to stop.
    pub(crate) stopping: CancellationToken,
}

/// Builds the API with its documentation.
///
/// # Errors
/// The document of the API cannot be rendered.
pub(crate) fn router(parts: Parts) -> Result<Router, serde_json::Error> {
    let origins = parts.origins.clone();
    let (api, document) = table(parts).split_for_parts();
    let docs = docs::routes(&document)?;
    let api = api
        .merge(docs)
        // One of our own, so that unknown paths get the headers too; the runtime gives it a body.
        .fallback(async || StatusCode::NOT_FOUND);
    let api = match origins.layer() {
        Some(cors) => api.layer(cors),
        None => api,
    };
    Ok(api.layer(from_fn(security::headers)))
}

#[rustfmt::skip]
fn table(parts: Parts) -> OpenApiRouter {
    use Permission::{
        AgentsRead, ChatUse, ConversationsRead, ConversationsWrite, KeysManage, ModelsRead,
        SystemManage, SystemRead, TasksOperate, TasksRead, TasksWrite,
    };
    let Parts { accounts, authenticator, cache, chat, conversations, cursors, facts, keys, limits, peers, stopping, system, .. } = parts;
    let door = Door::new(authenticator, limits);
    let history = conversations::Access { conversations, cursors: cursors.clone() };
    let tasks = tasks::Access { peers: peers.clone(), cursors, stopping };
    let breakers = CircuitBreakers::new(peers.clone());
    let models = models::Access { peers: peers.clone(), cache: cache.clone() };
    let agents = agents::Access { peers, cache: cache.clone() };
    let system = system::Access { system, facts };

    OpenApiRouter::with_openapi(openapi::document())
        .routes(door.needs(ChatUse,            routes!(chat::create).with_state(chat)))
        .routes(door.needs(ConversationsRead,  routes!(conversations::list).with_state(history.clone())))
        .routes(door.needs(ConversationsRead,  routes!(conversations::get).with_state(history.clone())))
        .routes(door.needs(ConversationsWrite, routes!(conversations::delete).with_state(history)))
        .routes(door.needs(ModelsRead,         routes!(models::list).with_state(models)))
        .routes(door.needs(TasksWrite,         routes!(tasks::create).with_state(tasks.clone())))
        .routes(door.needs(TasksRead,          routes!(tasks::list).with_state(tasks.clone())))
        .routes(door.needs(TasksRead,          routes!(tasks::types).with_state(tasks.clone())))
        .routes(door.needs(TasksOperate,       routes!(dead_letters::list).with_state(tasks.clone())))
        .routes(door.needs(TasksOperate,       routes!(dead_letters::get, dead_letters::delete).with_state(tasks.clone())))
        .routes(door.needs(TasksOperate,       routes!(dead_letters::redrive).with_state(tasks.clone())))
        .routes(door.needs(TasksRead,          routes!(tasks::get).with_state(tasks.clone())))
        .routes(door.needs(TasksRead,          routes!(tasks::events).with_state(tasks.clone())))
        .routes(door.needs(TasksWrite,         routes!(tasks::cancel).with_state(tasks)))
        .routes(door.needs(AgentsRead,         routes!(agents::list).with_state(agents.clone())))
        .routes(door.needs(AgentsRead,         routes!(agents::get).with_state(agents)))
        .routes(door.needs(KeysManage,         routes!(auth::create_key).with_state(accounts.clone())))
        .routes(door.needs(KeysManage,         routes!(auth::list_keys).with_state(accounts.clone())))
        .routes(door.needs(KeysManage,         routes!(auth::revoke_key).with_state(accounts.clone())))
        .routes(door.needs(SystemRead,         routes!(system::status).with_state(system)))
        .routes(door.needs(SystemRead,         routes!(circuit_breaker::status).with_state(breakers.clone())))
        .routes(door.needs(SystemRead,         routes!(circuit_breaker::list).with_state(breakers.clone())))
        .routes(door.needs(SystemRead,         routes!(circuit_breaker::get).with_state(breakers.clone())))
        .routes(door.needs(SystemRead,         routes!(circuit_breaker::history).with_state(breakers.clone())))
        .routes(door.needs(SystemManage,       routes!(circuit_breaker::reset).with_state(breakers.clone())))
        .routes(door.needs(SystemManage,       routes!(circuit_breaker::force_open).with_state(breakers.clone())))
        .routes(door.needs(SystemManage,       routes!(circuit_breaker::force_closed).with_state(breakers)))
        .routes(door.needs(SystemRead,         routes!(cache::stats).with_state(cache.clone())))
        .routes(door.needs(SystemRead,         routes!(cache::get).with_state(cache.clone())))
        .routes(door.needs(SystemManage,       routes!(cache::delete).with_state(cache.clone())))
        .routes(door.needs(SystemManage,       routes!(cache::invalidate).with_state(cache.clone())))
        .routes(door.needs(SystemManage,       routes!(cache::clear).with_state(cache)))
        .routes(door.known(routes!(auth::me)))
        .routes(Door::open(routes!(auth::login).with_state(accounts)))
        .routes(Door::open(routes!(auth::jwks).with_state(keys.clone())))
        .routes(Door::open(routes!(auth::well_known_jwks).with_state(keys)))
}

#[cfg(test)]
mod tests;

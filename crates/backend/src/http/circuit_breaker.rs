//! `/api/v1/circuit-breaker`: the breakers of all processes.
//!
//! Every answer comes from the live instances themselves; who does not answer in time is listed as
//! silent.

mod body;

use axum::{Json, extract::State};
use sutazai_auth::{Principal, http::Authenticated};
use sutazai_proto::platform::v1::BreakerAction;

use self::body::{BreakerHistory, BreakerList, BreakerView, CircuitBreakerStatus};
use super::{
    input::{
        params::Params,
        path::{BreakerName, Id},
    },
    problem::Failure,
};
use crate::circuit_breakers::CircuitBreakers;

/// Shows how every breaker of every process stands, and who did not answer.
#[utoipa::path(
    get,
    path = "/api/v1/circuit-breaker/status",
    operation_id = "get_circuit_breaker_status",
    tag = "circuit-breaker",
    responses((status = 200, description = "How the breakers stand", body = CircuitBreakerStatus)),
)]
pub(super) async fn status(
    State(breakers): State<CircuitBreakers>,
    Authenticated(principal): Authenticated,
) -> Json<CircuitBreakerStatus> {
    Json(breakers.list(&principal).await.into())
}

/// Lists the breakers by name, each as every instance sees it that has it.
#[utoipa::path(
    get,
    path = "/api/v1/circuit-breaker",
    operation_id = "list_circuit_breakers",
    tag = "circuit-breaker",
    responses((status = 200, description = "The breakers", body = BreakerList)),
)]
pub(super) async fn list(
    State(breakers): State<CircuitBreakers>,
    Authenticated(principal): Authenticated,
) -> Json<BreakerList> {
    Json(breakers.list(&principal).await.into())
}

/// Returns one breaker as every instance sees it that has it.
#[utoipa::path(
    get,
    path = "/api/v1/circuit-breaker/{id}",
    operation_id = "get_circuit_breaker",
    tag = "circuit-breaker",
    params(("id" = String, Path, description = "Name of the breaker, for example `postgres:tasks`")),
    responses(
        (status = 200, description = "The breaker", body = BreakerView),
        (status = 404, description = "No live instance has such a breaker"),
    ),
)]
pub(super) async fn get(
    State(breakers): State<CircuitBreakers>,
    Authenticated(principal): Authenticated,
    Id(name): Id<BreakerName>,
) -> Result<Json<BreakerView>, Failure> {
    let found = breakers.get(&principal, name.as_str()).await?;
    Ok(Json(BreakerView::of(name.into_inner(), found)))
}

/// Returns the newest changes of one breaker on every instance, oldest first, each with its cause.
#[utoipa::path(
    get,
    path = "/api/v1/circuit-breaker/{id}/history",
    operation_id = "get_circuit_breaker_history",
    tag = "circuit-breaker",
    params(
        ("id" = String, Path, description = "Name of the breaker"),
        ("instance" = Option<String>, Query, description = "Id of the only instance that is asked"),
    ),
    responses(
        (status = 200, description = "What happened to it", body = BreakerHistory),
        (status = 404, description = "No live instance has such a breaker, or no such instance lives"),
    ),
)]
pub(super) async fn history(
    State(breakers): State<CircuitBreakers>,
    Authenticated(principal): Authenticated,
    Id(name): Id<BreakerName>,
    params: Params,
) -> Result<Json<BreakerHistory>, Failure> {
    let only = instance(params)?;
    let found = breakers
        .history(&principal, name.as_str(), only.as_deref())
        .await?;
    Ok(Json(BreakerHistory::of(name.into_inner(), found)))
}

/// Closes the breaker, forgets its failures and lets it judge again, forced or not.
#[utoipa::path(
    post,
    path = "/api/v1/circuit-breaker/{id}/reset",
    operation_id = "reset_circuit_breaker",
    tag = "circuit-breaker",
    params(
        ("id" = String, Path, description = "Name of the breaker"),
        ("instance" = Option<String>, Query, description = "Id of the only instance that is meant"),
    ),
    responses(
        (status = 200, description = "The breaker on every instance that was reached", body = BreakerView),
        (status = 404, description = "No live instance has such a breaker, or no such instance lives"),
    ),
)]
pub(super) async fn reset(
    State(breakers): State<CircuitBreakers>,
    Authenticated(principal): Authenticated,
    Id(name): Id<BreakerName>,
    params: Params,
) -> Result<Json<BreakerView>, Failure> {
    set(&breakers, &principal, name, BreakerAction::Reset, params).await
}

/// Holds the breaker open: it refuses every call until it is reset.
#[utoipa::path(
    post,
    path = "/api/v1/circuit-breaker/{id}/force-open",
    operation_id = "force_open_circuit_breaker",
    tag = "circuit-breaker",
    params(
        ("id" = String, Path, description = "Name of the breaker"),
        ("instance" = Option<String>, Query, description = "Id of the only instance that is meant"),
    ),
    responses(
        (status = 200, description = "The breaker on every instance that was reached", body = BreakerView),
        (status = 404, description = "No live instance has such a breaker, or no such instance lives"),
    ),
)]
pub(super) async fn force_open(
    State(breakers): State<CircuitBreakers>,
    Authenticated(principal): Authenticated,
    Id(name): Id<BreakerName>,
    params: Params,
) -> Result<Json<BreakerView>, Failure> {
    set(
        &breakers,
        &principal,
        name,
        BreakerAction::ForceOpen,
        params,
    )
    .await
}

/// Holds the breaker closed: it lets every call pass, whatever fails, until it is reset.
#[utoipa::path(
    post,
    path = "/api/v1/circuit-breaker/{id}/force-closed",
    operation_id = "force_closed_circuit_breaker",
    tag = "circuit-breaker",
    params(
        ("id" = String, Path, description = "Name of the breaker"),
        ("instance" = Option<String>, Query, description = "Id of the only instance that is meant"),
    ),
    responses(
        (status = 200, description = "The breaker on every instance that was reached", body = BreakerView),
        (status = 404, description = "No live instance has such a breaker, or no such instance lives"),
    ),
)]
pub(super) async fn force_closed(
    State(breakers): State<CircuitBreakers>,
    Authenticated(principal): Authenticated,
    Id(name): Id<BreakerName>,
    params: Params,
) -> Result<Json<BreakerView>, Failure> {
    let action = BreakerAction::ForceClosed;
    set(&breakers, &principal, name, action, params).await
}

async fn set(
    breakers: &CircuitBreakers,
    principal: &Principal,
    name: BreakerName,
    action: BreakerAction,
    params: Params,
) -> Result<Json<BreakerView>, Failure> {
    let only = instance(params)?;
    let found = breakers
        .set(principal, name.as_str(), action, only.as_deref())
        .await?;
    Ok(Json(BreakerView::of(name.into_inner(), found)))
}

/// Takes the only parameter that these operations know.
fn instance(mut params: Params) -> Result<Option<String>, Failure> {
    let only = params.take("instance")?;
    params.finish()?;
    Ok(only)
}

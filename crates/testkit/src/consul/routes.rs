//! The endpoints that a client for registration and discovery needs.

use std::{sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::{Path, Query, Request, State as Shared},
    http::StatusCode,
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, put},
};
use serde_json::{Value, json};

use super::{State, catalogue::Catalogue};

/// How long a query waits when it does not say so itself.
const WAIT: Duration = Duration::from_secs(300);
const LEADER: &str = "127.0.0.1:8300";

type Asked = std::collections::HashMap<String, String>;

pub(super) fn routes(state: Arc<State>) -> Router {
    Router::new()
        .route("/v1/agent/service/register", put(register))
        .route("/v1/agent/service/deregister/{id}", put(deregister))
        .route("/v1/agent/service/{id}", get(service))
        .route("/v1/agent/services", get(services))
        .route("/v1/agent/check/pass/{id}", put(pass))
        .route("/v1/catalog/services", get(names))
        .route("/v1/health/service/{name}", get(health))
        .route("/v1/status/leader", get(async || Json(LEADER)))
        .route("/v1/status/peers", get(async || Json([LEADER])))
        .layer(middleware::from_fn_with_state(
            Arc::clone(&state),
            misbehave,
        ))
        .with_state(state)
}

/// Records the request, and answers it wrongly where a test wants that.
async fn misbehave(Shared(state): Shared<Arc<State>>, request: Request, next: Next) -> Response {
    let line = format!("{} {}", request.method(), request.uri());
    state.requests.lock().push(line);
    let faults = state.faults.borrow().clone();
    tokio::time::sleep(faults.delay).await;
    let answer = match broken(&state) {
        Some(status) => status,
        None => next.run(request).await,
    };
    // The fault may have begun while the request waited for a change.
    broken(&state).unwrap_or(answer)
}

fn broken(state: &State) -> Option<Response> {
    let status = StatusCode::from_u16(state.faults.borrow().status?).ok()?;
    Some((status, "No cluster leader").into_response())
}

async fn register(Shared(state): Shared<Arc<State>>, body: String) -> Response {
    let Ok(body) = serde_json::from_str::<Value>(&body) else {
        return (StatusCode::BAD_REQUEST, "Request decode failed").into_response();
    };
    let mut entered = Ok(());
    state
        .catalogue
        .send_modify(|catalogue| entered = catalogue.enter(&body));
    match entered {
        Ok(()) => StatusCode::OK.into_response(),
        Err(wrong) => (StatusCode::BAD_REQUEST, wrong).into_response(),
    }
}

async fn deregister(Shared(state): Shared<Arc<State>>, Path(id): Path<String>) -> Response {
    let removed = state
        .catalogue
        .send_if_modified(|catalogue| catalogue.remove(&id));
    if removed {
        return StatusCode::OK.into_response();
    }
    let text = format!("Unknown service ID {id:?}. Ensure that the service ID is passed");
    (StatusCode::NOT_FOUND, text).into_response()
}

async fn service(Shared(state): Shared<Arc<State>>, Path(id): Path<String>) -> Response {
    match state.catalogue.borrow().of_agent(&id) {
        Some(entry) => Json(entry).into_response(),
        None => (StatusCode::NOT_FOUND, format!("unknown service ID: {id}")).into_response(),
    }
}

async fn services(Shared(state): Shared<Arc<State>>) -> Json<Value> {
    Json(state.catalogue.borrow().all_of_agent())
}

async fn pass(Shared(state): Shared<Arc<State>>, Path(id): Path<String>) -> Response {
    if state.catalogue.borrow().has_check(&id) {
        return StatusCode::OK.into_response();
    }
    (StatusCode::NOT_FOUND, format!("Unknown check ID {id:?}")).into_response()
}

async fn names(Shared(state): Shared<Arc<State>>) -> Response {
    let catalogue = state.catalogue.borrow().clone();
    indexed(catalogue.index, catalogue.names())
}

/// Answers at once without an index; with one, when the catalogue is beyond it or time is over.
async fn health(
    Shared(state): Shared<Arc<State>>,
    Path(name): Path<String>,
    Query(asked): Query<Asked>,
) -> Response {
    let Ok(beyond) = asked.get("index").map_or(Ok(0), |text| text.parse::<u64>()) else {
        return (StatusCode::BAD_REQUEST, "Invalid index").into_response();
    };
    let wait = asked.get("wait").map_or(Some(WAIT), |text| seconds(text));
    let Some(wait) = wait else {
        return (StatusCode::BAD_REQUEST, "Invalid wait time").into_response();
    };
    let mut changes = state.catalogue.subscribe();
    let epoch = changes.borrow().epoch;
    // As with a real one, an index from before a loss of state may wait to the end of its time.
    let moved =
        |catalogue: &Catalogue| beyond == 0 || catalogue.index > beyond || catalogue.epoch != epoch;
    let _ = tokio::time::timeout(wait, changes.wait_for(moved)).await;
    let catalogue = state.catalogue.borrow().clone();
    let listed = if state.faults.borrow().empty {
        json!([])
    } else {
        catalogue.passing(&name)
    };
    indexed(catalogue.index, listed)
}

/// Reads the form that our client uses.
fn seconds(text: &str) -> Option<Duration> {
    let seconds = text.strip_suffix('s')?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

fn indexed(index: u64, body: Value) -> Response {
    let headers = [
        ("X-Consul-Index", index.to_string()),
        ("X-Consul-KnownLeader", "true".to_owned()),
        ("X-Consul-LastContact", "0".to_owned()),
    ];
    (headers, Json(body)).into_response()
}

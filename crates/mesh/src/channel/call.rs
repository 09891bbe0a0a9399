//! One call: whom to ask, what goes along, what is learnt from the answer.

use std::{
    error::Error,
    time::{Duration, Instant},
};

use http::{HeaderMap, HeaderValue, Request, Response};
use metrics::{counter, histogram};
use sutazai_proto::{
    Coded, ErrorCode,
    status::{self, grpc_code, grpc_name},
    to_status,
};
use sutazai_resilience::{
    Deadline, Elapsed,
    breaker::{Open, Permit},
};
use sutazai_telemetry::{names, propagate};
use tonic::{Code, TimeoutExpired, body::Body};
use tower::ServiceExt;
use tracing::{Instrument, Span, field, info_span};

use super::EdgeError;
use super::answer::{self, Answer};
use super::balance;
use super::member::{Connection, InFlight};
use super::pool::Pool;

/// Header with the time that is left for a call.
const GRPC_TIMEOUT: &str = "grpc-timeout";
/// How long a call may take whose caller set no time.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// A member that is connected, and everything one call on it holds.
struct Place {
    permit: Permit,
    in_flight: InFlight,
    connection: Connection,
    channel: tonic::transport::Channel,
}

/// Makes a call, and answers with a status where it can not be made.
pub(super) async fn call(pool: &Pool, mut request: Request<Body>) -> Response<Body> {
    let started = Instant::now();
    let method = request.uri().path().trim_start_matches('/');
    let span = info_span!(
        "mesh.call",
        "otel.name" = method,
        "otel.kind" = "client",
        "otel.status_code" = field::Empty,
        "rpc.system.name" = "grpc",
        "rpc.method" = method,
        "rpc.response.status_code" = field::Empty,
        "server.address" = pool.to.as_str(),
        "error.type" = field::Empty,
        instance = field::Empty,
    );
    span.in_scope(|| propagate::inject(request.headers_mut()));
    let result = exchange(pool, request).instrument(span.clone()).await;
    let (response, outcome) = match result {
        Ok(response) => {
            let outcome = answer::first_error(&response).map(|error| error.code());
            (response, outcome)
        }
        Err(error) => {
            if error.code() == ErrorCode::Internal {
                // The status hides the text of an internal error.
                span.in_scope(|| tracing::error!(%error, "call refused"));
            }
            (to_status(&error).into_http(), Some(error.code()))
        }
    };
    let outcome = outcome.map_or_else(|| "ok".to_owned(), |code| code.to_string().to_lowercase());
    trace(&span, grpc_code(response.headers()));
    observe(pool, outcome, started.elapsed());
    response
}

/// Marks the span with the outcome; to a caller every other code is an error.
fn trace(span: &Span, code: Code) {
    let name = grpc_name(code);
    span.record("rpc.response.status_code", name);
    if code != Code::Ok {
        span.record("otel.status_code", "ERROR");
        span.record("error.type", name);
    }
}

fn observe(pool: &Pool, outcome: String, took: Duration) {
    let (from, to) = (pool.from.as_str(), pool.to.as_str());
    counter!(names::MESH_CALLS_TOTAL, "from" => from, "to" => to, "outcome" => outcome)
        .increment(1);
    histogram!(names::MESH_CALL_DURATION_SECONDS, "from" => from, "to" => to).record(took);
}

async fn exchange(pool: &Pool, mut request: Request<Body>) -> Result<Response<Body>, EdgeError> {
    pool.permits(request.uri().path())?;
    let deadline = deadline(request.headers_mut());
    if deadline.is_over() {
        // Nobody was asked, so nobody is to blame.
        return Err(EdgeError::DeadlineExceeded(pool.to));
    }
    let place = find_place(pool, deadline).await?;
    let member = place.in_flight.member();
    match deadline.run(place.channel.oneshot(request)).await {
        Ok(Ok(response)) => {
            // An instance that reports in the platform's own words is well: its trouble lies behind it,
            // and there its own breakers stand.
            match answer::first_error(&response) {
                Some(error) if !error.is_from_platform() && error.code().policy().trips_breaker => {
                    place
                        .permit
                        .failure(&format!("{}: {error}", error.reason()));
                }
                _ => place.permit.success(),
            }
            let in_flight = place.in_flight;
            Ok(response.map(|body| Body::new(Answer::new(body, deadline, pool.to, in_flight))))
        }
        Ok(Err(error)) if !is_timeout(&error) => {
            member.give_up(&place.connection);
            let error = EdgeError::Lost {
                instance: member.id().clone(),
                source: error,
            };
            place.permit.failure(&status::chain(&error));
            Err(error)
        }
        Ok(Err(_)) | Err(Elapsed) => {
            let error = EdgeError::DeadlineExceeded(pool.to);
            place.permit.failure(&error.to_string());
            Err(error)
        }
    }
}

/// Asks one member after the other until one can be connected to; nothing is sent before that.
async fn find_place(pool: &Pool, deadline: Deadline) -> Result<Place, EdgeError> {
    let mut candidates = pool.members();
    let mut refusal = EdgeError::NoLiveInstance(pool.to);
    while let Some(member) = balance::draw(&mut candidates) {
        let permit = match member.breaker().permit() {
            Ok(permit) => permit,
            Err(open) => {
                refusal = passed_over(pool, refusal, open);
                continue;
            }
        };
        let in_flight = member.enter();
        let connection = member.connection();
        match deadline.run(connection.clone()).await {
            Ok(Ok(channel)) => {
                Span::current().record("instance", member.id().as_str());
                return Ok(Place {
                    permit,
                    in_flight,
                    connection,
                    channel,
                });
            }
            Ok(Err(source)) => {
                member.give_up(&connection);
                refusal = EdgeError::Unreachable {
                    instance: member.id().clone(),
                    source,
                };
                permit.failure(&status::chain(&refusal));
            }
            Err(Elapsed) => {
                let error = EdgeError::DeadlineExceeded(pool.to);
                permit.failure(&error.to_string());
                return Err(error);
            }
        }
    }
    Err(refusal)
}

/// Adds an open breaker to what is known so far: a connection that failed says more.
fn passed_over(pool: &Pool, refusal: EdgeError, open: Open) -> EdgeError {
    match refusal {
        EdgeError::Unreachable { .. } => refusal,
        EdgeError::Open { to, retry_after } => EdgeError::Open {
            to,
            retry_after: retry_after.min(open.retry_after),
        },
        _ => EdgeError::Open {
            to: pool.to,
            retry_after: open.retry_after,
        },
    }
}

/// Returns what is left for the call, and tells the callee where its caller did not.
fn deadline(headers: &mut HeaderMap) -> Deadline {
    let given = headers
        .get(GRPC_TIMEOUT)
        .and_then(|value| value.to_str().ok());
    if let Some(deadline) = given.and_then(Deadline::from_grpc_timeout) {
        return deadline;
    }
    let deadline = Deadline::after(DEFAULT_TIMEOUT);
    // Digits and a letter are a header value.
    if let Ok(value) = HeaderValue::try_from(deadline.to_grpc_timeout()) {
        headers.insert(GRPC_TIMEOUT, value);
    }
    deadline
}

/// tonic watches `grpc-timeout` too, and may be first.
fn is_timeout(error: &tonic::transport::Error) -> bool {
    let mut source: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = source {
        if error.is::<TimeoutExpired>() {
            return true;
        }
        source = error.source();
    }
    false
}

//! One call: whom to ask, what goes along, what is learnt from the answer.

use std::{
    error::Error,
    io,
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
use super::choice::Choice;
use super::member::{Connection, InFlight};
use super::pool::Pool;
use super::repeat::Outgoing;

/// Header with the time that is left for a call.
pub(super) const GRPC_TIMEOUT: &str = "grpc-timeout";
/// Header by which the strategy `consistent_hash` keeps calls together.
pub const ROUTING_KEY: &str = "x-routing-key";
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

/// Makes the call, and again on another instance where that can help and is allowed.
async fn exchange(pool: &Pool, mut request: Request<Body>) -> Result<Response<Body>, EdgeError> {
    pool.permits(request.uri().path())?;
    let deadline = deadline(request.headers_mut());
    if deadline.is_over() {
        // Nobody was asked, so nobody is to blame.
        return Err(EdgeError::DeadlineExceeded(pool.to));
    }
    let mut choice = pool.choice(request.headers().get(ROUTING_KEY).cloned());
    let late = |_| EdgeError::DeadlineExceeded(pool.to);
    let mut outgoing = Outgoing::of(request, deadline).await.map_err(late)?;
    pool.budget.call();
    let mut last = None;
    while let Some(request) = outgoing.next(deadline) {
        let place = match find_place(pool, &mut choice, deadline).await {
            Ok(place) => place,
            // What the first one said tells more than that there is no second.
            Err(refusal) => return last.unwrap_or(Err(refusal)),
        };
        let outcome = try_on(pool, place, deadline, request).await;
        let again = is_worth_repeating(&outcome)
            && outgoing.can_repeat()
            && !choice.is_empty()
            && !deadline.is_over();
        if !again || !leave_to_retry(pool) {
            return outcome;
        }
        last = Some(outcome);
    }
    last.unwrap_or(Err(EdgeError::NoLiveInstance(pool.to)))
}

/// Tells whether another instance may do better: the answer was lost, or this one is not available.
///
/// One that says when to come back wants to be left alone, whoever asks.
fn is_worth_repeating(outcome: &Result<Response<Body>, EdgeError>) -> bool {
    match outcome {
        Ok(response) => answer::first_error(response).is_some_and(|error| {
            error.code() == ErrorCode::Unavailable && error.details().retry_after.is_none()
        }),
        Err(error) => matches!(error, EdgeError::Lost { .. }),
    }
}

fn leave_to_retry(pool: &Pool) -> bool {
    let allowed = pool.budget.try_retry();
    let outcome = if allowed { "made" } else { "over_budget" };
    let (from, to) = (pool.from.as_str(), pool.to.as_str());
    counter!(names::MESH_RETRIES_TOTAL, "from" => from, "to" => to, "outcome" => outcome)
        .increment(1);
    allowed
}

/// Sends the request to one instance, and notes what its answer says about it.
async fn try_on(
    pool: &Pool,
    place: Place,
    deadline: Deadline,
    request: Request<Body>,
) -> Result<Response<Body>, EdgeError> {
    let member = place.in_flight.member();
    match deadline.run(place.channel.oneshot(request)).await {
        Ok(Ok(response)) => {
            let error = answer::first_error(&response);
            match &error {
                Some(error) if error.code().policy().http.is_server_error() => pool.fault(member),
                _ => member.outlier().good(),
            }
            // An instance that reports in the platform's own words is well: its trouble lies behind it,
            // and there its own breakers stand.
            match error {
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
            // The channel connects again by itself, and may find nobody.
            if is_refused(&error) {
                pool.unreachable(member);
            } else {
                pool.fault(member);
            }
            let error = EdgeError::Lost {
                instance: member.id().clone(),
                source: error,
            };
            place.permit.failure(&status::chain(&error));
            Err(error)
        }
        Ok(Err(_)) | Err(Elapsed) => {
            pool.fault(member);
            let error = EdgeError::DeadlineExceeded(pool.to);
            place.permit.failure(&error.to_string());
            Err(error)
        }
    }
}

/// Asks one member after the other until one can be connected to; nothing is sent before that.
async fn find_place(
    pool: &Pool,
    choice: &mut Choice,
    deadline: Deadline,
) -> Result<Place, EdgeError> {
    let mut refusal = EdgeError::NoLiveInstance(pool.to);
    while let Some(member) = choice.next() {
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
                pool.unreachable(&member);
                refusal = EdgeError::Unreachable {
                    instance: member.id().clone(),
                    source,
                };
                permit.failure(&status::chain(&refusal));
            }
            Err(Elapsed) => {
                pool.fault(&member);
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
    causes(error).any(<dyn Error>::is::<TimeoutExpired>)
}

/// Tells whether nobody listens where the channel tried to connect again.
fn is_refused(error: &tonic::transport::Error) -> bool {
    let mut kinds = causes(error).filter_map(|cause| cause.downcast_ref::<io::Error>());
    kinds.any(|cause| cause.kind() == io::ErrorKind::ConnectionRefused)
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

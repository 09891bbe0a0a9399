//! One call: whom to ask, what goes along, what is learnt from the answer.

use std::{
    error::Error,
    sync::Arc,
    time::{Duration, Instant},
};

use http::{HeaderMap, HeaderValue, Request, Response};
use metrics::{counter, histogram};
use sutazai_proto::{
    Coded, ErrorCode, RemoteError,
    status::{self, WRONG_SERVICE, grpc_code, grpc_name},
    to_status,
};
use sutazai_resilience::{
    Deadline, Elapsed,
    breaker::{Open, Permit},
};
use sutazai_telemetry::{names, propagate};
use tonic::{Code, body::Body};
use tracing::{Instrument, Span, field, info_span};

use super::EdgeError;
use super::answer::{self, Answer};
use super::choice::Choice;
use super::connections::Slot;
use super::link::Link;
use super::member::InFlight;
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
    link: Link,
    slot: Slot,
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
    let mut outgoing = Outgoing::of(request);
    pool.budget.call();
    let mut last = None;
    loop {
        let place = match find_place(pool, &mut choice, deadline).await {
            Ok(place) => place,
            // What the first one said tells more than that there is no second.
            Err(refusal) => return last.unwrap_or(Err(refusal)),
        };
        let member = Arc::clone(place.in_flight.member());
        let outcome = try_on(pool, place, deadline, &mut outgoing).await;
        if matches!(outcome, Err(EdgeError::NotTaken { .. })) {
            choice.spare(&member);
        }
        let can_repeat = outgoing.can_repeat() && !choice.is_empty() && !deadline.is_over();
        if !can_repeat || !may_repeat(pool, &outcome, outgoing.is_idempotent()) {
            return outcome;
        }
        last = Some(outcome);
    }
}

/// Tells whether another instance may do better and be asked: the call was not taken, whatever it does, or
/// it does the same twice and its answer was lost, or this instance is not available.
///
/// One that says when to come back wants to be left alone, whoever asks.
fn may_repeat(
    pool: &Pool,
    outcome: &Result<Response<Body>, EdgeError>,
    is_idempotent: bool,
) -> bool {
    match outcome {
        Err(EdgeError::NotTaken { .. } | EdgeError::WrongService { .. }) => {
            note_retry(pool, "not_taken");
            true
        }
        Err(EdgeError::Lost { .. }) => is_idempotent && leave_to_retry(pool),
        Err(_) => false,
        Ok(response) => {
            is_idempotent
                && answer::first_error(response).is_some_and(|error| {
                    error.code() == ErrorCode::Unavailable && error.details().retry_after.is_none()
                })
                && leave_to_retry(pool)
        }
    }
}

fn leave_to_retry(pool: &Pool) -> bool {
    let allowed = pool.budget.try_retry();
    note_retry(pool, if allowed { "made" } else { "over_budget" });
    allowed
}

fn note_retry(pool: &Pool, outcome: &'static str) {
    let (from, to) = (pool.from.as_str(), pool.to.as_str());
    counter!(names::MESH_RETRIES_TOTAL, "from" => from, "to" => to, "outcome" => outcome)
        .increment(1);
}

/// Sends the request to one instance, and notes what its answer says about it.
async fn try_on(
    pool: &Pool,
    place: Place,
    deadline: Deadline,
    outgoing: &mut Outgoing,
) -> Result<Response<Body>, EdgeError> {
    let member = place.in_flight.member();
    let began = Instant::now();
    let sent = deadline.run(place.link.send(outgoing.next(deadline)));
    match sent.await {
        Ok(Ok(response)) => {
            let error = answer::first_error(&response);
            if error.as_ref().is_some_and(is_for_another_service) {
                let instance = member.id().clone();
                let error = EdgeError::WrongService { instance };
                member.is_away(&error, began);
                place.permit.failure(&error.to_string());
                return Err(error);
            }
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
            let held = (place.in_flight, place.slot);
            Ok(response
                .map(|body| Body::new(Answer::new(Body::new(body), deadline, pool.to, held))))
        }
        Ok(Err(error)) if !outgoing.was_read() || is_refused(&error) => {
            // A connection that came to its end is nobody's fault, and a full one is no failure.
            Err(EdgeError::NotTaken {
                instance: member.id().clone(),
                source: error,
            })
        }
        Ok(Err(error)) => {
            pool.fault(member);
            let error = EdgeError::Lost {
                instance: member.id().clone(),
                source: error,
            };
            let (instance, why) = (member.id(), status::chain(&error));
            let took_ms = millis(began);
            tracing::warn!(%instance, took_ms, error = why, "call lost");
            place.permit.failure(&why);
            Err(error)
        }
        Err(Elapsed) => {
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
        match deadline.run(member.connect()).await {
            Ok(Ok((link, slot))) => {
                Span::current().record("instance", member.id().as_str());
                return Ok(Place {
                    permit,
                    in_flight,
                    link,
                    slot,
                });
            }
            Ok(Err(unreached)) => {
                refusal = EdgeError::Unreachable {
                    instance: member.id().clone(),
                    source: Arc::clone(&unreached.source),
                };
                unreached.tell(permit, &status::chain(&refusal));
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

/// Returns the milliseconds since then, for the log.
pub(super) fn millis(began: Instant) -> u64 {
    u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX)
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

/// Tells whether somebody else has the address by now, who can not take the token for this service.
fn is_for_another_service(error: &RemoteError) -> bool {
    error.is_from_platform() && error.reason() == WRONG_SERVICE
}

/// Tells whether the instance says itself that it did nothing about the call: it was at its limit
/// (`REFUSED_STREAM`), or had said goodbye before (a stream beyond the last one that `GOAWAY` names).
fn is_refused(error: &hyper::Error) -> bool {
    let mut causes = std::iter::successors(error.source(), |&cause| cause.source());
    causes.any(|cause| {
        cause.downcast_ref::<h2::Error>().is_some_and(|error| {
            let refused = error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
            error.is_remote() && (refused || error.is_go_away())
        })
    })
}

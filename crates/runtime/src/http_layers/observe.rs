//! The one layer around all routes: names the request, joins its trace, bounds its body, ends its
//! panics, and sees the answer through.
//!
//! It is written by hand: a function as axum's layer copies all that is behind it for each request, box
//! by box, and boxes itself and what it calls.

use std::{
    convert::Infallible,
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use axum::{
    extract::{DefaultBodyLimit, MatchedPath, Request},
    response::Response,
};
use futures::{
    FutureExt,
    future::{BoxFuture, CatchUnwind},
};
use http::{HeaderValue, Method, header};
use http_body::Body as _;
use pin_project_lite::pin_project;
use sutazai_mesh::catalog::ServiceName;
use sutazai_telemetry::propagate;
use tower::{Layer, Service};
use tracing::{Instrument, field, info_span};

use super::{
    RequestId, answer_panic,
    exchange::{Endpoints, Exchange},
    problem::{About, complete},
};

/// Stands for every method that a client invents.
const OTHER: &str = "OTHER";
/// Largest body that extractors read, in bytes; a route for uploads sets its own limit.
const BODY_BYTES: usize = 1024 * 1024;

/// What sees the requests of one process.
#[derive(Clone)]
pub(super) struct Observer {
    service: ServiceName,
    endpoints: Arc<Endpoints>,
}

/// A route whose requests are seen.
#[derive(Clone)]
pub(super) struct Observed<S> {
    route: S,
    observer: Observer,
}

/// A request until the head of its answer is there.
struct Seen {
    exchange: Exchange,
    id: RequestId,
    /// Whether a route took it.
    matched: bool,
}

pin_project! {
    /// An answer on its way out.
    pub(super) struct Answering<F> {
        // Nothing only while it is dropped.
        #[pin]
        answer: Option<CatchUnwind<AssertUnwindSafe<F>>>,
        // Nothing once the head of the answer is there.
        seen: Option<Seen>,
        // An error's document in the making: rare, so its size is none of the others'.
        failing: Option<BoxFuture<'static, Response>>,
    }

    impl<F> PinnedDrop for Answering<F> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            // Whatever is given up says so as part of its request; what is done has nothing to say, and
            // entering a span costs 600 instructions.
            if let Some(seen) = this.seen {
                let _entered = seen.exchange.span().enter();
                this.answer.set(None);
            }
        }
    }
}

impl Observer {
    pub(super) fn new(service: ServiceName) -> Self {
        Self {
            service,
            endpoints: Arc::default(),
        }
    }

    /// Begins to see a request.
    fn see(&self, request: &mut Request) -> Seen {
        let id = RequestId::settle(request.headers_mut());
        let route = request.extensions().get::<MatchedPath>();
        let route = route.map(MatchedPath::as_str);
        let path = request.uri().path().to_owned();
        let method = label(request.method());
        // What nobody reads is left out.
        let read = sutazai_telemetry::spans_are_read();
        // No parent here: a request is part of its caller's trace or begins one.
        let span = info_span!(
            parent: None,
            "http",
            "otel.name" = read.then(|| span_name(method, route)),
            "otel.kind" = read.then_some("server"),
            "otel.status_code" = field::Empty,
            service = self.service.as_str(),
            request_id = id.as_str(),
            "http.request.method" = read.then_some(method),
            "http.route" = route.filter(|_| read),
            "http.response.status_code" = field::Empty,
            "url.path" = read.then_some(&path),
            "url.scheme" = read.then_some("http"),
            "error.type" = field::Empty,
        );
        propagate::set_parent(&span, self.service.as_str(), request.headers());
        Seen {
            exchange: Exchange::begin(span, method, self.endpoints.of(route), path),
            id,
            matched: route.is_some(),
        }
    }
}

impl<S> Layer<S> for Observer {
    type Service = Observed<S>;

    fn layer(&self, route: S) -> Observed<S> {
        Observed {
            route,
            observer: self.clone(),
        }
    }
}

impl<S> Service<Request> for Observed<S>
where
    S: Service<Request, Response = Response, Error = Infallible>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Answering<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.route.poll_ready(context)
    }

    fn call(&mut self, mut request: Request) -> Answering<S::Future> {
        let seen = self.observer.see(&mut request);
        // The word takes an allocation, and who sends nothing has no need of a limit.
        if !request.body().is_end_stream() {
            DefaultBodyLimit::max(BODY_BYTES).apply(&mut request);
        }
        let answer = AssertUnwindSafe(self.route.call(request)).catch_unwind();
        Answering {
            answer: Some(answer),
            seen: Some(seen),
            failing: None,
        }
    }
}

impl<F> Future for Answering<F>
where
    F: Future<Output = Result<Response, Infallible>>,
{
    type Output = Result<Response, Infallible>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Some(failing) = this.failing {
            return failing.as_mut().poll(context).map(Ok);
        }
        // Nobody asks again for an answer that he has.
        let (Some(answer), Some(seen)) = (this.answer.as_pin_mut(), &this.seen) else {
            return Poll::Pending;
        };
        let answered = {
            let _entered = seen.exchange.span().enter();
            ready!(answer.poll(context))
        };
        let Some(seen) = this.seen.take() else {
            return Poll::Pending;
        };
        let response = match answered {
            Ok(Ok(response)) => response,
            Ok(Err(never)) => match never {},
            Err(panic) => seen.exchange.span().in_scope(|| answer_panic(panic)),
        };
        let status = response.status();
        if !status.is_client_error() && !status.is_server_error() {
            return Poll::Ready(Ok(seen.answered(response, None)));
        }
        let span = seen.exchange.span().clone();
        let failed = seen.failed(response).instrument(span);
        let failing = this.failing.insert(failed.boxed());
        failing.as_mut().poll(context).map(Ok)
    }
}

impl Seen {
    /// Has an error say what it is.
    async fn failed(self, response: Response) -> Response {
        let about = About {
            path: self.exchange.path(),
            request_id: self.id.as_str(),
            trace_id: propagate::trace_id(),
            matched: self.matched,
        };
        let (response, reason) = complete(response, about).await;
        self.answered(response, reason)
    }

    /// Names the answer, and sees its body through; `reason` names the error, if it is one.
    fn answered(self, mut response: Response, reason: Option<String>) -> Response {
        let Self {
            mut exchange, id, ..
        } = self;
        let headers = response.headers_mut();
        id.put(headers);
        headers.insert(
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        );
        exchange.answered(response.status(), reason);
        response.map(|body| exchange.until_end_of(body))
    }
}

/// Names a span by method and route, whose number is bounded.
fn span_name(method: &str, route: Option<&str>) -> String {
    // The conventions' word for a method that is none of the standard's.
    let method = if method == OTHER { "HTTP" } else { method };
    route.map_or_else(|| method.to_owned(), |route| format!("{method} {route}"))
}

/// Bounds the methods: a client may invent some.
fn label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        _ => OTHER,
    }
}

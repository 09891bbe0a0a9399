//! The outermost layer: names the request, joins its trace, and sees the answer through.

use std::sync::Arc;

use axum::{
    extract::{MatchedPath, Request, State},
    middleware::Next,
    response::Response,
};
use http::{HeaderValue, Method, header};
use sutazai_mesh::catalog::ServiceName;
use sutazai_telemetry::propagate;
use tracing::{Instrument, field, info_span};

use super::{
    RequestId,
    exchange::{Endpoints, Exchange},
    problem::{About, complete},
};

/// Stands for every method that a client invents.
const OTHER: &str = "OTHER";

/// What sees the requests of one process.
#[derive(Clone)]
pub(super) struct Observer {
    service: ServiceName,
    endpoints: Arc<Endpoints>,
}

impl Observer {
    pub(super) fn new(service: ServiceName) -> Self {
        Self {
            service,
            endpoints: Arc::default(),
        }
    }
}

pub(super) async fn observe(
    State(Observer { service, endpoints }): State<Observer>,
    mut request: Request,
    next: Next,
) -> Response {
    let id = RequestId::of(request.headers());
    id.put(request.headers_mut());
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map(MatchedPath::as_str);
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
        service = service.as_str(),
        request_id = id.as_str(),
        "http.request.method" = read.then_some(method),
        "http.route" = route.filter(|_| read),
        "http.response.status_code" = field::Empty,
        "url.path" = read.then_some(&path),
        "url.scheme" = read.then_some("http"),
        "error.type" = field::Empty,
    );
    propagate::set_parent(&span, service.as_str(), request.headers());
    let mut exchange = Exchange::begin(span.clone(), method, endpoints.of(route), &path);
    let matched = route.is_some();
    async move {
        let response = next.run(request).await;
        let status = response.status();
        let failed = status.is_client_error() || status.is_server_error();
        let about = About {
            path: &path,
            request_id: id.as_str(),
            trace_id: failed.then(propagate::trace_id).flatten(),
            matched,
        };
        let (mut response, reason) = complete(response, about).await;
        let headers = response.headers_mut();
        id.put(headers);
        headers.insert(
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        );
        exchange.answered(response.status(), reason);
        response.map(|body| exchange.until_end_of(body))
    }
    .instrument(span)
    .await
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

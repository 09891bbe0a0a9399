//! The outermost layer: names the request, joins its trace, and sees the answer through.

use axum::{
    extract::{MatchedPath, Request, State},
    middleware::Next,
    response::Response,
};
use http::{HeaderValue, header};
use sutazai_mesh::catalog::ServiceName;
use sutazai_telemetry::propagate;
use tracing::{Instrument, info_span};

use super::{
    RequestId,
    exchange::Exchange,
    problem::{About, complete},
};

pub(super) async fn observe(
    State(service): State<ServiceName>,
    mut request: Request,
    next: Next,
) -> Response {
    let id = RequestId::of(request.headers());
    id.put(request.headers_mut());
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map(MatchedPath::as_str);
    let path = request.uri().path().to_owned();
    // No parent here: the process's own span is in no request's trace.
    let span = info_span!(
        parent: None,
        "http",
        service = service.as_str(),
        request_id = id.as_str(),
        http.method = %request.method(),
        http.route = route,
    );
    propagate::set_parent(&span, request.headers());
    let mut exchange = Exchange::begin(span.clone(), request.method(), route, &path);
    let matched = route.is_some();
    async move {
        let response = next.run(request).await;
        let about = About {
            path: &path,
            request_id: id.as_str(),
            trace_id: propagate::trace_id(),
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

//! Which of our gRPC services a process serves.

use axum::{Router, body::Body, middleware};
use http::{Request, StatusCode};
use prost::Message;
use prost_types::FileDescriptorSet;
use sutazai_proto::DESCRIPTORS;
use tonic::service::Routes;
use tower::ServiceExt;

use crate::service::BindError;

/// Answers in place of a service that is there; tonic itself never uses it.
const THERE: StatusCode = StatusCode::NO_CONTENT;

/// Returns the full names of the described services that `all` has, such as `tasks.v1.Tasks`.
///
/// Routes do not tell what they hold. A layer on the routes only, not on the fallback, does: it
/// answers where there is a route, before any service is called.
pub(super) async fn names(all: Routes) -> Result<Vec<String>, BindError> {
    let described = described().map_err(|error| BindError::Descriptors(Box::new(error)))?;
    let there =
        middleware::from_fn(|_: axum::extract::Request, _: middleware::Next| async { THERE });
    let routes: Router = all.into_axum_router().route_layer(there);
    let mut served = Vec::new();
    for name in described {
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = format!("/{name}/any")
            .parse()
            .map_err(|error: http::uri::InvalidUri| BindError::Descriptors(Box::new(error)))?;
        let Ok(response) = routes.clone().oneshot(request).await;
        if response.status() == THERE {
            served.push(name);
        }
    }
    Ok(served)
}

fn described() -> Result<Vec<String>, prost::DecodeError> {
    let files = FileDescriptorSet::decode(DESCRIPTORS)?.file;
    let names = files.iter().flat_map(|file| {
        let package = file.package();
        let services = file.service.iter();
        services.map(move |service| format!("{package}.{}", service.name()))
    });
    Ok(names.collect())
}

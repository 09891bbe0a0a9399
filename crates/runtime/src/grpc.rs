//! The gRPC side of every process: the service's calls, health, reflection and diagnostics.

mod health;
mod served;

use std::sync::Arc;

use axum::Router;
use sutazai_proto::{DESCRIPTORS, platform::v1::diagnostics_server::DiagnosticsServer};
use tonic::service::Routes;
use tonic_reflection::server::Builder as Reflection;

use crate::{
    admin::{Diagnostics, Operator, Standing},
    config::Profile,
    grpc_layers,
    service::BindError,
};

pub(crate) use health::Health;

/// What a gRPC listener serves, and the handle to its health status.
pub(crate) struct Surface {
    pub(crate) router: Router,
    pub(crate) health: Health,
}

/// Puts the gRPC side of a process together.
///
/// Health is never behind the guard. Reflection is in production: it tells a stranger too much.
pub(crate) async fn assemble(
    routes: Routes,
    guard: Option<Box<dyn FnOnce(Router) -> Router + Send>>,
    operator: Operator,
    standing: &Arc<Standing>,
) -> Result<Surface, BindError> {
    let diagnostics = DiagnosticsServer::new(Diagnostics::new(Arc::clone(standing), operator));
    let routes = routes.add_service(diagnostics);
    let served = served::names(routes.clone()).await?;
    let (health, health_server) = Health::new(standing.service(), &served);

    let reflection = || {
        let all = Reflection::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .with_service_name("grpc.health.v1.Health");
        served.iter().fold(all, Reflection::with_service_name)
    };
    let v1 = reflection()
        .with_service_name("grpc.reflection.v1.ServerReflection")
        .build_v1()
        .map_err(|error| BindError::Descriptors(Box::new(error)))?;
    let v1alpha = reflection()
        .with_service_name("grpc.reflection.v1alpha.ServerReflection")
        .build_v1alpha()
        .map_err(|error| BindError::Descriptors(Box::new(error)))?;
    let reflect = |routes: Routes| routes.add_service(v1).add_service(v1alpha);

    let guard = guard.unwrap_or_else(|| Box::new(|router| router));
    let routes = match standing.profile() {
        Profile::Production => Routes::from(guard(reflect(routes).into_axum_router())),
        Profile::Dev => reflect(Routes::from(guard(routes.into_axum_router()))),
    };
    let routes = routes.add_service(health_server).prepare();
    Ok(Surface {
        router: grpc_layers::wrap(routes.into_axum_router(), standing.service()),
        health,
    })
}

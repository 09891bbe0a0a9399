//! A world with keys, and the two doors into it.

use axum::{
    Router,
    body::{self, Body},
    extract::Request,
    routing::{get, post},
};
use http::{HeaderValue, header::AUTHORIZATION};
use sutazai_auth::{
    Identity, Permission,
    grpc::{self, Caller},
    http::{Authenticated, Authenticator, guard},
    keys::{Issuer, KeySet, PublishedKey, SigningKey},
};
use sutazai_mesh::catalog::ServiceName;
use sutazai_proto::Problem;
use tower::ServiceExt;

use crate::forge::Forge;

/// The service behind the inner door.
pub(crate) const CALLEE: ServiceName = ServiceName::TaskCoordinator;

/// Where a token is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    Http,
    Grpc,
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Let in as this subject.
    In(String),
    /// Not let in, for this reason.
    Out(String),
}

/// The keys of everybody.
pub(crate) struct World {
    pub(crate) platform: SigningKey,
    pub(crate) backend: SigningKey,
    pub(crate) proxy: SigningKey,
    /// Made like the others and published nowhere.
    pub(crate) stranger: SigningKey,
    pub(crate) keys: KeySet,
}

impl World {
    pub(crate) fn new() -> Self {
        let [platform, backend, proxy, stranger] =
            [(); 4].map(|()| SigningKey::generate().unwrap());
        let published = [
            (Issuer::Platform, &platform),
            (Issuer::Service(ServiceName::Backend), &backend),
            (Issuer::Service(ServiceName::OllamaProxy), &proxy),
        ];
        let keys = KeySet::fixed(published.map(|(issuer, key)| PublishedKey {
            issuer,
            key: key.public().clone(),
        }));
        Self {
            platform,
            backend,
            proxy,
            stranger,
            keys,
        }
    }

    pub(crate) fn identity(&self, service: ServiceName) -> Identity {
        let key = match service {
            ServiceName::OllamaProxy => &self.proxy,
            _ => &self.backend,
        };
        Identity::new(service, key.clone(), self.keys.clone())
    }

    pub(crate) fn authenticator(&self) -> Authenticator {
        Authenticator::new(self.identity(ServiceName::Backend).verifier().clone(), None)
    }

    /// A token that holds at the door.
    pub(crate) fn genuine(&self, door: Door) -> Forge {
        match door {
            Door::Http => Forge::user(&self.platform),
            Door::Grpc => Forge::service(&self.backend, CALLEE.as_str()),
        }
    }

    /// Knocks with a token in the usual header.
    pub(crate) async fn show(&self, door: Door, token: &str) -> Outcome {
        self.knock(door, &[format!("Bearer {token}")], "").await
    }

    /// Knocks with any authorization headers and any query.
    pub(crate) async fn knock(&self, door: Door, headers: &[String], query: &str) -> Outcome {
        let mut request = match door {
            Door::Http => Request::get(format!("/api/v1/tasks{query}")),
            Door::Grpc => Request::post(format!("/tasks.v1.Tasks/Get{query}")),
        }
        .header("cookie", query.trim_start_matches('?'))
        .body(Body::empty())
        .unwrap();
        for header in headers {
            let value = HeaderValue::from_str(header).unwrap();
            request.headers_mut().append(AUTHORIZATION, value);
        }
        match door {
            Door::Http => outer(self.authenticator(), request).await,
            Door::Grpc => inner(self.identity(CALLEE), request).await,
        }
    }
}

/// Sends a request to a guarded HTTP route.
pub(crate) async fn outer(authenticator: Authenticator, request: Request) -> Outcome {
    let routes = Router::new()
        .route(
            "/api/v1/tasks",
            get(async |Authenticated(p): Authenticated| p.subject),
        )
        .route_layer(guard(authenticator, Permission::TasksRead));
    let path = request.uri().path().to_owned();
    let response = routes.oneshot(request).await.unwrap();
    let status = response.status();
    let challenged = response.headers().contains_key("www-authenticate");
    let text = body::to_bytes(response.into_body(), 65_536).await.unwrap();
    if status.is_success() {
        return Outcome::In(String::from_utf8(text.to_vec()).unwrap());
    }
    let problem: Problem = serde_json::from_slice(&text).unwrap();
    assert_eq!(problem.status, status.as_u16());
    assert_eq!(problem.instance, Some(path));
    assert_eq!(challenged, status == 401, "{problem:?}");
    Outcome::Out(problem.code)
}

/// Sends a request to a guarded gRPC route.
pub(crate) async fn inner(identity: Identity, request: Request) -> Outcome {
    let handler = async |request: Request| {
        let caller = request.extensions().get::<Caller>().unwrap();
        let subject = caller.principal.as_ref().map(|p| p.subject.clone());
        subject.unwrap_or_else(|| caller.service.to_string())
    };
    let routes = Router::new()
        .route("/tasks.v1.Tasks/Get", post(handler))
        .route("/platform.v1.Diagnostics/Probe", post(handler));
    let response = grpc::guard(identity)(routes)
        .oneshot(request)
        .await
        .unwrap();
    if let Some(status) = tonic::Status::from_header_map(response.headers()) {
        assert_eq!(response.status(), 200, "gRPC tells its errors in trailers");
        let error = sutazai_proto::RemoteError::from(status);
        return Outcome::Out(sutazai_proto::Coded::reason(&error).to_owned());
    }
    let text = body::to_bytes(response.into_body(), 65_536).await.unwrap();
    Outcome::In(String::from_utf8(text.to_vec()).unwrap())
}

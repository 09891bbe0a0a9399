//! Who is let in where, and what travels with a call.

use std::{net::SocketAddr, time::Duration};

use axum::{
    body::Body,
    extract::{ConnectInfo, Request},
};
use chrono::Utc;
use sutazai_auth::{
    AuthError, Permission, Principal, Role,
    grpc::{self, Caller},
    token,
};
use sutazai_mesh::catalog::ServiceName;
use sutazai_resilience::Deadline;

use crate::{
    door::{CALLEE, Door, Outcome, World, inner, outer},
    genuine::alice,
};

fn refused(reason: &str) -> Outcome {
    Outcome::Out(reason.to_owned())
}

/// What a service sends to another, as it arrives there.
fn call(request: &tonic::Request<()>, path: &str) -> Request {
    let mut arrived = Request::post(path).body(Body::empty()).unwrap();
    *arrived.headers_mut() = request.metadata().clone().into_headers();
    arrived
}

fn in_time() -> Deadline {
    Deadline::after(Duration::from_secs(10))
}

#[tokio::test]
async fn sec_13_a_service_token_is_no_user_and_a_user_token_no_service() {
    let world = World::new();
    let now = Utc::now();
    let user = token::issue_user(&world.platform, &alice(), now)
        .unwrap()
        .token;
    assert_eq!(
        world.show(Door::Http, &user).await,
        Outcome::In("alice".into())
    );
    assert_eq!(
        world.show(Door::Grpc, &user).await,
        refused("invalid_credential")
    );
    for on_behalf in [Some(&alice()), None] {
        let service =
            token::issue_service(&world.backend, ServiceName::Backend, CALLEE, on_behalf, now);
        let service = service.unwrap().token;
        assert_eq!(
            world.show(Door::Http, &service).await,
            refused("invalid_credential")
        );
    }
}

#[tokio::test]
async fn sec_06_an_api_key_opens_no_inner_door_and_none_without_a_store() {
    let world = World::new();
    let key = sutazai_auth::api_key::ApiKey::generate("test").unwrap();
    for door in [Door::Http, Door::Grpc] {
        assert_eq!(
            world.show(door, key.expose()).await,
            refused("invalid_credential")
        );
    }
}

#[tokio::test]
async fn sec_05_a_route_admits_only_who_has_its_permission() {
    let world = World::new();
    let show = async |principal: &Principal| {
        let issued = token::issue_user(&world.platform, principal, Utc::now()).unwrap();
        world.show(Door::Http, &issued.token).await
    };
    let narrowed = |scope| Principal {
        scopes: Some([scope].into()),
        ..alice()
    };
    assert_eq!(show(&alice()).await, Outcome::In("alice".into()));
    assert_eq!(
        show(&narrowed(Permission::TasksRead)).await,
        Outcome::In("alice".into())
    );
    assert_eq!(
        show(&narrowed(Permission::ChatUse)).await,
        refused("missing_permission")
    );
    let nobody = Principal {
        roles: Vec::new(),
        ..alice()
    };
    assert_eq!(show(&nobody).await, refused("missing_permission"));
}

#[tokio::test]
async fn an_open_door_is_open_on_loopback_only_and_judges_what_is_sent() {
    let world = World::new();
    let guest = Principal {
        subject: "guest".into(),
        roles: vec![Role::Viewer],
        ..alice()
    };
    let open = world.authenticator().open_on_loopback(guest);
    let knock = async |peer: Option<&str>, credential: Option<&str>| {
        let mut request = Request::get("/api/v1/tasks");
        if let Some(credential) = credential {
            request = request.header("authorization", credential);
        }
        let mut request = request.body(Body::empty()).unwrap();
        if let Some(peer) = peer {
            let peer: SocketAddr = peer.parse().unwrap();
            request.extensions_mut().insert(ConnectInfo(peer));
        }
        outer(open.clone(), request).await
    };
    for peer in ["127.0.0.1:5000", "[::1]:5000", "[::ffff:127.0.0.1]:5000"] {
        assert_eq!(
            knock(Some(peer), None).await,
            Outcome::In("guest".into()),
            "{peer}"
        );
        let outcome = knock(Some(peer), Some("Bearer nonsense")).await;
        assert_eq!(outcome, refused("invalid_credential"), "{peer}");
    }
    for peer in [None, Some("10.0.0.7:5000"), Some("[2001:db8::1]:5000")] {
        assert_eq!(
            knock(peer, None).await,
            refused("missing_credential"),
            "{peer:?}"
        );
    }
}

#[tokio::test]
async fn msh_10_the_call_graph_holds_but_for_diagnostics() {
    let world = World::new();
    let from = world.identity(ServiceName::OllamaProxy);
    let request = from.request(CALLEE, None, in_time(), ()).unwrap();
    let outcome = inner(
        world.identity(CALLEE),
        call(&request, "/tasks.v1.Tasks/Get"),
    )
    .await;
    assert_eq!(outcome, refused("caller_not_allowed"));
    let probe = call(&request, "/platform.v1.Diagnostics/Probe");
    let outcome = inner(world.identity(CALLEE), probe).await;
    assert_eq!(outcome, Outcome::In("ollama-proxy".into()));
}

#[tokio::test]
async fn a_call_carries_the_user_and_what_is_left_of_the_time() {
    let world = World::new();
    let backend = world.identity(ServiceName::Backend);
    for (on_behalf, subject) in [(Some(&alice()), "alice"), (None, "backend")] {
        let request = backend.request(CALLEE, on_behalf, in_time(), ()).unwrap();
        let timeout = request
            .metadata()
            .get("grpc-timeout")
            .unwrap()
            .to_str()
            .unwrap();
        let left = Deadline::from_grpc_timeout(timeout).unwrap().remaining();
        assert!(left <= Duration::from_millis(9_950), "{left:?}");
        assert!(left > Duration::from_secs(5), "{left:?}");
        assert!(
            !format!("{:?}", request.metadata()).contains("eyJ"),
            "the token can be logged"
        );
        let outcome = inner(
            world.identity(CALLEE),
            call(&request, "/tasks.v1.Tasks/Get"),
        )
        .await;
        assert_eq!(outcome, Outcome::In(subject.into()));
    }
}

#[test]
fn a_spent_budget_makes_no_call() {
    let world = World::new();
    let backend = world.identity(ServiceName::Backend);
    for budget in [0, 1, 50] {
        let deadline = Deadline::after(Duration::from_millis(budget));
        let request = backend.request(CALLEE, None, deadline, ());
        assert!(
            matches!(request, Err(AuthError::DeadlineExceeded)),
            "{budget}"
        );
    }
}

#[test]
fn a_handler_finds_the_caller_only_behind_the_guard() {
    let mut request = tonic::Request::new(());
    let status = grpc::caller(&request).unwrap_err();
    assert_eq!(status.code(), tonic::Code::Unauthenticated);

    let mut caller = Caller {
        service: ServiceName::Backend,
        principal: None,
    };
    request.extensions_mut().insert(caller.clone());
    assert_eq!(grpc::caller(&request).unwrap(), caller);
    let status = grpc::principal(&request).unwrap_err();
    assert_eq!(status.code(), tonic::Code::Unauthenticated);

    caller.principal = Some(alice());
    request.extensions_mut().insert(caller);
    assert_eq!(grpc::principal(&request).unwrap(), alice());

    let (given, default) = (Duration::from_secs(5), Duration::from_secs(60));
    assert!(grpc::deadline(&request, default).remaining() > given);
    request.extensions_mut().insert(Deadline::after(given));
    assert!(grpc::deadline(&request, default).remaining() <= given);
}

#[test]
fn cb_05_only_the_backend_for_an_administrator_changes_a_process() {
    let as_admin = |scopes: Option<&[Permission]>| Principal {
        roles: vec![Role::Admin],
        scopes: scopes.map(|scopes| scopes.iter().copied().collect()),
        ..alice()
    };
    let caller = |service, principal| {
        let mut extensions = http::Extensions::new();
        extensions.insert(Caller { service, principal });
        grpc::operator(&extensions).map_err(|status| status.code())
    };
    let (backend, cli) = (ServiceName::Backend, ServiceName::Cli);
    let admin = as_admin(None);
    let named = format!("{}/alice", admin.tenant);
    assert_eq!(caller(backend, Some(admin.clone())), Ok(named));

    let denied = Err(tonic::Code::PermissionDenied);
    assert_eq!(caller(cli, Some(admin)), denied);
    assert_eq!(caller(backend, Some(alice())), denied);
    let reader = as_admin(Some(&[Permission::SystemRead]));
    assert_eq!(caller(backend, Some(reader)), denied);
    let unknown = Err(tonic::Code::Unauthenticated);
    assert_eq!(caller(backend, None), unknown);
    let outside = grpc::operator(&http::Extensions::new()).map_err(|status| status.code());
    assert_eq!(outside, unknown);
}

//! HTTP as a client sees it.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::{ConnectInfo, Path},
    routing::{get, post},
};
use futures::{StreamExt, stream};
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use sutazai_mesh::registry::memory::MemoryRegistry;
use sutazai_runtime::service::RunError;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::watch,
    time::timeout,
};

use crate::support::{Answer, PATIENCE, Part, Running, builder};

async fn fault() -> &'static str {
    panic!("canary-text")
}

fn assert_problem(answer: &Answer, status: StatusCode, code: &str) {
    assert_eq!(answer.status, status);
    assert_eq!(answer.header("content-type"), "application/problem+json");
    let problem = answer.json();
    assert_eq!(problem["code"], code);
    assert_eq!(problem["status"], status.as_u16());
    assert_eq!(problem["request_id"], answer.header("x-request-id"));
}

#[tokio::test]
async fn beh_01_every_error_is_a_problem_document() {
    let routes = Router::new()
        .route("/only-get", get(|| async { "ok" }))
        .route("/panic", get(fault))
        .route("/number", post(|_: axum::Json<u32>| async { "ok" }))
        .route(
            "/items/{id}",
            get(|_: Path<u32>| async { StatusCode::NOT_FOUND }),
        );
    let running = Running::start(builder().http(routes)).await;

    let answer = running.get("/nowhere").await;
    assert_problem(&answer, StatusCode::NOT_FOUND, "route_not_found");
    assert_eq!(answer.json()["instance"], "/nowhere");

    let delete = Request::delete("/only-get").body(Body::empty()).unwrap();
    let answer = running.send(delete).await;
    assert_problem(
        &answer,
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
    );
    assert!(answer.header("allow").contains("GET"));

    let answer = running.get("/panic").await;
    assert_problem(&answer, StatusCode::INTERNAL_SERVER_ERROR, "internal");
    assert!(!answer.text().contains("canary-text"));

    let answer = running.get("/items/7").await;
    assert_problem(&answer, StatusCode::NOT_FOUND, "not_found");

    let text = Request::post("/number").body(Body::from("7")).unwrap();
    let answer = running.send(text).await;
    assert_problem(
        &answer,
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "unsupported_media_type",
    );

    let large = Request::post("/number")
        .header("content-type", "application/json")
        .body(Body::from(vec![b' '; 1024 * 1024 + 1]))
        .unwrap();
    let answer = running.send(large).await;
    assert_problem(&answer, StatusCode::PAYLOAD_TOO_LARGE, "body_too_large");
    running.stop().await.unwrap();
}

#[tokio::test]
async fn a_request_id_goes_in_and_out_and_a_bad_one_is_replaced() {
    let echo = |headers: http::HeaderMap| async move {
        headers["x-request-id"].to_str().unwrap().to_owned()
    };
    let running = Running::start(builder().http(Router::new().route("/echo", get(echo)))).await;
    for (given, kept) in [("req-1", true), ("not good", false), ("a\tb", false)] {
        let request = Request::get("/echo")
            .header("x-request-id", given)
            .body(Body::empty())
            .unwrap();
        let answer = running.send(request).await;
        assert_eq!(answer.header("x-request-id") == given, kept, "{given}");
        assert_eq!(answer.text(), answer.header("x-request-id"));
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
    }
    let made = running.get("/echo").await;
    assert_eq!(made.header("x-request-id").len(), 36);
    running.stop().await.unwrap();
}

#[tokio::test]
async fn cfg_13_obs_01_a_request_is_counted_under_its_route() {
    let _guard = sutazai_telemetry::init(&sutazai_telemetry::Config {
        format: sutazai_telemetry::Format::Json,
        filter: "off".to_owned(),
        ..sutazai_telemetry::Config::default()
    })
    .unwrap();
    let routes = Router::new()
        .route(
            "/widgets/{id}",
            get(|Path(id): Path<u32>| async move { id.to_string() }),
        )
        .route("/missing/{id}", get(|| async { StatusCode::NOT_FOUND }));
    let running = Running::start(builder().http(routes)).await;
    for id in [1, 2, 3] {
        running.get(&format!("/widgets/{id}")).await;
    }
    running.get("/missing/9").await;
    running.get("/raw/path/17").await;

    let answer = running.get("/metrics").await;
    assert_eq!(answer.status, StatusCode::OK);
    assert!(
        answer
            .header("content-type")
            .starts_with("text/plain; version=0.0.4")
    );
    let text = answer.text();
    for line in [
        r#"api_request_total{method="GET",endpoint="/widgets/{id}",status="200"} 3"#,
        r#"api_request_duration_seconds_count{method="GET",endpoint="/widgets/{id}",status="200"} 3"#,
        r#"api_request_total{method="GET",endpoint="/missing/{id}",status="404"} 1"#,
        r#"api_errors_total{method="GET",endpoint="/missing/{id}",error_type="not_found"} 1"#,
        r#"active_connections{service="backend"}"#,
        r#"build_info{service="backend",version="#,
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    assert!(!text.contains("/raw/path"), "a raw path became a label");
    running.stop().await.unwrap();
}

#[tokio::test]
async fn cfg_14_health_follows_the_parts() {
    let (base_works, base) = watch::channel(false);
    let (cache_works, cache) = watch::channel(false);
    let part = |name, required, works| {
        Arc::new(Part {
            name,
            required,
            works,
        })
    };
    let builder = builder()
        .probe(part("database", true, base))
        .probe(part("redis", false, cache))
        .health_alias("/api/health");
    let running = Running::launch(builder, Arc::new(MemoryRegistry::new())).await;

    // Without its database it lives, but takes no work.
    assert_eq!(running.get("/livez").await.status, StatusCode::OK);
    let answer = running.get("/readyz").await;
    assert_problem(&answer, StatusCode::SERVICE_UNAVAILABLE, "not_ready");
    let health = running.get("/health").await;
    assert_eq!(health.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(health.json()["status"], "unavailable");

    base_works.send_replace(true);
    running.until_status("/readyz", StatusCode::OK).await;
    for path in ["/health", "/api/health"] {
        let answer = running.get(path).await;
        assert_eq!(answer.status, StatusCode::OK);
        let health = answer.json();
        assert_eq!(health["status"], "degraded");
        assert_eq!(health["services"]["database"], "ok");
        assert_eq!(health["services"]["redis"], "unavailable");
        assert!(health["version"].is_string() && health["uptime_seconds"].is_u64());
    }
    cache_works.send_replace(true);
    timeout(PATIENCE, async {
        while running.get("/health").await.json()["status"] != "ok" {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .unwrap();
    running.stop().await.unwrap();
}

#[tokio::test]
async fn cfg_14_a_required_part_that_never_works_ends_the_start() {
    let (_keep, works) = watch::channel(false);
    let builder = builder()
        .probe(Arc::new(Part {
            name: "database",
            required: true,
            works,
        }))
        .start_within(Duration::from_millis(100));
    let running = Running::launch(builder, Arc::new(MemoryRegistry::new())).await;
    let ended = timeout(PATIENCE, running.ended).await.unwrap().unwrap();
    let Err(RunError::NotReady(why)) = ended else {
        panic!("{ended:?}");
    };
    assert_eq!(why, "database: it does not work");
}

#[tokio::test]
async fn handlers_know_their_peer() {
    let whoami =
        |ConnectInfo(peer): ConnectInfo<std::net::SocketAddr>| async move { peer.ip().to_string() };
    let running = Running::start(builder().http(Router::new().route("/whoami", get(whoami)))).await;
    assert_eq!(running.get("/whoami").await.text(), "127.0.0.1");
    running.stop().await.unwrap();
}

#[tokio::test]
async fn a_stream_is_passed_on_as_it_comes() {
    let (feeder, frames) = tokio::sync::mpsc::channel::<&'static str>(1);
    let receiver = Arc::new(tokio::sync::Mutex::new(Some(frames)));
    let feed = move || {
        let receiver = Arc::clone(&receiver);
        async move {
            let receiver = receiver.lock().await.take().unwrap();
            let frames = stream::unfold(receiver, |mut receiver| async {
                Some((receiver.recv().await?, receiver))
            });
            Body::from_stream(frames.map(Ok::<_, Infallible>))
        }
    };
    let running = Running::start(builder().http(Router::new().route("/feed", get(feed)))).await;
    let request = Request::get("/feed").body(Body::empty()).unwrap();
    let mut body = running.open(request).await.into_body();
    // Each frame arrives while the stream is still open and nothing else was sent.
    for frame in ["data: 1\n\n", "data: 2\n\n"] {
        feeder.send(frame).await.unwrap();
        let next = timeout(PATIENCE, body.frame())
            .await
            .unwrap()
            .unwrap()
            .unwrap();
        assert_eq!(next.into_data().unwrap(), frame);
    }
    drop(feeder);
    assert!(timeout(PATIENCE, body.frame()).await.unwrap().is_none());
    running.stop().await.unwrap();
}

#[tokio::test]
async fn a_head_beyond_16_kib_is_refused() {
    let running = Running::start(builder()).await;
    let request = Request::get("/livez")
        .header("x-long", "x".repeat(17 * 1024))
        .body(Body::empty())
        .unwrap();
    let answer = running.open(request).await;
    assert_eq!(answer.status(), StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    running.stop().await.unwrap();
}

/// Reads until the server closes, and returns the time of the (paused) clock until then.
async fn until_closed(mut raw: TcpStream) -> (Duration, String) {
    tokio::time::pause();
    let begun = tokio::time::Instant::now();
    let mut answer = Vec::new();
    // A reset is an end, too.
    let _ = raw.read_to_end(&mut answer).await;
    tokio::time::resume();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    (begun.elapsed(), answer)
}

#[tokio::test]
async fn a_client_that_sends_no_head_is_closed_after_10_s() {
    let running = Running::start(builder()).await;
    let addresses = running.addresses;
    for (address, bytes) in [
        (addresses.http, ""),
        (addresses.grpc, ""),
        (addresses.http, "GET /livez HTTP/1.1\r\nhost"),
        (addresses.http, "PRI * HTTP/2"),
        (addresses.grpc, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    ] {
        let mut raw = TcpStream::connect(address).await.unwrap();
        raw.write_all(bytes.as_bytes()).await.unwrap();
        let (took, _) = until_closed(raw).await;
        assert!(
            (9..=12).contains(&took.as_secs()),
            "{bytes:?} took {took:?}"
        );
    }
    running.stop().await.unwrap();
}

#[tokio::test]
async fn a_body_that_stops_is_given_up_after_30_s() {
    let take = |body: String| async move { body };
    let running = Running::start(builder().http(Router::new().route("/take", post(take)))).await;
    let mut raw = TcpStream::connect(running.addresses.http).await.unwrap();
    let head = "POST /take HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\npart";
    raw.write_all(head.as_bytes()).await.unwrap();
    let (took, answer) = until_closed(raw).await;
    assert!((29..=45).contains(&took.as_secs()), "it took {took:?}");
    assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
    assert!(answer.contains("application/problem+json"), "{answer}");
    running.stop().await.unwrap();
}

/// Sends bytes over a connection of its own and returns all that comes back until it is closed.
async fn exchange(running: &Running, head: &str, body: &[u8]) -> String {
    let mut raw = TcpStream::connect(running.addresses.http).await.unwrap();
    raw.write_all(&[head.as_bytes(), body].concat())
        .await
        .unwrap();
    let mut answer = Vec::new();
    timeout(PATIENCE, raw.read_to_end(&mut answer))
        .await
        .unwrap()
        .unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn beh_07_an_answer_before_the_end_of_the_body_is_not_lost() {
    let refuse = async || StatusCode::PAYLOAD_TOO_LARGE;
    let running = Running::start(builder().http(Router::new().route("/take", post(refuse)))).await;
    let head = |length: u64, more: &str| {
        format!("POST /take HTTP/1.1\r\nhost: x\r\n{more}content-length: {length}\r\n\r\n")
    };
    // The rest of the body is thrown away, and the next request behind it is answered.
    let next = b"GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let body = [vec![b'x'; 3 * 1024 * 1024], next.to_vec()].concat();
    let answers = exchange(&running, &head(3 * 1024 * 1024, ""), &body).await;
    assert!(answers.starts_with("HTTP/1.1 413"), "{answers}");
    assert!(answers.contains("HTTP/1.1 200"), "{answers}");
    // A body that does not come ends the connection, which the answer says.
    let answer = exchange(&running, &head(1 << 40, ""), b"x").await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert!(answer.contains("connection: close\r\n"), "{answer}");
    // A client that waits for our word is not asked for a body that nobody reads.
    let answer = exchange(&running, &head(9, "expect: 100-continue\r\n"), b"").await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    running.stop().await.unwrap();
}

use axum::{Router, body::Body, routing::post};
use http::Response;
use serde::Deserialize;
use serde_json::value::RawValue;
use sutazai_proto::Problem;
use tower::ServiceExt;

use super::*;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sample {
    message: String,
    #[serde(default, deserialize_with = "object")]
    #[expect(dead_code, reason = "only its reading matters")]
    options: Options,
    #[serde(default)]
    raw: Option<Box<RawValue>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only its reading matters")]
struct Options {
    #[serde(default)]
    stop: Vec<String>,
    #[serde(default)]
    seed: Option<i64>,
}

const LIMIT: usize = 256;

async fn post_to(content_type: Option<&str>, body: impl Into<Body>) -> (StatusCode, Problem) {
    let response = send(content_type, body.into()).await;
    let status = response.status();
    assert_eq!(
        response.headers()[header::CONTENT_TYPE],
        "application/problem+json"
    );
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&body).unwrap())
}

async fn send(content_type: Option<&str>, body: Body) -> Response<Body> {
    async fn accept(Json(sample): Json<Sample, LIMIT>) -> String {
        sample.message
    }
    let mut request = http::Request::post("/");
    if let Some(value) = content_type {
        request = request.header(header::CONTENT_TYPE, value);
    }
    let app = Router::new().route("/", post(accept));
    app.oneshot(request.body(body).unwrap()).await.unwrap()
}

#[tokio::test]
async fn a_valid_body_is_read() {
    for content_type in ["application/json", "Application/JSON; charset=utf-8"] {
        let response = send(Some(content_type), r#"{"message":"hello"}"#.into()).await;
        assert_eq!(response.status(), StatusCode::OK);
    }
}

#[tokio::test]
async fn sec_10_each_fault_has_its_own_code() {
    let deep = format!(
        r#"{{"message":"m","raw":{}1{}}}"#,
        "[".repeat(40),
        "]".repeat(40)
    );
    let table: &[(&[u8], u16, &str, Option<&str>)] = &[
        (b"", 400, "invalid_json", None),
        (b"{", 400, "invalid_json", None),
        (b"{\"message\":\"m\"} x", 400, "invalid_json", None),
        (b"{\"message\":\"\xff\"}", 400, "invalid_utf8", None),
        (b"[]", 400, "validation_failed", Some("")),
        (br#"["m",{},null]"#, 400, "validation_failed", Some("")),
        (b"{}", 400, "validation_failed", Some("")),
        (
            br#"{"message":7}"#,
            400,
            "validation_failed",
            Some("/message"),
        ),
        (
            br#"{"message":"m","message":"n"}"#,
            400,
            "validation_failed",
            None,
        ),
        (
            br#"{"message":"m","options":{"seed":1.5}}"#,
            400,
            "validation_failed",
            Some("/options/seed"),
        ),
        (
            br#"{"message":"m","options":[[],7]}"#,
            400,
            "validation_failed",
            Some("/options"),
        ),
        (
            br#"{"message":"m","options":{"stop":["a",2]}}"#,
            400,
            "validation_failed",
            Some("/options/stop/1"),
        ),
        (
            br#"{"message":"m","colour":"red"}"#,
            400,
            "unknown_field",
            Some("/colour"),
        ),
        (
            br#"{"message":"m","options":{"a/b~":1}}"#,
            400,
            "unknown_field",
            Some("/options/a~1b~0"),
        ),
        (deep.as_bytes(), 400, "validation_failed", Some("")),
    ];
    for (body, status, code, pointer) in table {
        let shown = String::from_utf8_lossy(body).into_owned();
        let (answered, problem) = post_to(Some("application/json"), body.to_vec()).await;
        assert_eq!(
            (answered.as_u16(), problem.code.as_str()),
            (*status, *code),
            "{shown}"
        );
        if let Some(pointer) = pointer {
            assert_eq!(problem.errors[0].pointer, *pointer, "{shown}");
        }
    }
}

#[tokio::test]
async fn sec_10_other_media_types_are_refused() {
    for content_type in [
        None,
        Some("text/plain"),
        Some("application/x-www-form-urlencoded"),
    ] {
        let (status, problem) = post_to(content_type, r#"{"message":"m"}"#).await;
        assert_eq!(status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
        assert_eq!(
            (problem.status, problem.code.as_str()),
            (415, "unsupported_media_type")
        );
    }
}

#[tokio::test]
async fn beh_07_the_exact_limit_passes_and_one_byte_more_does_not() {
    let body = |length: usize| {
        let frame = r#"{"message":""}"#.len();
        format!(r#"{{"message":"{}"}}"#, "m".repeat(length - frame))
    };
    let response = send(Some("application/json"), body(LIMIT).into()).await;
    assert_eq!(response.status(), StatusCode::OK);
    // Once with a declared length, once as a stream without one.
    let (status, problem) = post_to(Some("application/json"), body(LIMIT + 1)).await;
    assert_eq!(
        (status.as_u16(), problem.code.as_str()),
        (413, "body_too_large")
    );
    let chunks = futures::stream::iter([Ok::<_, std::io::Error>(body(LIMIT + 1))]);
    let (status, problem) = post_to(Some("application/json"), Body::from_stream(chunks)).await;
    assert_eq!(
        (status.as_u16(), problem.code.as_str()),
        (413, "body_too_large")
    );
}

#[test]
fn raw_json_keeps_its_bytes() {
    let sample: Sample =
        parse(br#"{"message":"m","raw":{"n": 1.00, "big":12345678901234567890}}"#).unwrap();
    assert_eq!(
        sample.raw.unwrap().get(),
        r#"{"n": 1.00, "big":12345678901234567890}"#
    );
}

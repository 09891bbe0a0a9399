//! Credentials that get nobody in.

use chrono::{TimeDelta, Utc};
use reqwest::{Method, RequestBuilder};
use sutazai_auth::{
    keys::SigningKey,
    token::{issue_service, issue_user},
};
use sutazai_mesh::catalog::ServiceName;
use system_tests::{Stage, newcomer};

use super::ME;

/// Asks who one is, with these headers and nothing else.
fn asking(stage: &Stage, headers: &[(&str, &str)]) -> RequestBuilder {
    let request = stage.stranger().request(Method::GET, ME);
    let add = |request: RequestBuilder, (name, value): &(&str, &str)| request.header(*name, *value);
    headers.iter().fold(request, add)
}

#[tokio::test]
async fn sec_01_a_credential_comes_once_as_bearer_and_nowhere_else() {
    let stage = Stage::shared().await;
    let stranger = stage.stranger();
    let token = stage.token(&newcomer(), Utc::now());
    let with = |scheme: &str| format!("{scheme}{token}");
    let good = with("Bearer ");
    // Schemes have no case (RFC 9110, 11.1).
    for scheme in ["Bearer ", "bearer ", "BEARER "] {
        let answer = stranger
            .send(asking(stage, &[("authorization", &with(scheme))]))
            .await;
        assert_eq!(answer.status, 200, "{scheme}");
    }
    let odd = [
        "", "Bearer", "Bearer  ", "bearer\t", "Token ", "token ", "jwt ", "ApiKey ", "Basic ",
    ];
    let mut refused: Vec<Vec<(&str, String)>> = odd
        .iter()
        .map(|scheme| vec![("authorization", with(scheme))])
        .collect();
    refused.extend([
        vec![
            ("authorization", good.clone()),
            ("authorization", good.clone()),
        ],
        vec![
            ("authorization", good.clone()),
            ("authorization", "Basic YTpi".to_owned()),
        ],
        vec![("authorization", format!("{good} x"))],
        vec![("authorization", format!("{good}, {good}"))],
        vec![("authorization", "Bearer".to_owned())],
    ]);
    for headers in &refused {
        let headers: Vec<(&str, &str)> = headers
            .iter()
            .map(|(name, value)| (*name, &**value))
            .collect();
        let answer = stranger.send(asking(stage, &headers)).await;
        answer.assert_problem(401, "invalid_credential");
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
        assert!(!answer.text.contains(&token), "{}", answer.text);
    }
    for (name, value) in [
        ("x-api-key", &*token),
        ("cookie", &format!("access_token={token}")),
        ("proxy-authorization", &good),
    ] {
        let answer = stranger.send(asking(stage, &[(name, value)])).await;
        answer.assert_problem(401, "missing_credential");
    }
    for name in ["access_token", "token", "api_key", "key"] {
        let answer = stranger.get(&format!("{ME}?{name}={token}")).await;
        answer.assert_problem(401, "missing_credential");
    }
}

#[tokio::test]
async fn sec_14_tokens_that_do_not_hold_are_refused_with_their_code() {
    let stage = Stage::shared().await;
    let (stranger, now) = (stage.stranger(), Utc::now());
    let good = stage.token(&newcomer(), now);
    let [header, claims, signature] = parts(&good);
    let foreign = SigningKey::generate().expect("a key");
    let foreign = issue_user(&foreign, &newcomer(), now)
        .expect("a token")
        .token;
    let pem = std::fs::read_to_string(stage.description().keys.join("cli.pem")).expect("a key");
    let service = SigningKey::from_pem(&pem).expect("a key");
    let internal = issue_service(&service, ServiceName::Cli, ServiceName::Backend, None, now);
    let internal = internal.expect("a token").token;
    // {"alg":"none","typ":"at+jwt"}
    let unsigned = format!("eyJhbGciOiJub25lIiwidHlwIjoiYXQrand0In0.{claims}.");
    let other = stage.token(&newcomer(), now);
    let [_, other_claims, _] = parts(&other);
    for (token, code) in [
        (
            stage.token(&newcomer(), now - TimeDelta::minutes(6)),
            "expired_credential",
        ),
        (
            stage.token(&newcomer(), now + TimeDelta::minutes(6)),
            "invalid_credential",
        ),
        ("garbage".to_owned(), "invalid_credential"),
        ("a.b.c".to_owned(), "invalid_credential"),
        (format!("{header}.{claims}."), "invalid_credential"),
        (
            format!("{header}.{other_claims}.{signature}"),
            "invalid_credential",
        ),
        (unsigned, "invalid_credential"),
        (foreign, "invalid_credential"),
        (internal, "invalid_credential"),
        ("x".repeat(5000), "invalid_credential"),
        ("sutazai_dev_0".to_owned(), "invalid_credential"),
        (
            format!("sutazai_dev_{}", "0".repeat(38)),
            "invalid_credential",
        ),
    ] {
        let answer = stranger.with_credential(Some(&token)).get(ME).await;
        answer.assert_problem(401, code);
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
        assert!(!answer.text.contains(&token), "{}", answer.text);
    }
    let answer = stranger.with_credential(Some(&good)).get(ME).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
}

fn parts(token: &str) -> [&str; 3] {
    let parts: Vec<&str> = token.split('.').collect();
    parts.try_into().expect("three parts")
}

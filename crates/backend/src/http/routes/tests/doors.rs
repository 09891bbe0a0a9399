//! Who gets in, and what they may do.

use super::*;

#[tokio::test]
async fn sec_05_every_route_but_the_public_ones_asks_for_a_credential() {
    let api = api().await;
    let document = api.document().await;
    let mut asked = 0;
    for (method, path, operation) in operations(&document) {
        let guarded = !operation["security"].as_array().unwrap().is_empty();
        let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
        let uri = path.replace("{id}", ID);
        if !guarded {
            let public = ["health", "jwks", "login"]
                .iter()
                .any(|word| path.contains(word));
            assert!(public, "{path} is open");
            continue;
        }
        asked += 1;
        for credential in [
            None,
            Some("Bearer x.y.z"),
            Some("Basic YTpi"),
            Some("Bearer sutazai_dev_0"),
        ] {
            let mut request = Request::builder().method(&method).uri(&uri);
            if let Some(credential) = credential {
                request = request.header(header::AUTHORIZATION, credential);
            }
            let response = api.send(request, "").await;
            assert_eq!(
                response.headers()[header::WWW_AUTHENTICATE],
                "Bearer",
                "{method} {uri}"
            );
            let (status, problem) = answer(response).await;
            assert_eq!(status, StatusCode::UNAUTHORIZED, "{method} {uri}");
            let expected = if credential.is_some() {
                "invalid_credential"
            } else {
                "missing_credential"
            };
            assert_eq!(problem["code"], expected, "{method} {uri} {credential:?}");
        }
    }
    assert_eq!(asked, 34);
}

#[tokio::test]
async fn sec_05_a_key_does_what_its_scopes_allow_and_nothing_else() {
    let api = api().await;
    let admin = api.login().await;
    let asked = serde_json::json!({ "name": "reader", "scopes": ["conversations:read"] });
    let (status, created) = api.post("/api/v1/auth/keys", &admin, &asked).await;
    assert_eq!(status, StatusCode::CREATED);
    let key = format!("Bearer {}", created["key"].as_str().unwrap());

    let document = api.document().await;
    for (method, path, operation) in operations(&document) {
        let Some(permission) = operation["x-permission"].as_str() else {
            continue;
        };
        let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
        let request = Request::builder()
            .method(&method)
            .uri(path.replace("{id}", ID))
            .header(header::AUTHORIZATION, &key);
        let (status, problem) = answer(api.send(request, "").await).await;
        let denied = status == StatusCode::FORBIDDEN;
        assert_eq!(
            denied,
            permission != "conversations:read",
            "{method} {path} {problem}"
        );
        if denied {
            assert_eq!(problem["code"], "missing_permission");
        }
    }
}

#[tokio::test]
async fn sec_06_a_key_is_shown_once_and_refused_once_revoked() {
    let api = api().await;
    let admin = api.login().await;
    let asked = serde_json::json!({ "name": "ci" });
    let (_, created) = api.post("/api/v1/auth/keys", &admin, &asked).await;
    let (id, key) = (
        created["id"].as_str().unwrap(),
        created["key"].as_str().unwrap(),
    );
    let (status, listed) = api.get("/api/v1/auth/keys", &admin).await;
    assert_eq!(
        (status, listed["items"][0]["id"].as_str()),
        (StatusCode::OK, Some(id))
    );
    assert!(!listed.to_string().contains(key));

    let credential = format!("Bearer {key}");
    assert_eq!(
        api.get("/api/v1/auth/me", &credential).await.0,
        StatusCode::OK
    );
    let path = format!("/api/v1/auth/keys/{id}");
    for expected in [StatusCode::NO_CONTENT, StatusCode::NOT_FOUND] {
        let request = Request::delete(&path).header(header::AUTHORIZATION, &admin);
        assert_eq!(api.send(request, "").await.status(), expected);
    }
    assert_eq!(
        api.get("/api/v1/auth/me", &credential).await.0,
        StatusCode::UNAUTHORIZED
    );
}

#[tokio::test]
async fn sec_16_the_password_gives_a_token_that_works() {
    let api = api().await;
    let login = async |body: Value| api.post("/api/v1/auth/login", "", &body).await;
    // No credential belongs to a login; an empty header is as good as none there.
    let (status, token) =
        login(serde_json::json!({ "username": "admin", "password": "correct horse battery" }))
            .await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(token["token_type"], "Bearer");
    assert!((295..=300).contains(&token["expires_in"].as_i64().unwrap()));
    let credential = format!("Bearer {}", token["access_token"].as_str().unwrap());
    let (status, me) = api.get("/api/v1/auth/me", &credential).await;
    assert_eq!(
        (status, &me["roles"][0]),
        (StatusCode::OK, &Value::from("admin"))
    );

    for (name, password) in [
        ("admin", "wrong horse battery"),
        ("nobody", "correct horse battery"),
    ] {
        let (status, problem) =
            login(serde_json::json!({ "username": name, "password": password })).await;
        assert_eq!(
            (status, &problem["code"]),
            (StatusCode::UNAUTHORIZED, &Value::from("invalid_credential"))
        );
    }
}

#[tokio::test]
async fn api_04_the_published_keys_are_those_of_users_tokens_only() {
    let api = api().await;
    let (_, document) = api.get("/api/v1/auth/jwks", "").await;
    assert_eq!(document["keys"].as_array().map(Vec::len), Some(1));
    assert_eq!(api.get("/.well-known/jwks.json", "").await.1, document);
    assert!(document["keys"][0].get("d").is_none());
}

//! `/docs`, `/redoc`, `/docs/errors`: pages that need nothing from elsewhere.

use system_tests::{Answer, Client, Stage};

/// Where a reader begins, and the scripts that decide what is loaded next.
const ENTRIES: [&str; 6] = [
    "/docs/",
    "/docs/swagger-initializer.js",
    "/redoc",
    "/redoc/script.js",
    "/redoc/style.css",
    "/docs/errors",
];

/// Returns what the attributes of a page lead to.
fn references(page: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for attribute in ["src=", "href=", "url("] {
        for (at, _) in page.match_indices(attribute) {
            let rest = page[at + attribute.len()..].trim_start_matches(['"', '\'']);
            let end = rest.find(['"', '\'', ')', '>', ' ']);
            found.push(&rest[..end.unwrap_or(rest.len())]);
        }
    }
    found
}

fn leads_elsewhere(reference: &str) -> bool {
    reference.starts_with("//") || (reference.contains(':') && !reference.starts_with("data:"))
}

/// Returns the address on this host that a reference of a page leads to.
fn address(page: &str, reference: &str) -> String {
    let reference = reference.split('#').next().unwrap_or_default();
    match reference.strip_prefix("./").unwrap_or(reference) {
        "" => page.to_owned(),
        whole if whole.starts_with('/') => whole.to_owned(),
        beside => format!(
            "{}/{beside}",
            page.rsplit_once('/').map_or("", |(base, _)| base)
        ),
    }
}

async fn page(client: &Client, path: &str) -> Answer {
    let answer = client.get(path).await;
    assert_eq!(answer.status, 200, "{path}");
    assert!(!answer.text.is_empty(), "{path}");
    let policy = answer.header("content-security-policy");
    assert!(
        policy.is_some_and(|policy| policy.starts_with("default-src 'self';")),
        "{path}: {policy:?}"
    );
    answer
}

#[test]
fn references_to_other_hosts_are_found() {
    let page =
        r#"<link href="./a.css"><script src='https://cdn.example/x.js'></script><a href=//b>"#;
    let found = references(page);
    assert_eq!(found, ["https://cdn.example/x.js", "./a.css", "//b"]);
    let away: Vec<bool> = found.into_iter().map(leads_elsewhere).collect();
    assert_eq!(away, [true, false, true]);
    assert_eq!(address("/docs/", "./a.css"), "/docs/a.css");
    assert_eq!(address("/redoc", "/redoc/style.css#x"), "/redoc/style.css");
}

#[tokio::test]
async fn api_02_the_pages_render_without_another_host() {
    let client = Stage::shared().await.stranger();
    for path in ENTRIES {
        let entry = page(&client, path).await;
        // What is loaded from here may name foreign addresses; what decides what is loaded may not.
        let addresses = entry
            .text
            .match_indices("http://")
            .chain(entry.text.match_indices("https://"));
        for (at, _) in addresses {
            let named: String = entry.text[at..].chars().take(40).collect();
            assert!(named.contains("www.w3.org/"), "{path} names {named}");
        }
        if !entry
            .header("content-type")
            .is_some_and(|kind| kind.starts_with("text/html"))
        {
            continue;
        }
        for reference in references(&entry.text) {
            assert!(!leads_elsewhere(reference), "{path}: {reference}");
            if reference.starts_with("data:") {
                continue;
            }
            let there = address(path, reference);
            let found = client
                .send(client.request(reqwest::Method::GET, &there))
                .await;
            assert_eq!(found.status, 200, "{path} needs {there}");
            assert!(!found.headers["content-type"].is_empty(), "{there}");
        }
    }
    let initializer = page(&client, "/docs/swagger-initializer.js").await;
    assert!(initializer.text.contains("/openapi.json"));
    let script = page(&client, "/redoc/script.js").await;
    assert!(script.text.contains("/openapi.json"));
}

#[tokio::test]
async fn api_02_addresses_without_a_slash_and_unknown_files_are_answered() {
    let client = Stage::shared().await.stranger();
    let docs = page(&client, "/docs").await;
    assert!(docs.text.contains("swagger-ui"), "{}", docs.text);
    for path in ["/docs/no-such-file.js", "/docs/../secrets", "/redoc/other"] {
        client
            .get(path)
            .await
            .assert_problem(404, "route_not_found");
    }
}

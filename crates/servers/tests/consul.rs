//! Life and death of the Consul child.

#![expect(clippy::expect_used, clippy::unwrap_used, reason = "a test may panic")]

use std::{
    os::unix::fs::PermissionsExt,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use sutazai_servers::consul::{Consul, Options, StartError};

const TOKEN: &str = "5b1f34a1-36d6-4b0c-9b6a-0d2f6d1a7c11";

/// A folder that the server's account can reach.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o711))
        .expect("its mode");
    folder
}

fn options(folder: &Path) -> Options {
    Options {
        data: folder.join("consul"),
        ports: None,
        durable: false,
        management_token: None,
    }
}

async fn register(server: &Consul) {
    let body = r#"{"ID":"one","Name":"kept"}"#;
    let path = "/v1/agent/service/register";
    let answer = server.request("PUT", path, None, body).await.unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
}

async fn services(server: &Consul) -> String {
    let path = "/v1/agent/services";
    server.request("GET", path, None, "").await.unwrap().body
}

async fn gone(pid: u32) {
    let process = format!("/proc/{pid}");
    let give_up = Instant::now() + Duration::from_secs(20);
    while Path::new(&process).exists() {
        assert!(Instant::now() < give_up, "the server outlived its handle");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_durable_server_keeps_what_is_registered_over_kill_9() {
    let folder = folder();
    let durable = Options {
        durable: true,
        ..options(folder.path())
    };
    let server = Consul::start(durable).await.unwrap();
    register(&server).await;
    let (again, ports) = (server.options(), server.ports());
    server.kill().await;

    let server = Consul::start(again).await.unwrap();
    assert_eq!(server.ports(), ports);
    assert!(services(&server).await.contains("\"kept\""));
    server.stop().await;
}

#[tokio::test]
async fn one_in_memory_forgets_and_serves_its_pages() {
    let folder = folder();
    let server = Consul::start(options(folder.path())).await.unwrap();
    register(&server).await;
    let page = server.request("GET", "/ui/", None, "").await.unwrap();
    assert!(page.body.contains("<title>Consul"), "{page:?}");
    let again = server.options();
    server.stop().await;

    let server = Consul::start(again).await.unwrap();
    assert!(!services(&server).await.contains("\"kept\""));
    server.stop().await;
}

#[tokio::test]
async fn with_a_token_nothing_is_seen_without_it() {
    let folder = folder();
    let server = Consul::start(Options {
        management_token: Some(TOKEN.to_owned()),
        ..options(folder.path())
    })
    .await
    .unwrap();
    let path = "/v1/agent/self";
    let status = async |token| server.request("GET", path, token, "").await.unwrap().status;
    assert_eq!(status(None).await, 403);
    assert_eq!(status(Some(TOKEN)).await, 200);
    let line = std::fs::read(format!("/proc/{}/cmdline", server.pid())).unwrap();
    assert!(!String::from_utf8_lossy(&line).contains(TOKEN));
    server.stop().await;
}

#[tokio::test]
async fn a_token_that_is_no_uuid_is_refused() {
    let folder = folder();
    let refused = Consul::start(Options {
        management_token: Some("\"} x {".to_owned()),
        ..options(folder.path())
    })
    .await;
    assert!(matches!(refused, Err(StartError::Token)), "{refused:?}");
}

#[tokio::test]
async fn nobody_but_this_machine_can_reach_it() {
    let folder = folder();
    let server = Consul::start(options(folder.path())).await.unwrap();
    let listening = Command::new("ss")
        .args(["-Hlntup"])
        .output()
        .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
        .unwrap();
    let own = format!("pid={},", server.pid());
    let lines: Vec<_> = listening.lines().filter(|l| l.contains(&own)).collect();
    assert!(lines.len() >= 9, "{listening}");
    for line in lines {
        assert!(line.contains(" 127.0.0.1:"), "{line}");
    }
    server.stop().await;
}

#[tokio::test]
async fn several_do_not_meet_and_a_dropped_one_ends() {
    let folders = (folder(), folder());
    let (one, two) = tokio::join!(
        Consul::start(options(folders.0.path())),
        Consul::start(options(folders.1.path()))
    );
    let (one, two) = (one.unwrap(), two.unwrap());
    register(&one).await;
    assert!(!services(&two).await.contains("\"kept\""));
    let pids = [one.pid(), two.pid()];
    drop((one, two));
    for pid in pids {
        gone(pid).await;
    }
}

#[tokio::test]
async fn a_server_that_still_runs_on_the_folder_is_replaced() {
    let folder = folder();
    let left = Consul::start(options(folder.path())).await.unwrap();
    let server = Consul::start(options(folder.path())).await.unwrap();
    assert_ne!(left.pid(), server.pid());
    left.ended().await;
    server.stop().await;
}

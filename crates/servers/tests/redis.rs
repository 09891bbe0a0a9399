//! Life and death of the Redis child.

#![expect(clippy::expect_used, reason = "the setup of a test may panic")]

use std::{
    io::{Read, Write},
    net::TcpStream,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
    time::{Duration, Instant},
};

use sutazai_servers::redis::{Memory, Options, Policy, Redis};

const PASSWORD: &str = "a-generated-password";

/// A folder that the server's account can reach.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o711))
        .expect("its mode");
    folder
}

fn options(folder: &Path) -> Options {
    Options {
        password: Some(PASSWORD.to_owned()),
        append_only: true,
        ..Options::new(folder.join("redis"))
    }
}

/// Sends inline commands over one connection and returns everything that is answered.
fn say(server: &Redis, commands: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", server.port())).expect("a connection");
    stream
        .write_all(format!("{commands}\r\nQUIT\r\n").as_bytes())
        .expect("commands");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answers");
    answer
}

fn ask(server: &Redis, commands: &str) -> String {
    say(server, &format!("AUTH {PASSWORD}\r\n{commands}"))
}

fn process(server: &Redis) -> String {
    format!("/proc/{}", server.pid())
}

fn wait_until_gone(process: &str) {
    let give_up = Instant::now() + Duration::from_secs(20);
    while Path::new(process).exists() {
        assert!(Instant::now() < give_up, "the server outlived its handle");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[tokio::test]
async fn data_is_there_again_after_a_stop_and_after_kill_9() {
    let folder = folder();
    let server = Redis::start(options(folder.path())).await.unwrap();
    assert!(ask(&server, "SET stopped 1").contains("+OK"));
    server.stop().await;

    let server = Redis::start(options(folder.path())).await.unwrap();
    let port = server.port();
    assert!(ask(&server, "GET stopped\r\nSET killed 1").contains("$1\r\n1\r\n+OK"));
    // fsync is every second, but a write outlives the process as soon as the kernel has it.
    server.kill().await;

    let same_port = Options {
        port: Some(port),
        ..options(folder.path())
    };
    let server = Redis::start(same_port).await.unwrap();
    assert_eq!(server.port(), port);
    assert!(ask(&server, "GET killed").contains("$1\r\n1\r\n"));
    server.stop().await;
}

#[tokio::test]
async fn a_server_that_still_runs_on_the_folder_is_replaced() {
    let folder = folder();
    let left = Redis::start(options(folder.path())).await.unwrap();
    let server = Redis::start(options(folder.path())).await.unwrap();
    assert_ne!(left.pid(), server.pid());
    left.ended().await;
    assert!(ask(&server, "PING").contains("+PONG"));
    server.stop().await;
}

#[tokio::test]
async fn a_password_is_needed_where_one_was_set_and_lies_nowhere() {
    let folder = folder();
    let server = Redis::start(options(folder.path())).await.unwrap();
    assert!(say(&server, "GET x").contains("-NOAUTH"));
    assert!(ask(&server, "GET x").contains("$-1"));
    let line = std::fs::read(format!("{}/cmdline", process(&server))).unwrap();
    assert!(!String::from_utf8_lossy(&line).contains(PASSWORD));
    assert!(!server.data().join("redis.conf").exists());
    server.stop().await;
}

#[tokio::test]
async fn it_is_not_root_and_listens_on_this_machine_only() {
    let folder = folder();
    let server = Redis::start(options(folder.path())).await.unwrap();
    let owner = std::fs::metadata(process(&server)).unwrap().uid();
    assert_ne!(owner, 0);
    assert!(ask(&server, "CONFIG GET bind").contains("\r\n127.0.0.1\r\n"));
    server.stop().await;
}

#[tokio::test]
async fn memory_is_limited_as_asked() {
    let folder = folder();
    let server = Redis::start(Options {
        memory: Memory {
            limit: 5 << 20,
            policy: Policy::VolatileTtl,
        },
        ..options(folder.path())
    })
    .await
    .unwrap();
    let answer = ask(&server, "CONFIG GET maxmemory*");
    assert!(answer.contains("\r\n5242880\r\n"), "{answer}");
    assert!(answer.contains("\r\nvolatile-ttl\r\n"), "{answer}");
    server.stop().await;
}

#[tokio::test]
async fn several_at_once_do_not_meet() {
    let (one, two) = (folder(), folder());
    let (first, second) = tokio::join!(
        Redis::start(options(one.path())),
        Redis::start(options(two.path()))
    );
    let (first, second) = (first.unwrap(), second.unwrap());
    ask(&first, "SET mine 1");
    assert!(ask(&second, "GET mine").contains("$-1"));
    first.stop().await;
    second.stop().await;
}

#[tokio::test]
async fn nothing_is_left_of_a_stopped_or_dropped_server() {
    let folder = folder();
    let server = Redis::start(options(folder.path())).await.unwrap();
    let gone = process(&server);
    let pid_file = server.data().join("redis.pid");
    assert!(pid_file.exists());
    server.stop().await;
    assert!(!Path::new(&gone).exists() && !pid_file.exists());

    let server = Redis::start(options(folder.path())).await.unwrap();
    let gone = process(&server);
    drop(server);
    wait_until_gone(&gone);
}

#[tokio::test]
async fn a_taken_port_is_an_error_and_the_stranger_stays() {
    let (one, two) = (folder(), folder());
    let stranger = Redis::start(options(one.path())).await.unwrap();
    let taken = Options {
        port: Some(stranger.port()),
        ..options(two.path())
    };
    let error = Redis::start(taken).await.unwrap_err().to_string();
    assert!(error.contains("redis-server failed"), "{error}");
    assert!(ask(&stranger, "PING").contains("+PONG"));
    stranger.stop().await;
}

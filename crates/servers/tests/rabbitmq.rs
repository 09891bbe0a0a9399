//! Life and death of the RabbitMQ child.

#![expect(clippy::expect_used, reason = "the setup of a test may panic")]

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use sutazai_servers::rabbitmq::{Options, RabbitMq, StartError};

/// Makes [`a_killed_parent_leaves_nothing`] the parent, and tells it where to start its node.
const PARENT: &str = "RABBITMQ_TEST_PARENT";

/// A folder that the server's account can reach.
fn folder() -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o711))
        .expect("its mode");
    folder
}

fn options(folder: &Path) -> Options {
    Options::throw_away(folder.join("rabbitmq"))
}

/// Returns the processes whose command line or environment names the folder.
fn processes(folder: &Path) -> Vec<String> {
    let name = folder.file_name().expect("a name").to_string_lossy();
    let entries = std::fs::read_dir("/proc").expect("proc").flatten();
    let of_folder = entries.filter(|entry| {
        ["cmdline", "environ"].iter().any(|file| {
            let text = std::fs::read(entry.path().join(file)).unwrap_or_default();
            String::from_utf8_lossy(&text).contains(&*name)
        })
    });
    of_folder
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|pid| *pid != std::process::id().to_string() && pid.parse::<u32>().is_ok())
        .collect()
}

/// Returns the process that maps ports for the node in the folder.
fn mapper(folder: &Path) -> String {
    let pid = std::fs::read_to_string(folder.join("rabbitmq/epmd.pid")).expect("epmd's pid");
    format!("/proc/{}", pid.trim())
}

fn wait_until_gone(folder: &Path, mapper: &str) {
    let give_up = Instant::now() + Duration::from_secs(30);
    while Path::new(mapper).exists() || !processes(folder).is_empty() {
        let left = processes(folder);
        assert!(Instant::now() < give_up, "{left:?} or {mapper} is left");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Returns the local addresses, as the kernel writes them, on which something listens at the port.
fn listeners(port: u16) -> Vec<String> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(std::fs::read_to_string);
    let text: String = tables.into_iter().flatten().collect();
    text.lines()
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let (address, at) = fields.get(1)?.split_once(':')?;
            (fields.get(3) == Some(&"0A") && *at == format!("{port:04X}"))
                .then(|| address.to_owned())
        })
        .collect()
}

#[tokio::test]
async fn data_and_ports_are_the_same_after_kill_9() {
    let folder = folder();
    let server = RabbitMq::start(options(folder.path())).await.unwrap();
    server.management().make_vhost("kept").await.unwrap();
    let (ports, again) = (server.ports(), server.options());
    for port in [ports.amqp, ports.management, ports.epmd, ports.distribution] {
        let addresses = listeners(port.expect("a port in use"));
        let is_loopback = |address: &String| {
            address == "0100007F" || address == "00000000000000000000000001000000"
        };
        assert!(!addresses.is_empty(), "nothing listens on {port:?}");
        assert!(addresses.iter().all(is_loopback), "{port:?}: {addresses:?}");
    }
    let mapper = mapper(folder.path());
    server.kill().await;
    wait_until_gone(folder.path(), &mapper);

    let server = RabbitMq::start(again.clone()).await.unwrap();
    assert_eq!(server.ports(), ports);
    let found = server.management().status("/vhosts/kept").await.unwrap();
    assert_eq!(found, 200);
    let vhosts = server.ctl(&["list_vhosts"]).await.unwrap();
    assert!(vhosts.lines().any(|vhost| vhost == "kept"), "{vhosts}");

    // A start on data that is in use replaces the node; its data knows no other password.
    let other = Options {
        password: "another".to_owned(),
        ..again
    };
    let refused = RabbitMq::start(other).await;
    assert!(
        matches!(&refused, Err(StartError::Credentials(user)) if user == "sutazai"),
        "{refused:?}"
    );
    server.ended().await;
}

#[tokio::test]
async fn two_at_once_do_not_meet_and_a_stop_leaves_nothing() {
    let (here, there) = (folder(), folder());
    let (one, two) = tokio::join!(
        RabbitMq::start(options(here.path())),
        RabbitMq::start(options(there.path())),
    );
    let (one, two) = (one.unwrap(), two.unwrap());
    one.management().make_vhost("mine").await.unwrap();
    assert_eq!(one.management().status("/vhosts/mine").await.unwrap(), 200);
    assert_eq!(two.management().status("/vhosts/mine").await.unwrap(), 404);
    let mappers = (mapper(here.path()), mapper(there.path()));
    let cluster = one.ctl(&["cluster_status", "--formatter", "json"]).await;
    assert!(
        cluster
            .unwrap()
            .contains(r#""running_nodes":["rabbit@localhost"]"#)
    );

    one.stop().await;
    wait_until_gone(here.path(), &mappers.0);
    // Dropping is telling it to stop.
    drop(two);
    wait_until_gone(there.path(), &mappers.1);
}

#[test]
fn a_killed_parent_leaves_nothing() {
    if let Some(folder) = std::env::var_os(PARENT) {
        be_the_parent(Path::new(&folder));
    }
    let folder = folder();
    let mut parent = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "a_killed_parent_leaves_nothing", "--nocapture"])
        .env(PARENT, folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a parent");
    let output = BufReader::new(parent.stdout.take().expect("its output"));
    let ready = output
        .lines()
        .any(|line| line.is_ok_and(|line| line == "ready"));
    assert!(ready, "the parent started no node");
    let mapper = mapper(folder.path());
    assert!(processes(folder.path()).len() > 1);

    parent.kill().expect("a signal");
    parent.wait().expect("its end");
    wait_until_gone(folder.path(), &mapper);
}

/// Starts a node and waits to be killed with it.
fn be_the_parent(folder: &Path) -> ! {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let _server = RabbitMq::start(options(folder)).await.expect("a node");
        std::io::stdout()
            .write_all(b"\nready\n")
            .expect("its output");
        std::future::pending().await
    })
}

//! Starting Kong, with planted programs: no real one has been started by these tests.

use std::os::unix::fs::PermissionsExt;

use rustix::process::{Pid, Signal, kill_process};
use sutazai_proto::status::chain;
use sutazai_testkit::docker::FakeDocker;
use tempfile::TempDir;

use super::*;
use crate::{
    site::{Description, description::State, folder::Folder, secrets::Secrets},
    up::{board::Board, keeper::Keeper},
};

/// Listens where it is told to as Kong's web server would, until it gets a signal.
const WEB_SERVER_OF_TEST: &str = r#"#!/bin/sh
test "$1 $3 $4" = "-p -c nginx.conf" && test -e "$2/prepared" || exit 1
env | grep ^KONG_ > "$2/told"
exec python3 -c 'import os, http.server as h; a, p = os.environ["KONG_PROXY_LISTEN"].split(":"); h.HTTPServer((a, int(p)), h.SimpleHTTPRequestHandler).serve_forever()'
"#;

struct Machine {
    folder: Folder,
    ports: Ports,
    way: Way,
    root: TempDir,
}

impl Machine {
    fn with(kong: &str) -> Self {
        let root = tempfile::tempdir().unwrap();
        let plant = |name: &str, text: &str| {
            let file = root.path().join(name);
            fs::write(&file, text).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
            file
        };
        let way = Way::Programs {
            kong: plant(KONG, kong),
            web_server: plant("nginx", WEB_SERVER_OF_TEST),
        };
        Self::new(root, way)
    }

    fn new(root: TempDir, way: Way) -> Self {
        let folder = Folder::open(&root.path().join("state"), false).unwrap();
        Secrets::ensure(&folder).unwrap();
        Self {
            folder,
            ports: Ports::free().unwrap(),
            way,
            root,
        }
    }

    /// One whose only way to a Kong is a Docker engine.
    async fn with_docker() -> (Self, FakeDocker) {
        let root = tempfile::tempdir().unwrap();
        let docker = FakeDocker::plant(&root.path().join("bin")).unwrap();
        let way = Way::on(root.path().join("bin").as_os_str()).await;
        (Self::new(root, way.unwrap()), docker)
    }

    /// What is told of a platform that nothing but the gateway runs of.
    fn board(&self) -> Board {
        let file = |name: &str| self.folder.path(name);
        let told = serde_json::json!({
            "api": "", "api_key_file": file("key"), "models": "", "pid": 0, "version": "", "services": {},
            "nodes": [], "demo": false, "postgres_port": 0, "postgres_pid": 0,
            "keys": file("keys"), "jwks_file": file("jwks.json"),
        });
        let description: Description = serde_json::from_value(told).unwrap();
        Board::new(description, file("up.json"))
    }

    fn answers(&self) -> bool {
        TcpStream::connect((Ipv4Addr::LOCALHOST, self.ports.kong)).is_ok()
    }

    async fn start(&self) -> Result<Started, Error> {
        let site = Site {
            data: &self.folder.path(""),
            logs: self.root.path(),
            ports: &self.ports,
            dns: 8600,
        };
        site.start(&self.way, &Screen::silent()).await
    }
}

#[tokio::test]
async fn kong_gets_the_rendered_files_and_ends_with_the_platform() {
    let prepare = "#!/bin/sh\ntest \"$1 $2 $4\" = 'prepare -p -c' && mkdir -p \"$3\" && touch \"$3/prepared\"\n";
    let machine = Machine::with(prepare);
    let Started { fresh, gateway } = machine.start().await.unwrap();
    let (_, _, running) = fresh;
    let proxy = format!("http://127.0.0.1:{}", machine.ports.kong);
    assert_eq!((gateway.proxy, gateway.container), (proxy, None));
    let told = fs::read_to_string(machine.folder.path("kong/told")).unwrap();
    let declaration = machine.folder.path("kong.yml");
    for line in [
        "KONG_NGINX_DAEMON=off".to_owned(),
        format!("KONG_DECLARATIVE_CONFIG={}", declaration.display()),
        format!("KONG_PROXY_LISTEN=127.0.0.1:{}", machine.ports.kong),
        "KONG_DNS_RESOLVER=127.0.0.1:8600".to_owned(),
    ] {
        assert!(
            told.lines().any(|told| told == line),
            "{line} is not in {told}"
        );
    }
    let rendered = fs::read_to_string(declaration).unwrap();
    assert!(rendered.contains("BEGIN PUBLIC KEY"), "{rendered}");
    assert_eq!(
        fs::read_to_string(machine.folder.path("kong.conf")).unwrap(),
        conf::text()
    );
    running.stop().await;
    assert!(!machine.answers());
}

#[tokio::test]
async fn a_kong_that_refuses_says_why_and_is_not_kept() {
    let machine = Machine::with("#!/bin/sh\necho 'the settings are wrong'; exit 1\n");
    let refused = machine.start().await.err().unwrap();
    assert!(
        refused.to_string().contains("the settings are wrong"),
        "{refused}"
    );
}

#[tokio::test]
async fn where_an_engine_answers_kong_is_a_container_until_the_platform_ends() {
    let (machine, docker) = Machine::with_docker().await;
    let Started { fresh, gateway } = machine.start().await.unwrap();
    let container = gateway.container.unwrap();
    assert_eq!(docker.containers(), [container.name.as_str()]);
    let calls = docker.calls();
    let fetched = [
        "info",
        "image inspect kong:3.9.1",
        "pull --quiet kong:3.9.1",
    ];
    let asked: Vec<&str> = calls.iter().map(String::as_str).collect();
    let asked = asked.into_iter().filter(|call| fetched.contains(call));
    assert_eq!(asked.collect::<Vec<_>>(), fetched);
    let run = calls.last().unwrap();
    let state = machine.folder.path("");
    for part in [
        format!(
            "run --rm --name {} --network host --read-only",
            container.name
        ),
        format!(
            "type=bind,source={},target=/etc/kong/kong.yml,readonly",
            state.join("kong.yml").display()
        ),
        format!("KONG_PROXY_LISTEN=127.0.0.1:{}", machine.ports.kong),
        "KONG_DNS_RESOLVER=127.0.0.1:8600".to_owned(),
    ] {
        assert!(run.contains(&part), "{part} is not in {run}");
    }
    assert!(run.ends_with(" kong:3.9.1"), "{run}");
    for file in ["kong.yml", "kong.conf"] {
        let mode = fs::metadata(state.join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o444, 0o444, "{file} is closed to Kong's account");
    }
    assert!(machine.answers());
    let (_, _, running) = fresh;
    running.stop().await;
    assert!(!machine.answers());
    assert!(docker.containers().is_empty(), "{:?}", docker.calls());
}

#[tokio::test]
async fn what_a_killed_client_left_is_removed_by_the_next_start_and_by_the_stop() {
    let (machine, docker) = Machine::with_docker().await;
    for _ in 0..2 {
        let Started { fresh, gateway } = machine.start().await.unwrap();
        let (_, _, running) = fresh;
        let client = Pid::from_raw(running.pid().try_into().unwrap()).unwrap();
        kill_process(client, Signal::KILL).unwrap();
        running.ended().await;
        let name = gateway.container.unwrap().name;
        assert_eq!(docker.containers(), [name], "and only that one");
        assert!(machine.answers(), "the container outlives its client");
    }
    let Way::Docker(client) = &machine.way else {
        panic!("another way");
    };
    let left = container::of(client.clone(), &machine.folder.path("")).unwrap();
    container::remove(&left).await;
    assert!(docker.containers().is_empty());
}

#[tokio::test]
async fn a_container_that_ends_is_started_again_with_the_image_that_is_there() {
    let (machine, docker) = Machine::with_docker().await;
    let Started { fresh, gateway } = machine.start().await.unwrap();
    let (name, plan, running) = fresh;
    let board = machine.board();
    let keeper = Keeper::new(name.to_owned(), plan, running, board.clone());
    let container = gateway.container.unwrap();
    let mut kill = tokio::process::Command::new(docker.program());
    let killed = kill.args(["kill", &container.name]).status().await;
    assert!(killed.unwrap().success());
    let again = async {
        loop {
            let kong = board.description().processes[KONG];
            if kong.restarts == 1 && kong.state == State::Running && machine.answers() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(READY_LIMIT, again).await.unwrap();
    assert_eq!(docker.containers(), [container.name]);
    let pulls = docker.calls();
    let pulls = pulls.iter().filter(|call| call.starts_with("pull"));
    assert_eq!(pulls.count(), 1);
    keeper.stop().await;
    assert!(!machine.answers());
    assert!(docker.containers().is_empty());
}

#[tokio::test]
async fn an_image_that_can_not_be_fetched_is_told_in_the_words_of_the_engine() {
    let (machine, docker) = Machine::with_docker().await;
    docker.unplug().unwrap();
    let refused = chain(&machine.start().await.err().unwrap());
    for part in ["kong:3.9.1", "no such host"] {
        assert!(refused.contains(part), "{part} is not in {refused}");
    }
    assert!(docker.containers().is_empty());
}

#[tokio::test]
async fn without_a_program_and_an_engine_there_is_no_way_and_the_program_goes_first() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().as_os_str();
    assert!(Way::on(path).await.is_none());
    let docker = FakeDocker::plant(root.path()).unwrap();
    assert!(matches!(Way::on(path).await, Some(Way::Docker(_))));
    docker.stop_engine().unwrap();
    assert!(Way::on(path).await.is_none());
    fs::write(root.path().join(KONG), "").unwrap();
    assert!(matches!(Way::on(path).await, Some(Way::Programs { .. })));
}

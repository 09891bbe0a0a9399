//! `sutazai up`, `logs` and `down` as a person uses them.

use std::{
    net::{Ipv4Addr, TcpStream},
    path::Path,
    process::{Command, Output},
};

use rustix::process::{Pid, Signal, kill_process};
use sutazai_cli::site::Description;
use sutazai_testkit::ollama::{FakeNode, Script};
use system_tests::{Client, platform::NO_ENGINE, program::program};

use crate::platform::within;

/// A platform of this test alone; stopped when dropped.
pub(crate) struct Up<'a> {
    pub(crate) data: &'a Path,
    /// The model node that it is told of.
    pub(crate) node: Option<String>,
}

impl Up<'_> {
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(program());
        command.args(arguments).arg("--data").arg(self.data);
        for name in ["OLLAMA_URLS", "OLLAMA_HOST"] {
            command.env_remove(name);
        }
        // Whatever engine this machine has, none answers.
        command.env(NO_ENGINE.0, NO_ENGINE.1);
        if let Some(node) = &self.node {
            command.env("OLLAMA_URLS", node);
        }
        let output = command.output();
        output.expect("the program runs")
    }

    pub(crate) fn start(&self) -> (Description, String) {
        let output = self.run(&["up", "--free-ports"]);
        let said = [&output.stdout, &output.stderr];
        let said = said.map(|text| String::from_utf8_lossy(text)).concat();
        assert!(output.status.success(), "{said}");
        let description = Description::read(self.data).expect("the description");
        (description, said)
    }
}

impl Drop for Up<'_> {
    fn drop(&mut self) {
        let _ = self.run(&["down"]);
    }
}

/// Lists what is left of a platform: its processes, and ports that somebody listens on.
pub(crate) fn left(description: &Description) -> Vec<String> {
    let servers = description.servers.as_ref().expect("servers");
    let port = |url: &str| {
        url.rsplit(':')
            .next()
            .and_then(|port| port.parse::<u16>().ok())
    };
    let mut ports = vec![
        description.postgres_port,
        servers.amqp_port,
        servers.redis_port,
    ];
    ports.extend(
        [&servers.consul, &servers.rabbitmq]
            .into_iter()
            .filter_map(|url| port(url)),
    );
    let doors = description.replicas.values().flatten();
    ports.extend(doors.flat_map(|at| [at.http.port(), at.grpc.port()]));
    let processes = description.processes.iter();
    let processes = processes.filter(|(_, process)| process.is_alive());
    let processes = processes.map(|(name, _)| format!("process {name}"));
    let open = |port: &u16| TcpStream::connect((Ipv4Addr::LOCALHOST, *port)).is_ok();
    let ports = ports.iter().filter(|port| open(port));
    processes
        .chain(ports.map(|port| format!("port {port}")))
        .chain(named(&description.keys))
        .collect()
}

/// Lists processes with the state folder in their arguments, such as the broker's port mapper.
fn named(keys: &Path) -> Vec<String> {
    let folder = keys
        .parent()
        .expect("the state folder")
        .display()
        .to_string();
    let entries = std::fs::read_dir("/proc").expect("the processes").flatten();
    let lines = entries.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    let lines = lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    lines.filter(|line| line.contains(&folder)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn up_prints_where_everything_is_and_down_leaves_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    open_to_servers(folder.path());
    let node = FakeNode::start(Script::new(["tinyllama:latest"])).await;
    let up = Up {
        data: folder.path(),
        node: Some(node.url()),
    };
    let (description, said) = tokio::task::block_in_place(|| up.start());
    for shown in [
        &description.api,
        &format!(
            "{}/ui",
            description.servers.as_ref().expect("servers").consul
        ),
        &"not run: no kong is on the PATH and no Docker engine answers".to_owned(),
    ] {
        assert!(said.contains(shown), "{shown} is not in: {said}");
    }
    assert_idle_and_well(&tokio::task::block_in_place(|| {
        up.run(&["doctor", "--json"])
    }));
    let chat = Client::with_key_of(&description).chat("hello").await;
    assert_eq!(chat.status, 200, "{}", chat.text);

    let logs = tokio::task::block_in_place(|| up.run(&["logs", "backend"]));
    assert!(String::from_utf8_lossy(&logs.stdout).contains("service ready"));
    let again = tokio::task::block_in_place(|| up.run(&["up"]));
    assert!(String::from_utf8_lossy(&again.stderr).contains("runs already"));

    // Without its supervisor nothing goes on, and the same state is used again.
    let supervisor = i32::try_from(description.pid).ok().and_then(Pid::from_raw);
    kill_process(supervisor.expect("a pid"), Signal::KILL).expect("the supervisor runs");
    within(
        "nothing is left after the supervisor was killed",
        async || left(&description).is_empty().then_some(()),
    )
    .await;
    let (description, _) = tokio::task::block_in_place(|| up.start());
    let conversations = Client::with_key_of(&description)
        .get("/api/v1/chat/conversations")
        .await;
    assert!(!conversations.items().is_empty(), "{}", conversations.text);
    // What the killed platform had entered in Consul is not taken for a part of this one.
    let doctor = tokio::task::block_in_place(|| up.run(&["doctor"]));
    let said = String::from_utf8_lossy(&doctor.stdout);
    assert!(doctor.status.success(), "{said}");

    let down = tokio::task::block_in_place(|| up.run(&["down"]));
    assert!(down.status.success());
    assert_eq!(left(&description), [""; 0]);
    assert!(
        Description::read(folder.path()).is_err(),
        "something says that a platform runs"
    );
}

/// Right after the start everything works, and what nobody has used yet is said to be unused: that is no
/// failure.
fn assert_idle_and_well(doctor: &Output) {
    let said = String::from_utf8_lossy(&doctor.stdout);
    assert!(doctor.status.success(), "{said}");
    let report: serde_json::Value = serde_json::from_str(&said).expect("a report");
    let state = |part: &str| {
        let rows = report["rows"].as_array().expect("rows");
        let row = rows.iter().find(|row| row["part"] == part);
        row.expect("the row")["state"].clone()
    };
    for (part, expected) in [
        ("postgres", "well"),
        ("task", "well"),
        ("backend", "unused"),
        ("automation-agent", "unused"),
        ("rabbitmq", "unused"),
        ("kong", "not_run"),
    ] {
        assert_eq!(state(part), expected, "{part}: {said}");
    }
}

pub(crate) fn open_to_servers(folder: &Path) {
    use std::os::unix::fs::PermissionsExt;

    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o711)).expect("its mode");
}

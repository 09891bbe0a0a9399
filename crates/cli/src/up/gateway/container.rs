//! Kong as a container, where a Docker engine answers.
//!
//! The client stays in the foreground and passes our signal on; the container is gone with its end. A
//! client that was killed leaves it behind: the name is known, so the next start and the stop remove it.

use std::{
    fmt::Write,
    fs::{self, Permissions},
    io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Output, Stdio},
    time::Duration,
};

use sutazai_gateway::kong;
use sutazai_servers::process;
use tokio::{process::Command, time::timeout};

use super::{GRACE, KONG};
use crate::{screen::Screen, site::description::Container, up::Error};

/// Name of the client's program.
pub(super) const DOCKER: &str = "docker";
/// Longest time until the engine has said that it is there.
const ANSWER: Duration = Duration::from_secs(5);
/// Longest time until it has fetched the image.
const FETCH: Duration = Duration::from_secs(180);
/// Longest time until it has removed a container.
const REMOVAL: Duration = Duration::from_secs(15);
/// Arguments: the client, the name of the container, those of `docker run`. What is left of an
/// earlier start holds the name.
const RUN: &str =
    r#"docker=$1; "$docker" rm --force "$2" >/dev/null 2>&1; shift 2; exec "$docker" run "$@""#;
/// What `deploy/compose.yaml` allows it, too.
const WALLS: [&str; 15] = [
    "--network",
    "host",
    "--read-only",
    "--tmpfs",
    "/tmp",
    "--tmpfs",
    "/run/kong:mode=1777",
    "--cap-drop",
    "ALL",
    "--security-opt",
    "no-new-privileges:true",
    "--memory",
    "256m",
    "--pids-limit",
    "64",
];
/// Where it writes.
const PREFIX: &str = "/run/kong";
/// Where it finds its entities.
const ENTITIES: &str = "/etc/kong/kong.yml";
/// Where it looks for its settings.
const SETTINGS: &str = "/etc/kong/kong.conf";

/// The files on this machine that it reads.
pub(super) struct Files<'a> {
    pub(super) entities: &'a Path,
    pub(super) settings: &'a Path,
}

/// Says whether an engine answers.
pub(super) async fn answers(docker: &Path) -> bool {
    succeeds(docker, &["info"]).await
}

/// Has the engine fetch the image unless it has it.
///
/// # Errors
/// In the engine's words why not.
pub(super) async fn fetch(docker: &Path, screen: &Screen) -> Result<(), Error> {
    let image = image();
    if succeeds(docker, &["image", "inspect", &image]).await {
        return Ok(());
    }
    screen.note(&format!(
        "the Docker engine fetches {image}, this time only"
    ));
    let source = match ask(docker, &["pull", "--quiet", &image], FETCH).await {
        Ok(answer) if answer.status.success() => return Ok(()),
        Ok(answer) => io::Error::other(String::from_utf8_lossy(&answer.stderr).trim().to_owned()),
        Err(error) => error,
    };
    Err(Error::Image { image, source })
}

/// Names the container of a state folder: one folder, one container.
pub(super) fn of(docker: PathBuf, data: &Path) -> io::Result<Container> {
    let mut name = format!("sutazai-{KONG}");
    for byte in data.canonicalize()?.as_os_str().as_encoded_bytes() {
        if byte.is_ascii_alphanumeric() {
            name.push(char::from(*byte));
        } else {
            // Writing to a String can not fail.
            let _ = write!(name, "_{byte:02x}");
        }
    }
    Ok(Container { docker, name })
}

/// Returns how to run it in the foreground.
///
/// # Errors
/// The files can not be opened to its account.
pub(super) fn options(
    container: &Container,
    files: &Files<'_>,
    environment: Vec<(&'static str, String)>,
    log: PathBuf,
) -> io::Result<process::Options> {
    let docker = container.docker.display().to_string();
    let mut arguments: Vec<String> = ["-c", RUN, KONG, &docker, &container.name]
        .map(str::to_owned)
        .into();
    arguments.extend(["--rm", "--name", &container.name].map(str::to_owned));
    arguments.extend(WALLS.map(str::to_owned));
    for (file, inside) in [(files.entities, ENTITIES), (files.settings, SETTINGS)] {
        // Kong reads them under an account of its own; they hold nothing but public keys.
        fs::set_permissions(file, Permissions::from_mode(0o644))?;
        let mount = format!(
            "type=bind,source={},target={inside},readonly",
            file.display()
        );
        arguments.extend(["--mount".to_owned(), mount]);
    }
    let own = [
        ("KONG_PREFIX", PREFIX.to_owned()),
        ("KONG_DECLARATIVE_CONFIG", ENTITIES.to_owned()),
    ];
    for (variable, value) in environment.into_iter().chain(own) {
        arguments.extend(["--env".to_owned(), format!("{variable}={value}")]);
    }
    arguments.push(image());
    Ok(process::Options {
        name: KONG.to_owned(),
        program: "/bin/sh".into(),
        arguments,
        environment: Vec::new(),
        log,
        grace: GRACE,
    })
}

/// Removes the container if it is there.
pub(in crate::up) async fn remove(container: &Container) {
    let Container { docker, name } = container;
    if let Err(error) = ask(docker, &["rm", "--force", name], REMOVAL).await {
        tracing::warn!(name, %error, "the container can not be removed");
    }
}

fn image() -> String {
    format!("kong:{}", kong::VERSION)
}

async fn succeeds(docker: &Path, question: &[&str]) -> bool {
    let answer = ask(docker, question, ANSWER).await;
    answer.is_ok_and(|answer| answer.status.success())
}

async fn ask(docker: &Path, question: &[&str], limit: Duration) -> io::Result<Output> {
    let mut command = Command::new(docker);
    command
        .args(question)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    timeout(limit, command.output()).await?
}

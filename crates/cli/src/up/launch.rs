//! Starting the supervisor, and following it until the platform takes work.

use std::{fs, path::Path, process::Stdio};

use serde_json::Value;
use sutazai_runtime::lifecycle::{self, Shutdown};
use sutazai_servers::passage;
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};

use super::{Error, LOGS, SUPERVISOR, card, down};
use crate::{
    args::UpArgs,
    screen::Screen,
    site::{
        self, Description,
        description::{UP, UP_FOLDER},
        folder::Folder,
    },
};

/// Starts the platform and returns when it takes work, or shows the one that runs already.
///
/// # Errors
/// What could not be started, with the way out.
pub async fn command(args: UpArgs, screen: &Screen) -> Result<(), Error> {
    let folder = args.data.join(UP_FOLDER);
    if Folder::holder(&folder).is_some()
        && let Ok(description) = Description::from_file(&folder.join(UP))
    {
        screen.note("it runs already; `sutazai down` stops it");
        card::print(&description, screen);
        return Ok(());
    }
    // What a killed supervisor left is no part of what starts now.
    down::clear(&folder).await;
    let shutdown = Shutdown::new();
    let signals = tokio::spawn(lifecycle::signals(shutdown.clone()));
    let (mut supervisor, lines) = spawn(&args, &folder)?;
    let outcome = tokio::select! {
        outcome = follow(lines, &folder, screen) => outcome,
        () = shutdown.draining() => {
            down::stop(&folder).await;
            let _ = supervisor.wait().await;
            return Ok(());
        }
    };
    signals.abort();
    if outcome.is_err() {
        // It stops what it had started, so that nothing is left when we say that it failed.
        let _ = supervisor.wait().await;
    }
    outcome
}

fn spawn(args: &UpArgs, folder: &Path) -> Result<(Child, Lines<BufReader<ChildStdout>>), Error> {
    let logs = folder.join(LOGS);
    passage::make(folder).map_err(site::Error::Secrets)?;
    fs::create_dir_all(&logs).map_err(site::Error::Secrets)?;
    let log = fs::File::create(logs.join(format!("{SUPERVISOR}.log")));
    let log = log.map_err(site::Error::Secrets)?;
    let program = std::env::current_exe().map_err(Error::Supervisor)?;
    let mut command = Command::new(program);
    command
        .args(["--json", "supervise", "--replicas"])
        .arg(args.replicas.to_string())
        .arg("--data")
        .arg(&args.data);
    if args.free_ports {
        command.arg("--free-ports");
    }
    if args.reset {
        command.arg("--reset");
    }
    // A group of its own: Ctrl-C at the terminal reaches us only.
    command
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log);
    let mut child = command.spawn().map_err(Error::Supervisor)?;
    let gone = || std::io::Error::other("its output is closed");
    let output = child
        .stdout
        .take()
        .ok_or_else(gone)
        .map_err(Error::Supervisor)?;
    Ok((child, BufReader::new(output).lines()))
}

/// Shows the progress until the supervisor says that the platform is ready.
async fn follow(
    mut lines: Lines<BufReader<ChildStdout>>,
    folder: &Path,
    screen: &Screen,
) -> Result<(), Error> {
    while let Some(line) = lines.next_line().await.map_err(Error::Supervisor)? {
        let event: Value = serde_json::from_str(&line).unwrap_or_default();
        let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
        match event["event"].as_str() {
            Some("step") => {
                let seconds = event["seconds"].as_f64().unwrap_or_default();
                screen.finished(&text("name"), &text("detail"), seconds);
            }
            Some("note") => screen.note(&text("text")),
            Some("failed") => return Err(Error::GaveUp(text("error"))),
            Some("ready") => {
                let description = Description::from_file(&folder.join(UP));
                let description = description.map_err(Error::Supervisor)?;
                card::print(&description, screen);
                return Ok(());
            }
            _ => {}
        }
    }
    Err(Error::Silent {
        log: folder.join(LOGS).join(format!("{SUPERVISOR}.log")),
    })
}

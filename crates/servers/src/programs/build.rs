//! One build at a time, and a binary that is there as a whole or not at all.

use std::{
    fs::{self, Permissions},
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Output, Stdio},
    time::{Duration, Instant},
};

use rustix::fs::{FlockOperation, flock};
use tokio::process::Command;

use super::{Program, ProgramError};
use crate::{child::tail, passage, start::LaunchError};

/// How often a build that goes on says so.
const PROGRESS: Duration = Duration::from_secs(30);
/// How often the lock is tried.
const LOCK_PAUSE: Duration = Duration::from_millis(200);

/// Builds a program below `cache`, unless it is there.
pub(super) async fn once(
    program: &Program,
    cache: &Path,
    find_go: impl FnOnce() -> Result<PathBuf, ProgramError>,
    environment: &[(&str, &str)],
) -> Result<PathBuf, ProgramError> {
    let binary = program.built(cache);
    let folder = binary.parent().unwrap_or(cache);
    passage::make(folder).map_err(LaunchError::preparing(folder))?;
    let _lock = lock(program, folder).await?;
    if binary.is_file() {
        return Ok(binary);
    }
    let go = find_go()?;
    for (file, text) in [("go.mod", program.module), ("go.sum", program.checksums)] {
        let file = folder.join(file);
        fs::write(&file, text).map_err(LaunchError::preparing(&file))?;
    }
    // A name of our own: a Go whose parent was killed may still write to its own.
    let part = binary.with_extension(format!("{}.part", std::process::id()));
    say(&format!(
        "building {} with {}, once for this machine: about {} minutes on two cores",
        program.name,
        go.display(),
        program.minutes
    ));
    let mut command = Command::new(&go);
    command
        .args(["build", "-mod=readonly", "-trimpath", "-ldflags=-s -w"])
        .arg("-o")
        .arg(&part)
        .arg(program.package)
        .current_dir(folder)
        .env("GOWORK", "off")
        .env_remove("GOFLAGS")
        .envs(environment.iter().copied());
    let output = watched(program, command).await;
    let output = output.map_err(LaunchError::running(&go))?;
    if !output.status.success() {
        return Err(ProgramError::Failed {
            name: program.name,
            output: tail(&output.stderr),
        });
    }
    // Go leaves the mode to the umask, and servers run under another account.
    let open = Permissions::from_mode(0o755);
    fs::set_permissions(&part, open).map_err(LaunchError::preparing(&part))?;
    fs::rename(&part, &binary).map_err(LaunchError::preparing(&binary))?;
    sweep(folder);
    Ok(binary)
}

/// Removes what killed builds left.
fn sweep(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|end| end == "part") {
            let _ = fs::remove_file(path);
        }
    }
}

/// Waits for the right to build; it is given back when the file is closed, however that happens.
async fn lock(program: &Program, folder: &Path) -> Result<fs::File, ProgramError> {
    let path = folder.join("lock");
    let file = fs::File::create(&path).map_err(LaunchError::preparing(&path))?;
    let mut announced = false;
    while let Err(error) = flock(&file, FlockOperation::NonBlockingLockExclusive) {
        if error != rustix::io::Errno::WOULDBLOCK {
            return Err(LaunchError::preparing(&path)(error.into()).into());
        }
        if !announced {
            say(&format!(
                "waiting for another process that builds {}",
                program.name
            ));
            announced = true;
        }
        tokio::time::sleep(LOCK_PAUSE).await;
    }
    Ok(file)
}

/// Runs a build to its end and says now and then that it goes on.
async fn watched(program: &Program, mut command: Command) -> io::Result<Output> {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let began = Instant::now();
    let output = command.spawn()?.wait_with_output();
    tokio::pin!(output);
    loop {
        match tokio::time::timeout(PROGRESS, &mut output).await {
            Ok(output) => return output,
            Err(_) => say(&format!(
                "still building {}: {} s",
                program.name,
                began.elapsed().as_secs()
            )),
        }
    }
}

/// Writes a line for whoever waits. A log may be off, and a test's output is kept from its reader.
fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

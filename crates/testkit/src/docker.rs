//! A stand-in of Docker's client: no engine runs behind it, and an image is a file with its name.
//!
//! A container that it runs is a process that answers where Kong would. It ends with the client unless
//! the client is killed, as a real one does.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

/// Written below the folder of the stand-in: `calls`, a line for each; `images`, a file for each that
/// was fetched; `containers`, a file for each that runs; `away`, as long as no engine answers;
/// `offline`, as long as it reaches no other images than those.
const SCRIPT: &str = r#"#!/bin/sh
home=$(dirname "$0")
echo "$*" >> "$home/calls"
case $1 in
info) test ! -e "$home/away" ;;
image) test -e "$home/images/$3" ;;
pull)
    if test -e "$home/offline"; then
        echo "Error response from daemon: no such host" >&2
        exit 1
    fi
    touch "$home/images/$3" ;;
kill) kill -KILL "$(cat "$home/containers/$2")" ;;
rm)
    pid=$(cat "$home/containers/$3" 2>/dev/null) || exit 1
    kill -KILL "$pid"
    # Docker answers when nothing is left, and the ports are free again.
    while grep -q '^State:.[^ZX]' "/proc/$pid/status" 2>/dev/null; do sleep 0.02; done
    rm -f "$home/containers/$3" ;;
run)
    for word; do
        case $before in --name) name=$word ;; esac
        case $word in KONG_PROXY_LISTEN=*) listen=${word#*=} ;; esac
        before=$word
    done
    setsid python3 -c 'import sys, http.server as h; a, p = sys.argv[1].split(":"); h.HTTPServer((a, int(p)), h.SimpleHTTPRequestHandler).serve_forever()' "$listen" &
    pid=$!
    trap 'kill "$pid"' TERM
    echo "$pid" > "$home/containers/$name"
    wait "$pid"
    wait "$pid"
    rm -f "$home/containers/$name" ;;
*) exit 1 ;;
esac
"#;

/// A planted client.
#[derive(Debug)]
pub struct FakeDocker {
    folder: PathBuf,
}

impl FakeDocker {
    /// Writes the program `docker` into a folder.
    ///
    /// # Errors
    /// The folder can not be written.
    pub fn plant(folder: &Path) -> io::Result<Self> {
        let planted = Self {
            folder: folder.to_owned(),
        };
        for kept in ["containers", "images"] {
            fs::create_dir_all(folder.join(kept))?;
        }
        fs::write(planted.program(), SCRIPT)?;
        fs::set_permissions(planted.program(), fs::Permissions::from_mode(0o755))?;
        Ok(planted)
    }

    /// Returns the program.
    pub fn program(&self) -> PathBuf {
        self.folder.join("docker")
    }

    /// Lets no engine answer from now on.
    ///
    /// # Errors
    /// The folder can not be written.
    pub fn stop_engine(&self) -> io::Result<()> {
        fs::write(self.folder.join("away"), "")
    }

    /// Lets the engine fetch nothing from now on.
    ///
    /// # Errors
    /// The folder can not be written.
    pub fn unplug(&self) -> io::Result<()> {
        fs::write(self.folder.join("offline"), "")
    }

    /// Returns the arguments of each call, oldest first.
    pub fn calls(&self) -> Vec<String> {
        let calls = fs::read_to_string(self.folder.join("calls")).unwrap_or_default();
        calls.lines().map(str::to_owned).collect()
    }

    /// Returns the names of the containers that run.
    pub fn containers(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.join("containers"));
        let entries = entries.into_iter().flatten().flatten();
        let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        names.collect()
    }
}

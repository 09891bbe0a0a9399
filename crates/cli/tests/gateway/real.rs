//! The suite over a real Kong, where there is one.

use std::{
    env, fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use sutazai_gateway::kong::conf;

use crate::suite;

/// A Kong that runs in a folder of its own and stops when it is dropped.
struct Kong {
    program: PathBuf,
    folder: tempfile::TempDir,
    admin: u16,
}

/// Finds the program: `KONG_BIN`, else `kong` on the PATH.
fn program() -> Option<PathBuf> {
    if let Some(named) = env::var_os("KONG_BIN") {
        return Some(named.into());
    }
    let path = env::var_os("PATH")?;
    env::split_paths(&path)
        .map(|folder| folder.join("kong"))
        .find(|file| file.is_file())
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

impl Kong {
    fn start(program: PathBuf) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("kong.conf");
        fs::write(&file, conf::text()).unwrap();
        let kong = Self {
            program,
            folder,
            admin: free_port(),
        };
        kong.run(&["start", "-c", &file.display().to_string()]);
        kong
    }

    fn run(&self, arguments: &[&str]) {
        let status = Command::new(&self.program)
            .args(arguments)
            .env("KONG_PREFIX", self.prefix())
            .env("KONG_ADMIN_LISTEN", format!("127.0.0.1:{}", self.admin))
            .env("KONG_PROXY_LISTEN", format!("127.0.0.1:{}", free_port()))
            .stdout(Stdio::null())
            .status()
            .unwrap();
        assert!(status.success(), "kong {arguments:?}");
    }

    fn prefix(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for Kong {
    fn drop(&mut self) {
        self.run(&["stop", "-p", &self.prefix().display().to_string()]);
    }
}

#[tokio::test]
async fn kng_11_a_real_kong_keeps_to_the_suite() {
    let Some(program) = program() else {
        println!("not run: no kong");
        return;
    };
    let kong = Kong::start(program);
    suite::run(&format!("http://127.0.0.1:{}", kong.admin)).await;
}

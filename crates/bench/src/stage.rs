//! What rows are measured on: our release binaries, real servers, a model node, cores of their own.

pub mod cores;
mod platform;
mod program;
mod running;

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
};

use sutazai_mesh::catalog::ServiceName;
use tokio::sync::OnceCell;

use crate::failure::Failure;
pub use cores::Core;
pub use platform::Platform;
pub use program::Program;
pub use running::Running;

/// State folder of the benchmark, below the current folder.
const FOLDER: &str = ".run/bench";

/// Everything that rows share. Servers are started when the first row needs them.
#[derive(Debug)]
pub struct Stage {
    folder: PathBuf,
    own: PathBuf,
    peers: bool,
    platform: OnceCell<Platform>,
}

impl Stage {
    /// Makes the state folder and moves this process, the client of all rounds, to its core.
    ///
    /// # Errors
    /// The system refuses one of it.
    pub fn new(peers: bool) -> Result<Self, Failure> {
        let folder = std::path::absolute(FOLDER).map_err(Failure::doing("find the folder"))?;
        fs::create_dir_all(folder.join("logs")).map_err(Failure::doing("make .run/bench"))?;
        cores::take_client()?;
        Ok(Self {
            folder,
            own: std::env::current_exe().map_err(Failure::doing("find this program"))?,
            peers,
            platform: OnceCell::new(),
        })
    }

    /// Says whether peers were asked for.
    pub fn peers(&self) -> bool {
        self.peers
    }

    /// Returns the folder that keeps what a run leaves behind.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns the release binary of a name, which lies beside this program.
    pub fn binary(&self, name: &str) -> PathBuf {
        self.own.with_file_name(name)
    }

    /// Makes a program of the benchmark itself, like `proxy PORT UPSTREAM`.
    pub fn part(&self, name: &'static str, arguments: impl IntoIterator<Item = String>) -> Program {
        let arguments = [name.to_owned()].into_iter().chain(arguments).collect();
        Program::new(name, self.own.clone(), arguments)
    }

    /// Starts a program on a core; it ends with what is returned.
    ///
    /// # Errors
    /// It can not be run.
    pub async fn start(&self, program: &Program, core: Core) -> Result<Running, Failure> {
        Running::start(program, core, &self.folder.join("logs")).await
    }

    /// Returns the platform of processes over real servers, and starts it for the first who asks.
    ///
    /// # Errors
    /// It does not start.
    pub async fn platform(&self) -> Result<&Platform, Failure> {
        let start = || Platform::start(self);
        self.platform.get_or_try_init(start).await
    }

    /// Makes another instance of a service, from its own release binary, with the settings that the
    /// platform gave its first one. It listens on `http`.
    ///
    /// # Errors
    /// The platform does not start, or its settings can not be read.
    pub async fn twin(&self, service: ServiceName, http: SocketAddr) -> Result<Program, Failure> {
        let platform = self.platform().await?;
        let settings = platform.settings_of(service)?;
        let program = Program::new(service.as_str(), self.binary(service.as_str()), Vec::new());
        Ok(settings
            .into_iter()
            .fold(program, |program, (name, value)| program.with(name, value))
            .with("HTTP_LISTEN", http.to_string())
            .with("GRPC_LISTEN", "127.0.0.1:0"))
    }

    /// Stops what was started.
    pub async fn stop(self) {
        if let Some(platform) = self.platform.into_inner() {
            platform.stop().await;
        }
    }
}

/// Returns an address on 127.0.0.1 that nobody listens on now.
///
/// # Errors
/// There is none.
pub fn free_address() -> Result<SocketAddr, Failure> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    listener
        .and_then(|listener| listener.local_addr())
        .map_err(Failure::doing("take a port"))
}

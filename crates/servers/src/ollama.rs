//! A real Ollama as a child process, with a toy model where one is wanted.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use rustix::process::Signal;

mod headers;
mod toy_model;

use crate::{
    account::Account,
    child::{self, Child},
    probe,
    programs::{Program, ProgramError},
    start::{self, LaunchError, Readiness},
};

/// Where the program comes from.
pub const PROGRAM: Program = Program {
    name: "ollama",
    package: "github.com/ollama/ollama",
    variable: "OLLAMA_BIN",
    module: include_str!("../programs/ollama/go.mod"),
    checksums: include_str!("../programs/ollama/go.sum"),
    minutes: 3,
    hint: "or:       https://ollama.com/download",
};
/// What Ollama is told about the file beside it: how turns and tools become a prompt. A second thread
/// would wait for the first one at every step: on a busy machine that takes fifty times as long.
const MODELFILE: &str = "\
FROM ./toy.gguf
TEMPLATE \"\"\"{{ range .Messages }}{{ .Role }}: {{ .Content }}
{{ end }}{{ if .Tools }}{{ .Tools }}{{ end }}assistant:\"\"\"
PARAMETER num_predict 64
PARAMETER num_thread 1
";
/// Longest time until the server answers.
const START_LIMIT: Duration = Duration::from_secs(30);
/// Longest time until it has ended after a signal.
const STOP_LIMIT: Duration = Duration::from_secs(10);
/// Pause between two looks at whether it answers.
const PAUSE: Duration = Duration::from_millis(20);

/// How to run a server.
#[derive(Clone, Debug)]
pub struct Options {
    /// Folder of its models and its log.
    pub data: PathBuf,
    /// Port on 127.0.0.1; a free one when absent.
    pub port: Option<u16>,
}

/// Why a server does not run, or a model was not made.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// There is no program, and none could be built.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// A header that the build needs is missing.
    #[error(transparent)]
    Headers(#[from] headers::HeaderError),
    /// It was found, and does not run.
    #[error(transparent)]
    Launch(#[from] LaunchError),
}

/// A running server; it is told to stop when this is dropped.
#[derive(Debug)]
pub struct Ollama {
    program: PathBuf,
    account: Option<Account>,
    data: PathBuf,
    port: u16,
    child: Child,
}

impl Ollama {
    /// Finds the program, builds it where there is none, and returns when the server answers.
    ///
    /// # Errors
    /// Names what is missing with its install command, or carries the end of the server's log.
    pub async fn start(options: Options) -> Result<Self, StartError> {
        let program = obtain().await?;
        let (account, data) = start::place(&options.data)?;
        let preparing = LaunchError::preparing(&data);
        fs::create_dir_all(&data).map_err(&preparing)?;
        if let Some(account) = account {
            account.own(&data).map_err(&preparing)?;
        }
        let port = match options.port {
            Some(port) => port,
            None => child::free_port().map_err(&preparing)?,
        };
        let mut command = child::bound_to_us(&program, "TERM", account);
        environment(&mut command, &data, port);
        command.arg("serve");
        let log = data.join("log");
        let child = start::spawn(command, &program, PROGRAM.name, &log).await?;
        let server = Self {
            program,
            account,
            data,
            port,
            child,
        };
        server.ready(&log).await?;
        Ok(server)
    }

    /// Returns the port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the base URL.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Returns the folder that really holds its models and its log.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Returns the process id.
    pub fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// Makes a model of random weights under `name`: a real engine runs it, what it says is noise.
    ///
    /// Its template knows tools, so that requests with tools are taken.
    ///
    /// # Errors
    /// Why the files can not be written, or what the server said.
    pub async fn create_toy_model(&self, name: &str) -> Result<(), StartError> {
        let folder = self.data.join("toy");
        let preparing = LaunchError::preparing(&folder);
        fs::create_dir_all(&folder).map_err(&preparing)?;
        fs::write(folder.join("toy.gguf"), toy_model::gguf()).map_err(&preparing)?;
        let recipe = folder.join("Modelfile");
        fs::write(&recipe, MODELFILE).map_err(&preparing)?;
        if let Some(account) = self.account {
            account.own(&folder).map_err(&preparing)?;
        }
        let mut command = child::command(&self.program, self.account);
        environment(&mut command, &self.data, self.port);
        command.args(["create", name, "-f"]).arg(&recipe);
        let mut command = tokio::process::Command::from(command);
        let output = command.output().await;
        let output = output.map_err(LaunchError::running(&self.program))?;
        if output.status.success() {
            return Ok(());
        }
        Err(LaunchError::failed(PROGRAM.name, &output.stderr).into())
    }

    /// Asks a model for a few words and returns Ollama's answer, a JSON object.
    ///
    /// # Errors
    /// Fails when no answer comes in time.
    pub async fn say(&self, model: &str, prompt: &str) -> io::Result<String> {
        let body = format!(
            r#"{{"model":"{model}","prompt":"{prompt}","stream":false,"options":{{"num_predict":8}}}}"#
        );
        let answer = probe::request(self.port, "POST", "/api/generate", &[], &body).await?;
        Ok(answer.body)
    }

    /// Returns when the server has ended, whoever ended it.
    pub async fn ended(&self) {
        self.child.ended().await;
    }

    /// Stops the server and the engines that it runs as children.
    pub async fn stop(self) {
        self.child
            .stop([Signal::TERM, Signal::KILL], STOP_LIMIT)
            .await;
    }

    async fn ready(&self, log: &Path) -> Result<(), StartError> {
        let readiness = Readiness {
            program: PROGRAM.name,
            child: &self.child,
            limit: START_LIMIT,
            pause: PAUSE,
            output: log,
            log,
        };
        readiness
            .wait(|| async {
                let answer = probe::request(self.port, "GET", "/api/version", &[], "").await;
                Ok(answer.is_ok_and(|answer| answer.status == 200))
            })
            .await
    }
}

impl Drop for Ollama {
    fn drop(&mut self) {
        self.child.signal(Signal::TERM);
    }
}

/// Finds the program, and builds it with the headers that its module leaves out.
async fn obtain() -> Result<PathBuf, StartError> {
    if let Some(program) = PROGRAM.find()? {
        return Ok(program);
    }
    let headers = headers::prepare(&PROGRAM.folder()).await?;
    let flags = format!("-I{} -I/usr/include", headers.display());
    Ok(PROGRAM.build(&[("CGO_CPPFLAGS", &flags)]).await?)
}

/// Where the server listens and keeps its files; the client reads the same variables.
fn environment(command: &mut Command, data: &Path, port: u16) {
    command
        .env("OLLAMA_HOST", format!("127.0.0.1:{port}"))
        .env("OLLAMA_MODELS", data.join("models"))
        .env("OLLAMA_NOPRUNE", "1")
        .env("HOME", data);
}

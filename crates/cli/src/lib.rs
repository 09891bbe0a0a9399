#![doc = include_str!("../README.md")]

pub mod args;
pub mod configuration;
pub mod dev;
pub mod doctor;
pub mod enroll;
pub mod environment;
pub mod gateway;
pub mod generate;
pub mod healthcheck;
pub mod migrate;
pub mod screen;
pub mod secret_file;
pub mod serve;
pub mod site;
pub mod token;
pub mod up;

use std::{ffi::OsString, process::ExitCode};

use clap::{CommandFactory, Parser};

pub use sutazai_runtime::entry::install_tls_provider;

use args::{Cli, Command};
use screen::Screen;

/// Exit code of a configuration fault (`EX_CONFIG` of sysexits.h).
pub const EXIT_CONFIG: u8 = 78;

/// Why a command ended without success.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The platform did not start or did not end well.
    #[error(transparent)]
    Dev(#[from] dev::Error),
    /// The platform of many processes did not start or stop.
    #[error(transparent)]
    Up(#[from] up::Error),
    /// No platform to look at, or its description can not be read.
    #[error(transparent)]
    Doctor(#[from] doctor::Error),
    /// Files could not be generated.
    #[error(transparent)]
    Environment(#[from] environment::Error),
    /// The configuration has faults.
    #[error(transparent)]
    Configuration(#[from] configuration::Error),
    /// The configuration of the gateway could not be rendered or loaded.
    #[error(transparent)]
    Gateway(#[from] gateway::Error),
    /// Generated files could not be written, or are stale.
    #[error(transparent)]
    Generate(#[from] generate::Error),
    /// The database could not be prepared.
    #[error(transparent)]
    Migrate(#[from] migrate::Error),
    /// Not everybody has their rights in Consul.
    #[error(transparent)]
    Enroll(#[from] enroll::Error),
    /// The service does not answer.
    #[error(transparent)]
    Healthcheck(#[from] healthcheck::Error),
    /// No token could be made.
    #[error(transparent)]
    Token(#[from] token::Error),
    /// The runtime could not start.
    #[error("can not start the runtime")]
    Runtime(#[source] std::io::Error),
}

impl Error {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Configuration(_) => EXIT_CONFIG,
            Self::Dev(error) => error.exit_code(),
            _ => 1,
        }
    }
}

/// Runs the command that the process's arguments name.
pub fn main() -> ExitCode {
    run(std::env::args_os())
}

/// Runs the command that `arguments` name, the program's own name first.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are "errors" that go to standard output and end well.
            let _ = error.print();
            return ExitCode::from(u8::from(error.use_stderr()) * 2);
        }
    };
    if let Command::Serve(args) = cli.command {
        return serve::command(args);
    }
    let screen = Screen::new(cli.json);
    match execute(cli.command, &screen) {
        Ok(code) => code,
        Err(error) => {
            screen.failed(&error);
            ExitCode::from(error.exit_code())
        }
    }
}

fn execute(command: Command, screen: &Screen) -> Result<ExitCode, Error> {
    install_tls_provider();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(Error::Runtime)?;
    match command {
        Command::Dev(args) => runtime.block_on(dev::command(args, screen))?,
        Command::Up(args) => runtime.block_on(up::up(args, screen))?,
        Command::Down(args) => runtime.block_on(up::down(args, screen))?,
        Command::Logs(args) => runtime.block_on(up::logs(args, screen))?,
        Command::Supervise(args) => runtime.block_on(up::supervise(args, screen))?,
        Command::Doctor(args) => return Ok(runtime.block_on(doctor::command(&args, screen))?),
        Command::Migrate(args) => runtime.block_on(migrate::command(&args, screen))?,
        Command::Enroll(args) => runtime.block_on(enroll::command(&args, screen))?,
        Command::Healthcheck(args) => {
            return Ok(runtime.block_on(healthcheck::command(&args, screen))?);
        }
        Command::Env(args) => environment::command(&args, screen)?,
        Command::Config(args) => configuration::command(&args, screen)?,
        Command::Token(args) => token::command(&args, screen)?,
        Command::Gateway(args) => {
            return Ok(runtime.block_on(gateway::command(args.action, screen))?);
        }
        Command::Serve(args) => return Ok(serve::command(args)),
        Command::Generate { check } => generate::command(check, screen)?,
        Command::Completions { shell } => {
            clap_complete::generate(
                shell,
                &mut Cli::command(),
                "sutazai",
                &mut std::io::stdout(),
            );
        }
    }
    Ok(ExitCode::SUCCESS)
}

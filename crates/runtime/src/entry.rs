//! A service as a process: arguments, configuration, telemetry, links, then the service itself.

mod arguments;
mod connect;
mod need;
mod selfcheck;

use std::{error::Error, ffi::OsString, io, process::ExitCode};

use sutazai_proto::status::chain;
use tracing::{error, info};

use crate::{
    config::{self, Configured, Faults, Loaded, Source, Standalone},
    lifecycle::{self, Shutdown},
    parts::Parts,
    service::{RunError, Service},
};

pub use need::Need;

use arguments::Arguments;

/// Runs a service as the process's `main` does, with the process's own arguments.
///
/// `build` is the service's `Config::build`.
pub fn main<C, S, E>(build: impl AsyncFnOnce(C, Parts) -> Result<S, E>) -> ExitCode
where
    C: Configured,
    S: Service,
    E: Error + Send + Sync + 'static,
{
    run(std::env::args_os(), build)
}

/// Runs a service with these arguments, the program's own name first.
pub fn run<C, S, E>(
    arguments: impl IntoIterator<Item = OsString>,
    build: impl AsyncFnOnce(C, Parts) -> Result<S, E>,
) -> ExitCode
where
    C: Configured,
    S: Service,
    E: Error + Send + Sync + 'static,
{
    let arguments = match Arguments::parse(C::SERVICE, arguments) {
        Ok(arguments) => arguments,
        Err(answer) => return arguments::answered(&answer),
    };
    let outcome = if arguments.selfcheck {
        selfcheck::run::<C>(arguments)
    } else {
        load(&Source::process()).and_then(|loaded| process(loaded, build))
    };
    outcome.unwrap_or_else(|error| arguments.refuse(C::SERVICE, &error))
}

/// Why a process did not do its work.
#[derive(Debug, thiserror::Error)]
enum EntryError {
    #[error(transparent)]
    Configuration(#[from] Faults),
    #[error("can not start the runtime")]
    Runtime(#[source] io::Error),
    #[error("can not start the logs")]
    Telemetry(#[from] sutazai_telemetry::InitError),
}

/// Chooses the one TLS provider of the process; without it the first TLS connection would panic.
pub fn install_tls_provider() {
    // An error means that a provider is installed already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

fn load<C: Configured>(source: &Source) -> Result<Loaded<Standalone<C>>, EntryError> {
    Ok(config::load::<Standalone<C>>(source)?)
}

fn runtime() -> Result<tokio::runtime::Runtime, EntryError> {
    install_tls_provider();
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.enable_all().build().map_err(EntryError::Runtime)
}

fn process<C, S, E>(
    loaded: Loaded<Standalone<C>>,
    build: impl AsyncFnOnce(C, Parts) -> Result<S, E>,
) -> Result<ExitCode, EntryError>
where
    C: Configured,
    S: Service,
    E: Error + Send + Sync + 'static,
{
    let runtime = runtime()?;
    let entered = runtime.enter();
    // Dropped before the runtime, which it may need to flush.
    let telemetry = sutazai_telemetry::init(&loaded.config.telemetry)?;
    loaded.log();
    let code = match runtime.block_on(Box::pin(story(loaded.config, build))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(StoryError::Run(_)) => ExitCode::FAILURE,
        Err(error) => {
            error!(error = chain(&error), service = %C::SERVICE, "service does not start");
            ExitCode::FAILURE
        }
    };
    drop(telemetry);
    drop(entered);
    Ok(code)
}

/// Why a service did not run, or did not end well.
#[derive(Debug, thiserror::Error)]
enum StoryError {
    #[error("a link can not be used")]
    Link(#[from] connect::LinkError),
    #[error("it can not be built")]
    Build(#[source] Box<dyn Error + Send + Sync>),
    /// The service has logged it.
    #[error(transparent)]
    Run(#[from] RunError),
}

async fn story<C, S, E>(
    config: Standalone<C>,
    build: impl AsyncFnOnce(C, Parts) -> Result<S, E>,
) -> Result<(), StoryError>
where
    C: Configured,
    S: Service,
    E: Error + Send + Sync + 'static,
{
    let shutdown = Shutdown::new();
    let signals = tokio::spawn(lifecycle::signals(shutdown.clone()));
    let parts = connect::parts::<C>(&config.links)?;
    let service = tokio::select! {
        service = build(config.service, parts) => service,
        () = shutdown.draining() => {
            info!(service = %C::SERVICE, "stopped before it was built");
            return Ok(());
        }
    };
    let service = service.map_err(|error| StoryError::Build(Box::new(error)))?;
    let outcome = service.run(shutdown).await;
    signals.abort();
    Ok(outcome?)
}

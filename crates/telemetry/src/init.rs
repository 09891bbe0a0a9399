//! The one start of logs, metrics and traces, and their one end.

use std::{
    io,
    sync::atomic::{AtomicBool, Ordering},
};

use metrics_exporter_prometheus::BuildError;
use parking_lot::Mutex;
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::{
    EnvFilter, Layer,
    filter::{FilterExt, ParseError, filter_fn},
    layer::{Filter, SubscriberExt},
    registry::LookupSpan,
    util::{SubscriberInitExt, TryInitError},
};

use crate::{
    config::Config,
    json::JsonLines,
    metrics::{self, Upkeep},
    traces::{self, Recorder},
};

/// Whether this process has its telemetry.
static STARTED: Mutex<bool> = Mutex::new(false);

/// Whether anybody gets more of a span than its ids, its service and its request.
static SPANS_ARE_READ: AtomicBool = AtomicBool::new(true);

/// Keeps telemetry running; dropped last, it flushes.
#[derive(Debug)]
#[must_use = "telemetry ends when the guard is dropped"]
pub struct Guard {
    _owned: Option<(Option<Recorder>, Upkeep)>,
}

/// Why telemetry did not start.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// The filter breaks its syntax.
    #[error("the log filter is malformed")]
    Filter(#[from] ParseError),
    /// Somebody else installed a subscriber in this process.
    #[error("another log subscriber is installed")]
    Subscriber(#[from] TryInitError),
    /// Somebody else installed a metrics recorder in this process.
    #[error("the metrics recorder can not be installed")]
    Recorder(#[from] BuildError),
    /// A thread that keeps the metrics small or sends spans did not start.
    #[error("a thread of the telemetry did not start")]
    Thread(#[from] io::Error),
}

/// Never logged, whatever the filter says: lapin writes each message that comes back with its body,
/// consulrs and rustify each call, each failure and their own spans.
const SILENCED: [&str; 3] = [
    "lapin::returned_messages=off",
    "consulrs=off",
    "rustify=off",
];

/// Starts logs, metrics and traces, once in a process. A further call succeeds without effect.
///
/// # Errors
/// The filter is malformed, or somebody else's subscriber or recorder is in place.
pub fn init(config: &Config) -> Result<Guard, InitError> {
    let mut filter = EnvFilter::try_new(&config.filter)?;
    for directive in SILENCED {
        filter = filter.add_directive(directive.parse()?);
    }
    let mut started = STARTED.lock();
    if *started {
        return Ok(Guard { _owned: None });
    }
    let recorder = config
        .traces
        .export
        .clone()
        .map(Recorder::start)
        .transpose()?;
    // Lines as JSON take service and request from spans, and nothing else.
    let read = recorder.is_some() || !config.format.is_json();
    SPANS_ARE_READ.store(read, Ordering::Relaxed);
    let layers = lines(config.format.is_json())
        .and_then(traces::layer(recorder.as_ref()))
        .with_filter(with_spans(filter));
    tracing_subscriber::registry().with(layers).try_init()?;
    let upkeep = metrics::install()?;
    *started = true;
    for variable in &config.traces.ignored {
        tracing::warn!(variable, "setting of the traces can not be followed");
    }
    Ok(Guard {
        _owned: Some((recorder, upkeep)),
    })
}

/// Tells whether what spans say beyond their ids, service and request reaches anybody: a collector, or
/// lines for people. The fields of a request's spans cost about 20,000 instructions.
pub fn spans_are_read() -> bool {
    SPANS_ARE_READ.load(Ordering::Relaxed)
}

fn lines<S>(json: bool) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    if json {
        JsonLines::new(io::stdout).boxed()
    } else {
        tracing_subscriber::fmt::layer()
            .compact()
            .with_ansi(io::IsTerminal::is_terminal(&io::stderr()))
            .with_writer(io::stderr)
            .boxed()
    }
}

/// Keeps spans whatever the filter says about events: they carry service, request and trace, which
/// a process that logs only warnings has to pass on all the same.
pub(crate) fn with_spans<S>(filter: EnvFilter) -> impl Filter<S> + Send + Sync
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let span = |metadata: &Metadata<'_>| {
        metadata.is_span() && *metadata.level() <= Level::INFO && !is_of_consuls_client(metadata)
    };
    filter.or(filter_fn(span).with_max_level_hint(Level::INFO))
}

/// Tells the spans of our client of Consul from those that say something.
fn is_of_consuls_client(metadata: &Metadata<'_>) -> bool {
    ["consulrs", "rustify"]
        .iter()
        .any(|of| metadata.target().starts_with(of))
}

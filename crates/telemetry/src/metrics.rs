//! What the process counted, as text for Prometheus and as totals for diagnostics.

mod by_label;

use std::{
    collections::BTreeMap,
    io,
    sync::{
        OnceLock,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

pub use by_label::ByLabel;

use crate::{init::InitError, names};

/// Upper bounds of all histograms in seconds, from a cached read to the longest generation.
const BUCKETS: [f64; 18] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
    120.0, 300.0, 600.0,
];
/// Time between two sweeps: samples of histograms pile up in memory until one.
const SWEEP: Duration = Duration::from_secs(5);

/// The instruments of this process.
static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();

/// A counter with its labels.
#[derive(Clone, Debug, PartialEq)]
pub struct Counter {
    /// Name of the metric.
    pub name: String,
    /// Values of its labels, by name.
    pub labels: BTreeMap<String, String>,
    /// What was counted since the process started.
    pub value: f64,
}

/// The thread that sweeps samples into their buckets; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Upkeep {
    stop: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Returns every metric in the Prometheus text format 0.0.4; empty before telemetry started.
pub fn render() -> String {
    HANDLE
        .get()
        .map(PrometheusHandle::render)
        .unwrap_or_default()
}

/// Returns each counter, and the number of samples of each histogram, summed over labels.
pub fn totals() -> BTreeMap<String, f64> {
    sum(&render())
}

/// Returns each counter with its labels.
pub fn counters() -> Vec<Counter> {
    read_counters(&render())
}

pub(crate) fn install() -> Result<Upkeep, InitError> {
    let handle = PrometheusBuilder::new()
        .set_buckets(&BUCKETS)?
        .install_recorder()?;
    names::describe();
    let upkeep = Upkeep::start(handle.clone())?;
    // Installing a second recorder fails above, so this is the first value.
    let _ = HANDLE.set(handle);
    Ok(upkeep)
}

impl Upkeep {
    fn start(handle: PrometheusHandle) -> io::Result<Self> {
        let (stop, stopped) = sync_channel(0);
        let thread = thread::Builder::new()
            .name("metrics".to_owned())
            .spawn(move || sweep(&handle, &stopped))?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Upkeep {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the metrics thread panicked");
        }
    }
}

fn sweep(handle: &PrometheusHandle, stopped: &Receiver<()>) {
    while stopped.recv_timeout(SWEEP) == Err(RecvTimeoutError::Timeout) {
        handle.run_upkeep();
    }
}

/// Reads the text format back: the exporter has no other view of all values.
fn sum(text: &str) -> BTreeMap<String, f64> {
    let mut totals = BTreeMap::new();
    for sample in samples(text) {
        let counted = match sample.kind {
            "counter" => sample.series == sample.name,
            "histogram" => sample.series.strip_prefix(sample.name) == Some("_count"),
            _ => false,
        };
        if counted {
            *totals.entry(sample.name.to_owned()).or_default() += sample.value;
        }
    }
    totals
}

fn read_counters(text: &str) -> Vec<Counter> {
    let counters = samples(text).filter(|sample| sample.kind == "counter");
    let read = |sample: Sample<'_>| Counter {
        name: sample.name.to_owned(),
        labels: labels(sample.labels),
        value: sample.value,
    };
    counters.map(read).collect()
}

/// One line with a value.
struct Sample<'a> {
    /// Name and kind of the metric.
    name: &'a str,
    kind: &'a str,
    /// Name in the line; histograms have several.
    series: &'a str,
    /// What is between the braces.
    labels: &'a str,
    value: f64,
}

fn samples(text: &str) -> impl Iterator<Item = Sample<'_>> {
    let mut declared = ("", "");
    text.lines().filter_map(move |line| {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            declared = rest.split_once(' ').unwrap_or_default();
            return None;
        }
        let (head, value) = line.rsplit_once(' ')?;
        let (series, labels) = head.split_once('{').unwrap_or((head, ""));
        Some(Sample {
            name: declared.0,
            kind: declared.1,
            series,
            labels: labels.strip_suffix('}').unwrap_or(labels),
            value: value.parse().ok()?,
        })
    })
}

/// Reads `name="value",name="value"`, with `\\`, `\"` and `\n` in values.
fn labels(text: &str) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    let mut rest = text;
    while let Some((name, after)) = rest.split_once("=\"") {
        let mut value = String::new();
        let mut characters = after.chars();
        loop {
            match characters.next() {
                None | Some('"') => break,
                Some('\\') => {
                    let escaped = characters.next();
                    value.extend(escaped.map(|c| if c == 'n' { '\n' } else { c }));
                }
                Some(plain) => value.push(plain),
            }
        }
        labels.insert(name.trim_start_matches(',').to_owned(), value);
        rest = characters.as_str();
    }
    labels
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_sum_counters_and_samples_over_labels() {
        let text = "\
# HELP a_total text\n\
# TYPE a_total counter\n\
a_total{path=\"/x y}\",status=\"200\"} 2\n\
a_total{path=\"/z\"} 3\n\
\n\
# TYPE b_seconds histogram\n\
b_seconds_bucket{le=\"0.1\"} 7\n\
b_seconds_sum 0.25\n\
b_seconds_count 7\n\
b_seconds_count{x=\"1\"} 1\n\
\n\
# TYPE c gauge\n\
c 9\n";
        let expected = [("a_total".to_owned(), 5.0), ("b_seconds".to_owned(), 8.0)];
        assert_eq!(sum(text), BTreeMap::from(expected));
    }

    #[test]
    fn counters_keep_their_labels() {
        let text = "# TYPE a_total counter\na_total 1\na_total{path=\"/x, \\\"y\\\"}\",to=\"b=\\\\\"} 2\n\
                    # TYPE c gauge\nc{to=\"d\"} 9\n";
        let labelled = [("path", "/x, \"y\"}"), ("to", "b=\\")];
        let labelled = labelled.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let counter = |labels, value| Counter {
            name: "a_total".to_owned(),
            labels,
            value,
        };
        let expected = [
            counter(BTreeMap::new(), 1.0),
            counter(BTreeMap::from(labelled), 2.0),
        ];
        assert_eq!(read_counters(text), expected);
    }

    #[test]
    fn the_upkeep_thread_ends_with_its_owner() {
        let recorder = PrometheusBuilder::new().build_recorder();
        let upkeep = Upkeep::start(recorder.handle()).unwrap();
        // Joins the thread: a thread that did not end would hang the test.
        drop(upkeep);
    }
}

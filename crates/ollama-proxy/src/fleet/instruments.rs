//! What a node does with a model, as metrics.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use metrics::{Counter, Histogram, counter, histogram};
use sutazai_telemetry::{metrics::ByLabel, names};

/// The instruments of one node.
pub(super) struct Instruments {
    node: Arc<str>,
    models: ByLabel<OfModel>,
    attempts: ByLabel<Counter>,
}

/// The instruments of one model on one node.
pub(super) struct OfModel {
    node: Arc<str>,
    model: Arc<str>,
    first_token: OnceLock<Histogram>,
    durations: ByLabel<Histogram>,
}

impl Instruments {
    pub(super) fn new(node: Arc<str>) -> Self {
        Self {
            node,
            models: ByLabel::default(),
            attempts: ByLabel::default(),
        }
    }

    pub(super) fn of(&self, model: &Arc<str>) -> Arc<OfModel> {
        self.models.get(model, || OfModel {
            node: self.node.clone(),
            model: model.clone(),
            first_token: OnceLock::new(),
            durations: ByLabel::default(),
        })
    }

    /// Counts a request that was sent to the node.
    pub(super) fn attempted(&self, outcome: &str) {
        let counter = self.attempts.get(outcome, || {
            counter!(
                names::INFERENCE_ATTEMPTS_TOTAL,
                "node" => self.node.clone(),
                "outcome" => outcome.to_owned(),
            )
        });
        counter.increment(1);
    }
}

impl OfModel {
    /// Notes the time until the first token.
    pub(super) fn opened(&self, took: Duration) {
        let histogram = self.first_token.get_or_init(|| {
            histogram!(
                names::INFERENCE_FIRST_TOKEN_SECONDS,
                "model" => self.model.clone(),
                "node" => self.node.clone(),
            )
        });
        histogram.record(took);
    }

    /// Notes the time of a whole answer.
    pub(super) fn ended(&self, outcome: &'static str, took: Duration) {
        let histogram = self.durations.get(outcome, || {
            histogram!(
                names::INFERENCE_DURATION_SECONDS,
                "model" => self.model.clone(),
                "node" => self.node.clone(),
                "outcome" => outcome,
            )
        });
        histogram.record(took);
    }
}

//! Follows one service: one open request, an answer as soon as something changes, and the last good
//! list when there is none.

use std::{sync::Arc, time::Duration};

use futures::future::join_all;
use metrics::gauge;
use parking_lot::Mutex;
use sutazai_resilience::backoff::Backoff;
use sutazai_telemetry::names;
use tokio::{
    net::TcpStream,
    sync::watch,
    time::{Instant, timeout},
};

use super::{
    catalogue::{Catalogue, Index, Verdict},
    client::{Client, Passing},
    entry::{Listed, Question},
};
use crate::registry::RegistryError;

/// Pause after a failed query.
const RETRY: Backoff = Backoff {
    min: Duration::from_millis(200),
    max: Duration::from_secs(4),
};
/// Pause between two rounds of questions to instances that Consul no longer lists.
const DOUBT_PAUSE: Duration = Duration::from_secs(1);
/// Longest time for such a question.
const QUESTION_LIMIT: Duration = Duration::from_secs(1);

/// How far a watch is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Index of the last answer.
    pub index: Option<u64>,
    /// When the last answer came.
    pub answered: Option<Instant>,
    /// Why the last query brought none.
    pub failure: Option<String>,
    /// How many instances watchers see.
    pub instances: usize,
}

/// Where those who watch hear of it.
#[derive(Debug)]
pub(super) struct Teller<T> {
    pub(super) list: watch::Sender<Arc<[T]>>,
    /// Whether the first answer has come, be it an empty one.
    pub(super) first: watch::Sender<bool>,
}

/// The task that follows one service.
pub(super) struct Watcher<T> {
    client: Arc<Client>,
    service: String,
    index: Index,
    catalogue: Catalogue<T>,
    teller: Teller<T>,
    progress: Arc<Mutex<Progress>>,
}

impl<T: Listed> Watcher<T> {
    pub(super) fn new(
        client: Arc<Client>,
        service: &str,
        doubt_for: Duration,
        teller: Teller<T>,
        progress: Arc<Mutex<Progress>>,
    ) -> Self {
        Self {
            client,
            service: service.to_owned(),
            index: Index::default(),
            catalogue: Catalogue::new(doubt_for),
            teller,
            progress,
        }
    }

    pub(super) async fn run(mut self) {
        let mut failures = 0_u32;
        loop {
            match self.query().await {
                Ok(passing) => {
                    failures = 0;
                    self.answered(passing).await;
                }
                Err(error) => {
                    failures = failures.saturating_add(1);
                    self.failed(&error, failures == 1);
                    let pause = RETRY.delay(failures, &mut rand::rng());
                    tokio::time::sleep(pause).await;
                }
            }
        }
    }

    /// Asks Consul, and while its answer is doubted the instances too.
    async fn query(&mut self) -> Result<Passing, RegistryError> {
        let client = Arc::clone(&self.client);
        let service = self.service.clone();
        let passing = client.passing(&service, self.index.beyond());
        tokio::pin!(passing);
        loop {
            if !self.catalogue.in_doubt() {
                return passing.await;
            }
            match timeout(DOUBT_PAUSE, &mut passing).await {
                Ok(answer) => return answer,
                Err(_) => self.ask_instances().await,
            }
        }
    }

    async fn answered(&mut self, passing: Passing) {
        self.index.answered(passing.index);
        let entries = passing.entries.iter();
        let mut list: Vec<T> = entries
            .filter_map(|entry| T::read(&self.service, entry))
            .collect();
        if list.len() < passing.entries.len() {
            let strange = passing.entries.len() - list.len();
            tracing::debug!(
                service = self.service,
                strange,
                "entries that make no sense are left out"
            );
        }
        list.sort_by(|a, b| a.id().cmp(b.id()));
        let again = self.progress.lock().failure.take().is_some();
        if again {
            tracing::info!(service = self.service, "consul answers again");
        }
        let was_in_doubt = self.catalogue.in_doubt();
        match self.catalogue.answered(list, Instant::now()) {
            Verdict::Doubt => {
                if !was_in_doubt {
                    tracing::warn!(
                        service = self.service,
                        "consul lists no instance; the last ones are kept while they answer"
                    );
                }
                self.ask_instances().await;
            }
            verdict => self.tell(verdict),
        }
        self.teller.first.send_replace(true);
        self.note(Some(passing.index));
    }

    async fn ask_instances(&mut self) {
        let list = Arc::clone(self.catalogue.list());
        let asked = list.iter().map(|one| self.answers(one.question()));
        let somebody = join_all(asked).await.contains(&true);
        let verdict = self.catalogue.asked(somebody, Instant::now());
        self.tell(verdict);
    }

    async fn answers(&self, question: Question) -> bool {
        let answers = async {
            match question {
                Question::Ready(http) => match format!("http://{http}/readyz").parse() {
                    Ok(uri) => self.client.transport.is_well(uri).await,
                    Err(_) => false,
                },
                Question::Connect(host, port) => TcpStream::connect((host, port)).await.is_ok(),
            }
        };
        timeout(QUESTION_LIMIT, answers).await.unwrap_or(false)
    }

    fn failed(&mut self, error: &RegistryError, first: bool) {
        if first {
            tracing::warn!(
                service = self.service,
                error = error as &dyn std::error::Error,
                "consul does not answer; the last list of instances is kept"
            );
        }
        self.index.failed();
        self.progress.lock().failure = Some(chain(error));
        self.note(None);
    }

    fn tell(&self, verdict: Verdict<T>) {
        match verdict {
            Verdict::Tell(list) => {
                tracing::info!(
                    service = self.service,
                    instances = list.len(),
                    "instances changed"
                );
                self.teller.list.send_replace(list);
            }
            Verdict::Doubt | Verdict::Same => {}
        }
    }

    /// Records how far the watch is; an answer has an index.
    fn note(&self, index: Option<u64>) {
        let mut progress = self.progress.lock();
        progress.instances = self.catalogue.list().len();
        if let Some(index) = index {
            progress.index = Some(index);
            progress.answered = Some(Instant::now());
        }
        let age = progress
            .answered
            .map_or(0.0, |at| at.elapsed().as_secs_f64());
        let connected = if index.is_some() { 1.0 } else { 0.0 };
        let service = self.service.clone();
        gauge!(names::REGISTRY_CONNECTED, "service" => service.clone()).set(connected);
        gauge!(names::REGISTRY_LIST_AGE_SECONDS, "service" => service.clone()).set(age);
        if let Some(index) = index {
            #[expect(clippy::cast_precision_loss, reason = "an index is far below 2^52")]
            let index = index as f64;
            gauge!(names::REGISTRY_INDEX, "service" => service).set(index);
        }
    }
}

/// An error with all its causes, for people.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}

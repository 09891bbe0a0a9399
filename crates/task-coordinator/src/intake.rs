//! The door of producers outside the platform: what they submit through the broker.

use std::{collections::BTreeMap, error::Error as StdError, time::Duration};

use async_trait::async_trait;
use sutazai_messaging::{Delivery, Handler, Outcome};
use sutazai_proto::producers::{Accepted, Origin};
use sutazai_resilience::backoff::Backoff;
use sutazai_telemetry::propagate;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, info_span};

use crate::answer::{Address, Answers, Sent, rejected};
use crate::error::Error;
use crate::grpc::submission;
use crate::store::View;
use crate::submission::{Operation, ReplyTo, Submission};
use crate::tasks::Tasks;

mod event;
mod producers;

pub(crate) use producers::Producers;

use event::{Broken, Received};

/// A delivery is held this long while the database is away: an outage must not use up its returns.
/// Brokers take a delivery back after 30 min.
const HOLD: Duration = Duration::from_secs(600);
/// A delivery whose answer could not be sent comes again after this time.
const AGAIN: Duration = Duration::from_secs(2);
const BACKOFF: Backoff = Backoff {
    min: Duration::from_millis(200),
    max: Duration::from_secs(5),
};

/// Takes submissions and answers them.
pub(crate) struct Intake {
    pub(crate) tasks: Tasks,
    pub(crate) producers: Producers,
    pub(crate) answers: Answers,
    /// Cancelled when the process begins to stop: nothing is held any longer.
    pub(crate) stopping: CancellationToken,
}

/// Why a message makes no task.
enum Refused {
    /// It is none that anybody can read.
    Broken(Broken),
    /// It can be read, and not carried out.
    Declined(Error),
}

#[async_trait]
impl Handler for Intake {
    async fn handle(&self, delivery: Delivery) -> Outcome {
        let address = Address::of(&delivery);
        let received = match event::read(&delivery) {
            Ok(received) => received,
            Err(unreadable) => {
                let refused = Refused::Broken(unreadable.broken);
                return self
                    .refuse(address.as_ref(), unreadable.origin, refused)
                    .await;
            }
        };
        let span = info_span!("task.intake", source = received.origin.source);
        // First of all: a span that has begun keeps its trace.
        propagate::set_parent_from_map(&span, &received.trace);
        self.take(&delivery, received, address)
            .instrument(span)
            .await
    }
}

impl Intake {
    async fn take(
        &self,
        delivery: &Delivery,
        received: Received,
        address: Option<Address>,
    ) -> Outcome {
        let origin = received.origin.clone();
        match self.store(delivery, &received, address.as_ref()).await {
            Ok((view, replayed)) => self.accept(address.as_ref(), origin, &view, replayed).await,
            Err(Refused::Declined(error)) if error.is_passing() => {
                tracing::warn!(error = &error as &dyn StdError, "submission comes again");
                Outcome::Retry(AGAIN)
            }
            Err(refused) => self.refuse(address.as_ref(), Some(origin), refused).await,
        }
    }

    /// Stores the task; an outage of the database is waited for.
    async fn store(
        &self,
        delivery: &Delivery,
        received: &Received,
        address: Option<&Address>,
    ) -> Result<(View, bool), Refused> {
        let give_up = Instant::now() + HOLD;
        let mut attempt = 0;
        loop {
            let error = match self.try_store(delivery, received, address).await {
                Err(Refused::Declined(error)) if error.is_passing() => error,
                end => return end,
            };
            if self.stopping.is_cancelled() || Instant::now() >= give_up {
                return Err(Refused::Declined(error));
            }
            attempt += 1;
            tracing::warn!(error = &error as &dyn StdError, attempt, "submission waits");
            let wait = BACKOFF.delay(attempt, &mut rand::rng());
            self.stopping
                .run_until_cancelled(tokio::time::sleep(wait))
                .await;
        }
    }

    async fn try_store(
        &self,
        delivery: &Delivery,
        received: &Received,
        address: Option<&Address>,
    ) -> Result<(View, bool), Refused> {
        let user = delivery.properties.user_id.as_deref();
        let principal = self
            .producers
            .principal(user)
            .ok_or(Refused::Broken(Broken::Producer))?;
        let mut trace = BTreeMap::new();
        propagate::inject_map(&mut trace);
        let request = received.request.clone();
        let submission = submission::read(request, &principal, trace, Operation::Intake)?;
        let reply_to = address.map(|address| ReplyTo {
            address: address.clone(),
            origin: received.origin.clone(),
        });
        let submission = Submission {
            reply_to,
            ..submission
        };
        Ok(self.tasks.submit(submission).await?)
    }

    async fn accept(
        &self,
        address: Option<&Address>,
        origin: Origin,
        view: &View,
        replayed: bool,
    ) -> Outcome {
        let task = view.task.id;
        tracing::info!(task.id = %task, replayed, "submission of a producer accepted");
        let Some(address) = address else {
            return Outcome::Done;
        };
        let accepted = Accepted {
            origin,
            task_id: task.to_string(),
            replayed,
        };
        // A repeated answer is the same event.
        let id = format!("{task}.accepted");
        match self.answers.send(address, Some(task), id, accepted).await {
            Sent::Delivered | Sent::Gone => Outcome::Done,
            Sent::Failed => Outcome::Retry(AGAIN),
        }
    }

    /// Says no. What is broken, and what nobody was told of, becomes a dead letter.
    async fn refuse(
        &self,
        address: Option<&Address>,
        origin: Option<Origin>,
        refused: Refused,
    ) -> Outcome {
        let (answer, is_broken) = match &refused {
            Refused::Broken(error) => (rejected(error, origin, str::to_owned), true),
            Refused::Declined(error) => (rejected(error, origin, event::place), false),
        };
        let why = format!("{}: {}", answer.reason, answer.detail);
        tracing::info!(why, is_broken, "submission of a producer refused");
        let sent = match address {
            None => Sent::Gone,
            Some(address) => {
                let id = uuid::Uuid::now_v7().to_string();
                self.answers.send(address, None, id, answer).await
            }
        };
        match sent {
            Sent::Failed => Outcome::Retry(AGAIN),
            Sent::Delivered if !is_broken => Outcome::Done,
            Sent::Delivered | Sent::Gone => Outcome::Reject(why),
        }
    }
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self::Declined(error)
    }
}

//! What belongs to a process while it runs, and how it comes up.

use std::{convert::Infallible, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use axum::Router;
use futures::FutureExt;
use sutazai_mesh::{
    catalog::ServiceName,
    registry::{Instance, Lease, Registry},
};
use sutazai_messaging::{BrokerError, Consumer};
use sutazai_proto::status::chain;
use sutazai_resilience::Backoff;
use sutazai_telemetry::names;
use tokio::{
    net::TcpListener,
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span, debug, error, info, warn};

use super::{
    RunError,
    builder::{FIRST_LIMIT, Hook, StartConsumer, VERSION, Work},
};
use crate::{
    admin::{Phase, Standing},
    config::Base,
    grpc::Health,
    serve::{self, Ends, Protocol},
};

/// Pauses between attempts to register and to run a hook.
const RETRY: Backoff = Backoff {
    min: Duration::from_millis(200),
    max: Duration::from_secs(10),
};
/// Pauses between attempts of what comes first: others wait for this process.
const FIRST: Backoff = Backoff {
    min: Duration::from_millis(100),
    max: Duration::from_secs(1),
};
/// A failure with a pause up to this is no news: services start in any order, and find each other a moment
/// later.
const QUIET: Duration = Duration::from_secs(1);

/// What belongs to a process while it runs; dropping it ends all of it.
pub(super) struct Running {
    pub(super) standing: Arc<Standing>,
    pub(super) health: Health,
    pub(super) registry: Arc<dyn Registry>,
    pub(super) base: Base,
    pub(super) ends: Ends,
    pub(super) lease: Option<Lease>,
    /// Ends when the drain begins.
    pub(super) stop: CancellationToken,
    pub(super) tasks: JoinSet<Ended>,
    pub(super) servers: JoinSet<()>,
}

/// How a task ended.
pub(super) struct Ended {
    name: &'static str,
    outcome: Result<(), RunError>,
}

impl Running {
    pub(super) fn new(
        standing: Arc<Standing>,
        health: Health,
        registry: Arc<dyn Registry>,
        base: Base,
    ) -> Self {
        Self {
            standing,
            health,
            registry,
            base,
            ends: Ends::default(),
            lease: None,
            stop: CancellationToken::new(),
            tasks: JoinSet::new(),
            servers: JoinSet::new(),
        }
    }

    pub(super) fn serve(
        &mut self,
        (listener, router): (TcpListener, Router),
        protocol: Protocol,
        service: ServiceName,
    ) {
        let serving = serve::serve(listener, router, protocol, service, self.ends.clone());
        self.servers.spawn(serving.instrument(Span::current()));
    }

    /// Looks at the parts again and again, and keeps the gRPC health status up to date.
    pub(super) fn watch_health(&mut self) {
        let (standing, health) = (Arc::clone(&self.standing), self.health.clone());
        let stop = self.stop.clone();
        self.spawn("health", async move {
            loop {
                standing.check().await;
                health.follow(&standing).await;
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = sleep(standing.pause()) => {}
                }
            }
        });
    }

    /// Brings the process up and watches over it; answers only with a fault.
    pub(super) async fn up(
        &mut self,
        instance: Instance,
        work: Work,
        start_limit: Duration,
    ) -> RunError {
        match self.try_up(instance, work, start_limit).await {
            Ok(never) => match never {},
            Err(fault) => fault,
        }
    }

    async fn try_up(
        &mut self,
        instance: Instance,
        work: Work,
        start_limit: Duration,
    ) -> Result<Infallible, RunError> {
        if timeout(start_limit, self.standing.until_usable())
            .await
            .is_err()
        {
            return Err(RunError::NotReady(self.standing.complaint()));
        }
        for (name, hook) in work.first {
            if timeout(FIRST_LIMIT, repeat(name, hook, FIRST))
                .await
                .is_err()
            {
                warn!(hook = name, "not done in time, going on without");
            }
        }
        self.standing.enter(Phase::Ready);
        self.health.follow(&self.standing).await;
        let (name, http, grpc) = (instance.service, instance.http, instance.grpc);
        self.lease = Some(register(&*self.registry, instance).await);
        metrics::gauge!(names::BUILD_INFO, "service" => name.as_str(), "version" => VERSION)
            .set(1.0);
        for (name, start) in work.consumers {
            // The first attempt comes before what is next; only a broker that is away is waited for.
            let first = start().await;
            self.spawn_fallible(name, consume(name, first, start, self.stop.clone()));
        }
        for (name, run) in work.background {
            let run = run(self.stop.clone());
            self.spawn(name, run);
        }
        for (name, hook) in work.hooks {
            let stop = self.stop.clone();
            self.spawn(name, async move {
                stop.run_until_cancelled(repeat(name, hook, RETRY)).await;
            });
        }
        let took_ms = self.standing.uptime().as_millis();
        info!(%grpc, http = http.map(tracing::field::display), took_ms, "service ready");
        Err(self.death().await)
    }

    fn spawn(&mut self, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        self.spawn_fallible(name, work.map(Ok));
    }

    fn spawn_fallible(
        &mut self,
        name: &'static str,
        work: impl Future<Output = Result<(), RunError>> + Send + 'static,
    ) {
        let work = async move {
            let ended = AssertUnwindSafe(work).catch_unwind().await;
            let outcome = ended.unwrap_or(Err(RunError::TaskDied(name)));
            Ended { name, outcome }
        };
        self.tasks.spawn(work.instrument(Span::current()));
    }

    /// Waits until a task or a listener ends that should not.
    async fn death(&mut self) -> RunError {
        loop {
            tokio::select! {
                Some(ended) = self.tasks.join_next() => match ended {
                    Ok(Ended { outcome: Err(fault), .. }) => return fault,
                    Ok(Ended { name, .. }) => debug!(task = name, "task done"),
                    Err(error) => error!(%error, "task lost"),
                },
                Some(_) = self.servers.join_next() => return RunError::TaskDied("listener"),
                else => return RunError::TaskDied("health"),
            }
        }
    }
}

/// Holds a consumer from the moment the broker gives it until `stop`, and waits for its handlers.
async fn consume(
    name: &'static str,
    first: Result<Consumer, BrokerError>,
    start: StartConsumer,
    stop: CancellationToken,
) -> Result<(), RunError> {
    let subscribed = stop.run_until_cancelled(subscribe(name, first, start));
    let Some(started) = subscribed.await else {
        return Ok(());
    };
    let consumer = started.map_err(|source| RunError::Consumer { name, source })?;
    stop.cancelled().await;
    consumer.stop().await;
    Ok(())
}

/// Asks the broker until it answers.
async fn subscribe(
    name: &'static str,
    first: Result<Consumer, BrokerError>,
    start: StartConsumer,
) -> Result<Consumer, BrokerError> {
    let (mut answer, mut attempt) = (first, 0);
    while let Err(error @ BrokerError::Unavailable { .. }) = &answer {
        attempt += 1;
        let pause = RETRY.ceiling(attempt);
        warn!(
            error = chain(error),
            ?pause,
            consumer = name,
            "not consuming, trying again"
        );
        sleep(pause).await;
        answer = start().await;
    }
    answer
}

async fn register(registry: &dyn Registry, instance: Instance) -> Lease {
    for attempt in 1.. {
        match registry.register(instance.clone()).await {
            Ok(lease) => return lease,
            Err(error) => {
                let pause = RETRY.ceiling(attempt);
                warn!(
                    error = chain(&error),
                    ?pause,
                    "not registered, trying again"
                );
                sleep(pause).await;
            }
        }
    }
    std::future::pending().await
}

async fn repeat(name: &'static str, hook: Hook, pauses: Backoff) {
    for attempt in 1.. {
        let Err(error) = hook().await else { return };
        let pause = pauses.ceiling(attempt);
        if pause > QUIET {
            warn!(error, ?pause, hook = name, "hook failed, trying again");
        } else {
            debug!(error, ?pause, hook = name, "hook failed, trying again");
        }
        sleep(pause).await;
    }
}

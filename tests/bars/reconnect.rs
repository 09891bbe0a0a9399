//! R5: the broker goes away, once for long and many times for short, while tasks are submitted. Each
//! time it returns, all are connected and consume again, and in the end no task is left behind.
//!
//! The broker has returned when its port answers as AMQP says. It is consumed from again when the
//! first task of each type has started; soon after, each queue has as many consumers as before.

mod broker;
mod publishers;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant, SystemTime},
};

use rand::{Rng, SeedableRng, rngs::StdRng};
use system_tests::platform::Platform;

use crate::{
    bar::{Bar, Goal},
    database::connect,
    outage::Outage,
    site::shared,
    size::{Size, seed},
};
use publishers::{Publishers, consuming, stuck};

const BROKER: &str = "rabbitmq";
/// Longest time from the broker's return to the first task of each type.
const CONSUMING_WITHIN: Duration = Duration::from_secs(10);

/// What was seen of the outages.
#[derive(Default)]
struct Seen {
    gone: Vec<Duration>,
    consuming: Vec<Duration>,
    /// After how many of them each queue had its consumers again.
    same_consumers: usize,
}

pub(crate) async fn run(size: &Size) {
    let platform = shared().await;
    let processes = processes(&platform);
    let publishers = Publishers::begin(platform.admin());
    let seen = outages(&platform, size).await;
    let submitted = publishers.end().await;
    let stuck = stuck(&platform, &submitted).await;

    let mut bar = Bar::new("R5", size);
    seen.judge(&mut bar, size);
    let now = self::processes(&platform);
    let restarted = processes
        .iter()
        .filter(|(name, pid)| now.get(*name) != Some(pid));
    bar.holds(
        "processes restarted beside the broker",
        restarted.count(),
        Goal::Is(0.0),
    );
    let what = format!("stuck of {} tasks: without an end", submitted.len());
    bar.holds(&what, stuck.open, Goal::Is(0.0));
    bar.holds("stuck: rows of the outbox", stuck.outbox, Goal::Is(0.0));
    bar.close();
}

/// Takes the broker away, again and again.
async fn outages(platform: &Platform, size: &Size) -> Seen {
    let mut database = connect(platform).await;
    let mut random = StdRng::seed_from_u64(seed());
    let consumers = broker::settled(platform).await;
    let (mut seen, mut start) = (Seen::default(), Duration::ZERO);
    let short = |_| Duration::from_secs_f64(random.random_range(size.short_outages.clone()));
    let short = (0..size.outages).map(short);
    for wanted in size.long_outage.into_iter().chain(short) {
        tokio::time::sleep(size.calm).await;
        let outage = Outage::begin(platform, BROKER);
        // Its start is a part of the outage, and takes what the last one took.
        tokio::time::sleep(wanted.saturating_sub(start)).await;
        let allowed = Instant::now();
        let gone = outage.end(async || broker::answers(platform).await).await;
        let returned = SystemTime::now();
        start = allowed.elapsed();
        let consuming = consuming(&mut database, returned).await;
        let same = broker::has(platform, &consumers).await;
        println!("gone for {gone:.1?}, consuming after {consuming:.1?}, same consumers: {same}");
        seen.gone.push(gone);
        seen.consuming.push(consuming);
        seen.same_consumers += usize::from(same);
    }
    seen
}

impl Seen {
    fn judge(&self, bar: &mut Bar, size: &Size) {
        let longest = |times: &[Duration]| times.iter().max().copied().unwrap_or_default();
        let outages = Goal::Is((size.outages + u32::from(size.long_outage.is_some())).into());
        bar.holds("outages", self.gone.len(), outages);
        if let Some(long) = size.long_outage {
            let goal = Goal::AtLeast(long.as_secs_f64());
            bar.holds("the longest outage", longest(&self.gone), goal);
        }
        let consuming = longest(&self.consuming);
        let within = Goal::AtMost(CONSUMING_WITHIN.as_secs_f64());
        bar.measured(
            "consuming again after the return, the slowest",
            consuming,
            within,
        );
        bar.holds(
            "outages with the same consumers afterwards",
            self.same_consumers,
            outages,
        );
    }
}

/// Returns the processes of all but the broker.
fn processes(platform: &Platform) -> BTreeMap<String, u32> {
    let processes = platform.description().processes.into_iter();
    let others = processes.filter(|(name, _)| name != BROKER);
    others.map(|(name, process)| (name, process.pid)).collect()
}

//! E1: a hit in the cache's level within the process, beside a raw moka look-up.

use std::{
    convert::Infallible,
    hint::black_box,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use bytes::Bytes;
use sutazai_persistence::cache::{Cache, Key, Namespace, Settings, Source};

use crate::{
    failure::Failure,
    limit::hit::Hits,
    row::{Figure, Goal, Row, Side, Values},
    stage::Stage,
};

const NAMESPACE: Namespace = Namespace::new("bench", Duration::from_secs(30));
const KEYS: usize = 1_000;
const TIMES: usize = 1_000;
/// The value: as long as what a look-up of an API key brings.
const VALUE: [u8; 64] = [b'v'; 64];

/// Hits of the local level beside moka's.
#[derive(Debug, Default)]
pub(super) struct E1 {
    limit: Option<Hits>,
    ours: Option<Cache>,
    keys: Vec<Key>,
}

#[async_trait]
impl Row for E1 {
    fn id(&self) -> &'static str {
        "E1"
    }

    fn what(&self) -> &'static str {
        "a hit in the cache's level within the process, 1,000 keys, one thread"
    }

    fn figures(&self) -> Vec<Figure> {
        vec![Figure::new("look", "a hit", "ns").limit(Goal::RatioAtMost(1.5))]
    }

    async fn prepare(&mut self, _: &Stage) -> Result<(), Failure> {
        let names = || (0..KEYS).map(|number| format!("key-{number}"));
        self.limit = Some(Hits::new(names()));
        self.keys = names().map(|name| NAMESPACE.key(&name)).collect();
        self.ours = Some(Cache::local(Settings::default()));
        Ok(())
    }

    async fn measure(&mut self, _: &Stage, side: Side) -> Result<Values, Failure> {
        let unprepared = || Failure::wrong("nothing was prepared");
        // Filled anew: no entry's life ends while it is looked up.
        let (time, found) = if side == Side::Limit {
            let limit = self.limit.as_ref().ok_or_else(unprepared)?;
            limit.fill(&Bytes::from_static(&VALUE));
            let begun = Instant::now();
            let found = limit.look(TIMES);
            (begun.elapsed(), found)
        } else {
            let cache = self.ours.as_ref().ok_or_else(unprepared)?;
            look(cache, &self.keys, 1).await?;
            let begun = Instant::now();
            let found = look(cache, &self.keys, TIMES).await?;
            (begun.elapsed(), found)
        };
        let looks = KEYS * TIMES;
        if found != looks {
            return Err(Failure::wrong(format!("{found} hits of {looks}")));
        }
        Ok([("look", time.as_secs_f64() * 1e9 / looks as f64)].into())
    }
}

/// Looks each key up so many times, and returns how often the local level had it.
async fn look(cache: &Cache, keys: &[Key], times: usize) -> Result<usize, Failure> {
    let mut found = 0;
    for _ in 0..times {
        for key in keys {
            let load =
                || async { Ok::<_, Infallible>(String::from_utf8_lossy(&VALUE).into_owned()) };
            let value = cache.get_or_load(key, load).await;
            let value = black_box(value).map_err(|_| Failure::wrong("a look-up failed"))?;
            found += usize::from(value.source == Source::Local);
        }
    }
    Ok(found)
}

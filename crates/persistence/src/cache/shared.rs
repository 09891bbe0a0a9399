//! The level in Redis: the shared truth of all replicas.
//!
//! Each mark (a tag, a namespace, everything) has a generation there, a random name. An entry holds
//! the generations that it was made under and counts only while they are the present ones, so an
//! invalidation is one write, whatever the number of entries.

use std::{sync::LazyLock, time::Duration};

use bytes::Bytes;
use redis::{Script, Value, from_redis_value};
use uuid::Uuid;

use super::{
    Settings,
    namespace::{ALL, Key},
    packing::{pack, unpack},
};
use crate::redis::{Redis, RedisError, Subscription};

/// Life of a generation. Entries whose generation is gone do not count, so it outlives them.
const GENERATION_LIFE: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// Keys that one step of a scan looks at.
const SCAN: usize = 500;

static OPEN: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("scripts/open.lua")));
static STORE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("scripts/store.lua")));
static RELEASE: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("scripts/release.lua")));
static RENEW: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("scripts/renew.lua")));

pub(super) struct Shared {
    pub(super) redis: Redis,
    settings: Settings,
    channel: String,
    /// Names this cache on the channel: it has no need to hear itself.
    origin: String,
}

/// What a look-up found.
pub(super) enum Opened {
    Hit {
        value: Bytes,
        left: Duration,
    },
    /// Nothing; the generations under which a value may be made now.
    Miss(Generations),
    /// Somebody else is making the value.
    Busy,
}

/// The generations of a key's marks at one moment.
pub(super) struct Generations(Vec<u8>);

/// What the channel tells.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum News<'a> {
    /// Another cache invalidated a mark.
    Invalidated(&'a str),
    /// A loader of a key, by its identity, is done.
    Done(&'a str),
}

/// An entry in Redis, without its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedEntry {
    /// Time it has left.
    pub left: Duration,
    /// Bytes of the value as Redis holds it.
    pub bytes: u64,
    /// Whether the value is compressed.
    pub compressed: bool,
    /// Tags that invalidate it.
    pub tags: Vec<String>,
}

impl Shared {
    pub(super) fn new(redis: Redis, settings: Settings) -> Self {
        Self {
            redis,
            channel: format!("{}:news", settings.prefix),
            settings,
            origin: Uuid::new_v4().simple().to_string(),
        }
    }

    /// Looks a key up; with a token, a miss takes the lock of the key.
    pub(super) async fn open(&self, key: &Key, token: &str) -> Result<Opened, RedisError> {
        let mut script = OPEN.key(self.entry(key.id()));
        script
            .key(self.lock(key.id()))
            .arg(self.generation(""))
            .arg(key.shared_marks())
            .arg(token)
            .arg(millis(self.settings.lease))
            .arg(millis(GENERATION_LIFE))
            .arg(fresh_name());
        let answer: Vec<Value> = self.redis.script("cache.open", &script).await?;
        understand(answer).map_err(RedisError::Refused)
    }

    /// Stores a value unless it was invalidated since [`open`](Self::open); answers whether.
    pub(super) async fn store(
        &self,
        key: &Key,
        token: &str,
        generations: &Generations,
        value: &Bytes,
        life: Duration,
    ) -> Result<bool, RedisError> {
        let packed = pack(value, self.settings.compress_from);
        let mut script = STORE.key(self.entry(key.id()));
        script
            .key(self.lock(key.id()))
            .arg(self.generation(""))
            .arg(key.shared_marks())
            .arg(&generations.0)
            .arg(token)
            .arg(&packed.value[..])
            .arg(u8::from(packed.is_packed))
            .arg(millis(life))
            .arg(&self.channel)
            .arg(self.done(key.id()));
        self.redis.script("cache.store", &script).await
    }

    /// Gives the lock of a key back.
    pub(super) async fn release(&self, id: &str, token: &str) -> Result<(), RedisError> {
        let mut script = RELEASE.key(self.lock(id));
        script.arg(token).arg(&self.channel).arg(self.done(id));
        self.redis.script("cache.release", &script).await
    }

    /// Prolongs the lock of a key.
    pub(super) async fn renew(&self, id: &str, token: &str) -> Result<(), RedisError> {
        let mut script = RENEW.key(self.lock(id));
        script.arg(token).arg(millis(self.settings.lease));
        self.redis.script("cache.renew", &script).await
    }

    /// Begins a new generation of a mark, or deletes the entry that the mark names, and tells the
    /// other caches; both or neither.
    pub(super) async fn invalidate(&self, mark: &str) -> Result<(), RedisError> {
        let mut pipeline = redis::pipe();
        pipeline.atomic();
        match mark.strip_prefix("k:") {
            Some(id) => pipeline
                .cmd("UNLINK")
                .arg(self.entry(id))
                .arg(self.lock(id))
                .ignore(),
            None => pipeline
                .cmd("SET")
                .arg(self.generation(mark))
                .arg(fresh_name())
                .arg("PX")
                .arg(millis(GENERATION_LIFE))
                .ignore(),
        };
        let news = format!("{} {mark}", self.origin);
        pipeline.publish(&self.channel, news).ignore();
        self.redis.pipeline("cache.invalidate", &pipeline).await
    }

    /// Deletes all entries whose namespace and key fit a pattern, in steps; returns how many.
    pub(super) async fn delete_matching(&self, pattern: &str) -> Result<u64, RedisError> {
        let mut deleted = 0;
        // Who is making one of them must not store it afterwards.
        for (wanted, counts) in [(self.lock(pattern), false), (self.entry(pattern), true)] {
            let mut cursor: u64 = 0;
            loop {
                let mut scan = redis::cmd("SCAN");
                scan.arg(cursor).arg("MATCH").arg(&wanted);
                scan.arg("COUNT").arg(SCAN);
                let (next, keys): (u64, Vec<String>) =
                    self.redis.command("cache.scan", &scan).await?;
                if !keys.is_empty() {
                    let mut unlink = redis::cmd("UNLINK");
                    let gone: u64 = self.redis.command("cache.delete", unlink.arg(keys)).await?;
                    deleted += if counts { gone } else { 0 };
                }
                cursor = next;
                if cursor == 0 {
                    break;
                }
            }
        }
        self.invalidate_locals().await?;
        Ok(deleted)
    }

    /// Has every local level forget everything; the entries in Redis stay.
    async fn invalidate_locals(&self) -> Result<(), RedisError> {
        let mut publish = redis::cmd("PUBLISH");
        publish
            .arg(&self.channel)
            .arg(format!("{} {ALL}", self.origin));
        self.redis.command("cache.invalidate", &publish).await
    }

    /// Returns what is known about an entry.
    pub(super) async fn describe(&self, id: &str) -> Result<Option<SharedEntry>, RedisError> {
        let key = self.entry(id);
        let mut ask = redis::pipe();
        ask.cmd("PTTL").arg(&key);
        ask.cmd("HSTRLEN").arg(&key).arg("value");
        ask.cmd("HMGET").arg(&key).arg("packed").arg("marks");
        let (left, bytes, (packed, marks)): (i64, u64, (Option<u8>, Option<String>)) =
            self.redis.pipeline("cache.describe", &ask).await?;
        Ok(marks.map(|marks| SharedEntry {
            left: Duration::from_millis(left.try_into().unwrap_or_default()),
            bytes,
            compressed: packed == Some(1),
            tags: marks
                .lines()
                .filter_map(|mark| mark.strip_prefix("t:"))
                .map(str::to_owned)
                .collect(),
        }))
    }

    pub(super) async fn subscribe(&self) -> Result<Subscription, RedisError> {
        self.redis.subscribe(&self.channel).await
    }

    /// Reads a message of the channel; nothing when it is our own invalidation.
    pub(super) fn read<'a>(&self, message: &'a str) -> Option<News<'a>> {
        let (origin, news) = message.split_once(' ')?;
        match news.strip_prefix("d:") {
            Some(id) => Some(News::Done(id)),
            None => (origin != self.origin).then_some(News::Invalidated(news)),
        }
    }

    fn done(&self, id: &str) -> String {
        format!("{} d:{id}", self.origin)
    }

    fn entry(&self, id: &str) -> String {
        format!("{}:entry:{id}", self.settings.prefix)
    }

    fn lock(&self, id: &str) -> String {
        format!("{}:lock:{id}", self.settings.prefix)
    }

    fn generation(&self, mark: &str) -> String {
        format!("{}:generation:{mark}", self.settings.prefix)
    }
}

/// Makes a name that no generation and no lock had before.
pub(super) fn fresh_name() -> String {
    Uuid::new_v4().simple().to_string()
}

/// Reads the answer of `open.lua`.
fn understand(answer: Vec<Value>) -> Result<Opened, redis::RedisError> {
    let mut parts = answer.into_iter();
    let mut next = || parts.next().unwrap_or(Value::Nil);
    let found: String = from_redis_value(next())?;
    Ok(match found.as_str() {
        "hit" => {
            let value: Vec<u8> = from_redis_value(next())?;
            let packed: u8 = from_redis_value(next())?;
            let left: u64 = from_redis_value(next())?;
            let left = Duration::from_millis(left);
            match unpack(value.into(), packed == 1) {
                Some(value) => Opened::Hit { value, left },
                None => Err((redis::ErrorKind::Parse, "a compressed value is broken"))?,
            }
        }
        "miss" => Opened::Miss(Generations(from_redis_value(next())?)),
        _ => Opened::Busy,
    })
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1)
}

//! What `/api/v1/cache` reads and writes.

use serde::{Deserialize, Serialize};
use sutazai_persistence::{
    cache::{NamespaceStats, SharedEntry, SharedStats, Stats},
    redis::Memory,
};
use utoipa::ToSchema;

use crate::http::input::InputError;

/// Longest tag, namespace or pattern in bytes.
const MAX_NAME: usize = 256;

/// What is to be forgotten: exactly one of the three.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "tag": "models" }))]
pub(crate) struct InvalidateBody {
    /// Every entry with this tag.
    tag: Option<String>,
    /// Every entry of this namespace.
    namespace: Option<String>,
    /// Every entry whose `namespace:key` fits this pattern with `*` and `?`. It looks at every key.
    pattern: Option<String>,
}

/// What is to be forgotten.
pub(super) enum Target {
    Tag(String),
    Namespace(String),
    Pattern(String),
}

/// What was forgotten.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Forgotten {
    /// Entries that Redis had, for a pattern. Nobody counts the entries of a tag or a namespace.
    pub(super) deleted: Option<u64>,
}

/// What the cache did since this process started, and holds.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CacheStats {
    /// `ok`, `local` where no Redis is configured, or `degraded` while Redis is away.
    status: &'static str,
    /// Over all namespaces.
    total: CacheNamespace,
    namespaces: Vec<CacheNamespace>,
    local: CacheLocal,
    /// The level that all replicas share; null where no Redis is configured.
    shared: Option<CacheShared>,
}

/// What the cache did for one namespace, in this process.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CacheNamespace {
    name: String,
    /// Share of look-ups that a level answered; null before the first.
    hit_ratio: Option<f64>,
    /// Share of look-ups that the local level answered.
    local_hit_ratio: Option<f64>,
    /// Share of look-ups that Redis answered, of those that reached it.
    shared_hit_ratio: Option<f64>,
    local_hits: u64,
    shared_hits: u64,
    /// Look-ups that waited for another one's answer.
    joined: u64,
    misses: u64,
    loads: u64,
    failed_loads: u64,
    /// Bytes of its values in the local level.
    local_bytes: u64,
    local_entries: u64,
}

/// The level in the process that answers.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CacheLocal {
    /// Weight in bytes, keys included.
    bytes: u64,
    limit_bytes: u64,
}

/// The level in Redis.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CacheShared {
    /// Host and port.
    address: String,
    /// Whether invalidations of other replicas are heard.
    hears: bool,
    /// Null while Redis does not answer.
    used_bytes: Option<u64>,
    /// 0 is no limit.
    limit_bytes: Option<u64>,
    /// What Redis does when it is full.
    policy: Option<String>,
    /// What is wrong with limit or policy.
    advice: Option<String>,
    /// Invalidations that Redis has not seen yet.
    owed_invalidations: usize,
}

/// An entry, without its value.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CacheEntry {
    /// Bytes of the value in the process that answers; null when it has none.
    local_bytes: Option<usize>,
    /// Bytes of the value in Redis; null when it has none.
    shared_bytes: Option<u64>,
    /// Whether the value in Redis is compressed.
    compressed: bool,
    /// Milliseconds that the entry in Redis has left.
    expires_in_ms: Option<u64>,
    /// Tags that end it, as Redis knows them.
    tags: Vec<String>,
}

impl InvalidateBody {
    pub(super) fn read(self) -> Result<Target, InputError> {
        let (pointer, name, target): (_, _, fn(String) -> Target) =
            match (self.tag, self.namespace, self.pattern) {
                (Some(tag), None, None) => ("/tag", tag, Target::Tag),
                (None, Some(name), None) => ("/namespace", name, Target::Namespace),
                (None, None, Some(pattern)) => ("/pattern", pattern, Target::Pattern),
                _ => {
                    let one = "exactly one of `tag`, `namespace` and `pattern`";
                    return Err(InputError::invalid("", one));
                }
            };
        let plain = !name.chars().any(char::is_control);
        if plain && (1..=MAX_NAME).contains(&name.len()) {
            return Ok(target(name));
        }
        let detail = format!("1 to {MAX_NAME} bytes without control characters");
        Err(InputError::invalid(pointer, detail))
    }
}

impl From<Stats> for CacheStats {
    fn from(stats: Stats) -> Self {
        let namespaces = stats.namespaces.iter().cloned();
        Self {
            status: match &stats.shared {
                None => "local",
                Some(_) if stats.is_degraded() => "degraded",
                Some(_) => "ok",
            },
            total: stats.total().into(),
            namespaces: namespaces.map(CacheNamespace::from).collect(),
            local: CacheLocal {
                bytes: stats.local.bytes,
                limit_bytes: stats.local.limit,
            },
            shared: stats.shared.map(CacheShared::from),
        }
    }
}

impl From<NamespaceStats> for CacheNamespace {
    fn from(stats: NamespaceStats) -> Self {
        Self {
            hit_ratio: stats.hit_ratio(),
            local_hit_ratio: stats.local_hit_ratio(),
            shared_hit_ratio: stats.shared_hit_ratio(),
            name: stats.name,
            local_hits: stats.local_hits,
            shared_hits: stats.shared_hits,
            joined: stats.joined,
            misses: stats.misses,
            loads: stats.loads,
            failed_loads: stats.failed_loads,
            local_bytes: stats.local_bytes,
            local_entries: stats.local_entries,
        }
    }
}

impl From<SharedStats> for CacheShared {
    fn from(stats: SharedStats) -> Self {
        let memory = stats.memory.as_ref();
        Self {
            used_bytes: memory.map(|memory| memory.used),
            limit_bytes: memory.map(|memory| memory.limit),
            policy: memory.map(|memory| memory.policy.clone()),
            advice: memory.and_then(Memory::advice),
            address: stats.address,
            hears: stats.hears,
            owed_invalidations: stats.owed,
        }
    }
}

impl CacheEntry {
    /// Describes what the levels have; none when they have nothing.
    pub(super) fn of(local: Option<usize>, shared: Option<SharedEntry>) -> Option<Self> {
        if local.is_none() && shared.is_none() {
            return None;
        }
        let left = shared.as_ref().map(|entry| entry.left.as_millis());
        Some(Self {
            local_bytes: local,
            shared_bytes: shared.as_ref().map(|entry| entry.bytes),
            compressed: shared.as_ref().is_some_and(|entry| entry.compressed),
            expires_in_ms: left.map(|left| u64::try_from(left).unwrap_or(u64::MAX)),
            tags: shared.map(|entry| entry.tags).unwrap_or_default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn api_12_exactly_one_thing_is_forgotten_at_a_time() {
        let read = |body| {
            serde_json::from_value::<InvalidateBody>(body)
                .unwrap()
                .read()
        };
        assert!(matches!(read(json!({"tag": "a"})), Ok(Target::Tag(tag)) if tag == "a"));
        assert!(read(json!({"pattern": "a*"})).is_ok());
        for body in [
            json!({}),
            json!({"tag": "a", "namespace": "b"}),
            json!({"tag": ""}),
            json!({"tag": "a\nb"}),
        ] {
            assert!(read(body.clone()).is_err(), "{body}");
        }
    }
}

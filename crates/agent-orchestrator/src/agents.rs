//! What an agent says about itself, and which agents are listed.

use std::{str::FromStr, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sutazai_mesh::{
    catalog::ServiceName,
    registry::{Instance, Registry},
};
use sutazai_persistence::Cache;
use sutazai_proto::{Violation, agents::v1::AnnounceRequest};
use sutazai_resilience::Deadline;

use crate::{Error, store::Store};

/// Longest description, in bytes.
const DESCRIPTION_LIMIT: usize = 512;
/// Most task types of one agent.
const CAPABILITIES_LIMIT: usize = 64;
/// Most tasks that one instance may say it runs at once.
const SLOTS_LIMIT: u32 = 1024;

/// Longest time until the registry has said for the first time who is there.
const FIRST_LOOK: Duration = Duration::from_secs(1);

/// Tag of cached answers that list agents.
const LISTED: &str = "agents";

/// A checked announcement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Announcement {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) description: String,
    pub(crate) capabilities: Vec<Capability>,
    pub(crate) slots: i32,
}

/// A task type that an agent serves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Capability {
    pub(crate) task_type: String,
    pub(crate) description: String,
}

/// An agent as it announced itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Agent {
    pub(crate) announcement: Announcement,
    pub(crate) announced_at: DateTime<Utc>,
}

/// The agents of the platform.
#[derive(Clone)]
pub(crate) struct Agents {
    store: Store,
    registry: Arc<dyn Registry>,
    cache: Cache,
}

impl Agents {
    pub(crate) fn new(store: Store, registry: Arc<dyn Registry>, cache: Cache) -> Self {
        Self {
            store,
            registry,
            cache,
        }
    }

    /// Records what an agent can do; a later announcement replaces an earlier one.
    pub(crate) async fn announce(&self, announcement: &Announcement) -> Result<(), Error> {
        self.store.upsert(announcement).await?;
        tracing::info!(agent = announcement.name, "agent announced itself");
        if let Err(error) = self.cache.invalidate_tag(LISTED).await {
            // Cached lists live for seconds, and the cache repeats it.
            tracing::warn!(%error, "cached lists of agents are not invalidated yet");
        }
        Ok(())
    }

    /// Lists the agents with live instances.
    pub(crate) async fn live(&self) -> Result<Vec<(Agent, Arc<[Instance]>)>, Error> {
        let agents = self.store.list().await?;
        let deadline = Deadline::after(FIRST_LOOK);
        let mut live = Vec::new();
        for agent in agents {
            let instances = self.instances(&agent.announcement.name, deadline).await;
            if !instances.is_empty() {
                live.push((agent, instances));
            }
        }
        Ok(live)
    }

    /// Returns one agent, live or not.
    pub(crate) async fn get(&self, name: &str) -> Result<(Agent, Arc<[Instance]>), Error> {
        let agent = self.store.find(name).await?;
        let agent = agent.ok_or_else(|| Error::NotFound(name.to_owned()))?;
        let deadline = Deadline::after(FIRST_LOOK);
        let instances = self.instances(name, deadline).await;
        Ok((agent, instances))
    }

    /// An agent whose name the catalogue lacks has no instance that could be found.
    async fn instances(&self, name: &str, deadline: Deadline) -> Arc<[Instance]> {
        match ServiceName::from_str(name) {
            Ok(service) => self.registry.watch(service).known(deadline).await,
            Err(_) => Arc::new([]),
        }
    }
}

impl Announcement {
    /// Checks what an agent said; all faults are named at once.
    pub(crate) fn parse(request: AnnounceRequest) -> Result<Self, Error> {
        let mut violations = Vec::new();
        let mut rule = |holds: bool, field: String, description: &str| {
            if !holds {
                violations.push(Violation {
                    field,
                    description: description.to_owned(),
                });
            }
        };
        rule(
            is_name(&request.name),
            "/name".into(),
            "1 to 63 lower-case letters, digits and hyphens",
        );
        rule(
            !request.version.is_empty() && request.version.len() <= 64,
            "/version".into(),
            "1 to 64 bytes",
        );
        rule(
            request.description.len() <= DESCRIPTION_LIMIT,
            "/description".into(),
            "at most 512 bytes",
        );
        rule(
            (1..=SLOTS_LIMIT).contains(&request.slots),
            "/slots".into(),
            "from 1 to 1024",
        );
        rule(
            (1..=CAPABILITIES_LIMIT).contains(&request.capabilities.len()),
            "/capabilities".into(),
            "from 1 to 64",
        );
        for (i, capability) in request.capabilities.iter().enumerate() {
            rule(
                is_task_type(&capability.task_type),
                format!("/capabilities/{i}/task_type"),
                "dotted lower-case words, at most 63 bytes",
            );
            rule(
                capability.description.len() <= DESCRIPTION_LIMIT,
                format!("/capabilities/{i}/description"),
                "at most 512 bytes",
            );
        }
        let slots = i32::try_from(request.slots).unwrap_or(i32::MAX);
        if !violations.is_empty() {
            return Err(Error::Invalid(violations));
        }
        let capabilities = request
            .capabilities
            .into_iter()
            .map(|capability| Capability {
                task_type: capability.task_type,
                description: capability.description,
            });
        Ok(Self {
            name: request.name,
            version: request.version,
            description: request.description,
            capabilities: capabilities.collect(),
            slots,
        })
    }
}

/// A DNS label (RFC 1123), because a name is a host name in the registry.
fn is_name(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=63).contains(&text.len())
        && text.bytes().all(plain)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

fn is_task_type(text: &str) -> bool {
    let word = |word: &str| {
        !word.is_empty()
            && word
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
    };
    text.len() <= 63 && text.split('.').all(word)
}

#[cfg(test)]
mod tests;

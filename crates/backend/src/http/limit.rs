//! How often a principal may ask: one quota for each class of routes, shared by all replicas.

use std::time::Duration;

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderName, HeaderValue};
use sutazai_auth::{Permission, Principal};
use sutazai_mesh::registry::Watch;
use sutazai_persistence::limit::{Limiter, Quota, Verdict};

use super::problem::Failure;
use crate::error::Error;

/// Header fields of draft-ietf-httpapi-ratelimit-headers.
const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const LEFT: HeaderName = HeaderName::from_static("ratelimit");
const MINUTE: Duration = Duration::from_secs(60);
/// A tenth of a minute's requests may come at once.
const BURST: u32 = 10;

/// Requests that one principal may make in a minute, by class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rates {
    /// Questions to a model.
    pub chat: u32,
    /// What only reads.
    pub read: u32,
    /// Everything else.
    pub write: u32,
}

impl Default for Rates {
    /// Far above what a person or a busy program does, far below what hurts others.
    fn default() -> Self {
        Self {
            chat: 6_000,
            read: 60_000,
            write: 30_000,
        }
    }
}

/// Counts requests by principal and class.
#[derive(Clone)]
pub(crate) struct Limits {
    limiter: Limiter,
    rates: Rates,
    /// The replicas of this service, who share a quota when Redis is away.
    replicas: Watch,
}

/// A class of routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Chat,
    Read,
    Write,
}

/// The limits as one class of routes sees them.
#[derive(Clone)]
pub(super) struct ClassLimits {
    limits: Limits,
    class: Class,
}

impl Limits {
    pub(crate) fn new(limiter: Limiter, rates: Rates, replicas: Watch) -> Self {
        Self {
            limiter,
            rates,
            replicas,
        }
    }

    /// Returns the limits of routes that need this permission, or only a credential.
    pub(super) fn of(&self, permission: Option<Permission>) -> ClassLimits {
        ClassLimits {
            limits: self.clone(),
            class: Class::of(permission),
        }
    }

    fn quota(&self, class: Class) -> Quota {
        let requests = match class {
            Class::Chat => self.rates.chat,
            Class::Read => self.rates.read,
            Class::Write => self.rates.write,
        };
        Quota {
            requests,
            window: MINUTE,
            burst: (requests / BURST).max(1),
        }
    }
}

impl Class {
    fn of(permission: Option<Permission>) -> Self {
        match permission {
            Some(Permission::ChatUse) => Self::Chat,
            Some(one) if !one.as_str().ends_with(":read") => Self::Write,
            _ => Self::Read,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Read => "read",
            Self::Write => "write",
        }
    }
}

/// Lets a request pass that is within its principal's quota; stands behind the guard.
pub(super) async fn enforce(
    State(ClassLimits { limits, class }): State<ClassLimits>,
    request: Request,
    next: Next,
) -> Response {
    // Absent only outside the guard, where the handler lets nobody in.
    let Some(Principal {
        tenant, subject, ..
    }) = request.extensions().get::<Principal>()
    else {
        return next.run(request).await;
    };
    let who = format!("{}:{tenant}:{subject}", class.as_str());
    let quota = limits.quota(class);
    let replicas = limits.replicas.current().len();
    let verdict = limits.limiter.take(&who, quota, replicas).await;
    let mut response = if verdict.allowed {
        next.run(request).await
    } else {
        let retry_after = verdict.retry_after;
        Failure::from(Error::RateLimited { retry_after }).into_response()
    };
    describe(response.headers_mut(), class, quota, verdict);
    response
}

/// Says how much is allowed and how much is left.
fn describe(headers: &mut HeaderMap, class: Class, quota: Quota, verdict: Verdict) {
    let name = class.as_str();
    let seconds = |time: Duration| time.as_secs() + u64::from(time.subsec_nanos() > 0);
    let reset = if verdict.allowed {
        verdict.reset_after
    } else {
        verdict.retry_after
    };
    let window = quota.window.as_secs();
    let policy = format!("\"{name}\";q={};w={window}", quota.requests);
    let left = format!("\"{name}\";r={};t={}", verdict.remaining, seconds(reset));
    for (field, text) in [(POLICY, policy), (LEFT, left)] {
        if let Ok(value) = HeaderValue::from_str(&text) {
            headers.insert(field, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_have_the_class_of_what_they_allow() {
        for (permission, class) in [
            (Some(Permission::ChatUse), Class::Chat),
            (Some(Permission::TasksRead), Class::Read),
            (Some(Permission::TasksWrite), Class::Write),
            (Some(Permission::KeysManage), Class::Write),
            (None, Class::Read),
        ] {
            assert_eq!(Class::of(permission), class, "{permission:?}");
        }
    }

    #[test]
    fn the_fields_are_structured_and_round_up() {
        let mut headers = HeaderMap::new();
        let quota = Quota {
            requests: 600,
            window: MINUTE,
            burst: 60,
        };
        let verdict = Verdict {
            allowed: false,
            remaining: 0,
            retry_after: Duration::from_millis(1_001),
            reset_after: Duration::from_secs(6),
            shared: true,
        };
        describe(&mut headers, Class::Chat, quota, verdict);
        assert_eq!(headers[POLICY], "\"chat\";q=600;w=60");
        assert_eq!(headers[LEFT], "\"chat\";r=0;t=2");
    }
}

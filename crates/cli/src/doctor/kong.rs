//! Kong in front of the platform, where there is one.

use std::time::Instant;

use http::StatusCode;
use sutazai_mesh::http::HttpClient;
use sutazai_proto::status::chain;
use sutazai_resilience::{Breakers, Deadline};

use super::report::Row;
use crate::{
    gateway::admin::{self, Admin},
    site::Description,
};

/// Name of the row.
pub(super) const NAME: &str = "kong";
/// Kong's admin API on this machine.
const DOCUMENTED_ADMIN: &str = "http://127.0.0.1:10015";
/// Kong's door for clients on this machine.
const DOCUMENTED_PROXY: &str = "http://127.0.0.1:10005";
/// The public API on this machine, where a Kong on the documented ports stands before it.
const DOCUMENTED_API: &str = "http://127.0.0.1:10010";
/// A path that needs no credential, and whose answer comes from the backend.
const PATH: &str = "/health";

/// Where a Kong is, if there is one.
#[derive(Clone, Debug, Default)]
pub struct Kong {
    /// Its admin API; without one, a Kong on the documented ports is looked for.
    pub admin: Option<String>,
    /// Its door for clients; the documented one when absent.
    pub proxy: Option<String>,
}

impl Kong {
    /// Judges whether a route answers through Kong.
    pub(super) async fn row(&self, description: &Description) -> Row {
        let own = description.gateway.as_ref();
        // On other ports than the documented ones, a Kong that is found there fronts somebody else.
        let address = match (&self.admin, own) {
            (Some(admin), _) => admin,
            (None, Some(own)) => &own.admin,
            (None, None) if description.api == DOCUMENTED_API => DOCUMENTED_ADMIN,
            (None, None) => return Row::not_run(NAME, "no kong: KONG_ADMIN_URL names none"),
        };
        let own = own.filter(|own| own.admin == *address);
        let proxy = self.proxy.as_deref().or(own.map(|own| own.proxy.as_str()));
        let proxy = proxy.unwrap_or(DOCUMENTED_PROXY);
        let http = match HttpClient::external(admin::PATIENCE) {
            Ok(http) => http,
            Err(error) => return Row::bad(NAME, chain(&error)),
        };
        let admin = Admin::new(address, http, &Breakers::new());
        match evidence(&admin, proxy).await {
            Ok(evidence) => Row::good(NAME, evidence),
            Err(Miss::Away(cause)) if self.admin.is_none() && own.is_none() => Row::not_run(
                NAME,
                format!("no kong: KONG_ADMIN_URL names none, and {cause}"),
            ),
            Err(Miss::Away(cause) | Miss::Unwell(cause)) => Row::bad(NAME, cause),
        }
    }
}

async fn evidence(admin: &Admin, proxy: &str) -> Result<String, Miss> {
    let loaded = admin.loaded().await.map_err(|error| match error {
        admin::Error::Unreachable { .. } => Miss::Away(chain(&error)),
        other => Miss::Unwell(chain(&other)),
    })?;
    let document = loaded
        .document()
        .map_err(|error| Miss::Unwell(chain(&error)))?;
    let routes = document["routes"].as_array().map_or(0, Vec::len);
    if routes == 0 {
        let cause = "no route is loaded: `sutazai gateway apply` loads them";
        return Err(Miss::Unwell(cause.to_owned()));
    }
    let url = format!("{}{PATH}", proxy.trim_end_matches('/'));
    let begun = Instant::now();
    let answer = admin.ask(&url, Deadline::after(admin::PATIENCE)).await;
    let status = answer.map_err(|error| Miss::Unwell(format!("{url}: {}", chain(&error))))?;
    if status != StatusCode::OK {
        return Err(Miss::Unwell(format!("{url} answers {status}")));
    }
    let took = begun.elapsed().as_millis();
    Ok(format!(
        "{routes} routes are loaded, and {url} answered {status} after {took} ms"
    ))
}

/// Why no route answers.
enum Miss {
    /// Nobody is there.
    Away(String),
    /// Somebody is, and does not do its work.
    Unwell(String),
}

//! Requests that consulrs lacks or has with types that Consul's answers do not fit.

use std::collections::HashMap;

use consulrs::api::features::{Blocking, FeaturedEndpoint, Features};
use rustify::{
    endpoint::Endpoint,
    enums::{RequestMethod, RequestType, ResponseType},
    errors::ClientError,
};
use serde::Deserialize;

/// The passing instances of a service, over the whole cluster.
pub(super) struct PassingInstances {
    pub(super) service: String,
    /// Answer only when the index is beyond this one, or `wait` is over.
    pub(super) beyond: Option<u64>,
    /// As Consul reads it, for example `55s`.
    pub(super) wait: String,
}

/// The instances of a service over the whole cluster, whatever their checks say.
pub(super) struct EnteredInstances {
    pub(super) service: String,
}

/// One service instance of the agent that is asked.
pub(super) struct AgentService {
    pub(super) id: String,
}

/// The address of the leader, empty while there is none.
pub(super) struct Leader;

/// One instance of a service on its node.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Entry {
    pub(super) node: Node,
    pub(super) service: Service,
}

/// The node of an instance.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Node {
    pub(super) address: String,
}

/// An instance as it was registered.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Service {
    #[serde(rename = "ID")]
    pub(super) id: String,
    /// Empty when the instance listens where its node does.
    #[serde(default)]
    pub(super) address: String,
    /// Left out where the instance has none.
    #[serde(default)]
    pub(super) port: u16,
    /// Absent and null mean none.
    #[serde(default)]
    pub(super) meta: Option<HashMap<String, String>>,
}

impl Endpoint for PassingInstances {
    type Response = Vec<Entry>;
    const REQUEST_BODY_TYPE: RequestType = RequestType::JSON;
    const RESPONSE_BODY_TYPE: ResponseType = ResponseType::JSON;

    fn path(&self) -> String {
        format!("health/service/{}", self.service)
    }

    fn method(&self) -> RequestMethod {
        RequestMethod::GET
    }

    fn query(&self) -> Result<Option<String>, ClientError> {
        Ok(Some("passing=true".to_owned()))
    }
}

impl FeaturedEndpoint for PassingInstances {
    fn features(&self) -> Option<Features> {
        let index = self.beyond?;
        Some(Features {
            blocking: Some(Blocking {
                index,
                wait: Some(self.wait.clone()),
            }),
            ..Features::default()
        })
    }
}

impl Endpoint for EnteredInstances {
    type Response = Vec<Entry>;
    const REQUEST_BODY_TYPE: RequestType = RequestType::JSON;
    const RESPONSE_BODY_TYPE: ResponseType = ResponseType::JSON;

    fn path(&self) -> String {
        format!("health/service/{}", self.service)
    }

    fn method(&self) -> RequestMethod {
        RequestMethod::GET
    }
}

impl FeaturedEndpoint for EnteredInstances {
    fn features(&self) -> Option<Features> {
        None
    }
}

impl Endpoint for AgentService {
    type Response = Service;
    const REQUEST_BODY_TYPE: RequestType = RequestType::JSON;
    const RESPONSE_BODY_TYPE: ResponseType = ResponseType::JSON;

    fn path(&self) -> String {
        format!("agent/service/{}", self.id)
    }

    fn method(&self) -> RequestMethod {
        RequestMethod::GET
    }
}

impl FeaturedEndpoint for AgentService {
    fn features(&self) -> Option<Features> {
        None
    }
}

impl Endpoint for Leader {
    type Response = String;
    const REQUEST_BODY_TYPE: RequestType = RequestType::JSON;
    const RESPONSE_BODY_TYPE: ResponseType = ResponseType::JSON;

    fn path(&self) -> String {
        "status/leader".to_owned()
    }

    fn method(&self) -> RequestMethod {
        RequestMethod::GET
    }
}

impl FeaturedEndpoint for Leader {
    fn features(&self) -> Option<Features> {
        None
    }
}

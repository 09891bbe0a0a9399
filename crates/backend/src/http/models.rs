//! `/api/v1/models`: the models of all nodes.

use std::{sync::Arc, time::Duration};

use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sutazai_auth::http::Authenticated;
use sutazai_mesh::catalog::ServiceName;
use sutazai_persistence::{Cache, cache::Namespace};
use sutazai_proto::inference::v1::{
    ListModelsRequest, ListModelsResponse, Model, inference_client::InferenceClient,
};
use utoipa::ToSchema;

use super::{problem::Failure, time::instant};
use crate::{error::Error, peers::Peers};

/// Lists of models. They say what is loaded now, so they live for two seconds.
const MODELS: Namespace = Namespace::new("models", Duration::from_secs(2));

/// What the handler needs.
#[derive(Clone)]
pub(crate) struct Access {
    pub(super) peers: Peers,
    pub(super) cache: Cache,
}

/// The models of the fleet.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct ModelList {
    items: Vec<ModelItem>,
    /// The model that answers requests that name none; null when the fleet has no model.
    default_model: Option<String>,
}

/// A model, merged over the nodes that hold it.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct ModelItem {
    /// Name with tag, for example `tinyllama:latest`.
    name: String,
    /// Whether this model answers requests that name none.
    default: bool,
    /// Whether a node has it in memory now.
    loaded: bool,
    /// Nodes that have it in memory now.
    loaded_on: Vec<String>,
    /// Nodes that hold it.
    nodes: Vec<String>,
    /// SHA-256 of the manifest, hexadecimal.
    digest: String,
    /// Bytes on disk.
    size_bytes: u64,
    family: String,
    /// For example `7B`; empty when the node does not say.
    parameter_size: String,
    quantization: String,
    modified_at: Option<DateTime<Utc>>,
}

/// Lists the models of all live nodes, merged by name, with what is loaded where.
#[utoipa::path(
    get,
    path = "/api/v1/models",
    operation_id = "list_models",
    tag = "models",
    responses((status = 200, description = "The models", body = ModelList)),
)]
pub(super) async fn list(
    State(Access { peers, cache }): State<Access>,
    Authenticated(principal): Authenticated,
) -> Result<axum::Json<ModelList>, Failure> {
    let load = || async move {
        let found = peers.call(
            ServiceName::OllamaProxy,
            &principal,
            ListModelsRequest {},
            async |channel, request| InferenceClient::new(channel).list_models(request).await,
        );
        found.await.map(ModelList::from).map_err(Arc::new)
    };
    let key = MODELS.key("all").tag("models");
    let found = cache.get_or_load(&key, load).await.map_err(Error::from)?;
    Ok(axum::Json(found.value))
}

impl From<ListModelsResponse> for ModelList {
    fn from(found: ListModelsResponse) -> Self {
        let default_model = Some(found.default_model).filter(|name| !name.is_empty());
        let items = found.models.into_iter().map(|model| {
            let default = default_model.as_ref() == Some(&model.name);
            ModelItem::of(model, default)
        });
        Self {
            items: items.collect(),
            default_model,
        }
    }
}

impl ModelItem {
    fn of(model: Model, default: bool) -> Self {
        Self {
            default,
            loaded: !model.loaded_on.is_empty(),
            name: model.name,
            loaded_on: model.loaded_on,
            nodes: model.nodes,
            digest: model.digest,
            size_bytes: model.size_bytes,
            family: model.family,
            parameter_size: model.parameter_size,
            quantization: model.quantization,
            modified_at: instant(model.modified_at),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn api_06_the_default_and_the_loaded_model_are_marked() {
        let model = |name: &str, loaded: &[&str]| Model {
            name: name.to_owned(),
            loaded_on: loaded.iter().map(ToString::to_string).collect(),
            ..Model::default()
        };
        let list = ModelList::from(ListModelsResponse {
            models: vec![model("a:1", &[]), model("b:1", &["node-1"])],
            default_model: "b:1".to_owned(),
        });
        let marks: Vec<_> = list
            .items
            .iter()
            .map(|item| (item.default, item.loaded))
            .collect();
        assert_eq!(marks, [(false, false), (true, true)]);
    }

    #[test]
    fn a_fleet_without_models_has_no_default() {
        assert_eq!(
            ModelList::from(ListModelsResponse::default()).default_model,
            None
        );
    }
}

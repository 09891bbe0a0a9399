//! `inference.v1.Inference` over the fleet.

use std::{pin::Pin, sync::Arc};

use chrono::DateTime;
use futures::{Stream, stream};
use prost_types::Timestamp;
use sutazai_auth::grpc;
use sutazai_proto::inference::v1::{
    ChatRequest, ChatResponse, Delta, Finished, ListModelsRequest, ListModelsResponse,
    ListNodesRequest, ListNodesResponse, Model, Node, Opened, Usage, chat_response,
    inference_server::Inference,
};
use sutazai_resilience::Deadline;
use tonic::{Request, Response, Status};

use crate::{
    chat::{Answer, Answers, Ending, Event, Order},
    fleet::{Fleet, ModelView, NodeView},
};

/// Answers `inference.v1.Inference`.
pub(crate) struct Grpc {
    pub(crate) fleet: Arc<Fleet>,
    pub(crate) answers: Answers,
}

#[tonic::async_trait]
impl Inference for Grpc {
    type ChatStream = Pin<Box<dyn Stream<Item = Result<ChatResponse, Status>> + Send>>;

    async fn chat(
        &self,
        request: Request<ChatRequest>,
    ) -> Result<Response<Self::ChatStream>, Status> {
        let deadline = request.extensions().get::<Deadline>().copied();
        let tenant = grpc::caller(&request)?
            .principal
            .map(|principal| principal.tenant)
            .unwrap_or_default();
        let order = Order::try_from(request.into_inner())?;
        let answer = self.answers.open(&order, &tenant, deadline).await?;
        let opened = opened(&answer);
        let rest = stream::try_unfold(answer, |mut answer| async move {
            let next = next(&mut answer).await?;
            Ok(next.map(|response| (response, answer)))
        });
        Ok(Response::new(Box::pin(futures::StreamExt::chain(
            stream::iter([Ok(opened)]),
            rest,
        ))))
    }

    async fn list_models(
        &self,
        _request: Request<ListModelsRequest>,
    ) -> Result<Response<ListModelsResponse>, Status> {
        let models = self.fleet.models().await.into_iter().map(model).collect();
        let default_model = self
            .fleet
            .default_model()
            .as_deref()
            .unwrap_or_default()
            .to_owned();
        Ok(Response::new(ListModelsResponse {
            models,
            default_model,
        }))
    }

    async fn list_nodes(
        &self,
        _request: Request<ListNodesRequest>,
    ) -> Result<Response<ListNodesResponse>, Status> {
        Ok(Response::new(ListNodesResponse {
            nodes: self.fleet.nodes().into_iter().map(node).collect(),
            queued: count(self.fleet.queued()),
            queue_limit: count(self.fleet.queue_limit()),
        }))
    }
}

/// Returns the next message of the stream; tokens outside the text have none.
async fn next(answer: &mut Answer) -> Result<Option<ChatResponse>, Status> {
    while let Some(event) = answer.next().await? {
        match event {
            Event::Delta(content) => {
                return Ok(Some(response(chat_response::Event::Delta(Delta {
                    content,
                }))));
            }
            Event::Thought => {}
            Event::Finished(ending) => {
                return Ok(Some(response(chat_response::Event::Finished(finished(
                    ending,
                )))));
            }
        }
    }
    Ok(None)
}

fn response(event: chat_response::Event) -> ChatResponse {
    ChatResponse { event: Some(event) }
}

fn opened(answer: &Answer) -> ChatResponse {
    response(chat_response::Event::Opened(Opened {
        model: answer.model.to_string(),
        node: answer.node.to_string(),
        cached: answer.cached,
    }))
}

fn finished(ending: Ending) -> Finished {
    Finished {
        reason: ending.reason,
        usage: Some(Usage {
            prompt_tokens: ending.prompt_tokens,
            completion_tokens: ending.completion_tokens,
            total_duration_ns: u64::try_from(ending.duration.as_nanos()).unwrap_or(u64::MAX),
        }),
    }
}

fn model(view: ModelView) -> Model {
    let ModelView {
        entry,
        nodes,
        loaded_on,
        ..
    } = view;
    Model {
        modified_at: timestamp(&entry.modified_at),
        name: entry.name.to_string(),
        digest: entry.digest,
        size_bytes: entry.size,
        family: entry.details.family,
        parameter_size: entry.details.parameter_size,
        quantization: entry.details.quantization_level,
        nodes,
        loaded_on,
    }
}

fn node(view: NodeView) -> Node {
    Node {
        name: view.name,
        url: view.url,
        live: view.live,
        version: view.version,
        in_flight: count(view.in_flight),
        slots: count(view.slots),
        last_error: view.last_error.unwrap_or_default(),
        demo: view.demo,
    }
}

fn timestamp(rfc3339: &str) -> Option<Timestamp> {
    let time = DateTime::parse_from_rfc3339(rfc3339).ok()?;
    let nanos = i32::try_from(time.timestamp_subsec_nanos()).ok()?;
    Some(Timestamp {
        seconds: time.timestamp(),
        nanos,
    })
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

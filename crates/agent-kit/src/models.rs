//! The model fleet, as an agent asks it on behalf of its task.

use serde::Serialize;
use sutazai_auth::identity::Identity;
use sutazai_mesh::{catalog::ServiceName, channel::Mesh};
use sutazai_proto::ErrorCode;
use sutazai_proto::inference::v1::{
    ChatRequest, ChatResponse, Usage, chat_response::Event, inference_client::InferenceClient,
};
use tokio_stream::{Stream, StreamExt};
use tonic::Status;

use crate::{Failure, Progress, TaskContext, agent::PAYLOAD_LIMIT};

const TO: ServiceName = ServiceName::OllamaProxy;

/// Asks models through ollama-proxy.
#[derive(Clone)]
pub struct Models {
    mesh: Mesh,
    identity: Identity,
}

/// A whole answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// What the model said.
    pub text: String,
    /// Resolved name of the model.
    pub model: String,
    /// The node that answered.
    pub node: String,
    /// `stop` or `length`.
    pub reason: String,
    /// What it cost.
    pub usage: Usage,
}

/// A piece of an answer as a progress report; a gap before `offset` shows that reports were lost.
#[derive(Debug, Serialize)]
struct Piece<'a> {
    /// Bytes of the answer before `delta`.
    offset: usize,
    delta: &'a str,
}

impl Models {
    /// Makes a client.
    pub fn new(mesh: Mesh, identity: Identity) -> Self {
        Self { mesh, identity }
    }

    /// Asks on behalf of the task's principal and collects the answer.
    ///
    /// # Errors
    /// Fails as ollama-proxy does, or when the answer ends too early or is larger than a result
    /// may be.
    pub async fn ask(&self, task: &TaskContext, request: ChatRequest) -> Result<Answer, Failure> {
        self.chat(task, request, &Progress::silent()).await
    }

    /// Does as [`ask`](Self::ask) does, and reports the answer as it grows.
    ///
    /// # Errors
    /// As [`ask`](Self::ask).
    pub async fn stream(
        &self,
        task: &TaskContext,
        request: ChatRequest,
    ) -> Result<Answer, Failure> {
        self.chat(task, request, &task.progress).await
    }

    async fn chat(
        &self,
        task: &TaskContext,
        request: ChatRequest,
        progress: &Progress,
    ) -> Result<Answer, Failure> {
        let principal = Some(&task.principal);
        let request = self
            .identity
            .request(TO, principal, task.deadline, request)?;
        let mut client = InferenceClient::new(self.mesh.channel(TO));
        let events = client.chat(request).await?.into_inner();
        collect(events, progress).await
    }
}

/// Puts an answer together.
async fn collect(
    mut events: impl Stream<Item = Result<ChatResponse, Status>> + Unpin,
    progress: &Progress,
) -> Result<Answer, Failure> {
    let mut answer = Answer::default();
    let mut reported = 0;
    while let Some(response) = events.next().await {
        match response?.event {
            Some(Event::Opened(opened)) => {
                answer.model = opened.model;
                answer.node = opened.node;
            }
            Some(Event::Delta(delta)) => {
                answer.text.push_str(&delta.content);
                if answer.text.len() > PAYLOAD_LIMIT {
                    let message = format!("the answer is larger than {PAYLOAD_LIMIT} bytes");
                    return Err(Failure::new(
                        ErrorCode::TooLarge,
                        "result_too_large",
                        message,
                    ));
                }
                let piece = Piece {
                    offset: reported,
                    delta: answer.text.get(reported..).unwrap_or_default(),
                };
                if progress.report(&piece) {
                    reported = answer.text.len();
                }
            }
            Some(Event::Finished(finished)) => {
                answer.reason = finished.reason;
                answer.usage = finished.usage.unwrap_or_default();
                return Ok(answer);
            }
            // An event of a newer proxy.
            None => {}
        }
    }
    let message = "the answer ended before it was finished";
    Err(Failure::new(ErrorCode::BadUpstream, "answer_cut", message))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use sutazai_proto::inference::v1::{Delta, Finished, Opened};
    use tokio::sync::mpsc;

    use super::*;

    const fn event(event: Event) -> ChatResponse {
        ChatResponse { event: Some(event) }
    }

    fn opened() -> ChatResponse {
        event(Event::Opened(Opened {
            model: "tinyllama:latest".to_owned(),
            node: "node-1".to_owned(),
            cached: false,
        }))
    }

    fn delta(content: &str) -> ChatResponse {
        event(Event::Delta(Delta {
            content: content.to_owned(),
        }))
    }

    fn finished() -> ChatResponse {
        event(Event::Finished(Finished {
            reason: "stop".to_owned(),
            usage: None,
        }))
    }

    async fn collected(events: Vec<ChatResponse>, end: Option<Status>) -> Result<Answer, Failure> {
        let events = events.into_iter().map(Ok).chain(end.map(Err));
        collect(tokio_stream::iter(events), &Progress::silent()).await
    }

    #[tokio::test]
    async fn an_answer_is_put_together() {
        let events = vec![opened(), delta("hel"), delta("lo"), finished()];
        let answer = collected(events, None).await.unwrap();
        assert_eq!(
            (answer.text.as_str(), answer.node.as_str()),
            ("hello", "node-1")
        );
        assert_eq!(
            (answer.model.as_str(), answer.reason.as_str()),
            ("tinyllama:latest", "stop")
        );
    }

    #[tokio::test]
    async fn llm_02_half_an_answer_is_a_failure() {
        let half = || vec![opened(), delta("hel")];
        let cut = collected(half(), None).await.unwrap_err();
        assert_eq!((cut.reason.as_str(), cut.retryable), ("answer_cut", true));
        let gone = Status::unavailable("node gone");
        let broken = collected(half(), Some(gone)).await.unwrap_err();
        assert_eq!(
            (broken.code, broken.retryable),
            (ErrorCode::Unavailable, true)
        );
    }

    #[tokio::test]
    async fn an_endless_answer_is_cut_off() {
        let events = std::iter::repeat_with(|| Ok(delta(&"x".repeat(1000))));
        let error = collect(tokio_stream::iter(events), &Progress::silent())
            .await
            .unwrap_err();
        assert_eq!(
            (error.reason.as_str(), error.retryable),
            ("result_too_large", false)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn progress_shows_where_each_piece_belongs() {
        let (queue, mut reports) = mpsc::channel(8);
        let progress = Progress::new("t", queue);
        progress.assign(1);
        let events =
            tokio_stream::iter([opened(), delta("a"), delta("b"), delta("c"), finished()].map(Ok));
        let events = std::pin::pin!(events.throttle(Duration::from_millis(60)));
        collect(events, &progress).await.unwrap();
        drop(progress);
        let mut pieces = Vec::new();
        while let Some(report) = reports.recv().await {
            pieces.push(String::from_utf8(report.data.unwrap().data.to_vec()).unwrap());
        }
        assert_eq!(
            pieces,
            [
                r#"{"offset":0,"delta":"a"}"#,
                r#"{"offset":1,"delta":"bc"}"#
            ]
        );
    }
}

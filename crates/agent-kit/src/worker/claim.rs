//! Claims of many deliveries in one call.

use std::collections::HashMap;

use sutazai_proto::tasks::v1::{ClaimResponse, Refusal, claim_result};
use sutazai_resilience::batch::Batches;
use tokio::sync::{mpsc, oneshot};

use super::coordinator::Coordinator;

/// Most tasks in one call.
const BATCH: usize = 128;

/// One delivery that waits for its claim.
#[derive(Debug)]
pub(crate) struct Claim {
    pub(crate) task_id: String,
    pub(crate) answer: oneshot::Sender<Claimed>,
}

/// What became of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claimed {
    /// This attempt is ours, and so is its lease.
    Granted(u32),
    /// The delivery is to be dropped.
    Refused(Refusal),
    /// The coordinator did not answer: nothing is known.
    Unanswered,
}

/// Serves claims until every sender is gone.
pub(crate) async fn serve(claims: mpsc::Receiver<Claim>, coordinator: Coordinator) {
    let mut batches = Batches::new(claims, BATCH);
    while let Some(batch) = batches.next().await {
        let response = match coordinator.claim(distinct(&batch)).await {
            Ok(response) => response,
            Err(error) => {
                tracing::warn!(error = %error, tasks = batch.len(), "claim was not answered");
                ClaimResponse::default()
            }
        };
        settle(batch, &response);
    }
}

fn distinct(batch: &[Claim]) -> Vec<String> {
    let mut ids: Vec<String> = batch.iter().map(|claim| claim.task_id.clone()).collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

/// Hands each claim its part of the answer.
///
/// Of two deliveries of one task only one gets the grant: the other one is a repetition.
fn settle(batch: Vec<Claim>, response: &ClaimResponse) {
    let mut outcomes: HashMap<&str, Claimed> = response
        .results
        .iter()
        .filter_map(|result| {
            let outcome = match result.outcome? {
                claim_result::Outcome::Granted(grant) => Claimed::Granted(grant.attempt),
                claim_result::Outcome::Refused(refusal) => {
                    Claimed::Refused(Refusal::try_from(refusal).unwrap_or_default())
                }
            };
            Some((result.task_id.as_str(), outcome))
        })
        .collect();
    for claim in batch {
        let outcome = match outcomes.get_mut(claim.task_id.as_str()) {
            Some(granted @ Claimed::Granted(_)) => {
                std::mem::replace(granted, Claimed::Refused(Refusal::Held))
            }
            Some(refused) => *refused,
            None => Claimed::Unanswered,
        };
        // Who no longer waits has given the delivery back.
        let _ = claim.answer.send(outcome);
    }
}

#[cfg(test)]
mod tests {
    use sutazai_proto::tasks::v1::{ClaimResult, Grant};

    use super::*;

    #[test]
    fn each_claim_gets_its_own_answer_in_any_order() {
        let result = |task_id: &str, outcome| ClaimResult {
            task_id: task_id.to_owned(),
            outcome: Some(outcome),
        };
        let response = ClaimResponse {
            results: vec![
                result("b", claim_result::Outcome::Refused(Refusal::Early.into())),
                result(
                    "a",
                    claim_result::Outcome::Granted(Grant {
                        attempt: 4,
                        lease: None,
                    }),
                ),
            ],
        };
        let (batch, answers): (Vec<_>, Vec<_>) = ["a", "b", "a", "c"]
            .into_iter()
            .map(|task_id| {
                let (answer, receiver) = oneshot::channel();
                let task_id = task_id.to_owned();
                (Claim { task_id, answer }, receiver)
            })
            .unzip();
        assert_eq!(distinct(&batch), ["a", "b", "c"]);
        settle(batch, &response);
        let answers: Vec<Claimed> = answers
            .into_iter()
            .map(|mut answer| answer.try_recv().unwrap())
            .collect();
        let expected = [
            Claimed::Granted(4),
            Claimed::Refused(Refusal::Early),
            Claimed::Refused(Refusal::Held),
            Claimed::Unanswered,
        ];
        assert_eq!(answers, expected);
    }
}
